"""Processes that are measured: pinned, with their CPU time and memory, ended by whoever started them."""
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "target/kit"
# The program that `benches/train` makes.
TRAINED = ROOT / "target/trained/ckgate"
FILES = 65536


def progress(text):
    print(text, file=sys.stderr, flush=True)


def install(packages):
    """Debian packages by the program they bring."""
    missing = [package for program, package in packages.items()
               if not shutil.which(program) and not Path("/usr/sbin", program).exists()]
    if missing:
        progress(f"installing {', '.join(missing)}")
        apt_get = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
        subprocess.run([*apt_get, "update"], check=True)
        subprocess.run([*apt_get, "install", "-y", "--no-install-recommends", *missing], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def newest_postgres():
    """The folder of the programs of the newest PostgreSQL from Debian's packages, if there is one."""
    found = (initdb.parent for initdb in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return max(found, key=lambda programs: tuple(map(int, programs.parent.name.split("."))), default=None)


def crate(name):
    """The program of the crate `benches/kit/NAME`, built away from the checkout, where it is kept."""
    place = BUILT / name
    shutil.copytree(ROOT / "benches/kit" / name, place, dirs_exist_ok=True)
    progress(f"building {name} from crates.io (minutes, the first time)")
    subprocess.run(["cargo", "build", "--release", "--target-dir", BUILT / "built"], cwd=place, check=True)
    return next(path for path in (BUILT / "built/release").iterdir()
                if path.name.startswith(name) and os.access(path, os.X_OK) and path.is_file())


def rust_program(name):
    """The program of `benches/kit/NAME.rs`, which needs nothing but the compiler."""
    BUILT.mkdir(parents=True, exist_ok=True)
    source, program = ROOT / f"benches/kit/{name}.rs", BUILT / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, source], check=True)
    return program


def raise_limits():
    """As many open files as this user may have; returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(FILES, hard), max(FILES, hard)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def end_with_this_process():
    """What was started ends as well when this process is asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))


def cores():
    """One core for what is measured, one for everything else."""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else (have[0], have[0])


class Process:
    """A server of ours on one core, with the CPU time and the memory of it and its children."""

    running = []

    def __init__(self, core, argv, env=None, cwd=None, given=None):
        self.child = subprocess.Popen(["taskset", "-c", str(core), *map(str, argv)], cwd=cwd, env={**os.environ, **(env or {})},
                                      stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Process.running.append(self)
        if given is not None:
            self.child.stdin.write(given)
            self.child.stdin.close()

    @classmethod
    def end_all(cls):
        for process in reversed(list(cls.running)):
            process.end()

    def pids(self):
        found, todo = [], [self.child.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += [int(child) for child in children.read_text().split()]
        return found

    def cpu_seconds(self):
        """From the scheduler's accounting, in nanoseconds, of every thread that runs."""
        return sum(int(path.read_text().split()[0])
                   for pid in self.pids() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9

    def memory_kib(self):
        """What it has allocated: its own and its part of what it shares, without the files that it maps."""
        lines = [line.split() for pid in self.pids() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        return sum(int(line[1]) for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:"))

    def files(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def threads(self):
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.pids())

    def signal(self, number):
        self.child.send_signal(number)

    def end(self):
        Process.running.remove(self)
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def opener(*handlers):
    """Of URLs on this machine, whatever proxy the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


def wait_for(port, path="/", seconds=30):
    """Until something answers on the port, whatever it says."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            opener().open(f"http://127.0.0.1:{port}{path}", timeout=1)
            return
        except urllib.error.HTTPError as refusal:
            if path == "/" or refusal.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")
