# SPDX-License-Identifier: MIT
"""The figures of tests/bench/peers as one SVG: six charts of bars, light or dark as the reader's browser is, without
anything from elsewhere. README.md shows it at its own width."""

from xml.sax.saxutils import escape

WIDTH, GAP, NAMES, HEAD = 880, 24, 150, 64
ROW, BAR, TITLE, BELOW = 19, 12, 38, 18
VALUE = 58  # room for a figure beside the longest bar

STYLE = """
  .paper { fill: #ffffff } .title { fill: #1f2328; font-weight: 600 } .text { fill: #1f2328 } .hint { fill: #59636e }
  .bar { fill: #afb8c1 } .own { fill: #0969da } .own-text { fill: #0550ae; font-weight: 600 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .head { font-size: 16px } .small { font-size: 11px }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .title, .text { fill: #e6edf3 } .hint { fill: #9198a1 }
    .bar { fill: #484f58 } .own { fill: #4493f8 } .own-text { fill: #79c0ff }
  }
"""


def charts(options):
    """(column, title, hint, unit) of each, in two rows of three."""
    return [("rate32", "Connections a second", "32 clients; more is better", ""),
            ("p99", "Slowest 1% of clients", "ms at 32 clients; less is better", " ms"),
            ("start", f"{options.services:,} services start in", "ms; less is better", " ms"),
            ("flood", "Served while another floods", "of 50 a second; more is better", "%"),
            ("limit", "Lost at a limit of 30 processes", f"of {options.clients:,} clients; less is better", ""),
            ("reloads", f"Lost in {options.reloads} reloads", "of clients meanwhile; less is better", "")]


def text(x, y, words, kind="text", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def number(figure, unit):
    return f"{figure:,.1f}{unit}" if unit == " ms" and figure < 100 else f"{figure:,.0f}{unit}"


def chart(figures, column, unit, left, top, width):
    """Bars from `left` on, one row for each server; a word where there is no figure."""
    found = {name: own.get(column, "-") for name, own in figures.items()}
    most = max((figure for figure in found.values() if not isinstance(figure, str)), default=0) or 1
    drawn = []
    for row, (name, figure) in enumerate(found.items()):
        y = top + row * ROW
        own = name == "superd"
        if isinstance(figure, str):
            drawn.append(text(left, y + BAR - 2, figure, "hint small"))
            continue
        length = max(1, (width - VALUE) * figure / most)
        drawn.append(f'<rect x="{left:.0f}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
                     f'class="{"own" if own else "bar"}"/>')
        drawn.append(text(left + length + 4, y + BAR - 2, number(figure, unit), "own-text small" if own else "text small"))
    return drawn


def summary(figures, wanted):
    """The same in words, for those who cannot see it."""
    said = []
    for column, title, _, unit in wanted:
        cells = [f"{name} {own[column] if isinstance(own.get(column, '-'), str) else number(own[column], unit)}"
                 for name, own in figures.items() if column in own]
        said.append(f"{title}: {', '.join(cells)}.")
    return " ".join(said)


def draw(figures, options):
    """`figures`: {server: {column: a number, or a word}}."""
    wanted = charts(options)
    width = (WIDTH - NAMES - 3 * GAP) / 3
    block = TITLE + len(figures) * ROW + BELOW
    height = HEAD + 2 * block
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
             f'height="{height}" role="img" aria-labelledby="title desc">',
             '<title id="title">superd beside other super-servers</title>',
             f'<desc id="desc">{escape(summary(figures, wanted))}</desc>', f"<style>{STYLE}</style>",
             f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
             text(GAP, 26, "superd beside other super-servers", "title head"),
             text(GAP, 45, f"tests/bench/peers: in turns on one machine; medians of {options.pairs}",
                  "hint")]
    for place, (column, title, hint, unit) in enumerate(wanted):
        left, top = NAMES + GAP + (place % 3) * (width + GAP), HEAD + (place // 3) * block
        if place % 3 == 0:
            for row, name in enumerate(figures):
                parts.append(text(NAMES + GAP - 8, top + TITLE + row * ROW + BAR - 2,
                                  name.replace("systemd-socket-activate", "socket-activate"),
                                  "own-text" if name == "superd" else "text", "end"))
        parts += [text(left, top + 12, title, "title"), text(left, top + 27, hint, "hint small")]
        parts += chart(figures, column, unit, left, top + TITLE, width)
    return "\n".join([*parts, "</svg>", ""])
