"""What grows with what: connections, streams, entries of a policy, routes."""
import re
import select
import threading
import time
import uuid

from . import loads, peers
from .processes import ROOT, progress
from .report import Table

ACTIVE = 8
# All streams together, so that only their number changes.
EVENTS_PER_SECOND = 2000
COUNTS = (10, 100, 1000, 10_000)


def with_nginx(run, name):
    place = run.directory / name
    place.mkdir()
    return peers.start(place, run.proxy_core, ["nginx"])


def connections(run):
    """So many open connections, eight of them busy."""
    table = Table("growth-connections", "GET with so many connections open, eight of them busy", "connections", digits=2)
    for count in within(run, COUNTS):
        progress(f"growth: {count:,} connections")
        started, token = with_nginx(run, f"connections{count}")
        script = loads.scripts(run.directory, token)["GET"]
        for peer, (port, process) in started.items():
            loads.close(loads.open_connections(port, token, 20))
            before = process.memory_kib()
            held = loads.open_connections(port, token, count - ACTIVE)
            memory = (process.memory_kib() - before) / count
            for _ in range(run.rounds):
                cpu, _ = loads.cost(run.load_core, port, process, run.seconds, script, connections=ACTIVE)
                table.add(f"{count:,}", **{f"{peer}: CPU µs a request": cpu})
            if count >= 100:
                table.add(f"{count:,}", **{f"{peer}: KiB a connection": memory})
            loads.close(held)
        peers.end(started)
    return table


def streams(run):
    """So many open streams, on all of them together the same number of events a second."""
    table = Table("growth-streams", f"{EVENTS_PER_SECOND:,} events/s over so many open streams", "streams", digits=2)
    for count in within(run, COUNTS):
        progress(f"growth: {count:,} streams")
        started, token = with_nginx(run, f"streams{count}")
        for peer, (port, process) in started.items():
            loads.close(loads.open_streams(port, token, 20))
            before = process.memory_kib()
            held = loads.open_streams(port, token, count, every_us=1_000_000 * count // EVENTS_PER_SECOND)
            memory = (process.memory_kib() - before) / count
            reader = Reader(held)
            # What came while they were being opened is not counted.
            time.sleep(max(2, run.seconds))
            for _ in range(run.rounds):
                cpu, seen = process.cpu_seconds(), reader.seen
                time.sleep(run.seconds)
                if reader.ended:
                    raise SystemExit(f"{peer}: {reader.ended}")
                table.add(f"{count:,}", **{f"{peer}: CPU µs an event": (process.cpu_seconds() - cpu) / (reader.seen - seen) * 1e6})
            reader.close()
            if count >= 100:
                table.add(f"{count:,}", **{f"{peer}: KiB a stream": memory})
        peers.end(started)
    return table


class Reader(threading.Thread):
    """Reads open streams and counts their events; none of them is to end."""

    def __init__(self, held):
        super().__init__()
        self.held, self.seen, self.over = {connection.fileno(): connection for connection in held}, 0, False
        self.last, self.ended = {}, None
        self.start()

    def run(self):
        poll = select.epoll()
        for number in self.held:
            poll.register(number, select.EPOLLIN)
        while not self.over:
            for number, _ in poll.poll(0.1):
                try:
                    self.last[number] = loads.more(self.held[number])
                except ConnectionError:
                    self.ended = f"a stream ended behind {self.last.get(number)}"
                    return
                self.seen += self.last[number].count(b"data: ")

    def close(self):
        self.over = True
        self.join()
        loads.close(self.held.values())


def within(run, counts):
    """The same, or as many as this user's limit of open files permits: each has two in the gate."""
    most = (run.files - 1000) // 2
    return [count for count in counts if count <= most] + ([most] if most < counts[-1] else [])


def policies(run):
    """A token for so many agents, used for the last of them."""
    table = Table("growth-policy", "GET with a token whose policy has so many entries", "entries", digits=2)
    process = peers.gate(run.directory, run.proxy_core)
    for count in (1, 10, 100):
        progress(f"growth: {count} entries")
        token = peers.token([*(f"agent-{uuid.uuid4()}" for _ in range(count - 1)), peers.AGENT])
        script = loads.scripts(run.directory, token)["GET"]
        for _ in range(run.rounds):
            cpu, _ = loads.cost(run.load_core, peers.GATE, process, run.seconds, script)
            table.add(str(count), **{"ckgate: CPU µs a request": cpu})
    process.end()
    return table


def routes(run):
    """The built-in table, and the same with more operations of agents."""
    table = Table("growth-routes", "GET with so many operations in the route table", "operations", digits=2)
    built_in = (ROOT / "config/routes/letta.toml").read_text()
    there = len(re.findall(r"(?m)^\[\[operations\]\]", built_in))
    for more in (0, 400, 4000):
        progress(f"growth: {there + more} operations")
        extra = "".join(f'\n[[operations]]\nname = "agents.extra{n}"\nmethods = ["GET"]\npath = "/v1/agents/{{agent_id}}/extra{n}"\n'
                        f'permission = "read_agent"\n' for n in range(more))
        (run.directory / "routes.toml").write_text(built_in + extra)
        process = peers.gate(run.directory, run.proxy_core, {"CKGATE_ROUTES__FILE": str(run.directory / "routes.toml")})
        script = loads.scripts(run.directory, peers.token())["GET"]
        for _ in range(run.rounds):
            cpu, _ = loads.cost(run.load_core, peers.GATE, process, run.seconds, script)
            table.add(f"{there + more:,}", **{"ckgate: CPU µs a request": cpu})
        process.end()
    return table


def growth(run):
    return [connections(run), streams(run), policies(run), routes(run)]
