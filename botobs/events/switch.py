"""What happens to the kill switch. Every one of these is a line of `kill_switch.jsonl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance
from .safety import KillSwitchChanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "KeepAliveChanged",
    "KeepAliveFailed",
    "KillSwitchAnswered",
    "KillSwitchDrilled",
    "KillSwitchFound",
    "KillSwitchRefused",
    "KillSwitchReset",
    "KillSwitchResetRefused",
    "KillSwitchTripped",
    "KillSwitchTrippedAgain",
    "KillSwitchWarned",
]


@attrs.frozen(kw_only=True)
class _OfSwitch(Event):
    stream: ClassVar[str | None] = "kill_switch"
    importance: ClassVar[Importance] = Importance.CRITICAL


@attrs.frozen(kw_only=True)
class KillSwitchTripped(KillSwitchChanged):
    """A limit was broken, or somebody pulled the switch.

    Attributes:
        inputs: The figures that decided it.
        source: `trigger`, `bot`, `outside` (another process) or `state file` (it is damaged).
        durable: Whether the operating system had it before anybody was called; if not, it is tried again.
    """

    stream: ClassVar[str | None] = "kill_switch"
    kind: ClassVar[str | None] = "trip"
    at_once: ClassVar[bool] = True

    inputs: Mapping[str, Any] | None = None
    source: str = "bot"
    durable: bool | None = None


@attrs.frozen(kw_only=True)
class KillSwitchTrippedAgain(_OfSwitch):
    """It was tripped again while tripped already: recorded, and nobody was called.

    Attributes:
        state: What it is, and stays.
        reason: Why it was tripped this time.
        trigger: What tripped it.
        inputs: The figures that decided it.
        source: As of `KillSwitchTripped`.
        again: Always true.
    """

    kind: ClassVar[str | None] = "trip"

    state: str
    reason: str
    trigger: str | None = None
    inputs: Mapping[str, Any] | None = None
    source: str = "bot"
    again: bool = True


@attrs.frozen(kw_only=True)
class KillSwitchFound(KillSwitchChanged):
    """The run began with a switch that is not active.

    Attributes:
        since: When it was tripped (RFC 3339).
        inputs: The figures that decided it then.
        damage: What is wrong with the state file, if that is why.
    """

    stream: ClassVar[str | None] = "kill_switch"
    kind: ClassVar[str | None] = "found"

    since: str | None = None
    inputs: Mapping[str, Any] | None = None
    damage: str | None = None


@attrs.frozen(kw_only=True)
class KillSwitchReset(KillSwitchChanged):
    """Somebody armed it again.

    Attributes:
        source: `bot` or `outside`.
        durable: Whether the operating system has it; if not, the next start finds it tripped still.
    """

    stream: ClassVar[str | None] = "kill_switch"
    kind: ClassVar[str | None] = "reset"
    at_once: ClassVar[bool] = True

    source: str = "bot"
    durable: bool | None = None


@attrs.frozen(kw_only=True)
class KillSwitchResetRefused(_OfSwitch):
    """Somebody tried to arm it again, and was not allowed to.

    Attributes:
        state: What it is, and stays.
        by: Who tried.
        reason: Why.
        refused: Why not.
        source: `bot` or `outside`.
        allowed: Always false.
    """

    kind: ClassVar[str | None] = "reset"
    importance: ClassVar[Importance] = Importance.HIGH

    state: str
    by: str
    reason: str
    refused: str
    source: str = "bot"
    allowed: bool = False


@attrs.frozen(kw_only=True)
class KillSwitchAnswered(_OfSwitch):
    """What the functions called by a trip did.

    Attributes:
        callbacks: `name`, `outcome` (`done`, `failed`, `hung`, `started`), `took_ms` and `error` of each.
        took_ms: From the decision to the end of the last one.
        late: It was started on the bot's loop, and nobody waited for it; `took_ms` is its own time then.
    """

    kind: ClassVar[str | None] = "callbacks"

    reason: str
    callbacks: Sequence[Mapping[str, Any]]
    took_ms: float
    late: bool | None = None

    @property
    def failed(self) -> list[str]:
        """Those that did not do what they were for, and why."""
        return _failed(self.callbacks)


@attrs.frozen(kw_only=True)
class KillSwitchDrilled(KillSwitchChanged):
    """A drill: the whole way of a trip, and nothing changed.

    Attributes:
        callbacks: As of `KillSwitchAnswered`.
        took_ms: From the decision to the end of the last callback.
        written_ms: From the decision until the operating system had it.
        durable: Whether the disk took it.
        source: `bot` or `outside`.
    """

    stream: ClassVar[str | None] = "kill_switch"
    kind: ClassVar[str | None] = "drill"

    callbacks: Sequence[Mapping[str, Any]]
    took_ms: float
    written_ms: float
    durable: bool
    source: str = "bot"

    @property
    def failed(self) -> list[str]:
        """What a trip would not have done, and why."""
        return [*_failed(self.callbacks), *(() if self.durable else ("the disk did not take it",))]


def _failed(callbacks: Sequence[Mapping[str, Any]]) -> list[str]:
    bad = [one for one in callbacks if one.get("outcome") in ("failed", "hung")]
    return [f"{one.get('name')} {one['outcome']}: {one.get('error') or 'no word why'}" for one in bad]


@attrs.frozen(kw_only=True)
class KillSwitchWarned(_OfSwitch):
    """A limit is near, its figure is not known, or it is broken but not confirmed.

    Attributes:
        trigger: Which limit.
        why: `near`, `unknown` or `unconfirmed`.
        used: How much of the limit is used: 0.8 is 80 %.
        inputs: The figures.
        lasting: It is no single bad value that made it unknown; so an alert follows.
    """

    kind: ClassVar[str | None] = "warning"
    importance: ClassVar[Importance] = Importance.HIGH

    trigger: str
    why: str
    used: float | None = None
    inputs: Mapping[str, Any] | None = None
    lasting: bool | None = None


@attrs.frozen(kw_only=True)
class KillSwitchRefused(_OfSwitch):
    """An order was not let through.

    Attributes:
        state: The switch's state.
        reason: Why it is in that state, since `since`.
        order_id: The order, if the stage named one.
        order: What was announced of it, so that what it would have earned can be told later.
        stage: The stage that was refused; `None`: `check()`.
        reduces: Whether it was declared to reduce.
        suppressed: How many refusals before this one were only counted.
    """

    kind: ClassVar[str | None] = "refusal"
    importance: ClassVar[Importance] = Importance.HIGH

    state: str
    reason: str
    since: str | None = None
    order_id: str | None = None
    order: Mapping[str, Any] | None = None
    stage: str | None = None
    reduces: bool = False
    suppressed: int | None = None


@attrs.frozen(kw_only=True)
class KeepAliveFailed(_OfSwitch):
    """The call that keeps the exchange from cancelling everything failed.

    Attributes:
        name: The function.
        failures: How many in a row.
        error: What it said.
    """

    kind: ClassVar[str | None] = "keep_alive_failed"

    name: str
    failures: int
    error: str


@attrs.frozen(kw_only=True)
class KeepAliveChanged(_OfSwitch):
    """The exchange is not kept waiting any more, or is again.

    Attributes:
        name: The function.
        calling: Whether it is called from now on.
        why: Why.
    """

    kind: ClassVar[str | None] = "keep_alive"
    importance: ClassVar[Importance] = Importance.HIGH

    name: str
    calling: bool
    why: str
