"""Regimes: which one, since when, who says so, and what was earned in it."""

from __future__ import annotations

import json
import random
import threading
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.wilder import Range
from botobs.errors import ConfigError
from botobs.events.money import TradeClosed, TradeOpened
from botobs.faults import Faults
from botobs.insight.earned import Earned
from botobs.insight.regime import RegimeTracker
from botobs.insight.terms import CalibrationTerms, Horizon, RegimeTerms

T0 = 1_767_323_000
MINUTE = 60


def feed(tracker, closes, *, symbol="BTC", begin=0, ts=True):
    """Bars a minute apart; the changes that they brought."""
    found = []
    for n, close in enumerate(closes, begin):
        bar = (symbol, close, close + 1, close - 1, close)
        at = {"ts": T0 + n * MINUTE} if ts else {"now_ns": (T0 + n * MINUTE) * 10**9}
        event = tracker.bar(*bar, **{"now_ns": 0, **at})
        if event is not None:
            found.append((n, event))
    return found


RISE = [100 + 2 * n for n in range(60)]
FLAT = [218 + (n % 2) for n in range(90)]


def test_a_trend_is_believed_after_three_bars_and_lasts_until_chop_has_been_said_as_often():
    told = []
    tracker = RegimeTracker(publish=told.append)
    found = feed(tracker, RISE + FLAT)
    plain, said = Range(), []
    for close in RISE + FLAT:
        plain.bar(close + 1, close - 1, close)
        adx = plain.adx.value
        said.append("unknown" if adx is None or 20 <= adx <= 25 else "trend" if adx > 25 else "chop")
    expected, name, run, since = [], "unknown", 0, 0
    for n, one in enumerate(said):  # the plain rule
        run = 0 if one == name else run + 1 if n and one == said[n - 1] and run else 1
        if run == (14 if one == "unknown" else 3):
            expected.append((n, name, one, n - since))
            name, run, since = one, 0, n
    assert [(n, e.previous, e.regime, e.lasted_bars) for n, e in found] == expected
    assert [e.regime for _, e in found] == ["trend", "chop"]
    assert told == [event for _, event in found]
    assert all(e.lasted_s == e.lasted_bars * MINUTE and e.held_bars == 3 and e.by == "adx" for e in told)
    first = told[0]
    assert (first.adx, first.close, first.bar_ts) == (100.0, RISE[29], "2026-01-02T03:32:20.000000Z")
    assert first.plus_di > first.minus_di == 0.0
    assert first.atr == pytest.approx(3.0)
    assert first.volatility_bps > 100
    current = tracker.current("BTC")
    assert (current.name, current.bars, current.market.bars) == ("chop", len(said) - found[-1][0], len(said))
    assert {name: p.bars for name, p in tracker.performance().items()} == {
        "unknown": 29,
        "trend": found[1][0] - 29,
        "chop": current.bars,
    }


def test_an_adx_that_stays_in_between_is_no_regime_any_more():
    told = []
    for closes in (RISE + FLAT[:5], RISE + [218 + 3 * (n % 4) for n in range(200)]):
        tracker, plain = RegimeTracker(RegimeTerms(trend=60.0, chop=2.0)), Range()
        found = feed(tracker, closes)
        for close in closes:
            plain.bar(close + 1, close - 1, close)
        told.append((plain.adx.value, [(e.regime, e.held_bars) for _, e in found]))
    assert told[0][1] == [("trend", 3)]
    assert 2 < told[1][0] < 60
    assert told[1][1] == [("trend", 3), ("unknown", 14)]


def test_what_flaps_changes_nothing():
    tracker = RegimeTracker()
    answers = iter(["a", "a", "b"] * 20 + ["a"] * 3)
    tracker.classify(lambda _market: next(answers))
    found = feed(tracker, [100] * 63)
    assert [(n, e.regime) for n, e in found] == [(62, "a")]
    steady = RegimeTracker(RegimeTerms(hold=1))
    steady.classify(lambda market: "odd" if market.bars % 2 else "even")
    assert len(feed(steady, [100] * 10)) == 10


