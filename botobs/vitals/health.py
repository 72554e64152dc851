"""The bot's own health: said as often as it likes, recorded when there is a reason.

Reasons are rules, and rules are data:

- a heartbeat: the first call and every N-th after it;
- equity moved by more than 0.1 % since the last record, or became unknown;
- a boolean toggled (one that was never said counts as false);
- a counter rose (one that was never said counts as 0; one that falls has begun anew);
- a level was crossed upwards: on crossing, not for as long as the value is over it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import attrs

from botobs.accounting.numbers import exact, number
from botobs.events.vitals import HealthRecorded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["DEFAULT", "HealthEmitter", "Rule"]

_MOST_NAMES = 1_000
_OURS = frozenset({"ts", "schema", "bot", "run_id", "symbol", "bar_id", "trace_id", "event", "reasons", "suppressed"})
_BOOLS = frozenset({"bool", "bool_"})  # numpy's, by either of its names
_FARTHEST = 300
_UNLIKELY = 1e-9  # closer to the edge than that, floats may not decide


@attrs.frozen
class Rule:
    """What makes a call of `health` worth a record.

    Attributes:
        kind: `equity` (moved by more than the share `limit`), `toggle` (a boolean changed), `counter` (a number rose)
            or `level` (a number went over `limit`).
        fields: The fields it is about, the first one given is taken for `equity`; none for `toggle`: every boolean.
        suffixes: What the names of the fields end in.
        limit: See `kind`.
    """

    kind: Literal["equity", "toggle", "counter", "level"]
    fields: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    limit: float = 0.0

    def concerns(self, name: str) -> bool:
        """Whether it looks at the field `name`."""
        return name in self.fields or (bool(self.suffixes) and name.endswith(self.suffixes))


DEFAULT: tuple[Rule, ...] = (
    Rule("equity", fields=("equity", "equity_value"), limit=0.001),
    Rule("toggle"),
    Rule("counter", suffixes=("_reconnects", "_count", "_errors", "_total")),
    Rule("level", fields=("calibration_drift",), limit=0.05),
)


class _Watched:
    """What the rules say of one field, and its last value."""

    __slots__ = ("counted", "last", "level", "name", "over")

    def __init__(self, name: str, rules: Sequence[Rule]) -> None:
        self.name = name
        self.last: Any = None
        self.over = False
        self.counted = any(rule.kind == "counter" and rule.concerns(name) for rule in rules)
        levels = [rule.limit for rule in rules if rule.kind == "level" and rule.concerns(name)]
        self.level = min(levels) if levels else None

    def toggled(self, value: bool) -> bool:
        before, self.last = self.last, value
        return (before is True) is not value

    def rose(self, value: Any) -> bool:
        before, self.last = self.last, value
        return bool(value > (0 if before is None or isinstance(before, bool) else before))

    def crossed(self, value: Any) -> bool:
        before, self.over = self.over, bool(value > self.level)
        return self.over and not before


class HealthEmitter:
    """Decides which calls of `health` become records. Threads may share it.

    Args:
        every: A record goes out every so many calls, the first among them.
        publish: Takes the event.
        equity: botobs's own equity, asked when the bot's fields give none; `None`: unknown.
        clock: Tells the time.
        faults: Where errors are counted.
        rules: What makes a call worth a record.

    Attributes:
        calls: How often the bot said how it is.
        records: How many records came of it.
    """

    def __init__(
        self,
        every: int,
        publish: Callable[[Event], object],
        equity: Callable[[], Decimal | None],
        clock: Clock,
        *,
        faults: Faults,
        rules: Sequence[Rule] = DEFAULT,
    ) -> None:
        self.calls = self.records = 0
        self._every = max(int(every), 1)
        self._publish = publish
        self._equity = equity
        self._clock = clock
        self._faults = faults
        self._rules = tuple(rules)
        moves = [rule for rule in rules if rule.kind == "equity"]
        self._said_in = tuple(name for rule in moves for name in rule.fields)
        self._move = min((rule.limit for rule in moves), default=None)
        toggles = [rule for rule in rules if rule.kind == "toggle"]
        self._toggles = bool(toggles)
        self._toggling = None if any(not (rule.fields or rule.suffixes) for rule in toggles) else toggles
        self._watched: dict[str, _Watched | None] = {}
        # the equity of the last record: what the bot says and what botobs knows need not be the same thing
        self._recorded: dict[bool, float | Decimal] = {}
        self._unknown = False
        self._suppressed = 0
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here

    def health(self, **fields: Any) -> None:
        """Say how the bot is: any fields; `equity`, booleans, counters and levels are looked at."""
        try:
            self._said(fields)
        except Exception as error:
            self._faults.error("health", error)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _said(self, fields: Mapping[str, Any]) -> None:
        told, equity = self._equity_of(fields)
        reasons: list[str] = []
        with self._lock:
            if self.calls % self._every == 0:
                reasons.append("heartbeat")
            self.calls += 1
            if self._move is not None:
                self._weigh(told, equity, reasons)
            problem = self._look_at(fields, reasons)
            suppressed = self._suppressed
            if reasons:
                self._suppressed = 0
                self.records += 1
                if equity is not None:
                    self._recorded[told] = equity
            else:
                self._suppressed += 1
        if reasons:
            self._record(fields, None if told else equity, tuple(reasons), suppressed)
        if problem is not None:
            raise problem

    def _equity_of(self, fields: Mapping[str, Any]) -> tuple[bool, float | Decimal | None]:
        """Whether the bot said an equity, and the number: its own, else botobs's."""
        for name in self._said_in:
            if name in fields:
                return True, _finite(fields[name])
        # both are asked before the lock is taken: other rooms have locks of their own
        return False, None if self._move is None else _finite(self._asked(self._equity))

    def _look_at(self, fields: Mapping[str, Any], reasons: list[str]) -> Exception | None:
        problem, first = None, self.calls == 1
        for name, value in fields.items():
            try:
                self._look(name, value, reasons, first=first)
            except Exception as error:  # one field that cannot be looked at must not hide the others
                problem = error
        return problem

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            self._faults.error("health", error)
            return None

    def _weigh(self, told: bool, equity: float | Decimal | None, reasons: list[str]) -> None:
        if equity is None:
            if told and not self._unknown:
                self._unknown = True
                reasons.append("equity_unknown")
            return
        before = self._recorded.get(told)
        known_again = told and self._unknown
        if told:
            self._unknown = False
        # at the first call there was nothing that it could have moved from
        if self.calls > 1 and (known_again or before is None or self._moved(equity, before)):
            reasons.append("equity")

    def _moved(self, equity: float | Decimal, before: float | Decimal) -> bool:
        assert self._move is not None
        base = float(before)
        by, edge = abs(float(equity) - base), self._move * abs(base)
        if by < edge * (1 - _UNLIKELY):
            return False
        if by > edge * (1 + _UNLIKELY):
            return True
        return _moved_exactly(equity, before, self._move)

    def _look(self, name: str, value: Any, reasons: list[str], *, first: bool) -> None:
        kind = type(value)
        try:
            watched = self._watched[name]
        except KeyError:
            watched = self._learn(name)
        if kind is bool:
            truth = value
        elif watched is None or kind is str:
            if kind.__name__ not in _BOOLS:
                return
            truth = bool(value)
        elif kind.__name__ in _BOOLS:
            truth = bool(value)
        else:
            self._measure(watched, value, reasons, first=first)
            return
        if not self._toggles:
            return
        if watched is None:
            watched = self._toggle(name)
        if watched is not None and watched.toggled(truth) and not first:
            reasons.append(f"toggle:{name}")

    def _measure(self, watched: _Watched, value: Any, reasons: list[str], *, first: bool) -> None:
        if not (watched.counted or watched.level is not None):
            return
        found = _finite(value)
        if found is None:
            return
        # always floats: a bot's decimal context may forbid to compare the two
        if watched.counted and watched.rose(float(found)) and not first:
            reasons.append(f"counter:{watched.name}")
        if watched.level is not None and watched.crossed(float(found)):
            reasons.append(f"level:{watched.name}")

    def _learn(self, name: str) -> _Watched | None:
        """What the rules say of a field that comes for the first time; `None`: only a boolean would matter."""
        watched = _Watched(name, self._rules)
        return self._keep(name, watched if watched.counted or watched.level is not None else None)

    def _toggle(self, name: str) -> _Watched | None:
        if self._toggling is not None and not any(rule.concerns(name) for rule in self._toggling):
            return None
        return self._keep(name, _Watched(name, self._rules))

    def _keep(self, name: str, watched: _Watched | None) -> _Watched | None:
        if name not in self._watched and len(self._watched) >= _MOST_NAMES:
            self._faults.say("health", "fields", f"more than {_MOST_NAMES} fields: changes of {name[:80]!r} go unseen")
            return None
        self._watched[name] = watched
        return watched

    def _record(
        self, fields: Mapping[str, Any], own: float | Decimal | None, reasons: tuple[str, ...], suppressed: int
    ) -> None:
        record, symbol = dict(fields), fields.get("symbol")
        if own is not None and "equity" not in record:
            record["equity"] = own
        if type(symbol) is str:
            del record["symbol"]
        else:
            symbol = None
        if not _OURS.isdisjoint(record):  # names that the line has its own meaning for
            under = {name: record.pop(name) for name in _OURS.intersection(record)}
            record["fields"] = {**under, "fields": record["fields"]} if "fields" in record else under
        event = HealthRecorded(
            ts_ns=self._clock.time_ns(), symbol=symbol, reasons=reasons, suppressed=suppressed, record=record
        )
        self._publish(event)


def _finite(value: Any) -> float | Decimal | None:
    """A number as it can be compared; `None`: it is none."""
    kind = type(value)
    if kind is float:
        return value if value - value == 0.0 else None
    if kind is int:
        return float(value) if -(2**53) <= value <= 2**53 else _decimal(value)
    return None if value is None else _decimal(value)


def _decimal(value: Any) -> Decimal | None:
    try:
        found = number(value)
    except Exception:
        return None
    return found if found.adjusted() < _FARTHEST else None  # beyond it a float is endless


@exact
def _moved_exactly(equity: float | Decimal, before: float | Decimal, share: float) -> bool:
    base = number(before)
    return abs(number(equity) - base) > number(share) * abs(base)
