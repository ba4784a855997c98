"""Drives every operation that is open to client tokens, with the SDK of this interpreter's venv where it
has a method for it and plainly where it has none.

    CKGATE_SERVER_KEY=sk-let-... operations.py GATE_URL CKGATE_BIN

One PASS or FAIL line a check.
"""
import json
import subprocess
import sys
import types

import suite
from suite import ALL, ORIGIN, OTHER, RECEIVED, SECRET, V1, check, create_token, modify, need, plain, sdk, stream, user

DRIVEN = set()
# What the gate answers itself when it refuses or cannot ask.
REFUSALS = {"malformed_request", "token_invalid", "hostname_mismatch", "route_not_allowed", "permission_denied",
            "parameter_not_allowed", "owner_unavailable", "rate_limited", "upstream_invalid"}


def main():
    server = sdk(suite.SERVER_KEY)
    a, b = suite.agents(server)
    token = create_token(server, a, ALL).token
    client = sdk(token, ORIGIN)
    agent(client, token, a)
    memory(client, token, a)
    run = messages(client, token, a)
    conversations(client, token, a)
    runs(client, token, run)
    with check("every open operation was driven"):
        table = json.loads(subprocess.check_output([sys.argv[2], "routes", "--json"]))
        need(DRIVEN == {row["name"] for row in table if "permission" in row},
             DRIVEN ^ {row["name"] for row in table if "permission" in row})
    with check("no answer to a client token held a secret or anything of another agent"):
        received = b"".join(RECEIVED).decode()
        need(SECRET not in received, "a secret of A")
        need(OTHER not in received, "something of B")


def drive(name, call, *statuses):
    """Drives an operation. `statuses`: what the server may say beside a success, where it lacks something."""
    DRIVEN.add(name)
    answer = None
    with check(name):
        answer = call()
        if hasattr(answer, "status_code") and hasattr(answer, "text"):
            need(answer.status_code < 300 or answer.status_code in statuses, f"{answer.status_code} {answer.text}")
            need(answer.status_code < 300 or not REFUSALS & set(answer.text.split('"')), answer.text)
    return answer


def ask(token, method, path, **options):
    return lambda: plain(method, path, token, **options)


def opened(token, path):
    """The head of an answer that may be a stream without end."""
    headers = {"Authorization": f"Bearer {token}", "Origin": ORIGIN}
    with suite.http_client(token) as http:
        with http.stream("POST", suite.GATE + path, headers=headers, json={}) as answer:
            return types.SimpleNamespace(status_code=answer.status_code, text="")


def agent(client, token, a):
    path = f"/v1/agents/{a}"
    drive("agents.retrieve", lambda: client.agents.retrieve(a))
    drive("agents.modify", lambda: modify(client, a, description="by its user"))
    drive("agents.tools.list", lambda: list(client.agents.tools.list(a)))
    drive("agents.folders.list", lambda: list(client.agents.folders.list(a)))
    drive("agents.sources.list", ask(token, "GET", f"{path}/sources"))
    drive("agents.files.list", ask(token, "GET", f"{path}/files?limit=5"))
    drive("agents.files.close_all", ask(token, "PATCH", f"{path}/files/close-all"))
    closed = f"{path}/files/file-33333333-3333-4333-8333-333333333333/close"
    drive("agents.files.close", ask(token, "PATCH", closed), 404)
    drive("agents.recompile", ask(token, "POST", f"{path}/recompile?dry_run=true"))
    drive("agents.system_prompt.recompile", ask(token, "POST", f"{path}/system-prompt/recompile?dry_run=true"))


