"""What a strategy is expected to reach, and the moment at which it falls behind or comes back."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.accounting.numbers import number
from botobs.accounting.statistics import Sharpe
from botobs.errors import ConfigError
from botobs.events.money import TargetMissed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.performance.summary import Summary

__all__ = ["ALERTS", "METRICS", "Metric", "Target", "TargetAlert", "TargetResolved", "TargetWatch", "Targets"]

ALERTS = "performance_alerts"  # the stream of alerts; it lies in logs/performance/alerts.jsonl
_MOST_WINDOW = 1_000
_MOST_STRATEGIES = 1_000


@attrs.frozen(kw_only=True)
class TargetAlert(TargetMissed):
    """A window of trades fell behind its target: one record in `logs/performance/alerts.jsonl`."""

    stream: ClassVar[str | None] = ALERTS
    kind: ClassVar[str | None] = "target_missed"


@attrs.frozen(kw_only=True)
class TargetResolved(TargetAlert):
    """The window has reached its target again."""

    kind: ClassVar[str | None] = "target_resolved"


@attrs.frozen
class Metric:
    """A statistic that can have a target.

    Attributes:
        field: What `Summary` calls it.
        least: The smallest target that makes sense.
        most: The largest.
        maximum: The target is a limit from above.
        unlosing: Undefined without losses, and then better than any target.
    """

    field: str
    least: float = -math.inf
    most: float = math.inf
    maximum: bool = False
    unlosing: bool = False


METRICS: Mapping[str, Metric] = {
    "win_rate": Metric("win_rate", 0, 1),
    "profit_factor": Metric("profit_factor", 0, unlosing=True),
    "expectancy": Metric("expectancy"),
    "average": Metric("average"),
    "gross": Metric("gross"),
    "net": Metric("net"),
    "commissions": Metric("commissions", maximum=True),
    "max_drawdown": Metric("max_drawdown", 0, maximum=True),
    "sharpe": Metric("sharpe"),
    "average_risk_reward": Metric("average_risk_reward", 0),
    "longest_loss_streak": Metric("longest_loss_streak", 0, maximum=True),
}
_SETTINGS = ("window", "min_trades")


@attrs.frozen(kw_only=True)
class Target:
    """One figure to reach.

    Attributes:
        strategy: Whose; `None`: everybody's together.
        metric: Which figure, one of `METRICS`.
        value: The least, or for limits the most, that is fine.
        window: Over so many trades, the last ones.
        min_trades: With fewer it is not judged.
    """

    strategy: str | None
    metric: str
    value: float
    window: int
    min_trades: int

    @property
    def scope(self) -> str:
        """Whose, as alerts say it."""
        return "all" if self.strategy is None else f"strategy:{self.strategy}"

    @property
    def key(self) -> str:
        """Names it among all targets, across restarts."""
        return f"{self.metric} {self.scope}"

    def judge(self, summary: Summary) -> tuple[bool, float] | None:
        """Whether it is missed, and the figure; `None`: that cannot be said now."""
        metric = METRICS[self.metric]
        if summary.trades < self.min_trades:
            return None
        value = getattr(summary, metric.field)
        if isinstance(value, Sharpe):
            value = value.annualized
        if value is None:
            return (False, math.inf) if metric.unlosing and summary.wins and not summary.losses else None
        found = float(value)
        return (found > self.value if metric.maximum else found < self.value), found


class Targets:
    """All targets; made by `parse` from the table `[targets]`.

    Attributes:
        all: Every one.
        warnings: What looked odd in the table but need not be wrong, one sentence each.
    """

    def __init__(self, found: tuple[Target, ...] = (), warnings: tuple[str, ...] = ()) -> None:
        self.all = found
        self.warnings = warnings

    @classmethod
    def parse(cls, table: object, *, window: int = 20) -> Targets:
        """The targets in a table; a table in it is about the strategy of that name.

        Args:
            table: What `botobs.toml` says under `[targets]`; `None`: nothing.
            window: How many trades the rolling window has, where the table does not say.

        Example:
            >>> parsed = Targets.parse({"win_rate": 0.45, "bma": {"profit_factor": 1.2, "window": 50}})
            >>> [(target.key, target.value, target.window) for target in parsed.all]
            [('win_rate all', 0.45, 20), ('profit_factor strategy:bma', 1.2, 50)]

        Raises:
            ConfigError: A value is wrong; the message names it and says what it takes.
        """
        if table is None:
            return cls()
        if not isinstance(table, dict):
            raise ConfigError(f"targets = {_shown(table)} is wrong; it takes a table of figures")
        reading = _Reading()
        general = reading.settings(table, "targets", _Setting(min(window, _MOST_WINDOW), None))
        found = list(reading.figures(table, "targets", None, general, tables=True))
        strategies = [(str(name), inner) for name, inner in table.items() if isinstance(inner, dict)]
        if len(strategies) > _MOST_STRATEGIES:
            raise ConfigError(f"targets: {len(strategies)} strategies; it takes at most {_MOST_STRATEGIES}")
        for name, inner in strategies:
            where = f"targets.{name}"
            found.extend(reading.figures(inner, where, name, reading.settings(inner, where, general), tables=False))
        return cls(tuple(found), tuple(reading.warnings))

    @property
    def most(self) -> int:
        """The longest window."""
        return max((target.window for target in self.all), default=0)


@attrs.frozen
class _Setting:
    window: int
    min_trades: int | None


class _Reading:
    """One reading of the table."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def settings(self, table: Mapping[Any, Any], where: str, given: _Setting) -> _Setting:
        window = _whole(table.get("window", given.window), f"{where}.window", _MOST_WINDOW)
        own = table.get("min_trades")
        if own is not None:
            return _Setting(window, _whole(own, f"{where}.min_trades", window))
        return _Setting(window, None if given.min_trades is None else min(given.min_trades, window))

    def figures(
        self, table: Mapping[Any, Any], where: str, strategy: str | None, setting: _Setting, *, tables: bool
    ) -> Iterator[Target]:
        for name, value in table.items():
            if name in _SETTINGS or (tables and isinstance(value, dict)):
                continue
            if name not in METRICS:
                self.warnings.append(_unknown(where, name))
                continue
            least = setting.window if setting.min_trades is None else setting.min_trades
            yield Target(
                strategy=strategy,
                metric=name,
                value=_within(value, f"{where}.{name}", METRICS[name]),
                window=setting.window,
                min_trades=least,
            )


