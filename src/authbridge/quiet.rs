//! Rate limit of log lines about requests, per cause: a flood of requests must not become a flood of log lines.

use countersign_core::text::Quoted;
use countersign_io::clock::instant;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two lines about the same cause.
const WHILE: Duration = Duration::from_secs(30);
/// Most causes remembered. They are words of this program and far fewer; the bound holds if one ever is not.
const CAUSES: usize = 256;

/// Rate limiter for the log lines of one direction.
pub(crate) struct Quiet {
    direction: &'static str,
    causes: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Quiet {
    /// A limiter that has logged nothing.
    pub(crate) const fn new(direction: &'static str) -> Self {
        Self { direction, causes: Mutex::new(BTreeMap::new()) }
    }

    /// Logs `cause` with one example, or only counts it if it was logged less than [`WHILE`] ago.
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

    /// As [`Self::log`], with the host that the request of the example was for.
    pub(crate) fn log_to(&self, cause: &str, example: &str, host: Option<&str>) {
        self.log(cause, &to_host(example, host));
    }
}

/// An example with its host, which whoever asked chose.
fn to_host(example: &str, host: Option<&str>) -> String {
    host.map_or_else(|| example.to_owned(), |host| format!("{example}; the request was for {}", Quoted(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_example_is_told_escaped_and_bounded_and_is_no_cause() {
        let told = |host| to_host("a route denies this host", host);
        assert_eq!(told(None), "a route denies this host");
        assert_eq!(told(Some("a\n.b")), "a route denies this host; the request was for \"a\\u{a}.b\"");
        assert!(told(Some(&"a".repeat(9_000))).len() < 200);
        let quiet = Quiet::new("test");
        for host in ["a", "b", "c"] {
            quiet.log_to("policy.forbidden", "a route denies this host", Some(host));
        }
        let causes = quiet.causes.lock().unwrap();
        assert_eq!(causes.values().map(|(_, repeated)| *repeated).collect::<Vec<_>>(), [2]);
    }
}
