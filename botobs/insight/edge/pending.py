"""Decisions on their way through their horizons, and the prices that they meet.

The price is looked at once a second. A move is taken from the last look within the horizon, never from a later one. The
price seen must be newer than the decision: one that may still be its own does not count, and neither does one from the
first half of the horizon. The end of a horizon is known to a second or a tenth of it, whichever is less, so that a loop
of the horizon's own pace is in time.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from botobs.insight.edge.curve import Moves
    from botobs.insight.terms import Horizon

__all__ = ["Decision", "Pending"]

_MOST: Final = 4_000
_MOST_EACH: Final = 512  # of one symbol
_S: Final = 1_000_000_000
_BEFORE: Final = -(1 << 62)
_LONG: Final = 60 * _S
_LATE: Final = 5 * _S  # what comes from another thread may be older than what came before it by so much
_FARTHEST: Final = 1e6
_EQUAL: Final = 1e-9  # the middle of two prices may be reckoned in another way


class Decision:
    """One decision.

    Args:
        symbol: Of which market.
        sign: 1 for a buy, -1 for a sell.
        price: The price it began at; `mark` is the newest one that was known then.
        since: When it was made, in nanoseconds.
        cells: The curves that it is for, each with the moves of all horizons.
        more: What is recorded beside it.

    Attributes:
        moves: What came so far.
    """

    __slots__ = ("cells", "mark", "more", "moves", "price", "sign", "since", "symbol")

    def __init__(
        self,
        symbol: str,
        sign: int,
        price: float,
        since: int,
        *,
        mark: float | None = None,
        cells: Sequence[Sequence[Moves]] = (),
        more: Any = None,
    ) -> None:
        self.symbol, self.sign, self.price, self.since = symbol, sign, price, since
        self.mark = price if mark is None else mark
        self.cells, self.more = cells, more
        self.moves: list[float | None] = []


class _Look(NamedTuple):
    """A price as it was seen.

    Attributes:
        price: The price.
        seen: When it was looked at.
        turned: When the bot's loop last turned by then.
        newer: It is certainly from after this,
        fresh: and was still the price at this time.
        bar: It is a bar's close: it may be another one than before, and older.
    """

    price: float
    seen: int
    turned: int
    newer: int
    fresh: int
    bar: bool = False

    def after(self, decision: Decision) -> bool:
        """Whether the price is certainly newer than a decision."""
        if self.newer >= decision.since:
            return True
        return not self.bar and abs(self.price - decision.mark) > _EQUAL * decision.mark


class _Market:
    """The decisions of one symbol, by when their next horizon ends; and the latest look at its price."""

    __slots__ = ("heap", "look")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Decision]] = []
        self.look: _Look | None = None


class Pending:
    """Those of all symbols, bounded. Not locked.

    Args:
        horizons: After which times the price is looked at, rising.
        live: Else time stands still during a turn of the loop.

    Attributes:
        left_out: How many decisions there was no room for.
    """

    def __init__(self, horizons: Sequence[Horizon], *, live: bool = True) -> None:
        self._live = live
        self._spans = [(horizon.ns, min(horizon.ns // 10, _S)) for horizon in horizons]
        self._of: dict[str, _Market] = {}
        self._count = self._made = 0
        self.left_out = 0

    def __len__(self) -> int:
        return self._count

    @property
    def symbols(self) -> list[str]:
        """Whose price is wanted."""
        return list(self._of)

    def put(self, decision: Decision) -> bool:
        """Follow it; `False`: there are too many."""
        market = self._of.get(decision.symbol)
        if self._count >= _MOST or (market is not None and len(market.heap) >= _MOST_EACH):
            self.left_out += 1
            return False
        if market is None:
            market = self._of[decision.symbol] = _Market()
        if market.look is None:
            turned = _BEFORE if self._live else decision.since
            market.look = _Look(decision.mark, decision.since, turned, _BEFORE, _BEFORE)
        self._count += 1
        self._await(market, decision)
        return True

    def _await(self, market: _Market, decision: Decision) -> None:
        span, slack = self._spans[len(decision.moves)]
        self._made += 1  # so that two that end at once are never compared
        heapq.heappush(market.heap, (decision.since + span + slack, self._made, decision))

    def price(self, symbol: str, price: float, turned: int, now: int) -> Iterator[Decision]:
        """At `now` the price is this, and the loop last turned at `turned`; the decisions that are over."""
        market = self._of.get(symbol)
        if market is None or (look := market.look) is None:
            return
        newer = look.newer
        if price != look.price:
            newer = look.seen
        elif turned > look.turned:  # a turn that ended after another one began after that one's end
            newer = look.turned
        yield from self._look(symbol, market, _Look(price, now, turned, newer, turned))

    def bar(self, symbol: str, close: float, ended: int | None, now: int) -> Iterator[Decision]:
        """A bar was told at `now`; `ended`: when it did, as the bot says. The decisions that are over."""
        market = self._of.get(symbol)
        if market is None or (look := market.look) is None:
            return
        newer = look.seen if close != look.price else look.newer
        if ended is not None and ended <= now:
            newer = ended
        yield from self._look(symbol, market, _Look(close, now, look.turned, newer, now, bar=True))

    def expire(self, now: int) -> Iterator[Decision]:
        """Judge what nobody has seen a price for; the decisions that are over."""
        for symbol, market in list(self._of.items()):
            if market.heap[0][0] < now - _LONG:
                yield from self._over(symbol, market, now)

    def _look(self, symbol: str, market: _Market, look: _Look) -> Iterator[Decision]:
        before = market.look
        if before is not None and look.seen < before.seen:
            if before.seen - look.seen >= _LATE:  # the clock was set back: nobody knows when they are over
                yield from self._lose(symbol, market)
            return
        if market.heap[0][0] < look.seen:
            yield from self._over(symbol, market, look.seen)
        market.look = look

    def _over(self, symbol: str, market: _Market, now: int) -> Iterator[Decision]:
        """What was due before `now` is judged by the look before."""
        heap, look = market.heap, market.look
        while heap and heap[0][0] < now:
            ends, _, decision = heapq.heappop(heap)
            span = self._spans[len(decision.moves)][0]
            self._judge(decision, look, ends, ends - span // 2)
            if len(decision.moves) < len(self._spans):
                self._await(market, decision)
            else:
                self._count -= 1
                yield decision
        if not heap:
            del self._of[symbol]

    def _judge(self, decision: Decision, look: _Look | None, ends: int, fresh: int) -> None:
        since, move = decision.since, None
        if look is not None and since < look.seen <= ends and look.after(decision) and look.fresh >= fresh:
            move = decision.sign * (look.price - decision.price) / decision.price * 1e4
            if not -_FARTHEST <= move <= _FARTHEST:
                move = None
        at = len(decision.moves)
        decision.moves.append(move)
        for cell in decision.cells:
            moves = cell[at]
            if move is None:
                moves.lost += 1
            else:
                moves.add(move, since)

    def _lose(self, symbol: str, market: _Market) -> Iterator[Decision]:
        del self._of[symbol]
        self._count -= len(market.heap)
        for _, _, decision in market.heap:
            while len(decision.moves) < len(self._spans):
                self._judge(decision, None, 0, 0)
            yield decision
