//! Causes that pass by themselves and meanwhile keep an agent from being evaluated, and how long they may last.

use crate::limits::{SETTLING, UNREAD};
use std::time::Duration;

/// How long a cause that passes by itself may keep an agent from being evaluated before its card is refused. A proof that ends
/// ends meanwhile too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settles {
    /// 10 s: `EndpointSlice`s and Pods disagree, a list takes long, or the account lacks a right.
    Soon,
    /// 5 min: the API server does not answer, or says that it cannot.
    Later,
}

impl Settles {
    /// Longest time for which such a cause may last.
    pub const fn within(self) -> Duration {
        match self {
            Self::Soon => SETTLING,
            Self::Later => UNREAD,
        }
    }
}
