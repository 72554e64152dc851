"""The slippage of orders, from their fills: parts of one order tell the same story, and count as one outcome."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Pool", "Slipped"]

_WAITS_NS: Final = 60_000_000_000
_MOST: Final = 1_000
_MOST_KNOWN: Final = 5_000


class Slipped(NamedTuple):
    """What an order slipped by.

    Attributes:
        strategy: Whose.
        bps: Weighted by quantity, over its fills.
        ts_ns: When the last of them was booked.
    """

    strategy: str
    bps: float
    ts_ns: int


class Pool:
    """Gathers the fills of an order for a minute. Not locked.

    What comes later of an order that has counted is left out: it would count twice.
    """

    def __init__(self) -> None:
        # strategy, when the first fill came, when the last, the sum of slippage by quantity, the quantity
        self._open: OrderedDict[str, list[Any]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def fill(self, order_id: str | None, strategy: str, bps: float, qty: float, ts_ns: int) -> Iterator[Slipped]:
        """A fill; the orders that count because of it."""
        if order_id is None:
            yield Slipped(strategy, bps, ts_ns)
            return
        if order_id in self._known or not qty > 0.0:
            return
        found = self._open.get(order_id)
        if found is None:
            found = self._open[order_id] = [strategy, ts_ns, ts_ns, 0.0, 0.0]
        found[2] = ts_ns
        found[3] += bps * qty
        found[4] += qty
        if len(self._open) > _MOST:
            yield self._take(next(iter(self._open)))

    def due(self, now: int) -> Iterator[Slipped]:
        """The orders whose minute is over."""
        while self._open:
            order_id, found = next(iter(self._open.items()))
            if 0 <= now - found[1] < _WAITS_NS:
                return
            yield self._take(order_id)

    def _take(self, order_id: str) -> Slipped:
        strategy, _, ts_ns, total, qty = self._open.pop(order_id)
        self._known[order_id] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return Slipped(strategy, total / qty, ts_ns)

    def state(self) -> dict[str, Any]:
        """All it knows, for JSON."""
        return {"open": list(self._open.items()), "known": list(self._known)[-_MOST:]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        found: OrderedDict[str, list[Any]] = OrderedDict()
        for order_id, (strategy, first, last, total, qty) in state["open"][:_MOST]:
            found[str(order_id)] = [str(strategy), int(first), int(last), float(total), float(qty)]
        self._known = OrderedDict.fromkeys(str(one) for one in state["known"])
        self._open = found
