"""Runs each kind of slow attack, and times fresh callers meanwhile."""

import http.client
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from lab import KEY, start_gate, start_upstream  # noqa: E402

CONNECTIONS = 1000
# Half of all fresh callers, and every one of them, must be served within these, in seconds; the
# attacker shares the machine.
MEDIAN_MAX, SLOWEST_MAX = 0.1, 3.0
# At its default limits, the gate takes longer over everything.
DEFAULTS = sys.argv[3:] == ["defaults"]
# How long after the attack the last attacker may linger.
AFTERWARDS = 120 if DEFAULTS else 15
# What a short trial changes: everything else is at its default.
LIMITS = "" if DEFAULTS else '[limits]\nheader_timeout = "5s"\nbody_timeout = "5s"\nwrite_stall_timeout = "5s"\nkeep_alive_timeout = "5s"\nbody_rate_min = 2000\n'

# The header is smuggled into the cookie, since the attacker has no option for one.
COOKIE = f"a=b\r\nAuthorization: Bearer {KEY}"
ATTACKS = {
    "slow heads": ["-H", "-i", "2", "-t", "GET"],
    "slow bodies": ["-B", "-i", "2", "-s", "65536", "-x", "10", "-j", COOKIE],
    "slow readers": ["-X", "-w", "1", "-y", "10", "-n", "5", "-z", "5", "-k", "3", "-j", COOKIE],
    "ranges": ["-R", "-t", "HEAD", "-a", "10", "-b", "3000", "-j", COOKIE],
}


def fetch(port, path, headers=None):
    """Status, body and seconds of one request on a fresh connection."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body.decode(), time.monotonic() - began


def metric(admin, name):
    lines = fetch(admin, "/metrics")[1].splitlines()
    return next((int(line.split(" ")[1]) for line in lines if line.startswith(name + " ")), 0)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split(" ")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def siege(name, options, seconds, folder, to):
    gate, port, admin = start_gate(sys.argv[1], folder, to, LIMITS)
    url = f"http://127.0.0.1:{port}/v9/{'large' if 'readers' in name else 'things'}"
    command = ["slowhttptest", *options, "-c", str(CONNECTIONS), "-r", "300", "-l", str(seconds), "-p", "5", "-u", url]
    attacker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    times, most, ended = [], 0, None
    while ended is None or time.monotonic() < ended + AFTERWARDS:
        # Answered by the gate itself: the upstream has the attackers' large answers to send.
        status, _, took = fetch(port, "/v1/client-side-access-tokens", {"Authorization": f"Bearer {KEY}"})
        assert status == 200, f"{name}: a fresh caller is answered {status}"
        times.append(took)
        open_now = metric(admin, "ckgate_connections")
        most = max(most, open_now)
        if ended is None and attacker.poll() is not None:
            ended = time.monotonic()
        if ended is not None and open_now <= 2:
            break
        time.sleep(0.05)
    times.sort()
    cpu = cpu_seconds(gate)
    gate.terminate()
    gate.wait()
    print(f"{name}: at most {most} connections, {len(times)} fresh callers: median {times[len(times) // 2] * 1000:.0f} ms, "
          f"slowest {times[-1] * 1000:.0f} ms, {open_now} left, {cpu:.1f} s of processor time")
    return times[len(times) // 2] < MEDIAN_MAX and times[-1] < SLOWEST_MAX and open_now <= 2 and (most > 50 or name == "ranges")


held = True
upstream = start_upstream()
for attack, arguments in ATTACKS.items():
    with tempfile.TemporaryDirectory() as directory:
        held &= siege(attack, arguments, int(sys.argv[2]), pathlib.Path(directory), upstream)
sys.exit(0 if held else 1)
