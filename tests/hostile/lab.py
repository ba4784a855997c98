"""A gate before an upstream that answers everything, for the scripts beside this file."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

KEY = "sk-let-peers0server0key0of0the0default0account"
LARGE = b"x" * (8 << 20)


def upstream(listener):
    """Answers every whole request with 200."""
    def serve(connection):
        with connection, contextlib.suppress(OSError):
            pending = b""
            while data := connection.recv(65536):
                pending += data
                head, separator, rest = pending.partition(b"\r\n\r\n")
                lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                chunked = b"transfer-encoding" in lines
                whole = rest.endswith(b"0\r\n\r\n") if chunked else len(rest) >= int(lines.get(b"content-length", 0))
                if separator and whole:
                    pending = b""
                    body = LARGE if b"/large" in head else b""
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    sys.exit(f"nobody listens on {port}")


def start_upstream():
    """Its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    threading.Thread(target=upstream, args=(listener,), daemon=True).start()
    return listener.getsockname()[1]


def start_gate(program, folder, to, limits="", environment=None):
    """The process, its public port, its admin port."""
    for name, text in (("key", KEY), ("credential", "none")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "ckgate.toml").write_text(
        f'{limits}[listen]\npublic = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n[upstream]\nurl = "http://127.0.0.1:{to}"\n'
        f'credential = {{ file = "{folder}/credential" }}\n[[accounts]]\nname = "default"\n'
        f'server_keys = [{{ file = "{folder}/key" }}]\n[store]\nurl = "sqlite:{folder}/ckgate.db"\n'
    )
    command = [pathlib.Path(program).resolve(), "serve", "--config", folder / "ckgate.toml"]
    gate = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})
    for line in gate.stdout:
        event = json.loads(line)
        if event.get("message") == "listening":
            threading.Thread(target=gate.stdout.read, daemon=True).start()
            port, admin = (int(event[name].rsplit(":", 1)[1]) for name in ("listen.public", "listen.admin"))
            return gate, port, admin
    sys.exit("the gate did not start")
