# A collector of traces by OTLP over gRPC without TLS: says the name of each span that it gets.
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


class Collector(service.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    print("got", span.name, flush=True)
        return messages.ExportTraceServiceResponse()


server = grpc.server(ThreadPoolExecutor(2))
service.add_TraceServiceServicer_to_server(Collector(), server)
server.add_insecure_port(sys.argv[1])
server.start()
print("ready", flush=True)
server.wait_for_termination()
