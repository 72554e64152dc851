"""The alarm of edges: how often it is wrong where nothing changes, and how long before a drawdown it is right."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

from botobs.insight.edge.watch import Watch

_EVERY = 1_000


def _heavy(rng):
    return rng.gauss(0, 1) / math.sqrt(rng.gammavariate(2, 0.5))


#: What outcomes are like, and the least run between false alarms as a part of what is promised.
QUIET = {
    "Gaussian": (lambda rng: rng.gauss(0, 1), None, 0.95),
    "t(4)": (_heavy, None, 0.95),
    "few large wins": (lambda rng: math.exp(rng.gauss(0, 1)), None, 0.95),
    "few large losses": (lambda rng: -math.exp(rng.gauss(0, 1)), None, 0.95),
    "given, Gaussian": (lambda rng: rng.gauss(0, 1), (0.0, 1.0), 0.95),
    "given, t(4)": (_heavy, (0.0, math.sqrt(2)), 0.95),
    "given, few large losses": (lambda rng: -rng.expovariate(1), (-1.0, 1.0), 0.6),
}


def _run(draw, rng, given):
    watch, n = Watch(_EVERY), 1
    if given is None:
        for _ in range(50):
            watch.add(draw(rng))
    else:
        watch.give(given)
    while watch.add(draw(rng)) is None:
        n += 1
    return n


def _alike(stay):
    """Outcomes of which each resembles the one before."""
    last = [0.0]

    def draw(rng):
        last[0] = stay * last[0] + math.sqrt(1 - stay * stay) * rng.gauss(0, 1)
        return last[0]

    return draw


def _life(before, after, rng, *, at=400, most=4_000):
    watch, equity, peak, alarm, drawdown = Watch(_EVERY), 1.0, 1.0, None, None
    for n in range(at + most):
        made = rng.gauss(before if n < at else after, 40)
        equity *= 1 + made / 1e4
        peak = max(peak, equity)
        if watch.add(made, n) == "alarm" and n < at:
            watch.renew()
        if n >= at and alarm is None and watch.alarmed:
            alarm = n - at
        if n >= at and drawdown is None and equity < 0.9 * peak:
            drawdown = n - at
        if alarm is not None and drawdown is not None:
            break
    return (most if alarm is None else alarm), (most if drawdown is None else drawdown)


def edges(_folder: Path, rounds: int, seed: int) -> dict:
    """Runs between false alarms for all kinds of outcomes, and lives whose edge is lost."""
    figures: dict = {}
    sure = 1 - 3 / math.sqrt(rounds)  # a run's length is nearly exponential
    for name, (draw, given, least) in QUIET.items():
        runs = [_run(draw, random.Random(f"{seed} {name} {n}"), given) for n in range(rounds)]
        figures[f"run, {name}"] = round(statistics.fmean(runs))
        assert statistics.fmean(runs) > _EVERY * least * sure, (name, statistics.fmean(runs))
    for stay in (0.1, 0.3):
        runs = [_run(_alike(stay), random.Random(f"{seed} {stay} {n}"), None) for n in range(rounds)]
        figures[f"run, each like the last by {stay}"] = round(statistics.fmean(runs))
    for after in (0.0, -8.0, -16.0):
        lives = [_life(8.0, after, random.Random(f"{seed} {after} {n}")) for n in range(max(rounds // 4, 1))]
        alarm, drawdown = (statistics.median(each) for each in zip(*lives, strict=True))
        figures[f"8 bps become {after:g}"] = f"alarm after {alarm:g}, drawdown of 10 % after {drawdown:g} trades"
        figures[f"8 bps become {after:g}, alarm first"] = f"{sum(a < d for a, d in lives) / len(lives):.0%}"
        assert rounds < 40 or alarm * 1.5 < drawdown, (after, alarm, drawdown)
    return figures
