//! Reload of a changed configuration while requests run: it is taken over whole or not at all, and never silently.

use super::config::{Checked, Diagnostic, Reading, Spiffe, parse_config};
use super::config_log::log_notices;
use super::identity::{WorkloadIdentity, follow_files, follow_workload_api, mirror};
use super::limits::LONGEST_SETTLE;
use super::process_state::{ProcessState, session_bounds};
use super::runtime_config::{ActiveConfig, RuntimeConfig};
use super::serve::Share;
use super::stats::Stats;
use countersign_api::yaml::Place;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use countersign_io::files::read_text;
use countersign_io::shutdown::Shutdown;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Largest configuration file, in bytes.
const CONFIG_BYTES: usize = 1024 * 1024;
/// Quiet time after a change before the file is read: the kubelet replaces a volume in several steps.
const SETTLE: Duration = Duration::from_millis(250);
/// Longest time between two reads: inotify reports nothing on some network file systems.
const LOOK: Duration = Duration::from_secs(30);

/// Reads and checks the file at `path`; also its digest, by which a reload knows what it has seen.
pub(crate) fn read_config(path: &Path, reading: Reading) -> Result<(Checked, Digest), Vec<Diagnostic>> {
    let unreadable =
        |problem: String| vec![Diagnostic { place: Place::default(), key: String::new(), problem }];
    let text = read_text(path, CONFIG_BYTES).map_err(|error| unreadable(error.to_string()))?;
    let digest = sha256(text.as_bytes());
    parse_config(&text, &variable, reading).map(|checked| (checked, digest))
}

#[expect(clippy::disallowed_methods, reason = "`${NAME}` in the configuration asks for it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// False for events of somebody who reads.
const fn may_be_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(AccessMode::Write)))
}

/// Outcome of the last reload, and counts of all. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reloads(Arc<Mutex<Status>>);

struct Status {
    active: Digest,
    last_attempt: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_error: Option<String>,
    good: u64,
    bad: u64,
}