def test_a_bar_that_is_told_again_or_is_none_counts_for_nothing():
    tracker = RegimeTracker()
    feed(tracker, RISE[:20])
    before = tracker.state()
    for odd in (
        ("BTC", 1, 2, 1, 2, None, T0 + 19 * MINUTE),
        ("BTC", 1, 2, 1, 2, None, T0),
        ("BTC", 1, 1, 2, 1),
        ("BTC", 1, float("nan"), 1, 1),
        ("BTC", 1, 2, 0, 1),
        ("BTC", None, 2, 1, 1),
        ("BTC", 1, 2, 1, 1, None, "yesterday"),
        ("BTC", 1, "x", object(), 1),
    ):
        assert tracker.bar(*odd) is None
    assert tracker.odd == 8
    assert tracker.state() == before
    assert tracker.current("ETH") is None
    assert tracker.name("ETH") == tracker.name(None) == "unknown"


def test_time_that_runs_backwards_lasts_nothing():
    tracker = RegimeTracker(RegimeTerms(hold=1))
    tracker.classify(lambda market: "late" if market.bars > 5 else "early")
    feed(tracker, [100] * 5, begin=100, ts=False)
    [(_, event)] = feed(tracker, [100], begin=3, ts=False)
    assert (event.lasted_bars, event.lasted_s) == (5, 0.0)


# -- the bot's own classifier


def test_a_classifier_sees_the_market_and_may_leave_it_to_the_adx():
    tracker, seen = RegimeTracker(), []

    @tracker.classify
    def by_volatility(market):
        seen.append(market)
        return "wild" if market.bars <= 10 else None

    found = feed(tracker, RISE)
    assert [(n, e.regime, e.by.rpartition(".")[2]) for n, e in found] == [
        (2, "wild", by_volatility.__name__),
        (23, "unknown", "adx"),
        (29, "trend", "adx"),
    ]
    assert (seen[24].close, seen[24].adx, seen[24].regime, seen[24].symbol) == (RISE[24], None, "unknown", "BTC")
    tracker.classify(None)
    feed(tracker, [220], begin=60)
    assert len(seen) == 60
    with pytest.raises(TypeError):
        tracker.classify("trend")


async def never():
    """What gives something to await."""


@pytest.mark.parametrize("answer", [1, "", "  ", [], never, object()])
def test_an_answer_that_is_no_name_changes_nothing(answer):
    faults = Faults()
    tracker = RegimeTracker(faults=faults)
    feed(tracker, RISE[:40])
    tracker.classify(lambda _market: answer() if answer is never else answer)
    assert feed(tracker, FLAT[:5], begin=40) == []
    assert tracker.name("BTC") == "trend"
    assert faults.errors == {"regime.classify": 5}


def test_a_classifier_that_raises_or_hangs_harms_nobody():
    faults, gate = Faults(), threading.Event()
    tracker = RegimeTracker(faults=faults, limit_s=10)

    @tracker.classify
    def broken(_market):
        raise KeyboardInterrupt

    feed(tracker, RISE[:2])
    assert tracker.odd == 0
    assert faults.errors["regime.classify"] == 2

    back = threading.Semaphore(0)
    tracker._limit_s = 0.01

    @tracker.classify
    def hangs(_market):
        gate.wait()
        gate.clear()
        back.release()
        return "never"

    for n in range(2, 8, 2):  # each time it comes back too late
        feed(tracker, [RISE[n]], begin=n)
        feed(tracker, [RISE[n]], begin=n + 1)  # it still hangs: it is not asked again
        gate.set()
        assert back.acquire(timeout=20)
        while tracker._classifier._busy:
            threading.Event().wait(0.001)
    assert tracker._classifier.out
    assert tracker.name("BTC") == "unknown"


def test_regimes_are_few_whatever_a_classifier_makes_up():
    tracker = RegimeTracker(RegimeTerms(hold=1))
    tracker.classify(lambda market: f"r{market.bars}" + "x" * 500)
    feed(tracker, [100] * 100)
    assert len(tracker.performance()) <= 21
    assert max(map(len, tracker.performance())) == 60
    assert tracker.name("BTC") == "other"


# -- over a restart


def test_it_goes_on_after_a_restart_as_if_there_had_been_none():
    whole, first = RegimeTracker(), RegimeTracker()
    closes = RISE + FLAT
    expected = feed(whole, closes)
    before = feed(first, closes[:75])
    second = RegimeTracker()
    assert second.restore(json.loads(json.dumps(first.state()))) == []
    assert second.current("BTC") == first.current("BTC")
    assert before + feed(second, closes[75:], begin=75) == expected
    assert second.state() == whole.state()


