"""Statistics of trades against plain ones over the whole list, with exact fractions."""

from __future__ import annotations

import decimal
import json
import math
import statistics
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.statistics import Outcome, RollingStats, RunningStats, sharpe

D = Decimal
amounts = st.one_of(st.integers(-1, 1), st.integers(-500, 500)).map(lambda cents: D(cents) / 100)
outcomes = st.lists(
    st.builds(
        Outcome, gross=amounts, fees=st.one_of(st.just(0), st.integers(-10, 30)).map(lambda cents: D(cents) / 100), funding=amounts,
        risk_reward=st.none() | st.integers(1, 5).map(D) | st.sampled_from([0.5, 1.5, math.nan, math.inf]),
    ),
    max_size=40,
)  # fmt: skip


def exact(value):
    return Fraction(value)


@settings(max_examples=300, deadline=None)
@given(trades=outcomes, start=st.sampled_from([D(0), D(100), D("0.5")]))
def test_running_statistics_are_those_of_the_list(trades, start):
    stats = RunningStats.of(trades, start)
    nets = [exact(one.gross) - exact(one.fees) + exact(one.funding) for one in trades]
    wins, losses = [net for net in nets if net > 0], [net for net in nets if net < 0]
    assert (stats.trades, stats.wins, stats.losses) == (len(nets), len(wins), len(losses))
    assert (stats.net, stats.gross) == (sum(nets), sum(exact(one.gross) for one in trades))
    assert (stats.commissions, stats.funding) == (
        sum(exact(one.fees) for one in trades),
        sum(exact(one.funding) for one in trades),
    )
    assert (stats.won, stats.lost) == (sum(wins), -sum(losses))
    assert (stats.best, stats.worst) == ((max(nets), min(nets)) if nets else (None, None))
    points = [exact(start)]
    for net in nets:
        points.append(points[-1] + net)
    peaks = [max(points[: place + 1]) for place in range(len(points))]
    assert (stats.equity, stats.peak) == (points[-1], peaks[-1])
    drops = [peak - point for peak, point in zip(peaks, points, strict=True)]
    assert stats.max_drawdown == max(drops)
    pct = stats.max_drawdown_pct
    assert pct.value == (float(max(d / p for d, p in zip(drops, peaks, strict=True))) if start else None)
    assert (pct.reason is None) == bool(start)
    check_streaks(stats, nets)
    check_ratios(stats, nets, wins, losses)


def check_streaks(stats, nets):
    signs = "".join("+" if net > 0 else "-" if net < 0 else "0" for net in nets)
    assert stats.longest_win == max(map(len, signs.replace("0", "-").split("-")))
    assert stats.longest_loss == max(map(len, signs.replace("0", "+").split("+")))
    now = len(signs) - len(signs.rstrip(signs[-1])) if signs else 0
    assert stats.streak == (now if signs[-1:] == "+" else -now if signs[-1:] == "-" else 0)


