"""The loads: as fast as it goes, at a fixed rate, event streams, open connections."""
import json
import selectors
import socket
import statistics
import subprocess
import time

from .peers import MESSAGES, ORIGIN, STREAM

REPORT = """
done = function(summary)
  io.write(string.format("requests=%d seconds=%.6f refused=%d\\n", summary.requests, summary.duration / 1e6, summary.errors.status))
end
"""


def scripts(directory, token):
    """What wrk sends: name -> file."""
    forged = token[:-8] + ("A" * 8 if not token.endswith("A" * 8) else "B" * 8)
    headers = lambda bearer: f'wrk.headers["Authorization"]="Bearer {bearer}"\nwrk.headers["Origin"]="{ORIGIN}"\n'
    post = f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nwrk.body=[[{message()}]]\n'
    made = {}
    for name, text in {"GET": headers(token), "POST 1 KiB": headers(token) + post, "refusal": headers(forged)}.items():
        made[name] = directory / f"{name.split()[0]}.lua"
        made[name].write_text(text + REPORT)
    return made


def message():
    return json.dumps({"messages": [{"role": "user", "content": "Tell me more about it. " * 41}]})


def as_fast_as_it_goes(core, port, seconds, script, connections=32):
    """Requests, seconds, refusals."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script),
            f"http://127.0.0.1:{port}{MESSAGES}"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    figures = dict(item.split("=") for item in out.splitlines()[-1].split())
    return int(figures["requests"]), float(figures["seconds"]), int(figures["refused"])


def head(port, token, path=MESSAGES, method="GET", length=None):
    framing = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if length is not None else ""
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Origin: {ORIGIN}\r\n{framing}\r\n").encode()


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answer(connection):
    """Reads one answer of known length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(connection)
    first, rest = data.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in first.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(rest) < length:
        rest += more(connection)
    return first


def more(connection):
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the connection was closed")
    return data


def at_a_fixed_rate(port, token, rate=200, seconds=2):
    """Latencies in µs on one connection, from the moment each request was due, late or not."""
    connection, request, latencies = connect(port), head(port, token), []
    begin = time.monotonic() + 0.1
    for number in range(rate * seconds):
        due = begin + number / rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(left if left > 0.001 else 0)
        connection.sendall(request)
        answer(connection)
        latencies.append((time.monotonic() - due) * 1e6)
    connection.close()
    return latencies


def event_streams(port, token, streams=50, events=25):
    """First event after the request, and the way of each later one, in µs."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "streaming": True}).encode()
    request = head(port, token, f"{STREAM}", "POST", len(body)) + body
    selector, firsts, laters, sent, seen = selectors.DefaultSelector(), [], [], {}, {}
    for _ in range(streams):
        connection = connect(port)
        sent[connection], seen[connection] = time.monotonic_ns(), 0
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ)
        time.sleep(0.001)
    while sent:
        for key, _ in selector.select():
            data, now = key.fileobj.recv(65536), time.monotonic_ns()
            for line in data.split(b"\n"):
                if line.startswith(b"data: "):
                    way = (now - int(line[6:])) / 1e3
                    if seen[key.fileobj] == 0:
                        firsts.append((now - sent[key.fileobj]) / 1e3)
                    else:
                        laters.append(way)
                    seen[key.fileobj] += 1
            if not data or seen[key.fileobj] >= events:
                if seen[key.fileobj] < events:
                    raise ConnectionError("a stream ended early")
                selector.unregister(key.fileobj)
                key.fileobj.close()
                del sent[key.fileobj]
    return statistics.median(firsts), statistics.median(laters)


def memory_of_connections(process, port, token, count=1000):
    """KiB an idle connection that has been used once."""
    held = [connect(port) for _ in range(20)]
    for connection in held:
        connection.sendall(head(port, token))
        answer(connection)
    before = process.memory_kib()
    for _ in range(count):
        connection = connect(port)
        connection.sendall(head(port, token))
        answer(connection)
        held.append(connection)
    after = process.memory_kib()
    for connection in held:
        connection.close()
    return (after - before) / count


def memory_of_streams(process, port, token, count=400):
    """KiB an open event stream."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "streaming": True}).encode()
    request = head(port, token, STREAM, "POST", len(body)) + body
    held = []

    def open_one():
        connection = connect(port)
        connection.sendall(request)
        data = b""
        while b"data: " not in data:
            data += more(connection)
        held.append(connection)

    for _ in range(60):
        open_one()
    before = process.memory_kib()
    for _ in range(count):
        open_one()
    after = process.memory_kib()
    for connection in held:
        connection.close()
    return (after - before) / count
