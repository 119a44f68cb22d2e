# An agent that exports one span as OpenTelemetry's own exporter does; says whether that worked.
import sys

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

exporter = OTLPSpanExporter(endpoint=sys.argv[1], insecure=True, timeout=5)
results = []
export = exporter.export
exporter.export = lambda spans: results.append(export(spans)) or results[-1]
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
with provider.get_tracer("agent").start_as_current_span(sys.argv[2]):
    pass
sys.exit(results != [SpanExportResult.SUCCESS])
