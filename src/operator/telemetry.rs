//! Log and traces of the process. Traces leave the process only if an endpoint is configured.

use super::error::OperatorError;
use super::flags::Config;
use countersign_io::logs::Lines;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use rustls::crypto::ring;
use std::time::Duration;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Maximum time for sending one batch of traces, and the last one at the end.
const SEND: Duration = Duration::from_secs(2);

/// Exporter of traces, which must be flushed at the end.
pub(super) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, and traces if configured. Must run inside the async runtime.
pub(super) fn start(config: &Config) -> Result<Telemetry, OperatorError> {
    // Some libraries use the process-wide provider; an error means that it is already installed.
    let _ = ring::default_provider().install_default();
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|error| OperatorError::setup("the log filter", error))?;
    let traces = config.otlp_endpoint.as_deref().map(provider).transpose()?;
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(config.log_format))
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let spans = traces
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(env!("CARGO_PKG_NAME"))));
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .try_init()
        .map_err(|error| OperatorError::setup("the log", error))?;
    Ok(Telemetry { traces })
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, OperatorError> {
    let failed = |error: &dyn std::fmt::Display| OperatorError::setup("traces", error);
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(SEND)
        .build()
        .map_err(|error| failed(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(SEND)
        .build()
        .map_err(|error| failed(&error))?;
    let resource = Resource::builder()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build())
}

impl Telemetry {
    /// Sends the remaining traces, for at most 2 s.
    pub(super) async fn end(self) {
        let Some(traces) = self.traces else { return };
        // The shutdown blocks on tasks of this runtime, so it must not occupy the thread that runs them.
        let sent = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(SEND));
        if !matches!(timeout(SEND, sent).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the last traces were not sent");
        }
    }
}
