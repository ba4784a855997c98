"""Moves the wall clock of a gate, and uses tokens meanwhile. Monotonic time is left alone."""

import datetime
import json
import http.client
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from lab import KEY, start_gate, start_upstream  # noqa: E402

AGENT = "agent-11111111-1111-4111-8111-111111111111"
ORIGIN = "https://app.test"


def ask(port, method, path, credential, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Bearer {credential}", "Origin": ORIGIN, "Content-Type": "application/json"}
    connection.request(method, path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text or b"{}")


def token(port, minutes, shift):
    """A token that lives so long by the gate's clock."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=shift)
    body = {"policy": [{"type": "agent", "id": AGENT, "access": ["read_messages"]}], "hostname": ORIGIN,
            "expires_at": (now + datetime.timedelta(minutes=minutes)).isoformat()}
    status, made = ask(port, "POST", "/v1/client-side-access-tokens", KEY, body)
    assert status == 201, made
    return made["token"]


def use(port, text):
    status, said = ask(port, "GET", f"/v1/agents/{AGENT}/messages", text)
    return said["code"] if status != 200 else "served"


def set_clock(file, seconds):
    """Sets the gate's wall clock so far from ours. What it read before is believed for a millisecond."""
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+}\n")
    new.rename(file)
    time.sleep(0.01)


def expect(what, seen, wanted):
    print(f"{what}: {seen}")
    assert seen == wanted, wanted


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    clock = folder / "clock"
    set_clock(clock, 0)
    environment = {"LD_PRELOAD": sys.argv[2], "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                   "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    gate, port, _ = start_gate(sys.argv[1], folder, start_upstream(), environment=environment)
    short, long = token(port, 30, 0), token(port, 180, 0)
    for text in (short, long):
        expect("before", use(port, text), "served")
    set_clock(clock, 3600)
    expect("an hour on, a token of 30 minutes", use(port, short), "token_expired")
    expect("an hour on, a token of 3 hours", use(port, long), "served")
    late = token(port, 30, 60)
    expect("an hour on, a new token of 30 minutes", use(port, late), "served")
    set_clock(clock, -3600)
    expect("two hours back, what had expired", use(port, short), "token_expired")
    expect("two hours back, what had not", use(port, long), "served")
    expect("two hours back, what was made an hour ahead", use(port, late), "served")
    ask(port, "DELETE", f"/v1/client-side-access-tokens/{long}", KEY)
    expect("two hours back, what was deleted", use(port, long), "token_invalid")
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.sendall(b"GET / HTTP/1.1\r\n")
    while connection.sock.recv(4096):
        pass
    took = time.monotonic() - began
    assert 5 < took < 25, f"a head that never comes is given up after {took:.0f} s"
    set_clock(clock, 7200)
    expect("two hours on, what was made an hour ahead", use(port, late), "token_expired")
    gate.terminate()
    gate.wait()
print("no expired token came back to life")
