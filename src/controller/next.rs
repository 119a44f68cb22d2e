//! What a reconciliation asks for when it is done: another turn, or none until something changes.

use std::time::Duration;

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Never,
    /// After this time at the latest.
    In(Duration),
}
