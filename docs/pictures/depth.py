# ruff: noqa: INP001
"""Draw the picture of the page on order books, from what a backtest really wrote.

`python docs/pictures/depth.py` writes `docs/_static/order-book.svg`. The market is made up, and the same each time; the
records are botobs's own. What the orders really paid comes from a book that is deeper than what the bot sees of it, and
that moves on between the decision and the fill.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import botobs
from botobs.testing import Clock

DRAWING = runpy.run_path(str(Path(__file__).resolve().parent / "insight.py"))
Panel, picture = DRAWING["Panel"], DRAWING["picture"]
INK, LINE, OTHER = DRAWING["INK"], DRAWING["LINE"], DRAWING["OTHER"]
SYMBOL, TURNS, CENT = "BTC-USD", 120, 0.01

Levels = list[list[float]]


def book_around(mid: float, lean: float, rng: random.Random) -> tuple[Levels, Levels]:
    """Twenty levels a side; with `lean` above 0 there is more to buy from than to sell to."""
    half = CENT * rng.choice((1, 1, 2, 3))
    sides: list[Levels] = []
    for sign in (-1, 1):
        sizes = [rng.expovariate(1.0) * (1 - sign * lean) * (1 + n / 4) + 0.05 for n in range(20)]
        sides.append([[round(mid + sign * (half + n * CENT), 2), round(size, 3)] for n, size in enumerate(sizes)])
    return sides[0], sides[1]


def paid(levels: Levels, qty: float) -> float:
    """The average price of an order that takes its size from these levels, and from the last one what is missing."""
    left, worth = qty, 0.0
    for price, size in levels:
        taken = min(left, size)
        worth += taken * price
        left -= taken
    return (worth + left * levels[-1][0]) / qty


def run(folder: Path) -> tuple[list[dict[str, Any]], list[tuple[float, float]]]:
    """A backtest: its records of order books, and for each order what was estimated and what it paid."""
    rng, clock = random.Random(5), Clock()  # noqa: S311 - a market, no secret
    mid, lean = 100.0, 0.0
    with botobs.start("pictures", mode="backtest", data_dir=folder, clock=clock, durability="os") as obs:
        for n in range(TURNS):
            lean = 0.96 * lean + rng.gauss(0, 0.12)
            lean = min(max(lean, -0.8), 0.8)
            mid = round(mid + rng.gauss(lean * 0.012, 0.008), 2)
            bids, asks = book_around(mid, lean, rng)
            with obs.tick(SYMBOL, bar_id=n, bid=bids[0][0], ask=asks[0][0]):
                obs.book(SYMBOL, bids, asks)
                if n % 2:
                    side = "buy" if rng.random() < 0.5 else "sell"
                    qty = round(rng.uniform(0.5, 12), 1)
                    decided = (bids[0][0] + asks[0][0]) / 2
                    order = obs.order(SYMBOL, side, qty, decision_px=f"{decided:.3f}")
                    there = asks if side == "buy" else bids  # by the time that it arrives, some of it is gone
                    left = [[price, size * rng.uniform(0.75, 1.1)] for price, size in there]
                    obs.fill(order, price=f"{paid(left, qty):.4f}", qty=qty, fee=0, role="taker")
            clock.advance(1)
    records = _lines(folder / "logs/order_book.jsonl")
    slips = {cost["order_id"]: cost["slip_bps"] for cost in _lines(folder / "logs/costs.jsonl")}
    told = [record for record in records if record.get("decision") and record["cost_bps"] is not None]
    return records, [(record["cost_bps"], slips[record["order_id"]]) for record in told]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _shade(size: float) -> float:
    """How dark a level is."""
    return 0.2 if size < 0.5 else 0.4 if size < 1 else 0.7 if size < 2 else 1.0


def drawn(records: list[dict[str, Any]], orders: list[tuple[float, float]]) -> str:
    """The best levels, the imbalance, and what was estimated beside what was paid."""
    seen = [record for record in records if record["mid"] is not None]
    across = (0.0, float(len(seen)))
    prices = [price for record in seen for side in ("bids", "asks") for price, _ in record[side]]
    low, high = min(prices), max(prices)
    above = Panel(8, 160, across, (low, high + (high - low) * 0.17))  # room for what it says
    wide = above.x(1) - above.x(0)
    for side, colour in (("bids", LINE), ("asks", OTHER)):
        for shade in (0.2, 0.4, 0.7, 1.0):
            marks = "".join(
                f"M{above.x(n):.1f},{above.y(price):.1f}h{wide:.1f}"
                for n, record in enumerate(seen)
                for price, size in record[side]
                if _shade(size) == shade
            )
            above.parts.append(f'<path d="{marks}" stroke="{colour}" stroke-width="2.4" opacity="{shade}"/>')
    above.curve([(n, record["microprice"]) for n, record in enumerate(seen)], INK)
    above.level(low, f"{low:.2f}", -2.0)
    above.level(high, f"{high:.2f}")
    above.name("the five best bids (blue) and asks, darker where there is more; the line is the microprice")
    middle = Panel(180, 80, across, (-1.0, 1.6))
    middle.level(0.0, "0")
    middle.curve([(n, record["imbalance"]) for n, record in enumerate(seen)], LINE)
    middle.name("imbalance", LINE)
    most = max(max(estimate, slip) for estimate, slip in orders) * 1.05
    below = Panel(272, 150, (0.0, most), (0.0, most))
    for value in (2, 4, 6, 8):
        if value < most:
            below.level(float(value), str(value))
    below.curve([(0.0, 0.0), (most, most)], INK)
    for estimate, slip in orders:
        below.parts.append(
            f'<circle cx="{below.x(estimate):.1f}" cy="{below.y(slip):.1f}" r="2.2" fill="{OTHER}" opacity="0.8"/>'
        )
    below.name(f"orders: cost in bps as estimated (across, 0 to {most:.1f}) and as paid (up)", OTHER)
    return str(picture([above, middle, below], 430, "An order book, and what orders were to cost and did cost"))


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        records, orders = run(Path(folder))
    (into / "order-book.svg").write_text(drawn(records, orders), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_static")
