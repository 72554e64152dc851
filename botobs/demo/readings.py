"""What the demo shows: read back from what botobs measured and wrote, never measured a second time."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from botobs.demo.standing import Standing
from botobs.stages.latency import LATENCY_KEYS, TOTAL
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botobs.demo.exchange import Exchange
    from botobs.observer import Observer

__all__ = ["Latency", "Reading", "Readings"]

#: What the keys of a signal's `latency` are called here, in the order of a turn.
STAGES: Final = {**{key: kind for kind, key in LATENCY_KEYS.items()}, TOTAL: "whole tick"}

_MOST = 10_000  # ticks that a quantile looks back on


@attrs.frozen
class Latency:
    """Milliseconds of one stage.

    Attributes:
        n: In how many ticks it ran (the latest 10,000).
        p50: The median.
        p99: What one in a hundred exceeds; with fewer than a hundred ticks the slowest.
        max: The slowest.
    """

    n: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Latency | None:
        """Quantiles by nearest rank; `None` of nothing."""
        ordered = sorted(values)
        if not ordered:
            return None
        p50, p99 = (ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.99))
        return cls(len(ordered), p50, p99, ordered[-1])


@attrs.frozen(kw_only=True)
class Reading:
    """How the demo stands at one moment: botobs's numbers, apart from `bars`."""

    ran_s: float
    bars: int
    standing: Standing
    latency: Mapping[str, Latency]
    traces_kept: Mapping[str, int]
    written: int
    dropped: Mapping[str, int]
    internal_errors: Mapping[str, int]


class Readings:
    """Follows `signals.jsonl` on a thread of its own and asks the observer for the rest.

    Args:
        observer: Whose.
        exchange: The simulated one.
    """

    def __init__(self, observer: Observer, exchange: Exchange) -> None:
        self._observer = observer
        self._exchange = exchange
        self._reader = StreamReader(observer.data_dir)
        self._values: dict[str, deque[float]] = {key: deque(maxlen=_MOST) for key in STAGES}
        self._signals = 0
        self._follows = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="botobs-demo-readings", daemon=True)

    def start(self) -> None:
        """Begin at the end of what is there; returns when it has found that end."""
        self._thread.start()
        self._follows.wait(5.0)

    def stop(self) -> None:
        """Read what is left, then end."""
        self._over.set()
        self._thread.join(5.0)

    def now(self, ran_s: float) -> Reading:
        """The latest numbers; those from the disk are up to a second old while the bot runs."""
        observer = self._observer
        found = {name: Latency.of(self._values[key].copy()) for key, name in STAGES.items()}
        health, report = observer.health_page(), observer.report()
        return Reading(
            ran_s=ran_s,
            bars=self._exchange.bars,
            standing=Standing.of(observer),
            latency={name: latency for name, latency in found.items() if latency is not None},
            traces_kept=dict(report.traces),
            written=report.records.delivered,
            dropped=health["dropped"],
            internal_errors=health["internal_errors"],
        )

    def by_stream(self, since: str) -> dict[str, int]:
        """How many records of each stream this run wrote: those made since it began."""
        found = {"signals": self._signals} if self._signals else {}
        for stream in self._reader.streams():
            if stream != "signals":
                count = sum(1 for _ in self._reader.read(stream, since))
                if count:
                    found[stream] = count
        return dict(sorted(found.items()))

    def _follow(self) -> None:
        for record in self._reader.follow("signals", stop=self._asked_to_stop, wait=self._over.wait):
            self._signals += 1
            for key, took in record["latency"].items():
                # every turn runs every stage but one; the others' 0.0 is a time below half a microsecond
                if key in self._values and (took or key != LATENCY_KEYS["execution"]):
                    self._values[key].append(took)

    def _asked_to_stop(self) -> bool:
        self._follows.set()  # it asks once it has found its place
        return self._over.is_set()
