"""Instructions of the proxy in user space for each request, counted by callgrind: the same again on every run."""

from . import loads, peers
from .processes import install, progress, wait_for
from .report import Table

FEW, MANY = 500, 2500


def instructions(run):
    """Each proxy is started twice under callgrind and given few requests and many; the rest is in the difference."""
    install({"valgrind": "valgrind"})
    table = Table("instructions", "User-space instructions a request", "proxy", base="nginx", digits=0)
    for peer in ("ckgate", "nginx"):
        for workload in ("GET", "POST 1 KiB"):
            progress(f"instructions: {peer}, {workload}")
            few, many = (counted(run, peer, workload, requests) for requests in (FEW, MANY))
            table.add(peer, **{workload: (many - few) / (MANY - FEW)})
    return [table]


def counted(run, peer, workload, requests):
    place = run.directory / f"{peer}-{workload.split()[0]}-{requests}"
    place.mkdir()
    out = place / "counts"
    under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    if peer == "ckgate":
        # Its token is made before: making one is no part of this.
        process = peers.gate(place, run.proxy_core)
        bearer = peers.token()
        process.end()
        process, port = peers.gate(place, run.proxy_core, under=under), peers.GATE
    else:
        process, port, bearer = peers.plain(place, run.proxy_core, "", under=under), peers.PORTS["nginx"], "nobody's"
        wait_for(port)
    body = loads.message().encode()
    request = loads.head(port, bearer) if workload == "GET" else loads.head(port, bearer, method="POST", length=len(body)) + body
    connection = loads.connect(port)
    for _ in range(requests):
        connection.sendall(request)
        if b" 200 " not in loads.answer(connection).split(b"\r\n")[0]:
            raise SystemExit(f"{peer}: an answer was not good")
    connection.close()
    process.end()
    return next(int(line.split()[1]) for line in out.read_text().splitlines() if line.startswith(("summary:", "totals:")))
