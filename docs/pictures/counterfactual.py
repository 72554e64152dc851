# ruff: noqa: INP001
"""Draw the picture of the page on counterfactual PnL, from what a backtest really wrote.

`python docs/pictures/counterfactual.py` writes `docs/_static/counterfactual.svg`. The market, the signals and the risk
limit are made up, and the same each time; the records are botobs's own.
"""

from __future__ import annotations

import contextlib
import json
import random
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import botobs
from botobs.testing import Clock

_SHARED = runpy.run_path(str(Path(__file__).with_name("insight.py")))
Panel, picture = _SHARED["Panel"], _SHARED["picture"]
INK, LINE, OTHER = _SHARED["INK"], _SHARED["LINE"], _SHARED["OTHER"]
GREEN, GREY = "#15803d", "#8b8b8b"

SYMBOL = "BTC-USD"
COLOURS = {"pros": GREEN, "model_bma": LINE, "amateurs": OTHER}

Records = list[dict[str, Any]]


def run(folder: Path) -> tuple[Records, Records]:
    """A backtest: the decisions that were settled, and the refusals.

    The professionals know a little, the amateurs are wrong as often as that, and the model weighs both, less well from
    the middle on. A limit refuses orders while the market is wild: at first when that is wise, later out of habit.
    """
    rng, clock = random.Random(3), Clock()  # noqa: S311 - a market, no secret
    price, held, wild = 100.0, 0, 1.0
    with botobs.start("pictures", mode="backtest", data_dir=folder, clock=clock, durability="os") as obs:
        for n in range(480):
            wild = 3.0 if n % 120 >= 100 else 1.0
            move = rng.gauss(0, 12 * wild)
            knows = 0.66 if wild == 1.0 else 0.35
            pros = _side(move if rng.random() < knows else -move)
            amateurs = _side(move if rng.random() < 0.47 else -move)
            model = pros if rng.random() < (0.9 if n < 240 else 0.55) else amateurs
            with obs.tick(SYMBOL, bar_id=n, price=price) as tick:
                tick.signal(
                    candidates={"pros": pros, "amateurs": amateurs, "model_bma": model},
                    source="model_bma", decision={"dir": model},
                )  # fmt: skip
                if held:
                    order = obs.order(SYMBOL, "sell" if held > 0 else "buy", 1, decision_px=price)
                    obs.fill(order, price=price, qty=1, fee=price * 5e-5)
                    held = 0
                elif n % 3 == 0:
                    with contextlib.suppress(ValueError):
                        order = obs.order(SYMBOL, model, 1, decision_px=price)
                        with obs.risk("volatility"):
                            if wild > 1.0 or (n > 300 and rng.random() < 0.5):
                                raise ValueError("the market is wild")
                        obs.fill(order, price=price, qty=1, fee=price * 5e-5)
                        held = 1 if model == "buy" else -1
            clock.advance(60)
            price *= 1 + move / 1e4
            obs.bar(SYMBOL, price, price, price, price, ts=clock.now)
    lines = (folder / "logs" / "counterfactual.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [one for one in records if one["event"] == "decision"], [one for one in records if one["event"] == "veto"]


def _side(move: float) -> str:
    return "buy" if move > 0 else "sell"


def drawn(decisions: Records, vetoes: Records) -> str:
    """The sums by source, and the sum of what the limit saved."""
    sums: dict[str, list[float]] = {source: [0.0] for source in COLOURS}
    for one in decisions:
        for source, curve in sums.items():
            curve.append(curve[-1] + one["candidates"][source]["result_bps"])
    values = [value for curve in sums.values() for value in curve]
    above = Panel(8, 170, (0.0, float(len(decisions))), (min(values) * 1.05, max(values) * 1.35))
    for value in (-500, 0, 500):
        above.level(value, str(value))
    for (source, curve), at in zip(sums.items(), (62, 110, 200), strict=True):
        above.curve(list(enumerate(curve)), COLOURS[source])
        above.name(source, COLOURS[source], at)
    above.name("what following each would have come to, in bps after costs, over the decisions", INK, 280)
    saved = [0.0]
    for one in vetoes:
        saved.append(saved[-1] + one["saved_bps"])
    low, high = min(*saved, *(one["saved_bps"] for one in vetoes)), max(saved)
    below = Panel(190, 110, (0.0, len(vetoes) + 1.0), (low * 1.1, high + (high - low) * 0.25))
    below.level(0.0, "0")
    below.level(round(high, -2), f"{round(high, -2):.0f}")
    for n, one in enumerate(vetoes):
        colour = GREEN if one["saved_bps"] > 0 else OTHER
        x, top, foot = below.x(n + 1), below.y(max(one["saved_bps"], 0.0)), below.y(min(one["saved_bps"], 0.0))
        below.parts.append(
            f'<rect x="{x - 1:.1f}" y="{top:.1f}" width="2" height="{max(foot - top, 0.5):.1f}" fill="{colour}"/>'
        )
    below.curve(list(enumerate(saved)), INK)
    below.name("what the refusals of a risk stage saved (green) and cost (orange), and their sum")
    return str(picture([above, below], 308, "What other decisions would have come to, and what refusals saved"))


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        decisions, vetoes = run(Path(folder))
    (into / "counterfactual.svg").write_text(drawn(decisions, vetoes), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_static")
