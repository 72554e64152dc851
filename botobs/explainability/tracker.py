"""Explainability as one observer has it."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botobs.clock import SystemClock, rfc3339
from botobs.config.values import period
from botobs.events.explanations import PredictionExplained
from botobs.explainability.importance import FeatureImportance, Window
from botobs.explainability.making import MissingError
from botobs.explainability.rows import text
from botobs.explainability.shapley import breathe
from botobs.explainability.worker import Worker
from botobs.insight.names import plain
from botobs.insight.part import Part
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.clock import Clock
    from botobs.events.base import Event
    from botobs.events.money import OrderAnnounced
    from botobs.explainability.gate import Gate, Task
    from botobs.explainability.subject import Explanation
    from botobs.faults import Faults
    from botobs.sinks.metrics.readings import Said

__all__ = ["Explainability"]

_WHERE: Final = "explainability"
_STREAM: Final = "explanations"
_MOST_MODELS: Final = 50
_LATEST: Final = 100
_SHOWN: Final = 10  # features of a model that have a metric
_MOST_GATES: Final = 200
_FARTHEST: Final = 1e100


class Explainability(Part):
    """What made models say what they said, and which features count; usable on its own.

    Args:
        publish: Gets `PredictionExplained`.
        faults: Where explainers that fail are counted.
        clock: The observer's.
        threaded: Explain in the background; a backtest explains at once.

    Attributes:
        explained: How many predictions were explained.
        failed: How many could not be.
        passed: How many were due, and passed over because others wait.

    Example:
        >>> explainability = Explainability()
        >>> for rsi, trend in ((3.0, 1.0), (-5.0, 1.0)):
        ...     explainability.learn("lgbm", {"rsi": rsi, "trend": trend})
        >>> for one in explainability.importance():
        ...     print(one.feature, one.mean_abs, one.mean, one.share)
        rsi 4.0 -1.0 0.8
        trend 1.0 1.0 0.2
    """

    file: ClassVar[str | None] = "explainability.json"
    names: ClassVar[tuple[str, ...]] = ("bot_feature_importance",)

    def __init__(
        self,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        threaded: bool = True,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._publish = publish
        self._faults = faults
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._latest: deque[PredictionExplained] = deque(maxlen=_LATEST)
        self._gates: deque[weakref.ref[Gate]] = deque(maxlen=_MOST_GATES)
        self._worker = Worker(self._do, faults)
        self._over = False
        self.threaded = threaded
        self.explained = self.failed = self.passed = 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return self._clock.time_ns()

    def watch(self, gate: Gate) -> None:
        """Tell this one of orders, from now on."""
        gates = [ref for ref in list(self._gates) if ref() is not None]
        self._gates = deque([*gates, weakref.ref(gate)], maxlen=_MOST_GATES)

    def ordered(self, event: OrderAnnounced) -> None:
        """An order was announced: the predictions of its tick are explained."""
        if not self._gates or self._over:
            return
        tick = current_tick()
        if tick.engine is None or event.order_id is None:
            return
        for ref in self._gates:
            gate = ref()
            if gate is not None and gate.engine is tick.engine:
                try:
                    gate.ordered(tick, event.order_id)
                except Exception as error:
                    self._faults.error(_WHERE, error)

    def tell(self, why: str) -> None:
        """Nothing can be explained: say so."""
        self._faults.say(_WHERE, why, why)

    @property
    def crowded(self) -> bool:
        """Whether so many wait that another sample need not be taken."""
        return self.threaded and self._worker.crowded

    def take(self, task: Task) -> None:
        """Explain a prediction: soon, or in a backtest at once."""
        if not self.threaded:
            self._do(task)
        elif not self._worker.put(task, urgent=task.urgent):
            if task.urgent and not self._over:
                self._faults.dropped(_STREAM)
            else:
                self.passed += 1

    def learn(
        self, model: str, contributions: Mapping[str, float], *, window: Any = "1d", now_ns: int | None = None
    ) -> None:
        """What is known from elsewhere: a prediction was explained so. What is no number is left out, and said.

        Raises:
            ValueError: The window is none.
        """
        now, length = self.now() if now_ns is None else now_ns, round(period(window) * 1e9)
        try:
            found = {text(name): float(value) for name, value in contributions.items()}
        except Exception:  # whatever the bot has there
            found = None
        named = plain(model)
        if found is None or named is None:
            self.tell("what was to be learned is no mapping from features to numbers: it is left out")
        else:
            self._learn(named, found, length, now)

    def _learn(self, model: str, contributions: dict[str, float], window_ns: int, now: int) -> None:
        if not all(abs(value) <= _FARTHEST for value in contributions.values()):  # it would be in the mean for a day
            self.tell("a contribution is no number, or beyond all bounds: it does not count for the importance")
            return
        with self._lock:
            found = self._windows.get(model)
            if found is None:
                if len(self._windows) >= _MOST_MODELS:
                    return
                found = self._windows[model] = Window(window_ns)
            found.length_ns = window_ns
            found.add(contributions, now)

    # -- explaining --------------------------------------------------------------------------------------------------

    def _do(self, task: Task) -> int:
        """Explain one; how much processor time making its explainer took."""
        subject = task.subject
        made = subject.made_ns
        if subject.broken is not None:
            return 0
        begun = self._clock.perf_ns()
        try:
            if task.found is None:
                found = subject.explain(task.row, task.said, task.again, breathe() if self.threaded else int)
                task.found, task.took_ms = found, round((self._clock.perf_ns() - begun) / 1e6, 3)
                self.explained += 1
                if task.sampled:  # what orders came from is no fair sample
                    self._learn(subject.name, found.contributions, task.sampling.window_ns, self.now())
            if subject.hint is not None:
                self.tell(subject.hint)
                subject.hint = None
            self._tell_of(task, task.found)
        except MissingError as error:
            self.failed += 1
            self.tell(str(error))
        except Exception as error:
            self.failed += 1
            if not self.threaded:
                raise
            try:
                self._faults.error(_WHERE, error)
            except Exception:  # strict: it is counted, and there is nobody here to raise it to
                return subject.made_ns - made
        finally:
            task.told = True
        return subject.made_ns - made

    def _tell_of(self, task: Task, found: Explanation) -> None:
        """As a sample, and for the order that came of it: that may be announced meanwhile, or later."""
        if not task.told:
            self._say(task, found, task.order_id)
            task.told = True
        if task.order_id is not None and not task.order_told:
            self._say(task, found, task.order_id)

    def _say(self, task: Task, found: Explanation, order_id: str | None) -> None:
        if self._over:
            return
        task.order_told = order_id is not None
        largest = sorted(found.contributions.items(), key=lambda each: -abs(each[1]))
        shown = dict(largest[: task.sampling.top])
        event = PredictionExplained(
            ts_ns=self.now(),
            symbol=task.symbol,
            bar_id=task.bar_id,
            trace_id=task.trace_id,
            model=task.subject.name,
            why="sample" if order_id is None else "order",
            order_id=order_id,
            predicted_ts=rfc3339(task.ts_ns),
            prediction=found.prediction,
            output=found.output,
            base=found.base,
            contributions=shown,
            features={name: found.values[name] for name in shown if name in found.values} or None,
            other=math.fsum(value for _, value in largest[task.sampling.top :]),
            residual=found.residual,
            n_features=len(largest),
            took_ms=task.took_ms,
        )
        self._latest.append(event)
        if self._publish is not None:
            self._publish(event)

    # -- answers -----------------------------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """The models of which a prediction was explained."""
        with self._lock:
            return tuple(self._windows)

    def importance(self, model: str | None = None, window: Any = None) -> tuple[FeatureImportance, ...]:
        """Which features count, those that count most first.

        Args:
            model: Of which model; `None`: of all, one after the other.
            window: How far to look back: `"6h"`, seconds, a `timedelta`; `None`, and at most: as far as
                `explain_model` was told to.

        Raises:
            ValueError: The window is none.
        """
        back = None if window is None else round(period(window) * 1e9)
        now = self.now()
        with self._lock:
            wanted = sorted(self._windows) if model is None else [plain(model) or ""]
            return tuple(
                row for name in wanted if name in self._windows for row in self._windows[name].features(name, now, back)
            )

    def latest(self, n: int = 1) -> tuple[PredictionExplained, ...]:
        """The last explanations, oldest first; a hundred are remembered."""
        return tuple(self._latest)[-n:] if n > 0 else ()

    # -- as a part of insight, and of the observer -------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How much has happened that is worth keeping now and then."""
        return self.explained

    def chore(self, now: int) -> None:  # noqa: ARG002
        """A second has passed."""
        self._worker.look()

    def measured(self) -> Iterator[Said]:
        """Its metrics, as they are now."""
        now = self.now()
        with self._lock:
            found = [row for name, window in self._windows.items() for row in window.features(name, now)[:_SHOWN]]
        for row in found:
            yield "bot_feature_importance", row.share, (row.model, row.feature)

    def state(self) -> dict[str, Any]:
        """All that it has to know after a restart, for JSON."""
        with self._lock:
            return {"models": {name: window.state() for name, window in self._windows.items()}}

    def restore(self, state: Any) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        models = state.get("models") if isinstance(state, dict) else None
        if not isinstance(models, dict):
            return ["the importance of features"]
        problems = []
        for name, each in list(models.items())[:_MOST_MODELS]:
            try:
                restored = Window.restored(each)
            except Exception:
                problems.append(f"the importance of features of {name}")
            else:
                with self._lock:
                    self._windows[str(name)] = restored
        return problems

    def flush(self, deadline: float) -> bool:
        """Have explained what waits, in half of the time till `deadline` (monotonic); whether that was done."""
        now = time.monotonic()
        return self._worker.flush(now + (deadline - now) / 2)

    def close(self, deadline: float) -> bool:
        """End: what waits is explained for at most a second; whether no order is left without."""
        left = self._worker.close(deadline)
        self._over = True
        self._let_go()
        if left:
            self._faults.dropped(_STREAM, left)
        return not left

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's, and it may have held the lock."""
        self._lock = threading.Lock()
        self._over = True
        self._worker.abandon()
        self._let_go()

    def _let_go(self) -> None:
        """Models live as long as the bot, this does not."""
        gates, self._gates = self._gates, deque(maxlen=_MOST_GATES)
        for ref in gates:
            gate = ref()
            if gate is not None:
                gate.end()
