"""What a live token costs when there are many of them."""
import base64
import hashlib
import hmac
import random
import sqlite3
import time

from . import loads, peers
from .processes import progress
from .report import Table

PREFIX = b"ck-let-"
LIFE_MS = 24 * 3600 * 1000
BATCH = 100_000


def texts(master, ids, expires_at_ms):
    """The text of each token, made of its id as the gate makes it: HKDF, then HMAC, both with SHA-256."""
    pseudorandom = hmac.digest(b"ckgate", base64.urlsafe_b64decode(master.strip() + "="), "sha256")
    key = hmac.new(hmac.digest(pseudorandom, b"client token\x01\x01", "sha256"), digestmod=hashlib.sha256)
    head = b"\x01\x01" + (-(-expires_at_ms // 1000)).to_bytes(5, "big")
    for id in ids:
        tag = key.copy()
        tag.update(PREFIX + head + id)
        yield PREFIX + base64.urlsafe_b64encode(head + id + tag.digest()[:16])


def fill(directory, count, bearers):
    """Fills the store of a gate that has stopped up to `count` tokens like the one in it, and writes their texts."""
    store = sqlite3.connect(directory / "ckgate.db", isolation_level=None)
    store.execute("PRAGMA synchronous = off")
    store.execute("PRAGMA cache_size = -262144")
    columns = [row[1] for row in store.execute("PRAGMA table_info(tokens)")]
    (there,) = store.execute("SELECT count(*) FROM tokens").fetchone()
    if there == 1:
        ((first_ms,),) = store.execute("SELECT created_at FROM tokens")
        store.execute("UPDATE tokens SET expires_at = ?", [first_ms + LIFE_MS])
    ((expires_at,),) = store.execute("SELECT expires_at FROM tokens LIMIT 1")
    copied = ", ".join({"id": "substr(given.id, 1, 16)"}.get(column, f"tokens.{column}") for column in columns)
    now = int(time.time() * 1000)
    store.execute("CREATE TEMP TABLE given (id BLOB)")
    ((pattern,),) = store.execute("SELECT id FROM tokens LIMIT 1")
    for begin in range(there, count, BATCH):
        if begin % 1_000_000 == 0 and begin:
            progress(f"  {begin:,} tokens")
        ids = ((now + n // 100).to_bytes(6, "big") + random.randbytes(10) for n in range(begin, min(begin + BATCH, count)))
        store.execute("BEGIN")
        store.executemany("INSERT INTO given VALUES (?)", ([id] for id in sorted(ids)))
        store.execute(f"INSERT INTO tokens ({', '.join(columns)}) SELECT {copied} FROM given JOIN tokens ON tokens.id = ?",
                      [pattern])
        store.execute("INSERT INTO token_agents (agent, account, id, expires_at, key_id) SELECT agent, account, given.id, "
                      "expires_at, key_id FROM given JOIN token_agents ON token_agents.id = ?", [pattern])
        store.execute("DELETE FROM given")
        store.execute("COMMIT")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    master = (directory / "ckgate.key").read_text()
    with bearers.open("wb") as file:
        for text in texts(master, (id for (id,) in store.execute("SELECT id FROM tokens")), expires_at):
            file.write(text + b"\n")
    store.close()


def drawn(directory, name, bearers, count, first=None):
    """For wrk: requests with tokens out of the file, at random, or in order from the first."""
    place = f"math.random(0, {count - 1})" if first is None else f"turn % {count}"
    script = directory / f"{name}.lua"
    script.write_text(f"""
local file, turn = io.open("{bearers}", "rb"), {(first or 0) - 1}
math.randomseed({time.time_ns() % 2**31})
request = function()
  turn = turn + 1
  file:seek("set", ({place}) * 60)
  return "GET {peers.MESSAGES} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nOrigin: {peers.ORIGIN}\\r\\nAuthorization: Bearer "
    .. file:read(59) .. "\\r\\n\\r\\n"
end
""" + loads.REPORT)
    return script


def live_tokens(run):
    table = Table("tokens", "A GET while so many tokens are live: CPU µs of the gate", "live tokens",
                  note="“at random” is the worst case: tokens drawn evenly from all, with the cache at its default (100,000 for at "
                  "most a minute), so that most are read from the store. “remembered” has a cache for all of them, and each was used once before.")
    gate = lambda settings=None: peers.gate(run.directory, run.proxy_core, settings)
    process = gate()
    peers.token()
    process.end()
    bearers = run.directory / "bearers"
    counts = [count for count in (100, 10_000, 1_000_000, 10_000_000) if count <= run.tokens]
    for count in counts:
        progress(f"tokens: {count:,}")
        fill(run.directory, count, bearers)
        hot, any_of_them = drawn(run.directory, "hot", bearers, 1), drawn(run.directory, "any", bearers, count)
        process = gate()
        for _ in range(run.rounds):
            for name, script in (("one hot", hot), ("at random", any_of_them)):
                table.add(f"{count:,}", **{name: loads.cost(run.load_core, peers.GATE, process, run.seconds, script)[0]})
        process.end()
        if count <= 1_000_000:
            process = gate({"CKGATE_CACHE__ENTRIES_MAX": str(2 * count), "CKGATE_CACHE__LIFETIME_MAX": "1h"})
            used = 0
            while used < count:
                each_once = drawn(run.directory, "each", bearers, count, first=used)
                used += loads.as_fast_as_it_goes(run.load_core, peers.GATE, min(20, 2 + count // 50_000), each_once)[0]
            for _ in range(run.rounds):
                table.add(f"{count:,}", remembered=loads.cost(run.load_core, peers.GATE, process, run.seconds, any_of_them)[0])
            table.add(f"{count:,}", **{"MiB with all remembered": process.memory_kib() / 1024})
            process.end()
    return [table]
