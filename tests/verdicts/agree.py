"""Sends every vector through every edge, and compares each answer and what arrived upstream with the verdict."""

import contextlib
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
EDGES = HERE.parent.parent / "config" / "edges"
A = "agent-11111111-1111-4111-8111-111111111111"
ORIGIN, HOST = "https://app.test", "gw.test"
SERVER_KEY = "sk-let-verdicts0server0key0of0the0account000"
CREDENTIAL = "upstream-credential-that-no-client-may-see"
# The only headers of a client token's request that may arrive upstream.
ARRIVES = {"host", "accept", "accept-language", "accept-encoding", "user-agent", "content-type", "content-length",
           "transfer-encoding", "connection", "authorization", "user_id", "x-request-id", "traceparent"}
# How an edge names itself to the upstream, with nothing of the caller's in it.
EDGE_OWN = {"via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
# Traefik decodes escaped letters before it asks: what is judged, and sent, is canonical.
DECODED_BY_TRAEFIK = {"an escaped letter": {"verdict": {"status": 200}, "sent": f"/v1/agents/{A}/messages"}}
# A message that the upstream answers by a stream without an end.
ENDLESS = "a story without an end"


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers everything, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list = []

    def answer(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.seen.append((self.command, self.path, [(n.lower(), v) for n, v in self.headers.items()], body))
        if ENDLESS.encode() in body:
            return self.stream()
        text = b"[]"
        self.send_response(200)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(text))),
                            ("Set-Cookie", "session=1"), ("Access-Control-Allow-Origin", "*")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(600):
                self.wfile.write(b'data: {"message_type":"ping"}\n\n')
                self.wfile.flush()
                time.sleep(0.1)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """An edge that closes its connection is no error."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port, process):
    for _ in range(1000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended instead of listening on {port}")
        time.sleep(0.02)
    sys.exit(f"nobody listens on {port}")


def start_gate(program, folder, ports):
    for name, text in (("key", SERVER_KEY), ("credential", CREDENTIAL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "ckgate.toml").write_text(f"""
[listen]
public = "127.0.0.1:{ports[8284]}"
admin = "127.0.0.1:0"
decision = "127.0.0.1:{ports[8287]}"
decision_grpc = "127.0.0.1:{ports[8288]}"
[decision]
peers = ["127.0.0.1"]
dangerous_uncut_streams = true
[upstream]
url = "http://127.0.0.1:{ports[8283]}"
credential = {{ file = "{folder}/credential" }}
[[accounts]]
name = "default"
server_keys = [{{ file = "{folder}/key" }}]
[store]
url = "sqlite:{folder}/ckgate.db"
""")
    return subprocess.Popen([program, "serve", "--config", folder / "ckgate.toml"], cwd=folder,
                            stdout=(folder / "ckgate.log").open("w"))


def start_edge(name, folder, ports):
    """Starts an edge from its file in config/edges, with this run's ports; its process."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    file = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile", "traefik": "traefik.yaml",
            "envoy http": "envoy-http.yaml", "envoy grpc": "envoy-grpc.yaml"}[name]
    beside = {"haproxy": ["ckgate.lua"], "traefik": ["traefik-routes.yaml"]}
    for source in [file] + beside.get(name, []):
        text = (EDGES / source).read_text()
        text = text.replace("https://chat.example.com", ORIGIN).replace("/etc/ckgate", str(folder))
        for port in (8080, 8283, 8284, 8287, 8288):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports[port]}")
            text = text.replace(f"port_value: {port}", f"port_value: {ports[port]}").replace(f":{port} {{", f":{ports[port]} {{")
        (folder / source).write_text(text)
    at = str(folder / file)
    command = {
        "nginx": ["nginx", "-p", str(folder), "-c", at, "-e", str(folder / "error.log"),
                  "-g", f"daemon off; pid {folder}/pid; worker_processes 1;"],
        "haproxy": ["haproxy", "-db", "-C", str(folder), "-f", at],
        "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", at],
        "traefik": ["traefik", f"--configFile={at}"],
        "envoy http": ["envoy", "--disable-hot-restart", "--log-level", "error", "--concurrency", "1", "-c", at],
        "envoy grpc": ["envoy", "--disable-hot-restart", "--log-level", "error", "--concurrency", "1", "-c", at],
    }[name]
    if name == "nginx":
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace("http {", f"http {{ access_log off; client_body_temp_path {folder}/b; "
                                   f"proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; "
                                   f"uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;", 1))
    process = subprocess.Popen(command, cwd=folder, stdout=(folder / "out").open("w"), stderr=subprocess.STDOUT)
    try:
        wait_for(ports[8080], process)
        # Traefik listens before it has read where things go.
        for _ in range(1000 if name == "traefik" else 0):
            if ask(ports[8080], "GET", "/", [("Host", HOST)])[2] != b"404 page not found\n":
                break
            time.sleep(0.02)
    except SystemExit:
        print((folder / "out").read_text()[-3000:])
        process.kill()
        raise
    return process


