//! Limits on what is written into the status of an object and told about a file, each with its reason.

/// Longest text that is copied from a card into status, in characters; longer text is cut.
#[cfg(feature = "kinds")]
pub(crate) const STATUS_TEXT_CHARS: usize = 2_000;
/// Most elements of a list that are copied from a card into status; the rest is left out.
#[cfg(feature = "kinds")]
pub(crate) const STATUS_LIST_ITEMS: usize = 64;
/// Most that is copied from a card into status, in bytes of JSON: far below the 1.5 MiB that etcd stores for an
/// object, and 64 MiB of memory for a thousand cards.
#[cfg(feature = "kinds")]
pub(crate) const STATUS_CARD_BYTES: usize = 64 * 1024;
/// Most mistakes of a file that are told of at once: more than a reader mends before the next look.
#[cfg(feature = "yaml")]
pub(crate) const MISTAKES: usize = 32;