def memory(client, token, a):
    path = f"/v1/agents/{a}"
    blocks = client.agents.blocks
    drive("agents.core_memory.retrieve", ask(token, "GET", f"{path}/core-memory"))
    drive("agents.blocks.list", lambda: list(blocks.list(a)))
    if V1:
        drive("agents.blocks.retrieve", lambda: blocks.retrieve("human", agent_id=a))
        drive("agents.blocks.modify", lambda: blocks.update("human", agent_id=a, value="likes tea"))
    else:
        drive("agents.blocks.retrieve", lambda: blocks.retrieve(a, "human"))
        drive("agents.blocks.modify", lambda: blocks.modify(a, "human", value="likes tea"))
    drive("agents.passages.list", ask(token, "GET", f"{path}/archival-memory?limit=5"))
    # These two need a model for embeddings, which the lab may lack.
    drive("agents.passages.create", ask(token, "POST", f"{path}/archival-memory", json={"text": "tea"}),
          400, 401, 404, 500, 502, 503)
    drive("agents.passages.search", ask(token, "GET", f"{path}/archival-memory/search?query=tea"),
          400, 401, 404, 500, 502, 503)


def messages(client, token, a):
    path = f"/v1/agents/{a}"
    drive("agents.messages.create", lambda: client.agents.messages.create(a, messages=user("hello")))
    drive("agents.messages.stream", lambda: list(stream(client, a, "hello")))
    drive("agents.messages.list", lambda: list(client.agents.messages.list(a, limit=100)))
    run = drive("agents.messages.create_async",
                ask(token, "POST", f"{path}/messages/async", json={"messages": user("hello")}))
    drive("agents.messages.cancel", ask(token, "POST", f"{path}/messages/cancel", json={}), 400, 404, 409)
    body = {"model": a, "messages": user("hello"), "stream": True}
    drive("chat.completions.create", ask(token, "POST", "/v1/chat/completions", json=body))
    return run


def conversations(client, token, a):
    made = plain("POST", f"/v1/conversations/?agent_id={a}", token, json={"summary": "tea"})
    drive("conversations.create", lambda: made)
    conversation = f"/v1/conversations/{made.json()['id']}"
    drive("conversations.list", ask(token, "GET", f"/v1/conversations/?agent_id={a}"))
    if V1:
        identifier = made.json()["id"]
        drive("conversations.retrieve", lambda: client.conversations.retrieve(identifier))
        drive("conversations.modify", lambda: client.conversations.update(identifier, summary="coffee"))
        drive("conversations.messages.create",
              lambda: list(client.conversations.messages.create(identifier, messages=user("hello"))))
        drive("conversations.messages.list", lambda: list(client.conversations.messages.list(identifier)))
    else:
        drive("conversations.retrieve", ask(token, "GET", conversation))
        drive("conversations.modify", ask(token, "PATCH", conversation, json={"summary": "coffee"}))
        drive("conversations.messages.create",
              ask(token, "POST", f"{conversation}/messages", json={"messages": user("hello")}))
        drive("conversations.messages.list", ask(token, "GET", f"{conversation}/messages"))
    for form in (a, f"default/messages?agent_id={a}"):
        path = f"/v1/conversations/{form}" + ("" if "?" in form else "/messages")
        with check(f"conversations.messages.list of {form.split('/')[0][:8]}"):
            answer = plain("GET", path, token)
            need(answer.status_code == 200, answer.text)
    drive("conversations.fork", ask(token, "POST", f"{conversation}/fork"))
    # Nothing is under way.
    drive("conversations.cancel", ask(token, "POST", f"{conversation}/cancel"), 400, 404, 409)
    drive("conversations.messages.stream", lambda: opened(token, f"{conversation}/stream"), 400, 404, 503)


def runs(client, token, run):
    identifier = run.json()["id"] if run is not None else "run-33333333-3333-4333-8333-333333333333"
    path = f"/v1/runs/{identifier}"
    drive("runs.retrieve", lambda: client.runs.retrieve(identifier))
    drive("runs.usage.retrieve", ask(token, "GET", f"{path}/usage"))
    drive("runs.messages.list", ask(token, "GET", f"{path}/messages"))
    drive("runs.messages.stream", lambda: opened(token, f"{path}/stream"), 400, 404, 503)


if __name__ == "__main__":
    main()
