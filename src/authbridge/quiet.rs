//! Log lines about requests, once for each cause and while: whoever floods us does not flood the log.

use countersign_io::clock::instant;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cause is not logged again.
const WHILE: Duration = Duration::from_secs(30);
/// Most causes told apart; they are words of this program, so this is never reached.
const CAUSES: usize = 256;

/// The causes of one direction.
pub(crate) struct Quiet {
    direction: &'static str,
    causes: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Quiet {
    /// Nothing logged yet.
    pub(crate) const fn new(direction: &'static str) -> Self {
        Self { direction, causes: Mutex::new(BTreeMap::new()) }
    }

    /// Logs `cause` with one example, unless that was done a moment ago.
    pub(crate) fn log(&self, cause: &str, example: &str) {
        let now = instant();
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let full = causes.len() >= CAUSES;
        let repeated = match causes.get_mut(cause) {
            Some((last, repeated)) if now.duration_since(*last) < WHILE => {
                *repeated = repeated.saturating_add(1);
                return;
            }
            Some((last, repeated)) => {
                *last = now;
                std::mem::take(repeated)
            }
            None if full => return,
            None => {
                causes.insert(cause.to_owned(), (now, 0));
                0
            }
        };
        drop(causes);
        tracing::warn!(direction = self.direction, cause, repeated, "{example}");
    }
}
