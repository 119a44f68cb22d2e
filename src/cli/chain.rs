//! Certificates of an X.509-SVID from a PEM file that the command line names.

use super::exit::Unusable;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::x509::parse_pem_chain;
use countersign_io::files::read_text;
use std::path::Path;

/// Longest PEM file with a chain, in bytes: the largest chain takes 22 KiB in base64, and text may surround it.
const CHAIN_FILE_BYTES: usize = 64 * 1024;

/// Reads the certificates of a file, in DER. `argument` names the file as the usage does. A file of another kind is
/// unusable, and a chain that is too long is refused.
pub(super) fn read_chain(argument: &str, path: &Path) -> Result<Result<Vec<Vec<u8>>, Refusal>, Unusable> {
    match parse_pem_chain(&read_text(path, CHAIN_FILE_BYTES)?) {
        Err(refusal) if refusal.reason() == Reason::ChainEncoding => Err(Unusable::new(format!(
            "{argument} {}: {}; name a file with the certificates of the SVID: PEM, leaf first",
            Quoted(&path.to_string_lossy()),
            refusal.message()
        ))),
        read => Ok(read),
    }
}
