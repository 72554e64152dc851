"""What limits and alert rules would have done with what was recorded, on recorded time. Nothing is written.

The ledger and the streams are read side by side in the order of time and told to a kill switch and to alert rules that
have no disk, no threads and nobody to write to. What the bot did after a trip that never was stays in the record: the
equity afterwards is what it came to without the halt.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.accounting.numbers import ZERO
from botobs.accounting.segments import Segment
from botobs.alerts import Alerts
from botobs.clock import rfc3339
from botobs.events import EquitySampled, Event, FeaturesStale, PositionAged
from botobs.events.switch import KillSwitchReset, KillSwitchTripped, KillSwitchTrippedAgain, KillSwitchWarned
from botobs.events.vitals import BotAwake, BotSilent, FeedAlarmed, FeedRecovered, FundingAged
from botobs.faults import Faults
from botobs.safety.bars import same_bar
from botobs.safety.limits import decimal_of
from botobs.safety.replayed import LISTS, Found, Replayed
from botobs.safety.switch import KillSwitch
from botobs.safety.tape import Aftermath, Record, Tape, TapeTime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path

    from botobs.alerts.alert import Alert
    from botobs.config import Settings
    from botobs.safety.triggers import Trigger

__all__ = ["Found", "Replayed", "replay"]

_S: Final = 1_000_000_000
# (up to how long after the record before, how far apart): when limits are asked while nothing is recorded
_STEPS: Final = ((60, 1), (3_600, 10), (86_400, 60), (864_000, 3_600))
# alerts that are judged anew; all others are repeated as the bot had them
_JUDGED: Final = frozenset(
    {"EquitySampled", "EquityDrawdown", "alarm", "silent", "funding_stale", "position_aged", "FeaturesStale",
     "SameBarRoundTrip", "warning", "trip", "callbacks", "found", "reset", "drill"}
)  # fmt: skip
_CONNECTIONS: Final[Mapping[str, type[Event]]] = {
    "alarm": FeedAlarmed, "recovered": FeedRecovered, "silent": BotSilent, "awake": BotAwake,
    "funding_stale": FundingAged,
}  # fmt: skip


def replay(
    data_dir: Path,
    settings: Settings,
    *,
    limits: Sequence[Trigger] | None = None,
    starting_equity: Decimal | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Replayed:
    """Drive what was recorded through the limits and alert rules of some settings.

    Args:
        data_dir: Where the bot keeps its data; a bot may run there.
        settings: Their `equity_floor`, `timezone`, `alert_drawdown` and `alert_cooldown` count.
        limits: Those of the kill switch; `None`: what `equity_floor` implies.
        starting_equity: For records of a bot that knew none.
        start: From when on (RFC 3339); `None`: from the first record.
        end: Until when.

    Raises:
        OSError: It cannot be read.
    """
    drive = _Drive(settings, limits, starting_equity)
    tape = Tape(data_dir, start, end)
    for ts_ns, source, record in tape.records():
        drive.take(ts_ns, source, record, tape.moved)
    return drive.result(tape)


class _Quiet(Faults):
    """Counts, and says nothing: the reader of a replay is no bot."""

    def say(self, where: str, cause: str, message: str) -> None:
        """Nothing."""


class _Drive:
    """Tells a switch and alert rules what was recorded, and keeps what they say."""

    def __init__(
        self, settings: Settings, limits: Sequence[Trigger] | None, starting_equity: Decimal | None
    ) -> None:  # fmt: skip
        self._time = TapeTime()
        self._faults = _Quiet()
        self._start = starting_equity
        self._listeners: list[tuple[type[Event], Callable[[Event], object]]] = []
        self._after = Aftermath()
        self._found: list[tuple[str, int, dict[str, Any], Decimal | None, Decimal]] = []
        self._equity: Decimal | None = None
        self._moved, self._peak = ZERO, ZERO
        self._booked: tuple[Decimal, Decimal] | None = None  # what the line of the ledger before this record said
        self._held = 0
        self._first: int | None = None
        self._counts: Counter[str] = Counter()
        self._feeds: dict[str, int | None] = {}  # since when each is silent, by the steady clock
        self._idle: int | None = None  # the bot's loop, likewise
        self._up = True
        self._stale = False  # too many features
        self._repeated: set[str] = set()  # ids of alerts
        self._keys: set[str] = set()  # of these
        self._built: KillSwitch | None = None
        self._alerts = Alerts(
            write=self._fate, subscribe=lambda cls, fn: self._listeners.append((cls, fn)), faults=self._faults,
            clock=self._time, bot=settings.bot, cooldown=settings.alert_cooldown, drawdown=settings.alert_drawdown,
            threaded=False,
        )  # fmt: skip
        self._alerts.to(self._told)
        self._settings, self._limits = settings, limits

    @property
    def _switch(self) -> KillSwitch:
        """Made when the time is known."""
        if self._built is None:
            settings = self._settings
            self._built = KillSwitch(
                folder=None, triggers=self._limits, equity_floor=settings.equity_floor, clock=self._time,
                faults=self._faults, publish=self._publish, timezone=settings.timezone, threaded=False,
            )  # fmt: skip
            self._built.assume_told()
            self._built.begin()
        return self._built

    # -- time --------------------------------------------------------------------------------------------------------

    def take(self, ts_ns: int, source: str, record: Record, moved: Callable[[int], Decimal]) -> None:
        """One record."""
        if self._first is None:
            self._first = ts_ns
            self._time.go_to(ts_ns)
        self._counts[source] += 1
        self._pass(ts_ns)
        try:
            if source == "ledger":
                self._observe(record, moved(record["seq"]))
                self._booked = None if self._equity is None else (self._equity, self._moved)
            elif source == "equity_curve":
                self._sampled(ts_ns, record, moved)
            else:
                getattr(self, f"_{source}_")(ts_ns, record)
        except Exception as error:  # a record of somebody else's making ends no replay
            self._faults.error(source, error)

    def _pass(self, until: int) -> None:
        """Let time pass up to the next record."""
        begun = self._time.time_ns()
        for limit_s, step_s in _STEPS:
            limit = min(begun + limit_s * _S, until)
            while self._time.time_ns() + step_s * _S < limit:
                self._time.go_to(self._time.time_ns() + step_s * _S)
                self._chore()
        passed = until - self._time.time_ns()
        self._time.go_to(until)
        if passed >= _S:
            self._chore()

    def _chore(self) -> None:
        """What the bot does once a second."""
        self._alerts.poll()
        if not self._up:
            return
        now = self._time.perf_ns()
        if any(since is not None for since in self._feeds.values()):
            self._switch.feeds(self._ages())
        if self._idle is not None:
            self._switch.silence((now - self._idle) / _S)
        self._switch.now()

    # -- what was recorded -------------------------------------------------------------------------------------------

    def _observe(self, record: Record, moved: Decimal) -> None:
        """Equity as a line of the ledger or a sample says it."""
        equity, peak = decimal_of(record.get("equity")), decimal_of(record.get("peak"))
        pnl = decimal_of(record.get("pnl"))
        if equity is None and self._start is not None and pnl is not None:
            equity = self._start + moved + pnl
        if equity is not None:
            self._see(equity, peak, moved)

    def _see(self, equity: Decimal, peak: Decimal | None, moved: Decimal) -> None:
        booked, self._booked = self._booked, None
        if booked == (equity, moved):  # the point of the curve that the line of the ledger made
            return
        self._equity, self._moved = equity, moved
        self._peak = peak if peak is not None else max(self._peak, equity)
        self._after.feed(self._time.time_ns(), equity - moved)
        self._switch.equity(equity, self._peak, moved=moved)

    def _sampled(self, ts_ns: int, record: Record, moved: Callable[[int], Decimal]) -> None:
        """A sample, and how deep equity fell between it and the one before."""
        seq = record.get("seq")
        total = moved(seq) if type(seq) is int else self._moved
        if record.get("equity") is not None and record.get("segment"):
            with contextlib.suppress(ValueError):
                segment = Segment.of_record(record["segment"])
                # a peak never falls: so this is the order in which they happened; money moved makes it unclear
                falls = () if any(fall.moved for fall in segment.falls) or segment.moved else segment.falls
                for fall in sorted(falls, key=lambda fall: fall.peak):
                    for equity in (fall.peak, fall.equity):
                        if equity not in (segment.first, segment.end):  # that was the point before, this is the next
                            self._see(equity, decimal_of(record.get("peak")), total)
        self._observe(record, total)
        self._publish(EquitySampled(ts_ns=ts_ns, record=record))

    def _rejections_(self, _: int, record: Record) -> None:
        self._switch.rejected(record.get("symbol"), record.get("code"))

    def _trade_lifecycle_(self, ts_ns: int, record: Record) -> None:
        if record.get("revision", 1) != 1 or record.get("undone"):
            return
        self._switch.closed(record.get("net_pnl_usd"))
        trade_id, symbol = str(record["trade_id"]), str(record.get("symbol"))
        self._switch.fill(symbol, record.get("entry_bar_id"), opened=trade_id)
        self._switch.fill(symbol, record.get("exit_bar_id"), closed=[trade_id])
        found = same_bar(ts_ns, record)
        if found is not None:
            self._publish(found)

    def _execution_(self, ts_ns: int, record: Record) -> None:
        if record.get("event") == "position_aged":
            self._publish(_event_of(PositionAged, ts_ns, record))

    def _connections_(self, ts_ns: int, record: Record) -> None:
        kind = record.get("event")
        now, age_s = self._time.perf_ns(), record.get("age_s", 0.0)
        if kind == "stale":
            self._feeds[record["name"]] = now - round(age_s * _S)
        elif kind == "recovered":
            self._switch.feeds({**self._ages(), record["name"]: age_s})
            self._feeds[record["name"]] = None
            self._switch.feeds(self._ages())
        elif kind == "silent":
            self._idle = now - round(age_s * _S)
        elif kind == "awake":
            self._switch.silence(age_s)
            self._switch.silence(0.0)
            self._idle = None
        event = _CONNECTIONS.get(str(kind))
        if event is not None:
            self._publish(_event_of(event, ts_ns, record))

    def _ages(self) -> dict[str, float]:
        now = self._time.perf_ns()
        return {name: 0.0 if since is None else (now - since) / _S for name, since in self._feeds.items()}

    def _health_(self, _: int, record: Record) -> None:
        if "equity_unknown" in (record.get("reasons") or ()):
            self._switch.equity(None, self._peak, "health")
            return
        for name in ("equity", "equity_value"):
            if name in record:
                self._switch.equity(record[name], self._peak, "health", self._moved)

    def _feature_log_(self, ts_ns: int, record: Record) -> None:
        alert = bool(record.get("staleness_alert"))
        if alert is not self._stale:
            self._stale = alert
            self._publish(
                FeaturesStale(
                    ts_ns=ts_ns, count=record.get("stale_count", 0), features=record.get("stale_features"),
                    resolved=not alert,
                )
            )  # fmt: skip

    def _runs_(self, _: int, record: Record) -> None:
        if record.get("event") in ("run_started", "run_ended"):
            self._up = record["event"] == "run_started"
            self._feeds = dict.fromkeys(self._feeds)
            self._idle = None

    def _kill_switch_(self, _: int, record: Record) -> None:
        """A person armed it again: so it would have been."""
        if record.get("event") == "reset" and record.get("allowed") is not False and self._switch.level:
            self._switch.reset(record.get("by") or "somebody", record.get("reason") or "as recorded")

    def _alerts_(self, _: int, record: Record) -> None:
        """Alerts that the bot sent itself, and those of events that no stream has."""
        if record.get("recovery"):
            if record.get("key") in self._keys:
                self._alerts.resolve(record["key"])
            return
        name = str(record.get("alert_id"))
        ours = record.get("kind") in _JUDGED or record.get("digest_of") or name.endswith("-test")
        if ours or name in self._repeated or record.get("from_run"):
            return
        self._repeated.add(name)
        self._keys.add(str(record.get("key")))
        self._alerts.send(
            record.get("level", "warning"), record.get("title", ""), record.get("message") or "",
            record.get("fields"), record.get("key"),
        )  # fmt: skip

    # -- what comes of it --------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        if isinstance(event, KillSwitchTripped | KillSwitchTrippedAgain):
            self._keep(
                "trips", state=event.state, trigger=event.trigger, reason=event.reason, inputs=event.inputs,
                again=isinstance(event, KillSwitchTrippedAgain),
            )  # fmt: skip
        elif isinstance(event, KillSwitchWarned):
            self._keep("warnings", trigger=event.trigger, why=event.why, used=event.used, inputs=event.inputs)
        elif isinstance(event, KillSwitchReset):
            self._keep("resets", state=event.state, reason=event.reason, by=event.by)
        for cls, fn in self._listeners:
            if isinstance(event, cls):
                fn(event)

    def _told(self, alert: Alert) -> None:
        self._keep(
            "alerts", level=alert.level, title=alert.title, message=alert.message, key=alert.key,
            fields=dict(alert.fields), recovery=alert.recovery, held=alert.held,
            digest_of=[each.title for each in alert.of] or None,
        )  # fmt: skip

    def _fate(self, record: Record) -> None:
        self._held += record.get("fate") == "held"

    def _keep(self, what: str, **said: Any) -> None:
        self._after.mark(self._time.time_ns())
        self._found.append((what, self._time.time_ns(), said, self._equity, self._moved))

    def result(self, tape: Tape) -> Replayed:
        """What was found."""
        if self._first is not None:
            self._pass(self._time.time_ns() + 60 * _S)  # what waits for a digest
        ended, lows = self._after.now, self._after.lows()
        found: dict[str, list[Found]] = {name: [] for name in LISTS}
        for (what, ts_ns, said, equity, moved), low in zip(self._found, lows, strict=True):
            after = None if equity is None or low is None or ended is None else (low, ended)
            found[what].append(
                Found(
                    ts=rfc3339(ts_ns), said=said, equity=equity,
                    lowest=None if after is None else after[0][0] + moved,
                    lowest_ts=None if after is None else rfc3339(after[0][1]),
                    end=None if after is None else after[1] + moved,
                )
            )  # fmt: skip
        last = None if self._first is None else self._time.time_ns() - 60 * _S
        return Replayed(
            since=None if self._first is None else rfc3339(self._first), until=None if last is None else rfc3339(last),
            limits=self._switch.triggers, held=self._held, records=dict(self._counts), notes=self._notes(tape),
            **{name: tuple(each) for name, each in found.items()},
        )  # fmt: skip

    def _notes(self, tape: Tape) -> tuple[str, ...]:
        notes = []
        limits = self._switch.triggers
        if not limits:
            notes.append("there are no limits: equity_floor gives the usual ones")
        if limits and self._equity is None:
            notes.append("no equity was recorded, for there was no starting_equity: limits on equity were not judged")
        if any(limit.startswith("Errors") for limit in limits):
            notes.append("errors of stages are in no stream: Errors was not judged")
        unread = tape.unread + tape.reader.skipped
        if unread:
            notes.append(f"records that could not be read: {unread}")
        notes += [f"records of {where} that made no sense: {count}" for where, count in self._faults.errors.items()]
        return tuple(notes)


def _event_of(cls: type[Event], ts_ns: int, record: Record) -> Event:
    """The event that a record was made of."""
    names = {field.name for field in attrs.fields(cls)} - {"ts_ns"}
    return cls(ts_ns=ts_ns, **{name: value for name, value in record.items() if name in names})
