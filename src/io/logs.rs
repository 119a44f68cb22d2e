//! Log lines on standard error: one JSON object each, with `level`, `ts` and `msg` as other operators write.
//! JSON escapes line breaks, which could forge a line; invisible characters in values are replaced as well.

use crate::clock::now;
use countersign_core::text::is_unsafe_for_display;
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Console,
}

/// Longest value of one field, in characters; a longer one is cut.
const VALUE_CHARS: usize = 2_000;

/// A formatter that writes each event as one line.
#[derive(Clone, Copy, Debug)]
pub struct Lines(pub LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let at = now();
        match self.0 {
            LogFormat::Json => {
                let mut line = fields.values;
                line.insert("level".to_owned(), level.into());
                line.insert("ts".to_owned(), at.to_string().into());
                line.insert("logger".to_owned(), metadata.target().into());
                line.insert("msg".to_owned(), fields.message.into());
                writeln!(to, "{}", Value::Object(line))
            }
            LogFormat::Console => {
                write!(to, "{at} {level} {} {}", metadata.target(), fields.message)?;
                fields.values.iter().try_for_each(|(name, value)| write!(to, " {name}={value}"))?;
                writeln!(to)
            }
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        let mut safe: String = text
            .chars()
            .take(VALUE_CHARS)
            .map(|c| if is_unsafe_for_display(c) { '\u{fffd}' } else { c })
            .collect();
        if text.chars().nth(VALUE_CHARS).is_some() {
            safe.push('…');
        }
        if field.name() == "message" {
            self.message = safe;
        } else {
            self.values.insert(field.name().to_owned(), safe.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.values.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let memory = LogBuffer::default();
        let to = memory.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(Lines(format)).with_writer(move || to.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_whatever_is_logged() {
        let hostile = "x\n{\"level\":\"info\"}\u{202e}";
        let text = logged(LogFormat::Json, || {
            tracing::warn!(card = hostile, attempts = 3, ready = false, "fetch failed: {hostile}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["level"].as_str(), line["attempts"].as_i64()), (Some("warn"), Some(3)));
        assert_eq!(line["ready"], false);
        assert_eq!(line["card"], "x\u{fffd}{\"level\":\"info\"}\u{fffd}");
        assert!(line["msg"].as_str().unwrap().starts_with("fetch failed: x\u{fffd}"));
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_line_for_people_is_one_line() {
        let text = logged(LogFormat::Console, || tracing::info!(name = "a\nb", "started\nagain"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(" info ") && text.contains("name=\"a\u{fffd}b\""), "{text}");
    }

    #[test]
    fn a_value_is_bounded() {
        let long = "a".repeat(100_000);
        let text = logged(LogFormat::Json, || tracing::info!(value = long, "m"));
        assert!(text.len() < 3_000, "{} bytes", text.len());
    }
}
