"""Processes that are measured: pinned, with their CPU time and memory, ended by whoever started them."""
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def install(packages):
    """Debian packages by the program they bring."""
    missing = [package for program, package in packages.items()
               if not shutil.which(program) and not Path("/usr/sbin", program).exists()]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, stdout=subprocess.DEVNULL)


def cores():
    """One core for what is measured, one for everything else."""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else (have[0], have[0])


class Process:
    """A server of ours on one core, with the CPU time and the memory of it and its children."""

    running = []

    def __init__(self, core, argv, env=None, cwd=None):
        self.child = subprocess.Popen(["taskset", "-c", str(core), *map(str, argv)], cwd=cwd,
                                      env={**os.environ, **(env or {})},
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Process.running.append(self)

    @classmethod
    def end_all(cls):
        for process in list(cls.running):
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
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_kib(self):
        """Private and proportionally shared memory."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def end(self):
        Process.running.remove(self)
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def wait_for(port, path="/", headers=None, seconds=30):
    """Until something answers on the port, whatever it says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            opener.open(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {}), timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")
