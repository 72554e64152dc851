"""The bot that every variant runs: a turn of its loop with five stages and a record of 20 fields."""

from __future__ import annotations

import random
from itertools import repeat
from time import perf_counter_ns

SYMBOL = "BTC-USD"
STAGES = ("feature", "model", "decision", "risk", "execution")

_FEATURES = (
    "rsi",
    "ema_fast",
    "ema_slow",
    "macd",
    "atr",
    "vwap_gap",
    "spread_bps",
    "imbalance",
    "volume_z",
    "funding",
)


def signals(count: int = 64) -> list[dict]:
    """Records to take turns with: 10 features, 2 of the model, 2 of the decision, 6 beside them."""
    rng = random.Random(7)
    return [
        {
            "features": {name: round(rng.uniform(-100, 100), 4) for name in _FEATURES},
            "model": {"p": round(rng.random(), 6), "version": "2024-11-a"},
            "decision": {"dir": rng.choice(("buy", "sell", "flat")), "qty": round(rng.uniform(0.01, 2), 3)},
            "source": "model_bma",
            "pred_bps": round(rng.uniform(-9, 9), 3),
            "strength": round(rng.random(), 3),
            "confidence": round(rng.random(), 3),
            "cohort": "b",
            "regime": rng.choice(("trend", "range", "volatile")),
        }
        for _ in range(count)
    ]


def spin(rounds: int) -> None:
    """Own work: a fixed amount of it, however often it is interrupted."""
    for _ in repeat(None, rounds):
        pass


def rounds_for(wanted_ns: int) -> int:
    """How many rounds of `spin` take so long on this machine when nobody disturbs."""
    trial = 20_000
    best = min(_timed(trial) for _ in range(200))
    return round(trial * wanted_ns / best)


def _timed(rounds: int) -> int:
    begun = perf_counter_ns()
    spin(rounds)
    return perf_counter_ns() - begun
