//! `countersign verify-svid`: applies the chain rules alone to one X.509-SVID.

use super::args::{AuthorityArgs, Output, TimeArgs, parse_spiffe_id};
use super::chain::read_chain;
use super::exit::{Done, Unusable};
use super::report::Report;
use countersign_core::budget::WorkBudget;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::x509::{Moments, VerifiedChain, verify_chain};
use std::path::PathBuf;

/// Verify an X.509-SVID and its chain over a trust bundle.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// PEM certificates, leaf first: a file, or `-` for standard input.
    #[arg(value_name = "CHAIN.pem")]
    chain: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
    #[command(flatten)]
    time: TimeArgs,
    /// SPIFFE ID that the leaf must carry.
    #[arg(long, value_name = "SPIFFE_ID", value_parser = parse_spiffe_id)]
    expect_id: Option<SpiffeId>,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let authority = args.authority.read(args.expect_id.as_ref())?;
    let bundle = authority.bundle()?;
    let verified = read_chain("CHAIN.pem", &args.chain)?.and_then(|chain| {
        let moments = Moments::live(args.time.at());
        let policy = args.time.chain_policy();
        let mut budget = WorkBudget::default();
        let verified = verify_chain(&chain, authority.trust_domain(), bundle, &policy, moments, &mut budget)?;
        expect_id(args.expect_id.as_ref(), verified)
    });
    let report = match &verified {
        Ok(chain) => Report {
            spiffe_id: Some(chain.spiffe_id().to_string()),
            expected_id: args.expect_id.as_ref().map(ToString::to_string),
            digest: Some(chain.leaf_sha256().to_string()),
            not_after: Some(chain.not_after().to_string()),
            ..Report::verified()
        },
        Err(refusal) => Report::refused(refusal),
    };
    let report = Report { source: args.chain.to_string_lossy().into_owned(), ..report };
    let output = match args.output {
        Output::Text => report.to_text(),
        Output::Json => report.to_json()?,
    };
    Ok(Done::text(output).with_refused(verified.is_err()).with_notes(authority.warnings))
}

fn expect_id(expected: Option<&SpiffeId>, chain: VerifiedChain) -> Result<VerifiedChain, Refusal> {
    match expected {
        Some(id) if id != chain.spiffe_id() => Err(Refusal::new(
            Reason::IdentityMismatch,
            format!("the SVID is {}, and {id} was expected", chain.spiffe_id()),
        )),
        _ => Ok(chain),
    }
}
