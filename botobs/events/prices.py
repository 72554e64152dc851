"""What happened to a price: round levels crossed, spikes, gaps; each with what the bot held and did."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LevelCrossed", "PriceEvent", "PriceEventFollowed", "PriceGapped", "VolatilitySpiked"]

_NOTHING: Final = Decimal(0)


@attrs.frozen(kw_only=True)
class PriceEvent(Event):
    """Something happened to the price of `symbol`: one of `LevelCrossed`, `VolatilitySpiked`, `PriceGapped`.

    Attributes:
        event_id: What `PriceEventFollowed` names it by.
        price: The price that showed it.
        previous: The price before that; of a spike in a bar, or a gap, where it is measured from.
        direction: `up` or `down`; `None`: it came back to where it was.
        by: What showed it: a `bar`, or the newest `mark`.
        bar_ts: When the bar was, as the exchange says (RFC 3339).
        reference: It is the market that moves all others: `held` and `did` are of all symbols.
        held: What was held, by symbol: `qty` (signed), `side`, `unrealized_pnl`; `None`: the account was busy.
        did: What the bot did in the time before, by symbol: `orders`, `fills`, `bought`, `sold`, `closed` trades and
            their `net_pnl`.
    """

    stream: ClassVar[str | None] = "price_events"
    importance: ClassVar[Importance] = Importance.LOW
    whole: ClassVar[bool] = True

    event_id: str
    price: Decimal
    previous: Decimal | None = None
    direction: str | None = None
    by: str = "bar"
    bar_ts: str | None = None
    reference: bool = False
    held: Mapping[str, Mapping[str, Any]] | None = None
    did: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    @property
    def position(self) -> Decimal | None:
        """The signed quantity held of `symbol`; `None`: nobody knows.

        Example:
            >>> from decimal import Decimal
            >>> held = {"BTC-USD": {"qty": Decimal("-0.5"), "side": "short", "unrealized_pnl": None}}
            >>> PriceEvent(ts_ns=0, symbol="BTC-USD", event_id="level-1", price=Decimal(100), held=held).position
            Decimal('-0.5')
        """
        if self.held is None:
            return None
        found: Decimal = self.held.get(self.symbol or "", {}).get("qty", _NOTHING)
        return found


@attrs.frozen(kw_only=True)
class LevelCrossed(PriceEvent):
    """A price reached or crossed a round level, or several at once.

    Attributes:
        level: The one it came to last, the nearest to the price.
        first_level: The one it came to first.
        levels: How many they are.
        step: How far they lie apart.
    """

    kind: ClassVar[str | None] = "level"

    level: Decimal
    first_level: Decimal
    levels: int = 1
    step: Decimal


@attrs.frozen(kw_only=True)
class VolatilitySpiked(PriceEvent):
    """A price moved through a range that is large for its market; told once until it has calmed.

    Attributes:
        move_bps: From the close before to this price.
        range_bps: From the lowest to the highest of both.
        usual_bps: What that range usually is.
        times: How many usual ones it is; `None`: nothing moved before.
        over_s: In a bar, or minute, of so many seconds.
    """

    kind: ClassVar[str | None] = "spike"
    importance: ClassVar[Importance] = Importance.NORMAL

    move_bps: float
    range_bps: float
    usual_bps: float
    times: float | None = None
    over_s: float | None = None


@attrs.frozen(kw_only=True)
class PriceGapped(PriceEvent):
    """Between two bars the price jumped, or there was none for long.

    Attributes:
        move_bps: From the close to the open after it.
        usual_bps: The range that a bar usually has; `None`: too few were seen.
        times: How many of those it is.
        missing_s: For so many seconds there was none, beyond the usual interval; `None`: no time is missing.
    """

    kind: ClassVar[str | None] = "gap"
    importance: ClassVar[Importance] = Importance.NORMAL

    move_bps: float
    usual_bps: float | None = None
    times: float | None = None
    missing_s: float | None = None


@attrs.frozen(kw_only=True)
class PriceEventFollowed(Event):
    """Some time after a price event: where the price went, and what the bot did.

    Attributes:
        of: Which kind it was: `level`, `spike`, `gap`.
        event_id: Its id.
        direction: Its direction.
        reference: It was one of the market that moves all others.
        after_s: How long ago it was, in seconds.
        price: The price now.
        move_bps: From the price of the event to this.
        held: What is held now, as in the event.
        did: What the bot did since then, as in the event.
    """

    stream: ClassVar[str | None] = "price_events"
    kind: ClassVar[str | None] = "after"
    importance: ClassVar[Importance] = Importance.LOW
    whole: ClassVar[bool] = True

    of: str
    event_id: str
    direction: str | None = None
    reference: bool = False
    after_s: float
    price: Decimal
    move_bps: float
    held: Mapping[str, Mapping[str, Any]] | None = None
    did: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
