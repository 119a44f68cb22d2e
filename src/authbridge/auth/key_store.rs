//! Keys of a token issuer, fetched by a task of its own, so that a request that is cancelled does not cancel a fetch.
//! The last good set counts for a maximum age; a token with an unknown key brings the next fetch forward.

use super::issuer::{CallFailure, Fetcher, send};
use crate::jwt::{KeySet, parse_key_set};
use crate::limits::KEY_SET_BYTES;
use arc_swap::ArcSwapOption;
use countersign_io::clock::instant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time between two fetches while they succeed.
const REFRESH: Duration = Duration::from_mins(5);
/// Wait after a first failure, doubled with each further one in a row.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Shortest time between two fetches that tokens bring forward for one cause: otherwise forged tokens would flood the
/// issuer.
const BETWEEN: Duration = Duration::from_secs(10);
/// Longest time that a request waits for the fetch of keys that it brought forward.
const PATIENCE: Duration = Duration::from_secs(3);

/// Key set of one issuer, kept current for as long as somebody has a copy of this. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KeyStore {
    inner: Arc<KeyStoreInner>,
    /// Aborted when the last copy is dropped.
    _task: Arc<JoinSet<()>>,
}

struct KeyStoreInner {
    fetcher: Fetcher,
    current: ArcSwapOption<FetchedKeys>,
    wanted: Notify,
    last_refetch: Mutex<[Option<Instant>; 2]>,
    attempts: watch::Sender<u64>,
    problem: Mutex<Option<CallFailure>>,
}

/// Cause for which a token brings the next fetch forward. Each has a limit of its own, so that forged tokens of one kind
/// do not hold up the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// There is no key of that name.
    UnknownKey,
    /// There is, and it did not make the signature.
    WrongKey,
}

/// Key set, and when it was fetched.
#[derive(Debug)]
pub(crate) struct FetchedKeys {
    /// Usable keys of the issuer.
    pub(crate) keys: KeySet,
    at: Instant,
}

impl KeyStore {
    /// A store without keys, and the task that fetches them.
    pub(crate) fn start(fetcher: Fetcher) -> Self {
        let (attempts, _) = watch::channel(0);
        let inner = Arc::new(KeyStoreInner {
            fetcher,
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            last_refetch: Mutex::default(),
            attempts,
            problem: Mutex::default(),
        });
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&inner).run());
        Self { inner, _task: Arc::new(task) }
    }

    /// URL from which the keys are fetched.
    pub(crate) fn url(&self) -> &str {
        &self.inner.fetcher.url
    }

    /// Waits until there are keys that are valid now.
    pub(crate) async fn fetched(&self, max_age: Duration) {
        let mut attempts = self.inner.attempts.subscribe();
        while self.current(max_age).is_err() && attempts.changed().await.is_ok() {}
    }

    /// The keys that are valid now; an error once they are older than `max_age`, because a key that the issuer withdrew
    /// must not count forever. The error names no URL: callers and probes read it, and the log has the rest.
    pub(crate) fn current(&self, max_age: Duration) -> Result<Arc<FetchedKeys>, String> {
        match self.inner.current.load_full() {
            Some(fetched) if instant().duration_since(fetched.at) <= max_age => Ok(fetched),
            Some(_) => Err(format!("the keys of the issuer are too old: {}", self.last_problem())),
            None => Err(format!("there are no keys of the issuer yet: {}", self.last_problem())),
        }
    }

    /// Brings the next fetch forward and waits for it; false if that was done for this cause less than [`BETWEEN`] ago, or
    /// takes too long. Before the first fetch everybody waits for it.
    pub(crate) async fn refetch(&self, cause: Cause) -> bool {
        let mut attempts = self.inner.attempts.subscribe();
        let never = *attempts.borrow_and_update() == 0;
        if !never && !self.may_refetch(cause) {
            return false;
        }
        self.inner.wanted.notify_one();
        timeout(PATIENCE, attempts.changed()).await.is_ok()
    }

    fn may_refetch(&self, cause: Cause) -> bool {
        let now = instant();
        let mut all = self.inner.last_refetch.lock().unwrap_or_else(PoisonError::into_inner);
        let [unknown, wrong] = &mut *all;
        let last = match cause {
            Cause::UnknownKey => unknown,
            Cause::WrongKey => wrong,
        };
        let may = last.is_none_or(|last| now.duration_since(last) >= BETWEEN);
        if may {
            *last = Some(now);
        }
        may
    }

    fn last_problem(&self) -> String {
        let problem = self.inner.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        problem.map_or_else(|| "they are being fetched".to_owned(), |failure| failure.told)
    }
}

impl KeyStoreInner {
    /// Fetches keys for ever.
    async fn run(self: Arc<Self>) {
        let mut wait = FIRST_WAIT;
        loop {
            let fetched = self.fetch().await;
            let pause = if self.take_over(fetched) {
                wait = FIRST_WAIT;
                REFRESH
            } else {
                let pause = wait;
                wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                pause
            };
            // 10 % of jitter: sidecars that started together would otherwise fetch together for ever.
            let pause = pause.mul_f64(0.9 + 0.2 * fastrand::f64());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, CallFailure> {
        let (status, body) = send(self.fetcher.get(), KEY_SET_BYTES).await?;
        if status != 200 {
            return Err(CallFailure::plain(format!("it answered with status {status}")));
        }
        parse_key_set(body.to_vec()).map_err(|refusal| CallFailure {
            told: "the key set is not usable".to_owned(),
            cause: refusal.to_string(),
        })
    }

    fn take_over(&self, fetched: Result<KeySet, CallFailure>) -> bool {
        let problem = fetched.as_ref().err().cloned();
        let mut last = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != problem
            && let Some(problem) = &problem
        {
            tracing::warn!(url = self.fetcher.url, "the issuer's keys were not fetched: {problem}");
        }
        *last = problem;
        drop(last);
        let good = fetched.is_ok();
        if let Ok(keys) = fetched {
            let same = self.current.load().as_ref().is_some_and(|last| last.keys.digest() == keys.digest());
            if !same {
                tracing::info!(url = self.fetcher.url, keys = keys.len(), "the issuer's keys changed");
            }
            self.current.store(Some(Arc::new(FetchedKeys { keys, at: instant() })));
        }
        self.attempts.send_modify(|attempts| *attempts = attempts.wrapping_add(1));
        good
    }
}
