"""What has not been settled: decisions and refusals on their way to the end of their horizon, bounded.

A settlement looks at no price from before its decision, and at none from after its end. So the price at an end in time
is the newest one that was seen by then, and lost is what no price came for. Prices are looked at once a second; one
that is still the same object as a second ago is no news.

Bars often say when they ended. One that ended before the decision, and was told late, tells nothing of what came after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from botobs.insight.counterfactual.candidates import Candidate
    from botobs.insight.terms import Horizon

__all__ = ["BarEnds", "Clusters", "Decision", "Refusal", "Run", "Running"]

_MOST: Final = 2_000
_MOST_EACH: Final = 64  # of one symbol
_MOST_SYMBOLS: Final = 10_000
_ROUNDS: Final = 8  # of one symbol in one cluster,
_MOST_ROUNDS: Final = 64  # or so many, while a trade is open that would lie in two of them
_DAY_NS: Final = 86_400 * 1_000_000_000


@attrs.define(eq=False, kw_only=True)
class Run:
    """Something that is settled at the end of its horizon.

    Attributes:
        symbol: Of which market.
        price: The price it began at.
        since: When, in nanoseconds since 1970.
        over: Its horizon, as it is written.
        left: Bars until its end; 0: it does not end by bars.
        ends: When it ends; 0: not by time.
        mark: What the market's price was then, where that is not `price`.
        cost: What a round trip costs, in bps; `None`: nobody knows.
        cluster: What was running at the same time is in the same.
        came: The newest price by its end, and `came_at` when that was.
        bar_id: The bar of the tick it was in; `trace_id` its trace.
    """

    symbol: str
    price: float
    since: int
    over: str = ""
    left: int = 0
    ends: int = 0
    mark: float | None = None
    cost: float | None = None
    cluster: int = 0
    came: float | None = None
    came_at: int = 0
    bar_id: Any = None
    trace_id: str | None = None
    seen: Any = None  # the price as it was looked at last: the same object is the same price

    def begin(self, horizon: Horizon) -> None:
        """Wait for the end of this."""
        self.over, self.left = horizon.text, horizon.bars
        self.ends = self.since + horizon.ns if horizon.ns else 0

    @property
    def move(self) -> float | None:
        """The move by its end, in bps; `None`: no price came."""
        return None if self.came is None else (self.came - self.price) / self.price * 1e4


@attrs.define(eq=False, kw_only=True)
class Decision(Run):
    """What the sources of a signal would have done, and what the bot did.

    Attributes:
        candidates: Each of them.
        chosen: The one that the bot followed.
        way: Which way the bot went: 1, -1, 0 for flat; `None`: nobody said.
        orders: Orders that came of it and may still open a trade.
        acted: Whether any of them was filled; `None`: there was none.
        trade_id: The trade that came of it.
    """

    candidates: tuple[Candidate, ...]
    chosen: str | None = None
    way: int | None = None
    orders: set[str] = attrs.field(factory=set)
    acted: bool | None = None
    trade_id: str | None = None


@attrs.define(eq=False, kw_only=True)
class Refusal(Run):
    """An order, or a wish for one, that was not let through.

    Attributes:
        sign: 1: it would have bought, -1: sold.
        by: Who refused it: `kill switch`, `stale data`, `risk`, `cancel`.
        stage: At which stage.
        reason: Why.
        qty: How much it was about; `worth`: in money, for each unit of price moved relative to its own.
        order_id: Which order.
        orders: All that are the same refusal.
        reduces: It would have made a position smaller.
        strategy: Whose.
        repeats: How many more times the same was refused while this one ran.
    """

    sign: int
    by: str
    stage: str | None = None
    reason: str = ""
    qty: Decimal | None = None
    worth: Decimal | None = None
    order_id: str | None = None
    orders: set[str] = attrs.field(factory=set)
    reduces: bool = False
    strategy: str | None = None
    repeats: int = 0

    @property
    def alike(self) -> tuple[Any, ...]:
        """What another one has in common with it that is the same refusal again."""
        return self.symbol, self.sign, self.by, self.stage, self.strategy, self.reduces


class Running:
    """Those of all symbols. Not locked."""

    def __init__(self) -> None:
        self._of: dict[str, list[Run]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Run]:
        return iter([run for own in self._of.values() for run in own])

    def put(self, run: Run) -> bool:
        """Wait for its end; `False`: there are too many."""
        own = self._of.get(run.symbol)
        if self._count >= _MOST or (own is not None and len(own) >= _MOST_EACH):
            return False
        self._of.setdefault(run.symbol, []).append(run)
        self._count += 1
        return True

    def take(self, run: Run) -> bool:
        """Wait for it no more; whether it was waited for."""
        own = self._of.get(run.symbol, [])
        if run not in own:
            return False
        own.remove(run)
        self._count -= 1
        if not own:
            del self._of[run.symbol]
        return True

    @property
    def timed(self) -> list[str]:
        """The symbols whose price is wanted now and then."""
        return [symbol for symbol, own in list(self._of.items()) if any(run.ends for run in own)]

    def bar(self, symbol: str, close: float, ended: int, told: int) -> list[Run]:
        """A bar has finished; those whose end it is. `ended`: as well as that is known; `told`: when it was told."""
        due = []
        for run in self._of.get(symbol, ()):
            if run.left and (ended >= run.since or told < run.since):  # that: the clock was set back
                run.left -= 1
                if not run.left:
                    run.came, run.came_at = close, told
                    due.append(run)
        for run in due:
            self.take(run)
        return due

    def price(self, symbol: str, price: Any, value: float, at: int, now: int) -> list[Run]:
        """At `now` the newest price is this, no newer than `at`; those whose end has come."""
        due = []
        for run in self._of.get(symbol, ()):
            if not run.ends:
                continue
            began = run.price if run.mark is None else run.mark
            news = run.seen is not price and (run.seen is not None or value != began)
            run.seen = price
            if news and run.since < at and run.since < now <= run.ends:
                run.came, run.came_at = value, now
            if now >= run.ends:  # also after a clock was set back: it waits until the time has come
                due.append(run)
        for run in due:
            self.take(run)
        return due

    def drop(self, before: int) -> list[Run]:
        """Those that began before that, and wait for bars that do not come."""
        old = [run for run in self if run.left and run.since < before]
        for run in old:
            self.take(run)
        return old


class Clusters:
    """What runs at the same time is in the same cluster, until one symbol has been in it too often.

    A trade runs for long, and all that is decided meanwhile has a part of its story.

    Attributes:
        latest: The cluster that began last.
        joined: How many joined any.
    """

    def __init__(self) -> None:
        self.latest = self.joined = 0
        self._members: dict[str, int] = {}

    def join(self, run: Run, *, busy: bool, trades: bool = False) -> None:
        """It begins; `busy`: others run, and `trades` are among them."""
        members = self._members
        if not busy or members.get(run.symbol, 0) >= (_MOST_ROUNDS if trades else _ROUNDS):
            self.latest += 1
            members.clear()
        self.joined += 1
        members[run.symbol] = members.get(run.symbol, 0) + 1
        run.cluster = self.latest


class BarEnds:
    """When bars ended, on the bot's own clock, from what they say themselves.

    Some bots date a bar by its end, some by its beginning, some replay years that are long past. How late the earliest
    of a symbol's bars are told, in whole lengths of a bar, tells which.

    Example:
        >>> ends = BarEnds()
        >>> said = "2026-01-02T03:04:00.000000Z"
        >>> told = epoch_ns(said) + 5_000_000
        >>> told - ends.of("BTC", said, told)  # it ended when it says
        5000000
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, int]] = {}  # the last one's date, the length, the least lag

    def of(self, symbol: str, said: str | None, told: int) -> int:
        """When a bar that is dated `said` and was told at `told` ended; never later than it was told."""
        if said is None:
            return told
        try:
            date = epoch_ns(said)
        except Exception:  # it is no time: it came when it was told
            return told
        last, length, lag = self._known.get(symbol, (date, 0, told - date))
        if date > last and (not length or date - last < length):
            length = date - last
        lag = min(lag, told - date)
        if symbol in self._known or len(self._known) < _MOST_SYMBOLS:
            self._known[symbol] = (date, length, lag)
        if length:
            return min(date + length * max((lag + length // 10) // length, 0), told)
        return date if 0 <= lag < _DAY_NS else told
