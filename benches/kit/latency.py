"""What a caller waits for: at fixed rates, and for events. What an open connection takes of memory."""
import statistics

from . import loads, peers
from .report import Table

PEERS = ["nginx", "nginx auth_request", "haproxy with a map"]
ROWS = ["direct", "ckgate", *PEERS]
# Requests a second, and over how many connections.
RATES = {200: 4, 2000: 32, 8000: 64}


def fixed_rates(run):
    tables = {rate: Table(f"latency-{rate}", f"Latency in µs at {rate:,} requests/s", "proxy", base="nginx", rows=ROWS)
              for rate in RATES}
    for started, token in peers.each_start(run, "fixed rates", PEERS):
        ports = with_direct(started)
        for rate, connections in RATES.items():
            for peer in peers.in_any_order(ports):
                figures = loads.at_a_fixed_rate(run.load_core, ports[peer], token, rate, run.seconds, connections)
                tables[rate].add(peer, **{name: figures[name] for name in ("p50", "p90", "p99", "p99.9")})
    fast = Table("latency-fast", "The fast mode: lowest p50 of all starts, in µs", "proxy", base="nginx",
                 note="Each started proxy, whatever its code, settles in a faster or a slower mode here; these are the fast ones.")
    for rate, table in tables.items():
        for peer in table.rows:
            fast.add(peer, **{f"{rate:,}/s": min(table.rows[peer]["p50"])})
    return [*tables.values(), fast]


def with_direct(started):
    """The port of each peer, and the upstream's own."""
    return {"direct": peers.UPSTREAM, **{peer: port for peer, (port, _) in started.items()}}


def streams(run):
    table = Table("streams", "Event streams, one begun every 5 ms, with an event every 20 ms each, in µs", "proxy", base="nginx",
                  rows=ROWS, note="nginx without buffering. What the gate adds to the first event is its figure less that of `direct`.")
    for started, token in peers.each_start(run, "streams", PEERS):
        ports, found = with_direct(started), {row: [] for row in ROWS}
        for peer in peers.turns(ports, run.seconds):
            found[peer].append(loads.event_streams(run.load_core, ports[peer], token))
        for peer, pairs in found.items():
            first, later = map(statistics.median, zip(*pairs))
            table.add(peer, **{"first event": first, "later events": later})
    added = Table("streams-added", "Added time to the first event of a stream, in µs", "proxy")
    for peer in table.rows:
        if peer != "direct":
            pairs = zip(table.rows[peer]["first event"], table.rows["direct"]["first event"])
            added.add(peer, median=statistics.median(mine - direct for mine, direct in pairs))
    return [table, added]


def memory(run):
    table = Table("memory", "Memory in KiB", "proxy", base="nginx")
    for started, token in peers.each_start(run, "memory", PEERS):
        for peer, (port, process) in started.items():
            table.add(peer, **{"an idle connection": grown(process, 1000, lambda n: loads.open_connections(port, token, n), 20)})
    # A process of its own: what memory was given back by the connections is not counted again.
    for place in run.directory.glob("start*"):
        place.rename(run.directory / f"connections-{place.name}")
    for started, token in peers.each_start(run, "memory of streams", PEERS):
        for peer, (port, process) in started.items():
            table.add(peer, **{"an open stream": grown(process, 400, lambda n: loads.open_streams(port, token, n), 60)})
    return [table]


def grown(process, count, open_some, first):
    """KiB each, once the first few have been opened."""
    held = open_some(first)
    before = process.memory_kib()
    held += open_some(count)
    after = process.memory_kib()
    loads.close(held)
    return (after - before) / count
