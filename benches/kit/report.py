"""Tables in Markdown, figures in JSON, drawings in SVG."""
import html
import statistics


def spread(figures, digits):
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


def throughput(rows):
    """The table of the loads that go as fast as they can."""
    lines = ["| workload | peer | CPU µs a request | of nginx | requests/s |", "|---|---|---|---|---|"]
    for workload, peer in dict.fromkeys((row["workload"], row["peer"]) for row in rows):
        mine = [row for row in rows if (row["workload"], row["peer"]) == (workload, peer)]
        base = {row["round"]: row["cpu"] for row in rows if row["workload"] == workload and row["peer"] == base_of(workload)}
        cpu = [row["cpu"] for row in mine if row["cpu"] is not None]
        ratios = [row["cpu"] / base[row["round"]] for row in mine if row["cpu"] is not None and base.get(row["round"])]
        lines.append(f"| {workload} | {peer} | {spread(cpu, 1) if cpu else '–'} | {spread(ratios, 2) if ratios else '–'} "
                     f"| {spread([row['rate'] for row in mine], 0)} |")
    return "\n".join(lines)


def base_of(workload):
    """Plain nginx refuses nothing: what a refusal costs is held against nginx with a map."""
    return "nginx with a map" if workload == "refusal" else "nginx"


def others(figures):
    """The table of everything else: peer -> kind -> figures."""
    kinds = list(dict.fromkeys(kind for kinds in figures.values() for kind in kinds))
    lines = ["| peer | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for peer, mine in figures.items():
        lines.append(f"| {peer} | " + " | ".join(spread(mine[kind], 1) if mine.get(kind) else "–" for kind in kinds) + " |")
    return "\n".join(lines)


def bars(title, figures):
    """A drawing: a bar for each name, its figure beside it."""
    widest, height = max(figures.values()), 26 * len(figures) + 44
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" font-size="13">',
             f'<rect width="720" height="{height}" fill="#ffffff"/>',
             f'<text x="12" y="22" font-size="15" fill="#111111">{html.escape(title)}</text>']
    for place, (name, figure) in enumerate(figures.items()):
        y, width = 36 + 26 * place, max(1, 400 * figure / widest)
        colour = "#1f6feb" if name == "ckgate" else "#9aa4af"
        parts += [f'<text x="12" y="{y + 15}" fill="#111111">{html.escape(name)}</text>',
                  f'<rect x="190" y="{y + 3}" width="{width:.0f}" height="16" fill="{colour}"/>',
                  f'<text x="{198 + width:.0f}" y="{y + 16}" fill="#111111">{figure:.1f}</text>']
    return "\n".join([*parts, "</svg>", ""])
