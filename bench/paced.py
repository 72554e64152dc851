"""A loop on a fixed schedule: does it keep its pace, and how late does it get?

The schedule does not move: turn number i is due at i / 5,000 s, and a turn that begins late is counted with
all its lateness, whatever made it late. So a stall shows in every turn that it delayed.
"""

from __future__ import annotations

import resource
import time
from array import array
from time import perf_counter_ns
from typing import TYPE_CHECKING

from tests.servers.otlp import ReceiverProcess

from .child import ready, run_apart
from .figures import Result, median, percentile, table
from .workload import rounds_for, spin

if TYPE_CHECKING:
    from pathlib import Path

_PACE = 5_000
_OWN_NS = 20_000
_PARTS = (0.5, 0.99, 0.999)
_PLAIN = "none"
_JUDGED = "botobs-tail"
_TIMES, _ABOVE_US, _COMPLETED = 4.0, 150.0, 97.0
# on a quiet machine the uninstrumented loop is more punctual; where it is not, its neighbours are being measured
_QUIET_US = {"spinning": 100.0, "sleeping": 400.0}
_HEADER = ("completed", "p50", "p99", "p99.9", "max", "p99.9 of end", "max of end", "a second's p99.9", "preempted")


def run(*, quick: bool) -> Result:
    """Variants one after the other; the uninstrumented loop first and last."""
    seconds = 2.0 if quick else 20.0
    result = Result("paced", f"{_PACE:,} turns/s, 5 stages of 20 µs own work, {seconds:.0f} s; lag from the schedule")
    order = [_PLAIN, _JUDGED, "opentelemetry", "logfire", "structlog", _PLAIN]
    rounds = rounds_for(_OWN_NS)
    for mode in ("spinning", "sleeping"):
        found: dict[str, list[dict]] = {}
        for variant in order:
            with ReceiverProcess(max_seconds=seconds + 90) as receiver:
                answer = run_apart(
                    "paced", variant, most_s=seconds + 80, endpoint=receiver.endpoint, seconds=seconds,
                    rounds=rounds, sleeping=mode == "sleeping",
                )  # fmt: skip
            found.setdefault(variant, []).append(answer)
        plain = _mean(found[_PLAIN])
        ours = _mean(found[_JUDGED])
        result.add(
            f"{mode}: completed",
            100 * ours["completed"] / plain["completed"],
            " %",
            limit=_COMPLETED,
            at_least=True,
        )
        for what in ("begin", "end"):
            high, low = ours[what][2], plain[what][2]
            allowed = max(_TIMES * low, low + _ABOVE_US)
            result.add(
                f"{mode}: p99.9 of a turn's {what}", high, " µs", limit=allowed,
                note=f"{high / max(low, 0.1):.1f}x and {high - low:+.0f} µs, uninstrumented {low:.0f} µs",
            )  # fmt: skip
        rows = []
        for variant, answers in found.items():
            for answer in answers:
                shown = [f"{100 * answer['completed'] / plain['completed']:.1f} %"]
                shown += [_us(value) for value in (*answer["begin"], *answer["end"][2:])]
                shown += [_us(answer["second"]), f"{answer['preempted']:,}"]
                rows.append([variant, *shown])
        result.text += [*table([mode, *_HEADER], rows), ""]
        if plain["begin"][2] > _QUIET_US[mode]:
            result.text += [
                f"NOT A QUIET MACHINE: the uninstrumented p99.9 is {plain['begin'][2]:,.0f} µs, not below",
                f"{_QUIET_US[mode]:.0f} µs: the {mode} figures show the machine's other work, not botobs's.", "",
            ]  # fmt: skip
    return result


def _mean(answers: list[dict]) -> dict:
    """The uninstrumented loop ran before and after: what lies between."""
    count = len(answers)
    return {
        "completed": sum(answer["completed"] for answer in answers) / count,
        **{
            what: [sum(values) / count for values in zip(*(answer[what] for answer in answers), strict=True)]
            for what in ("begin", "end")
        },
    }


def _us(value: float) -> str:
    return f"{value:,.0f} µs" if value < 10_000 else f"{value / 1000:,.0f} ms"


def measure(variant: str, *, directory: Path, endpoint: str, seconds: float, rounds: int, sleeping: bool) -> dict:
    from .bots import BOTS

    bot = BOTS[variant](lambda: spin(rounds), directory, endpoint)
    turn, now, sleep = bot.turn, perf_counter_ns, time.sleep
    for i in range(200):
        turn(i)
    period = 10**9 // _PACE
    most = int(seconds * _PACE)
    begins, ends = array("q", bytes(8 * most)), array("q", bytes(8 * most))
    ready(bot.port)
    done = 0
    preempted = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = now() + 1_000_000
    until = start + most * period
    for i in range(most):
        due = start + i * period
        at = now()
        if sleeping and at < due:
            sleep((due - at) / 1e9)
            at = now()
        while at < due:
            at = now()
        begins[i] = at - due
        turn(i)
        at = now()
        ends[i] = at - due
        done = i + 1
        if at > until:
            break
    preempted = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - preempted
    lags = begins[:done]
    by_second = [sorted(lags[n : n + _PACE]) for n in range(0, max(done - _PACE, 0) + 1, _PACE)]
    return {
        "completed": done, "begin": _shape(sorted(lags)), "end": _shape(sorted(ends[:done])),
        "second": median(percentile(each, 0.999) for each in by_second) / 1000, "preempted": preempted,
    }  # fmt: skip


def _shape(ordered: list[int]) -> list[float]:
    """p50, p99, p99.9 and the highest, in microseconds."""
    return [*(percentile(ordered, part) / 1000 for part in _PARTS), ordered[-1] / 1000]
