"""The switch itself: where it stands, and what happens when it is thrown."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import attrs

from botobs.config.values import period
from botobs.events.switch import (
    KillSwitchAnswered,
    KillSwitchDrilled,
    KillSwitchTripped,
    KillSwitchTrippedAgain,
)
from botobs.safety.aside import Aside
from botobs.safety.callbacks import Called, Caller, Flattening, flattening, is_async, name_of
from botobs.safety.latch import HALTED, LEVELS, REDUCE_ONLY, Latch, Standing
from botobs.safety.said import Drilled, Trip, line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.safety.limits import Limits
    from botobs.safety.pace import Pace

__all__ = ["Core"]

_LIMIT_S: Final = 5.0
_MOST_CALLBACKS: Final = 100


F = TypeVar("F", bound="Callable[[Trip], Any]")


@attrs.frozen
class _Callback:
    fn: Callable[[Trip], Any]
    limit_s: float | None  # `None`: none, on the thread that trips
    name: str
    is_async: bool


def _nobody_to_hurry() -> None:
    """There is no background work."""


class Core:
    """What trips and latches; `Arming` adds who may put it back, `KillSwitch` what it is told and what it refuses.

    Attributes:
        shut: Whether anything has to be looked at before an order passes; all that is read while it is active.
        hurry: Called as soon as a trip is decided: background work should stand aside.
    """

    def __init__(
        self,
        *,
        folder: Path | None,
        pace: Pace,
        faults: Faults,
        publish: Callable[[Event], object],
        has_fills: bool,
        threaded: bool,
    ) -> None:
        self._pace = pace
        self._faults = faults
        self._publish = publish
        self._threaded = threaded
        self._has_fills = has_fills
        self._folder = folder
        self._drilling = False  # because somebody outside asked for it
        self._latch = Latch(folder)
        self._standing = self._latch.load(has_fills=has_fills, now=pace.text())
        self._changing = threading.RLock()  # held for as long as it takes to decide, never while anybody's code runs
        self._callbacks: tuple[_Callback, ...] = ()
        self._epoch = 0  # counts trips and resets of this run
        self._asides: list[Aside] = []  # of trips whose callbacks run
        self._caller = Caller("kill_switch.callback", faults, threaded=threaded)
        self._series: list[Limits] = []
        self.shut = self._standing.level > 0
        self.hurry: Callable[[], object] = _nobody_to_hurry

    def __repr__(self) -> str:
        standing = self._standing
        why = f": {standing.reason}" if standing.level else ""
        return f"<{type(self).__name__} {standing.state} since {standing.since}{why}>"

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """`active`, `reduce_only` or `halted`."""
        return self._standing.state

    @property
    def level(self) -> int:
        """The state as a number: 0, 1 or 2."""
        return self._standing.level

    @property
    def reason(self) -> str | None:
        """Why it is not active; `None` if it is."""
        return self._standing.reason if self._standing.level else None

    @property
    def since(self) -> str:
        """Since when it is what it is (RFC 3339)."""
        return self._standing.since

    def status(self) -> dict[str, Any]:
        """What `botobs kill status --json` prints."""
        standing = self._standing
        said = {"state": standing.state, "reason": self.reason, "since": standing.since}
        more = {"trigger": standing.trigger, "inputs": standing.inputs, "by": standing.by}
        return {**said, **{key: value for key, value in more.items() if value is not None}}

    # -- who is called -----------------------------------------------------------------------------------------------

    @overload
    def on_trip(self, fn: F, timeout: Any = "5s") -> F: ...

    @overload
    def on_trip(self, fn: None = None, timeout: Any = "5s") -> Callable[[F], F]: ...

    def on_trip(self, fn: Callable[[Trip], Any] | None = None, timeout: Any = "5s") -> Any:
        """Call `fn(trip)` when the switch is tripped; a decorator, with and without arguments.

        Callbacks run in the order they were registered, each within its limit, an async one on the bot's event loop.
        Inside one, stages with `reduces=True` pass while the switch is halted: that is how it flattens.

        With a limit, a sync function runs on a thread of its own, so that it can be given up. With `timeout=None` it is
        called on the very thread that trips, at once: the one that reported the price, or the loop's, or a thread of
        botobs when the trip comes from outside or from the passing of time. That is for what takes no time: setting a
        flag, cancelling the loop's tasks, pressing a button. If it hangs, it hangs the bot: nobody behind it is called,
        and the verb never returns.

        Args:
            fn: The function, sync or async.
            timeout: How long the others wait for it; it may go on by itself. `None`: no limit. An async function has
                none then, and everybody but the loop's own thread waits until it has ended.
        """
        if fn is None:
            return functools.partial(self.on_trip, timeout=timeout)
        try:
            self._register(fn, timeout)
        except Exception as error:
            self._faults.error("kill_switch.on_trip", error)
        return fn

    def _register(self, fn: Callable[[Trip], Any], timeout: Any) -> None:
        if not callable(fn):
            raise TypeError(f"on_trip takes a function, not {type(fn).__name__}")
        try:
            limit_s = None if timeout is None else period(timeout)
        except (ValueError, TypeError) as error:
            self._faults.say("kill_switch.on_trip", "timeout", f"timeout of {name_of(fn)}: {error}; it gets 5 s")
            limit_s = _LIMIT_S
        with self._changing:
            if any(known.fn is fn for known in self._callbacks):
                return
            if len(self._callbacks) >= _MOST_CALLBACKS:
                raise ValueError(f"{_MOST_CALLBACKS} callbacks are the most")
            self._callbacks = (*self._callbacks, _Callback(fn, limit_s, name_of(fn), is_async(fn)))
        self._caller.warm()
        self._look_at_orders()

    def _look_at_orders(self) -> None:
        """Whether an order has to be looked at: while tripped, and until the loop of an async callback is known."""
        with self._changing:  # a trip in between would be overlooked
            waits = self._caller.loop is None and any(callback.is_async for callback in self._callbacks)
            self.shut = self._standing.level > 0 or waits

    # -- tripping ----------------------------------------------------------------------------------------------------

    def trip(
        self,
        reason: str,
        *,
        target: str = HALTED,
        trigger: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        drill: bool = False,
    ) -> Trip | None:
        """Stop trading. On return it is on the disk, and everybody registered was called.

        Args:
            reason: Why; it is shown with every order refused.
            target: `halted`, or `reduce_only`.
            trigger: What decided it, if not a person.
            inputs: The figures that decided it.
            drill: Only as a drill; see `drill`.

        Returns:
            The trip, or `None` for a drill.
        """
        if drill:
            self.drill(line(reason) or "drill")
            return None
        wanted = target if target in (HALTED, REDUCE_ONLY) else HALTED
        try:
            figures = dict(inputs) if inputs is not None else None
        except Exception:  # no mapping: the trip matters more
            figures = {"inputs": line(inputs)}
        return self._trip(line(reason) or "no reason given", wanted, trigger=trigger, inputs=figures)

    def _trip(
        self,
        reason: str,
        target: str,
        *,
        trigger: str | None = None,
        inputs: dict[str, Any] | None = None,
        source: str = "bot",
        by: str | None = None,
        written: Standing | None = None,
    ) -> Trip:
        begun = time.perf_counter()
        ts_ns = self._pace.wall()
        ts = self._pace.stamp(ts_ns)
        seq, damage = (0, None) if written is None else (written.seq, written.damage)
        with self._changing:
            before = self._standing
            again = LEVELS[target] <= before.level
            if not again:
                now = Standing(max(before.seq + 1, seq), target, reason, ts, trigger, inputs, by, None, damage)
                self._standing, self.shut = now, True  # latched, from here on
                self._epoch += 1
                self.hurry()
            epoch = self._epoch
        trip = Trip(reason, trigger, inputs or {}, target, ts)
        if again:
            self._say(
                KillSwitchTrippedAgain(
                    ts_ns=ts_ns, state=before.state, reason=reason, trigger=trigger, inputs=inputs, source=source
                )
            )
            return trip
        owed: list[BaseException] = []  # raised when everybody was called: Ctrl-C, an exit, and all in strict mode
        durable = self._write(now, owed)
        aside = Aside(lambda: self._record(ts_ns, before, now, source, owed, durable=durable))
        if not self._threaded:
            aside.wait_inline()
        called = self._call_all(trip, epoch, aside, owed)
        took_ms = round((time.perf_counter() - begun) * 1e3, 3)
        _wait(aside, owed)
        if called:
            self._say(
                KillSwitchAnswered(
                    ts_ns=ts_ns, reason=reason, callbacks=[one.record() for one in called], took_ms=took_ms
                ),
                owed,
            )
        self._retry()
        self._strictly(owed)
        return trip

    def _write(self, now: Standing, owed: list[BaseException]) -> bool:
        """Bring it to the operating system; whether it has it. It holds already, so nothing may come in between."""
        for _ in range(2):
            try:
                return self._latch.write(now)
            except Exception as error:
                self._fail(error, owed)
            except BaseException as error:  # a signal handler raised
                owed.append(error)
        return False

    def _retry(self) -> bool:
        """Write what the disk did not take, and say so when it has; whether it has it all."""
        if not self._latch.unsaved:
            return True
        done, now = self._latch.retry(), self._standing
        if done:
            self._faults.say("kill_switch.latch", f"saved {now.seq}", f"the disk has it that the switch is {now.state}")
        return done

    def _fail(self, error: Exception, owed: list[BaseException], where: str = "kill_switch") -> None:
        try:
            self._faults.error(where, error)
        except Exception as raised:  # strict
            owed.append(raised)

    def _record(
        self, ts_ns: int, before: Standing, now: Standing, source: str, owed: list[BaseException], *, durable: bool
    ) -> None:
        """Write down the trip, and wait for the disk."""
        self._faults.say("kill_switch", f"trip {now.seq}", f"the kill switch is {now.state}: {now.reason}")
        self._say(
            KillSwitchTripped(
                ts_ns=ts_ns, state=now.state, previous=before.state, reason=now.reason, trigger=now.trigger, by=now.by,
                inputs=now.inputs, source=source, durable=durable,
            ),
            owed,
        )  # fmt: skip
        synced = self._latch.sync()
        if lacking := self._latch.lacking():
            self._fail(OSError(f"{lacking}; it is tried again all the time"), owed, "kill_switch.latch")
        elif not synced:
            why = f"the disk does not confirm the trip ({self._latch.trouble}): a crash of the machine may undo it"
            self._fail(OSError(why), owed, "kill_switch.latch")

    def _call_all(self, trip: Trip, epoch: int | None, aside: Aside, owed: list[BaseException]) -> list[Called]:
        """Everybody registered, in order; nobody's failure is another's."""
        token = flattening.set(None if epoch is None else Flattening(self, epoch))
        self._caller.note_loop()
        self._asides.append(aside)
        late = functools.partial(self._tell_late, trip)
        called: list[Called] = []
        try:
            called.extend(self._called(callback, trip, aside.start, late, owed) for callback in self._callbacks)
        finally:
            flattening.reset(token)
            aside.start()
            self._asides.remove(aside)
        return called

    def _called(
        self,
        callback: _Callback,
        trip: Trip,
        meanwhile: Callable[[], object],
        late: Callable[[Called], object],
        owed: list[BaseException],
    ) -> Called:
        try:
            if callback.limit_s is None and not callback.is_async:
                return self._caller.here(callback.fn, trip, name=callback.name, meanwhile=meanwhile, late=late)
            return self._caller.call(
                callback.fn, trip, limit_s=callback.limit_s, name=callback.name, awaits=callback.is_async,
                meanwhile=meanwhile, late=late,
            )  # fmt: skip
        except BaseException as error:  # strict, Ctrl-C, an exit on SIGTERM: the others have to be called first
            owed.append(error)
            return Called(callback.name, "failed", 0.0, line(error) or type(error).__name__)

    def _tell_late(self, trip: Trip, one: Called) -> None:
        """What nobody waited for has ended."""
        if not trip.drill:
            self._say(
                KillSwitchAnswered(
                    ts_ns=self._pace.wall(), reason=trip.reason, callbacks=[one.record()], took_ms=one.took_ms,
                    late=True,
                ),
                [],  # strict: there is nobody to raise it to
            )  # fmt: skip

    def _record_overdue(self) -> None:
        """The record of a trip does not wait for a callback that has no limit and no end."""
        for aside in tuple(self._asides):
            aside.start()

    def settle(self, deadline: float) -> bool:
        """Have the trips recorded whose callbacks still run, such as one that ends the bot; whether all are in time."""
        asides = tuple(self._asides)
        for aside in asides:
            aside.start()
        return all(aside.wait(deadline - time.monotonic()) for aside in asides)

    def _strictly(self, owed: list[BaseException]) -> None:
        """Raise what waited until everybody was called: first what is no error, such as Ctrl-C."""
        ends = [error for error in owed if not isinstance(error, Exception)]
        for error in ends or (owed if self._faults.strict else ()):
            raise error

    def drill(self, reason: str = "drill", *, source: str = "bot") -> Drilled:
        """Go the whole way of a trip, and change nothing: callbacks get a `Trip` whose `drill` is true.

        The state file is written with what it says already, and everybody registered is called.
        """
        begun = time.perf_counter()
        ts_ns = self._pace.wall()
        ts = self._pace.stamp(ts_ns)
        trip = Trip(line(reason) or "drill", None, {}, HALTED, ts, drill=True)
        durable = self._latch.rehearse()
        written_ms = round((time.perf_counter() - begun) * 1e3, 3)
        owed: list[BaseException] = []
        synced: list[bool] = []
        aside = Aside(lambda: synced.append(self._latch.sync()))
        if not self._threaded:
            aside.wait_inline()
        called = self._call_all(trip, None, aside, owed)
        took_ms = round((time.perf_counter() - begun) * 1e3, 3)
        _wait(aside, owed)
        found = Drilled(took_ms, written_ms, durable and synced == [True], tuple(called))
        self._say(
            KillSwitchDrilled(
                ts_ns=ts_ns, state=self.state, previous=self.state, reason=trip.reason, drill=True,
                callbacks=[one.record() for one in called], took_ms=took_ms, written_ms=written_ms,
                durable=found.durable, source=source,
            ),
            owed,
        )  # fmt: skip
        self._strictly(owed)
        return found

    def _forked(self) -> None:
        """In a forked child: locks may be held by threads that do not exist here."""
        self._changing = threading.RLock()

    def _say(self, event: Event, owed: list[BaseException] | None = None) -> None:
        """Publish; whatever that does, what the switch does goes on.

        Args:
            event: What happened.
            owed: Takes what is raised in strict mode, for whoever has more to do; `None`: it is raised here.
        """
        try:
            self._publish(event)
        except Exception as error:
            try:
                self._faults.error("kill_switch.record", error)
            except Exception as raised:  # strict
                if owed is None:
                    raise
                owed.append(raised)


def _wait(aside: Aside, owed: list[BaseException]) -> None:
    try:
        aside.wait()
    except BaseException as error:  # a signal handler raised: what the callbacks did is recorded first
        owed.append(error)
