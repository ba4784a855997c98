"""R-09: a stream of ten minutes, an event every few seconds, beside a reader that takes nothing.

Usage: long_stream.py CKGATE SECONDS
"""

import contextlib
import datetime
import http.client
import json
import pathlib
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from lab import KEY, start_gate  # noqa: E402

AGENT = "agent-11111111-1111-4111-8111-111111111111"
ORIGIN = "https://app.test"
SECONDS = int(sys.argv[2])
BETWEEN = 3.0
# How late an event may come on a machine that does other things, in seconds; half of them must be prompt.
LATEST, MEDIAN_MAX = 5.0, 0.25
# A reader that takes nothing is let go after limits.write_stall_timeout, 30 s, and what lies in between.
STALLED_MAX = 90


def chunk(text):
    return b"%x\r\n%s\r\n" % (len(text), text)


def answer(connection):
    """A stream: slow for the patient reader, as fast as it goes for the one that takes nothing."""
    with connection, contextlib.suppress(OSError):
        request = b""
        while b"\r\n\r\n" not in request or not request.endswith(b"}"):
            request += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if b"flood" in request:
                connection.sendall(chunk(b"data: " + b"x" * 60000 + b"\n\n") * 16)
            else:
                connection.sendall(chunk(b"data: %r\n\n" % time.monotonic()))
                time.sleep(BETWEEN)
        connection.sendall(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def upstream():
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)

    def serve():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def ask(port, method, path, credential, body, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Authorization": f"Bearer {credential}", "Origin": ORIGIN, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    return connection.getresponse()


def token(port):
    expires_at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=SECONDS + 300)
    body = {"policy": [{"type": "agent", "id": AGENT, "access": ["write_messages"]}], "hostname": ORIGIN,
            "expires_at": expires_at.isoformat()}
    return json.loads(ask(port, "POST", "/v1/client-side-access-tokens", KEY, body).read())["token"]


def says(text):
    return {"messages": [{"role": "user", "content": text}]}


def take_nothing(port, credential, admin):
    """How long the gate puts up with a reader that takes nothing."""
    body = json.dumps(says("flood")).encode()
    head = (f"POST /v1/agents/{AGENT}/messages/stream HTTP/1.1\r\nHost: gw.test\r\nOrigin: {ORIGIN}\r\n"
            f"Authorization: Bearer {credential}\r\nContent-Length: {len(body)}\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head.encode() + body)
        while streams(admin) < 2:
            time.sleep(0.1)
        began = time.monotonic()
        while time.monotonic() - began < STALLED_MAX and streams(admin) > 1:
            time.sleep(0.5)
    return time.monotonic() - began


def streams(admin):
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(int(line.split(" ")[1]) for line in lines if line.startswith("ckgate_streams "))


with tempfile.TemporaryDirectory() as name:
    gate, port, admin = start_gate(sys.argv[1], pathlib.Path(name), upstream())
    patient = ask(port, "POST", f"/v1/agents/{AGENT}/messages/stream", token(port), says("slow"), timeout=60)
    assert patient.status == 200, patient.read()
    stalled = {}

    def stall():
        while streams(admin) < 1:
            time.sleep(0.1)
        stalled["for"] = take_nothing(port, token(port), admin)
    beside = threading.Thread(target=stall)
    beside.start()
    late, last = [], b""
    while line := patient.readline():
        line = line.strip()
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            late.append(time.monotonic() - float(line[6:]))
        last = line or last
    beside.join()
    assert last == b"data: [DONE]", f"the stream ends with {last}"
    late.sort()
    median = late[len(late) // 2]
    print(f"{len(late)} events in {SECONDS} s, {median * 1000:.1f} ms late in the middle, {late[-1] * 1000:.0f} ms at most; "
          f"who took nothing was let go after {stalled['for']:.0f} s")
    assert len(late) > SECONDS / BETWEEN * 0.7 and median < MEDIAN_MAX and late[-1] < LATEST
    assert 25 < stalled["for"] < STALLED_MAX
    gate.terminate()
    gate.wait()
