"""From what a trigger saw to what has to happen: a warning, a trip, the record of another one, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botobs.safety.latch import LEVELS
from botobs.safety.triggers import Verdict

if TYPE_CHECKING:
    from botobs.safety.triggers import Trigger

__all__ = ["Act", "judge"]


class Act(NamedTuple):
    """What has to happen.

    Attributes:
        what: `trip`, or why to warn.
        trigger: Because of which limit.
        inputs: Its figures.
        unknown: It is not known whether the limit is broken.
    """

    what: Literal["trip", "near", "unknown", "unconfirmed"]
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
    acts: list[Act] = []
    before = trigger.bad, trigger.warned, trigger.told

    def act(what: Literal["trip", "near", "unknown", "unconfirmed"], *, unknown: bool = False) -> None:
        acts.append(Act(what, trigger, trigger.inputs(), unknown))

    unknown = verdict is Verdict.UNKNOWN
    if unknown:
        if not trigger.lost:
            trigger.lost = True
            act("unknown", unknown=True)
        if trigger.on_unknown == "halt":
            verdict = Verdict.BROKEN
    else:
        trigger.lost = False
    if verdict is Verdict.BROKEN:
        trigger.bad = min(trigger.bad + 1, trigger.confirm)
        if trigger.bad < trigger.confirm:
            if not trigger.warned and not unknown:
                trigger.warned = True
                act("unconfirmed")
        # once for each time that it breaks, and again when there is more to do than was done
        elif not trigger.told or LEVELS[trigger.target] > level:
            trigger.told = trigger.warned = True
            act("trip", unknown=unknown)
    elif not unknown:
        trigger.bad = 0
        trigger.told = False
        if verdict is Verdict.NEAR and not trigger.warned:
            trigger.warned = True
            act("near")
        elif verdict is Verdict.FINE:
            trigger.warned = False
    trigger.settle()
    if before != (trigger.bad, trigger.warned, trigger.told):
        trigger.pressing = True
    return acts
