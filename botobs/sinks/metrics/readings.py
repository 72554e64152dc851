"""Values that nobody reports: they are asked for when somebody collects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .labels import OTHER, LabelCap
from .numbers import Number, number
from .series import Labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.faults import Faults

    from .catalogue import Row

__all__ = ["Ask", "Reading", "Said"]

#: The metric, its value (`None`: nothing to say), and its label values.
Said = tuple[str, Any, tuple[Any, ...]]
Ask = Callable[[], Iterable[Said]]
Answers = dict[str, dict[Labels, Number]]


class Reading:
    """A function that knows the values of some metrics.

    One that fails is counted, and what it had not said by then is left out. What has no number is left out.

    Args:
        rows: The metrics it knows.
        ask: Tells them.
        cap: The cap on label values.
        faults: Where failures are counted.
    """

    def __init__(self, rows: Iterable[Row], ask: Ask, cap: LabelCap, faults: Faults) -> None:
        self._rows = {row.name: row for row in rows}
        self._ask = ask
        self._cap = cap
        self._faults = faults
        self._lock = threading.RLock()
        self._answers: Answers = {}
        self._served: set[str] = set(self._rows)

    @property
    def names(self) -> Iterable[str]:
        """The metrics that it knows."""
        return self._rows

    def fresh(self) -> Answers:
        """Ask now."""
        answers: Answers = {}
        try:
            for name, value, labels in self._ask():
                self._take(answers, self._rows[name], value, labels)
        except Exception as error:
            self._faults.error("metrics.reading", error)
        return answers

    def of(self, name: str) -> Mapping[Labels, Number]:
        """What it says of one metric, for collections that ask for one after the other: they ask it once in all."""
        with self._lock:
            if name in self._served:  # a new round
                self._answers, self._served = self.fresh(), set()
            self._served.add(name)
            return self._answers.get(name, {})

    def _take(self, answers: Answers, row: Row, value: Any, labels: tuple[Any, ...]) -> None:
        found = number(value)
        if found is None:
            return
        text = self._cap.text
        named = tuple([text(label, said) for label, said in zip(row.labels, labels, strict=True)])
        series = answers.setdefault(row.name, {})
        before = series.get(named)
        if before is not None and OTHER in named:  # several share the series
            found = before + found if row.kind == "counter" else max(before, found, key=abs)
        series[named] = found
