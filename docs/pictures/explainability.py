# ruff: noqa: INP001
"""Draw the picture of the page on explainability, from what a backtest really wrote.

`python docs/pictures/explainability.py` writes `docs/_static/explainability.svg`. The features and the model are made
up, and the same each time; the records are botobs's own.
"""

from __future__ import annotations

import json
import math
import random
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import botobs
from botobs.testing import Clock

_HERE = Path(__file__).resolve().parent
_INSIGHT = runpy.run_path(str(_HERE / "insight.py"))
Panel, picture = _INSIGHT["Panel"], _INSIGHT["picture"]
COLOURS = {"momentum": "#1f6feb", "spread": "#c2410c", "volatility": "#15803d"}
TURNS = 240


def model(row: dict[str, float]) -> float:
    """A move in bps: momentum, but not where the market is wild; the spread is in the way."""
    return 12 * math.tanh(row["momentum"]) / (1 + row["volatility"] ** 2) - 2 * row["spread"]


def rows(rng: random.Random) -> list[dict[str, float]]:
    """What the model sees: calm at first, then wild."""
    found, momentum = [], 0.0
    for n in range(TURNS):
        momentum += (rng.gauss(0, 1) - momentum) * 0.15
        wild = 1.0 if n >= TURNS // 2 else 0.0
        found.append(
            {
                "momentum": 2 * momentum,
                "spread": 0.5 + abs(rng.gauss(0, 0.25 + 0.75 * wild)),
                "volatility": abs(rng.gauss(0.3 + 1.5 * wild, 0.2)),
            }
        )
    return found


def run(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """A backtest: the explanations that it wrote, and the importance of the last hour at each of them."""
    clock = Clock()
    seen = rows(random.Random(3))  # noqa: S311 - a market, no secret
    shares = []
    predict = botobs.explain_model(model, seen[::12], name="model", every=1, window="6h")
    with botobs.start("pictures", mode="backtest", data_dir=folder, clock=clock) as obs:
        for n, row in enumerate(seen):
            with obs.tick("BTC-USD", bar_id=n):
                predict(row)
            shares.append({one.feature: one.share or 0.0 for one in obs.explainability.importance(window="1h")})
            clock.advance("1m")
    lines = (folder / "logs/explanations.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines], shares


def explained(told: list[dict[str, Any]], shares: list[dict[str, float]]) -> str:
    """What each prediction was made of, and which features counted in the last hour."""
    across = (0.0, float(len(told)))
    above, below = Panel(8, 170, across, (-12.0, 12.0)), Panel(190, 90, across, (0.0, 1.0))
    for n, one in enumerate(told):
        stack = {True: 0.0, False: 0.0}
        for name, colour in COLOURS.items():
            value = one["contributions"][name]
            begin = stack[value > 0]
            end = stack[value > 0] = begin + value
            top, bottom = above.y(max(begin, end)), above.y(min(begin, end))
            above.parts.append(
                f'<rect x="{above.x(n):.1f}" y="{top:.1f}" width="2.4" height="{bottom - top:.1f}" fill="{colour}"/>'
            )
    above.curve([(n + 0.4, one["prediction"] - one["base"]) for n, one in enumerate(told)], "#000000")
    for value in (-5, 0, 5):
        above.level(value, str(value))
    for name, colour in COLOURS.items():
        below.curve([(n, share[name]) for n, share in enumerate(shares)], colour)
    for value in (0.25, 0.5, 0.75):
        below.level(value, f"{value:.0%}")
    above.name("prediction less base in bps (black), made of")
    for place, (name, colour) in enumerate(COLOURS.items()):
        above.name(name, colour, at=312 + 76 * place)
    below.name("share of each feature in the last hour; the market is wild from the middle on")
    return str(picture([above, below], 288, "What predictions were made of, and which features count"))


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        told, shares = run(Path(folder))
    (into / "explainability.svg").write_text(explained(told, shares), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE.parent / "_static")
