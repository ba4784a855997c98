"""Drives the gate with a real Python SDK of either generation, the one of this interpreter's venv.

    CKGATE_SERVER_KEY=sk-let-... suite.py GATE_URL

One PASS or FAIL line a check. A check may use what an earlier one made.
"""
import datetime
import importlib.metadata
import json
import os
import re
import sys
import time
import uuid
import warnings
from contextlib import contextmanager

import httpx
from letta_client import Letta

warnings.simplefilter("ignore", DeprecationWarning)  # messages.stream is deprecated, but in use

V1 = importlib.metadata.version("letta-client").startswith("1.")
GATE, SERVER_KEY = sys.argv[1], os.environ["CKGATE_SERVER_KEY"]
ORIGIN = "http://localhost:3000"
ALL = ["read_messages", "write_messages", "read_agent", "write_agent"]

RUN = uuid.uuid4().hex[:8]
SECRET = f"secret-{RUN}"  # agent A's, for its tools only
OTHER = f"other-{RUN}"  # everywhere in agent B, for nobody who holds a token of A
TALK = f"talk-{RUN}"  # what the holder of A's token says

RECEIVED = []  # head and body of every answer to a client token, as bytes


def main():
    server = sdk(SERVER_KEY)
    a, b = agents(server)
    full = tokens(server, a, b)
    chat(full, a)
    agent_state(full, a)
    permissions(server, full, a, b)
    credentials(server, a)
    revocation(server, a)
    with check("no answer to a client token held a secret or anything of another agent"):
        received = b"".join(RECEIVED).decode()
        need(TALK in received, "the recorder saw nothing")
        need(SECRET not in received, "a secret of A")
        need(OTHER not in received, "something of B")


def agents(server):
    a = b = None
    with check("server key: agents.create"):
        a = server.agents.create(**agent("a"), **secrets(SECRET)).id
        b = server.agents.create(**agent(OTHER), **secrets(OTHER), description=OTHER, system=OTHER, tags=[OTHER],
                                 metadata={"note": OTHER}).id
        server.agents.messages.create(b, messages=user(OTHER))
    with check("server key: agents.list"):
        ids = [agent.id for agent in server.agents.list(limit=100)]
        need(a in ids and b in ids, ids)
    with check("server key: agents.retrieve"):
        need(server.agents.retrieve(b).description == OTHER)
    with check("server key: agents.modify"):
        need(modify(server, a, description="by the server").description == "by the server")
    with check("server key: sees the secrets a client token must not see"):
        need(SECRET in plain("PATCH", f"/v1/agents/{a}", SERVER_KEY, json={"description": "by the server"}).text)
    return a, b


def tokens(server, a, b):
    made = []
    with check("server key: a token is created"):
        made += [create_token(server, agent_id, ALL) for agent_id in (a, b, a)]
        token = made[0]
        need(re.fullmatch(r"ck-let-[A-Za-z0-9_-]{52}", token.token), token.token)
        need(token.hostname == ORIGIN, token.hostname)
        need(token.policy.version == "1" and token.policy.data[0].id == a, token.policy)
        need(sorted(token.policy.data[0].access) == sorted(ALL), token.policy)
        lifetime = datetime.datetime.fromisoformat(token.expires_at) - utc_now()
        need(290 < lifetime.total_seconds() <= 300, lifetime)
    with check("server key: tokens are listed by agent, newest first, in pages"):
        first, second = (list_tokens(server, agent_id=a, limit=1, offset=offset) for offset in (0, 1))
        need([t.token for t in first.tokens + second.tokens] == [made[2].token, made[0].token])
        need(first.has_next_page and not second.has_next_page)
        need(made[1].token in [t.token for t in list_tokens(server).tokens], "without a filter")
    with check("server key: a deleted token is not listed, and deleting it again is fine"):
        delete_token(server, made[2].token)
        delete_token(server, made[2].token)
        need([t.token for t in list_tokens(server, agent_id=a).tokens] == [made[0].token])
    with check("server key: a token may be given limits of its own"):
        extra = {"limits": {"requests_per_minute": 1, "stream_seconds": 60}}
        options = {"extra_body": extra} if V1 else {"request_options": {"additional_body_parameters": extra}}
        limited = create_token(server, a, ["read_messages"], **options)
        answers = [plain("GET", f"/v1/agents/{a}/messages", limited.token) for _ in range(2)]
        need([answer.status_code for answer in answers] == [200, 429], answers)
        need(0 < int(answers[1].headers["retry-after"]) <= 61, answers[1].headers)
        delete_token(server, limited.token)
    with check("server key: a token without a policy is refused"):
        refusal(lambda: token_api(server).create(policy=[], hostname=ORIGIN), 400)
    return made[0].token


