"""Statistics of trades and of returns: each with how many it is of, and why it is undefined where it is.

Money is summed exactly, squares included, so that a mean and a deviation depend on no order and lose nothing with
time. A trade that made nothing is neither won nor lost, and ends a streak.
"""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import EXACT, ZERO, divide, number, root
from botobs.accounting.segments import Fall, deeper, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Figure", "MoneyFigure", "Outcome", "RollingStats", "RunningStats", "Sharpe", "sharpe"]

_plus, _minus, _times = EXACT.add, EXACT.subtract, EXACT.multiply
_NO_TRADES = "no trades"


@attrs.frozen
class Figure:
    """A ratio.

    Attributes:
        value: What it is, or `None`.
        n: How many trades it is of.
        reason: Why it is `None`.
    """

    value: float | None
    n: int
    reason: str | None = None


@attrs.frozen
class MoneyFigure:
    """An amount of money.

    Attributes:
        value: What it is, or `None`.
        n: How many trades it is of.
        reason: Why it is `None`.
    """

    value: Decimal | None
    n: int
    reason: str | None = None


@attrs.frozen(kw_only=True)
class Sharpe:
    """Mean over volatility.

    Attributes:
        bucket: What the returns are of: `day`, `hour`, `trade`.
        mean: Mean return.
        vol: Deviation of the returns, ddof 1.
        n: How many returns.
        annualized: Mean / vol * √(buckets per year); of trades, mean / vol.
        reason: Why something is `None`.
    """

    bucket: str
    mean: float | None = None
    vol: float | None = None
    n: int
    annualized: float | None = None
    reason: str | None = None


def sharpe(changed: Sequence[float], *, n: int, bucket: str, per_year: float) -> Sharpe:
    """Sharpe of `n` returns, of which all that are not among `changed` are zero.

    Example:
        >>> sharpe([0.01, -0.02, 0.03], n=4, bucket="day", per_year=365).n
        4
    """
    if n < 2:
        mean = math.fsum(changed) if n and math.isfinite(sum(changed)) else None
        return Sharpe(bucket=bucket, mean=mean, n=n, reason=f"fewer than 2 finished {bucket}s")
    empty = n - len(changed)
    try:
        mean = math.fsum(changed) / n
        variance = math.fsum([*((one - mean) * (one - mean) for one in changed), empty * mean * mean]) / (n - 1)
    except (OverflowError, ValueError):  # beyond what floats can say, or both infinities
        return Sharpe(bucket=bucket, n=n, reason="returns beyond any market")
    if not math.isfinite(variance):
        return Sharpe(bucket=bucket, n=n, reason="returns beyond any market")
    if not changed or (min(changed) == max(changed) and not (empty and changed[0])):
        # all the same; the mean may be off by its last digit, and mean / vol would be anything
        return Sharpe(bucket=bucket, mean=changed[0] if changed else 0.0, vol=0.0, n=n, reason="no volatility")
    vol = math.sqrt(variance)
    if not vol:  # squares too small for floats
        return Sharpe(bucket=bucket, mean=mean, vol=vol, n=n, reason="no volatility")
    return Sharpe(bucket=bucket, mean=mean, vol=vol, n=n, annualized=mean / vol * math.sqrt(per_year))


@attrs.frozen(kw_only=True)
class Outcome:
    """What one closed trade came to.

    Attributes:
        gross: PnL before costs.
        fees: Commissions; negative: rebates.
        funding: Received; negative: paid.
        risk_reward: The planned ratio, if there was a plan.
    """

    gross: Decimal
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    risk_reward: Decimal | float | None = None

    @property
    def net(self) -> Decimal:
        """PnL after costs and funding."""
        return _plus(_minus(self.gross, self.fees), self.funding)


