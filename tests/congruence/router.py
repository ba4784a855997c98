"""Asks the real router what would run for each request as the gate would send it.

Reads the lines that the suite's Rust half has kept. Exits 1 at a divergence: a request for which the
router runs another operation, or for another agent, than the gate has judged.
"""

import json
import os
import re
import sys
import tempfile
import warnings
from urllib.parse import unquote

import h11

try:
    import httptools
except ImportError:  # The server runs with either parser.
    httptools = None

warnings.filterwarnings("ignore")
os.environ.setdefault("LETTA_DIR", tempfile.mkdtemp(prefix="ckgate-congruence-"))

from letta.server.rest_api.app import create_application  # noqa: E402
from starlette.datastructures import QueryParams  # noqa: E402
from starlette.routing import Match  # noqa: E402

OWN = "agent-11111111-1111-4111-8111-111111111111"
OTHER = "agent-22222222-2222-4222-8222-222222222222"
UUID = re.compile(r"^(conv|run)-(.{36})$")


def scope_of(method, target):
    """The scope as the server makes it from a request line (uvicorn 0.29, with either parser)."""
    head = f"{method} {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode("latin-1")
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    raw_path, _, query_string = connection.next_event().target.partition(b"?")
    path = unquote(raw_path.decode("ascii"))
    if httptools is not None:
        url = httptools.parse_url(target.encode("latin-1"))
        assert (url.path, url.query or b"") == (raw_path, query_string), target
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query_string,
        "headers": [],
    }


def route_of(router, scope):
    """The route that runs, and its path parameters; None for 404, 405 and redirections."""
    for route in router.routes:
        match, child = route.matches(scope)
        if match == Match.FULL:
            return route, child.get("path_params", {})
    return None, {}


def shape(path):
    return re.sub(r"{[^}]*}", "{}", path)


def owner(identifier):
    """Whose a conversation or run is: the suite's ids carry their agent's digits."""
    found = UUID.match(identifier)
    return f"agent-{found.group(2)}" if found else None


def agent_of(place, params, query, body):
    """The agent that the server acts on, as its handlers find it."""
    if place == "path":
        return params.get("agent_id")
    if place == "run":
        return owner(params["run_id"])
    if place.startswith("query."):
        return query.get(place.removeprefix("query."))
    if place.startswith("body."):
        return body.get(place.removeprefix("body."))
    conversation = params["conversation_id"]
    if conversation.startswith("agent-"):
        return conversation
    if conversation == "default":
        return query.get("agent_id") or body.get("agent_id")
    return owner(conversation)


def main():
    router = create_application().router
    judged = permitted = refused = raw_reaches_other = 0
    operations = set()
    divergences = []
    for line in open(sys.argv[1], encoding="utf-8"):
        row = json.loads(line)
        judged += 1
        if "sent" not in row:
            refused += 1
            try:
                scope = scope_of(row["method"], row["received"])
                route, params = route_of(router, scope)
                query = scope["query_string"].decode("latin-1")
                if route is not None and OTHER[6:] in json.dumps(params) + query:
                    raw_reaches_other += 1
            except (h11.RemoteProtocolError, UnicodeError):
                pass
            continue
        permitted += 1
        operations.add(row["operation"])
        scope = scope_of(row["method"], row["sent"])
        if row["method"] == "HEAD":
            scope["method"] = "GET"  # The upstream answers 405; the gate judges it as GET.
        route, params = route_of(router, scope)
        query = QueryParams(scope["query_string"])
        body = json.loads(row["body"]) if row["body"] else {}
        ran = None if route is None else shape(route.path)
        agent = None if route is None else agent_of(row["place"], params, query, body)
        named = {agent, *query.getlist("agent_id")} | {v for k, v in body.items() if k == "agent_id"}
        if ran != shape(row["template"]) or agent != row["agent"] or named != {row["agent"]}:
            divergences.append({**row, "ran": ran, "for": agent, "named": sorted(map(str, named))})
    for divergence in divergences[:20]:
        print(json.dumps(divergence), file=sys.stderr)
    print(
        f"{judged} targets: {permitted} permitted for {len(operations)} operations, {refused} refused "
        f"({raw_reaches_other} of these would have reached the other agent as received); "
        f"{len(router.routes)} routes upstream; {len(divergences)} divergences"
    )
    if divergences or not permitted:
        sys.exit(1)


main()
