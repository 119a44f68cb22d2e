//! The `Connection` header (RFC 9110 §7.6.1).

use hyper::header::{CONNECTION, HeaderMap};

/// The options of all `Connection` headers.
pub(super) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
}
