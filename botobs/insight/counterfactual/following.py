"""From a decision to the trade that came of it: by its orders, and by the fill that opened it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from botobs.insight.counterfactual.candidates import Candidate
from botobs.insight.counterfactual.running import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from botobs.events.money import FillBooked
    from botobs.insight.counterfactual.running import Running

__all__ = ["LONGEST", "Following"]

#: The horizon of a decision whose trade has been open for too long.
LONGEST: Final = "longest"

_S: Final = 1_000_000_000
_NEAR_NS: Final = 60 * _S  # before a trade's latest end, its price is looked at
_PATIENCE_NS: Final = 3600 * _S  # after that, an order that still works is none that opens the trade of a decision
_MOST_ORDERS: Final = 4_096
_MOST_TRADES: Final = 2_000


class Following:
    """Which trade a decision has to wait for. Not locked.

    Args:
        alive: Tells whether an order may still be filled.
        longest_ns: How long a trade is waited for.
        running: What has not come to the end of its horizon.

    Attributes:
        trades: The decisions that wait for the close of a trade.
    """

    def __init__(self, alive: Callable[[str], bool], longest_ns: int, running: Running) -> None:
        self._alive, self._longest, self._running = alive, longest_ns, running
        self._orders: OrderedDict[str, Decision] = OrderedDict()
        self._opening: dict[str, Decision] = {}  # the trade that the fill just booked opens, if it opens one
        self._late: dict[Decision, int] = {}  # came to their end while an order still works; since when none does
        self.trades: OrderedDict[str, Decision] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._late or self.trades)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    @property
    def opens(self) -> bool:
        """Whether the fill just booked may have opened a trade of a decision."""
        return bool(self._opening)

    @property
    def waiting(self) -> list[Decision]:
        """Decisions that wait for a trade, or for an order."""
        return [*self._late, *self.trades.values()]

    def order(self, order_id: str, decision: Decision) -> None:
        """An order came of a decision."""
        decision.orders.add(order_id)
        decision.acted = bool(decision.acted)
        self._orders[order_id] = decision
        if len(self._orders) > _MOST_ORDERS:
            self._orders.popitem(last=False)

    def refused(self, order_id: str | None) -> None:
        """An order was refused: it opens nothing, unless it is filled nevertheless."""
        decision = None if order_id is None else self._orders.get(order_id)
        if decision is not None and order_id is not None:
            decision.orders.discard(order_id)

    def filled(self, event: FillBooked) -> None:
        """A fill was booked; if it opens a trade, that is told next."""
        decision = None if event.order_id is None else self._orders.get(event.order_id)
        if decision is None or event.order_id is None:
            return
        opens = f"t{event.seq}"
        self._opening = {opens: decision}
        decision.acted = True
        if event.trade_id != opens:  # it adds to one, or makes it smaller
            decision.orders.discard(event.order_id)
            after = event.position
            if after is not None and (not after or (after > 0) != (event.side == "buy")):
                decision.way = 0  # the way out is no way in

    def opened(self, trade_id: str) -> list[Decision]:
        """A trade was opened; decisions that had to be given up for it."""
        decision, self._opening = self._opening.get(trade_id), {}
        if decision is None or decision.trade_id is not None:
            return []
        if not self._running.take(decision) and self._late.pop(decision, None) is None:
            return []  # it was settled before this
        self.forget(decision)
        decision.trade_id = trade_id
        self.trades[trade_id] = decision
        return [self.trades.popitem(last=False)[1]] if len(self.trades) > _MOST_TRADES else []

    def closed(self, trade_id: str) -> Decision | None:
        """A trade was closed; the decision that waited for it."""
        decision = self.trades.pop(trade_id, None)
        if decision is not None:
            self._running.take(decision)
        return decision

    def holds_on(self, decision: Decision) -> bool:
        """Whether a decision whose horizon is over has an order that may open a trade yet; if so, it waits for that."""
        if not any(map(self._alive, decision.orders)):
            return False
        self._late[decision] = 0
        return True

    def due(self, now: int) -> list[Decision]:
        """Decisions whose orders came to nothing; those of trades that are open for too long begin to run."""
        found = []
        for decision, since in list(self._late.items()):
            if now - decision.since < _PATIENCE_NS and any(map(self._alive, decision.orders)):
                self._late[decision] = 0
            elif not since:  # what the fill that ended it opened may not have been told yet
                self._late[decision] = now
            elif now - since >= _S or now < since:
                del self._late[decision]
                found.append(decision)
        for decision in self.trades.values():
            if now - decision.since < self._longest - _NEAR_NS:
                break
            if decision.over != LONGEST:
                decision.over, decision.left, decision.ends = LONGEST, 0, decision.since + self._longest
                decision.came = decision.seen = None
                self._running.put(decision)
        return found

    def forget(self, decision: Decision) -> None:
        """Its orders are waited for no more."""
        for order_id in decision.orders:
            if self._orders.get(order_id) is decision:
                del self._orders[order_id]

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> list[list[Any]]:
        """What waits for a trade, for JSON."""
        return [
            [key, one.symbol, one.price, one.since, one.cost, one.cluster, one.chosen, one.way,
             [[each.source, each.sign, list(each.said)] for each in one.candidates], one.trace_id]
            for key, one in self.trades.items()
        ]  # fmt: skip

    def restore(self, state: Iterable[Sequence[Any]]) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        for key, symbol, price, since, cost, cluster, chosen, way, candidates, trace_id in state:
            self.trades[str(key)] = Decision(
                symbol=str(symbol), price=float(price), since=int(since),
                cost=None if cost is None else float(cost), cluster=int(cluster),
                candidates=tuple(
                    Candidate(str(name), int(sign), tuple((str(figure), float(value)) for figure, value in said))
                    for name, sign, said in candidates
                ),
                chosen=None if chosen is None else str(chosen), way=None if way is None else int(way),
                trade_id=str(key), trace_id=None if trace_id is None else str(trace_id),
            )  # fmt: skip
