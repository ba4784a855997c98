"""How long a deleted token lives: from the answer to DELETE, while the gates are busy."""
import os
import shutil
import statistics
import subprocess
import threading
import time

from . import loads, peers
from .processes import Process, install, newest_postgres, progress, rust_program
from .report import Table

LOAD = 2000


class Prober(threading.Thread):
    """Asks again and again with one token until it has been refused often enough."""

    def __init__(self, port, bearer):
        super().__init__()
        self.port, self.bearer, self.admitted = port, bearer, []
        self.start()

    def run(self):
        connection, request, refused = loads.connect(self.port), loads.head(self.port, self.bearer), 0
        while refused < 20:
            sent = time.monotonic()
            connection.sendall(request)
            if b" 200 " in loads.answer(connection).split(b"\r\n")[0]:
                self.admitted.append((sent, time.monotonic()))
                refused = 0
            else:
                refused += 1
            time.sleep(0.0005)
        connection.close()

    def last_after(self, moment):
        """ms after the moment until which requests that were sent behind it were still admitted; 0 if none was."""
        return max((came - moment for sent, came in self.admitted if sent > moment), default=0) * 1000


class Stream(threading.Thread):
    """An open stream of the token, read to its end."""

    def __init__(self, port, bearer):
        super().__init__()
        (self.connection,) = loads.open_streams(port, bearer, 1)
        self.start()

    def run(self):
        data = b""
        while b"token_revoked" not in data:
            data = data[-100:] + loads.more(self.connection)
        self.ended = time.monotonic()
        self.connection.close()


def trial(ports):
    """DELETE's own ms, and for each gate ms after its answer: the last admission, the end of the stream."""
    bearer = peers.token()
    probers, streams = [Prober(port, bearer) for port in ports], [Stream(port, bearer) for port in ports]
    time.sleep(0.05)
    asked = time.monotonic()
    peers.delete(bearer)
    answered = time.monotonic()
    for thread in probers + streams:
        thread.join()
    return (answered - asked) * 1000, [prober.last_after(answered) for prober in probers], \
        [max(0, stream.ended - answered) * 1000 for stream in streams]


def measured(run, title, ports):
    """Trials under a steady load on every gate."""
    loading = loads.head(peers.GATE, peers.token())
    steady = [Process(run.load_core, [rust_program("rate"), port, LOAD, 100_000, 16], given=loading) for port in ports]
    took, after, cut = [], [[] for _ in ports], [[] for _ in ports]
    for number in range(run.revocations):
        if number % 20 == 0:
            progress(f"{title}: deletion {number + 1} of {run.revocations}")
        own, admissions, ends = trial(ports)
        took.append(own)
        for gate, (admission, end) in enumerate(zip(admissions, ends)):
            after[gate].append(admission)
            cut[gate].append(end)
    for load in steady:
        if load.child.poll() is not None:
            raise SystemExit("the load ended early")
        load.end()
    table = Table(f"revocation-{len(ports)}", f"Revocation, {title}, each gate at {LOAD:,} requests/s: ms", "", digits=2,
                  note=f"{run.revocations} deletions. A request counts as admitted late if it was sent after DELETE had answered.")
    names = ["the gate that was asked", "the other gate"]
    rows = {"DELETE until its answer": took}
    for name, late, ends in zip(names, after, cut):
        rows[f"last admission after the answer, {name}"], rows[f"end of the open stream after the answer, {name}"] = late, ends
    for row, figures in rows.items():
        ordered = sorted(figures)
        table.add(row, p50=statistics.median(ordered), p99=ordered[(len(ordered) - 1) * 99 // 100], most=ordered[-1],
                  **{"above 0": sum(figure > 0 for figure in ordered)})
    return table


def database(place, core):
    """A PostgreSQL of this run's own, durable as it comes; as the user `postgres` where this is root, which it refuses."""
    programs = newest_postgres()
    if not programs:
        install({"initdb": "postgresql"})
        programs = newest_postgres()
    place.mkdir()
    somebody = []
    if os.geteuid() == 0:
        shutil.chown(place, "postgres", "postgres")
        somebody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = place / "data"
    subprocess.run([*somebody, programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"],
                   check=True, stdout=subprocess.DEVNULL, cwd="/")
    Process(core, [*somebody, programs / "postgres", "-D", data, "-p", peers.DATABASE, "-h", "127.0.0.1", "-k", ""], cwd="/")
    asking = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(peers.DATABASE)]
    while subprocess.run(asking).returncode:
        time.sleep(0.1)


def revocation(run):
    alone = peers.gate(run.directory, run.proxy_core)
    tables = [measured(run, "one gate on SQLite", [peers.GATE])]
    alone.end()
    database(run.directory / "postgres", run.load_core)
    store = {"CKGATE_STORE__URL": f"postgres://postgres@127.0.0.1:{peers.DATABASE}/postgres?sslmode=disable"}
    peers.gate(run.directory, run.proxy_core, store)
    peers.gate(run.directory, run.proxy_core, store, peers.OTHER_GATE, peers.OTHER_ADMIN)
    tables.append(measured(run, "two gates on PostgreSQL", [peers.GATE, peers.OTHER_GATE]))
    return tables
