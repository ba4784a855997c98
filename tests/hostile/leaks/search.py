"""Searches a folder of `tests/hostile/leaks/run` for the secrets it names, in every usual spelling."""

import base64
import pathlib
import subprocess
import sys
import tempfile

# A part of a secret that is as good as all of it.
PART = 20


def spellings(secret):
    """The secret as it is, cut in two, and encoded; base64 wherever in a text it begins."""
    text = secret.encode()
    yield from (text, text[:PART], text[-PART:], text[::-1], text[-PART:].lower(), text[-PART:].upper())
    for digits in ("%%%02X", "%%%02x", "\\u%04x", "\\x%02x", "&#%d;", "%02x", "%02X"):
        yield "".join(digits % byte for byte in text[-PART:]).encode()
    yield text.replace(b"-", b"%2D")[-PART - 4:]
    yield text.replace(b"-", b"%2d")[-PART - 4:]
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + text)[4:-6]
        yield from (encoded, encoded.translate(bytes.maketrans(b"+/", b"-_")))


def search(folder, secrets):
    """The files of the folder in which a spelling of a secret stands."""
    known = {spelling for secret in secrets for spelling in spellings(secret)}
    # The beginning of a token is its version, key and expiry: the same for many, and no secret.
    known -= {secret.encode()[:PART] for secret in secrets if secret.startswith("ck-let-")}
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(sorted(known)))
        patterns.flush()
        found = subprocess.run(
            ["grep", "-r", "-a", "-F", "-o", "-m", "3", "-f", patterns.name, "--exclude=secrets", "--", folder],
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, check=False)
    if found.returncode > 1:
        sys.exit("grep failed")
    return found.stdout.decode(errors="replace").splitlines()


def finds_what_is_there():
    """A search that finds nothing shows something only if it can find."""
    secret = "ck-let-" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEfGhIjKlMn"
    for spelling in sorted(set(spellings(secret)) - {secret.encode()[:PART]}):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "log").write_bytes(b"noise\0" + spelling + b" noise\n")
            if not search(folder, [secret]):
                sys.exit(f"the search does not find {spelling}")


finds_what_is_there()
kept = pathlib.Path(sys.argv[1])
secrets = set((kept / "secrets").read_text().split())
files = [path for path in kept.rglob("*") if path.is_file() and path.name != "secrets"]
size = sum(path.stat().st_size for path in files)
for name in ("errors", "metrics"):
    if not (kept / name).stat().st_size:
        sys.exit(f"nothing was kept of {name}")
if len(secrets) < 50 or len(files) < 100:
    sys.exit(f"{len(secrets)} secrets and {len(files)} files are not what a whole run leaves")
leaks = search(kept, secrets)
print(f"{len(secrets)} secrets, {len(files)} files of {size >> 20} MiB, {len(leaks)} places that hold one")
print("\n".join(leaks[:20]))
sys.exit(1 if leaks else 0)