def test_a_damaged_symbol_begins_anew_and_the_others_go_on():
    tracker = RegimeTracker()
    feed(tracker, RISE)
    feed(tracker, RISE, symbol="ETH")
    state = tracker.state()
    state["symbols"]["BTC"][0] = [1, 2]
    again = RegimeTracker()
    assert again.restore(state) == ["the regime of BTC: ValueError"]
    assert (again.name("BTC"), again.name("ETH")) == ("unknown", "trend")
    for damaged in ({}, {"earned": 1}, {**state, "names": 3}):
        assert len(RegimeTracker().restore(damaged)) == 1


# -- what was earned


def opened(trade, symbol="BTC"):
    return TradeOpened(ts_ns=0, symbol=symbol, trade_id=trade, side="long")


def closed(trade, gross, fees=0, *, symbol="BTC", revision=1, undone=False):
    record = {
        "trade_id": trade, "exit_ts": "2026-01-02T03:04:05Z", "realized_pnl_usd": Decimal(str(gross)),
        "fees_usd": Decimal(str(fees)), "funding_usd": Decimal(0),
    }  # fmt: skip
    return TradeClosed(ts_ns=0, symbol=symbol, trade_id=trade, record=record, revision=revision, undone=undone)


def test_a_trade_counts_for_the_regime_it_was_opened_in():
    tracker = RegimeTracker()
    tracker.on_event(opened("t1"))
    feed(tracker, RISE)
    tracker.on_event(closed("t1", "0.3", "0.1"))
    for trade, gross in (("t2", 5), ("t3", -2), ("t4", 1)):
        tracker.on_event(opened(trade))
        tracker.on_event(closed(trade, gross, 1))
    tracker.on_event(opened("t9", "ETH"))
    tracker.on_event(closed("t9", 7, symbol="ETH"))
    found = tracker.performance()
    trend = found["trend"]
    assert (trend.n, trend.wins, trend.losses, trend.gross, trend.net) == (3, 1, 1, 4, 1)
    assert trend.win_rate == 1 / 3
    assert str(trend.average) == "0.3333333333333333333333333333333333"
    assert (found["unknown"].n, found["unknown"].net) == (2, Decimal("7.2"))
    assert tracker.performance("BTC")["unknown"].net == Decimal("0.2")
    chop = found["chop"]
    assert (chop.n, chop.net, chop.win_rate, chop.average) == (0, 0, None, None)
    assert chop.reasons == {"win_rate": "no trades", "average": "no trades"}


def test_a_trade_that_changes_is_counted_as_it_is():
    tracker = RegimeTracker()
    tracker.on_event(opened("t1"))
    tracker.on_event(closed("t1", 5, 1))
    feed(tracker, RISE)
    tracker.on_event(closed("t1", -3, 1, revision=2))
    tracker.on_event(closed("t1", 5, 1))  # told again
    found = tracker.performance()["unknown"]
    assert (found.n, found.gross, found.net, found.wins, found.losses) == (1, -3, -4, 0, 1)
    tracker.on_event(closed("t1", 0, revision=3, undone=True))
    assert tracker.performance()["unknown"].n == 0
    tracker.on_event(closed("t1", 9, revision=4))
    assert tracker.performance()["unknown"].net == 9  # still the regime that it was opened in
    tracker.on_event(closed("t0", 9, revision=2))  # nobody knows what it was before
    assert tracker.forgotten == 1
    assert sum(each.n for each in tracker.performance().values()) == 1


