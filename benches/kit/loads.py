"""The loads: as fast as it goes, at a fixed rate, handshakes, event streams, open connections."""
import json
import socket
import ssl
import subprocess
import time

from .peers import MESSAGES, ORIGIN, STREAM
from .processes import rust_program

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


def as_fast_as_it_goes(core, port, seconds, script, connections=32, scheme="http"):
    """Requests, seconds, refusals."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script),
            f"{scheme}://127.0.0.1:{port}{MESSAGES}"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    figures = dict(item.split("=") for item in out.splitlines()[-1].split())
    return int(figures["requests"]), float(figures["seconds"]), int(figures["refused"])


def cost(core, port, process, seconds, script, **how):
    """CPU µs of the process a request, requests a second. Every answer must be a good one."""
    before = process.cpu_seconds()
    count, took, refused = as_fast_as_it_goes(core, port, seconds, script, **how)
    cpu = process.cpu_seconds() - before
    if refused or not count:
        raise SystemExit(f"port {port}: {refused} of {count} answers were not good")
    return cpu / count * 1e6, count / took


def head(port, token, path=MESSAGES, method="GET", length=None):
    framing = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if length is not None else ""
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Origin: {ORIGIN}\r\n{framing}\r\n").encode()


def stream_request(port, token, every_us=20_000):
    content = f"Send an event every {every_us} us, please."
    body = json.dumps({"messages": [{"role": "user", "content": content}], "streaming": True}).encode()
    return head(port, token, STREAM, "POST", len(body)) + body


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answer(connection):
    """Reads one answer of known length; its head."""
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


def at_a_fixed_rate(core, port, token, rate, seconds, connections):
    """Percentiles in µs, each latency counted from the moment the request was due."""
    argv = ["taskset", "-c", str(core), rust_program("rate"), *map(str, (port, rate, seconds, connections))]
    figures = json.loads(subprocess.run(argv, check=True, input=head(port, token), stdout=subprocess.PIPE).stdout)
    if figures.pop("refused"):
        raise SystemExit(f"port {port}: refused at a fixed rate")
    return figures


def handshakes(port, seconds):
    """How many full TLS 1.3 handshakes were made, one after the other, no session taken up again."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with context.wrap_socket(connect(port)) as connection:
            count += connection.version() == "TLSv1.3"
    return count


def event_streams(core, port, token, streams=400, events=10):
    """First event after the request, and the way of each later one, in µs."""
    argv = ["taskset", "-c", str(core), rust_program("streams"), *map(str, (port, streams, events))]
    figures = json.loads(subprocess.run(argv, check=True, input=stream_request(port, token), stdout=subprocess.PIPE).stdout)
    return figures["first"], figures["later"]


def open_connections(port, token, count):
    """Idle connections that have each been used once."""
    held, request = [], head(port, token)
    for _ in range(count):
        connection = connect(port)
        connection.sendall(request)
        answer(connection)
        held.append(connection)
    return held


def open_streams(port, token, count, every_us=20_000):
    """Event streams of which the first event has been seen."""
    held, request = [], stream_request(port, token, every_us)
    for _ in range(count):
        connection = connect(port)
        connection.sendall(request)
        data = b""
        while b"data: " not in data:
            data += more(connection)
        held.append(connection)
    return held


def close(held):
    for connection in held:
        connection.close()
