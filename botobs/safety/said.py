"""What the switch says to the bot: a trip, a drill's report, the answer to a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from botobs.errors import TradingHalted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.safety.callbacks import Called
    from botobs.safety.latch import Standing
    from botobs.safety.triggers import Trigger

__all__ = ["Answer", "Drilled", "Trip", "halted", "lacking", "line", "reason_of"]


@attrs.frozen
class Trip:
    """What a callback of `on_trip` gets.

    Attributes:
        reason: Why.
        trigger: The limit that was broken, such as `EquityBelow(9000)`; `None`: somebody pulled the switch.
        inputs: The figures that decided it.
        state: What the switch is now: `halted` or `reduce_only`. In a drill: what a trip would make it.
        ts: When it was decided (RFC 3339).
        drill: Nothing has happened; show that you would act.
    """

    reason: str
    trigger: str | None = None
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    state: str = "halted"
    ts: str = ""
    drill: bool = False


@attrs.frozen
class Drilled:
    """What a drill found.

    Attributes:
        took_ms: From the decision to the end of the last callback.
        written_ms: From the decision until the operating system had the state file.
        durable: Whether the disk took it.
        callbacks: How each ended.
    """

    took_ms: float
    written_ms: float
    durable: bool
    callbacks: tuple[Called, ...]

    @property
    def ok(self) -> bool:
        """Whether everything did what it should."""
        return self.durable and all(called.outcome in ("done", "started") for called in self.callbacks)

    def __bool__(self) -> bool:
        return self.ok

    def record(self) -> dict[str, Any]:
        """As `botobs kill drill --json` prints it."""
        callbacks = [called.record() for called in self.callbacks]
        return {
            "ok": self.ok, "took_ms": self.took_ms, "written_ms": self.written_ms, "durable": self.durable,
            "callbacks": callbacks,
        }  # fmt: skip


@attrs.frozen
class Answer:
    """Whether a reset was done; false if not.

    Attributes:
        ok: Whether.
        reason: Why not, or what else there is to know.
    """

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


def halted(standing: Standing) -> TradingHalted:
    """The error that a guard raises."""
    error = TradingHalted(f"trading is {standing.state} since {standing.since}: {standing.reason}")
    vars(error).update(state=standing.state, reason=standing.reason, since=standing.since)
    return error


def lacking(by: str, reason: str) -> str | None:
    """What a reset needs and has not got; `None`: nothing.

    Example:
        >>> lacking("ann", "")
        'a reset needs a reason'
    """
    missing = [what for what, given in (("a name (by)", by), ("a reason", reason)) if not given]
    return f"a reset needs {' and '.join(missing)}" if missing else None


def reason_of(trigger: Trigger, inputs: Mapping[str, Any], *, unknown: bool) -> str:
    """Why a limit trips, in words."""
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inputs.items() if value is not None)
    if unknown:
        return f"{trigger.called}: what it counts is not known" + (f" ({said})" if said else "")
    return f"{trigger.called} is broken" + (f": {said}" if said else "")


def line(value: object, longest: int = 300) -> str:
    """`value` as one line of text; never raises."""
    try:
        return " ".join(str(value).split())[:longest] if value is not None else ""
    except Exception:  # an object that cannot say what it is
        return type(value).__name__
