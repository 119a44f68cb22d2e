"""An agent of the A2A SDK: 1.0 and 0.3 by JSON-RPC at /, by HTTP+JSON, and by gRPC at GRPC_ADDRESS."""
import os

import grpc
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandlerV2, GrpcHandler
from a2a.server.routes import create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, a2a_pb2_grpc
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


class Executor(AgentExecutor):
    async def execute(self, context, event_queue):
        await event_queue.enqueue_event(context.current_task or new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


interfaces = [
    AgentInterface(url="http://agent", protocol_binding=binding, protocol_version=version)
    for binding in ("JSONRPC", "HTTP+JSON", "GRPC")
    for version in ("1.0", "0.3")
]
card = AgentCard(
    name="agent",
    description="an agent",
    version="1",
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    capabilities=AgentCapabilities(streaming=True),
    supported_interfaces=interfaces,
)
handler = DefaultRequestHandlerV2(Executor(), InMemoryTaskStore(), card)


async def serve_grpc():
    server = grpc.aio.server()
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server(CompatGrpcHandler(handler), server)
    server.add_insecure_port(os.environ["GRPC_ADDRESS"])
    await server.start()
    return server


class Lifespan:
    """Serves gRPC as long as HTTP is served."""

    def __init__(self, app):
        pass

    async def __aenter__(self):
        self.server = await serve_grpc()

    async def __aexit__(self, *_):
        await self.server.stop(0)


routes = [Route("/ready", lambda request: PlainTextResponse("ready"))]
routes += create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)
routes += create_rest_routes(handler, enable_v0_3_compat=True)
app = Starlette(routes=routes, lifespan=Lifespan)
