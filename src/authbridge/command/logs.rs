//! Log: its level comes from `LOG_LEVEL`, and SIGUSR1 switches to debug without a restart.

use countersign_core::text::Quoted;
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
    let word = configured();
    let known = level(&word);
    let (level, handle) = Layer::new(known.unwrap_or(LevelFilter::INFO));
    let lines = fmt::layer().event_format(Lines(LogFormat::Json)).with_writer(std::io::stderr);
    // Only tests start a second log in one process; the first one stays.
    let _ = tracing_subscriber::registry().with(level).with(lines).try_init();
    let _ = LEVEL.set(handle);
    if known.is_none() {
        tracing::warn!("LOG_LEVEL is {}, none of debug, info, warn and error: info counts", Quoted(&word));
    }
}

#[expect(clippy::disallowed_methods, reason = "the variable has always set the level")]
fn configured() -> String {
    std::env::var("LOG_LEVEL").unwrap_or_default()
}

/// Level that a word stands for; `None` for a word that stands for none.
fn level(word: &str) -> Option<LevelFilter> {
    Some(match word.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "" | "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_known_as_none() {
        assert_eq!(["", "info", "DEBUG", "Warn"].map(level).map(|level| level.is_some()), [true; 4]);
        assert_eq!(["trace", "warning", "off", "1"].map(level), [None; 4]);
    }
}
