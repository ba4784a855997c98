"""The upstream, ckgate, and the proxies that people put there today, each before the same upstream."""
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone

from .processes import ROOT, Process, progress, rust_program, wait_for

AGENT = "agent-11111111-1111-4111-8111-111111111111"
ORIGIN = "http://localhost:3000"
SERVER_KEY = "sk-let-" + "0123456789abcdef" * 3
MESSAGES = f"/v1/agents/{AGENT}/messages"
STREAM = f"/v1/agents/{AGENT}/messages/stream"
# Everything listens on these ports and the next thirty, so that two runs can be side by side.
BASE = int(os.environ.get("CKGATE_BENCH_PORTS", 9300))
UPSTREAM, EVENTS, GATE, ADMIN, OTHER_GATE, OTHER_ADMIN, DATABASE, DECISION = (BASE + n for n in range(1, 9))
PEERS = ("nginx", "nginx auth_request", "nginx with a map", "haproxy with a map", "nginx with TLS", "pingora with a map",
         "caddy forward_auth", "express", "FastAPI and httpx")
PORTS = {name: BASE + 11 + n for n, name in enumerate(PEERS)}

HEAD = """daemon off; worker_processes 1; worker_rlimit_nofile 65536; pid {dir}/{name}.pid; error_log {dir}/{name}.log crit;
events {{ worker_connections 40000; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; map_hash_bucket_size 256;
client_body_temp_path {dir}; proxy_temp_path {dir}; proxy_buffering off; proxy_read_timeout 600;
"""
POOLS = f"""upstream up {{ server 127.0.0.1:{UPSTREAM}; keepalive 64; keepalive_requests 100000000; }}
upstream events {{ server 127.0.0.1:{EVENTS}; keepalive 64; }}
"""
PASS = 'proxy_http_version 1.1; proxy_set_header Connection "";'


def nginx(directory, name, core, body, under=()):
    conf = directory / f"{name}.conf"
    # What it runs under sees one process.
    alone = "master_process off;\n" if under else ""
    conf.write_text(alone + HEAD.format(dir=directory, name=name) + body + "}\n")
    return Process(core, [*under, shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf, "-p", directory])


def upstreams(directory, core):
    """One with a fixed answer of 1 KiB, one with event streams; the first hands streams to the second."""
    answer = json.dumps([{"id": "message-1", "content": "x" * 960}])
    body = (POOLS + f"server {{ listen 127.0.0.1:{UPSTREAM} backlog=4096; "
            f"location / {{ default_type application/json; return 200 '{answer}'; }} "
            f"location ~ /stream$ {{ proxy_pass http://events; {PASS} }} location = /auth {{ return 204; }} }}")
    Process(core, [rust_program("events"), EVENTS])
    wait_for(EVENTS)
    nginx(directory, "upstream", core, body)
    wait_for(UPSTREAM)


def gate(directory, core, settings=None, port=GATE, admin=ADMIN, under=()):
    """ckgate with everything on. `settings` are variables of its environment, which win over its file."""
    config = directory / "ckgate.toml"
    config.write_text(f"""
[upstream]
url = "http://127.0.0.1:{UPSTREAM}"
[store]
url = "sqlite:{directory}/ckgate.db"
[tokens]
keys = [{{ id = 1, file = "{directory}/ckgate.key" }}]
[limits]
requests_per_minute_per_token = 100000000
keep_alive_timeout = "600s"
connections_max = 40000
[streams]
per_token_max = 10000
[server]
workers = 1
drain_timeout = "1s"
""")
    env = {"CKGATE_SERVER_KEY": SERVER_KEY, "LETTA_SERVER_PASSWORD": "upstream-password",
           "CKGATE_LISTEN__PUBLIC": f"127.0.0.1:{port}", "CKGATE_LISTEN__ADMIN": f"127.0.0.1:{admin}"}
    process = Process(core, [*under, binary(), "serve", "--config", config], {**env, **(settings or {})})
    wait_for(admin, "/readyz")
    return process


def binary():
    return os.environ.get("CKGATE_BIN", str(ROOT / "target/release/ckgate"))