_trades = st.lists(
    st.tuples(
        st.integers(0, 5), st.decimals(-100, 100, places=3), st.decimals(-1, 1, places=4), st.booleans(),
        st.sampled_from(["trend", "chop"]),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(_trades)
def test_sums_are_those_of_the_newest_revisions(told):
    tracker, newest, first, revision = RegimeTracker(), {}, {}, {}
    for number, gross, fees, undone, regime in told:
        trade = f"t{number}"
        if trade not in first:
            first[trade] = regime
            tracker._earned.opened(trade, regime)
        revision[trade] = revision.get(trade, 0) + 1
        newest[trade] = None if undone else (gross, gross - fees)
        tracker.on_event(closed(trade, gross, fees, revision=revision[trade], undone=undone))
        if len(told) % 2:  # with a restart after each of them
            tracker._earned = Earned.of_state(json.loads(json.dumps(tracker._earned.state())))
    for regime in ("trend", "chop"):
        mine = [one for trade, one in newest.items() if one is not None and first[trade] == regime]
        found = tracker.performance()[regime]
        assert (found.n, found.gross, found.net) == (len(mine), sum(g for g, _ in mine), sum(n for _, n in mine))
        assert found.win_rate == (sum(n > 0 for _, n in mine) / len(mine) if mine else None)


def test_what_is_kept_has_a_bound(monkeypatch):
    monkeypatch.setattr("botobs.insight.earned._MOST_TRADES", 50)
    monkeypatch.setattr("botobs.insight.earned._MOST_OPEN", 50)
    monkeypatch.setattr("botobs.insight.earned._MOST_CELLS", 10)
    monkeypatch.setattr("botobs.insight.regime._MOST_SYMBOLS", 10)
    tracker, rng = RegimeTracker(), random.Random(1)
    for n in range(200):
        feed(tracker, [100], symbol=f"S{n}")
        tracker.on_event(opened(f"t{n}"))
        tracker.on_event(opened(f"never{n}"))
        tracker.on_event(closed(f"t{n}", rng.choice((1, -1)), symbol=f"S{n}"))
    state = tracker.state()
    assert len(state["symbols"]) == 10
    assert len(state["earned"]["trades"]) == 50 >= len(state["earned"]["opened"])
    assert len(state["earned"]["cells"]) <= 11
    assert tracker.performance()["unknown"].n == 200
    assert (tracker.odd, tracker.left_out) == (0, 190)


def test_a_market_without_bars_for_a_day_makes_room(monkeypatch):
    monkeypatch.setattr("botobs.insight.regime._MOST_SYMBOLS", 2)
    tracker, hour = RegimeTracker(), 3600 * 10**9
    for n, symbol in ((0, "expired"), (1, "traded"), (24, "traded"), (24, "new"), (24, "expired")):
        tracker.bar(symbol, 100, 101, 99, 100, now_ns=n * hour)
    assert (tracker.left_out, tracker.symbols) == (1, ["traded", "new"])
    tracker.bar("expired", 100, 101, 99, 100, now_ns=48 * hour)
    assert (tracker.left_out, tracker.symbols) == (1, ["new", "expired"])
    again = RegimeTracker()
    assert again.restore(json.loads(json.dumps(tracker.state()))) == []
    for one in (tracker, again):
        assert one.performance()["unknown"].bars == 5  # also those of markets that made room
        assert one.performance("expired")["unknown"].bars == 1


# -- the tables


@pytest.mark.parametrize(
    ("terms", "table", "message"),
    [
        (RegimeTerms, 3, "takes a table"),
        (RegimeTerms, {"hodl": 3}, "did you mean hold"),
        (RegimeTerms, {"hold": 0}, "a whole number from 1"),
        (RegimeTerms, {"hold": True}, "a whole number"),
        (RegimeTerms, {"trend": "high"}, "a number from 0"),
        (RegimeTerms, {"trend": 15}, "no more than regime.trend"),
        (CalibrationTerms, {"over": "soon"}, "is no horizon"),
        (CalibrationTerms, {"band": 1.5}, "a number from 0.5"),
        (CalibrationTerms, {"memory": 3}, "a whole number from 20"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_what_it_takes(terms, table, message):
    with pytest.raises(ConfigError, match=message):
        terms.parse(table)


def test_tables_say_what_they_say():
    assert RegimeTerms.parse(None) == RegimeTerms()
    assert RegimeTerms.parse({"trend": 30, "chop": 18, "hold": 5}) == RegimeTerms(trend=30, chop=18, hold=5)
    found = CalibrationTerms.parse({"over": "90s", "band": 0.9, "memory": 100})
    assert (found.over, found.band, found.memory) == (Horizon("1m30s", 0, 90 * 10**9), 0.9, 100)


@pytest.mark.parametrize("said", ["0 bars", "-1 bars", "", None, [], "1e9 bars", 0, -5, "5x", float("nan"), "100ms"])
def test_what_is_no_horizon_is_refused(said):
    with pytest.raises(ValueError, match="is no horizon"):
        Horizon.parse(said)
