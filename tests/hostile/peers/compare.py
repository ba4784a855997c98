"""Sends each input to the gate, to haproxy and to nginx, and holds their verdicts side by side."""

import concurrent.futures
import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import corpus  # noqa: E402
from lab import free_port, start_gate, start_upstream, wait_for  # noqa: E402

CHANCE = 3000
# How long an answer may take; an input that is not a whole request gets none.
PATIENCE = 1.5


def start_haproxy(folder, to):
    port = free_port()
    (folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n"
        f"frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n server s 127.0.0.1:{to}\n"
    )
    return subprocess.Popen(["haproxy", "-q", "-f", folder / "haproxy.cfg"]), port


def start_nginx(folder, to):
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log /dev/null;\nevents {{}}\nhttp {{ access_log off;\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{to}; proxy_http_version 1.1; }} }} }}\n"
    )
    return subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL), port


def accepts(port, data, patience=PATIENCE):
    """Whether the answer to the first request is a success."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(patience)
        with contextlib.suppress(OSError):
            connection.sendall(data)
        answer = b""
        while b"\r\n" not in answer or answer.startswith(b"HTTP/1.1 100"):
            answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            more = connection.recv(4096)
            if not more:
                break
            answer += more
        return answer[9:10] == b"2"
    return False


def main():
    explained = {}
    for line in (HERE / "explained.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, why = line.split("\t")
            explained[name] = why
    inputs = dict(corpus.by_hand()) | dict(corpus.by_chance(CHANCE))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        to = start_upstream()
        ports = []
        gate, port, _ = start_gate(sys.argv[1], folder, to)
        for process, port in ((gate, port), start_haproxy(folder, to), start_nginx(folder, to)):
            stack.callback(process.wait)
            stack.callback(process.terminate)
            wait_for(port)
            ports.append(port)
        with concurrent.futures.ThreadPoolExecutor(48) as pool:
            verdicts = [list(pool.map(lambda data, port=port: accepts(port, data), inputs.values())) for port in ports]
        # A peer that was only slow is asked again, with nobody else.
        for at, (name, gate, haproxy, nginx) in enumerate(zip(inputs, *verdicts)):
            if gate and not haproxy and not nginx:
                for peer in (1, 2):
                    verdicts[peer][at] = accepts(ports[peer], inputs[name], 5)
    alone, accepted = [], [0, 0, 0]
    for name, gate, haproxy, nginx in zip(inputs, *verdicts):
        accepted = [count + verdict for count, verdict in zip(accepted, (gate, haproxy, nginx))]
        if gate and not haproxy and not nginx:
            alone.append(name)
    print(f"{len(inputs)} inputs; accepted by the gate {accepted[0]}, haproxy {accepted[1]}, nginx {accepted[2]}; by the gate alone {len(alone)}")
    if not (verdicts[0][0] and verdicts[1][0] and verdicts[2][0]):
        sys.exit("not even a good request passes")
    unexplained = [name for name in alone if name not in explained]
    stale = [name for name in explained if name not in alone]
    for name in unexplained:
        print(f"accepted by the gate alone, and not explained: {name}")
    for name in stale:
        print(f"explained, and not accepted by the gate alone: {name}")
    sys.exit(1 if unexplained or stale else 0)


main()
