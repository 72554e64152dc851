"""Limits on silence: of a feed, and of the bot's own loop. What was silent before a restart is not remembered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.safety.triggers import base
from botobs.safety.triggers.base import Trigger, Verdict, duration, figure

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Silence", "Stale"]


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class _Age(Trigger):
    age: float | None = attrs.field(default=None, init=False, repr=False)

    def span(self) -> float:
        """How old it may be, in seconds."""
        raise NotImplementedError

    def judge(self, age: Any) -> Verdict:
        """What an age in seconds means."""
        found = figure(age)
        if math.isnan(found):
            return Verdict.UNKNOWN
        self.age = found
        return self.verdict(broken=found >= self.span())

    def used(self) -> float | None:
        """Which share of the limit is used."""
        return None if self.age is None else self.age / self.span()

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        return {"age_s": None if self.age is None else round(self.age, 3), "limit_s": self.span()}

    def rearm(self) -> None:
        """Count anew."""
        super().rearm()
        self.age = None


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Stale(_Age):
    """A feed has been silent for too long.

    Args:
        name: The feed, as `heartbeat` and `watch` call it.
        after: How long, such as `"30s"`.
    """

    feed: ClassVar[str] = "feeds"

    name: str = attrs.field(converter=base.name)
    after: float = attrs.field(default=30.0, converter=duration)

    seen: bool = attrs.field(default=False, init=False, repr=False)

    @property
    def key(self) -> str:
        """Under which name its memory is kept."""
        return f"Stale({self.name})"

    def span(self) -> float:
        """How old it may be, in seconds."""
        return self.after

    def observe(self, ages: Mapping[str, float]) -> Verdict | None:
        """How long each feed has been silent; one that was never heard of is not judged."""
        if self.name not in ages:
            return Verdict.UNKNOWN if self.seen else None
        self.seen = True
        return self.judge(ages[self.name])

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        return {"feed": self.name, **super().inputs()}


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Silence(_Age):
    """The process lives, but its loop decides nothing any more.

    Args:
        after: How long, such as `"60s"`.
    """

    feed: ClassVar[str] = "silence"

    after: float = attrs.field(default=60.0, converter=duration)

    def span(self) -> float:
        """How old it may be, in seconds."""
        return self.after

    def observe(self, age_s: float | None) -> Verdict:
        """The loop's last sign of life is that old."""
        return self.judge(age_s)
