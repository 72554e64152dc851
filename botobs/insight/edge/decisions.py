"""Which orders and predictions are followed; on the bot's thread, so it only looks and hands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.insight.names import plain
from botobs.money.tail import Work

if TYPE_CHECKING:
    from botobs.events.money import OrderAnnounced
    from botobs.faults import Faults
    from botobs.insight.edge.edge import Edge
    from botobs.insight.taking import Taking
    from botobs.money.tail import Tail

__all__ = ["Decisions"]

#: Orders for these reasons end a decision; they are none.
_ENDS: Final = frozenset(("stop_loss", "take_profit", "time_limit", "risk_limit"))
_PACE_NS: Final = 1_000_000_000  # of one symbol, side, source and strategy, one in a second tells it all
_MOST: Final = 4_000


class Decisions:
    """Hands decisions on to be followed.

    Args:
        edge: Follows them.
        taking: Chooses predictions, and knows which are waited for.
        tail: Has it done.
        faults: Counts.
    """

    def __init__(self, edge: Edge, taking: Taking, tail: Tail, faults: Faults) -> None:
        self._edge, self._taking, self._tail, self._faults = edge, taking, tail, faults
        self._last: dict[tuple[Any, ...], int] = {}

    def order(self, event: OrderAnnounced) -> None:
        """An order was announced."""
        try:
            self._order(event)
        except Exception as error:
            self._faults.error("edge", error)

    def _order(self, event: OrderAnnounced) -> None:
        symbol, side, now = event.symbol, event.side, event.ts_ns
        if symbol is None or side not in ("buy", "sell") or event.reduces or event.reason in _ENDS:
            return
        key = (symbol, side, event.source, event.strategy)
        if 0 <= now - self._last.get(key, -_PACE_NS) < _PACE_NS:
            return
        mark = self._taking.newest(symbol)
        price = event.decision_px if event.decision_px is not None else mark
        if price is None:
            return
        if len(self._last) >= _MOST:
            self._last.clear()
        self._last[key] = now
        # where a prediction of the same signal is followed, the order is the same decision
        new = not self._taking.waits(symbol, event.source)
        args = (symbol, 1 if side == "buy" else -1, price, now, mark, event, new)
        self._tail.put(Work(self._follow, args))

    def _follow(  # noqa: PLR0917 - as `Work` calls it
        self, symbol: str, sign: int, price: Any, now: int, mark: Any, event: OrderAnnounced, new: bool
    ) -> None:
        self._edge.decided(
            symbol, sign, price, now, mark=mark, source=plain(event.source), strategy=plain(event.strategy),
            by_source=new, order_id=event.order_id, pred_bps=event.pred_bps,
        )  # fmt: skip

    def forget(self) -> None:
        """Begin anew."""
        self._last.clear()
