"""The load under which the gate is compiled with a profile of itself: everything that gates are asked for, each for a
moment. What is not in it becomes slower, so it is wider than what is measured."""
import http.client
import json
import subprocess

from . import loads, peers
from .processes import progress

SECONDS = 4
TOKENS = 300
OTHER_AGENT = "agent-22222222-2222-4222-8222-222222222222"
BROWSER = {"Origin": peers.ORIGIN, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
           "Accept": "*/*", "Accept-Language": "en-GB,en;q=0.8,de;q=0.5", "Accept-Encoding": "gzip, deflate, br, zstd",
           "Referer": f"{peers.ORIGIN}/", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site",
           "Connection": "keep-alive", "Priority": "u=4", "Cache-Control": "no-cache", "DNT": "1"}
SDK = {"Origin": peers.ORIGIN, "User-Agent": "Letta/JS 1.12.1", "Accept": "application/json", "X-Stainless-Lang": "js",
       "X-Stainless-Package-Version": "1.12.1", "X-Stainless-OS": "Linux", "X-Stainless-Arch": "x64",
       "X-Stainless-Runtime": "node", "X-Stainless-Runtime-Version": "v22.1.0", "X-Stainless-Retry-Count": "0",
       "X-Stainless-Timeout": "60", "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive"}
PREFLIGHT = {**BROWSER, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def train(run):
    """Loads a gate that counts, then one within TLS, and ends them: the counts are written as they end."""
    peers.upstreams(run.directory, run.load_core)
    decision = {"CKGATE_LISTEN__DECISION": f"127.0.0.1:{peers.DECISION}", "CKGATE_DECISION__PEERS": '["127.0.0.1"]'}
    gate = peers.gate(run.directory, run.proxy_core, decision)
    bearers = [peers.token() for _ in range(TOKENS)]
    asked = requests(bearers[0])
    check(asked)
    progress("loading it: HTTP/1.1")
    for each in asked:
        wrk(run, peers.GATE, script(run.directory / "one.lua", [each]), SECONDS)
    of_each = [request for bearer in bearers for request in requests(bearer)]
    wrk(run, peers.GATE, script(run.directory / "mixed.lua", of_each), SECONDS)
    progress("loading it: the decision API")
    questions = [question(bearers[0])]
    check(questions, peers.DECISION)
    wrk(run, peers.DECISION, script(run.directory / "decision.lua", questions), SECONDS)
    progress("loading it: streams, tokens")
    for _ in range(SECONDS):
        loads.event_streams(run.load_core, peers.GATE, bearers[0])
    for bearer in bearers[1:]:
        peers.ask("GET", "/v1/client-side-access-tokens?limit=10")
        peers.delete(bearer)
    gate.end()
    progress("loading it: TLS and HTTP/2")
    pair = peers.certificate(run.directory)
    gate = peers.gate(run.directory, run.proxy_core,
                      {"CKGATE_TLS__CERTIFICATES": f'[{{ certificate = "{pair[0]}", key = "{pair[1]}" }}]'})
    loads.handshakes(peers.GATE, SECONDS)
    wrk(run, peers.GATE, script(run.directory / "mixed.lua", asked), SECONDS * 2, "https")
    for each in asked:
        h2load(run, *each[1:])
    gate.end()


def requests(token):
    """What is asked: the status of its answer, method, path, body, fields."""
    bearer = {"Authorization": f"Bearer {token}"}
    typed = {**bearer, "Content-Type": "application/json"}
    long = json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "Grüß dich. \"So\", then…\n" * 500}]}]},
                      ensure_ascii=False)
    query = f"{peers.MESSAGES}?limit=50&order=desc&before=message-11111111-1111-4111-8111-111111111111"
    elsewhere = peers.MESSAGES.replace(peers.AGENT, OTHER_AGENT)
    forged = {"Authorization": f"Bearer {token[:-8]}{'A' * 8}"}
    return [
        (200, "GET", peers.MESSAGES, None, {**bearer, "Origin": peers.ORIGIN}),
        (200, "GET", query, None, {**bearer, **SDK}),
        (200, "GET", peers.MESSAGES, None, {**bearer, **BROWSER}),
        (200, "POST", peers.MESSAGES, loads.message(), {**typed, "Origin": peers.ORIGIN}),
        (200, "POST", peers.MESSAGES, loads.message(), {**typed, **SDK}),
        (200, "POST", peers.MESSAGES, long, {**typed, **BROWSER}),
        (204, "OPTIONS", peers.MESSAGES, None, PREFLIGHT),
        (401, "GET", peers.MESSAGES, None, {**forged, **SDK}),
        (403, "GET", elsewhere, None, {**bearer, **BROWSER}),
        (200, "GET", "/v1/agents/?limit=10", None, {**SDK, "Authorization": f"Bearer {peers.SERVER_KEY}"}),
    ]


def question(bearer):
    fields = {**BROWSER, "Authorization": f"Bearer {bearer}", "X-Original-Method": "GET", "X-Original-URI": peers.MESSAGES,
              "X-Original-Host": "localhost", "X-Original-Body": "none"}
    return 200, "GET", "/nginx", None, fields


def check(asked, port=peers.GATE):
    """A load of what is not answered as expected would teach the wrong thing."""
    for status, method, path, body, fields in asked:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body and body.encode(), fields)
        answer = connection.getresponse()
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read()}")
        connection.close()


def script(file, asked):
    """For wrk: one request after the other, over and over."""
    quoted = lambda text: "nil" if text is None else json.dumps(text, ensure_ascii=False)
    made = []
    for _, method, path, body, fields in asked:
        table = ", ".join(f"[{quoted(name)}] = {quoted(value)}" for name, value in fields.items())
        made.append(f"wrk.format({quoted(method)}, {quoted(path)}, {{ {table} }}, {quoted(body)})")
    file.write_text("local made, at = {}, 0\ninit = function()\n  made = {\n    " + ",\n    ".join(made) + "\n  }\nend\n"
                    "request = function()\n  at = at % #made + 1\n  return made[at]\nend\n" + loads.REPORT)
    return file


def wrk(run, port, made, seconds, scheme="http"):
    loads.as_fast_as_it_goes(run.load_core, port, seconds, made, scheme=scheme)


def h2load(run, method, path, body, fields):
    given = [f"--header={name.lower()}: {value}" for name, value in fields.items() if name != "Connection"]
    if body is not None:
        (run.directory / "body").write_text(body)
        given += ["--data", str(run.directory / "body")]
    argv = ["taskset", "-c", str(run.load_core), "h2load", "--clients=4", "--max-concurrent-streams=8", f"--duration={SECONDS}",
            f"--header=:method: {method}", *given, f"https://localhost:{peers.GATE}{path}"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    # What the policy refuses counts as failed there.
    if "0 errored, 0 timeout" not in out:
        raise SystemExit(f"{method} {path} over HTTP/2: {out}")
