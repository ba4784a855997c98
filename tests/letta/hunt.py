"""Hunts for a way from a token of agent A to anything of agent B.

    CKGATE_SERVER_KEY=sk-let-... hunt.py GATE_URL CKGATE_BIN [REQUESTS]

Everything that B owns holds a marker. Requests are made from every operation of the route table, open or
closed, with B's ids in the place of A's, and mutated: paths, queries, bodies, headers, ids of B's
conversations, runs, messages and blocks. The marker must be in no answer, and B must be as it was.
"""
import http.client
import json
import random
import subprocess
import sys
import urllib.parse

import suite
from suite import ALL, GATE, ORIGIN, OTHER, SERVER_KEY, check, create_token, need, plain, sdk, user

REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
PATIENCE = 3  # seconds without a byte: a stream that waits has shown what it has
TOKEN_USES = 150  # far below what a token may ask in a minute
PIECES = ["/", "//", "/.", "/..", "/../", "/%2e%2e/", "/.%2e/", "/..;/", ";x", "%2f", "%2F", "%5c", "\\", "%252f",
          "%00", "%0a", "%0d%0a", "%20", "+", "*", "%3f", "?", "#", "%23", "&", "&&", "=", "%26", "|", "~", ".json"]


def main():
    random.seed(20)
    server = sdk(SERVER_KEY)
    a, b = suite.agents(server)
    mine, others = None, None
    with check("what B owns is marked"):
        mine, others = belongings(a), belongings(b)
        before = state(b, others)
        need(OTHER in json.dumps(before) and len(others) >= 5, others)
    table = json.loads(subprocess.check_output([sys.argv[2], "routes", "--json"]))
    opened = [row for row in table if "permission" in row]
    answered = {}
    with check(f"{REQUESTS} requests with a token of A bring nothing of B"):
        hunter, token = Hunter(), None
        for made in range(REQUESTS):
            if made % TOKEN_USES == 0:
                token = create_token(server, a, ALL).token
            method, target, headers, body = request(random.choice(opened if random.random() < 0.7 else table), mine, others)
            status, text = hunter.ask(method, target, headers, body, token)
            answered[status] = answered.get(status, 0) + 1
            need(OTHER.encode() not in text, f"{method} {target} {headers} {body} -> {status} {text[:300]}")
    with check("some of them were permitted, most were not"):
        need(answered.get(200, 0) > 0 and answered.get(403, 0) > REQUESTS / 5, answered)
    print("answers by status:", dict(sorted(answered.items(), key=lambda item: str(item[0]))), flush=True)
    with check("B is as it was"):
        need(state(b, others) == before, "it changed")


def belongings(agent):
    """The agent's ids by kind; what is made here says the marker when it is B's."""
    text = OTHER if agent_is_other(agent) else "tea"
    run = own("POST", f"/v1/agents/{agent}/messages/async", {"messages": user(text)})
    conversation = own("POST", f"/v1/conversations/?agent_id={agent}", {"summary": text})
    own("POST", f"/v1/agents/{agent}/messages", {"messages": user(text)})
    messages = own("GET", f"/v1/agents/{agent}/messages")
    blocks = own("GET", f"/v1/agents/{agent}/core-memory/blocks")
    step = next(message["step_id"] for message in messages if message.get("step_id"))
    return {"agent": agent, "run": run["id"], "conversation": conversation["id"], "message": messages[-1]["id"],
            "block": blocks[0]["id"], "step": step}


def own(method, path, body=None):
    """What the server says to the operator, which must be a success."""
    answer = plain(method, path, SERVER_KEY, json=body)
    need(answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


def agent_is_other(agent):
    return OTHER in plain("GET", f"/v1/agents/{agent}", SERVER_KEY).text


def state(agent, ids):
    """What of an agent could have been changed."""
    whole = plain("GET", f"/v1/agents/{agent}", SERVER_KEY).json()
    kept = {key: whole.get(key) for key in ("name", "description", "system", "tags", "metadata", "blocks", "tools")}
    messages = plain("GET", f"/v1/agents/{agent}/messages?limit=1000", SERVER_KEY).json()
    conversation = plain("GET", f"/v1/conversations/{ids['conversation']}", SERVER_KEY).json()
    return [kept, [message["id"] for message in messages], conversation]


def request(row, mine, others):
    """A request for the operation, that is or may be about B."""
    ids = others if random.random() < 0.6 else mine
    segments = []
    for segment in row["path"].split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}").removesuffix("_id")
            if name == "conversation" and random.random() < 0.4:
                segment = random.choice(["default", ids["agent"], others["agent"]])
            else:
                segment = ids.get(name) or random.choice(["human", "persona", others["block"], others["agent"]])
        segments.append(segment)
    target = "/".join(segments)
    pairs = []
    for key, _ in row["query"]:
        if key == "agent_id":
            pairs.append((key, random.choice([mine["agent"], others["agent"]])))
        elif random.random() < 0.2:
            pairs.append((key, random.choice([*others.values(), "10", "asc", "secrets", "agent.secrets"])))
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        key = random.choice(["agent_id", "agent_ids", "conversation_id", "run_id", "group_id", "include", "before"])
        pairs.append((key, random.choice(list(others.values()))))
    if pairs:
        target += "?" + urllib.parse.urlencode(pairs)
    for _ in range(random.choice([0, 0, 1, 1, 2, 3])):
        target = mutate(target, mine, others)
    method = random.choice(row["methods"]) if random.random() < 0.9 else random.choice(["GET", "POST", "PATCH", "DELETE"])
    return method, target, headers(others), body(row, method, mine, others)


