//! Log: its level comes from `LOG_LEVEL`, and SIGUSR1 switches to debug without a restart.

use countersign_io::logs::{Lines, LogFormat};
use std::sync::OnceLock;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts the log, as JSON lines on standard error.
pub(super) fn start() {
    let (level, handle) = Layer::new(configured());
    let lines = fmt::layer().event_format(Lines(LogFormat::Json)).with_writer(std::io::stderr);
    // Only tests start a second log in one process; the first one stays.
    let _ = tracing_subscriber::registry().with(level).with(lines).try_init();
    let _ = LEVEL.set(handle);
}

#[expect(clippy::disallowed_methods, reason = "the variable has always set the level")]
fn configured() -> LevelFilter {
    match std::env::var("LOG_LEVEL").unwrap_or_default().to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

/// Switches between debug and info at each SIGUSR1.
pub(super) fn follow_signal() {
    let Ok(mut signals) = signal(SignalKind::user_defined1()) else { return };
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            let Some(level) = LEVEL.get() else { return };
            let _ = level.modify(|level| {
                *level = if *level == LevelFilter::DEBUG { LevelFilter::INFO } else { LevelFilter::DEBUG };
            });
            tracing::info!("the log level was switched");
        }
    });
}
