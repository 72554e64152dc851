"""Applies a rule to an event: nothing, an alert, or the end of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from botobs.accounting.numbers import as_the_bot
from botobs.alerts.rules import Rule, filled, values_of

if TYPE_CHECKING:
    from botobs.events import Event
    from botobs.timebox import Pool

__all__ = ["Judge", "Verdict"]

_LIMIT_S: Final = 1.0
_REST_NS: Final = 60 * 10**9  # for a rule that hung


class Verdict(NamedTuple):
    """What a rule says of an event."""

    says: Literal["alert", "over"]
    key: str
    level: str = ""
    title: str = ""
    message: str = ""
    fields: dict[str, Any] | None = None


class Judge:
    """Asks the rules. Those of the bot's own are asked in a time box; what fails in them is counted.

    Args:
        pool: Where functions of the bot's own run; `None`: here and now.
        failed: Told where and why something failed.
    """

    def __init__(self, pool: Pool | None, failed: Callable[[str, BaseException], None]) -> None:
        self._pool = pool
        self._failed = failed
        self._resting: dict[Rule, int] = {}

    def ask(self, rule: Rule, event: Event, perf_ns: int) -> Verdict | None:
        """What `rule` says of `event`."""
        if perf_ns < self._resting.get(rule, 0):
            return None
        if rule.trusted or self._pool is None:
            try:
                return _judged(rule, event)
            except Exception as error:
                self._failed("alerts.rule", error)
                return None
        outcome = self._pool.call(_judged, rule, event, limit_s=_LIMIT_S)
        if outcome.error is not None:
            if outcome.state == "hung":
                self._resting[rule] = perf_ns + _REST_NS
            self._failed("alerts.rule", outcome.error)
        return outcome.value


@as_the_bot  # in a backtest it is asked in the middle of what the event follows from
def _judged(rule: Rule, event: Event) -> Verdict | None:
    over = rule.until is not None and bool(rule.until(event))
    if not over and not (rule.when is None or bool(rule.when(event))):
        return None
    values = values_of(event)
    title = filled(rule.title or type(event).__name__, event, values)
    key = filled(rule.key, event, values) if rule.key is not None else _own_key(rule, event)
    if over:
        return Verdict("over", key, message=filled(rule.ending, event, values))
    return Verdict(
        "alert", key, filled(rule.level, event, values), title, filled(rule.message, event, values),
        _fields(rule, event, values),
    )  # fmt: skip


def _own_key(rule: Rule, event: Event) -> str:
    # not the title: figures in it would make each alert one of its own
    said = rule.title if isinstance(rule.title, str) and rule.title else type(event).__name__
    return f"{type(event).__name__}:{said}:{event.symbol}" if event.symbol else f"{type(event).__name__}:{said}"


def _fields(rule: Rule, event: Event, values: Mapping[str, Any]) -> dict[str, Any]:
    wanted = rule.fields
    if callable(wanted):
        found = wanted(event)
        return dict(found) if isinstance(found, Mapping) else {}
    if isinstance(wanted, Mapping):
        return {name: filled(said, event, values) for name, said in wanted.items()}
    return {name: value for name in wanted if (value := values.get(name)) is not None}
