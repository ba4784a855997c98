"""The README's table: a line for each measure, a column for each proxy."""
from .processes import ROOT

PROXIES = {"ckgate": "ckgate, everything on", "nginx": "nginx, checks nothing", "nginx auth_request": "nginx `auth_request`",
           "haproxy with a map": "haproxy, token map", "pingora with a map": "pingora, token map",
           "caddy forward_auth": "Caddy `forward_auth`", "express": "express", "FastAPI and httpx": "FastAPI, httpx"}
CPU = "CPU µs a request"
# What it is called, table, column, digits.
MEASURES = [("CPU µs a proxied GET", "get", CPU, 1), ("… a message of 1 KiB", "post", CPU, 1), ("… a refused token", "refusal", CPU, 1),
            ("GETs a second, one core", "get", "requests/s", 0), ("instructions a GET, user space", "instructions", "GET", 0),
            ("p50 µs at 200/s, fast mode", "latency-fast", "200/s", 0), ("p50 µs at 2,000/s", "latency-2000", "p50", 0),
            ("p99 µs at 2,000/s", "latency-2000", "p99", 0), ("p99.9 µs at 2,000/s", "latency-2000", "p99.9", 0),
            ("p99 µs at 8,000/s", "latency-8000", "p99", 0), ("first event of a stream, µs", "streams", "first event", 0),
            ("each later event, µs", "streams", "later events", 0), ("KiB an idle connection", "memory", "an idle connection", 1),
            ("KiB an open stream", "memory", "an open stream", 1), ("CPU µs a TLS 1.3 handshake", "tls-handshake", "CPU µs a handshake", 0),
            ("CPU µs a GET over TLS", "tls-get", CPU, 1)]
PLOTS = ROOT / "benches/plots"
DRAWN = {"get": "CPU of a GET", "latency-2000": "latency at 2,000 requests/s", "tokens-cpu": "CPU against live tokens",
         "growth-connections-cpu": "CPU against connections", "growth-streams-kib": "memory against streams"}
BEGIN, END = "<!-- what benches/run --readme writes -->\n", "<!-- to here -->\n"


def table(found):
    """Medians; the gate's with the median of the ratios to nginx (to nginx with a map, where plain nginx has no figure)."""
    tables = {table.name: table for tables in found.values() for table in tables}
    seen = {proxy: name for proxy, name in PROXIES.items() if any(proxy in table.rows for table in tables.values())}
    lines = ["| | " + " | ".join(seen.values()) + " |", "|---" * (len(seen) + 1) + "|"]
    for label, name, column, digits in MEASURES:
        if name in tables:
            cells = [cell(tables[name], proxy, column, digits) for proxy in seen]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(measured, proxy, column, digits):
    # Only a map makes nginx refuse.
    row = measured.base if proxy == "nginx" else proxy
    if not measured.rows.get(row, {}).get(column):
        return "–"
    ratio = measured.ratio(row, column) if proxy == "ckgate" else None
    return f"{measured.median(row, column):,.{digits}f}" + (f" (**{ratio:.2f}**)" if ratio else "")


def write(found, about):
    """Puts the table, the machine and the main drawings in the place that the README has for them."""
    readme = ROOT / "README.md"
    drawn = " ".join(f"![{text}](benches/plots/{name}.svg)" for name, text in DRAWN.items() if (PLOTS / f"{name}.svg").exists())
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}{table(found)}\n{about}\n\n{drawn}\n{END}{after}")