impl Reloads {
    /// No reload yet; `active` is the digest of the configuration that runs.
    pub(crate) fn new(active: Digest) -> Self {
        let status =
            Status { active, last_attempt: None, last_success: None, last_error: None, good: 0, bad: 0 };
        Self(Arc::new(Mutex::new(status)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Status) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the error of the last reload, after which the previous configuration still runs; `None` if the last
    /// reload succeeded or there was none.
    pub(crate) fn problem(&self) -> Option<String> {
        self.with(|status| status.last_error.clone())
    }

    /// JSON in the form of the existing AuthBridge's `/reload/status`.
    pub(crate) fn json(&self) -> Value {
        self.with(|status| {
            let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
            json!({
                "last_attempt": time(status.last_attempt),
                "last_success": time(status.last_success),
                "last_error": status.last_error,
                "reloads_ok": status.good,
                "reloads_failed": status.bad,
                "active_config_sha256": status.active.to_string(),
            })
        })
    }
}

/// Task that follows the source of the identity; replaced only when the configuration names another source, so that a
/// reload of other keys does not interrupt it.
pub(crate) struct IdentitySource {
    identity: WorkloadIdentity,
    settings: Option<Spiffe>,
    task: Option<JoinHandle<()>>,
}

impl IdentitySource {
    /// A source that delivers nothing until [`IdentitySource::set`].
    pub(crate) const fn new(identity: WorkloadIdentity) -> Self {
        Self { identity, settings: None, task: None }
    }

    /// Follows the source in `settings` from now on; the identity stays until the new source delivers one.
    pub(crate) fn set(&mut self, settings: Option<&Spiffe>) {
        if self.settings.as_ref() == settings {
            return;
        }
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.settings = settings.cloned();
        let Some(settings) = settings.cloned() else { return };
        let identity = self.identity.clone();
        self.task = Some(tokio::spawn(async move {
            if let Some(folder) = &settings.files_dir {
                return follow_files(Path::new(folder), &identity).await;
            }
            let folder = settings.mirror_files.then(|| PathBuf::from(&settings.mirror_dir));
            follow_workload_api(&settings.socket, &identity, |material| {
                if let Some(folder) = &folder
                    && let Err(error) = mirror(material, folder)
                {
                    tracing::warn!("the identity was not mirrored to files: {error}");
                }
            })
            .await;
        }));
    }
}

/// Task that watches the configuration file and takes over its changes.
pub(crate) struct Reloader {
    /// Path of the configuration file.
    pub(crate) path: PathBuf,
    /// Treatment of unknown keys, the same as at the start: errors or notices.
    pub(crate) reading: Reading,
    /// Handle through which the configuration is replaced.
    pub(crate) active: ActiveConfig,
    /// State that the next configuration keeps.
    pub(crate) state: ProcessState,
    /// Task that follows the source of the identity.
    pub(crate) source: IdentitySource,
    /// Record of reloads, to which each outcome is added.
    pub(crate) reloads: Reloads,
    /// Counters of reloads.
    pub(crate) stats: Stats,
    /// What each listener has of the descriptors, which no reload changes.
    pub(crate) share: Share,
}

impl Reloader {
    /// Watches until `stop` is requested.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        let heard = Arc::new(Notify::new());
        let watcher = self.watch(&heard);
        if let Err(error) = &watcher {
            tracing::warn!(
                "the folder of the configuration cannot be watched; it is read every {LOOK:?}: {error}"
            );
        }
        let mut seen = self.reloads.with(|status| status.active);
        // Another file may be what a configuration lacks, so a refused one is tried again, and told only if that changes.
        let mut refused: Option<String> = None;
        loop {
            tokio::select! {
                () = heard.notified() => {
                    let is_quiet = async { while timeout(SETTLE, heard.notified()).await.is_ok() {} };
                    // Somebody who writes other files there again and again must not put it off for ever.
                    let _ = timeout(LONGEST_SETTLE, is_quiet).await;
                }
                () = sleep(LOOK) => {}
                () = stop.requested() => return,
            }
            let text = read_text(&self.path, CONFIG_BYTES);
            let digest = sha256(text.as_ref().map_or(&[], |text| text.as_bytes()));
            if digest == seen && refused.is_none() {
                continue;
            }
            let result = tokio::select! {
                // Boxed: it is large, and nearly always there is none.
                result = Box::pin(self.take_over()) => result,
                () = stop.requested() => return,
            };
            let problem = result.as_ref().err().cloned();
            if digest != seen || problem != refused {
                self.note(digest, result);
            }
            (seen, refused) = (digest, problem);
        }
    }

    fn watch(&self, heard: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
        let heard = Arc::clone(heard);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Somebody who reads the folder again and again would put off the quiet time for ever.
            if event.map_or(true, |event| may_be_change(event.kind)) {
                heard.notify_one();
            }
        })?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        watcher.watch(folder.unwrap_or_else(|| Path::new(".")), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    async fn take_over(&mut self) -> Result<(), String> {
        let shown = |diagnostics: Vec<Diagnostic>| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let (checked, _) = read_config(&self.path, self.reading).map_err(shown)?;
        let current = self.active.current();
        if checked.config.mode != current.config.mode || checked.addresses != current.addresses {
            return Err("mode and addresses cannot change while it runs; restart the sidecar".to_owned());
        }
        let runtime = RuntimeConfig::new(&checked, &self.state, Some(&current))?;
        runtime.fetched().await;
        self.state.store.set_bounds(session_bounds(&checked.config));
        self.source.set(checked.config.spiffe.as_ref());
        // Nobody else tells of it where the new configuration names no file.
        let is_current = runtime.notices().is_none();
        self.active.replace(runtime);
        self.stats.routes_current.set(i64::from(is_current));
        log_notices(&self.path, &checked.notices);
        self.share.tell_shortage(checked.config.limits.connections);
        Ok(())
    }

    fn note(&self, digest: Digest, result: Result<(), String>) {
        let [good, bad] = &self.stats.reloads;
        self.stats.config_current.set(i64::from(result.is_ok()));
        self.reloads.with(|status| {
            status.last_attempt = Some(now());
            match result {
                Ok(()) => {
                    good.inc();
                    status.good = status.good.saturating_add(1);
                    status.last_success = status.last_attempt;
                    status.last_error = None;
                    status.active = digest;
                    tracing::info!("the configuration was taken over");
                }
                Err(problem) => {
                    bad.inc();
                    status.bad = status.bad.saturating_add(1);
                    tracing::error!(path = %Quoted(&self.path.to_string_lossy()), "the configuration stays as it was: {problem}");
                    status.last_error = Some(problem);
                }
            }
        });
    }
}