def ask(method, path, fields=None, port=GATE):
    """The token API's answer, asked with the server key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, None if fields is None else json.dumps(fields),
                       {"Authorization": f"Bearer {SERVER_KEY}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {told}")
    return json.loads(told)


def token(agents=(AGENT,), seconds=24 * 3600, port=GATE):
    access = ["read_messages", "write_messages"]
    fields = {"policy": [{"type": "agent", "id": agent, "access": access} for agent in agents], "hostname": ORIGIN,
              "expires_at": (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()}
    return ask("POST", "/v1/client-side-access-tokens", fields, port)["token"]


def delete(bearer, port=GATE):
    ask("DELETE", f"/v1/client-side-access-tokens/{bearer}", port=port)


def start(directory, core, names, settings=None):
    """The gate and the named peers: name -> (port, process); and a token."""
    from . import other_peers
    makers = {"nginx": plain, "nginx auth_request": asking, "nginx with a map": mapped, "haproxy with a map": haproxy,
              **other_peers.MAKERS}
    started = {"ckgate": (GATE, gate(directory, core, settings))}
    bearer = token()
    for name in names:
        started[name] = (PORTS[name], makers[name](directory, core, bearer))
        wait_for(PORTS[name])
    return started, bearer


def each_start(run, part, names):
    """Everything started anew each round: one started process is faster than the next, whatever its code."""
    for number in range(run.rounds):
        progress(f"{part}: start {number + 1} of {run.rounds}")
        place = run.directory / f"start{number}"
        place.mkdir()
        started, bearer = start(place, run.proxy_core, names)
        yield started, bearer
        end(started)


def in_any_order(names):
    """Drawn anew each time: a machine that slows down or recovers meanwhile does so for none of them more than for another."""
    names = list(names)
    return random.sample(names, len(names))


def turns(names, count):
    """Each name so many times, one turn of all after the other."""
    for _ in range(count):
        yield from in_any_order(names)


def end(started):
    for _, process in started.values():
        process.end()


def listening(port, locations):
    return f"server {{ listen 127.0.0.1:{port} backlog=4096; {locations} }}"


def plain(directory, core, _, under=()):
    passing = listening(PORTS["nginx"], f"location / {{ proxy_pass http://up; {PASS} }}")
    return nginx(directory, "plain", core, POOLS + passing, under)


def asking(directory, core, _):
    asked = (f"location / {{ auth_request /auth; proxy_pass http://up; {PASS} }} location = /auth {{ internal; "
             f"proxy_pass http://up; {PASS} proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }}")
    return nginx(directory, "asking", core, POOLS + listening(PORTS["nginx auth_request"], asked))


def mapped(directory, core, bearer):
    known = f'map $http_authorization $known {{ default 0; "Bearer {bearer}" 1; }}\n'
    location = f"location / {{ if ($known = 0) {{ return 401; }} proxy_pass http://up; {PASS} }}"
    return nginx(directory, "mapped", core, POOLS + known + listening(PORTS["nginx with a map"], location))


def certificate(directory):
    """A self-signed one on P-256, and its key."""
    pair = directory / "tls.pem", directory / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-out", pair[0], "-keyout", pair[1]], check=True, stderr=subprocess.DEVNULL)
    pair[1].chmod(0o600)
    return pair


def encrypted(directory, core, pair):
    tls = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519;"
    return nginx(directory, "encrypted", core, POOLS + f"server {{ listen 127.0.0.1:{PORTS['nginx with TLS']} ssl; {tls} "
                 f"location / {{ proxy_pass http://up; {PASS} }} }}")


def haproxy(directory, core, bearer):
    (directory / "tokens.map").write_text(f"{bearer} ok\n")
    conf = directory / "haproxy.cfg"
    conf.write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    option http-no-delay
    timeout connect 2s
    timeout client 600s
    timeout server 600s
    option http-keep-alive
    http-reuse always
frontend in
    bind 127.0.0.1:{PORTS["haproxy with a map"]}
    http-request set-var(txn.token) req.hdr(authorization),word(2,' ')
    http-request deny deny_status 401 unless {{ var(txn.token),map({directory}/tokens.map) -m found }}
    default_backend up
backend up
    server up 127.0.0.1:{UPSTREAM}
""")
    return Process(core, [shutil.which("haproxy") or "/usr/sbin/haproxy", "-f", conf, "-db"])
