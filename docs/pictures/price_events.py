# ruff: noqa: INP001
"""Draw the picture of the page on price events, from what a backtest really wrote.

`python docs/pictures/price_events.py` writes `docs/_static/price-events.svg`. The market and the bot are made up, and
the same each time; the records are botobs's own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import runpy
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botobs
from botobs.clock import epoch_ns
from botobs.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
_shared = runpy.run_path(str(HERE / "insight.py"))
Panel, picture = _shared["Panel"], _shared["picture"]

SYMBOL = "BTC-USD"
INK, LINE, UP, DOWN, GREY = "#333333", "#1f6feb", "#15803d", "#c2410c", "#9ca3af"
BARS, CRASH, OUTAGE = 480, 200, 350

Records = list[dict[str, Any]]


def run(folder: Path) -> tuple[list[tuple[float, float, float, float]], Records]:
    """A backtest: minute, low, high and close of each bar, and the records.

    The market crashes once; later the bot's feed is away for 25 minutes. The bot goes with the last round level.
    """
    rng, clock = random.Random(5), Clock("2026-01-02T00:00:00Z")  # noqa: S311 - a market, no secret
    price, begin, seen = 67_400.0, clock.time_ns(), []
    with _table(folder), botobs.start("pictures", mode="backtest", data_dir=folder / "data", clock=clock) as obs:
        held, known = 0, None
        for n in range(BARS):
            path = [price]
            for _ in range(8):
                path.append(path[-1] * math.exp(rng.gauss(0, 3e-4)))
            if n == CRASH:
                path += [price * 0.985, price * 0.988]
            close = path[-1]
            if OUTAGE <= n < OUTAGE + 25:  # nothing of it reaches the bot
                price = close * 1.0004
            else:
                obs.bar(SYMBOL, price, max(path), min(path), close, ts=clock.now)
                seen.append(((clock.time_ns() - begin) / 6e10, min(path), max(path), close))
                price = close
                last = next((one for one in reversed(obs.price_events.latest()) if one.kind == "level"), None)
                if last is not None and last is not known:
                    wanted, known = 1 if last.direction == "up" else -1, last
                    if wanted != held:
                        side = "buy" if wanted > held else "sell"
                        order = obs.order(SYMBOL, side, abs(wanted - held), decision_px=close)
                        obs.fill(order, price=close, qty=abs(wanted - held), fee=0)
                        held = wanted
            clock.advance(60)
    lines = (folder / "data/logs/price_events.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        record["minute"] = (epoch_ns(record["ts"]) - begin) / 6e10
    return seen, [record for record in records if record["event"] != "bar"]


@contextlib.contextmanager
def _table(folder: Path) -> Iterator[None]:
    """What follows is told after ten minutes."""
    file, before = folder / "botobs.toml", os.environ.get("BOTOBS_CONFIG")
    file.write_text('[price_events]\nwindow = "10m"\n', "utf-8")
    os.environ["BOTOBS_CONFIG"] = str(file)
    try:
        yield
    finally:
        os.environ.pop("BOTOBS_CONFIG")
        if before is not None:
            os.environ["BOTOBS_CONFIG"] = before


def drawn(seen: list[tuple[float, float, float, float]], records: Records) -> str:
    """Prices with what happened to them, and what came after each."""
    across, prices = (0.0, float(BARS)), [price for _, low, high, _ in seen for price in (low, high)]
    step, low, high = 1_000, min(prices), max(prices)
    above, below = Panel(8, 190, across, (low - 200, high + 300)), Panel(214, 100, across, (-80.0, 80.0))
    for level in range(math.ceil(low / step) * step, math.floor(high / step) * step + 1, step):
        above.level(level, f"{level:,}")
    hole = next(n for n in range(1, len(seen)) if seen[n][0] - seen[n - 1][0] > 1.5)
    for part in (seen[:hole], seen[hole:]):
        above.curve([(at, close) for at, _, _, close in part], LINE)
    for at, bottom, top, _ in seen:
        x = above.x(at)
        above.parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{above.y(bottom):.1f}" y2="{above.y(top):.1f}" stroke="{LINE}" '
            'stroke-width="0.5"/>'
        )
    held = {one["event_id"]: one["held"].get(SYMBOL) for one in records if one["event"] != "after"}
    for one in records:
        if one["event"] == "after":
            _followed(below, one, held[one["event_id"]])
        else:
            _happened(above, one)
    above.name("bars of a minute; triangles: levels crossed, S: a spike, G: a gap")
    for bps in (-40, 0, 40):
        below.level(bps, str(bps))
    below.name("the move in the ten minutes after each, in bps; green: good for what was held then, grey: nothing was")
    return str(picture([above, below], 322, "Round levels, a spike and a gap, with what followed"))


def _happened(panel: Any, one: dict[str, Any]) -> None:
    x, y, rose = panel.x(one["minute"]), panel.y(float(one["price"])), one["direction"] == "up"
    colour = UP if rose else DOWN
    if one["event"] == "level":
        away = 6 if rose else -6
        points = f"{x:.1f},{y - away:.1f} {x - 5:.1f},{y + away / 2:.1f} {x + 5:.1f},{y + away / 2:.1f}"
        panel.parts.append(f'<polygon points="{points}" fill="{colour}"/>')
        return
    letter = "S" if one["event"] == "spike" else "G"
    panel.parts.append(
        f'<circle cx="{x:.1f}" cy="{y + 22:.1f}" r="8" fill="#ffffff" stroke="{colour}"/>'
        f'<text x="{x:.1f}" y="{y + 26:.1f}" text-anchor="middle" fill="{colour}">{letter}</text>'
    )


def _followed(panel: Any, one: dict[str, Any], held: dict[str, Any] | None) -> None:
    move = one["move_bps"]
    good = held is not None and (move > 0) == (held["side"] == "long")
    colour = GREY if held is None else UP if good else DOWN
    x, zero = panel.x(one["minute"] - one["after_s"] / 60), panel.y(0.0)
    panel.parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{zero:.1f}" y2="{panel.y(move):.1f}" stroke="{colour}" stroke-width="3"/>'
    )


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        seen, records = run(Path(folder))
    (into / "price-events.svg").write_text(drawn(seen, records), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "_static")
