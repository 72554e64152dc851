"""What a round trip costs this bot in a market, from its own latest trades."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import EXACT, ZERO, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

__all__ = ["Costs", "Traded"]

_LATEST: Final = 20
_MOST: Final = 500
_FARTHEST: Final = 1e6


class Traded(NamedTuple):
    """What a closed trade was, as far as others can be measured by it; all in bps of the entry's value.

    Attributes:
        sign: 1 for a long, -1 for a short.
        gross: What it made before costs.
        fees: What it paid.
        funding: What it received for being held; who is on the other side pays it.
        slip: What both of its ends lost against their decisions.
        entry_px: At what price it was opened; `exit_px`: closed.
        money: Gross, fees and funding in money, and what one bp was worth; `None`: that is not known.
    """

    sign: int
    gross: float
    fees: float
    funding: float
    slip: float
    entry_px: float
    exit_px: float
    money: tuple[Decimal, Decimal, Decimal, Decimal] | None

    @property
    def cost(self) -> float:
        """What a round trip as this one costs."""
        return self.fees + self.slip

    def result(self, sign: int) -> float:
        """What somebody came to who went that way instead, at the same times and the same costs.

        Slippage is in the prices of the one that was made; it would have hit the other way just the same.
        """
        if not sign:
            return 0.0
        if sign == self.sign:
            return self.gross + self.funding - self.fees
        return -(self.gross + self.slip + self.funding) - self.slip - self.fees

    def amount(self, sign: int) -> Decimal | None:
        """The same in money: of the way that was gone, exactly what the trade made."""
        if self.money is None or not sign:
            return None if self.money is None else ZERO
        gross, fees, funding, bp = self.money
        made = EXACT.subtract(EXACT.add(gross, funding), fees)
        if sign == self.sign:
            return made
        slip = EXACT.multiply(bp, number(self.slip))
        other = EXACT.add(EXACT.add(gross, funding), EXACT.add(slip, slip))
        return EXACT.minus(EXACT.add(other, fees))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Traded | None:
        """What a trade's record says; `None`: too little."""
        try:
            gross, fees, funding = (number(record[key] or 0) for key in ("realized_pnl_usd", "fees_usd", "funding_usd"))
            in_bps = {
                "realized_pnl_usd": record["realized_pnl_bps"], "costs_total_usd": record["costs_total_bps"],
                "net_pnl_usd": record["net_pnl_bps"],
            }  # fmt: skip
            amounts = {key: number(record[key] or 0) for key in in_bps}
            key = max(amounts, key=lambda name: abs(amounts[name]))
            entry, leave = float(record["entry_px"]), float(record["exit_px"])
            slip = math.fsum(float(record.get(f"slippage_{end}_bps") or 0.0) for end in ("entry", "exit"))
            sign = 1 if record["side"] == "long" else -1
            if amounts[key]:
                bp = float(amounts[key]) / float(in_bps[key])
            else:  # it came to nothing, and so says nothing of its size
                bp = entry * float(record["entry_qty"]) / 1e4
            made, paid, held = float(gross) / bp, float(fees) / bp, float(funding) / bp
        except Exception:  # told by hand, or of an earlier version
            return None
        figures = (made, paid, held, slip)
        if not all(-_FARTHEST <= one <= _FARTHEST for one in figures) or not 0.0 < bp < math.inf:
            return None
        return cls(sign, made, paid, held, slip, entry, leave, (gross, fees, funding, number(bp)))


class Costs:
    """The typical costs of a round trip, by symbol. Not locked.

    Args:
        told: What somebody says they are; `None`: what the latest trades say.

    Attributes:
        learned: How many trades told.

    Example:
        >>> costs = Costs()
        >>> for cost in (2.0, 2.5, 90.0):
        ...     costs.learn("BTC", cost)
        >>> costs.of("BTC"), costs.of("ETH"), Costs(3.0).of("BTC"), Costs().of("BTC")
        (2.5, 2.5, 3.0, None)
    """

    def __init__(self, told: float | None = None) -> None:
        self.told = told
        self._latest: OrderedDict[str, deque[float]] = OrderedDict()
        self.learned = 0

    def learn(self, symbol: str, cost: float) -> None:
        """A round trip cost that."""
        own = self._latest.setdefault(symbol, deque(maxlen=_LATEST))
        own.append(cost)
        self.learned += 1
        self._latest.move_to_end(symbol)
        if len(self._latest) > _MOST:
            self._latest.popitem(last=False)

    def of(self, symbol: str) -> float | None:
        """The median of the symbol's latest trades, else of the latest symbols'; `None`: nothing was traded yet."""
        if self.told is not None:
            return self.told
        own = self._latest.get(symbol)
        if own is None:
            newest = list(self._latest.values())[-_LATEST:]
            return median([median(each) for each in newest]) if newest else None
        return median(own)

    def state(self) -> list[list[Any]]:
        """All of it, for JSON."""
        return [[symbol, list(own)] for symbol, own in self._latest.items()]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        for symbol, own in state:
            costs = [float(one) for one in own]
            if all(map(math.isfinite, costs)) and costs:
                self._latest[str(symbol)] = deque(costs, _LATEST)
