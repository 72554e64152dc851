"""A bot on generated bars, with a clock that only moves when it is told to."""

from __future__ import annotations

import random
from pathlib import Path

import attrs

import botobs
from tests.slack import undisturbed_s

_START_NS = 1_767_571_200 * 10**9  # 2026-01-05T00:00:00Z


class Clock:
    """The bars' time."""

    def __init__(self) -> None:
        self.ns = _START_NS

    def time_ns(self) -> int:
        return self.ns

    def perf_ns(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


@attrs.frozen
class Replayed:
    """How it went."""

    ticks: int
    notes: int
    seconds: float
    report: botobs.Report
    drops: dict
    errors: dict

    @property
    def per_second(self) -> float:
        return self.ticks / self.seconds


def replay(
    data_dir: Path | None, ticks: int, *, seed: int, between=None, mode: str = "backtest", **settings
) -> Replayed:
    """Run the bot over so many bars."""
    clock, dice, notes = Clock(), random.Random(seed), 0
    obs = botobs.start("bot", data_dir=data_dir, mode=mode, clock=clock, **settings)
    price = 100.0
    begun = undisturbed_s()
    for number in range(ticks):
        clock.ns = _START_NS + number * 60 * 10**9
        price *= 1 + dice.gauss(0, 0.001)
        with botobs.tick("BTC" if number % 2 else "ETH", bar_id=number, price=price) as tick:
            with botobs.feature():
                seen = {"price": round(price, 4), "rsi": dice.random()}
            with botobs.model("lgbm"):
                clock.advance(0.002)
                said = dice.random()
            with botobs.decision():
                side = "buy" if said > 0.5 else "flat"
            tick.signal(features=seen, model=said, decision={"dir": side}, source="ma")
            if number % 10 == 0:
                notes += 1
                botobs.event("notes", n=number, price=price)
        if between is not None and number % 500 == 0:
            between()
    seconds = undisturbed_s() - begun
    report = obs.shutdown(60)
    return Replayed(ticks, notes, seconds, report, dict(obs.faults.drops), dict(obs.faults.errors))


def same_files(one: Path, other: Path) -> list[str]:
    """The files of two directories, which have to be the same byte for byte."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    for name in names:
        first, second = (one / name).read_bytes(), (other / name).read_bytes()
        if first != second:
            pair = next(
                (pair for pair in zip(first.splitlines(), second.splitlines(), strict=False) if pair[0] != pair[1]),
                (b"", b""),
            )
            raise AssertionError(f"{name} differs: {pair[0][:300]!r} / {pair[1][:300]!r}")
    return names
