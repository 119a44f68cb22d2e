//! The signer in a Pod: once, or for ever with `--watch`.

use super::settings::{SignerSettings, said_fetched};
use super::{journal, watch};
use crate::exit::{Done, Unusable};
use crate::received::block_on;
use countersign_core::limits::BODY_BYTES;
use countersign_io::files::read_file;
use countersign_io::workload_api::{WorkloadApiError, fetch_svid};
use std::path::PathBuf;

pub(super) fn run(args: &super::Args) -> Result<Done, Unusable> {
    let settings = SignerSettings::of(args, variable)?;
    let shown = |path: &PathBuf| path.to_string_lossy().into_owned();
    journal::info(
        "starting agentcard signer",
        &[("unsignedCard", shown(&settings.card)), ("signedCard", shown(&settings.output))],
    );
    if args.watch {
        return block_on(watch::run(&settings))?.map(|()| Done::text(""));
    }
    let outcome = block_on(fetch_svid(&settings.socket, settings.timeout))?;
    let outcome = outcome.map_err(|error: WorkloadApiError| settings.unread_svid(error)).and_then(|svid| {
        said_fetched(&svid);
        let card = read_file(&settings.card, BODY_BYTES).map_err(|error| settings.unread_card(error))?;
        settings.sign(card, &svid)
    });
    if let Err(error) = &outcome {
        journal::error("signing failed", &[("error", error.clone())]);
    }
    Ok(Done::text("").with_refused(outcome.is_err()))
}

#[expect(clippy::disallowed_methods, reason = "this is the edge that reads the signer's environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
