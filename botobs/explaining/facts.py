"""What is known around a trade, wherever that is read from."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from botobs.accounting.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Facts", "Fill", "OrderSaid", "Quote", "Seen", "price", "quote_of", "real"]

_FARTHEST = 1_000_000  # bps: a prediction beyond that is none
_HALF = Decimal("0.00005")


class Fill(NamedTuple):
    """A fill of the trade, as the ledger names it; `received` is when it was reported."""

    seq: int
    order_id: str | None
    received: str
    role: str | None
    trace_id: str | None


@attrs.frozen(kw_only=True)
class OrderSaid:
    """What the bot said of an order before one of its fills.

    Attributes:
        decided_ts: When it was announced; `sent_ts`: when it left. `None`: not told.
        bid: The quote that the bot gave with the order itself.
        found: Whether anything is known of it beside its name.
    """

    order_id: str | None
    found: bool = True
    decision_px: Decimal | None = None
    sent_px: Decimal | None = None
    decided_ts: str | None = None
    sent_ts: str | None = None
    pred_bps: Decimal | None = None
    order_type: str | None = None
    strategy: str | None = None
    source: str | None = None
    reason: str | None = None
    trace_id: str | None = None
    bar_id: str | int | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


class Quote(NamedTuple):
    """Best bid and ask."""

    bid: Decimal
    ask: Decimal


@attrs.frozen(kw_only=True)
class Seen:
    """What the bot saw when it decided on an order.

    Attributes:
        quote: Best bid and ask.
        impact_bps: The impact that the order book seen then made one expect.
        features: Age in seconds by name.
        regime: The market's.
    """

    quote: Quote | None = None
    impact_bps: float | None = None
    features: Mapping[str, float] | None = None
    regime: str | None = None


class Facts(Protocol):
    """Everything that the ledger does not know."""

    #: Why what was written nowhere is not known.
    why: str
    #: Why an order has no prediction.
    no_prediction: str

    def orders(self, trade_id: str, fills: Sequence[Fill]) -> dict[int, OrderSaid]:
        """What was said of the order of each fill, by the fill's number."""

    def seen(self, orders: Sequence[OrderSaid], symbol: str, venue: str | None) -> dict[str, Seen]:
        """What was seen when those orders were decided, by the order's name."""

    def turns(self, orders: Sequence[OrderSaid], symbol: str) -> dict[str, list[Mapping[str, Any]]]:
        """The signals of the turns in which those orders were decided, by trace."""

    def record(self, trade_id: str, since: str | None) -> Mapping[str, Any] | None:
        """The trade's record in its latest revision; `since`: it was not written before."""

    def names(self, beginning: str) -> Iterable[str]:
        """The closed trades whose name begins so."""

    def last(self) -> str | None:
        """The trade that was closed last."""


def price(value: Any) -> Decimal | None:
    """A price, as far as it is one."""
    try:
        found = number(value)
    except Exception:
        return None
    return found if found > 0 else None


def real(value: Any) -> Decimal | None:
    """A prediction, as far as it is one."""
    try:
        found = number(value)
    except Exception:
        return None
    return found if -_FARTHEST <= found <= _FARTHEST else None


def quote_of(said: Mapping[str, Any] | None, around: Decimal | None = None) -> Quote | None:
    """The best bid and ask that a record, or an order's context, tells; from its spread, `around` a price."""
    if not said:
        return None
    bid, ask = price(said.get("bid")), price(said.get("ask"))
    if bid is not None and ask is not None:
        return Quote(bid, ask) if bid <= ask else None
    middle, spread = price(said.get("mid")) or around, real(said.get("spread_bps"))
    if middle is None or spread is None or not 0 <= spread < 10_000:
        return None
    half = middle * spread * _HALF
    return Quote(middle - half, middle + half)
