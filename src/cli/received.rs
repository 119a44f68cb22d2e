//! The card of a command line: a file, standard input, or the answer to a URL.
//! A card that is too large or cannot be fetched is refused; a file that cannot be read is unusable input.

use super::exit::Unusable;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::fetch::{CardUrl, FetchLimits, fetch_card};
use countersign_io::files::{FileError, is_stdin, read_file};
use std::path::Path;

/// A card as it was received.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Exactly the bytes.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub(super) digest: Digest,
    /// The file or the URL that answered.
    pub(super) source: String,
}

impl Received {
    /// Bytes from `source`.
    pub(super) fn new(bytes: Vec<u8>, source: String) -> Self {
        Self { digest: sha256(&bytes), bytes, source }
    }
}

/// What the argument names, for people.
pub(super) fn shown(argument: &str) -> String {
    if is_stdin(Path::new(argument)) { "standard input".to_owned() } else { argument.to_owned() }
}

/// Gets the card that `argument` names.
pub(super) fn receive(argument: &str) -> Result<Result<Received, Refusal>, Unusable> {
    let (bytes, source) = if CardUrl::looks_like(argument) {
        let url = CardUrl::parse(argument).map_err(Unusable::new)?;
        match block_on(fetch_card(&url, FetchLimits::default()))? {
            Ok(fetched) => (fetched.body, fetched.url),
            Err(refusal) => return Ok(Err(refusal)),
        }
    } else {
        match read_file(Path::new(argument), BODY_BYTES) {
            Ok(bytes) => (bytes, shown(argument)),
            Err(error @ FileError::TooLarge { .. }) => {
                return Ok(Err(Refusal::new(Reason::BodyTooLarge, error.to_string())));
            }
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Ok(Received::new(bytes, source)))
}

/// Runs one asynchronous edge to its end on this thread.
pub(super) fn block_on<T>(edge: impl Future<Output = T>) -> Result<T, Unusable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map(|runtime| runtime.block_on(edge))
        .map_err(|error| Unusable::new(format!("this machine allows no network or timers: {error}")))
}
