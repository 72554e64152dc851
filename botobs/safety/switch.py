"""`obs.kill_switch`: what it is told, what it lets through, and how it lives with the observer."""

from __future__ import annotations

import contextlib
import functools
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from botobs import timebox
from botobs.accounting.numbers import ZERO
from botobs.config.values import period
from botobs.errors import ConfigError, TradingHalted
from botobs.events.switch import KillSwitchWarned
from botobs.safety import requests
from botobs.safety.gate import Gate
from botobs.safety.judging import LONG
from botobs.safety.keepalive import KeepAlive
from botobs.safety.latch import FILE
from botobs.safety.limits import Limits, decimal_of, defaults
from botobs.safety.memory import Memory
from botobs.safety.pace import Pace
from botobs.safety.said import line, reason_of
from botobs.safety.triggers import EquityBelow, OfEquity, Trigger
from botobs.safety.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from decimal import Decimal
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.safety.judging import Act

__all__ = ["KillSwitch"]

Fn = TypeVar("Fn", bound="Callable[[], Any]")

_NEVER_TOLD: Final = "none was told since the start"
_STALE: Final = "stale"
_DAMAGED: Final = "what was remembered of it is damaged"
_LASTING: Final = frozenset({_NEVER_TOLD, _STALE, _DAMAGED, LONG})
_WHEN_S: Final = 0.1
_SILENT_S: Final = 60.0
_asking: ContextVar[bool] = ContextVar("botobs_asking_when", default=False)