def check_ratios(stats, nets, wins, losses):
    n = len(nets)
    assert stats.win_rate.value == (float(Fraction(len(wins), n)) if n else None)
    assert stats.profit_factor.value == (float(sum(wins) / -sum(losses)) if losses else None)
    assert stats.profit_factor.reason == (None if losses else "no losing trade" if n else "no trades")
    assert stats.expectancy.value == (None if not n else D(stats.net) if n == 1 else stats.expectancy.value)
    if n:
        assert abs(exact(stats.expectancy.value) - sum(nets) / n) < Fraction(1, 10**30)
    payoff = float((sum(wins) / len(wins)) / (-sum(losses) / len(losses))) if wins and losses else None
    assert stats.payoff.value == (payoff if payoff is None else pytest.approx(payoff, rel=1e-15))
    for figure in (
        stats.win_rate, stats.profit_factor, stats.expectancy, stats.average_win, stats.average_loss, stats.payoff,
        stats.average_risk_reward, stats.max_drawdown_pct,
    ):  # fmt: skip
        assert (figure.value is None) == (figure.reason is not None)
    found = stats.sharpe
    assert found.n == n
    if n < 2:
        assert (found.vol, found.annualized, found.reason) == (None, None, "fewer than 2 trades")
    elif len(set(nets)) == 1:
        assert (found.vol, found.annualized, found.reason) == (0.0, None, "no volatility")
    else:
        assert found.vol == pytest.approx(statistics.stdev(map(float, nets)), rel=1e-9)
        assert found.annualized == pytest.approx(float(sum(nets) / n) / found.vol, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(trades=outcomes, then=outcomes, start=amounts)
def test_they_go_on_from_their_state(trades, then, start):
    stats, rolling = RunningStats.of(trades, start), RollingStats(7)
    for one in trades:
        rolling.add(one)
    again = RunningStats.of_state(json.loads(json.dumps(stats.state())))
    rolled = RollingStats.of_state(json.loads(json.dumps(rolling.state())))
    for one in then:
        for each in (stats, again, rolling, rolled):
            each.add(one)
    assert again.state() == stats.state()
    assert rolled.state() == rolling.state()
    assert rolled.stats.state() == rolling.stats.state() == RunningStats.of([*trades, *then][-7:]).state()
    assert rolled.full == (len(trades) + len(then) >= 7)


def test_a_trade_that_made_nothing_ends_a_streak():
    stats = RunningStats.of([Outcome(gross=D(gross)) for gross in (1, 1, 0, 1)])
    assert (stats.streak, stats.longest_win, stats.win_rate.value) == (1, 2, 0.75)


def test_a_window_that_was_made_smaller_keeps_the_newest():
    rolling = RollingStats(5)
    for gross in range(5):
        rolling.add(Outcome(gross=D(gross)))
    again = RollingStats.of_state(rolling.state(), window=2)
    assert (again.window, again.stats.trades, again.stats.net) == (2, 2, D(7))
    assert RollingStats(0).window == 1


def test_only_planned_trades_have_a_ratio():
    stats = RunningStats.of(
        [
            Outcome(gross=D(1), risk_reward=2.0),
            Outcome(gross=D(1)),
            Outcome(gross=D(1), risk_reward=D(1)),
            Outcome(gross=D(1), risk_reward=math.nan),
        ]
    )
    found = stats.average_risk_reward
    assert (found.value, found.n) == (1.5, 2)
    assert RunningStats.of([Outcome(gross=D(1))]).average_risk_reward.reason == "no trade with stop and target"


def test_money_is_exact_whatever_the_context_of_the_bot():
    tiny = D("1E-30")
    with decimal.localcontext(prec=3):
        stats = RunningStats()
        for gross in (D(10**12), tiny, -D(10**12), tiny):
            stats.add(Outcome(gross=gross))
        assert stats.net == 2 * tiny
        assert stats.lost == 10**12
        assert stats.max_drawdown == 10**12
        assert stats.sharpe.vol == pytest.approx(statistics.stdev([1e12, 0, -1e12, 0]))


def test_a_small_spread_on_large_trades_is_not_lost():
    stats = RunningStats.of(Outcome(gross=D(10**15) + D(cents) / 100) for cents in (1, 2, 3))
    assert stats.sharpe.vol == pytest.approx(0.01, rel=1e-12)


@pytest.mark.parametrize("damage", [{}, None, [], {"trades": "x"}])
def test_a_damaged_state_is_refused(damage):
    for kind in (RunningStats, RollingStats):
        with pytest.raises(ValueError):
            kind.of_state(damage)
    for name, value in (("net", "NaN"), ("won", None), ("trades", "many"), ("deepest", ["1"]), ("best", 7)):
        with pytest.raises(ValueError):
            RunningStats.of_state({**RunningStats.of([Outcome(gross=D(1))]).state(), name: value})
    with pytest.raises(ValueError):
        RollingStats.of_state({"window": 3, "latest": [["1", "2"]]})


@settings(max_examples=200, deadline=None)
@given(changed=st.lists(st.floats(-0.9, 2.0), max_size=30), empty=st.integers(0, 50))
def test_sharpe_counts_empty_buckets_as_zero(changed, empty):
    returns, n = [*changed, *[0.0] * empty], len(changed) + empty
    found = sharpe(changed, n=n, bucket="day", per_year=365)
    assert found.n == n
    if n < 2:
        assert found.annualized is None
        return
    assert found.mean == pytest.approx(statistics.fmean(returns), rel=1e-12, abs=1e-300)
    assert found.vol == pytest.approx(statistics.stdev(returns), rel=1e-7, abs=1e-150)
    if found.vol:
        assert found.annualized == pytest.approx(found.mean / found.vol * math.sqrt(365))
    else:
        assert found.reason == "no volatility"


@pytest.mark.parametrize("changed", [[math.inf, 1.0], [math.inf, -math.inf], [1e308, -1e308, 1e308], [1.7e308] * 3])
def test_returns_beyond_floats_raise_nothing(changed):
    found = sharpe(changed, n=5, bucket="day", per_year=365)
    assert (found.annualized, found.reason) == (None, "returns beyond any market")
    assert sharpe(changed[:1], n=1, bucket="day", per_year=365).annualized is None
