"""Which tables are drawn, and how."""
from . import report

CPU = "CPU µs a request"
# By the name of the table: bars of this column, the shortest first.
BARS = {"get": CPU, "post": CPU, "refusal": CPU, "tls-get": CPU, "tls-handshake": "CPU µs a handshake", "streams": "first event"}
# Percentiles lie as far apart as the shares beyond them.
PERCENTILES = {2: "p50", 10: "p90", 100: "p99", 1000: "p99.9"}
# Those whose tails hide all others' are in the table.
DRAWN = ("direct", "ckgate", "nginx", "nginx auth_request", "haproxy with a map")


def draw(folder, tables):
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for name, drawing in drawings(table):
            (folder / f"{name}.svg").write_text(drawing)


def drawings(table):
    if column := BARS.get(table.name):
        medians = {row: table.median(row, column) for row in table.rows if table.rows[row].get(column)}
        yield table.name, report.bars(f"{table.title}: {column}", dict(sorted(medians.items(), key=lambda item: item[1])))
    elif table.name.startswith("latency-") and "p99" in table.columns():
        series = {peer: {x: table.median(peer, column) for x, column in PERCENTILES.items()}
                  for peer in table.rows if peer in DRAWN}
        yield table.name, report.lines(table.title, "percentile", series, 0, PERCENTILES)
    elif table.name == "tokens" or table.name.startswith("growth-"):
        for unit, columns in by_unit(table).items():
            series = {column.split(":")[0]: {int(row.replace(",", "")): table.median(row, column)
                                             for row in table.rows if table.rows[row].get(column)} for column in columns}
            word = unit.split()[0].lower()
            yield f"{table.name}-{word}", report.lines(f"{table.title}: {unit}", table.heading, series)


def by_unit(table):
    """Columns that share an axis: "peer: unit", or CPU."""
    units = {}
    for column in table.columns():
        unit = column.split(": ")[1] if ": " in column else ("MiB" if column.startswith("MiB") else "CPU µs")
        units.setdefault(unit, []).append(column)
    return units