class KillSwitch(Gate):
    """Stops the bot when it must. Comes as `obs.kill_switch`.

    Args:
        folder: `data_dir/state`; `None`: nothing is kept, as in a backtest.
        triggers: The limits; `None`: what `equity_floor` implies.
        equity_floor: The lowest equity that is allowed; `None`: there is no floor.
        clock: The time.
        faults: Where what goes wrong is counted.
        publish: Takes events.
        reducing: Whether the order of that id was announced as reducing.
        order_of: What was announced of an order.
        has_fills: Whether the ledger has fills: then a missing state file means halted.
        timezone: Whose days `DailyLoss` counts.
        threaded: Whether there are threads and limits; not in a backtest, where `now` is called as time advances.

    Raises:
        ConfigError: A trigger is none, or the state file cannot be made.
    """

    def __init__(
        self,
        *,
        folder: Path | None,
        triggers: Iterable[Trigger] | None,
        equity_floor: Decimal | None = None,
        clock: Clock,
        faults: Faults,
        publish: Callable[[Event], object],
        reducing: Callable[[str], bool | None] = lambda _order_id: None,
        order_of: Callable[[str], Mapping[str, Any] | None] = lambda _order_id: None,
        has_fills: bool = False,
        timezone: str = "UTC",
        threaded: bool = True,
    ) -> None:
        pace = Pace(clock, timezone)
        try:
            super().__init__(
                folder=folder, pace=pace, faults=faults, publish=publish, has_fills=has_fills, threaded=threaded,
                reducing=reducing, order_of=order_of,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(
                f"the kill switch cannot make its state file: {folder}/{FILE}: {error.strerror or error}; "
                "it takes a data_dir that can be written"
            ) from error
        self._limits = self._count(_armed(triggers, equity_floor))
        self._series.append(self._limits)
        self._reported: dict[str, Limits] = {}
        self._keeping: list[KeepAlive] = []
        self._silent: tuple[float, float, int] | None = None  # age, limit, when we were told
        self._asked: Decimal | None = None
        self._watch = Watch(self.look, self.now, faults, self._as_seen) if threaded else None

    def _count(self, triggers: Iterable[Trigger], source: str | None = None) -> Limits:
        """Limits with a memory of their own."""
        memory = Memory(self._folder) if source is None else Memory(self._folder, f"triggers.{source}.json")
        return Limits(triggers, pace=self._pace, memory=memory, faults=self._faults, standing=lambda: self._standing)

    @property
    def triggers(self) -> tuple[str, ...]:
        """The limits in force, in words."""
        return tuple(trigger.label for trigger in self._limits.triggers)

    @property
    def watches_equity(self) -> bool:
        """Whether a limit is one of equity, which somebody has to know."""
        return self._limits.of_equity

    # -- what it is told: on the caller's thread, and what has to happen has happened when these return --------------

    def equity(
        self, value: Any, peak: Any = None, why: str | None = None, moved: Any = ZERO, source: str | None = None
    ) -> None:
        """Equity was observed.

        Args:
            value: The equity; `None` or NaN: one observation of unknown equity.
            peak: The account's peak; limits that remember nothing count from there.
            why: Why it is unknown.
            moved: All that was ever moved in, less what was moved out.
            source: Who says so, if not the account: limits count each source by itself, as the peak of one and the
                equity of another make no drawdown.
        """
        try:
            limits = self._limits if source is None else self._reporting(source)
            try:
                quiet = limits.quiet(value, moved)
            except ArithmeticError:  # NaN
                quiet = False
            if not quiet:
                acts = limits.equity(value, peak, moved)
                if acts:
                    self._do(acts, why, source)
            if self._limits.whens and source is None and value != self._asked:
                self._asked = value
                self._ask(hung_too=False)
        except Exception as error:
            self._fault(error)

    def _reporting(self, source: str) -> Limits:
        """The limits on equity that somebody beside the account reports."""
        name = "".join(sign for sign in source if sign.isalnum())[:40] or "other"
        limits = self._reported.get(name)
        if limits is None:
            with self._changing:
                limits = self._reported.get(name)
                if limits is None:
                    limits = self._count([one for one in self._limits.triggers if isinstance(one, OfEquity)], name)
                    acts = limits.load()
                    self._series.append(limits)
                    self._reported[name] = limits
                else:
                    acts = []
            self._do(acts, _DAMAGED, source)
        return limits

    def assume_told(self) -> None:
        """Do not wait for the first equity: a replay may begin in the middle."""
        self._limits.assume_told()

    def rejected(self, symbol: str | None = None, code: Any = None) -> None:
        """The exchange refused an order."""
        if self._limits.rejections:
            self._observe(self._limits.rejections, symbol, line(code, 60))

    def failed(self, error: object = None) -> None:
        """A stage or a tick ended with an error of the bot's; not for `TradingHalted`, which is no error."""
        if self._limits.errors and not isinstance(error, TradingHalted):
            self._observe(self._limits.errors, error)

    def closed(self, net: Any) -> None:
        """A round trip was closed and made `net`; `None`: that is not known."""
        if self._limits.losses:
            self._observe(self._limits.losses, decimal_of(net))

    def fill(
        self, symbol: str, bar_id: object, *, opened: str | None = None, closed: Iterable[str] = ()
    ) -> None:  # fmt: skip
        """A fill was booked.

        Args:
            symbol: Of what.
            bar_id: In which bar; `None`: not known.
            opened: The trade that it opened, if it did.
            closed: The trades that it closed.
        """
        self._has_fills = True
        bars = self._limits.bars
        if bars:
            for trade_id in closed:
                self._observe(bars, trade_id, symbol, bar_id, closes=True)
            if opened is not None:
                self._observe(bars, opened, symbol, bar_id, closes=False)

    def feeds(self, ages: Mapping[str, float]) -> None:
        """How long each feed has been silent, in seconds; about once a second."""
        self._limits.heard(ages=ages)
        if self._limits.stale:
            self._observe(self._limits.stale, ages)

    def silence(self, age_s: float | None, limit_s: float | None = None) -> None:
        """How long ago the bot's loop gave its last sign of life; about once a second.

        Args:
            age_s: In seconds.
            limit_s: From when on it counts as silent for `keep_alive`; a minute if not given.
        """
        self._limits.heard(silent_s=age_s)
        if age_s is not None:
            self._silent = (age_s, _SILENT_S if limit_s is None else limit_s, self._pace.steady())
        if self._limits.silences:
            self._observe(self._limits.silences, age_s)

    def now(self) -> None:
        """Time has passed: windows move on, what was counted is kept, the bot's own limits are asked. Once a second."""
        try:
            self._record_overdue()
            for limits in tuple(self._series):
                for act in limits.passing():
                    never = isinstance(act.trigger, OfEquity) and not act.trigger.known_at
                    self._do([act], _NEVER_TOLD if never else _STALE)
            self._ask(hung_too=True)
            self._retry()
            if not self._threaded:
                for keeping in self._keeping:
                    keeping.beat()
        except Exception as error:
            self._fault(error)

    def _observe(self, triggers: list[Any], *args: Any, **named: Any) -> None:
        try:
            acts = self._limits.observe(triggers, *args, **named)
            if acts:
                self._do(acts)
        except Exception as error:
            self._fault(error)

    def _ask(self, *, hung_too: bool) -> None:
        """Ask the limits that the bot made itself, not from within one of them."""
        if not self._limits.whens or _asking.get():
            return
        token = _asking.set(True)
        try:
            acts = self._limits.ask(self._ask_one, hung_too=hung_too)
        finally:
            _asking.reset(token)
        if acts:
            self._do(acts)

    def _ask_one(self, fn: Callable[..., Any], *args: Any) -> timebox.Outcome[Any]:
        if self._threaded:
            outcome: timebox.Outcome[Any] = timebox.call(fn, *args, limit_s=_WHEN_S)
        else:
            try:
                outcome = timebox.Outcome("done", fn(*args))
            except Exception as error:
                outcome = timebox.Outcome("failed", None, error)
        if outcome.error is not None:
            with contextlib.suppress(Exception):
                self._faults.error("kill_switch.when", outcome.error)
        return outcome

    def _do(self, acts: list[Act], why: str | None = None, source: str | None = None) -> None:
        owed: list[BaseException] = []
        try:
            for act in acts:
                self._act(act, why, source, owed)
        finally:  # strict mode raises what callbacks raise, and Ctrl-C is raised always
            if any(act.what == "trip" for act in acts):
                for limits in tuple(self._series):
                    limits.save()
        self._strictly(owed)

    def _act(self, act: Act, why: str | None, source: str | None, owed: list[BaseException]) -> None:
        trigger, inputs = act.trigger, act.inputs
        if source is not None:
            inputs = {**inputs, "reported_by": source}
        if act.unknown and why:
            inputs = {"why": line(why, 100), **inputs}
        if act.what == "trip":
            reason = reason_of(trigger, inputs, unknown=act.unknown)
            self._trip(reason, trigger.target, trigger=trigger.called, inputs=inputs, source="trigger")
            return
        used = trigger.used()
        self._say(
            KillSwitchWarned(
                ts_ns=self._pace.wall(), trigger=trigger.called, why=act.what, inputs=inputs,
                used=None if used is None else round(used, 6),
                lasting=inputs.get("why") in _LASTING or None if act.unknown else None,
            ),
            owed,
        )  # fmt: skip

    def _fault(self, error: Exception) -> None:
        self._faults.error("kill_switch", error)

    # -- the exchange's own switch -----------------------------------------------------------------------------------

    @overload
    def keep_alive(self, fn: Fn, every: Any = "15s") -> Fn: ...

    @overload
    def keep_alive(self, fn: None = None, every: Any = "15s") -> Callable[[Fn], Fn]: ...

    def keep_alive(self, fn: Callable[[], Any] | None = None, every: Any = "15s") -> Any:
        """Call the exchange's "cancel all after" again and again while the bot is well; a decorator too.

        The calls stop when the switch is halted or the bot's loop is silent. In `reduce_only` they go on.

        Args:
            fn: The function, without arguments, sync or async; give the exchange some times `every`.
            every: How often.
        """
        if fn is None:
            return functools.partial(self.keep_alive, every=every)
        try:
            if not callable(fn):
                raise TypeError(f"keep_alive takes a function, not {type(fn).__name__}")
            keeping = KeepAlive(
                fn, period(every), unwell=self._unwell, pace=self._pace, faults=self._faults, publish=self._say,
                threaded=self._threaded,
            )  # fmt: skip
            keeping.caller.note_loop()
            self._keeping.append(keeping)
            keeping.start()
        except Exception as error:
            self._fault(error)
        return fn

    def _unwell(self) -> str | None:
        standing = self._standing
        if standing.level == 2:
            return f"halted: {standing.reason}"
        if self._silent is not None:
            age, limit, told = self._silent
            age += (self._pace.steady() - told) / 1e9  # whoever tells us may be silent too
            if age >= limit:
                return f"the bot's loop has been silent for {age:.0f} s"
        return None

    # -- its life ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The run begins: say how the switch was found, go on counting, and watch."""
        if self._folder is not None:
            requests.forget(self._folder)
        self._found()
        self._do(self._limits.load(), _DAMAGED)
        if self._watch is not None:
            self._watch.start()

    def flush(self, deadline: float) -> bool:  # noqa: ARG002  # as everything that is attached
        """Remember everything."""
        for limits in self._series:
            limits.save(sync=True)
        return self._retry()

    def close(self, deadline: float | None = None) -> bool:
        """The run ends. What it refuses, it still refuses."""
        until = time.monotonic() + 1.0 if deadline is None else deadline
        ended = [keeping.close(until) for keeping in self._keeping]
        if self._watch is not None:
            ended.append(self._watch.close(until))
        for limits in self._series:
            limits.close()
        self._caller.close()
        done = self._retry()
        if lacking := self._latch.lacking():
            act = "trip" if self._standing.level else "reset"
            self._faults.say("kill_switch.latch", "end", f"the bot ends, and {lacking}; botobs kill {act} can write it")
        self._latch.close()
        return done and all(ended)

    def abandon(self) -> None:
        """In a forked child: the files are the parent's, and there is no thread of ours."""
        self._latch.abandon()
        for limits in self._series:
            limits.abandon()
        self._refusals.abandon()
        self._forked()
        self._keeping = []
        if self._watch is not None:
            self._watch.abandon()
            self._watch = None


def _armed(triggers: Iterable[Any] | None, equity_floor: Decimal | None) -> list[Trigger]:
    """The limits of a bot: its own and the floor; without any of its own, the defaults."""
    if triggers is None:
        return defaults(equity_floor)
    armed = list(triggers)
    for trigger in armed:
        if not isinstance(trigger, Trigger):
            raise ConfigError(
                f"kill_switch: {type(trigger).__name__} is no trigger; it takes a list of those in botobs.triggers"
            )
    if equity_floor is not None and not any(isinstance(trigger, EquityBelow) for trigger in armed):
        armed.insert(0, EquityBelow(equity_floor))
    return armed
