"""gRPC as grpcio sees it. clients/rpc.js plays the same."""
import queue

import grpc

from transcript import play

BLOB = bytes(range(256))


class Calls:
    """A channel of the scenario's own."""

    def __init__(self, host, port):
        options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)

    def unary(self, name):
        return self.channel.unary_unary(f"/interop.Calls/{name}")

    def one(self, name, message, metadata=None, timeout=None):
        """A call with one answer: the answer, the metadata before it, and how it ended."""
        call = self.unary(name).future(message, metadata=metadata, timeout=timeout)
        try:
            answer = call.result()
        except grpc.RpcError:
            answer = None
        return answer, {"initial": said(call.initial_metadata()), **ended(call)}

    def stream(self, name, message):
        return self.channel.unary_stream(f"/interop.Calls/{name}")(message)


def said(metadata):
    """The function's part of the metadata: Thaw adds fields of its own."""
    ours = {}
    for key, value in metadata or ():
        if key.startswith("say-"):
            ours.setdefault(key, []).append(value.hex() if isinstance(value, bytes) else value)
    return dict(sorted(ours.items()))


def ended(call):
    return {"code": call.code().name, "details": call.details(), "trailing": said(call.trailing_metadata())}


def many(call):
    """What a stream of answers holds, and how it ended."""
    answers = []
    try:
        for answer in call:
            answers.append(answer.decode())
    except grpc.RpcError:
        pass  # the status says it
    return {"answers": answers, **ended(call)}


def unary(say, host, port):
    calls = Calls(host, port)
    answer, rest = calls.one("Echo", "Grüße".encode(), [("say-many", "a"), ("say-many", "b, c"), ("say-blob-bin", BLOB)])
    say(answer=answer.decode(), **rest)
    answer, rest = calls.one("Echo", b"")
    say(answer=answer.decode(), **rest)


def server_stream(say, host, port):
    calls = Calls(host, port)
    seen = many(calls.stream("Count", b"1000"))
    answers = seen.pop("answers")
    say(first=answers[0], last=answers[-1], count=len(answers), **seen)
    say(**many(calls.stream("Count", b"0")))


def client_stream(say, host, port):
    call = Calls(host, port).channel.stream_unary("/interop.Calls/Sum")
    call = call.future(str(number).encode() for number in range(1, 1001))
    say(answer=call.result().decode(), **ended(call))


def bidi(say, host, port):
    """The next message is sent when the last is answered: neither direction waits for the other's end."""
    words = queue.SimpleQueue()
    call = Calls(host, port).channel.stream_stream("/interop.Calls/Talk")
    call = call(iter(words.get, None), metadata=[("say-first", "hello")])
    say(initial=said(call.initial_metadata()))
    for number in range(1, 6):
        words.put(f"round {number}".encode())
        say(answer=next(call).decode())
    words.put(None)
    say(**many(call))


def error(say, host, port):
    calls = Calls(host, port)
    answer, rest = calls.one("Fail", b"x")
    say(answer=answer, **rest)
    say(**many(calls.stream("FailLate", b"x")))
    say(unknown=calls.one("Nothing", b"x")[1]["code"])


def cancel(say, host, port):
    """What the function sees of it is another matter."""
    calls = Calls(host, port)
    call = calls.stream("Linger", b"x")
    next(call)
    call.cancel()
    say(code=call.code().name)
    answer, rest = calls.one("Echo", b"next")
    say(answer=answer and answer.decode(), **rest)


def deadline(say, host, port):
    calls = Calls(host, port)
    answer, rest = calls.one("Remaining", b"x", timeout=25)
    say(answer=answer and answer.decode(), **rest)
    say(code=calls.one("Slow", b"x", timeout=0.3)[1]["code"])
    answer, rest = calls.one("Echo", b"next")
    say(answer=answer and answer.decode(), **rest)


def large(say, host, port):
    sent = BLOB * (4 << 12)
    answer, rest = Calls(host, port).one("Echo", sent)
    say(bytes=answer and len(answer), same=answer == sent, **rest)


def crowd(say, host, port):
    """Calls on one connection at once, all in one instance."""
    who = Calls(host, port).unary("Who")
    all = [who.future(b"x") for _ in range(50)]
    codes = {call.code().name for call in all}
    answers = [call.result().decode() for call in all if call.code() is grpc.StatusCode.OK]
    say(codes=sorted(codes), answers=len(answers), instances=len(set(answers)))


play({
    "unary": unary,
    "serverstream": server_stream,
    "clientstream": client_stream,
    "bidi": bidi,
    "error": error,
    "cancel": cancel,
    "cut": cancel,  # the same, where the function's manifest says `onDisconnect: Cancel`
    "deadline": deadline,
    "large": large,
    "crowd": crowd,
})
