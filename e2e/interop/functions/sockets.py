"""WebSockets, answered by websockets: an echo that takes orders. functions/sockets.js answers the same."""
import asyncio
import os

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def ping(socket):
    await (await socket.ping("are you there?"))
    await socket.send("pong: are you there?")


async def vanish(socket):
    socket.transport.abort()


ORDERS = {
    "/who": lambda socket: socket.send(str(os.getpid())),
    "/close": lambda socket, code, *reason: socket.close(int(code), " ".join(reason)),
    "/vanish": vanish,
    "/fragments": lambda socket: socket.send(["one, ", "two, ", "three"]),
    "/ping": ping,
}


async def answer(socket):
    asking = set()
    try:
        async for message in socket:
            order, *words = message.split(" ") if isinstance(message, str) else [None]
            if order not in ORDERS:
                await socket.send(message)
                continue
            task = asyncio.create_task(ORDERS[order](socket, *words))
            asking.add(task)
            task.add_done_callback(asking.discard)
    except ConnectionClosed:
        pass
    if socket.request.path == "/watched":
        print(f"seen: closed {socket.close_code} {socket.close_reason}".strip(), flush=True)


def refuse(socket, request):
    if request.path == "/refuse":
        response = socket.respond(403, "no entry\n")
        response.headers["x-why"] = "full"
        return response
    if "upgrade" not in request.headers:
        return socket.respond(200, str(os.getpid()))


def choose(socket, offered):
    return next((protocol for protocol in ["chat.v2", "chat.v1"] if protocol in offered), None)


async def main():
    port = int(os.environ["PORT"])
    async with serve(answer, "0.0.0.0", port, process_request=refuse, select_subprotocol=choose, max_size=None) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


asyncio.run(main())
