"""Everything that has to go somewhere: what waits, what went, and how it ends."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.report import Counts, Report
from botobs.sinks.provider import ProviderSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botobs.bus import Bus
    from botobs.faults import Faults
    from botobs.parts import Attached
    from botobs.sinks.metrics import MetricsSink
    from botobs.sinks.otlp_out import OtlpOut
    from botobs.sinks.spans import SpanEncoder
    from botobs.stages.engine import Engine
    from botobs.streams.store import StreamStore

__all__ = ["Delivery"]

_SLICE_NS: Final = 1_000_000
_DISK_S: Final = 0.1  # what the disk gets at the end, however little the collector or a subscriber has left


def _nobody(_deadline: float, *, ending: bool = False) -> None:
    """There is nobody to hurry."""


class Delivery:
    """Brings records, events, traces and metrics where they belong, and tells how far it got.

    Args:
        engine: Whose kept traces.
        store: Takes lines to the disk.
        bus: Takes events to subscribers.
        metrics: Takes durations to a provider of the user's own.
        otlp: Takes spans and metrics to a collector.
        encode: Makes spans of kept traces; `None`: nobody wants them.
        faults: Where drops are counted.
        sync: Whether a flush brings records past the operating system.
    """

    def __init__(
        self,
        engine: Engine,
        store: StreamStore,
        bus: Bus,
        metrics: MetricsSink,
        *,
        otlp: OtlpOut | None,
        encode: SpanEncoder | ProviderSpans | None,
        faults: Faults,
        sync: bool,
    ) -> None:
        self._engine = engine
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._otlp = otlp
        self._encode = encode
        self._faults = faults
        self._sync = sync
        self._attached: list[Attached] = []
        self.alerts: Callable[[], Counts] | None = None
        self.first: list[Callable[[float], bool]] = []  # what is under way in other rooms and has to be published
        # told at once what the others are waited for: with a dead collector before it, there would be no time left
        self.hurry: Callable[..., object] = _nobody
        self.also: list[Callable[[int], bool]] = []  # what other rooms leave to the drainer; its results are written
        self._hands = threading.Lock()  # held by whoever takes kept traces and durations out of their queues
        self._lost_before = 0

    @property
    def jobs(self) -> Sequence[Callable[[int], bool]]:
        """What the drainer does in slices."""
        return (*self.also, self._in_hand(self._encode_kept), self._in_hand(self._metrics.drain), self._store.drain)

    @property
    def waiting(self) -> int:
        """What waits in all queues."""
        return self._store.pending + self._bus.depth + len(self._engine.kept)

    def attach(self, part: Attached) -> None:
        """Flush, close and abandon `part` with everything else."""
        self._attached.append(part)

    def write(self, deadline: float) -> bool:
        """Bring to disk what waits, before anything that may hang gets the time."""
        return self._store.flush(deadline, sync=self._sync)

    def flush(self, deadline: float) -> bool:
        """Deliver what came before the call; whether all of it has gone before `deadline` (monotonic)."""
        done = self.settle(deadline)
        self.write(deadline)
        done = self._bus.flush(deadline) and done
        done = self._empty_queues(deadline) and done
        done = self.write(deadline) and done  # what subscribers wrote
        self.hurry(deadline)
        for outlet in self._outlets():
            done = outlet.flush(deadline) and done
        return self.write(deadline) and done  # what became of alerts

    def close(self, deadline: float) -> bool:
        """Deliver everything and end; whether each part got rid of what it had."""
        closers: list[Callable[[float], object]] = [
            self.settle,
            self._bus.close,
            self._empty_queues,
            self._hurried,
            *(outlet.close for outlet in self._outlets()),
            # late, so that what others write while the collector is waited for is written too
            lambda until: self._store.close(max(until, time.monotonic() + _DISK_S)),
        ]
        done = True
        for close in closers:
            try:
                done = bool(close(deadline)) and done
            except Exception as error:  # the others have to end all the same
                done = False
                with contextlib.suppress(Exception):  # strict mode raises; here the work has to go on
                    self._faults.error("shutdown", error)
        return done

    def report(self, begun: float, *, done: bool) -> Report:
        """What went, what waits, and what was lost so far.

        Args:
            begun: When the flush began (monotonic).
            done: Whether it delivered what it had to.
        """
        lost = sum(self._faults.drops.values())
        delivered = done and lost == self._lost_before
        self._lost_before = lost
        return self.so_far(delivered=delivered, took_s=time.monotonic() - begun)

    def so_far(self, *, delivered: bool, took_s: float = 0.0) -> Report:
        """The counts as they are."""
        records = Counts(self._store.written, self._store.pending, self._store.dropped)
        spans = Counts()
        kept = len(self._engine.kept)
        if isinstance(self._encode, ProviderSpans):
            spans = Counts(self._encode.delivered, kept, 0)
        elif self._otlp is not None and self._otlp.sender is not None:
            sent = self._otlp.sender.counts
            spans = Counts(sent.delivered, sent.pending + kept, sent.dropped)
        alerts = Counts() if self.alerts is None else self.alerts()
        return Report(
            delivered=delivered, took_s=took_s, records=records, spans=spans, alerts=alerts,
            traces=dict(self._engine.kept_by),
        )  # fmt: skip

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's."""
        self._hands = threading.Lock()
        parts: list[Any] = [self._store, self._bus, *self._outlets(), self._metrics]
        for part in parts:
            with contextlib.suppress(Exception):  # a child that cannot tidy up must still run
                part.abandon()

    def settle(self, deadline: float) -> bool:
        """Have done what other rooms left, before the queues that it fills are emptied."""
        done = True
        for publish in self.first:
            done = publish(deadline) and done
        for job in self.also:
            while job(_SLICE_NS):
                if time.monotonic() >= deadline:
                    return False
        return done

    def _hurried(self, deadline: float) -> bool:
        self.hurry(deadline, ending=True)
        return True

    def _outlets(self) -> list[Attached]:
        """What sends, botobs's own first."""
        return [*(() if self._otlp is None else (self._otlp,)), *self._attached]

    def _empty_queues(self, deadline: float) -> bool:
        """Encode the traces and hand on the durations that wait; whether none is left."""
        if not self._hands.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            return False
        try:
            for job in (self._encode_kept, self._metrics.drain, self._metrics.drain):  # a round may miss the newest
                while job(_SLICE_NS):
                    if time.monotonic() >= deadline:
                        return False
            return True
        finally:
            self._hands.release()

    def _in_hand(self, job: Callable[[int], bool]) -> Callable[[int], bool]:
        """The job, left out while somebody else has its queues in hand."""

        def held(budget_ns: int) -> bool:
            if not self._hands.acquire(blocking=False):
                return False
            try:
                return job(budget_ns)
            finally:
                self._hands.release()

        return held

    def _encode_kept(self, budget_ns: int) -> bool:
        """Encode kept traces for about `budget_ns`; whether some are left."""
        kept, encode = self._engine.kept, self._encode
        if encode is None or not kept:
            return False
        until = time.perf_counter_ns() + budget_ns
        while True:
            try:
                tick = kept.popleft()
            except IndexError:
                return False
            encode(tick)
            if time.perf_counter_ns() > until:
                return bool(kept)
