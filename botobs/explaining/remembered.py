"""The facts around a trade from memory, for a bot that writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.clock import rfc3339
from botobs.explaining.facts import OrderSaid, Seen, quote_of, real

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from botobs.explaining.deciding import Decisions
    from botobs.explaining.facts import Fill, Quote
    from botobs.trackers.life import Context
    from botobs.trackers.order import Order
    from botobs.trackers.orders import Orders
    from botobs.trackers.trades import TradeTracker

__all__ = ["Remembered"]

_MOST_CLOSED = 1_000_000


class Remembered:
    """Asks the trackers.

    Args:
        orders: The orders that may still be filled, and the latest of those that are done.
        trades: The round trips.
        decisions: What was seen at decisions.
    """

    why = "it is not remembered, and nothing is written (no data_dir)"
    no_prediction = "the order had no pred_bps, and signals are written nowhere (no data_dir)"

    def __init__(self, orders: Orders, trades: TradeTracker, decisions: Decisions) -> None:
        self._orders = orders
        self._trades = trades
        self._decisions = decisions

    def orders(self, trade_id: str, fills: Sequence[Fill]) -> dict[int, OrderSaid]:
        """What was said of the order of each fill, by the fill's number."""
        contexts = self._trades.contexts(trade_id)
        return {
            fill.seq: _said(fill, None if fill.order_id is None else self._orders.get(fill.order_id),
                            contexts.get(fill.seq))
            for fill in fills
        }  # fmt: skip

    def seen(self, orders: Sequence[OrderSaid], symbol: str, venue: str | None) -> dict[str, Seen]:  # noqa: ARG002 - orders have names of their own
        """What was seen when those orders were decided, by the order's name."""
        found: dict[str, Seen] = {}
        for name in {order.order_id for order in orders if order.order_id is not None}:
            event = self._decisions.get(name)
            if event is not None:
                quote = quote_of({"bid": event.bid, "ask": event.ask})
                found[name] = Seen(quote=quote, features=event.features, regime=event.regime)
        return found

    def turns(self, orders: Sequence[OrderSaid], symbol: str) -> dict[str, list[Mapping[str, Any]]]:  # noqa: ARG002 - signals are not kept
        """Nobody keeps signals in memory."""
        return {}

    def record(self, trade_id: str, since: str | None) -> Mapping[str, Any] | None:  # noqa: ARG002 - the tracker knows the latest
        """The trade's record in its latest revision."""
        found = self._trades.get(trade_id)
        return found if isinstance(found, dict) else None

    def names(self, beginning: str) -> Iterable[str]:
        """The closed trades whose name begins so."""
        records = self._trades.closed(_MOST_CLOSED)
        return [record["trade_id"] for record in records if record["trade_id"].startswith(beginning)]

    def last(self) -> str | None:
        """The trade that was closed last."""
        newest = max(self._trades.closed(_MOST_CLOSED), key=lambda record: str(record["exit_ts"]), default=None)
        return None if newest is None else str(newest["trade_id"])


def _said(fill: Fill, order: Order | None, context: Context | None) -> OrderSaid:
    """Of the order as it is now, and of the trade's note of the fill, which is as it was then."""
    if order is None and (context is None or context.decision_px is None):
        return OrderSaid(order_id=fill.order_id, found=False, trace_id=fill.trace_id)
    then: Any = order if context is None else context
    quote: Quote | None = None if order is None else quote_of(order.more, then.decision_px)
    return OrderSaid(
        order_id=fill.order_id, decision_px=then.decision_px, pred_bps=real(then.pred_bps), strategy=then.strategy,
        source=then.source, reason=then.reason, trace_id=then.trace_id, bar_id=then.bar_id,
        order_type=None if order is None else order.order_type, sent_px=None if order is None else order.sent_px,
        decided_ts=None if order is None else _moment(order.announced_ns),
        sent_ts=None if order is None else _moment(order.sent_ns),
        bid=None if quote is None else quote.bid, ask=None if quote is None else quote.ask,
    )  # fmt: skip


def _moment(ns: int | None) -> str | None:
    return None if ns is None else rfc3339(ns)
