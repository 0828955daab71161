"""WebSockets as websockets sees them. clients/sockets.js plays the same."""
import asyncio

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from transcript import play


def open(host, port, path="/", **options):
    return connect(f"ws://{host}{path}", host="127.0.0.1", port=port, max_size=None, proxy=None, **options)


async def ask(socket, message):
    """Sends a message and waits for the next."""
    await socket.send(message)
    return await socket.recv()


async def closed(socket):
    """Waits for the end."""
    await socket.wait_closed()
    return {"code": socket.close_code, "reason": socket.close_reason}


async def echo(say, host, port):
    async with open(host, port) as socket:
        for message in ["hello", "Grüße ☃", ""]:
            say(text=await ask(socket, message))
        say(binary=(await ask(socket, bytes([0, 255, 128, 10]))).hex())
        await socket.close()
        say(**await closed(socket))


async def large(say, host, port):
    """Uncompressed, so that all of it goes over the wire."""
    async with open(host, port, compression=None) as socket:
        sent = b"sixteen MiB! .. " * (1 << 20)
        answer = await ask(socket, sent)
        say(bytes=len(answer), same=answer == sent, extensions=extensions(socket))


def extensions(socket):
    return socket.response.headers.get("sec-websocket-extensions")


async def fragments(say, host, port):
    async with open(host, port) as socket:
        async def parts():
            yield "one, "
            yield "two, "
            await (await socket.ping("between"))  # control frames may come between fragments
            say(between="between")
            yield "three"

        say(whole=await ask(socket, parts()))
        await socket.send("/fragments")
        say(parts=[part async for part in socket.recv_streaming()])


async def ping(say, host, port):
    async with open(host, port) as socket:
        await (await socket.ping("anybody?"))
        say(pong="anybody?")
        say(text=await ask(socket, "/ping"))


async def close(say, host, port):
    for code, reason in [(1000, "bye"), (1001, "going away"), (3001, ""), (4001, "raison d’être ☃")]:
        async with open(host, port, "/watched") as socket:
            await socket.close(code, reason)
            say(client=await closed(socket))
    for order in ["1000 bye", "1001 going away", "3001", "4999 grün"]:
        async with open(host, port) as socket:
            await socket.send(f"/close {order}")
            say(server=await closed(socket))


async def abrupt(say, host, port):
    async with open(host, port, "/watched") as socket:
        say(text=await ask(socket, "hello"))
        socket.transport.abort()
        say(**await closed(socket))
    async with open(host, port) as socket:
        await socket.send("/vanish")
        say(**await closed(socket))
    async with open(host, port) as socket:
        say(text=await ask(socket, "and on it goes"))


async def choices(say, host, port):
    for options in [
        {"subprotocols": ["chat.v1", "chat.v2"]},
        {"subprotocols": ["chat.v1"], "compression": None},
        {},
    ]:
        async with open(host, port, **options) as socket:
            text = await ask(socket, "compress me, compress me, compress me")
            say(protocol=socket.subprotocol, extensions=extensions(socket), text=text)


async def refused(say, host, port):
    try:
        await open(host, port, "/refuse")
    except InvalidStatus as refusal:
        answer = refusal.response
        say(status=answer.status_code, why=answer.headers.get("x-why"), body=answer.body.decode())
    async with open(host, port) as socket:
        say(text=await ask(socket, "this one may"))


async def quiet(say, host, port):
    """Longer than the function's clock for its first byte, which has come."""
    async with open(host, port) as socket:
        await asyncio.sleep(1.2)
        say(text=await ask(socket, "still here"))


async def crowd(say, host, port):
    sockets = await asyncio.gather(*(open(host, port) for _ in range(200)))
    echoes = await asyncio.gather(*(ask(socket, f"I am {at}") for at, socket in enumerate(sockets)))
    instances = set(await asyncio.gather(*(ask(socket, "/who") for socket in sockets)))
    await asyncio.gather(*(socket.close() for socket in sockets))
    say(right=sum(echo == f"I am {at}" for at, echo in enumerate(echoes)), instances=len(instances))


def now(scenario):
    return lambda say, host, port: asyncio.run(scenario(say, host, port))


scenarios = [echo, large, fragments, ping, close, abrupt, choices, refused, quiet, crowd]
play({scenario.__name__: now(scenario) for scenario in scenarios})