def mutate(target, mine, others):
    at = random.randrange(len(target) or 1)
    match random.randrange(8):
        case 0:
            return target[:at] + f"%{ord(target[at:at + 1] or 'a') & 0xff:02X}" + target[at + 1:]
        case 1:
            return target[:at] + random.choice(PIECES) + target[at:]
        case 2:
            return target.replace(mine["agent"], others["agent"], 1)
        case 3:
            return target.replace(others["agent"], mine["agent"], 1)
        case 4:
            return target.replace(mine["agent"], f"{mine['agent']}/../{others['agent']}", 1)
        case 5:
            return target.replace("/v1/", random.choice(["/latest/", "/v1/./", "//v1/", "/V1/"]), 1)
        case 6:
            return target + random.choice(["&", "?"]) + "agent_id=" + others["agent"]
        case _:
            return target[:at] + target[at + 1:]


def headers(others):
    """Now and then a header that the server would listen to."""
    names = ["user_id", "X-Agent-Id", "x-letta-agent-id", "X-Run-Id", "X-HTTP-Method-Override", "X-Original-URL",
             "X-Forwarded-Prefix", "X-Organization-Id"]
    if random.random() < 0.9:
        return {}
    return {random.choice(names): random.choice([others["agent"], others["run"], f"/v1/agents/{others['agent']}"])}


def body(row, method, mine, others):
    if method == "GET" or random.random() < 0.2:
        return None
    fields = {}
    for name, shape in row.get("body") or []:
        if shape == "agent":
            fields[name] = random.choice([mine["agent"], others["agent"]])
        elif shape == "user_messages" and random.random() < 0.3:
            fields[name] = user("hello")
    for _ in range(random.choice([0, 0, 1])):
        name = random.choice(["agent_id", "run_ids", "message_ids", "block_ids", "run_id", "otid", "conversation_id",
                              "source_ids", "model", "system", "override_system"])
        value = random.choice(list(others.values()))
        fields[name] = [value] if name.endswith("_ids") else value
    text = json.dumps(fields)
    if fields and random.random() < 0.15:  # the same key twice, or hidden in an escape
        name = next(iter(fields))
        hidden = "\\u%04x%s" % (ord(name[0]), name[1:])
        text = text[:-1] + f', "{random.choice([name, hidden])}": {json.dumps(others["agent"])}}}'
    return text


class Hunter:
    """Sends targets as they are, and reads answers to their end."""

    def __init__(self):
        self.connection = None

    def ask(self, method, target, extra, content, token):
        if self.connection is None:
            address = urllib.parse.urlsplit(GATE)
            self.connection = Raw(address.hostname, address.port, timeout=PATIENCE)
        try:
            self.connection.putrequest(method, target, skip_accept_encoding=True)
            sent = {"Authorization": f"Bearer {token}", "Origin": ORIGIN, **extra}
            if content is not None:
                sent |= {"Content-Type": "application/json", "Content-Length": str(len(content.encode()))}
            for name, value in sent.items():
                self.connection.putheader(name, value)
            self.connection.endheaders(content.encode() if content is not None else None)
            answer = self.connection.getresponse()
            text = repr(answer.getheaders()).encode()
            try:
                while piece := answer.read1(65536):
                    text += piece
                answer.close()
            except TimeoutError:
                self.connection.close()
                self.connection = None
                return answer.status, text
            if answer.will_close:
                self.connection.close()
                self.connection = None
            return answer.status, text
        except (http.client.HTTPException, OSError) as error:
            self.connection.close()
            self.connection = None
            return type(error).__name__, b""


class Raw(http.client.HTTPConnection):
    """Checks nothing of what it sends."""

    def _validate_path(self, url):
        pass

    def _encode_request(self, request):
        return request.encode("latin-1", "replace")


if __name__ == "__main__":
    main()