def chat(token, a):
    client = sdk(token, ORIGIN)
    with check("messages.create"):
        need(said(client.agents.messages.create(a, messages=user(TALK)).messages) == f"echo: {TALK}")
    with check("messages.stream, whole steps"):
        need(said(stream(client, a, TALK)) == f"echo: {TALK}")
    with check("messages.stream, tokens as they come"):
        need_incremental(stream(client, a, "[[words 20 50]]", stream_tokens=True))
    if V1:
        with check("messages.create with streaming"):
            events = client.agents.messages.create(a, input="[[words 20 50]]", streaming=True, stream_tokens=True)
            need_incremental(events)
    with check("plain POST with streaming"):
        answer = plain("POST", f"/v1/agents/{a}/messages", token, json={"messages": user(TALK), "streaming": True})
        need(answer.headers["content-type"].startswith("text/event-stream"), answer.headers)
        need(answer.text.rstrip().endswith("data: [DONE]"), answer.text)
    with check("messages.list"):
        page = {"limit": 2, "order": "asc"} if V1 else {"limit": 100}  # 1.x asks for page after page by itself
        texts = said(client.agents.messages.list(a, **page))
        need(texts.count(f"echo: {TALK}") == 3, texts)


def agent_state(token, a):
    client = sdk(token, ORIGIN)
    with check("agents.retrieve"):
        need(client.agents.retrieve(a).id == a)
    with check("agents.modify"):
        need(modify(client, a, description=TALK).description == TALK)
        need(client.agents.retrieve(a).description == TALK)
    with check("plain GET and PATCH of the agent have no secrets"):
        for answer in (plain("GET", f"/v1/agents/{a}", token),
                       plain("PATCH", f"/v1/agents/{a}", token, json={"description": TALK})):
            need(answer.status_code == 200 and answer.json()["description"] == TALK, answer.text)
            need(not {"secrets", "tool_exec_environment_variables"} & answer.json().keys(), list(answer.json()))
    with check("asking for the secrets by name gives none"):
        for query in ("include=agent.secrets", "include_relationships=tool_exec_environment_variables"):
            answer = plain("GET", f"/v1/agents/{a}?{query}", token)
            need(answer.status_code in (200, 403) and SECRET not in answer.text, answer.text)


def permissions(server, token, a, b):
    client = sdk(token, ORIGIN)
    with check("read_messages alone reads messages and nothing else"):
        reader = sdk(create_token(server, a, ["read_messages"]).token, ORIGIN)
        need(TALK in said(reader.agents.messages.list(a, limit=100)))
        refusal(lambda: reader.agents.messages.create(a, messages=user("no")), 403, "permission_denied")
        refusal(lambda: list(stream(reader, a, "no")), 403, "permission_denied")
        refusal(lambda: reader.agents.retrieve(a), 403, "permission_denied")
        refusal(lambda: modify(reader, a, description="no"), 403, "permission_denied")
    with check("another agent is refused"):
        refusal(lambda: client.agents.retrieve(b), 403, "permission_denied")
        refusal(lambda: modify(client, b, description="no"), 403, "permission_denied")
        refusal(lambda: client.agents.messages.create(b, messages=user("no")), 403, "permission_denied")
        refusal(lambda: list(client.agents.messages.list(b)), 403, "permission_denied")
    with check("routes that are not for client tokens are refused"):
        refusal(lambda: list(client.agents.list()), 403, "route_not_allowed")
        refusal(lambda: client.agents.create(**agent("no")), 403, "route_not_allowed")
        refusal(lambda: client.agents.delete(a), 403, "route_not_allowed")
        refusal(lambda: list(client.tools.list()), 403, "route_not_allowed")
    with check("the token API is refused"):
        refusal(lambda: create_token(client, a, ["read_messages"]), 403, "route_not_allowed")
        refusal(lambda: list_tokens(client), 403, "route_not_allowed")
        refusal(lambda: delete_token(client, token), 403, "route_not_allowed")
    with check("a field that widens rights is refused"):
        refusal(lambda: modify(client, a, model="openai-proxy/gpt-4o-mini"), 403, "parameter_not_allowed")
    with check("another origin, or none, is refused"):
        refusal(lambda: sdk(token, "http://localhost:3001").agents.retrieve(a), 403, "hostname_mismatch")
        refusal(lambda: sdk(token, origin=None).agents.retrieve(a), 403, "hostname_mismatch")


def credentials(server, a):
    with check("a deleted token is refused at once"):
        deleted = create_token(server, a, ALL).token
        sdk(deleted, ORIGIN).agents.retrieve(a)
        delete_token(server, deleted)
        refusal(lambda: sdk(deleted, ORIGIN).agents.retrieve(a), 401, "token_invalid")
    with check("a token that was never issued is refused"):
        for garbage in ("ck-let-garbage", "ck-let-" + "A" * 52, "sk-let-" + "A" * 40):
            refusal(lambda: sdk(garbage, ORIGIN).agents.retrieve(a), 401, "token_invalid")
    with check("an expired token is refused"):
        expires_at = utc_now() + datetime.timedelta(seconds=3)
        short = create_token(server, a, ALL, expires_at=expires_at.isoformat()).token
        sdk(short, ORIGIN).agents.retrieve(a)
        time.sleep((expires_at - utc_now()).total_seconds() + 0.01)
        refusal(lambda: sdk(short, ORIGIN).agents.retrieve(a), 401, "token_expired")


