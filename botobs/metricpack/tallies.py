"""What exits and closed trades came to, for each symbol, regime and action: everything that is exported."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.accounting.numbers import ZERO, ratio
from botobs.accounting.statistics import RunningStats

if TYPE_CHECKING:
    from botobs.accounting.statistics import Outcome

__all__ = ["ATR_BOUNDS", "TIME_BOUNDS", "ByAction", "ByRegime", "Spread"]

#: Seconds in a trade, from ten seconds to a month.
TIME_BOUNDS: Final = (
    10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0,
    604_800.0, 2_592_000.0,
)  # fmt: skip
#: Excursions in multiples of the average true range.
ATR_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


class Spread:
    """A histogram: how many values lie up to each bound, and their sum.

    Attributes:
        bounds: Upper bounds, the value included; what is beyond the last one has a bucket of its own.
        counts: How many in each bucket.
        total: Their sum.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def state(self) -> list[Any]:
        """All of it, for JSON."""
        return [self.counts, self.total]

    def restore(self, state: list[Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: It has other buckets.
        """
        counts, total = state
        if len(counts) != len(self.counts):
            raise ValueError("a histogram of other buckets")
        self.counts, self.total = [int(count) for count in counts], float(total)


class ByAction:
    """What the exits of one symbol, regime and action were worth.

    Attributes:
        pnl: What they brought after their own fees; of entries, the fees; of funding, what was received.
        exits: How many exits of closed trades won, lost, and neither.
        trades: The same of the trades that such an exit closed, with all their costs.
    """

    __slots__ = ("exits", "pnl", "trades")

    def __init__(self) -> None:
        self.pnl = ZERO
        self.exits = [0, 0, 0]
        self.trades = [0, 0, 0]

    @property
    def win_rate(self) -> float | None:
        """Part of the exits that made money; `None`: there were none."""
        found = ratio(Decimal(self.exits[0]), Decimal(sum(self.exits)))
        return None if found is None else float(found)

    def packed(self) -> bytes:
        """All of it, as JSON."""
        return orjson.dumps((str(self.pnl), self.exits, self.trades))

    @classmethod
    def unpacked(cls, packed: bytes) -> ByAction:
        """The inverse of `packed`.

        Raises:
            ValueError, TypeError, ArithmeticError: It is none.
        """
        self = cls()
        pnl, exits, trades = orjson.loads(packed)
        self.pnl, self.exits, self.trades = Decimal(pnl), list(map(int, exits)), list(map(int, trades))
        return self


class ByRegime:
    """What the closed trades of one symbol and regime came to.

    Attributes:
        stats: Expectancy, profit factor and what belongs to them, by the project's own formulas.
        held: Seconds from the first entry to the last exit.
        mfe: How far the price went for them, in ATR at the entry.
        mae: How far it went against them.
    """

    __slots__ = ("held", "mae", "mfe", "stats")

    def __init__(self) -> None:
        self.stats = RunningStats()
        self.held = Spread(TIME_BOUNDS)
        self.mfe = Spread(ATR_BOUNDS)
        self.mae = Spread(ATR_BOUNDS)

    def add(self, outcome: Outcome, seconds: float, excursions: tuple[float, float] | None) -> None:
        """One more trade is closed."""
        self.stats.add(outcome)
        self.held.add(seconds)
        if excursions is not None:
            self.mfe.add(excursions[0])
            self.mae.add(excursions[1])

    def packed(self) -> bytes:
        """All of it, as JSON."""
        return orjson.dumps((self.stats.state(), self.held.state(), self.mfe.state(), self.mae.state()))

    @classmethod
    def unpacked(cls, packed: bytes) -> ByRegime:
        """The inverse of `packed`.

        Raises:
            ValueError, TypeError, ArithmeticError: It is none.
        """
        self = cls()
        stats, held, mfe, mae = orjson.loads(packed)
        self.stats = RunningStats.of_state(stats)
        self.held.restore(held)
        self.mfe.restore(mfe)
        self.mae.restore(mae)
        return self
