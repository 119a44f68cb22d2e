//! Result of a reconciliation that succeeded.

use std::time::Duration;

/// Time of the next turn of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// No turn until a change enqueues one.
    Never,
    /// Turn after this wait at the latest.
    In(Duration),
}
