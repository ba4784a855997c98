"""TLS in front of a gate, by the gate itself and by four others; see `run`."""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

GATE, FOLDER = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
ROOT = Path(__file__).resolve().parents[2]
HOST, CLIENT, STRANGER = "gw.test", "127.0.0.5", "127.0.0.9"
KEY = "sk-let-" + "k" * 40
DEADLINE = 30


class Letta(http.server.BaseHTTPRequestHandler):
    """Answers with a stream whose second event waits until the first was seen."""

    protocol_version = "HTTP/1.1"
    seen = threading.Event()

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk(b"data: first\n\n")
        Letta.seen.wait(DEADLINE)
        self.chunk(b"data: second\n\n")
        self.chunk(b"")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(claim, condition):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < DEADLINE, f"never: {claim}"
        time.sleep(0.05)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def certificates():
    run = lambda *a: subprocess.run(["openssl", *a], cwd=FOLDER, check=True, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
        "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "gate.key",
        "-out", "gate.csr", "-subj", f"/CN={HOST}")
    (FOLDER / "ext").write_text(
        f"subjectAltName=DNS:{HOST},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
        # As those of the web's authorities have it; nobody asks there.
        "crlDistributionPoints=URI:http://ca.test/crl\n"
        "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n")
    run("x509", "-req", "-in", "gate.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
        "90", "-out", "gate.pem", "-extfile", "ext")
    pem, key = (FOLDER / "gate.pem").read_text(), (FOLDER / "gate.key").read_text()
    (FOLDER / "gate-and-key.pem").write_text(pem + key)


class Gate:
    def __init__(self, letta, more):
        self.port = free_port()
        config = FOLDER / "ckgate.toml"
        config.write_text(
            f'[listen]\npublic = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:0"\n'
            f'[upstream]\nurl = "http://127.0.0.1:{letta}"\n'
            f'[store]\nurl = "sqlite:{FOLDER}/ckgate.db"\n{more}\n')
        self.log = FOLDER / "gate.log"
        self.process = subprocess.Popen(
            [GATE, "serve", "--config", config], cwd=FOLDER, stdout=self.log.open("w"),
            env={"CKGATE_SERVER_KEY": KEY})
        until("the gate listens", lambda: self.process.poll() is None and listens(self.port))

    def clients(self):
        # The last line may still be on its way.
        whole, _, _ = self.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line["client.address"] for line in lines if line.get("message") == "request"]

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)


def ask(port, source, tls, headers=""):
    """One request whose answer is a stream; fails if the stream is held back on its way."""
    Letta.seen.clear()
    stream = socket.create_connection(("127.0.0.1", port), DEADLINE, (source, 0))
    stream.settimeout(DEADLINE)
    if tls:
        context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        stream = context.wrap_socket(stream, server_hostname=HOST)
    request = f"GET /v1/agents/ HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {KEY}\r\n{headers}"
    stream.sendall(f"{request}Connection: close\r\n\r\n".encode())
    received = b""
    while b"first" not in received:
        piece = stream.recv(65536)
        assert piece, received
        received += piece
    assert b"second" not in received, "held back"
    Letta.seen.set()
    while piece := stream.recv(65536):
        received += piece
    assert received.startswith(b"HTTP/1.1 200") and b"second" in received, received
    stream.close()


def front(name, tell, command, letta):
    """A real server in front, with its file in config/front on ports of this run."""
    gate = Gate(letta, f'[proxies]\naddresses = ["127.0.0.1"]\ntell = "{tell}"')
    port = free_port()
    for path in (ROOT / "config/front").iterdir():
        text = path.read_text().replace("/etc/ckgate", str(FOLDER))
        text = text.replace("8443", str(port)).replace("8284", str(gate.port))
        (FOLDER / path.name).write_text(text)
    log = (FOLDER / f"{name}.log").open("w")
    process = subprocess.Popen(command, cwd=FOLDER, stdout=log, stderr=log,
                               env={**os.environ, "HOME": str(FOLDER), "XDG_DATA_HOME": str(FOLDER), "XDG_CONFIG_HOME": str(FOLDER)})
    try:
        until(f"{name} listens", lambda: listens(port))
        until(f"{name} is ready", lambda: ready(port))
        before = len(gate.clients())
        # What a client says of itself must not be believed, here or there.
        ask(port, CLIENT, True, "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n")
        until("the request is logged", lambda: len(gate.clients()) > before)
        assert gate.clients()[-1] == CLIENT, (name, gate.clients())
        # Nor what somebody says who is not the proxy.
        ask(gate.port, STRANGER, False, "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n")
        until("the stranger is logged", lambda: STRANGER in gate.clients())
        assert "6.6.6.6" not in gate.clients(), name
        agreed = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert", "ca.pem",
             "--resolve", f"{HOST}:{port}:127.0.0.1", f"https://{HOST}:{port}/v1/agents/"],
            cwd=FOLDER, capture_output=True, text=True).stdout
        assert agreed == "2 401", (name, agreed)
        print(f"ok: {name} in front, client told by {tell}")
    except Exception:
        print((FOLDER / f"{name}.log").read_text()[-2000:], gate.log.read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(DEADLINE)
        gate.stop()


def ready(port):
    try:
        context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        with socket.create_connection(("127.0.0.1", port), 2) as stream:
            context.wrap_socket(stream, server_hostname=HOST).close()
        return True
    except OSError:
        return False


def testssl(port):
    found = FOLDER / "testssl.json"
    found.unlink(missing_ok=True)
    subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--add-ca", FOLDER / "ca.pem", "--ip",
         "127.0.0.1", "--nodns", "none", "--jsonfile", found, f"{HOST}:{port}"],
        cwd=FOLDER, stdout=(FOLDER / "testssl.log").open("w"), timeout=600)
    findings = json.loads(found.read_text())
    assert len(findings) > 120, (FOLDER / "testssl.log").read_text()
    return findings


