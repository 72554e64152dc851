# ruff: noqa: INP001
"""Draw the picture of the page on edges, from what a backtest really answered.

`python docs/pictures/edge.py` writes `docs/_static/edge.svg`. The market and its bot are made up, and the same each
time; what is drawn of alarms, moves and the half-life is botobs's own.
"""

from __future__ import annotations

import math
import random
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import botobs
from botobs.insight import Edge
from botobs.testing import Clock

if TYPE_CHECKING:
    from botobs.insight import Curve, HalfLife

HERE = Path(__file__).resolve().parent
_shared = runpy.run_path(str(HERE / "insight.py"))
Panel, picture = _shared["Panel"], _shared["picture"]
LINE, OTHER = _shared["LINE"], _shared["OTHER"]
GOOD, BAD = "#f2f7f4", "#fbeee6"
SYMBOL, LOST, TRADES = "BTC-USD", 200, 330
S, T0 = 1_000_000_000, 1_767_323_000_000_000_000


class Life(NamedTuple):
    """What became of a bot that lost its edge.

    Attributes:
        equity: After each trade.
        level: How near the alarm was.
        alarm: At which trade it came.
        drawdown: At which trade equity was a tenth below its peak.
    """

    equity: list[float]
    level: list[float]
    alarm: int
    drawdown: int


def life() -> Life:
    """Trades that make 8 bps on average and lose as much from trade 200 on, each with the whole equity."""
    rng, clock = random.Random(54), Clock()  # noqa: S311 - a market, no secret
    equity: list[float] = []
    level: list[float] = []
    alarm = drawdown = 0
    with botobs.start("pictures", mode="backtest", data_dir=None, clock=clock, starting_equity=1_000) as obs:
        for n in range(TRADES):
            made = rng.gauss(8 if n < LOST else -8, 40)
            for side, price in (("buy", 100), ("sell", round(100 * (1 + made / 1e4), 6))):
                obs.fill(symbol=SYMBOL, side=side, price=price, qty=10, fee=0, strategy="bma")
            clock.advance(60)
            equity.append(float(obs.totals().equity or 0))
            found = obs.edge.standing(strategy="bma")
            level.append(found.level or 0.0)
            if found.alarmed and n >= LOST and not alarm:
                alarm = n
            if not drawdown and equity[-1] < 0.9 * max(equity):
                drawdown = n
    return Life(equity, level, alarm, drawdown)


def markouts() -> tuple[Curve, HalfLife]:
    """A decision every 20 seconds; 6 bps come after each, half of them within half a minute."""
    rng, edge = random.Random(2), Edge()  # noqa: S311
    price = coming = 0.0
    for second in range(20_000):
        now = T0 + second * S
        price += coming * (1 - 0.5 ** (1 / 30)) + rng.gauss(0, 1)
        coming *= 0.5 ** (1 / 30)
        seen = 100 * math.exp(price / 1e4)
        edge.price(SYMBOL, seen, now, now)
        if second % 20 == 0:
            sign = rng.choice((1, -1))
            edge.decided(SYMBOL, sign, seen, now, source="lgbm")
            coming += sign * 6.0
    return edge.markouts(SYMBOL, "lgbm"), edge.half_life(SYMBOL, "lgbm")


def drawn(found: Life, curve: Curve, half: HalfLife) -> str:
    """Equity, the level of the alarm, and the moves after decisions."""
    across = (0.0, float(TRADES))
    above = Panel(8, 150, across, (min(found.equity) - 10, max(found.equity) + 30))
    middle = Panel(166, 78, across, (0.0, 1.5))
    below = Panel(258, 140, (-0.2, math.log10(600)), (-1.6, 8.0))
    for panel in (above, middle):
        panel.stretch(0, LOST, GOOD)
        panel.stretch(LOST, TRADES, BAD)
    above.curve(list(enumerate(found.equity)), LINE)
    middle.curve(list(enumerate(found.level)), OTHER)
    middle.level(1.0, "alarm")
    for panel in (above, middle):
        upright(panel, found.alarm, OTHER)
        upright(panel, found.drawdown, "#333333")
    above.name("equity; from trade 200 on (orange), trades lose what they made before")
    middle.name("how near the alarm is", OTHER)
    x = above.x(found.alarm)
    above.parts.append(
        f'<text x="{x - 6:.1f}" y="{above.top + 118}" text-anchor="end" fill="{OTHER}">'
        f"alarm: trade {found.alarm}</text>"
    )
    above.parts.append(
        f'<text x="{above.x(found.drawdown) - 6:.1f}" y="{above.top + 140}" text-anchor="end">'
        f"10 % below the peak: trade {found.drawdown}</text>"
    )
    points = [point for point in curve.points if point.low_bps is not None]
    for value in (0, 3, 6):
        below.level(value, str(value))
    below.band([(math.log10(point.seconds), point.low_bps, point.high_bps) for point in points], "#dbe7fb")
    below.curve([(math.log10(point.seconds), point.mean_bps) for point in points], LINE)
    for point in points:
        x, y = below.x(math.log10(point.seconds)), below.y(point.mean_bps)
        below.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{LINE}"/>')
        below.parts.append(f'<text x="{x:.1f}" y="{below.top + 134:.1f}" text-anchor="middle">{point.after}</text>')
    upright(below, math.log10(half.seconds or 1.0), OTHER)
    below.name("moves after decisions in bps, with their 95 % intervals", LINE)
    x = below.x(math.log10(half.seconds or 1.0))
    below.parts.append(
        f'<text x="{x + 6:.1f}" y="{below.top + 110}" fill="{OTHER}">half-life {half.seconds:.0f} s '
        f"({half.low:.0f} to {half.high:.0f}); made with 30 s</text>"
    )
    text: str = picture([above, middle, below], 404, "An edge that is lost, and how fast another goes into the price")
    return text


def upright(panel: Any, at: float, colour: str) -> None:
    """A line from the top of a panel to its bottom."""
    x = panel.x(at)
    panel.parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{panel.top:.1f}" y2="{panel.top + panel.height:.1f}" stroke="{colour}" '
        f'stroke-width="1"/>'
    )


def main(into: Path) -> None:
    """Draw it."""
    (into / "edge.svg").write_text(drawn(life(), *markouts()), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "_static")
