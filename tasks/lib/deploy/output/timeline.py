"""When each phase and each object was worked on, as bars of an inline SVG chart that is as wide as its page.

Places along the time are per cent and text is in pixels, so that it is as readable on a phone as on a desk.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib.console import spoken

MOST_BARS: Final = 200
ROW: Final = 30
BAR: Final = 8
THINNEST: Final = 0.6


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        label: what it stands for.
        began: seconds from the beginning of the whole.
        seconds: how long it took.
        colour: as in a page's style; empty for none.
        note: more about it, told where a pointer rests.
        is_phase: whether the bar is a phase, whose objects follow.

    """

    label: str
    began: float
    seconds: float
    colour: str = ""
    note: str = ""
    is_phase: bool = False


def longest(bars: Sequence[Bar]) -> list[Bar]:
    """The bars that are drawn, in the same order: of objects the longest where there are too many."""
    objects = [bar for bar in bars if not bar.is_phase]
    kept = {id(bar) for bar in sorted(objects, key=lambda bar: -bar.seconds)[:MOST_BARS]}
    return [bar for bar in bars if bar.is_phase or id(bar) in kept]


def chart(bars: Sequence[Bar], total: float) -> str:
    """The chart as SVG.

    Args:
        bars: phases, each followed by its objects.
        total: how long the whole took.

    """
    drawn = longest(bars)
    rows = "".join(_row(bar, number * ROW, max(total, 0.001)) for number, bar in enumerate(drawn))
    height = len(drawn) * ROW + 20
    axis = (
        f'<text class="axis" x="0" y="{height - 4}">0 s</text>'
        f'<text class="axis" x="100%" y="{height - 4}" text-anchor="end">{spoken(total)}</text>'
    )
    left = len(bars) - len(drawn)
    rest = f"<p>{left} objects that took less time are not drawn.</p>" if left else ""
    return (
        f'<svg role="img" aria-label="Timeline" height="{height}" '
        f'xmlns="http://www.w3.org/2000/svg">{rows}{axis}</svg>{rest}'
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
