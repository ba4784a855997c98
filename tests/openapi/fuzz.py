"""Runs schemathesis against each listener of one gate, with that listener's part of the description."""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).parent
SERVER_KEY = "sk-let-openapi0server0key0of0the0account0000"
ADMIN_KEY = "openapi-admin-credential-0123456789abcdef"
# Every answer has to be one that is described, in the described type and shape, and never a 5xx; what
# the description forbids has to be refused. Two checks cannot hold everywhere:
# Methods that are not described are 403 or 404 by design: what is not in a table is refused.
NOT_CHECKED = "unsupported_method"
# What is described is accepted, except where no schema can say what is: not every text is a host, a time
# in the next thirty days, or a token that exists; a question may be about a request that is refused.
NOT_ALWAYS_ACCEPTED = f"{NOT_CHECKED},positive_data_acceptance"


def start(program, folder):
    for name, text in (("key", SERVER_KEY), ("credential", "none"), ("admin", ADMIN_KEY)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "ckgate.toml").write_text(f"""
[listen]
public = "127.0.0.1:0"
admin = "127.0.0.1:0"
decision = "127.0.0.1:0"
[decision]
peers = ["127.0.0.1"]
[console]
credential = {{ file = "{folder}/admin" }}
[upstream]
url = "http://127.0.0.1:9"
credential = {{ file = "{folder}/credential" }}
[[accounts]]
name = "default"
server_keys = [{{ file = "{folder}/key" }}]
[store]
url = "sqlite:{folder}/ckgate.db"
""")
    gate = subprocess.Popen([program, "serve", "--config", folder / "ckgate.toml"], cwd=folder, text=True,
                            stdout=subprocess.PIPE)
    for line in gate.stdout:
        event = json.loads(line)
        if event.get("message") == "listening":
            threading.Thread(target=gate.stdout.read, daemon=True).start()
            return gate, *(f"http://{event['listen.' + name]}" for name in ("public", "admin", "decision"))
    sys.exit("the gate did not start")


def fuzz(description, url, paths, methods, bearer, examples, excluded):
    command = [str(pathlib.Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"), "run", description, "--url", url,
               "--include-path-regex", paths, *methods, "--header", f"Authorization: Bearer {bearer}", "--exclude-checks", excluded,
               "--max-examples", examples, "--phases", "examples,coverage,fuzzing", "--workers", "1",
               "--seed", "1", "--request-timeout", "20", "--no-color", "--max-failures", "5",
               # A body that is refused at the door, and a login that waits, are no faults.
               "--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none"]
    print(f"--- {paths} at {url}", flush=True)
    return subprocess.run(command).returncode


def main():
    program, examples = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        gate, public, admin, decision = start(program, pathlib.Path(folder))
        try:
            description = f"{admin}/openapi.json"
            get, other = ["--exclude-method", "POST", "--exclude-method", "DELETE"], ["--exclude-method", "GET"]
            admin_paths = "^/(api/[a-z]*$|api/tokens/|healthz|readyz|metrics)"
            runs = (
                ("^/v1/", get, public, SERVER_KEY, NOT_CHECKED),
                ("^/v1/", other, public, SERVER_KEY, NOT_ALWAYS_ACCEPTED),
                ("^/(nginx|haproxy|caddy|traefik|envoy)", [], decision, SERVER_KEY, NOT_ALWAYS_ACCEPTED),
                (admin_paths, get, admin, ADMIN_KEY, NOT_CHECKED),
                # A session is opened by the console's own page only.
                (admin_paths, other, admin, ADMIN_KEY, NOT_ALWAYS_ACCEPTED),
            )
            failed = [
                f"{paths} {' '.join(methods)}"
                for paths, methods, url, bearer, excluded in runs
                if fuzz(description, url, paths, methods, bearer, examples, excluded)
            ]
            if gate.poll() is not None:
                failed.append("the gate ended")
        finally:
            gate.terminate()
            gate.wait(20)
    print(f"{len(runs) - len(failed)} passed, {len(failed)} failed" + (f": {failed}" if failed else ""))
    sys.exit(bool(failed))


main()
