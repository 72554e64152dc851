"""Writes down what nobody could find out later: what the bot saw at the moment in which it decided on an order.

That is the quote of the tick, the ages of the features, and the regime. Whoever explains a trade reads it again.
"""

from __future__ import annotations

import heapq
import operator
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from botobs.accounting.numbers import text
from botobs.events.deciding import DecisionSeen
from botobs.explaining.facts import price
from botobs.insight.regime import UNKNOWN
from botobs.money.tail import Work
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.events import OrderAnnounced
    from botobs.events.base import Event
    from botobs.faults import Faults
    from botobs.money.tail import Tail

__all__ = ["Decisions"]

_MOST: Final = 2_000  # decisions that are remembered
_FEATURES: Final = 100  # of one decision
_LastSeen: TypeAlias = "tuple[int, int, list[tuple[str, int]]]"
_NOTHING: Final[_LastSeen] = (0, 0, [])
_when = operator.itemgetter(1)


class Decisions:
    """Follows the orders; usable on its own.

    Args:
        publish: Takes the events.
        last_seen: Now in nanoseconds, how many features there are, and when each came (`Staleness.last_seen`).
        regime: In which regime a market is.
        tail: Writes it down in the background; `None`: at once.
        faults: Counts.

    Example:
        >>> from botobs.events import OrderAnnounced
        >>> second = 10**9
        >>> decisions = Decisions(last_seen=lambda: (90 * second, 2, [("momentum", 89 * second), ("funding", 0)]))
        >>> decisions.order(OrderAnnounced(ts_ns=0, symbol="BTC", order_id="o1", side="buy", qty=None))
        >>> decisions.get("o1").features
        {'funding': 90.0, 'momentum': 1.0}
    """

    def __init__(
        self,
        *,
        publish: Callable[[Event], object] | None = None,
        last_seen: Callable[[], _LastSeen] | None = None,
        regime: Callable[[str], str | None] | None = None,
        tail: Tail | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._publish = publish
        self._last_seen = last_seen
        self._regime = regime
        self._tail = tail
        self._faults = faults
        self._known: OrderedDict[str, DecisionSeen] = OrderedDict()

    def order(self, event: OrderAnnounced) -> None:
        """An order was announced; on the bot's thread."""
        try:
            if event.order_id is None:
                return
            quote = _quote(event.symbol)
            seen = _NOTHING if self._last_seen is None else self._last_seen()
            regime = None if self._regime is None or event.symbol is None else self._regime(event.symbol)
            if regime == UNKNOWN:
                regime = None
            if quote is None and not seen[2] and regime is None:
                return
            said = (event, quote, seen, regime)
            if self._tail is None:
                self._keep(*said)
            else:
                self._tail.put(Work(self._keep, said))
        except Exception as error:
            if self._faults is not None:
                self._faults.error("decisions", error)

    def get(self, order_id: str) -> DecisionSeen | None:
        """What was seen when that order was decided; the latest are remembered."""
        return self._known.get(order_id)

    def _keep(self, event: OrderAnnounced, quote: tuple[Any, Any] | None, seen: _LastSeen, regime: str | None) -> None:
        bid, ask = (None, None) if quote is None else map(price, quote)
        now, count, came = seen
        oldest = heapq.nsmallest(_FEATURES, came, key=_when)
        whole = bid is not None and ask is not None
        decision = DecisionSeen(
            ts_ns=event.ts_ns, symbol=event.symbol, bar_id=event.bar_id, trace_id=event.trace_id,
            order_id=event.order_id or "", venue=event.venue, bid=text(bid) if whole and bid is not None else None,
            ask=text(ask) if whole and ask is not None else None, regime=regime,
            features={name: round(max(now - at, 0) / 1e9, 3) for name, at in oldest} or None,
            features_count=count or None,
        )  # fmt: skip
        known = self._known
        before = known.get(decision.order_id)
        if before is None or before.symbol != decision.symbol:  # else it was announced again, with other terms
            known.pop(decision.order_id, None)
            known[decision.order_id] = decision
        while len(known) > _MOST:
            known.popitem(last=False)
        if self._publish is not None:
            self._publish(decision)


def _quote(symbol: str | None) -> tuple[Any, Any] | None:
    """The best bid and ask that the running tick was given, if it is about that symbol."""
    tick = current_tick()
    if symbol is None or tick.symbol != symbol:
        return None
    turn = tick.root.stage
    bid, ask = getattr(turn, "bid", None), getattr(turn, "ask", None)
    return None if bid is None or ask is None else (bid, ask)