class RunningStats:
    """Statistics of trades in the order in which they closed; one more costs the same whatever came before.

    Args:
        start: Equity before the first trade, which is the first peak.

    Attributes:
        trades: How many; `wins` made money, `losses` lost some, after costs.
        gross: Sum before costs.
        net: Sum after costs; `squares` is the sum of its squares.
        commissions: Sum of fees.
        funding: Sum of funding.
        won: Sum of what wins made; `lost`: of what losses lost, positive.
        best: The best net; `worst`: the worst; `None` without trades.
        streak: How many wins in a row now; negative: losses.
        longest_win: The longest streak of wins; `longest_loss`: of losses.
        equity: `start` plus net; `peak`: its highest.
        max_drawdown: The largest fall of `equity` from its peak; `deepest`: the one by the largest fraction of it.

    Example:
        >>> stats = RunningStats()
        >>> for gross in (30, -10, 5):
        ...     stats.add(Outcome(gross=Decimal(gross), fees=Decimal(1)))
        >>> stats.net, stats.win_rate.value == 2 / 3, stats.profit_factor.value, stats.max_drawdown
        (Decimal('22'), True, 3.0, Decimal('11'))
    """

    _MONEY = (
        "start", "gross", "net", "squares", "commissions", "funding", "won", "lost", "equity", "peak",
        "max_drawdown", "risk_reward",
    )  # fmt: skip
    _COUNTS = ("trades", "wins", "losses", "planned", "streak", "longest_win", "longest_loss")
    __slots__ = (*_MONEY, *_COUNTS, "best", "deepest", "worst")

    def __init__(self, start: Decimal = ZERO) -> None:
        self.start = self.equity = self.peak = start
        self.gross = self.net = self.squares = self.commissions = self.funding = self.won = self.lost = ZERO
        self.max_drawdown = self.risk_reward = ZERO
        self.trades = self.wins = self.losses = self.planned = 0
        self.streak = self.longest_win = self.longest_loss = 0
        self.best: Decimal | None = None
        self.worst: Decimal | None = None
        self.deepest: Fall | None = None

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], start: Decimal = ZERO) -> RunningStats:
        """The statistics of `outcomes`, in their order."""
        stats = cls(start)
        for outcome in outcomes:
            stats.add(outcome)
        return stats

    def add(self, trade: Outcome) -> None:
        """One more trade has closed."""
        net = trade.net
        self.trades += 1
        self.gross = _plus(self.gross, trade.gross)
        self.commissions = _plus(self.commissions, trade.fees)
        self.funding = _plus(self.funding, trade.funding)
        self.net = _plus(self.net, net)
        self.squares = _plus(self.squares, _times(net, net))
        self.best = net if self.best is None else max(self.best, net)
        self.worst = net if self.worst is None else min(self.worst, net)
        self._count(net)
        self.equity = _plus(self.equity, net)
        self.peak = max(self.peak, self.equity)
        self.max_drawdown = max(self.max_drawdown, _minus(self.peak, self.equity))
        if net < 0:
            self.deepest = deeper(self.deepest, Fall(self.peak, self.equity))
        planned = _planned(trade.risk_reward)
        if planned is not None:
            self.planned += 1
            self.risk_reward = _plus(self.risk_reward, planned)

    def _count(self, net: Decimal) -> None:
        if net > 0:
            self.wins += 1
            self.won = _plus(self.won, net)
            self.streak = max(self.streak, 0) + 1
            self.longest_win = max(self.longest_win, self.streak)
        elif net < 0:
            self.losses += 1
            self.lost = _minus(self.lost, net)
            self.streak = min(self.streak, 0) - 1
            self.longest_loss = max(self.longest_loss, -self.streak)
        else:
            self.streak = 0

    # --- figures ---------------------------------------------------------------------------------------------------

    @property
    def win_rate(self) -> Figure:
        """Part of the trades that made money."""
        return _ratio(Decimal(self.wins), Decimal(self.trades), self.trades, _NO_TRADES)

    @property
    def profit_factor(self) -> Figure:
        """What wins made over what losses lost."""
        return _ratio(self.won, self.lost, self.trades, "no losing trade" if self.trades else _NO_TRADES)

    @property
    def expectancy(self) -> MoneyFigure:
        """What a trade makes on average, after costs."""
        return _mean(self.net, self.trades, _NO_TRADES)

    @property
    def average_win(self) -> MoneyFigure:
        """What a winning trade makes on average."""
        return _mean(self.won, self.wins, "no winning trade" if self.trades else _NO_TRADES)

    @property
    def average_loss(self) -> MoneyFigure:
        """What a losing trade loses on average, positive."""
        return _mean(self.lost, self.losses, "no losing trade" if self.trades else _NO_TRADES)

    @property
    def payoff(self) -> Figure:
        """Average win over average loss."""
        if not self.wins or not self.losses:
            missing = "winning" if not self.wins else "losing"
            return Figure(None, self.trades, f"no {missing} trade" if self.trades else _NO_TRADES)
        whole = _times(self.lost, Decimal(self.wins))
        return _ratio(_times(self.won, Decimal(self.losses)), whole, self.trades, "")

    @property
    def average_risk_reward(self) -> Figure:
        """Average planned ratio of reward to risk, over the trades that had one."""
        why = "no trade with stop and target" if self.trades else _NO_TRADES
        return _ratio(self.risk_reward, Decimal(self.planned), self.planned, why)

    @property
    def max_drawdown_pct(self) -> Figure:
        """The largest drawdown as a fraction of its peak; undefined with a start not above zero."""
        if self.start <= 0:
            return Figure(None, self.trades, "no equity to begin with")
        return Figure(self.deepest.pct() if self.deepest is not None else 0.0, self.trades)

    @property
    def sharpe(self) -> Sharpe:
        """Mean over deviation of the net of a trade, in money; `annualized` is not annualized for trades."""
        if self.trades < 2:
            mean = float(self.net) if self.trades else None
            return Sharpe(bucket="trade", mean=mean, n=self.trades, reason="fewer than 2 trades")
        n = Decimal(self.trades)
        mean = float(divide(self.net, n))
        spread = _minus(_times(self.squares, n), _times(self.net, self.net))  # n times the sum of squared deviations
        if not spread:
            return Sharpe(bucket="trade", mean=mean, vol=0.0, n=self.trades, reason="no volatility")
        vol = root(divide(spread, _times(n, _minus(n, Decimal(1)))))
        ratio = float(divide(divide(self.net, n), vol))
        return Sharpe(bucket="trade", mean=mean, vol=float(vol), n=self.trades, annualized=ratio)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can say it; `of_state` makes the same of it."""
        said: dict[str, Any] = {name: getattr(self, name) for name in self._COUNTS}
        said.update((name, str(getattr(self, name))) for name in self._MONEY)
        said.update(
            best=None if self.best is None else str(self.best),
            worst=None if self.worst is None else str(self.worst),
            deepest=None if self.deepest is None else [str(self.deepest.peak), str(self.deepest.equity)],
        )
        return said

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> RunningStats:
        """The statistics that `state` told of.

        Raises:
            ValueError: It is no such state.
        """
        stats = cls()
        try:
            for name in cls._COUNTS:
                setattr(stats, name, int(state[name]))
            for name in cls._MONEY:
                setattr(stats, name, read(state[name]))
            stats.best = None if state["best"] is None else read(state["best"])
            stats.worst = None if state["worst"] is None else read(state["worst"])
            stats.deepest = None if state["deepest"] is None else Fall(*map(read, state["deepest"]))
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"no state of statistics: {type(error).__name__}") from error
        return stats


class RollingStats:
    """Statistics of the last trades.

    Args:
        window: How many.

    Attributes:
        window: How many at most.
    """

    __slots__ = ("_latest", "_stats", "window")

    def __init__(self, window: int = 20) -> None:
        self.window = max(int(window), 1)
        self._latest: deque[Outcome] = deque(maxlen=self.window)
        self._stats: RunningStats | None = None

    def add(self, trade: Outcome) -> None:
        """One more trade has closed; with a full window the oldest one leaves."""
        self._latest.append(trade)
        self._stats = None

    @property
    def full(self) -> bool:
        """Whether there have been enough trades to fill the window."""
        return len(self._latest) == self.window

    @property
    def stats(self) -> RunningStats:
        """Of the trades in the window, made when asked for."""
        if self._stats is None:
            self._stats = RunningStats.of(self._latest)
        return self._stats

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can say it."""
        latest = []
        for one in self._latest:
            planned = _planned(one.risk_reward)
            sums = [str(one.gross), str(one.fees), str(one.funding)]
            latest.append([*sums, None if planned is None else str(planned)])
        return {"window": self.window, "latest": latest}

    @classmethod
    def of_state(cls, state: dict[str, Any], *, window: int | None = None) -> RollingStats:
        """What `state` told of, or the newest of it that fit a smaller `window`.

        Raises:
            ValueError: It is no such state.
        """
        try:
            rolling = cls(state["window"] if window is None else window)
            for gross, fees, funding, planned in state["latest"]:
                ratio = None if planned is None else read(planned)
                rolling.add(Outcome(gross=read(gross), fees=read(fees), funding=read(funding), risk_reward=ratio))
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"no state of statistics: {type(error).__name__}") from error
        return rolling


def _ratio(part: Decimal, whole: Decimal, n: int, why_not: str) -> Figure:
    return Figure(float(divide(part, whole)), n) if whole else Figure(None, n, why_not)


def _mean(total: Decimal, n: int, why_not: str) -> MoneyFigure:
    return MoneyFigure(divide(total, Decimal(n)), n) if n else MoneyFigure(None, 0, why_not)


def _planned(risk_reward: Decimal | float | None) -> Decimal | None:
    try:
        return None if risk_reward is None else number(risk_reward)
    except ValueError:  # a plan without risk, say: no ratio
        return None
