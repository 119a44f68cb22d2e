//! The keys of an issuer, fetched by a task of their own: no request carries them, and none can end the task.
//! The last good set counts for a maximum age; a key that is not known brings the next fetch forward.

use super::issuer::{Fetcher, send};
use crate::jwt::{KeySet, parse_key_set};
use crate::limits::KEY_SET_BYTES;
use arc_swap::ArcSwapOption;
use countersign_core::text::Quoted;
use countersign_io::clock::instant;
use countersign_io::shutdown::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// How often keys are fetched.
const REFRESH: Duration = Duration::from_mins(5);
/// The wait before the first new attempt, doubled with each failure in a row.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often a token with an unknown key may bring a fetch forward.
const UNKNOWN_KEY: Duration = Duration::from_secs(10);
/// How long a request waits for a fetch that it brought forward.
const PATIENCE: Duration = Duration::from_secs(3);

/// The keys of one issuer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KeyStore(Arc<KeyStoreInner>);

struct KeyStoreInner {
    fetcher: Fetcher,
    max_age: Duration,
    current: ArcSwapOption<FetchedKeys>,
    wanted: Notify,
    last_refetch: Mutex<Option<Instant>>,
    attempts: watch::Sender<u64>,
    problem: Mutex<Option<String>>,
}

/// A set, and when it came.
#[derive(Debug)]
pub(crate) struct FetchedKeys {
    /// The keys.
    pub(crate) keys: KeySet,
    at: Instant,
}

impl KeyStore {
    /// No keys yet.
    pub(crate) fn new(fetcher: Fetcher, max_age: Duration) -> Self {
        let (attempts, _) = watch::channel(0);
        Self(Arc::new(KeyStoreInner {
            fetcher,
            max_age,
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            last_refetch: Mutex::default(),
            attempts,
            problem: Mutex::default(),
        }))
    }

    /// The keys that count now; the error says why none do.
    pub(crate) fn current(&self) -> Result<Arc<FetchedKeys>, String> {
        match self.0.current.load_full() {
            Some(fetched) if instant().duration_since(fetched.at) <= self.0.max_age => Ok(fetched),
            Some(_) => Err(format!(
                "the keys of {} are too old: {}",
                Quoted(&self.0.fetcher.url),
                self.last_problem()
            )),
            None => Err(format!(
                "there are no keys of {} yet: {}",
                Quoted(&self.0.fetcher.url),
                self.last_problem()
            )),
        }
    }

    /// Waits for the next attempt to fetch keys, or the first one. For a key that is not known an attempt is brought
    /// forward, if that was not done just now; false if it was.
    pub(crate) async fn refetch(&self) -> bool {
        let mut attempts = self.0.attempts.subscribe();
        let never = *attempts.borrow_and_update() == 0;
        if !never && !self.may_refetch() {
            return false;
        }
        self.0.wanted.notify_one();
        timeout(PATIENCE, attempts.changed()).await.is_ok()
    }

    fn may_refetch(&self) -> bool {
        let now = instant();
        let mut last_refetch = self.0.last_refetch.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last_refetch.is_none_or(|last| now.duration_since(last) >= UNKNOWN_KEY);
        if may {
            *last_refetch = Some(now);
        }
        may
    }

    fn last_problem(&self) -> String {
        let problem = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        problem.unwrap_or_else(|| "they are being fetched".to_owned())
    }

    /// Fetches until the end is asked for.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut wait = FIRST_WAIT;
        loop {
            let fetched = tokio::select! {
                fetched = self.fetch() => fetched,
                () = stop.requested() => return,
            };
            let pause = if self.take_over(fetched) {
                wait = FIRST_WAIT;
                REFRESH
            } else {
                let pause = wait;
                wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                pause
            };
            // Sidecars that started together should not ask together.
            let pause = pause.mul_f64(0.9 + 0.2 * fastrand::f64());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.0.wanted.notified() => {}
                () = stop.requested() => return,
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let (status, body) = send(self.0.fetcher.get(), KEY_SET_BYTES).await?;
        if status != 200 {
            return Err(format!("it answered with status {status}"));
        }
        parse_key_set(body.to_vec()).map_err(|refusal| refusal.to_string())
    }

    fn take_over(&self, fetched: Result<KeySet, String>) -> bool {
        let problem = fetched.as_ref().err().cloned();
        let mut last = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != problem
            && let Some(problem) = &problem
        {
            tracing::warn!(url = self.0.fetcher.url, "the issuer's keys were not fetched: {problem}");
        }
        *last = problem;
        drop(last);
        let good = fetched.is_ok();
        if let Ok(keys) = fetched {
            let same = self.0.current.load().as_ref().is_some_and(|last| last.keys.digest() == keys.digest());
            if !same {
                tracing::info!(url = self.0.fetcher.url, keys = keys.len(), "the issuer's keys changed");
            }
            self.0.current.store(Some(Arc::new(FetchedKeys { keys, at: instant() })));
        }
        self.0.attempts.send_modify(|attempts| *attempts = attempts.wrapping_add(1));
        good
    }
}
