"""Where prices go after decisions: curves by symbol, source and strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.clock import rfc3339
from botobs.events.edge import MarkoutSettled
from botobs.insight.edge.curve import Moves
from botobs.insight.edge.half_life import half_life
from botobs.insight.edge.pending import Decision, Pending
from botobs.insight.edge.told import Curve, HalfLife

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from botobs.insight.terms import Horizon

__all__ = ["Key", "Markouts"]

#: Which curve: of which symbol, source and strategy; `None`: of all.
Key = tuple[str | None, str | None, str | None]

_MOST: Final = 1_000


class Markouts:
    """Follows decisions, and sums where prices went. Not locked.

    Args:
        horizons: After which times the price is looked at.
        memory: After so many decisions an old one counts a third.
        live: Else time stands still during a turn of the loop.

    Attributes:
        pending: What has not come due.
        settled: How many decisions did.
        no_room: How often a curve was wanted that would have been one too many.
    """

    def __init__(self, horizons: Sequence[Horizon], memory: int = 1_000, *, live: bool = True) -> None:
        self._horizons = horizons
        self._memory = memory
        self._cells: dict[Key, list[Moves]] = {}
        self._halves: dict[Key, tuple[int, HalfLife]] = {}
        self.pending = Pending(horizons, live=live)
        self.settled = self.no_room = 0

    def decided(
        self,
        symbol: str,
        sign: int,
        price: float,
        since: int,
        *,
        mark: float | None = None,
        source: str | None = None,
        strategy: str | None = None,
        by_source: bool = True,
        order_id: str | None = None,
        pred_bps: float | None = None,
    ) -> bool:
        """A decision was made; whether it is followed.

        Args:
            symbol: About which market.
            sign: 1 to buy, -1 to sell.
            price: The price it was made at.
            since: When.
            mark: The newest price known then.
            source: From which signal.
            strategy: By which strategy.
            by_source: It counts for its symbol and source, too; else that decision counts there already.
            order_id: The order.
            pred_bps: What was predicted.
        """
        keys: list[Key] = [(None, None, None), (symbol, None, None)] if by_source else []
        if by_source and source is not None:
            keys += [(None, source, None), (symbol, source, None)]
        if strategy is not None:
            keys.append((None, None, strategy))
        cells = [cell for key in keys if (cell := self._cell(key)) is not None]
        if not cells:
            return False
        more = (source, strategy, order_id, pred_bps)
        return self.pending.put(Decision(symbol, sign, price, since, mark=mark, cells=cells, more=more))

    def price(self, symbol: str, price: float, turned: int, now: int) -> list[MarkoutSettled]:
        """The price is this at `now`."""
        return self._settled(self.pending.price(symbol, price, turned, now), now)

    def bar(self, symbol: str, close: float, ended: int | None, now: int) -> list[MarkoutSettled]:
        """A bar was told at `now`."""
        return self._settled(self.pending.bar(symbol, close, ended, now), now)

    def expire(self, now: int) -> list[MarkoutSettled]:
        """A second has passed: what nobody has seen a price for is lost."""
        return self._settled(self.pending.expire(now), now)

    def _settled(self, over: Iterator[Decision], now: int) -> list[MarkoutSettled]:
        events = []
        for one in over:
            self.settled += 1
            source, strategy, order_id, pred_bps = one.more
            moves = {horizon.text: move for horizon, move in zip(self._horizons, one.moves, strict=True)}
            events.append(
                MarkoutSettled(
                    ts_ns=now, symbol=one.symbol, side="buy" if one.sign > 0 else "sell", source=source,
                    strategy=strategy, order_id=order_id, decided_ts=rfc3339(one.since), price=one.price,
                    pred_bps=pred_bps, moves=moves,
                )
            )  # fmt: skip
        return events

    def _cell(self, key: Key) -> list[Moves] | None:
        found = self._cells.get(key)
        if found is None:
            if len(self._cells) >= _MOST:
                self.no_room += 1
                return None
            found = self._cells[key] = [Moves(horizon, self._memory) for horizon in self._horizons]
        return found

    # -- what is asked -----------------------------------------------------------------------------------------------

    def curve(self, key: Key) -> Curve:
        """The moves of one key; without decisions, the reason says so."""
        cell = self._cells.get(key) or [Moves(horizon) for horizon in self._horizons]
        symbol, source, strategy = key
        return Curve(symbol=symbol, source=source, strategy=strategy, points=tuple(moves.told() for moves in cell))

    def half_life(self, key: Key, *, about: bool = False) -> HalfLife:
        """How fast the edge of such decisions goes into the price; `about`: a twentieth of the decisions may lack."""
        cell = self._cells.get(key)
        if cell is None:
            return HalfLife(seconds=None, reason="no decision came due")
        seen = sum(moves.n + moves.lost for moves in cell)
        kept = self._halves.get(key)
        if kept is None or seen - kept[0] > (kept[0] // 20 if about else 0):
            points = [(moves.horizon.ns / 1e9, spread) for moves in cell if (spread := moves.spread) is not None]
            found = half_life(points, max(moves.n for moves in cell))
            kept = self._halves[key] = (seen, found)
        return kept[1]

    @property
    def keys(self) -> list[Key]:
        """Which curves there are."""
        return list(self._cells)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """All curves, for JSON; what is pending is not kept: its horizons would have a hole."""
        return [[*key, [moves.state() for moves in cell]] for key, cell in self._cells.items()]

    def restore(self, state: Iterable[Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems = []
        for told in list(state)[:_MOST]:
            try:
                symbol, source, strategy, cell = told
                kept = {one[0]: one for one in cell}
                found = [Moves(horizon, self._memory) for horizon in self._horizons]
                for moves in found:
                    if moves.horizon.text in kept:
                        moves.restore(kept[moves.horizon.text])
                self._cells[_text(symbol), _text(source), _text(strategy)] = found
            except Exception as error:
                problems.append(f"a curve of markouts: {type(error).__name__}")
        return problems


def _text(value: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise ValueError("not the key of a curve")
    return value
