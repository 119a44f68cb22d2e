"""A client of the A2A SDK: sends a message in each version, in one piece and as a stream, and asks for a task that is not
there.

It prints version and kind of each with the context that the agent gave it, and the state of its task.
Arguments: address, binding, token."""
import asyncio
import sys

import grpc
from a2a.client import ClientConfig, ClientFactory
from a2a.client.client import ClientCallContext
from a2a.helpers.proto_helpers import new_text_message
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    GetTaskRequest,
    Role,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import A2AError

address, binding, token = sys.argv[1:]


async def call(version, kind):
    url = address if binding == "GRPC" else f"http://{address}"
    interface = AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
    card = AgentCard(
        name="agent",
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[interface],
    )
    config = ClientConfig(
        streaming=kind == "stream",
        supported_protocol_bindings=[binding],
        grpc_channel_factory=grpc.aio.insecure_channel,
    )
    context = ClientCallContext(service_parameters={"Authorization": f"Bearer {token}"})
    request = SendMessageRequest(message=new_text_message("hello", role=Role.ROLE_USER))
    told, state = "", ""
    async with ClientFactory(config).create(card) as client:
        if kind == "absent":
            try:
                await client.get_task(GetTaskRequest(id="absent"), context=context)
            except A2AError:
                return
        async for response in client.send_message(request, context=context):
            payload = getattr(response, response.WhichOneof("payload"))
            told = told or payload.context_id
            if payload.status.state:
                state = TaskState.Name(payload.status.state)
    print(version, kind, told, state)


async def main():
    for version in ("1.0", "0.3"):
        for kind in ("unary", "stream", "absent"):
            await call(version, kind)


asyncio.run(main())
