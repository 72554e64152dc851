"""All limits of one switch: what each is told, what it makes of it, and what has to be remembered."""

from __future__ import annotations

import contextlib
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import ZERO, number
from botobs.safety.judging import Act, blind, judge
from botobs.safety.latch import LEVELS
from botobs.safety.triggers import (
    ConsecutiveLosses,
    EquityBelow,
    Errors,
    Facts,
    Rejections,
    SameBarRoundTrip,
    Silence,
    Stale,
    Trigger,
    Verdict,
    When,
)
from botobs.safety.triggers.equity import DailyLoss, FromPeak, OfEquity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from botobs.faults import Faults
    from botobs.safety.latch import Standing
    from botobs.safety.memory import Memory
    from botobs.safety.pace import Pace
    from botobs.timebox import Outcome

__all__ = ["Limits", "decimal_of", "defaults"]

_ENDLESS = Decimal("Infinity")
_SYNC_EVERY = 10  # chores
_SEQ = "switch"  # under which change of the switch it was written


def defaults(equity_floor: Decimal | float | str | None) -> list[Trigger]:
    """What a bot has that names no triggers: none without a floor.

    Example:
        >>> [trigger.label for trigger in defaults(9000)]
        ['EquityBelow(9000)', 'Rejections(10, 600)']
    """
    if equity_floor is None:
        return []
    return [EquityBelow(equity_floor), Rejections(10, within="10m")]