def ask(port, method, target, headers, body=None):
    """One request on a connection of its own; status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def make_tokens(port):
    def create(access, lifetime=600, **more):
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime))
        body = json.dumps({"policy": [{"type": "agent", "id": A, "access": access}], "hostname": ORIGIN, "expires_at": expires,
                           **more})
        status, _, text = ask(port, "POST", "/v1/client-side-access-tokens", key, body.encode())
        assert status == 201, text
        return json.loads(text)["token"]

    key = [("Host", HOST), ("Authorization", f"Bearer {SERVER_KEY}")]
    tokens = {"expired": create(["read_messages"], 2), "writer": create(["write_messages"]),
              "reader": create(["read_messages"]), "deleted": create(["read_messages"]), "agent_reader": create(["read_agent"])}
    status, _, text = ask(port, "DELETE", "/v1/client-side-access-tokens/" + tokens["deleted"], key)
    assert status == 200, text
    tokens["brief_streams"] = create(["write_messages"], limits={"stream_seconds": 2})
    tokens["forged"] = tokens["reader"][:40] + tokens["reader"][40:][::-1]
    tokens["server_key"] = SERVER_KEY
    tokens["unknown_key"] = "sk-let-nobodys0key0nobodys0key0nobodys0key0"
    time.sleep(2.1)
    return tokens


def is_asked_by_traefik(vector):
    """Whether the vector is one of those that go around the gate."""
    return (vector["method"], vector.get("origin", ORIGIN)) == ("GET", ORIGIN) and vector["target"].startswith("/v1/agents/")


def verdict_of(vector, edge):
    if edge == "proxy":
        return vector["verdict"]
    gives_body = edge.startswith("envoy")
    if edge == "traefik" and not is_asked_by_traefik(vector):
        return vector["verdict"]
    if edge == "traefik" and "keeps_headers" in vector:
        return vector["keeps_headers"]
    if "without_answer" in vector:
        return vector["without_answer"]
    if "without_body" in vector and not gives_body:
        return vector["without_body"]
    if "keeps_target" in vector and edge in ("traefik", "envoy http", "envoy grpc"):
        return vector["keeps_target"]
    return vector["verdict"]


def check(edge, vector, tokens, port):
    """What is wrong with the edge's treatment of one vector."""
    if edge == "traefik":
        vector = vector | DECODED_BY_TRAEFIK.get(vector["name"], {})
    headers = [("Host", vector.get("host", HOST))]
    if vector["token"] in tokens:
        headers.append(("Authorization", "Bearer " + tokens[vector["token"]]))
    origin = vector.get("origin", ORIGIN)
    if origin:
        headers.append(("Origin", origin))
    headers += vector.get("headers", {}).items()
    body = vector.get("raw_body") or (json.dumps(vector["body"]) if "body" in vector else None)
    if body is not None:
        headers.append(("Content-Type", "application/json"))
        body = body.encode()
    Upstream.seen.clear()
    status, answer, text = ask(port, vector["method"], vector["target"], headers, body)
    verdict = verdict_of(vector, edge)
    seen = list(Upstream.seen)
    with contextlib.suppress(ValueError):
        text = json.loads(text)
    code = text.get("code") if isinstance(text, dict) else None
    if status != verdict["status"] or code != verdict.get("code") and vector["method"] != "HEAD":
        return f"{status} {code}, not {verdict}: {text}"
    if CREDENTIAL in str(answer) + str(text):
        return "shows the upstream's credential"
    if status != 200:
        return f"went upstream: {seen}" if seen else None
    if len(seen) != 1:
        return f"{len(seen)} requests arrived upstream"
    if answer.get("set-cookie"):
        return "passes a cookie on"
    if origin and vector["token"] != "server_key" and answer.get_all("access-control-allow-origin") != [origin]:
        return f"Access-Control-Allow-Origin is {answer.get_all('access-control-allow-origin')}"
    return check_arrived(vector, seen[0], body)


