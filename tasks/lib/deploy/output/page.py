"""Pages that stand by themselves, and a chart for them: no script, nothing loaded, any width."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.console import spoken
from tasks.lib.printable import printable

ROW: Final = 30
BAR: Final = 8
THINNEST: Final = 0.6
# Nothing may run or be fetched, whatever got into the text.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
STYLE: Final = """
:root{color-scheme:light dark;--line:#d0d5dd;--soft:#667085;--bar:#98a2b3;
--green:#18794e;--yellow:#946800;--red:#cd2b31;--cyan:#0c7792}
@media(prefers-color-scheme:dark){:root{--line:#3b424d;--soft:#a2aab8;--bar:#667085;
--green:#4cc38a;--yellow:#f0c000;--red:#ff8589;--cyan:#5eb9d0}}
body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:60rem;padding:0 1rem;
overflow-wrap:anywhere}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .2rem}
pre{font-size:.85rem;margin:.2rem 0 .8rem;white-space:pre-wrap;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:minmax(5rem,auto) 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0}
dd,dt{min-width:0}summary{cursor:pointer}
.green{color:var(--green)}.yellow{color:var(--yellow)}.red{color:var(--red)}.cyan{color:var(--cyan)}
svg{width:100%;display:block;overflow:hidden}svg text{font-size:12px;fill:currentColor}
svg .axis{fill:var(--soft)}
svg rect{fill:var(--bar)}svg .green{fill:var(--green)}svg .yellow{fill:var(--yellow)}svg .red{fill:var(--red)}
"""


def document(title: str, body: str) -> str:
    """A whole page; `title` is text, `body` is HTML.  Nothing in it is what a terminal would obey."""
    return printable(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def lines(coloured: Iterable[tuple[str, str]]) -> str:
    """(colour, line) pairs, each on a line of its own."""
    shown = (
        f'<div class="{colour}">{html.escape(line)}</div>' if colour else f"<div>{html.escape(line)}</div>"
        for colour, line in coloured
    )
    return f"<pre>{''.join(shown)}</pre>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values; empty values are left out."""
    shown = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in pairs if v)
    return f"<dl>{shown}</dl>"


def folded(title: str, body: str) -> str:
    """A part that is opened on demand; `title` is text, `body` is HTML."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


@dataclass(frozen=True)
class Bar:
    """One bar."""

    label: str
    began: float  # seconds from the beginning of the whole
    seconds: float
    colour: str = ""  # as in a page's style; empty for none
    note: str = ""  # more about it, told where a pointer rests
    is_phase: bool = False  # whether the bar is a phase, whose objects follow


def chart(bars: Sequence[Bar], total: float) -> str:
    """Bars along the time as SVG: places are per cent and text is in pixels, so that a phone reads it too."""
    rows = "".join(_row(bar, number * ROW, max(total, 0.001)) for number, bar in enumerate(bars))
    height = len(bars) * ROW + 20
    axis = (
        f'<text class="axis" x="0" y="{height - 4}">0 s</text>'
        f'<text class="axis" x="100%" y="{height - 4}" text-anchor="end">{spoken(total)}</text>'
    )
    return (
        f'<svg role="img" aria-label="Timeline" height="{height}" '
        f'xmlns="http://www.w3.org/2000/svg">{rows}{axis}</svg>'
    )


def _row(bar: Bar, top: int, total: float) -> str:
    start = min(max(bar.began / total * 100, 0), 100 - THINNEST)
    width = min(max(bar.seconds / total * 100, THINNEST), 100 - start)
    weight = ' font-weight="bold"' if bar.is_phase else ""
    kind = "phase" if bar.is_phase else "object"
    more = f"{bar.label}: {bar.note}" if bar.note else bar.label
    return (
        f'<g class="{kind}"><title>{html.escape(more)}</title>'
        f'<text x="0" y="{top + 14}"{weight}>{spoken(bar.seconds)} · {html.escape(bar.label)}</text>'
        f'<rect class="{bar.colour}" x="{start:.2f}%" width="{width:.2f}%" y="{top + 18}" '
        f'height="{BAR}" rx="2"/></g>'
    )
