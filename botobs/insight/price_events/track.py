"""One symbol as prices come in: from bars, and from the newest mark once a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import number, text
from botobs.insight.price_events.levels import Crossing, Levels
from botobs.insight.price_events.moves import MINUTE, Bar, Gap, Minute, Moves, Spike

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.insight.price_events.terms import PriceEventTerms

__all__ = ["BAR", "MARK", "Found", "Track"]

BAR, MARK = "bar", "mark"
_FINE: Final = 90_000_000_000  # bars of up to that are fine enough: no minutes are made


class Found(NamedTuple):
    """Something happened to a price.

    Attributes:
        what: A crossing, a spike or a gap.
        price: The price that showed it.
        previous: The price before that.
        by: Whether a bar or a mark showed it.
        over: How long a bar (or minute) usually is, in nanoseconds; `None`: not known.
    """

    what: Crossing | Spike | Gap
    price: Decimal
    previous: Decimal | None
    by: str
    over: int | None


class Track:
    """Follows one symbol. Not locked.

    Args:
        terms: What counts.
        step: How far its round levels lie apart; `None`: automatic; 0: it has none.

    Attributes:
        price: The newest price.
        fresh: Goes up with every new price.
        mark: The mark that was seen last, the very object: what is told anew is another one.
        used: When the newest came, as nanoseconds since 1970.
    """

    __slots__ = (
        "_barred", "_closed", "_high", "_low", "_minute", "bars", "fresh", "levels", "mark", "minutes", "price",
        "used",
    )  # fmt: skip

    def __init__(self, terms: PriceEventTerms, step: Decimal | None) -> None:
        self.levels = None if step == 0 else Levels(step)
        least = terms.least_bps / 1e4
        self.bars = Moves(terms.spike, terms.gap, least)
        self.minutes = Moves(terms.spike, terms.gap, least, MINUTE)
        self.price: Decimal | None = None
        self.fresh = 0
        self.used = 0
        self._minute: Minute | None = None
        self.mark: Any = None
        self._barred = False  # the newest price is a bar's close
        self._closed: Decimal | None = None  # of the last bar
        self._low, self._high = math.inf, -math.inf  # seen since then

    def bar(self, prices: tuple[Decimal, Decimal, Decimal, Decimal], at: int, now: int) -> list[Found]:
        """A finished bar: open, high, low, close, and when it ended."""
        first, close, low, high = prices[0], prices[3], min(prices), max(prices)
        bar = Bar(float(first), float(high), float(low), float(close), at)
        if not 0.0 < bar.low <= bar.high < math.inf:
            return []
        found: list[Found] = []
        bars, before, over = self.bars, self._closed, self.bars.usual_ns
        hole = bars.missing(at) > 0
        gap = bars.begins(bar.open, at, sure=bar.low < bar.high)
        if gap is not None:
            found.append(Found(gap, first, before, BAR, over))
        # which extreme came first nobody knows; marks have shown already what lies within theirs
        for price in (low, high) if bar.close >= bar.open else (high, low):
            if self.price is not None and not self._low <= float(price) <= self._high:
                self._cross(price, BAR, found)
        self._cross(close, BAR, found)
        spike = bars.large(bar.high, bar.low, bar.close, opened=bar.open if gap is not None or hole else None)
        if spike is not None:
            found.append(Found(spike, close, first if gap is not None or hole else before, BAR, over))
        bars.ended(bar, apart=gap is not None or hole)
        self._closed, self._low, self._high = close, bar.close, bar.close
        self._barred, self.used = True, now
        self.fresh += 1
        return found

    def seen(self, price: Decimal, at: int, now: int) -> list[Found]:
        """The newest mark, of the time `at`."""
        if price is self.mark:
            return []
        self.mark = price
        if self._barred and price == self.price:  # the bar's own close
            return []
        value = float(price)
        if not 0.0 < value < math.inf:
            return []
        found: list[Found] = []
        self._barred, self.used = False, now
        self.fresh += 1
        before = self.price
        self._cross(price, MARK, found)
        self._low, self._high = min(self._low, value), max(self._high, value)
        usual = self.bars.usual_ns
        if usual is None or usual > _FINE:
            self._sample(price, value, at, before, found)
        return found

    def _cross(self, price: Decimal, by: str, found: list[Found]) -> None:
        crossing = None if self.levels is None else self.levels.price(price)
        if crossing is not None:
            before, last = self.price, found[-1] if found else None
            if last is not None and isinstance(last.what, Crossing) and last.what.up is crossing.up:  # of the same bar
                crossing = crossing._replace(first=last.what.first, n=last.what.n + crossing.n)
                before = found.pop().previous
            found.append(Found(crossing, price, before, by, None))
        self.price = price

    def _sample(self, price: Decimal, value: float, at: int, before: Decimal | None, found: list[Found]) -> None:
        """Make minutes of marks, where there are no bars as fine as that."""
        minute, moves = self._minute, self.minutes
        if minute is None or minute.number != at // MINUTE:
            if minute is not None:
                moves.ended(minute.bar(), apart=minute.apart)
            minute = self._minute = Minute(value, at)
            gap = moves.begins(value, at)
            minute.apart = gap is not None or moves.missing(at) > 0
            if gap is not None:
                found.append(Found(gap, price, before, MARK, MINUTE))
        elif not minute.price(value):
            return
        spike = moves.large(minute.high, minute.low, value, opened=minute.open if minute.apart else None)
        if spike is not None:
            found.append(Found(spike, price, before, MARK, MINUTE))

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All it has to know, for JSON."""
        return {
            "price": None if self.price is None else text(self.price),
            "closed": None if self._closed is None else text(self._closed),
            "used": self.used,
            "levels": None if self.levels is None else self.levels.state(),
            "bars": self.bars.state(),
            "minutes": self.minutes.state(),
        }

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self.price, self._closed = (None if state[key] is None else number(state[key]) for key in ("price", "closed"))
        self.used = int(state["used"])
        if self.levels is not None and state["levels"] is not None:
            self.levels.restore(state["levels"])
        self.bars.restore(state["bars"])
        self.minutes.restore(state["minutes"])
        if self.price is not None:
            self._low = self._high = float(self.price)
