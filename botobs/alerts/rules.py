"""When an event becomes an alert: a rule is data, the built-in ones are a table."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from botobs.alerts.alert import text_of
from botobs.clock import rfc3339
from botobs.events import (
    BackupFailed,
    BackupMade,
    EdgeAlarm,
    EdgeCleared,
    EquitySampled,
    Event,
    FillConflict,
    LedgerResumed,
    LedgerTrouble,
    PositionAged,
    TargetMissed,
    UncleanEnd,
)
from botobs.events.safety import (
    EquityDrawdown,
    FeaturesStale,
    FeedStale,
    FundingStale,
    KillSwitchChanged,
    SameBarRoundTrip,
)
from botobs.events.switch import (
    KeepAliveChanged,
    KeepAliveFailed,
    KillSwitchAnswered,
    KillSwitchDrilled,
    KillSwitchFound,
    KillSwitchReset,
    KillSwitchTripped,
    KillSwitchWarned,
)
from botobs.events.vitals import BotAwake, BotSilent

__all__ = ["Rule", "built_in", "filled", "values_of"]

Condition = Callable[[Any], object]
Said = str | Callable[[Any], object]

_TEXT: Final = 8_000
_CALM: Final = 0.8  # of a limit: below it, it is over; so a figure that trembles at its limit is one alert


@attrs.frozen(kw_only=True, eq=False)
class Rule:
    """What makes an alert of which event.

    Templates are filled with the event's fields: `"{symbol} fell to {equity}"`; a function of the event does as well.

    Attributes:
        event: The class of events.
        level: `info`, `warning`, `critical`.
        title: What happened, in a line.
        message: More about it.
        key: What it is about.
        fields: Which of the event's fields are shown.
        when: Whether it is one; `None`: always.
        until: Whether it says that it is over.
        ending: What there is to say of that.
        trusted: It is botobs's own and needs no guard.
    """

    event: type[Event]
    level: Said = "warning"
    title: Said = ""
    message: Said = ""
    key: Said | None = None
    fields: tuple[str, ...] | Mapping[str, Said] | Callable[[Any], object] = ()
    when: Condition | None = None
    until: Condition | None = None
    ending: Said = ""
    trusted: bool = False


def _never(_: Event) -> bool:
    return False


def _always(_: Event) -> bool:
    return True


def _over(event: Any) -> bool:
    return bool(event.resolved)


def _on(event: Any) -> bool:
    return not event.resolved


def _drawdown(event: EquitySampled) -> float | None:
    found = event.record.get("drawdown_pct")
    try:
        return None if found is None else float(found)
    except (TypeError, ValueError):
        return None


def _undone(event: KillSwitchChanged) -> list[str]:
    """What failed in a drill."""
    return event.failed if isinstance(event, KillSwitchDrilled) else []


def _switch_level(event: KillSwitchChanged) -> str:
    if event.drill:
        return "warning" if _undone(event) else "info"
    return "critical" if event.state == "halted" else "warning"


def _switch_title(event: KillSwitchChanged) -> str:
    if event.drill:
        return f"Kill switch drill{' failed' if _undone(event) else ''}"
    return f"Kill switch: {event.state}"


def _switch_message(event: KillSwitchChanged) -> str:
    told = [event.reason or "-", *_undone(event)]
    if isinstance(event, KillSwitchFound):
        told.append(f"So it was found at the start, since {event.since}.")
    if isinstance(event, KillSwitchTripped) and event.durable is False:
        told.append("The disk did not take it, see the log: the next start may not know of it.")
    if not event.drill:
        passes = "No order passes" if event.state == "halted" else "Only orders that reduce a position pass"
        told.append(f"{passes} until somebody arms it again: botobs kill reset --data-dir DIR --by WHO --reason WHY")
    return "\n".join(told)


def _switch_ending(event: KillSwitchChanged) -> str:
    return f"Armed again by {event.by}: {event.reason}" if isinstance(event, KillSwitchReset) else ""


def _switch_key(event: KillSwitchChanged) -> str:
    return f"kill-switch-drill-{event.ts_ns}" if event.drill else "kill-switch"


def _near_title(event: KillSwitchWarned) -> str:
    if event.why == "unknown":
        return f"{event.trigger}: what it limits is not known"
    return f"{event.trigger}: {event.used or 0.0:.0%} of the way to its limit"


def _near_message(event: KillSwitchWarned) -> str:
    if event.why == "unknown":
        return "The kill switch cannot see whether this limit is broken."
    return "The kill switch trips at 100%."


def built_in(*, drawdown: float | None = 0.05) -> tuple[Rule, ...]:
    """The rules that every bot has.

    Args:
        drawdown: How far equity may fall below its peak, as a fraction; `None`: as far as it wants.
    """
    rules = [
        *(() if drawdown is None else (_drawdown_rule(drawdown),)),
        Rule(
            event=EquityDrawdown,
            title="Equity {drawdown_pct:.1%} below its peak", message="Equity {equity}, peak {peak}.",
            key="equity-drawdown", fields=("equity", "peak", "drawdown_pct", "limit"), when=_on, until=_over,
        ),
        Rule(
            event=FeedStale, level=lambda event: "critical" if event.escalated else "warning",
            title="Feed {name} silent for {age_s:.0f} s", message="Its limit is {limit_s} s; reconnects: {reconnects}.",
            key="feed-stale-{name}", fields=("name", "age_s", "limit_s", "reconnects"), when=_on, until=_over,
        ),
        Rule(
            event=FundingStale, title="Funding rate of {symbol} is {age_s:.0f} s old", key="funding-stale-{symbol}",
            fields=("symbol", "age_s", "limit_s"), when=_on, until=_over,
        ),
        Rule(
            event=SameBarRoundTrip, title="{symbol} opened and closed on one bar",
            key="same-bar-{symbol}", fields=("symbol", "bar_id", "trade_id", "strategy"),
        ),
        Rule(
            event=FeaturesStale, title="{count} stale features", message="At most {limit} may be.",
            key="features-stale", fields=lambda event: event.features, when=_on, until=_over,
        ),
        Rule(
            event=KillSwitchChanged, level=_switch_level, title=_switch_title, message=_switch_message,
            key=_switch_key, fields=("state", "previous", "trigger", "by"), ending=_switch_ending,
            when=lambda event: event.drill or event.state != "active",
            until=lambda event: not event.drill and event.state == "active",
        ),
        Rule(  # positions may be open still
            event=KillSwitchAnswered, level="critical", title="Kill switch: a callback failed",
            message=lambda event: "\n".join([*event.failed, "Positions may be open still."]),
            key=lambda event: f"kill-switch-callbacks-{event.ts_ns}",
            when=lambda event: event.failed,
        ),
        Rule(
            event=KillSwitchWarned, title=_near_title, message=_near_message,
            key="kill-switch-{why}-{trigger}", fields=lambda event: event.inputs,
            when=lambda event: event.why == "near" or event.lasting,  # else it is one bad tick
        ),
        Rule(
            event=KeepAliveFailed, level="critical", title="Keep-alive {name} fails",
            message="{error} ({failures} in a row). Without it the exchange cancels everything.",
            key="keep-alive-{name}", fields=("name", "failures"),
        ),
        Rule(event=KeepAliveChanged, key="keep-alive-{name}", when=_never, until=lambda event: event.calling),
        Rule(
            event=BotSilent, level="critical", title="No decision for {age_s:.0f} s",
            message="The process lives. Usual are {usual_s} s, the limit is {limit_s} s.", key="bot-silent",
            fields=("age_s", "limit_s", "usual_s"),
        ),
        Rule(event=BotAwake, key="bot-silent", when=_never, until=_always),
        Rule(
            event=LedgerTrouble, level="critical", title="Ledger in trouble: {what}", message="{message}",
            key=lambda event: "ledger-damaged" if event.what == "damaged" else "ledger-trouble",
            fields=("what", "pending"),
        ),
        Rule(event=LedgerResumed, key="ledger-trouble", when=_never, until=_always),
        Rule(
            event=FillConflict, level="critical", title="Fill {fill_id} came again with other content",
            message="It was set aside; the ledger keeps the first.", key="fill-conflict-{fill_id}",
            fields=("symbol", "fill_id", "order_id", "seq"),
        ),
        Rule(
            event=UncleanEnd, title="The last run did not end in order",
            message="Run {run_id}, process {pid}, last seen {last_seen}.", key="unclean-end",
            fields=("run_id", "pid", "started", "last_seen"),
        ),
        Rule(
            event=BackupFailed, title="The backup failed", message="{where}: {error}", key="backup-failed",
            fields=("where", "error", "failures", "last"),
        ),
        Rule(event=BackupMade, key="backup-failed", when=_never, until=_always),
        Rule(
            event=PositionAged, title="{symbol} held for {age_s:.0f} s", message="The limit is {limit_s:.0f} s.",
            key="position-aged-{trade_id}", fields=("symbol", "qty", "age_s", "limit_s", "trade_id"),
        ),
        Rule(
            event=TargetMissed, title="{metric} of {scope} is {value:.4g}, its target {target:.4g}",
            message="Over the {window} ({n} trades).", key="target-{metric}-{scope}-{window}",
            fields=("metric", "scope", "window", "value", "target", "n"), when=_on, until=_over,
        ),
        Rule(
            event=EdgeAlarm, title="{what} of {strategy} is {value_bps:.1f} bps, its norm {norm_bps:.1f}",
            message="{n} of them, since {since}. By chance that comes once in {once_in:.0f}.",
            key="edge-{what}-{strategy}", fields=("what", "strategy", "value_bps", "norm_bps", "n", "since"),
        ),
        Rule(event=EdgeCleared, key="edge-{what}-{strategy}", when=_never, until=_always),
    ]  # fmt: skip
    return tuple(attrs.evolve(rule, trusted=True) for rule in rules)


def _drawdown_rule(limit: float) -> Rule:
    """Equity below its peak, from the equity curve itself."""
    return Rule(
        event=EquitySampled,
        title="Equity {drawdown_pct:.1%} below its peak",
        message="Equity {equity}, peak {peak}.",
        key="equity-drawdown",
        fields=("equity", "peak", "drawdown", "drawdown_pct"),
        when=lambda event: (found := _drawdown(event)) is not None and found >= limit,
        until=lambda event: (found := _drawdown(event)) is not None and found < limit * _CALM,
    )


def values_of(event: Event) -> dict[str, Any]:
    """The fields of `event` by name, those of its flat mapping among them."""
    values = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
    if type(event).flat is not None:
        more = values.get(str(type(event).flat))
        if isinstance(more, Mapping):
            values = {**more, **values}
    values["ts"] = rfc3339(event.ts_ns)
    return values


def filled(said: Said, event: Event, values: Mapping[str, Any]) -> str:
    """A template with the event's fields in it; what does not fit its format is shown as it is.

    Example:
        >>> from botobs.events import Event
        >>> filled("{symbol} {age_s:.0f} {colour}", Event(ts_ns=0, symbol="BTC"), {"symbol": "BTC", "age_s": None})
        'BTC - -'
    """
    if not isinstance(said, str):
        return text_of(said(event), _TEXT)
    if "{" not in said:
        return said
    try:
        return _Filler().vformat(said, (), values)
    except Exception:  # a brace too many
        return said


class _Filler(string.Formatter):
    """Fills what it knows, and shows a dash for what it does not."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        try:
            found: tuple[Any, str] = super().get_field(field_name, args, kwargs)
        except (KeyError, AttributeError, IndexError, TypeError):
            return None, field_name
        return found

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "-"
        try:
            return text_of(super().format_field(value, format_spec), _TEXT)
        except (TypeError, ValueError):
            return text_of(value, _TEXT)
