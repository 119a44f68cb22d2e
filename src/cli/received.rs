//! Reading of the card that an argument names: a file, standard input, or a URL.
//! A card that is too large or cannot be fetched is refused; an unreadable file is unusable input.

use super::exit::Unusable;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::fetch::{CardUrl, FetchLimits, Representation, fetch_card};
use countersign_io::files::{FileError, is_stdin, read_file};
use std::path::Path;

/// A card as it was received.
#[derive(Clone, Debug)]
pub(super) struct ReceivedCard {
    /// The received bytes, unchanged.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub(super) digest: Digest,
    /// The path, or the URL that answered.
    pub(super) source: String,
    /// The clients that get this card, if it was fetched.
    pub(super) representation: Option<Representation>,
    /// The other card that clients without a version of A2A get from the same URL.
    pub(super) unversioned: Option<Vec<u8>>,
}

impl ReceivedCard {
    /// Makes a received card of the bytes from `source`.
    pub(super) fn new(bytes: Vec<u8>, source: String) -> Self {
        Self { digest: sha256(&bytes), bytes, source, representation: None, unversioned: None }
    }
}

/// The argument as shown to people.
pub(super) fn shown(argument: &str) -> String {
    if is_stdin(Path::new(argument)) { "standard input".to_owned() } else { argument.to_owned() }
}

/// Reads the card that `argument` names; the outer error is unusable input, the inner one a refusal.
pub(super) fn receive(argument: &str) -> Result<Result<ReceivedCard, Refusal>, Unusable> {
    let received = if CardUrl::looks_like(argument) {
        let url = CardUrl::parse(argument).map_err(Unusable::new)?;
        match block_on(fetch_card(&url, FetchLimits::default()))? {
            Ok(fetched) => ReceivedCard {
                representation: Some(fetched.representation),
                unversioned: fetched.unversioned,
                ..ReceivedCard::new(fetched.body, fetched.url)
            },
            Err(refusal) => return Ok(Err(refusal)),
        }
    } else {
        match read_file(Path::new(argument), BODY_BYTES) {
            Ok(bytes) => ReceivedCard::new(bytes, shown(argument)),
            Err(error @ FileError::TooLarge { .. }) => {
                return Ok(Err(Refusal::new(Reason::BodyTooLarge, error.to_string())));
            }
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Ok(received))
}

/// Runs a future to its end on this thread.
pub(super) fn block_on<T>(edge: impl Future<Output = T>) -> Result<T, Unusable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map(|runtime| runtime.block_on(edge))
        .map_err(|error| Unusable::new(format!("this machine allows no network or timers: {error}")))
}