def check_arrived(vector, arrived, body):
    method, path, headers, got = arrived
    if (method, path) != (vector["method"], vector.get("sent", vector["target"])):
        return f"{method} {path} arrived"
    if got != (body or b""):
        return f"the body {got} arrived"
    if [v for n, v in headers if n == "authorization"] != [f"Bearer {CREDENTIAL}"]:
        return "the credential did not arrive alone"
    admitted = ARRIVES | EDGE_OWN
    beyond = [n for n, v in headers if v and n not in admitted and not n.startswith(("x-stainless-", "x-fern-"))]
    return f"{beyond} arrived" if beyond else None


def check_stream(tokens, port):
    """What is wrong with the end of a stream through Envoy, which is told how long one may last."""
    body = json.dumps({"messages": [{"role": "user", "content": ENDLESS}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        headers = {"Host": HOST, "Authorization": "Bearer " + tokens["brief_streams"], "Origin": ORIGIN,
                   "Content-Type": "application/json", "X-Envoy-Upstream-Rq-Timeout-Ms": "0"}
        connection.request("POST", f"/v1/agents/{A}/messages/stream", body, headers)
        answer = connection.getresponse()
        began, read = time.monotonic(), b""
        with contextlib.suppress(http.client.IncompleteRead, OSError):
            while piece := answer.read1(65536):
                read += piece
        took = time.monotonic() - began
    if answer.status != 200 or b"ping" not in read:
        return f"{answer.status} {read[:200]}"
    return f"the stream lasted {took:.1f} s" if took > 15 else None


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    only = sys.argv[2:]
    vectors = json.loads((HERE / "vectors.json").read_text())
    upstream = Server(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    ports = {port: free_port() for port in (8284, 8287, 8288)} | {8283: upstream.server_port}
    passed = failed = 0
    running = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        try:
            running.append(start_gate(program, folder, ports))
            wait_for(ports[8284], running[0])
            tokens = make_tokens(ports[8284])
            for edge in ("proxy", "nginx", "haproxy", "caddy", "traefik", "envoy http", "envoy grpc"):
                if only and edge not in only:
                    continue
                ports[8080] = ports[8284]
                if edge != "proxy":
                    ports[8080] = free_port()
                    running.append(start_edge(edge, folder / edge.replace(" ", "-"), ports))
                for vector in vectors:
                    problem = check(edge, vector, tokens, ports[8080])
                    passed, failed = passed + (not problem), failed + bool(problem)
                    if problem:
                        print(f"FAIL {edge}: {vector['name']}: {problem}")
                if edge.startswith("envoy"):
                    problem = check_stream(tokens, ports[8080])
                    passed, failed = passed + (not problem), failed + bool(problem)
                    print(f"FAIL {edge}: a stream ends in time: {problem}" if problem else f"{edge}: a stream ends in time")
                print(f"{edge}: done")
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(20)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


main()
