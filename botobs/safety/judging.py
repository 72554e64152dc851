"""From what a trigger saw to what has to happen: a warning, a trip, the record of another one, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from botobs.safety.latch import LEVELS
from botobs.safety.triggers import Verdict

if TYPE_CHECKING:
    from botobs.safety.triggers import Trigger

__all__ = ["LONG", "Act", "blind", "judge"]

LONG: Final = "not known for a minute"
_LONG_NS: Final = 60 * 10**9

What = Literal["trip", "near", "unknown", "unconfirmed"]


class Act(NamedTuple):
    """What has to happen.

    Attributes:
        what: `trip`, or why to warn.
        trigger: Because of which limit.
        inputs: Its figures.
        unknown: It is not known whether the limit is broken.
    """

    what: What
    trigger: Trigger
    inputs: dict[str, Any]
    unknown: bool = False


def judge(trigger: Trigger, verdict: Verdict, level: int) -> list[Act]:
    """Take one observation into account; whoever calls holds the switch's lock.

    Args:
        trigger: What observed.
        verdict: What it saw.
        level: The switch's state now.
    """
    before = trigger.bad, trigger.warned, trigger.told
    unknown = verdict is Verdict.UNKNOWN
    whats: list[What] = []
    if unknown and not trigger.lost:
        whats.append("unknown")
        trigger.lost_at = trigger.pace.steady()
    trigger.lost = unknown
    trigger.blind = trigger.blind and unknown
    if verdict is Verdict.BROKEN or (unknown and trigger.on_unknown == "halt"):
        whats += _broken(trigger, level, unknown=unknown)
    elif not unknown:
        whats += _whole(trigger, verdict)
    trigger.settle()
    if before != (trigger.bad, trigger.warned, trigger.told):
        trigger.pressing = True
    return [Act(what, trigger, trigger.inputs(), unknown) for what in whats]


def blind(trigger: Trigger) -> list[Act]:
    """Say once that a figure has not been known for long: one bad value is a record, and no reason to wake anybody."""
    if not trigger.lost or trigger.blind or trigger.pace.steady() - trigger.lost_at < _LONG_NS:
        return []
    trigger.blind = True
    return [Act("unknown", trigger, {**trigger.inputs(), "why": LONG}, unknown=True)]


def _broken(trigger: Trigger, level: int, *, unknown: bool) -> list[What]:
    """The limit is broken, or passes for it."""
    trigger.bad = min(trigger.bad + 1, trigger.confirm)
    if trigger.bad < trigger.confirm:
        if trigger.warned or unknown:
            return []
        trigger.warned = True
        return ["unconfirmed"]
    # once for each time that it breaks, and again when there is more to do than was done
    if trigger.told and LEVELS[trigger.target] <= level:
        return []
    trigger.told = trigger.warned = True
    return ["trip"]


def _whole(trigger: Trigger, verdict: Verdict) -> list[What]:
    """The limit holds."""
    trigger.bad = 0
    trigger.told = False
    if verdict is Verdict.NEAR and not trigger.warned:
        trigger.warned = True
        return ["near"]
    if verdict is Verdict.FINE:
        trigger.warned = False
    return []
