"""CPU a request and requests a second: in the clear, within TLS, on one core and on two."""
from . import loads, peers
from .processes import progress
from .report import Table

USUAL = ["nginx", "nginx auth_request", "nginx with a map", "haproxy with a map"]
OTHERS = ["pingora with a map", "caddy forward_auth", "express", "FastAPI and httpx"]
# What these do not refuse by themselves, or only by asking.
NO_REFUSAL = ("nginx", "nginx auth_request", "caddy forward_auth")
CPU, RATE = "CPU µs a request", "requests/s"


class Sum:
    """Of what all visits of a peer in one round came to."""

    def __init__(self):
        self.count, self.seconds, self.cpu = 0, 0, 0

    def add(self, count, seconds, cpu):
        self.count, self.seconds, self.cpu = self.count + count, self.seconds + seconds, self.cpu + cpu

    def figures(self):
        rate = {RATE: self.count / self.seconds}
        return {CPU: self.cpu / self.count * 1e6, **rate} if self.cpu else rate


def throughput(run):
    tables = {}
    for started, token in peers.each_start(run, "throughput", USUAL + (OTHERS if run.all else [])):
        for workload, script in loads.scripts(run.directory, token).items():
            refusing = workload == "refusal"
            base = "nginx with a map" if refusing else "nginx"
            new = Table(workload.split()[0].lower(), f"{workload}, as fast as it goes", "proxy", base)
            table = tables.setdefault(workload, new)
            if refusing:
                visited = {peer: place for peer, place in started.items() if peer not in NO_REFUSAL}
            else:
                visited = {"direct": (peers.UPSTREAM, None), **started}
            sums = {peer: Sum() for peer in visited}
            for peer in peers.turns(visited, run.seconds):
                port, process = visited[peer]
                before = process.cpu_seconds() if process else 0
                count, seconds, refused = loads.as_fast_as_it_goes(run.load_core, port, 1, script)
                cpu = process.cpu_seconds() - before if process else 0
                if refused != (count if refusing else 0):
                    raise SystemExit(f"{peer}: {refused} of {count} refused in {workload}")
                sums[peer].add(count, seconds, cpu)
            for peer, found in sums.items():
                table.add(peer, **found.figures())
    return list(tables.values())


def tls(run):
    """The same certificate for both: ECDSA on P-256; TLS 1.3 with X25519."""
    pair = peers.certificate(run.directory)
    certificates = f'[{{ certificate = "{pair[0]}", key = "{pair[1]}" }}]'
    clear = peers.gate(run.directory, run.proxy_core)
    token = peers.token()
    clear.end()
    gate = peers.gate(run.directory, run.proxy_core, {"CKGATE_TLS__CERTIFICATES": certificates})
    nginx = peers.encrypted(run.directory, run.proxy_core, pair)
    started = {"ckgate": (peers.GATE, gate), "nginx": (peers.PORTS["nginx with TLS"], nginx)}
    shaking = Table("tls-handshake", "TLS 1.3: full handshakes, one after the other", "proxy", base="nginx", rows=started)
    kept = [Table(f"tls-{name.split()[0].lower()}", f"{name} over TLS 1.3, connections kept", "proxy", base="nginx", rows=started)
            for name in ("GET", "POST 1 KiB")]
    made = loads.scripts(run.directory, token)
    for number in range(run.rounds):
        progress(f"TLS: round {number + 1} of {run.rounds}")
        for peer in peers.in_any_order(started):
            port, process = started[peer]
            before = process.cpu_seconds()
            count = loads.handshakes(port, run.seconds)
            shaking.add(peer, **{"CPU µs a handshake": (process.cpu_seconds() - before) / count * 1e6})
            for table, name in zip(kept, ("GET", "POST 1 KiB")):
                cpu, rate = loads.cost(run.load_core, port, process, run.seconds, made[name], scheme="https")
                table.add(peer, **{CPU: cpu, RATE: rate})
    peers.end(started)
    return [shaking, *kept]


def two_cores(run):
    """One worker on one core, and two on two, which they share with the load and the upstream."""
    table = Table("cores", "GET on one core and on two", "workers", base="1", rows=("1", "2"),
                  note="The load generator and the upstream run on the second core, too, and have to share both with two workers: "
                  "the rates say less than that a request costs no more CPU on two cores than on one.")
    for number in range(run.rounds):
        for workers in peers.in_any_order((1, 2)):
            progress(f"{workers} workers: round {number + 1} of {run.rounds}")
            core = run.proxy_core if workers == 1 else f"{run.proxy_core},{run.load_core}"
            process = peers.gate(run.directory, core, {"CKGATE_SERVER__WORKERS": str(workers)})
            script = loads.scripts(run.directory, peers.token())["GET"]
            cpu, rate = loads.cost(run.load_core if workers == 1 else core, peers.GATE, process, run.seconds, script)
            table.add(str(workers), **{CPU: cpu, RATE: rate})
            process.end()
    return [table]
