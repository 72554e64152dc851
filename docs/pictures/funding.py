# ruff: noqa: INP001
"""Draw the picture of the page on funding, from what a backtest really wrote.

`python docs/pictures/funding.py` writes `docs/_static/funding.svg`. The market, the rates and the exchange's payments
are made up, and the same each time; the records are botobs's own.
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
from botobs.clock import epoch_ns
from botobs.testing import Clock

_INSIGHT = runpy.run_path(str(Path(__file__).resolve().with_name("insight.py")))
Panel, picture = _INSIGHT["Panel"], _INSIGHT["picture"]
LINE, OTHER = _INSIGHT["LINE"], _INSIGHT["OTHER"]

SYMBOL, HOURS, EVERY, LATER = "BTC-USD", 72, 8, 3


def run(folder: Path) -> tuple[int, list[float]]:
    """Three days: when they began, and what was held after each hour.

    The exchange is paid every eight hours, and the bot hears of it three hours later.
    """
    rng, clock = random.Random(5), Clock("2026-01-10T00:00:00Z")  # noqa: S311 - a market, no secret
    begun, held, price = clock.time_ns(), [], 100.0
    owed: list[tuple[int, str, str]] = []
    with botobs.start("pictures", mode="backtest", data_dir=folder, clock=clock, starting_equity=10_000) as obs:
        for hour in range(HOURS):
            price *= 1 + rng.gauss(0, 0.004)
            obs.mark(SYMBOL, round(price, 2))
            for due, ts, amount in [one for one in owed if one[0] <= hour]:
                obs.funding(SYMBOL, amount, ts=ts, funding_id=ts)
                owed.remove((due, ts, amount))
            if hour % 5 == 1:
                side, qty = rng.choice([("buy", 2), ("buy", 3), ("sell", 2), ("sell", 4)])
                obs.fill(symbol=SYMBOL, side=side, qty=qty, price=round(price, 2), fee=0, fill_id=f"f{hour}")
            following = (hour // EVERY + 1) * EVERY
            rate = round(0.0003 + rng.gauss(0, 0.0002), 6)
            obs.funding_rate(SYMBOL, rate, begun / 1e9 + following * 3_600)
            clock.advance("1h")
            obs.totals()
            held.append(float(obs.positions[0].qty) if obs.positions else 0.0)
            if hour + 1 == following:
                for one in obs.accrued:
                    if epoch_ns(one.ts) == clock.time_ns():  # what the exchange takes is not quite what was reckoned
                        paid = round(float(one.amount) * rng.uniform(0.85, 1.15), 4)
                        owed.append((hour + 1 + LATER, one.ts, str(paid)))
    return begun, held


def told(folder: Path, begun: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Hours and what funding came to by then: as it counts, and as the payments were reported."""
    counted, reported = [(0.0, 0.0)], [(0.0, 0.0)]

    def step(curve: list[tuple[float, float]], hour: float, amount: float) -> None:
        curve.extend([(hour, curve[-1][1]), (hour, curve[-1][1] + amount)])

    for line in (folder / "logs/execution.jsonl").read_text("utf-8").splitlines():
        record: dict[str, Any] = json.loads(line)
        hour = (epoch_ns(record["ts"]) - begun) / 3.6e12
        if record["event"] == "funding_accrued":
            step(counted, hour, float(record["amount"]))
        elif record["event"] == "funding":
            step(counted, hour, float(record["amount"]) - float(record.get("accrued", 0)))
            step(reported, hour, float(record["amount"]))
    for curve in (counted, reported):
        curve.append((float(HOURS), curve[-1][1]))
    return counted, reported


def drawn(begun: int, held: list[float], folder: Path) -> str:
    """What funding came to, and what was held."""
    counted, reported = told(folder, begun)
    low, high = min(value for _, value in counted + reported), max(value for _, value in counted + reported)
    margin = (high - low) * 0.15
    across = (0.0, float(HOURS))
    above = Panel(8, 170, across, (low - margin, high + margin))
    below = Panel(190, 90, across, (min(held) - 1, max(held) + 1))
    for hour in range(0, HOURS, 2 * EVERY):
        for panel in (above, below):
            panel.stretch(hour, hour + EVERY, "#f3f4f6")
    above.curve(reported, OTHER)
    above.curve(counted, LINE)
    above.level(0, "0")
    above.level(low, f"{low:.2f}")
    above.name("funding as it counts: due at its time, then as it was paid", LINE)
    above.parts.append(f'<text x="62" y="38" fill="{OTHER}">payments as they were reported, three hours later</text>')
    below.curve([point for hour, qty in enumerate(held) for point in ((hour, qty), (hour + 1, qty))], LINE)
    below.level(0, "0")
    below.name("held; grey and white: intervals of eight hours")
    return str(picture([above, below], 288, "Funding that is accrued at its time, and payments that come later"))


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun, held = run(folder)
        svg = drawn(begun, held, folder)
    (into / "funding.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_static")