def own_tls(letta):
    gate = Gate(letta, f'[tls]\ncertificates = [{{ certificate = "{FOLDER}/gate.pem", key = "{FOLDER}/gate.key" }}]\n'
                'strict_transport = "365d"')
    try:
        ask(gate.port, CLIENT, True)
        # A check that could not be made says nothing, so it is made again.
        for _ in range(3):
            findings = testssl(gate.port)
            bad = [f for f in findings if f["severity"] not in ("OK", "INFO", "DEBUG")
                   # About the machine that testssl.sh runs on.
                   and f["id"] != "engine_problem"]
            if not bad or any("connect problem" not in f["finding"] for f in bad):
                break
            print("again:", *(f["id"] for f in bad))
        assert not bad, bad
        print(f"ok: testssl.sh, {len(findings)} findings, none above informational")
        result = FOLDER / "sslyze.json"
        scans = ("certinfo sslv2 sslv3 tlsv1 tlsv1_1 tlsv1_2 tlsv1_3 early_data heartbleed openssl_ccs robot reneg "
                 "compression fallback resum ems elliptic_curves").split()
        done = subprocess.run(
            ["sslyze", "--json_out", result, "--mozilla_config", "intermediate", "--certinfo_ca_file", FOLDER / "ca.pem",
             "--sni", HOST, *(f"--{scan}" for scan in scans), f"127.0.0.1:{gate.port}"],
            cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0 and "OK - Compliant" in done.stdout, done.stdout + done.stderr
        scan = json.loads(result.read_text())["server_scan_results"][0]["scan_result"]
        asked = {name: found for name, found in scan.items() if found["status"] != "NOT_SCHEDULED"}
        assert len(asked) >= len(scans), asked.keys()
        unfinished = {name: found for name, found in asked.items() if found["status"] != "COMPLETED"}
        assert not unfinished, unfinished
        found = {name: found["result"] for name, found in asked.items()}
        for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
            assert not found[f"{old}_cipher_suites"]["accepted_cipher_suites"], old
        assert found["tls_1_2_cipher_suites"]["accepted_cipher_suites"]
        assert found["tls_1_3_cipher_suites"]["accepted_cipher_suites"]
        assert not found["tls_1_3_early_data"]["supports_early_data"]
        assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
        assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
        assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE"), found["robot"]
        assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
        assert found["session_renegotiation"]["supports_secure_renegotiation"]
        assert not found["tls_compression"]["supports_compression"]
        assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
        assert found["tls_extended_master_secret"]["supports_ems_extension"]
        print(f"ok: sslyze, {len(asked)} scans, compliant with Mozilla's intermediate configuration")
    finally:
        gate.stop()


def main():
    certificates()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Letta)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    letta = server.server_address[1]
    front("nginx", "x-real-ip", ["nginx", "-p", FOLDER, "-c", FOLDER / "nginx.conf", "-g",
                                 f"daemon off; pid {FOLDER}/nginx.pid; error_log stderr;"], letta)
    front("haproxy", "proxy_protocol", ["haproxy", "-db", "-f", FOLDER / "haproxy.cfg"], letta)
    front("caddy", "x-forwarded-for", ["caddy", "run", "--config", FOLDER / "Caddyfile", "--adapter", "caddyfile"], letta)
    front("traefik", "x-forwarded-for", ["traefik", f"--configFile={FOLDER}/traefik.yaml"], letta)
    own_tls(letta)


main()
