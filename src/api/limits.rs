//! Caps of what the cluster sees, each with its reason.

/// Longest text of a card repeated in an object's status, in characters.
pub(crate) const STATUS_TEXT_CHARS: usize = 2_000;
/// Longest list of a card repeated in an object's status.
pub(crate) const STATUS_LIST_ITEMS: usize = 64;
/// Longest contents of a card repeated in an object's status, in bytes of JSON: far below the 1.5 MiB that etcd
/// stores, and a thousand of them still fit into memory.
pub(crate) const STATUS_CARD_BYTES: usize = 64 * 1024;
