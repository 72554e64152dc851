"""Which predictions of one model are looked at, for one observer.

Every n-th, and no more than so many a second; and the one that an order came from. For that the last prediction of each
running tick is remembered as it is, and its input copied when the order is announced.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.explainability.rows import UnfitError, outputs, take
from botobs.stages.tick import INERT

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.explainability.rows import Row
    from botobs.explainability.subject import Explanation, Subject
    from botobs.explainability.tracker import Explainability
    from botobs.stages.engine import Engine
    from botobs.stages.tick import Tick

__all__ = ["NEVER", "Gate", "Sampling", "Task"]

NEVER: Final = 1 << 63
_MOST_RUNNING: Final = 16
_S: Final = 1e9

#: A prediction: its tick, what the model was called with, and what it answered; or the task made of it.
Seen = tuple["Tick", Any, Any, Any]


@attrs.frozen(kw_only=True)
class Sampling:
    """How many predictions are looked at.

    Attributes:
        every: Each n-th; `None`: each, in a backtest each hundredth.
        most_per_s: No more than so many a second, by the observer's clock; `None`: as many as there are.
        orders: Also each that an order came from.
        rows: Of a table, so many of the last rows.
        top: So many contributions are written, the largest ones.
        window_ns: How far importance looks back.
        skip: Where the model's input stands among its arguments.
    """

    every: int | None = None
    most_per_s: float | None = 1.0
    orders: bool = True
    rows: int = 1
    top: int = 10
    window_ns: int = 86_400_000_000_000
    skip: int = 0


@attrs.define(eq=False)
class Task:
    """A prediction that is to be explained.

    Attributes:
        subject: Of which model.
        row: What it saw.
        said: What it answered.
        again: Asks it about other rows.
        sampling: How it is told.
        ts_ns: When that was.
        symbol, bar_id, trace_id: Of the tick.
        sampled: It is one of those that tell of all.
        order_id: The order that came of it.
        found: What came out; `took_ms`: after which time.
        told: It was told, or cannot be; `order_told`: with the order.
    """

    subject: Subject
    row: Row
    said: tuple[float, ...] | None
    again: Callable[[Any], Any]
    sampling: Sampling
    ts_ns: int
    symbol: str | None
    bar_id: Any
    trace_id: str | None
    sampled: bool = False
    order_id: str | None = None
    found: Explanation | None = None
    took_ms: float = 0.0
    told: bool = False
    order_told: bool = False

    @property
    def urgent(self) -> bool:
        """Whether an order came of it."""
        return self.order_id is not None

    def __str__(self) -> str:
        return self.subject.name


class Gate:
    """Chooses predictions.

    Args:
        engine: The observer's; of a gate that nobody has come to yet, any object.
        tracker: Takes those that are chosen; `None`: nobody does.
        subject: Which model.
        sampling: How many.
        call: The model itself.
        leave: Called when the observer has ended.
    """

    __slots__ = ("__weakref__", "_call", "_every", "_interval_ns", "_leave", "_recent", "due", "engine", "last", "left",
                 "sampling", "subject", "tracker")  # fmt: skip

    def __init__(
        self,
        engine: Engine | object,
        tracker: Explainability | None,
        subject: Subject,
        sampling: Sampling,
        call: Callable[..., Any],
        *,
        leave: Callable[[], object] = int,
    ) -> None:
        self.engine = engine
        self.tracker = tracker
        self.subject = subject
        self.sampling = sampling
        self._call = call
        self._leave = leave
        self._every = sampling.every or (1 if tracker is None or tracker.threaded else 100)
        self._interval_ns = round(_S / sampling.most_per_s) if sampling.most_per_s else 0
        self.left = 0
        self.due = NEVER if tracker is None else 0  # steady time before which none is taken
        self.last: Seen = (INERT, None, None, None)
        self._recent: deque[Seen] = deque(maxlen=_MOST_RUNNING)

    def note(self, tick: Tick, args: Any, kwargs: Any, out: Any) -> None:
        """Remember a prediction, in case that an order comes of it."""
        before = self.last
        if before[0] is not tick and not before[0].done:  # another tick runs meanwhile
            self._recent.append(before)
        self.last = (tick, args, kwargs, out)

    def choose(self, tick: Tick, t0: int, args: Any, kwargs: Any, out: Any) -> None:
        """Have a prediction explained, if enough of them have passed."""
        tracker = self.tracker
        if tracker is None or self.left > 0 or t0 < self.due:
            self.note(tick, args, kwargs, out)
            return
        self.left, self.due = self._every, t0 + self._interval_ns
        if self.subject.broken is not None:
            self.due = NEVER
            tracker.tell(self.subject.broken)
        elif tracker.crowded:  # to pass one over is a choice, not a loss
            tracker.passed += 1
            self.note(tick, args, kwargs, out)
        else:
            for task in self._tasks(tracker, tick, args, kwargs, out):
                task.sampled = True
                self.note(tick, task, None, None)
                tracker.take(task)

    def ordered(self, tick: Tick, order_id: str) -> None:
        """An order was announced in a tick: the prediction that it came from is explained."""
        tracker = self.tracker
        if tracker is None or not self.sampling.orders or self.subject.broken is not None:
            return
        found = self.last
        if found[0] is not tick:
            found = next((seen for seen in reversed(self._recent) if seen[0] is tick), found)
            if found[0] is not tick:
                return
        if type(found[1]) is Task:  # a sample, on its way or done
            if found[1].order_id is None:
                found[1].order_id = order_id
                if found[1].told:
                    tracker.take(found[1])
            return
        [*_, task] = self._tasks(tracker, *found)
        task.order_id = order_id
        if self.last is found:
            self.last = (tick, task, None, None)
        else:
            self._recent.append((tick, task, None, None))
        tracker.take(task)

    def _tasks(self, tracker: Explainability, tick: Tick, args: Any, kwargs: Any, out: Any) -> list[Task]:
        """Its input, copied: a bot may use its array again.

        Raises:
            UnfitError: It cannot be explained.
        """
        skip = self.sampling.skip
        by_name: str | None = None
        if len(args) > skip:
            given = args[skip]
        elif kwargs:
            by_name, given = next(iter(kwargs.items()))
        else:
            raise UnfitError("a model that is called with nothing cannot be explained")
        inside = not tick.shared
        trace_id = tick.id if inside and tick.keeps else None
        return [
            Task(
                self.subject, row, outputs(out, row), _again(self._call, skip, by_name, args, kwargs), self.sampling,
                tracker.now(),
                tick.symbol if inside else None, tick.bar_id if inside else None, trace_id,
            )
            for row in take(given, self.sampling.rows)
        ]  # fmt: skip

    def end(self) -> None:
        """The observer has ended: let go of it, and of what the bot predicted from."""
        self._leave()
        self._leave = int
        self.engine, self.tracker, self.due = object(), None, NEVER
        self.last = (INERT, None, None, None)
        self._recent.clear()


def _again(
    call: Callable[..., Any], skip: int, by_name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """The same call with another input; the table that the row stood in is let go."""
    before, behind = args[:skip], args[skip + 1 :]
    more = {name: value for name, value in kwargs.items() if name != by_name}

    def again(other: Any) -> Any:
        if by_name is not None:
            return call(*before, **{**more, by_name: other})
        return call(*before, other, *behind, **more)

    return again
