//! Where log lines and traces go. Traces leave the process only if an endpoint is configured.

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

/// How long one batch of traces may take to be sent, and the last one at the end.
const SEND: Duration = Duration::from_secs(2);

/// What must be told of the end.
pub(super) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, and traces where they are configured. Needs the runtime.
pub(super) fn start(config: &Config) -> Result<Telemetry, OperatorError> {
    // For the libraries that ask for the process's provider; an earlier call has installed the same one.
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
    /// Sends what is left.
    pub(super) async fn end(self) {
        let Some(traces) = self.traces else { return };
        // It waits for its own tasks, so it must not hold a thread that runs them.
        let sent = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(SEND));
        if !matches!(timeout(SEND, sent).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the last traces were not sent");
        }
    }
}
