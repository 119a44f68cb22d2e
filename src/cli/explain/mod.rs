//! `countersign explain`: explains a reason, each step of the verification of a card, or the sidecar of a Pod.

mod card;
mod enforced;
mod reason;
mod rule;
mod step;

pub(crate) use card::explain_received;
pub(crate) use step::Trace;

use super::args::{AuthorityArgs, BundleArg, Output, parse_bundle_arg, parse_trust_domain};
#[cfg(feature = "check")]
use super::check::{PodArgs, explain_pod};
use super::exit::{Done, Unusable};
use super::policy::PolicyArgs;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::text::Quoted;
use enforced::EnforcedReason;
use std::path::Path;

/// Explain a reason, a rule, or how a card came to its verdict.
///
/// A reason code such as `SignatureInvalid`, or one of the condition `Enforced` such as `PolicyRejected`, prints what it
/// means and what to do; `rule-50` prints a rule. Anything else is a card, which is verified step by step: what was
/// checked, what was found, what was decided. `pod NAME -n NAMESPACE` says why a Pod of a cluster has a sidecar, or none.
#[derive(Debug, clap::Args)]
#[cfg_attr(
    feature = "check",
    command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        disable_help_subcommand = true
    )
)]
pub(crate) struct Args {
    #[cfg(feature = "check")]
    #[command(subcommand)]
    subject: Option<Subject>,
    /// Reason codes, rules, or cards: files, `-` for standard input, or http(s) URLs.
    #[arg(value_name = "REASON|RULE|CARD", required = true)]
    subjects: Vec<String>,
    /// For cards: trust bundle of the trust domain, or `TD=FILE` for another domain. May be repeated.
    #[arg(long = "bundle", value_name = "[TD=]FILE", value_parser = parse_bundle_arg)]
    bundles: Vec<BundleArg>,
    /// For cards: trust domain that the signer must belong to; that of --expect-id if absent.
    #[arg(long, value_name = "TD", value_parser = parse_trust_domain)]
    trust_domain: Option<TrustDomain>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// How the explanation is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Subject that is none of the list.
#[cfg(feature = "check")]
#[derive(Debug, clap::Subcommand)]
enum Subject {
    Pod(PodArgs),
}

pub(crate) fn run(args: &Args) -> Result<Done, Unusable> {
    #[cfg(feature = "check")]
    if let Some(Subject::Pod(args)) = &args.subject {
        return explain_pod(args);
    }
    let (mut text, mut refused, mut notes) = (Vec::new(), false, Vec::new());
    let enforced = EnforcedReason::all();
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
        if subject.starts_with("rule-") && !Path::new(subject).exists() {
            let range = rule::Rule::range();
            return Err(Unusable::new(format!("{} is no rule; the rules are {range}", Quoted(subject))));
        }
        if let Some(reason) = enforced.iter().find(|reason| reason.code() == subject) {
            text.extend(reason.write(args.output)?);
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
    let expected = args.policy.expect_id.as_ref().map(SpiffeId::trust_domain);
    let missing = match (args.bundles.is_empty(), args.trust_domain.as_ref().or(expected)) {
        (false, Some(domain)) => return Ok(AuthorityArgs::new(args.bundles.clone(), domain.clone())),
        (true, None) => "--bundle, and --expect-id or --trust-domain",
        (true, Some(_)) => "--bundle",
        (false, None) => "--expect-id or --trust-domain",
    };
    let nearest = nearest(subject).map(|code| format!("; did you mean {code}?")).unwrap_or_default();
    Err(Unusable::new(format!(
        "{} is no reason code{nearest}; to explain it as a card, add {missing}",
        Quoted(subject)
    )))
}

/// Reason whose code is most like `subject`; `None` if none is like it, or if it is a file.
fn nearest(subject: &str) -> Option<String> {
    if Path::new(subject).exists() {
        return None;
    }
    let wanted = subject.to_lowercase();
    let enforced = EnforcedReason::all().into_iter().map(|reason| reason.code().to_owned());
    let codes = Reason::ALL.iter().map(|reason| reason.code().to_owned()).chain(enforced);
    let scored = codes.map(|code| (strsim::jaro_winkler(&wanted, &code.to_lowercase()), code));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, code)| code)
}
