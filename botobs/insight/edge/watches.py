"""Every watched series: by what is watched and by strategy, and one over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.clock import rfc3339
from botobs.events.edge import EdgeAlarm, EdgeCleared
from botobs.insight.edge.told import EdgeState
from botobs.insight.edge.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botobs.events.base import Event

__all__ = ["ALL", "EDGE", "SLIPPAGE", "Watches"]

ALL: Final = "all"
EDGE: Final = "edge"
SLIPPAGE: Final = "slippage"

_MOST: Final = 100  # strategies
_UNIT: Final = {EDGE: "trades", SLIPPAGE: "orders"}


class Watches:
    """All series. Not locked.

    Args:
        every: Each may give one false alarm in so many outcomes.
        warm_up: So many outcomes make a norm.
        memory: The norm is made of so many of the latest outcomes.

    Attributes:
        no_room: How many outcomes counted for all strategies together only: there were too many strategies.
    """

    def __init__(self, every: float, warm_up: int, memory: int) -> None:
        self._every, self._warm_up, self._memory = every, warm_up, memory
        self._of: dict[tuple[str, str | None], Watch] = {}
        self._told: set[tuple[str, str | None]] = set()  # whose alarm was published
        self.no_room = 0

    def get(self, what: str, strategy: str | None) -> Watch | None:
        """One of them; `None`: it saw nothing."""
        return self._of.get((what, strategy))

    def made(self, what: str, strategy: str | None) -> Watch | None:
        """One of them, made if need be; `None`: there are too many."""
        found = self._of.get((what, strategy))
        if found is None:
            if strategy is not None and self._strategies(what) >= _MOST:
                self.no_room += 1
                return None
            found = Watch(self._every, self._warm_up, self._memory, more_is_worse=what == SLIPPAGE)
            self._of[what, strategy] = found
        return found

    def add(self, what: str, strategy: str, value: float, ts_ns: int) -> list[Event]:
        """An outcome came; what there is to say."""
        events: list[Event] = []
        for key in ((what, None), (what, strategy)):
            watch = self.made(*key)
            if watch is not None:
                before = watch.changed
                said = watch.add(value, ts_ns)
                if said is not None:
                    events.extend(self._said(key, watch, said, 0 if before is None else before[1] + 1, ts_ns))
        return events

    def renew(self, what: str, strategy: str | None, ts_ns: int) -> list[Event]:
        """What it is now is its norm: a person says so."""
        watch = self._of.get((what, strategy))
        if watch is None:
            return []
        lasted, alarmed = watch.changed, watch.alarmed
        watch.renew()
        return self._ended((what, strategy), watch, lasted, ts_ns) if alarmed else []

    def give(self, what: str, strategy: str | None, norm: tuple[float, float] | None, ts_ns: int) -> list[Event]:
        """A person gives the norm."""
        watch = self.made(what, strategy)
        if watch is None:
            return []
        lasted, alarmed = watch.changed, watch.alarmed
        watch.give(norm)
        return self._ended((what, strategy), watch, lasted, ts_ns) if alarmed else []

    def _ended(
        self, key: tuple[str, str | None], watch: Watch, lasted: tuple[float, int] | None, ts_ns: int
    ) -> list[Event]:
        """A person ended an alarm."""
        return list(self._said(key, watch, "renewed", 0 if lasted is None else lasted[1], ts_ns))

    def _said(self, key: tuple[str, str | None], watch: Watch, said: str, lasted: int, ts_ns: int) -> Iterator[Event]:
        what, strategy = key
        if said == "alarm":
            if strategy is None and self._strategies(what) < 2:
                return
            self._told.add(key)
            value, n = watch.changed or (None, 0)
            yield EdgeAlarm(
                ts_ns=ts_ns, what=what, strategy=ALL if strategy is None else strategy, value_bps=value,
                norm_bps=watch.mean, scale_bps=watch.scale, n=n, since=_moment(watch.since_ns),
                once_in=watch.once_in, false_alarms=watch.every,
            )  # fmt: skip
        elif key in self._told:
            self._told.discard(key)
            yield EdgeCleared(
                ts_ns=ts_ns, what=what, strategy=ALL if strategy is None else strategy,
                why="back" if said == "cleared" else "renewed", value_bps=watch.recent, norm_bps=watch.mean, n=lasted,
            )  # fmt: skip

    def _strategies(self, what: str) -> int:
        return sum(1 for kind, strategy in self._of if kind == what and strategy is not None)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def states(self) -> list[EdgeState]:
        """Everything that is watched."""
        return [self.state_of(*key) for key in self._of]

    def state_of(self, what: str, strategy: str | None) -> EdgeState:
        """How one stands."""
        name = ALL if strategy is None else strategy
        watch = self._of.get((what, strategy))
        if watch is None:
            reasons = dict.fromkeys(("level", "norm_bps", "scale_bps", "recent_bps"), f"no {_UNIT[what]} yet")
            return EdgeState(what=what, strategy=name, n=0, reasons=reasons)
        reasons, lacking = {}, watch.lacking
        if lacking:
            done = self._warm_up - lacking
            reasons["level"] = f"its norm is being learned: {done} of {self._warm_up} {_UNIT[what]}"
        changed = watch.changed
        if not watch.alarmed:
            reasons["changed_bps"] = reasons["since"] = "there is no alarm"
        return EdgeState(
            what=what, strategy=name, n=watch.n, alarmed=watch.alarmed, level=None if lacking else watch.level,
            norm_bps=watch.mean, scale_bps=watch.scale, recent_bps=watch.recent,
            changed_bps=changed[0] if changed else None, changed_n=changed[1] if changed else 0,
            since=_moment(watch.since_ns), once_in=None if lacking else watch.once_in, given=watch.given is not None,
            reasons=reasons,
        )  # fmt: skip

    def measured(self) -> Iterator[tuple[str, str, float | None, bool]]:
        """What, of which strategy, its recent mean, and whether it is alarmed."""
        for (what, strategy), watch in self._of.items():
            yield what, ALL if strategy is None else strategy, watch.recent, watch.alarmed

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """All they know, for JSON."""
        return [[*key, key in self._told, watch.state()] for key, watch in self._of.items()]

    def restore(self, state: Iterable[Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems = []
        for one in list(state)[: 2 * (_MOST + 1)]:
            try:
                what, strategy, told, kept = one
                if what not in _UNIT or not (strategy is None or type(strategy) is str):
                    raise ValueError("not a series")
                watch = Watch(self._every, self._warm_up, self._memory, more_is_worse=what == SLIPPAGE)
                watch.restore(kept)
                self._of[what, strategy] = watch
                if told is True and watch.alarmed:
                    self._told.add((what, strategy))
            except Exception as error:
                problems.append(f"a series of edges: {type(error).__name__}")
        return problems


def _moment(ns: int | None) -> str | None:
    return rfc3339(ns) if ns else None
