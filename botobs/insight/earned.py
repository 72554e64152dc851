"""What closed trades earned in the regime in which they were opened: exact, and right after a revision."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from botobs.accounting.numbers import EXACT, ZERO, divide, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botobs.performance.closed import Closed

__all__ = ["Earned", "RegimePerformance"]

_MOST_TRADES = 2_000  # a trade that changes after so many others is not found any more
_MOST_OPEN = 10_000
_MOST_CELLS = 5_000
_OTHER = "other"


@attrs.frozen(kw_only=True)
class RegimePerformance:
    """What the bot earned in one regime.

    Attributes:
        regime: Which; a trade counts for that in which it was opened.
        bars: How many bars the market spent in it.
        n: How many trades were closed.
        wins: How many of them made money after costs; `losses` lost some.
        gross: What they made before costs.
        net: After fees and funding.
        win_rate: Wins of all trades.
        average: What a trade made on average, after costs.
        reasons: Why something is `None`.
    """

    regime: str
    bars: int = 0
    n: int = 0
    wins: int = 0
    losses: int = 0
    gross: Decimal = ZERO
    net: Decimal = ZERO
    win_rate: float | None = None
    average: Decimal | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict)


class _Counted(NamedTuple):
    """A trade as it was counted; `gross` is `None` where it is no closed trade any more."""

    symbol: str
    regime: str
    revision: int
    gross: Decimal | None
    net: Decimal


class _Cell:
    __slots__ = ("gross", "losses", "n", "net", "wins")

    def __init__(self) -> None:
        self.n = self.wins = self.losses = 0
        self.gross = self.net = ZERO

    def add(self, gross: Decimal, net: Decimal, sign: int) -> None:
        self.n += sign
        self.wins += sign if net > 0 else 0
        self.losses += sign if net < 0 else 0
        add = EXACT.add if sign > 0 else EXACT.subtract
        self.gross, self.net = add(self.gross, gross), add(self.net, net)


class Earned:
    """Sums by symbol and regime. Not locked: its owner does that.

    Attributes:
        forgotten: How many trades changed after they had been forgotten; their change is not in the sums.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._opened: OrderedDict[str, str] = OrderedDict()
        self._trades: OrderedDict[str, _Counted] = OrderedDict()
        self.forgotten = 0

    def opened(self, trade_id: str, regime: str) -> None:
        """A trade was opened in this regime."""
        if trade_id in self._opened:
            return
        self._opened[trade_id] = regime
        while len(self._opened) > _MOST_OPEN:
            self._opened.popitem(last=False)

    def closed(self, symbol: str, trade: Closed) -> bool:
        """A trade was closed, or is another now; whether that changed anything."""
        before = self._trades.pop(trade.trade_id, None)
        if before is None and trade.revision > 1:
            self.forgotten += 1
            return False
        if before is not None and trade.revision <= before.revision:
            self._trades[trade.trade_id] = before
            return False
        if before is not None:
            symbol, regime = before.symbol, before.regime
            if before.gross is not None:
                self._cell(symbol, regime).add(before.gross, before.net, -1)
            self._opened.pop(trade.trade_id, None)
        else:
            regime = self._opened.pop(trade.trade_id, "unknown")
        gross = None if trade.undone else trade.gross
        if gross is not None:
            self._cell(symbol, regime).add(gross, trade.net, 1)
        self._trades[trade.trade_id] = _Counted(symbol, regime, trade.revision, gross, trade.net)
        while len(self._trades) > _MOST_TRADES:
            self._trades.popitem(last=False)
        return True

    def knows(self, trade_id: str) -> bool:
        """Whether it has counted that trade, as far as it remembers."""
        return trade_id in self._trades

    def of(self, symbol: str | None, bars: Mapping[str, int], known: Iterable[str]) -> dict[str, RegimePerformance]:
        """What was earned by regime.

        Args:
            symbol: In which market; `None`: in all.
            bars: How many bars each regime lasted there.
            known: Regimes that are told of though nothing was traded.
        """
        sums: dict[str, _Cell] = {regime: _Cell() for regime in (*known, *bars)}
        for (where, regime), cell in self._cells.items():
            if symbol is None or where == symbol:
                total = sums.setdefault(regime, _Cell())
                total.n += cell.n
                total.wins += cell.wins
                total.losses += cell.losses
                total.gross, total.net = EXACT.add(total.gross, cell.gross), EXACT.add(total.net, cell.net)
        return {regime: _told(regime, cell, bars.get(regime, 0)) for regime, cell in sums.items()}

    def _cell(self, symbol: str, regime: str) -> _Cell:
        key = (symbol, regime)
        if key not in self._cells and len(self._cells) >= _MOST_CELLS:
            key = (_OTHER, regime)
        return self._cells.setdefault(key, _Cell())

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All it knows, for JSON; every digit kept."""
        return {
            "cells": [
                [*key, cell.n, cell.wins, cell.losses, text(cell.gross), text(cell.net)]
                for key, cell in self._cells.items()
            ],
            "opened": list(self._opened.items()),
            "trades": [
                [key, one.symbol, one.regime, one.revision, None if one.gross is None else text(one.gross),
                 text(one.net)]
                for key, one in self._trades.items()
            ],
            "forgotten": self.forgotten,
        }  # fmt: skip

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Earned:
        """One that goes on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self = cls()
        for symbol, regime, n, wins, losses, gross, net in state["cells"]:
            cell = self._cells[str(symbol), str(regime)] = _Cell()
            cell.n, cell.wins, cell.losses = int(n), int(wins), int(losses)
            cell.gross, cell.net = Decimal(gross), Decimal(net)
        self._opened = OrderedDict((str(key), str(regime)) for key, regime in state["opened"])
        for key, symbol, regime, revision, gross, net in state["trades"]:
            made = None if gross is None else Decimal(gross)
            self._trades[str(key)] = _Counted(str(symbol), str(regime), int(revision), made, Decimal(net))
        self.forgotten = int(state["forgotten"])
        return self


def _told(regime: str, cell: _Cell, bars: int) -> RegimePerformance:
    reasons = {} if cell.n else dict.fromkeys(("win_rate", "average"), "no trades")
    return RegimePerformance(
        regime=regime, bars=bars, n=cell.n, wins=cell.wins, losses=cell.losses, gross=cell.gross, net=cell.net,
        win_rate=cell.wins / cell.n if cell.n else None,
        average=divide(cell.net, Decimal(cell.n)) if cell.n else None,
        reasons=reasons,
    )  # fmt: skip
