# ruff: noqa: INP001
"""Draw the pictures of the pages on regimes and calibration, from what a backtest really wrote.

`python docs/pictures/insight.py` writes `docs/_static/regime.svg` and `docs/_static/calibration.svg`. The market
and the model are made up, and the same each time; the records are botobs's own.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botobs
from botobs.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LEFT, RIGHT = 760, 56, 12
SYMBOL = "BTC-USD"
COLOURS = {"trend": "#cfe8d5", "chop": "#f6dfc4", "unknown": "#ececec"}
INK, LINE, OTHER = "#333333", "#1f6feb", "#c2410c"


class Panel:
    """A part of a picture with axes of its own.

    Args:
        top: Where it begins.
        height: How high it is.
        across: What the x axis goes over.
        up: What the y axis goes over.
    """

    def __init__(self, top: float, height: float, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.top, self.height, self.across, self.up = top, height, across, up
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        """Where a value lies across."""
        low, high = self.across
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value lies up."""
        low, high = self.up
        return self.top + self.height * (1 - (min(max(value, low), high) - low) / (high - low))

    def curve(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Join points."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>')

    def band(self, points: Sequence[tuple[float, float, float]], colour: str) -> None:
        """Fill what lies between two curves."""
        over = [f"{self.x(x):.1f},{self.y(high):.1f}" for x, _, high in points]
        under = [f"{self.x(x):.1f},{self.y(low):.1f}" for x, low, _ in reversed(points)]
        self.parts.append(f'<polygon points="{" ".join(over + under)}" fill="{colour}" stroke="none"/>')

    def stretch(self, start: float, end: float, colour: str) -> None:
        """Colour the background from `start` to `end`."""
        left, wide = self.x(start), self.x(end) - self.x(start)
        self.parts.append(
            f'<rect x="{left:.1f}" y="{self.top:.1f}" width="{wide:.1f}" height="{self.height:.1f}" fill="{colour}"/>'
        )

    def level(self, value: float, said: str, lower: float = 4.0) -> None:
        """A dashed line across, with its value beside it; `lower` by so much."""
        at = self.y(value)
        self.parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{INK}" stroke-width="0.6" '
            f'stroke-dasharray="4 3"/><text x="{LEFT - 6}" y="{at + lower:.1f}" text-anchor="end">{said}</text>'
        )

    def name(self, said: str, colour: str = INK, at: float = LEFT + 6) -> None:
        """What is to be seen, at the upper left."""
        self.parts.append(f'<text x="{at}" y="{self.top + 14:.1f}" fill="{colour}">{said}</text>')

    def svg(self) -> str:
        """Everything, in a frame."""
        frame = (
            f'<rect x="{LEFT}" y="{self.top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{self.height:.1f}" '
            f'fill="none" stroke="{INK}" stroke-width="0.8"/>'
        )
        return "\n".join([*self.parts, frame])


def picture(panels: list[Panel], height: float, title: str) -> str:
    """Panels as one SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" '
        f'font-size="11" fill="{INK}">'
    )
    paper = f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{title}</title>", paper, *(panel.svg() for panel in panels), "</svg>\n"])


Records = list[dict[str, Any]]


def run(folder: Path) -> tuple[list[tuple[float, float | None]], list[float], Records, Records]:
    """A backtest: close and ADX of each bar, the slope then, the changes of regime, the predictions that came due.

    The market trends and chops in turn. The model promises twice what comes, and from the middle on nothing of use.
    """
    rng, clock = random.Random(12), Clock()  # noqa: S311 - a market, no secret
    seen: list[tuple[float, float | None]] = []
    price = 100.0
    slopes: list[float] = []
    with botobs.start("pictures", mode="backtest", data_dir=folder, clock=clock) as obs:
        for n in range(900):
            drift = 4.0 if n // 150 % 2 == 0 else 0.0
            useful = 0.5 if n < 450 else 0.0
            pred = rng.gauss(0, 12)
            with obs.tick(SYMBOL, bar_id=n, price=price) as tick:
                tick.signal(source="model", pred_bps=pred)
            moved = price * (1 + (drift + useful * pred + rng.gauss(0, 8)) / 1e4)
            if not drift:  # it comes back to where it was
                moved += (seen[n - n % 150 - 1][0] - moved) * 0.2
            high, low = max(price, moved) * 1.0003, min(price, moved) * 0.9997
            obs.bar(SYMBOL, price, high, low, moved, ts=clock.now)
            price = moved
            seen.append((price, obs.trades.adx(SYMBOL)))
            line = obs.calibration.line(SYMBOL, "model")
            slopes.append(1.0 if line is None else line.b)
            clock.advance(60)
    logs = folder / "logs"
    return seen, slopes, _lines(logs / "regime_transition.jsonl"), _lines(logs / "calibration.jsonl")


def _lines(path: Path) -> Records:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def regimes(seen: list[tuple[float, float | None]], changes: Records) -> str:
    """Close and ADX, with the regime behind."""
    closes = [close for close, _ in seen]
    across = (0.0, float(len(seen)))
    above = Panel(8, 170, across, (min(closes), max(closes)))
    below = Panel(190, 90, across, (0.0, 80.0))
    begin, name = 0, "unknown"
    for change in [*changes, None]:
        end = len(seen) if change is None else begin + change["lasted_bars"]
        for panel in (above, below):
            panel.stretch(begin, end, COLOURS[name])
        if change is not None:
            begin, name = end, change["to"]
    above.curve(list(enumerate(closes)), LINE)
    below.curve([(n, adx) for n, (_, adx) in enumerate(seen) if adx is not None], OTHER)
    below.level(25, "25", 1.0)
    below.level(20, "20", 8.0)
    above.name("close; green: trend, orange: chop, grey: unknown")
    below.name("ADX(14)", OTHER)
    return picture([above, below], 288, "Regimes of a market that trends and chops in turn")


def calibrated(slopes: list[float], settled: Records) -> str:
    """How the slope follows the model, and how the band follows the moves."""
    across = (0.0, float(len(settled)))
    above = Panel(8, 130, across, (-0.5, 1.5))
    below = Panel(150, 130, across, (-40.0, 40.0))
    for value in (0.0, 0.5, 1.0):
        above.level(value, f"{value:g}")
    above.curve(list(enumerate(slopes)), LINE)
    above.name("slope b: the model promises twice what comes, and from the middle on nothing of use", LINE)
    banded = [(n, one["low_bps"], one["high_bps"]) for n, one in enumerate(settled) if one["low_bps"] is not None]
    below.band(banded, "#dbe7fb")
    for n, one in enumerate(settled):
        colour = LINE if one["in_band"] else OTHER
        x, y = below.x(n), below.y(one["realized_bps"])
        below.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.1" fill="{colour}"/>')
    for value in (-20, 0, 20):
        below.level(value, str(value))
    rate = settled[-1]["in_band_rate"]
    below.name(f"moves in bps and the 80 % band; of the last 200, {rate:.0%} lay in it")
    return picture([above, below], 288, "Calibration of a model that promises too much")


def main(into: Path) -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory() as folder:
        seen, slopes, changes, settled = run(Path(folder))
    (into / "regime.svg").write_text(regimes(seen, changes), "utf-8")
    (into / "calibration.svg").write_text(calibrated(slopes, settled), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_static")