class TargetWatch:
    """Remembers which targets are missed, and tells when that changes. Not locked: its owner does that.

    Args:
        targets: What is to be reached.
        missed: What was missed when an earlier run ended (`Target.key`).
    """

    def __init__(self, targets: Targets, missed: frozenset[str] = frozenset()) -> None:
        self._targets = targets
        keys = {target.key for target in targets.all}
        self.missed = set(missed & keys)

    def look(self, summary: Callable[[int, str | None], Summary], ts_ns: int) -> list[TargetAlert]:
        """The alerts that are due, given what tells the summary of the last so many trades of a strategy."""
        alerts = []
        asked: dict[tuple[int, str | None], Summary] = {}
        for target in self._targets.all:
            which = target.window, target.strategy
            if which not in asked:
                asked[which] = summary(*which)
            judged = target.judge(asked[which])
            if judged is None or judged[0] == (target.key in self.missed):
                continue
            missed, value = judged
            (self.missed.add if missed else self.missed.discard)(target.key)
            kind = TargetAlert if missed else TargetResolved
            alerts.append(
                kind(
                    ts_ns=ts_ns,
                    metric=target.metric,
                    scope=target.scope,
                    window=f"last {target.window} trades",
                    value=value,
                    target=target.value,
                    n=asked[which].trades,
                    resolved=not missed,
                )
            )
        return alerts


def _whole(value: object, name: str, most: int) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise ConfigError(f"{name} = {_shown(value)} is wrong; it takes a whole number from 1 to {most}")
    return value


def _within(value: object, name: str, metric: Metric) -> float:
    try:
        found = float(number(value))
    except (ValueError, OverflowError):
        found = math.nan
    if not metric.least <= found <= metric.most:
        takes = "a number"
        if metric.most < math.inf:
            takes = f"a number from {metric.least:g} to {metric.most:g}"
        elif metric.least > -math.inf:
            takes = f"a number of at least {metric.least:g}"
        raise ConfigError(f"{name} = {_shown(value)} is wrong; it takes {takes}")
    return found


def _unknown(where: str, name: object) -> str:
    possible = (*METRICS, *_SETTINGS)
    near = difflib.get_close_matches(str(name), possible, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(possible)}"
    return f"{where}.{str(name)[:60]} is no figure that can have a target, and ignored; {hint}"


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."
