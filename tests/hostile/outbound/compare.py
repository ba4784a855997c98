"""Holds what two parsers have read against what was meant, and against each other."""

import json
import sys


def read(path):
    """The requests of a file, by their id; nothing may be there twice."""
    requests = {}
    for line in open(path, encoding="utf-8"):
        request = json.loads(line)
        headers = request["headers"]
        if isinstance(headers, list):
            pairs = [(name.lower(), value) for name, value in headers]
            request["headers"] = dict(pairs)
            assert len(pairs) == len(request["headers"]), f"a header twice: {request}"
            request["id"] = request["headers"]["x-request-id"]
        assert request["id"] not in requests, f"twice: {request['id']}"
        requests[request["id"]] = request
    return requests


meant, *readings = [read(path) for path in sys.argv[1:]]
wrong = 0
for name, reading in zip(sys.argv[2:], readings):
    if reading.keys() != meant.keys():
        wrong += 1
        print(f"{name}: {len(reading)} requests, not {len(meant)}")
    for key, expected in meant.items():
        found = reading.get(key, {"headers": {}})
        for part in ("connection", "method", "target", "body"):
            if found.get(part) != expected[part]:
                wrong += 1
                print(f"{name}: {part} of {key}: {found.get(part)!r}, not {expected[part]!r}")
        for header, value in expected["headers"].items():
            if found["headers"].get(header) != value:
                wrong += 1
                print(f"{name}: {header} of {key}: {found['headers'].get(header)!r}, not {value!r}")
        # Those that frame the message or are the gate's own; anything else was never meant.
        own = {"host", "x-request-id", "traceparent", "content-length", "transfer-encoding"}
        for header in found["headers"].keys() - expected["headers"].keys() - own:
            wrong += 1
            print(f"{name}: {header} of {key} was not meant")
first, second = readings
for key in first.keys() & second.keys():
    if first[key] != second[key]:
        wrong += 1
        print(f"the parsers disagree: {first[key]} and {second[key]}")
print(f"{len(meant)} requests, {len(readings)} parsers, {wrong} differences")
sys.exit(1 if wrong else 0)