class Limits:
    """Tells triggers what happens, one thread at a time.

    Args:
        triggers: As the bot made them; copies are used.
        pace: Tells them the time.
        memory: Where peaks and counts are kept.
        faults: Where a trigger that fails is counted.
        standing: Asked where the switch stands.

    Attributes:
        lock: Held over each observation, never while anybody's function runs.
        facts: The latest of everything.
    """

    def __init__(
        self,
        triggers: Iterable[Trigger],
        *,
        pace: Pace,
        memory: Memory,
        faults: Faults,
        standing: Callable[[], Standing],
    ) -> None:
        self.lock = threading.RLock()
        self.triggers = [attrs.evolve(trigger) for trigger in triggers]
        for trigger in self.triggers:
            trigger.begin(pace)
        self._standing = standing
        self._memory = memory
        self._faults = faults
        self._pace = pace
        self._turn = 0
        self.facts = Facts()
        self._of_equity = [trigger for trigger in self.triggers if isinstance(trigger, OfEquity)]
        self.rejections = [trigger for trigger in self.triggers if isinstance(trigger, Rejections)]
        self.errors = [trigger for trigger in self.triggers if isinstance(trigger, Errors)]
        self.losses = [trigger for trigger in self.triggers if isinstance(trigger, ConsecutiveLosses)]
        self.bars = [trigger for trigger in self.triggers if isinstance(trigger, SameBarRoundTrip)]
        self.stale = [trigger for trigger in self.triggers if isinstance(trigger, Stale)]
        self.silences = [trigger for trigger in self.triggers if isinstance(trigger, Silence)]
        self.whens = [trigger for trigger in self.triggers if isinstance(trigger, When)]
        self._equity: Decimal | None = None
        self._peak: Decimal | None = None
        self._moved: Decimal = ZERO
        self._calm, self._top = _ENDLESS, -_ENDLESS
        self._until: int | None = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def quiet(self, value: Any, moved: Any) -> bool:
        """Take notice of an equity that no limit minds; false: `equity` has to look.

        Nearly all are such, so this is a few comparisons, and no lock.
        """
        if (
            value.__class__ is Decimal
            and self._calm <= value <= self._top
            and (moved is self._moved or moved == self._moved)
            and (self._until is None or self._pace.steady() < self._until)
        ):
            self._equity = value
            return True
        return False

    @property
    def of_equity(self) -> bool:
        """Whether there is a limit of equity."""
        return bool(self._of_equity)

    def equity(self, value: Any, peak: Any, moved: Any) -> list[Act]:
        """Equity was observed; what is no number is unknown."""
        known, top, shift = decimal_of(value), decimal_of(peak), decimal_of(moved)
        acts: list[Act] = []
        with self.lock:
            self._calm = _ENDLESS  # until all have looked, all have to
            self._catch_up()
            if known is not None:
                self._equity = known
                if top is not None:
                    self._peak = top
                if shift is not None:
                    self._moved = shift
            for trigger in self._of_equity:
                try:
                    verdict = trigger.observe(known, top, self._moved)
                except Exception as error:
                    verdict = self._failed(error)
                if verdict or trigger.restless:
                    acts += judge(trigger, verdict, self._standing().level)
            self._press(self._of_equity, acts)
            if not acts:  # else the next one has to look anyway, and somebody waits for a trip
                self._widen()
        return acts

    def _catch_up(self) -> None:
        """What was taken notice of quietly, the triggers have to know now."""
        for trigger in self._of_equity:
            if trigger.value is not None and self._equity is not None:
                trigger.value = self._equity

    def _widen(self) -> None:
        """Between which figures, and until when, nothing can happen."""
        triggers = self._of_equity
        if any(trigger.restless or trigger.value is None or trigger.stale_after is not None for trigger in triggers):
            return
        tops = [trigger.top for trigger in triggers if isinstance(trigger, FromPeak) and trigger.top is not None]
        days = [trigger for trigger in triggers if isinstance(trigger, DailyLoss)]
        self._top = min(tops, default=_ENDLESS)
        if days:
            self._until = self._pace.until_tomorrow(days[0].day)
        self._calm = max((trigger.calm_at for trigger in triggers), default=-_ENDLESS)

    def assume_told(self) -> None:
        """Equity was told before: where a replay begins in the middle, the first of its records is not the first."""
        for trigger in self._of_equity:
            trigger.known_at = self._pace.steady()

    def observe(self, triggers: list[Any], *args: Any, **named: Any) -> list[Act]:
        """Something else happened."""
        acts: list[Act] = []
        with self.lock:
            for trigger in triggers:
                try:
                    verdict = trigger.observe(*args, **named)
                except Exception as error:
                    verdict = self._failed(error)
                if verdict is not None and (verdict or trigger.restless):
                    acts += judge(trigger, verdict, self._standing().level)
            self._press(triggers, acts)
        return acts

    def ask(self, call: Callable[..., Outcome[Any]], *, hung_too: bool) -> list[Act]:
        """Ask the bot's own limits; `call` limits their time. Nothing is locked meanwhile."""
        if not self.whens:
            return []
        with self.lock:
            self.facts = attrs.evolve(self.facts, equity=self._equity, peak=self._peak, transferred=self._moved)
        acts: list[Act] = []
        for trigger in self.whens:
            if not trigger.hung or hung_too:
                facts = self.facts
                outcome = call(trigger.ask, facts)
                acts += self.observe([trigger], facts, outcome)
        return acts

    def heard(self, *, ages: Mapping[str, float] | None = None, silent_s: float | None = None) -> None:
        """How silent it is, for the bot's own limits."""
        if self.whens:
            more = {"ages": dict(ages)} if ages is not None else {"silent_s": silent_s}
            with self.lock:
                self.facts = attrs.evolve(self.facts, **more)

    def passing(self) -> list[Act]:
        """Time has passed."""
        if not self.triggers:
            return []
        acts: list[Act] = []
        self._pace.now()  # a clock that is corrected little by little is believed
        with self.lock:
            self._catch_up()
            if self._until is not None:
                self._calm = _ENDLESS  # the clock may have been set: the next equity looks which day it is
            for trigger in self.triggers:
                try:
                    verdict = trigger.passing()
                except Exception as error:
                    verdict = self._failed(error)
                if verdict is not None:
                    acts += judge(trigger, verdict, self._standing().level)
                else:
                    acts += blind(trigger)
            self._turn += 1
            if any(trigger.stirred or trigger.pressing for trigger in self.triggers) or self._equity_moved():
                self._save()
        if self._turn % _SYNC_EVERY == 0:
            self._sync()
        return acts

    # -- what is remembered ------------------------------------------------------------------------------------------

    def load(self) -> list[Act]:
        """Go on where the last run ended. What cannot be read is unknown, and each trigger has a policy for that."""
        acts: list[Act] = []
        standing = self._standing()
        with self.lock:
            kept, damage = self._memory.load()
            for key, trigger in self._keyed():
                try:
                    if key in kept:
                        trigger.restore(kept[key])
                    elif damage is not None:
                        acts += judge(trigger, Verdict.UNKNOWN, standing.level)
                except Exception as error:
                    acts += judge(trigger, self._failed(error), standing.level)
            if kept and not standing.level and standing.by is not None and kept.get(_SEQ) != standing.seq:
                self.rearm()  # it was reset while the bot was down
            for trigger in self.triggers:
                if trigger.told and LEVELS[trigger.target] > standing.level:  # killed between decision and latch
                    acts.append(Act("trip", trigger, trigger.inputs()))
            self._save()
        return acts

    def broken(self) -> list[str]:
        """Limits on equity, in words, that the last known equity is beyond: a floor stays where it is."""
        with self.lock:
            known = [trigger for trigger in self._of_equity if trigger.value is not None]
            return [trigger.called for trigger in known if trigger.breaks(trigger.value)]  # type: ignore[arg-type]

    def rearm(self) -> None:
        """The switch was reset."""
        with self.lock:
            self._catch_up()
            self._calm = _ENDLESS
            for trigger in self.triggers:
                trigger.rearm()
            self._save()

    def save(self, *, sync: bool = False) -> None:
        """Remember everything now."""
        with self.lock:
            self._catch_up()
            self._save()
        if sync:
            self._sync()

    def close(self) -> None:
        """Remember everything, and give the file back."""
        self.save(sync=True)
        self._memory.close()

    def abandon(self) -> None:
        """In a forked child: the file is the parent's, and the lock may be held by a thread that is not here."""
        self.lock = threading.RLock()
        self._memory.abandon()

    def _keyed(self) -> list[tuple[str, Trigger]]:
        seen: dict[str, int] = {}
        found = []
        for trigger in self.triggers:
            turn = seen[trigger.key] = seen.get(trigger.key, 0) + 1
            found.append((trigger.key if turn == 1 else f"{trigger.key}#{turn}", trigger))
        return found

    def _press(self, triggers: Iterable[Trigger], acts: list[Act]) -> None:
        """Remember what must not be lost; but before a trip nothing comes, it is remembered right after."""
        if any(trigger.pressing for trigger in triggers) and not any(act.what == "trip" for act in acts):
            self._save()

    def _equity_moved(self) -> bool:
        """The last equity of a day is where the next one begins."""
        return any(trigger.value is not trigger.saved for trigger in self._of_equity)

    def _save(self) -> None:
        states: dict[str, Any] = {_SEQ: self._standing().seq}
        for key, trigger in self._keyed():
            states[key] = trigger.state()
            trigger.pressing = trigger.stirred = False
        for trigger in self._of_equity:
            trigger.saved = trigger.value
        if not self._memory.save(states):
            self._refused("do not survive this process")

    def _sync(self) -> None:
        if not self._memory.sync():
            self._refused("do not survive a crash of the machine")

    def _refused(self, meaning: str) -> None:
        """The disk did; it is asked again, and limits go on in memory."""
        memory = self._memory
        error = OSError(f"{memory.path} could not be written ({memory.trouble}): peaks and counts of limits {meaning}")
        with contextlib.suppress(OSError):  # strict: counted, and a limit that is broken has to trip all the same
            self._faults.error("kill_switch.memory", error)

    def _failed(self, error: Exception) -> Verdict:
        try:
            self._faults.error("kill_switch.trigger", error)
        except Exception:  # strict: counted, and the other triggers have to be asked
            return Verdict.UNKNOWN
        return Verdict.UNKNOWN


def decimal_of(value: Any) -> Decimal | None:
    """`value` as a finite number; `None` for what is none."""
    if type(value) is Decimal:
        return value if value.is_finite() else None
    if value is None:
        return None
    try:
        return number(value)
    except (ValueError, TypeError):
        return None
