"""What botobs says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botobs.faults import Faults
    from botobs.sinks.endpoint import Endpoint
    from botobs.sinks.metrics import LabelCap
    from botobs.sinks.metrics.readings import Said
    from botobs.stages.engine import Engine

__all__ = ["OwnReading"]

# series that exist from the start, so that the first drop or error is an increase
_STREAMS: Final = {"signals": 0, "spans": 0}
_PLACES: Final = {"stage": 0, "signal": 0, "event": 0}


class OwnReading:
    """Drops, errors, queues, overhead, traces, labels.

    Args:
        faults: The observer's counts.
        engine: Its hot path.
        cap: The cap on label values.
        waiting: What waits in all queues.
        overhead: The part of one core that background work takes, once it is known.
        endpoint: Where the page is served, if it is.
    """

    names: Final = (
        "botobs_events_dropped_total", "botobs_queue_depth", "botobs_internal_errors_total", "botobs_overhead_ratio",
        "botobs_traces_kept_total", "botobs_labels_folded_total", "botobs_label_values", "botobs_label_limit",
        "botobs_prometheus_up",
    )  # fmt: skip

    def __init__(
        self,
        faults: Faults,
        engine: Engine,
        cap: LabelCap,
        *,
        waiting: Callable[[], int],
        overhead: Callable[[], float | None],
        endpoint: Callable[[], Endpoint | None],
    ) -> None:
        self._faults = faults
        self._engine = engine
        self._cap = cap
        self._waiting = waiting
        self._overhead = overhead
        self._endpoint = endpoint

    def __call__(self) -> Iterator[Said]:
        """As it is now."""
        for stream, count in {**_STREAMS, **self._faults.drops}.items():
            yield "botobs_events_dropped_total", count, (stream,)
        for place, count in {**_PLACES, **self._faults.errors}.items():
            yield "botobs_internal_errors_total", count, (place,)
        for reason, count in self._engine.kept_by.copy().items():
            yield "botobs_traces_kept_total", count, (reason,)
        yield "botobs_queue_depth", self._waiting(), ()
        yield "botobs_overhead_ratio", self._overhead(), ()
        yield "botobs_labels_folded_total", self._engine.cells.overflow + self._cap.folded, ()
        yield "botobs_label_limit", self._cap.limit, ()
        endpoint = self._endpoint()
        if endpoint is not None:
            yield "botobs_prometheus_up", endpoint.up, ()
        for label, count in self._cap.values.items():
            if label != "label":
                yield "botobs_label_values", count, (label,)
