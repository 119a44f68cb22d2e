//! `countersign explain`: explains a reason, or each step of the verification of a card.

mod card;
mod reason;
mod rule;
mod step;

pub(crate) use card::explain_received;
pub(crate) use step::Trace;

use super::args::{AuthorityArgs, BundleArg, Output, parse_bundle_arg, parse_trust_domain};
use super::exit::{Done, Unusable};
use super::policy::PolicyArgs;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::TrustDomain;

/// Explain a reason, a rule, or how a card came to its verdict.
///
/// A reason code such as `SignatureInvalid` prints what it means and what to do; `rule-50` prints a rule. Anything else is a card, which is
/// verified step by step: what was checked, what was found, what was decided.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Reason codes, rules, or cards: files, `-` for standard input, or http(s) URLs.
    #[arg(value_name = "REASON|RULE|CARD", required = true)]
    subjects: Vec<String>,
    /// For cards: trust bundle of the trust domain, or `TD=FILE` for another domain. May be repeated.
    #[arg(long = "bundle", value_name = "[TD=]FILE", value_parser = parse_bundle_arg)]
    bundles: Vec<BundleArg>,
    /// For cards: trust domain that the signer must belong to.
    #[arg(long, value_name = "TD", value_parser = parse_trust_domain)]
    trust_domain: Option<TrustDomain>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// How the explanation is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Result<Done, Unusable> {
    let (mut text, mut refused, mut notes) = (Vec::new(), false, Vec::new());
    for subject in &args.subjects {
        if !text.is_empty() && args.output == Output::Text {
            text.push(b'\n');
        }
        if let Some(reason) = Reason::from_code(subject) {
            text.extend(reason::write(reason, args.output)?);
            continue;
        }
        if let Some(rule) = rule::Rule::named(subject) {
            text.extend(rule.write(args.output)?);
            continue;
        }
        let explained = card::explain(subject, &authority(args, subject)?, &args.policy)?;
        text.extend(explained.trace.write(args.output)?);
        refused |= explained.refused;
        notes.extend(explained.warnings);
    }
    Ok(Done::text(text).with_refused(refused).with_notes(notes))
}

/// The bundles and trust domain for a card. The error without flags says that `subject` is no reason code, because the
/// user may have misspelled one.
fn authority(args: &Args, subject: &str) -> Result<AuthorityArgs, Unusable> {
    let missing = match (args.bundles.is_empty(), &args.trust_domain) {
        (false, Some(domain)) => return Ok(AuthorityArgs::new(args.bundles.clone(), domain.clone())),
        (true, None) => "--bundle and --trust-domain",
        (true, Some(_)) => "--bundle",
        (false, None) => "--trust-domain",
    };
    Err(Unusable::new(format!(
        "{} is no reason code; to explain it as a card, add {missing}",
        countersign_core::text::Quoted(subject)
    )))
}
