"""Limits on how often: rejections, errors, losses in a row, a position opened and closed within one bar."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.safety.triggers.base import Trigger, Verdict, count, duration, text

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["ConsecutiveLosses", "Errors", "Rejections", "SameBarRoundTrip"]

_MOST_OPEN = 256


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class _Within(Trigger):
    """So many within a span of time, which goes on while the bot is down."""

    limit: int = attrs.field(converter=count)
    within: float = attrs.field(default=600.0, converter=duration)

    times: deque[int] = attrs.field(factory=deque, init=False, repr=False)
    last: Any = attrs.field(default=None, init=False, repr=False)

    def one_more(self, what: Any) -> Verdict:
        """One more."""
        self._forget()
        self.times.append(self.pace.steady())
        if len(self.times) > self.limit:
            self.times.popleft()
        self.last = what
        self.pressing = True
        return self.verdict(broken=len(self.times) >= self.limit)

    def _forget(self) -> None:
        oldest = self.pace.steady() - int(self.within * 1e9)
        while self.times and self.times[0] <= oldest:
            self.times.popleft()

    def passing(self) -> Verdict | None:
        """The span moves on: what was near may be far again."""
        if not self.restless:
            return None
        before = len(self.times)
        self._forget()
        if len(self.times) == before or len(self.times) >= self.limit:
            return None
        return self.verdict(broken=False)

    def used(self) -> float | None:
        """Which share of the limit is used."""
        return len(self.times) / self.limit

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        said = {"count": len(self.times), "limit": self.limit, "within_s": self.within}
        return said if self.last is None else {**said, "last": self.last}

    def rearm(self) -> None:
        """Count anew."""
        super().rearm()
        self.times.clear()

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        now = self.pace.steady()
        return {**super().state(), "ages": [max(now - then, 0) for then in self.times], "at": self.pace.wall()}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        super().restore(state)
        # a clock that was set back meanwhile: as if no time had passed, so that nothing is forgotten too early
        passed = max(self.pace.wall() - int(state["at"]), 0)
        now = self.pace.steady()
        self.times = deque((now - int(age) - passed for age in state["ages"][-self.limit :]), maxlen=None)
        self._forget()


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Rejections(_Within):
    """The exchange has refused so many orders within a span of time. A reset begins to count anew.

    Args:
        limit: How many.
        within: The span, such as `"10m"`.
    """

    feed: ClassVar[str] = "rejected"

    def observe(self, symbol: Any, code: Any) -> Verdict:
        """An order was refused."""
        return self.one_more({"symbol": symbol, "code": code})


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Errors(_Within):
    """Stages or ticks have failed so often within a span of time. A reset begins to count anew.

    Args:
        limit: How often.
        within: The span, such as `"1m"`.
    """

    feed: ClassVar[str] = "failed"

    def observe(self, error: Any) -> Verdict:
        """A stage or a tick failed."""
        try:
            said = f"{type(error).__name__}: {error}"[:120] if isinstance(error, BaseException) else str(error)[:120]
        except Exception:  # an error that cannot say what it is
            said = type(error).__name__
        return self.one_more(said)


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class ConsecutiveLosses(Trigger):
    """So many round trips in a row have lost. One that made nothing ends the row; a reset begins to count anew.

    Args:
        limit: How many.
    """

    feed: ClassVar[str] = "closed"

    limit: int = attrs.field(converter=count)

    row: int = attrs.field(default=0, init=False, repr=False)

    def observe(self, net: Decimal | None) -> Verdict:
        """A round trip made `net`."""
        if net is None:
            return Verdict.UNKNOWN
        row = self.row + 1 if net < 0 else 0
        self.pressing = self.pressing or row != self.row
        self.row = row
        return self.verdict(broken=row >= self.limit)

    def used(self) -> float | None:
        """Which share of the limit is used."""
        return self.row / self.limit

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        return {"losses": self.row, "limit": self.limit}

    def rearm(self) -> None:
        """Count anew."""
        super().rearm()
        self.row = 0

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {**super().state(), "row": self.row}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        super().restore(state)
        self.row = int(state["row"])


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class SameBarRoundTrip(Trigger):
    """A position was closed in the bar that it was opened in. With `confirm=n`: n of them in a row.

    Opt-in: a market maker does that for a living.
    """

    feed: ClassVar[str] = "fill"

    opened: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)  # the bar of each open trade
    last: dict[str, Any] = attrs.field(factory=dict, init=False, repr=False)

    def observe(self, trade_id: str, symbol: str, bar_id: Any, *, closes: bool) -> Verdict | None:
        """A trade was opened in the bar `bar_id`, or closed in it.

        By trade and not by symbol: of one symbol there is a position for each venue, account and side.
        """
        bar = None if bar_id is None else text(bar_id, 100)
        if closes:
            before = self.opened.pop(trade_id, None)
            if before is None:  # nobody said in which bar it was opened
                return None
            self.last = {"symbol": symbol, "bar_id": bar, "opened_in": before}
            self.pressing = True
            return Verdict.BROKEN if before == bar else Verdict.FINE
        if bar is not None:
            self.pressing = True
            self.opened[trade_id] = bar
            while len(self.opened) > _MOST_OPEN:
                del self.opened[next(iter(self.opened))]
        return None

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        return dict(self.last)

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {**super().state(), "opened": self.opened}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        super().restore(state)
        self.opened = {str(trade_id): str(bar) for trade_id, bar in state["opened"].items()}
