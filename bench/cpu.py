"""Processor time of the whole process per turn of the bot's loop, everything delivered."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tests.servers.otlp import ReceiverProcess

from .child import ready, run_apart
from .figures import Result, median, table

if TYPE_CHECKING:
    from pathlib import Path

_PACE = 1_000  # turns a second: what raw OpenTelemetry keeps up with on one core
_TOGETHER = 200  # turns between two waits, so that waiting itself costs nothing worth a mention
_WARM_UP = 200
_LIMITS = {"botobs-all": 8.0, "botobs-tail": 6.0}


def run(*, quick: bool) -> Result:
    """Variants take turns, each in a process of its own, against a receiver in another one."""
    turns, rounds = (3_000, 1) if quick else (10_000, 3)
    result = Result(
        "cpu",
        f"processor time per turn: tick, 5 stages, a 20-field record; {rounds} x {turns:,} at {_PACE:,}/s",
    )
    variants = ["opentelemetry", "botobs-all", "botobs-tail"]
    found = {variant: [] for variant in variants}
    for n in range(rounds):
        for variant in variants[n % 3 :] + variants[: n % 3]:
            with ReceiverProcess(max_seconds=200) as receiver:
                answer = run_apart("cpu", variant, most_s=180, endpoint=receiver.endpoint, turns=turns)
                with contextlib.suppress(KeyError):
                    receiver.wait("spans", answer["spans_expected"], 10)
                answer["arrived"] = receiver.stats()["spans"]
            found[variant].append(answer)
    per_turn = {variant: median(each["cpu_us"] for each in answers) for variant, answers in found.items()}
    for variant in variants:
        result.add(f"{variant}, per turn", per_turn[variant], " µs", note=_rounds(found[variant]))
    for variant, limit in _LIMITS.items():
        # of each round, so that a slow minute of the machine weighs on both sides
        parts = [
            100 * ours["cpu_us"] / raw["cpu_us"]
            for ours, raw in zip(found[variant], found["opentelemetry"], strict=True)
        ]
        result.add(f"{variant} / opentelemetry", median(parts), " %", limit=limit)
    rows = []
    whole = True
    for variant, answers in found.items():
        for answer in answers:
            expected = turns * 6 if variant != "botobs-tail" else answer["spans_expected"]
            complete = answer["arrived"] == expected and answer["delivered"]
            whole = whole and complete
            rows.append(
                [
                    variant, f"{answer['cpu_us']:.1f}", f"{answer['late_s']:.2f}", f"{answer['arrived']:,}",
                    f"{expected:,}", f"{answer['records']:,}",
                    "all" if complete else f"NOT ALL {answer.get('dropped', '')}",
                ]
            )  # fmt: skip
    result.text = table(["", "µs/turn", "s late", "spans arrived", "expected", "records", "delivered"], rows)
    result.add("rounds in which every span arrived", 100.0 * whole, " %", limit=100, at_least=True)
    return result


def _rounds(answers: list[dict]) -> str:
    return "rounds: " + ", ".join(f"{answer['cpu_us']:.1f}" for answer in answers)


def measure(variant: str, *, directory: Path, endpoint: str, turns: int) -> dict:
    from .bots import BOTS

    bot = BOTS[variant](int, directory, endpoint)
    turn = bot.turn
    for i in range(_WARM_UP):
        turn(i)
    bot.drain()
    ready(bot.port)
    begun = time.perf_counter()
    cpu = time.process_time()
    for first in range(_WARM_UP, turns, _TOGETHER):
        wait = begun + (first - _WARM_UP) / _PACE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        for i in range(first, first + _TOGETHER):
            turn(i)
    late = time.perf_counter() - begun - (turns - _WARM_UP) / _PACE
    answer = bot.drain()
    spent = time.process_time() - cpu
    return {**answer, "cpu_us": spent / (turns - _WARM_UP) * 1e6, "late_s": late}
