# ruff: noqa: INP001
"""Draw the picture of the page on explanations: three trades of a backtest, step by step.

`python docs/pictures/explain.py` writes `docs/_static/explain.svg`. The market is made up; the steps are botobs's own.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import botobs
from botobs.testing import Clock

if TYPE_CHECKING:
    from botobs.explaining import Explained

_SHARED = runpy.run_path(str(Path(__file__).with_name("insight.py")))
INK, LINE, OTHER, WIDTH, picture = (_SHARED[name] for name in ("INK", "LINE", "OTHER", "WIDTH", "picture"))
SYMBOL = "BTC-USD"
ROW, LABELS, AMOUNTS = 17, 190, 262
GAIN, LOSS, UNKNOWN = "#2f9e5b", OTHER, "#999999"


def run() -> list[Explained]:
    """A trade that earned what was promised, one that costs ate up, and one that the market turned against."""
    clock = Clock()
    found = []
    with botobs.start("pictures", mode="backtest", data_dir=None, clock=clock) as obs:
        for side, moved, late, slip in (("buy", 14, 0.005, 0.01), ("buy", 5, 0.03, 0.02), ("sell", 6, 0.01, 0.02)):
            way = 1 if side == "buy" else -1
            start = 100.0
            for leg, at in (("entry", start), ("exit", start * (1 + moved / 1e4))):
                buys = (way if leg == "entry" else -way) > 0
                with obs.tick(SYMBOL, bid=round(at - 0.01, 4), ask=round(at + 0.01, 4)):
                    order = obs.order(
                        SYMBOL, "buy" if buys else "sell", 10, decision_px=round(at, 4), strategy="bma",
                        pred_bps=12 * way if leg == "entry" else None,
                    )  # fmt: skip
                    up = 1 if buys else -1
                    clock.advance(0.2)
                    obs.sent(order, px=round(at + up * late, 4))
                    got = round(at + up * (late + 0.01 + slip), 4)
                    trade = obs.fill(order, price=got, qty=10, fee="0.2", role="taker").trade_id
                if leg == "entry":
                    obs.funding(SYMBOL, "-0.05")
                clock.advance("20m")
            explained = obs.explain(trade)
            assert explained is not None
            assert explained.total == explained.net
            found.append(explained)
    return found


def drawn(found: Explained, top: float, said: str) -> list[str]:
    """One trade: a bar for each step, from where the one before it ended."""
    rows = [(part.label, part.amount) for part in found.parts] + [("net", found.net)]
    ends, at = [0.0], 0.0
    for _, amount in rows[:-1]:
        at += float(amount or 0)
        ends.append(at)
    low, high = min(ends) - 0.05, max(ends) + 0.05
    wide = WIDTH - AMOUNTS - 24

    def x(value: float) -> float:
        return AMOUNTS + 12 + (value - low) / (high - low) * wide

    lines = [f'<text x="12" y="{top + 12:.0f}" font-weight="bold">{said}</text>']
    lines.append(
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{top + 18:.0f}" y2="{top + 18 + ROW * len(rows):.0f}" '
        f'stroke="{INK}" stroke-width="0.6"/>'
    )
    begin = 0.0
    for number, (label, amount) in enumerate(rows):
        y = top + 20 + ROW * number
        is_net = number == len(rows) - 1
        first, last = (0.0, float(found.net)) if is_net else (begin, begin + float(amount or 0))
        colour = LINE if is_net else UNKNOWN if amount is None else GAIN if amount > 0 else LOSS
        left, right = sorted((x(first), x(last)))
        weight = ' font-weight="bold"' if is_net else ""
        shown = "?" if amount is None else f"{amount:+,.2f}"
        lines.extend((
            f'<text x="{LABELS}" y="{y + 11}" text-anchor="end"{weight}>{label}</text>',
            f'<text x="{AMOUNTS}" y="{y + 11}" text-anchor="end"{weight}>{shown}</text>',
            f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 0.8):.1f}" height="{ROW - 4}" fill="{colour}"/>',
        ))  # fmt: skip
        if not is_net:
            begin = last
            lines.append(
                f'<line x1="{x(last):.1f}" x2="{x(last):.1f}" y1="{y + ROW - 4}" y2="{y + ROW}" stroke="{UNKNOWN}" '
                'stroke-width="0.8"/>'
            )
    return lines


def main(into: Path) -> None:
    """Draw it."""
    found = run()
    titles = ("as it was promised", "right, and eaten up by costs", "wrong")
    lines: list[str] = []
    top = 6.0
    for one, title in zip(found, titles, strict=True):
        lines += drawn(one, top, f"{one.side} {one.symbol}, {one.currency}: {title}")
        top += 20 + ROW * (len(one.parts) + 1) + 16
    whole = picture([], top - 6, "Where the results of three trades came from")
    (into / "explain.svg").write_text(whole.replace("</svg>\n", "\n".join([*lines, "</svg>\n"])), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_static")