def revocation(server, a):
    with check("a deletion ends an open stream"):
        token, pieces, error = create_token(server, a, ALL).token, 0, None
        try:
            for event in stream(sdk(token, ORIGIN), a, "[[words 200 50]]", stream_tokens=True):
                pieces += event.message_type == "assistant_message"
                if pieces == 3:
                    delete_token(server, token)
                    deleted_at = time.monotonic()
        except Exception as raised:
            error = raised
        need(time.monotonic() - deleted_at < 1, f"{pieces} pieces before it ended")
        last = RECEIVED[-1].decode().strip().split("\n\n")[-1]
        need(last.startswith("event: error\ndata: "), last)
        data = json.loads(last.removeprefix("event: error\ndata: "))
        need(data.keys() == {"message", "code"} and data["code"] == "token_revoked", data)
        need(not V1 or "token_revoked" in str(error), f"the SDK made {error!r} of it")


# --- one form for both generations ---

def sdk(key, origin=None):
    headers = {"Origin": origin} if origin else {}
    if V1:  # without retries, so that a failure shows
        return Letta(base_url=GATE, api_key=key, default_headers=headers, http_client=http_client(key), max_retries=0)
    return Letta(base_url=GATE, token=key, headers=headers, httpx_client=http_client(key))


def modify(client, agent_id, **fields):
    return (client.agents.update if V1 else client.agents.modify)(agent_id, **fields)


def stream(client, agent_id, text, **options):
    method = client.agents.messages.stream if V1 else client.agents.messages.create_stream
    return method(agent_id, messages=user(text), **options)


def token_api(client):
    return client.access_tokens if V1 else client.client_side_access_tokens


def create_token(client, agent_id, access, **options):
    policy = [{"type": "agent", "id": agent_id, "access": access}]
    return token_api(client).create(policy=policy, hostname=ORIGIN, **options)


def list_tokens(client, **options):
    api = token_api(client)
    return (api.list if V1 else api.client_side_access_tokens_list_client_side_access_tokens)(**options)


def delete_token(client, token):
    token_api(client).delete(token)


# --- what the checks need ---

def agent(name):
    return {"name": f"{name}-{RUN}", "model": "openai-proxy/gpt-4o-mini", "embedding": "openai/text-embedding-3-small",
            "memory_blocks": [{"label": "human", "value": name}, {"label": "persona", "value": name}]}


def secrets(value):
    return {"secrets": {"API_KEY": value}} if V1 else {"tool_exec_environment_variables": {"API_KEY": value}}


def user(text):
    return [{"role": "user", "content": text}]


def said(messages):
    """The text of the assistant's messages in a list or stream."""
    contents = [m.content for m in messages if m.message_type == "assistant_message"]
    return "".join(c if isinstance(c, str) else "".join(part.text for part in c) for c in contents)


def need_incremental(events):
    """Twenty words, 50 ms apart, must not arrive all at once."""
    times = [time.monotonic() for event in events if event.message_type == "assistant_message"]
    spread = times[-1] - times[0]
    need(len(times) >= 10 and spread > 0.5, f"{len(times)} pieces in {spread:.2f} s")


def plain(method, path, key, **options):
    """A request that does not look like an SDK's."""
    headers = {"Authorization": f"Bearer {key}", "Origin": ORIGIN}
    with http_client(key) as http:
        return http.request(method, GATE + path, headers=headers, **options)


def http_client(key):
    transport = httpx.HTTPTransport() if key == SERVER_KEY else Recording()
    return httpx.Client(transport=transport, timeout=120)  # seconds, for slow machines


def refusal(call, status, code=None):
    try:
        call()
    except Exception as error:
        need(getattr(error, "status_code", None) == status, error)
        need(error.body.keys() == {"message", "code", "request_id"}, error.body)
        need(code in (None, error.body["code"]), error.body)
    else:
        raise AssertionError(f"wanted {status} {code}, but it was allowed")


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc)


def need(condition, seen=""):
    if not condition:
        raise AssertionError(seen)


@contextmanager
def check(name):
    try:
        yield
        print("PASS", name, flush=True)
    except Exception as error:
        line = error.__traceback__.tb_next.tb_lineno
        print("FAIL", name, f"(line {line})", type(error).__name__, " ".join(str(error).split())[:300], flush=True)


class Recording(httpx.HTTPTransport):
    """Passes answers on as they come and keeps what passed in RECEIVED."""

    def handle_request(self, request):
        response = super().handle_request(request)
        body = bytearray()
        RECEIVED.extend((repr(response.headers.raw).encode(), body))
        response.stream = RecordedStream(response.stream, body)
        return response


class RecordedStream(httpx.SyncByteStream):
    def __init__(self, stream, body):
        self.stream, self.body = stream, body

    def __iter__(self):
        for chunk in self.stream:
            self.body += chunk
            yield chunk

    def close(self):
        self.stream.close()


if __name__ == "__main__":
    main()
