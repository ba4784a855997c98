"""Figures by row and column: as a table in Markdown, as JSON, and as drawings in SVG."""
import html
import math
import statistics
from collections import defaultdict

COLOURS = ["#1f6feb", "#d1242f", "#8250df", "#bf8700", "#1a7f37", "#57606a"]
# A page may be light or dark: the drawing has no ground of its own and asks for the reader's scheme.
STYLE = """<style>text { fill: #1f2328; } .line { stroke: #d0d7de; } .other { fill: #8c959f; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .line { stroke: #3d444d; } .other { fill: #768390; } }
</style>"""


class Table:
    """Figures of one part of a run, a list for each row and column, one figure a round.

    With a `base`, each figure is also held against that row's of the same round. `name` names its files. `rows` stand
    in this order, whichever comes first; others follow.
    """

    def __init__(self, name, title, heading, base=None, digits=1, note="", rows=()):
        self.name, self.title, self.heading, self.base, self.digits, self.note = name, title, heading, base, digits, note
        self.rows = defaultdict(lambda: defaultdict(list), {row: defaultdict(list) for row in rows})

    def add(self, row, **columns):
        for column, figure in columns.items():
            self.rows[row][column].append(figure)

    def columns(self):
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def median(self, row, column):
        return statistics.median(self.rows[row][column])

    def ratios(self, row, column):
        """Against the base, round by round."""
        mine, base = self.rows[row].get(column), self.rows.get(self.base, {}).get(column)
        if not mine or not base or len(mine) != len(base) or row == self.base or not all(base):
            return []
        return [figure / other for figure, other in zip(mine, base)]

    def ratio(self, row, column):
        return statistics.median(ratios) if (ratios := self.ratios(row, column)) else None

    def cell(self, row, column):
        figures = [figure for figure in self.rows[row].get(column, ()) if figure is not None]
        if not figures:
            return "–"
        text = f"{statistics.median(figures):,.{self.digits}f}"
        if len(figures) > 1:
            text += f" ({min(figures):,.{self.digits}f} to {max(figures):,.{self.digits}f})"
        ratio = self.ratio(row, column)
        return text + (f" · **{ratio:.2f}**" if ratio else "")

    def markdown(self):
        columns = self.columns()
        lines = [f"### {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += [f"| {self.heading} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for row in self.rows:
            lines.append(f"| {row} | " + " | ".join(self.cell(row, column) for column in columns) + " |")
        if self.base in self.rows:
            lines += ["", f"Bold: median of the ratios to {self.base} in the same round."]
        return "\n".join(lines)

    def json(self):
        return {"name": self.name, "title": self.title, "base": self.base, "note": self.note,
                "rows": {str(row): dict(columns) for row, columns in self.rows.items()}}


def bars(title, figures, digits=1):
    """A bar for each name, its figure beside it; the gate's in colour."""
    widest, height = max(figures.values()), 26 * len(figures) + 40
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" viewBox="0 0 720 {height}" '
             f'font-family="sans-serif" font-size="13">', STYLE, f'<text x="8" y="20" font-size="15">{html.escape(title)}</text>']
    for place, (name, figure) in enumerate(figures.items()):
        y, width = 32 + 26 * place, max(1, 420 * figure / widest)
        colour = f'fill="{COLOURS[0]}"' if name.startswith("ckgate") else 'class="other"'
        parts += [f'<text x="8" y="{y + 15}">{html.escape(str(name))}</text>',
                  f'<rect x="190" y="{y + 3}" width="{width:.0f}" height="16" {colour}/>',
                  f'<text x="{198 + width:.0f}" y="{y + 16}">{figure:,.{digits}f}</text>']
    return "\n".join([*parts, "</svg>", ""])


def lines(title, across, series, digits=1, labels=None, logarithmic=True):
    """A line for each name: {name: {x: y}}, x on a scale of powers of ten, or an even one; y from nought."""
    left, top, width, height = 60, 40, 480, 220
    scale = math.log10 if logarithmic else float
    xs = sorted({x for points in series.values() for x in points})
    low, high = scale(xs[0]), scale(xs[-1])
    highest = max(y for points in series.values() for y in points.values()) * 1.1 or 1
    place_x = lambda x: left + width * (scale(x) - low) / ((high - low) or 1)
    place_y = lambda y: top + height * (1 - y / highest)
    marked = xs if len(xs) <= 8 else [xs[0] + (xs[-1] - xs[0]) * step / 6 for step in range(7)]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="310" viewBox="0 0 720 310" '
             f'font-family="sans-serif" font-size="12">', STYLE, f'<text x="8" y="20" font-size="15">{html.escape(title)}</text>']
    for step in range(5):
        y = highest / 1.1 * step / 4
        parts += [f'<line class="line" x1="{left}" x2="{left + width}" y1="{place_y(y):.1f}" y2="{place_y(y):.1f}"/>',
                  f'<text x="{left - 6}" y="{place_y(y) + 4:.1f}" text-anchor="end">{y:,.{digits}f}</text>']
    for x in marked:
        label = (labels or {}).get(x, f"{x:,.0f}")
        parts.append(f'<text x="{place_x(x):.1f}" y="{top + height + 18}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 40}" text-anchor="middle">{html.escape(across)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour, ordered = COLOURS[number % len(COLOURS)], sorted(points.items())
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in ordered)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(ordered) <= 8:
            parts += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in ordered]
        parts += [f'<rect x="{left + width + 14}" y="{top + 22 * number}" width="12" height="12" fill="{colour}"/>',
                  f'<text x="{left + width + 32}" y="{top + 22 * number + 11}">{html.escape(str(name))}</text>']
    return "\n".join([*parts, "</svg>", ""])
