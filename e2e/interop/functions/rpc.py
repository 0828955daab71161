"""Every kind of gRPC call, answered by grpcio. functions/rpc.js answers the same."""
import os
import signal
import time
from concurrent import futures

import grpc

TRAILING = (("say-end", "the end"), ("say-end-bin", bytes([0, 255, 10, 13, 128])))


def said(context):
    """What the client said, to be said back."""
    return [(key, value) for key, value in context.invocation_metadata() if key.startswith("say-")]


def echo(request, context):
    context.send_initial_metadata(said(context))
    context.set_trailing_metadata(TRAILING)
    return request


def who(request, context):
    time.sleep(0.05)
    return str(os.getpid()).encode()


def remaining(request, context):
    seconds = context.time_remaining()
    return b"up to 30 s" if seconds and 0 < seconds <= 30 else f"{seconds} s".encode()


def slow(request, context):
    for _ in range(300):
        if not context.is_active():
            break
        time.sleep(0.01)
    return b"late"


def fail(request, context):
    context.set_trailing_metadata(TRAILING)
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "naïve ☃, 100 % wrong")


def count(request, context):
    context.set_trailing_metadata(TRAILING)
    for number in range(1, int(request) + 1):
        yield str(number).encode()


def fail_late(request, context):
    yield b"one"
    yield b"two"
    context.set_trailing_metadata(TRAILING)
    context.abort(grpc.StatusCode.ABORTED, "no third: ☃")


def linger(request, context):
    """A message every 20 ms, until the client is seen to leave or a second is over."""
    ends = []

    def end(how):
        ends.append(how)
        if len(ends) == 1:
            print(f"seen: linger {how}", flush=True)

    context.add_callback(lambda: end("cancelled"))
    for _ in range(50):
        yield b"still here"
        time.sleep(0.02)
    end("finished")


def sum_up(requests, context):
    context.set_trailing_metadata(TRAILING)
    return str(sum(int(number) for number in requests)).encode()


def talk(requests, context):
    context.send_initial_metadata(said(context))
    context.set_trailing_metadata(TRAILING)
    for words in requests:
        yield b"re: " + words


CALLS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Who": grpc.unary_unary_rpc_method_handler(who),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Linger": grpc.unary_stream_rpc_method_handler(linger),
    "Sum": grpc.stream_unary_rpc_method_handler(sum_up),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("interop.Calls", CALLS)])
port = server.add_insecure_port(f"0.0.0.0:{os.environ['PORT']}")
server.start()
# Calls that run are finished, and calls that were cut are seen to be.
signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
print(f"listening on {port}", flush=True)
server.wait_for_termination()
