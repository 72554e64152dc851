"""What would have been, reckoned: candidates, ends of horizons, costs, sums and intervals."""

from __future__ import annotations

import enum
import json
import math
import random
from decimal import Decimal
from fractions import Fraction

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.clock import rfc3339
from botobs.errors import ConfigError
from botobs.events.counterfactual import DecisionSettled, VetoSettled
from botobs.events.money import FillBooked, TradeClosed, TradeOpened
from botobs.insight.counterfactual import Counterfactual, CounterfactualTerms
from botobs.insight.counterfactual.candidates import MOST, Candidate, direction, read
from botobs.insight.counterfactual.costs import Costs, Traded
from botobs.insight.counterfactual.running import BarEnds, Clusters, Decision, Refusal, Run
from botobs.insight.counterfactual.sums import Sums
from botobs.insight.counterfactual.tallies import Mean

S = 1_000_000_000
T0 = 1_767_323_000 * S


class Hostile:
    def __float__(self):
        raise RuntimeError("no number")

    __hash__ = __str__ = __repr__ = __eq__ = __float__

    def __getattr__(self, name):
        raise RuntimeError(name)


class Side(enum.Enum):
    LONG = 1
    FLAT = 0
    WAIT = "hold"


@attrs.define
class Wish:
    side: str
    pred_bps: float = 1.0


# -- what a bot says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("buy", 1), (" Long ", 1), ("SELL", -1), ("short", -1), ("flat", 0), ("hold", 0), (None, 0), (0, 0), (1, 1),
        (-1, -1), (2.5, 1), (-0.001, -1), (Decimal("-3"), -1), ("-4.5", -1), ("0.0", 0), (np.float64(3), 1),
        (np.int64(-2), -1), (np.array(1.5), 1), (Side.LONG, 1), (Side.FLAT, 0), (Side.WAIT, 0), ({"dir": "buy"}, 1),
        ({"side": "sell", "pred_bps": 9}, -1), ({"dir": None, "pred_bps": 9}, 0), ({"pred_bps": -2.0}, -1),
        ({"weight": 0.2}, 1), ({"action": {"dir": "buy"}}, 1), (Wish("sell"), -1), (Fraction(1, 3), None),
        (math.nan, None), (True, None), ("?", None), ({}, None), ([], None), (object(), None), (Hostile(), None),
        (b"buy", None), ("nan", None), ({"dir": {"dir": {"dir": "buy"}}}, None), (math.inf, 1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_direction_is_read_from_whatever_says_one(said, expected):
    assert direction(said) == expected


def test_candidates_come_as_a_mapping_or_as_a_list_and_are_bounded():
    assert read({"a": {"pred_bps": -3, "strength": "0.5", "qty": math.nan}})[0] == [
        Candidate("a", -1, (("pred_bps", -3.0), ("strength", 0.5)))
    ]
    expected = [Candidate("a", 1), Candidate("b", -1)]
    for given_ in ([("a", "buy"), ("b", "sell")], [{"source": "a", "dir": "buy"}, {"name": "b", "side": -1}]):
        assert read(given_) == (expected, 0)
    found, odd = read({f"s{n}": 1 for n in range(MOST + 5)})
    assert (len(found), odd) == (MOST, 5)
    for nothing in (7, "buy", Hostile(), [1, 2], {None: "buy", "": "sell", "x": "?"}):
        found, odd = read(nothing)
        assert not found
        assert odd


def test_the_table_of_settings_is_checked():
    terms = CounterfactualTerms.parse({"over": "5m", "cost_bps": 4, "longest": "2h"})
    assert (terms.over.text, terms.cost_bps, terms.longest_ns) == ("5m", 4.0, 7_200 * S)
    for wrong in ({"over": "trade"}, {"over": "x"}, {"cost_bps": "4"}, {"cost_bps": 1e6}, {"longest": 5}, {"ovr": 1},
                  {"longest": "x"}, 7):  # fmt: skip
        with pytest.raises(ConfigError, match="counterfactual"):
            CounterfactualTerms.parse(wrong)


# -- no look-ahead ------------------------------------------------------------------------------------------------------


class Spy:
    """A tracker with its records."""

    def __init__(self, over="1 bar", **terms):
        self.events = []
        self.found = Counterfactual(CounterfactualTerms.parse({"over": over, **terms}), publish=self.events.append)

    def results(self):
        return [(event.began_px, event.ended_px) for event in self.events]


prices = st.floats(50, 150).map(lambda value: round(value, 3))
paths = st.lists(st.tuples(st.integers(1, 40), prices), min_size=1, max_size=30)


def watched(path, since, horizon_s):
    """What a decision at `since` comes to when the price is looked at each second; `path`: when a price came, and which."""
    spy = Spy(f"{horizon_s}s")
    decided, mark = False, None
    for second in range(130):
        told = [(at, price) for at, price in path if at <= second]
        mark = max(told, key=lambda one: one[0])[1] if told else None
        if not decided and second >= since:
            began = mark
            if began is None:
                return None
            spy.found.decide("B", {"a": 1}, price=float(began), ts_ns=T0 + since * S)
            decided = True
        elif mark is not None:
            spy.found.price("B", mark, T0 + second * S, T0 + second * S)
    assert spy.found.table().waiting == 0
    return spy.results() or "lost"


@settings(max_examples=60, deadline=None)
@given(steps=paths, since=st.integers(0, 60), horizon_s=st.integers(1, 40), other=prices, data=st.data())
def test_an_end_in_time_uses_only_prices_from_within_the_horizon(steps, since, horizon_s, other, data):
    at, path = 0, []
    for wait, price in steps:
        at += wait
        path.append((at, Decimal(str(price))))
    ends = since + horizon_s
    found = watched(path, since, horizon_s)
    before = [price for when, price in path if when <= since]
    if not before:
        assert found is None
        return
    # one who knows everything settles by the newest price within
    inside = [price for when, price in path if since < when <= ends]
    if inside and inside[-1] != before[-1]:
        assert found == [(float(before[-1]), float(inside[-1]))]
    elif not inside:
        assert found == "lost"
    # whatever prices there were before it and after it, it comes to the same
    outside = [n for n, (when, _) in enumerate(path) if when > ends or (when <= since and path[n][1] is not before[-1])]
    if outside:
        n = data.draw(st.sampled_from(outside))
        changed = [*path[:n], (path[n][0], Decimal(str(other))), *path[n + 1 :]]
        assert watched(changed, since, horizon_s) == found


@settings(max_examples=60, deadline=None)
@given(
    closes=st.lists(prices, min_size=3, max_size=20), bars=st.integers(1, 4), since=st.integers(0, 8),
    late=st.lists(st.integers(0, 90), min_size=20, max_size=20), dated=st.booleans(), other=prices,
)  # fmt: skip
def test_an_end_by_bars_uses_only_bars_that_ended_after_the_decision(closes, bars, since, late, dated, other):
    """Bars end each minute and are told late, some after the decision; the decision is half a minute after a bar."""
    decided = since * 60 + 30

    def settled(closes):
        spy, told = Spy(f"{bars} bars" if bars > 1 else "1 bar"), []
        for n, close in enumerate(closes):
            end = (n + 1) * 60
            told.append((end + (late[n] if n else 0), n, end, close))
        waits = True
        for when, _, end, close in sorted(told):
            if waits and when > decided:
                spy.found.decide("B", {"a": -1}, price=77.0, ts_ns=T0 + decided * S)
                waits = False
            ended = rfc3339(T0 + end * S) if dated else None
            spy.found.bar("B", close, T0 + when * S, ended=ended)
        return spy.results(), [(end, close, when) for when, _, end, close in sorted(told) if when > decided]

    found, after = settled(closes)
    if dated:
        after = [one for one in after if one[0] >= decided]
    assert found == ([(77.0, after[bars - 1][1])] if len(after) >= bars else [])
    if dated:  # a price from before the decision changes nothing, however late it was told
        for n in range(min(since, len(closes))):
            assert settled([*closes[:n], other, *closes[n + 1 :]])[0] == found
    for n in range(since + bars + 3, len(closes)):  # nor one from after its end, with the latest of lags
        assert settled([*closes[:n], other, *closes[n + 1 :]])[0] == found


@pytest.mark.parametrize("shift", [0, -60, -3 * 365 * 86_400], ids=["by its end", "by its beginning", "long past"])
def test_bars_may_be_dated_as_a_bot_likes(shift):
    ends = BarEnds()
    for n in range(5):
        told = T0 + n * 60 * S + 40_000_000
        found = ends.of("B", rfc3339(T0 + (n * 60 + shift) * S), told)
        assert (told - 60 * S < found or not n) and found <= told  # the first may be any
    assert ends.of("B", "no time", T0) == T0


def test_a_price_that_is_no_news_and_one_that_is_not_a_price():
    spy = Spy("10s")
    spy.found.decide("B", {"a": 1}, price=100.0, ts_ns=T0)
    same = Decimal(100)
    for second in range(12):
        spy.found.price("B", same, T0 + second * S, T0 + second * S)
    assert (spy.results(), spy.found.lost) == ([], 1)  # nobody knows whether the market stood still
    spy.found.decide("B", {"a": 1}, price=100.0, ts_ns=T0)
    for odd in (math.nan, -1, 0, "x", None, Hostile(), math.inf):
        spy.found.price("B", odd, T0 + 5 * S, T0 + 5 * S)
        spy.found.bar("B", odd, T0 + 5 * S)
    spy.found.price("B", 101, T0 + 5 * S, T0 + 5 * S)
    spy.found.price("B", 102, T0 - 9 * S, T0 - 9 * S)  # the clock was set back
    spy.found.price("B", 103, T0 + 3600 * S, T0 + 3600 * S)  # and forward, by far
    assert spy.results() == [(100.0, 101.0)]


@pytest.mark.parametrize("ended", [None, rfc3339(T0 - 3540 * S)], ids=["undated", "dated"])
def test_a_clock_that_was_set_back_keeps_no_bar_from_counting(ended):
    spy = Spy()
    spy.found.decide("B", {"a": 1}, price=100.0, ts_ns=T0)
    spy.found.bar("B", 101.0, T0 - 3540 * S, ended=ended)
    assert spy.results() == [(100.0, 101.0)]


# -- trades -------------------------------------------------------------------------------------------------------------


def record(side="long", gross="10", fees="1", funding="-0.5", worth=1000, slip=(2.0, 1.0), **more):
    gross, fees, funding = Decimal(gross), Decimal(fees), Decimal(funding)
    costs = fees - funding
    said = {
        "realized_pnl_usd": gross, "fees_usd": fees, "funding_usd": funding, "costs_total_usd": costs,
        "net_pnl_usd": gross - costs, "entry_px": Decimal(100), "entry_qty": Decimal(worth) / 100, "exit_px": Decimal(101), "side": side,
        "slippage_entry_bps": slip[0], "slippage_exit_bps": slip[1],
    }  # fmt: skip
    for name in ("realized_pnl", "costs_total", "net_pnl"):
        said[f"{name}_bps"] = float(said[f"{name}_usd"]) / worth * 1e4
    return {**said, **more}


@settings(max_examples=80, deadline=None)
@given(
    side=st.sampled_from(["long", "short"]), gross=st.decimals(-50, 50, places=2), fees=st.decimals(-3, 9, places=2),
    funding=st.decimals(-3, 3, places=2), worth=st.integers(10, 100_000), slips=st.tuples(st.floats(-5, 9), st.floats(-5, 9)),
)  # fmt: skip
def test_the_way_that_was_gone_comes_to_what_the_trade_made_and_the_other_pays_for_both(
    side, gross, fees, funding, worth, slips
):
    said = record(side, gross, fees, funding, worth, slips)
    trade, sign = Traded.of_record(said), 1 if side == "long" else -1
    assert trade.result(sign) == pytest.approx(said["net_pnl_bps"], abs=1e-6)
    assert trade.amount(sign) == said["net_pnl_usd"]
    assert (trade.result(0), trade.amount(0)) == (0.0, 0)
    # nobody can gain by taking both sides: both pay fees and slippage, funding goes from one to the other
    both = trade.result(sign) + trade.result(-sign)
    assert both == pytest.approx(-2 * (float(fees) / worth * 1e4 + sum(slips)), abs=1e-5)
    assert float(trade.amount(-sign)) == pytest.approx(trade.result(-sign) * worth / 1e4, abs=1e-4)


@pytest.mark.parametrize("lacks", ["realized_pnl_usd", "entry_px", "side", "net_pnl_bps"])
def test_a_record_that_says_too_little_is_no_trade(lacks):
    assert Traded.of_record({key: value for key, value in record().items() if key != lacks}) is None
    assert Traded.of_record(record(realized_pnl_bps=math.nan)) is None


def closed(trade_id="t1", revision=1, *, undone=False, **more):
    said = record(**more) if not undone else {}
    return TradeClosed(ts_ns=T0, symbol="B", trade_id=trade_id, record=said, revision=revision, undone=undone)


def fill(order_id, seq, side="buy", position=1, trade_id=None):
    return FillBooked(
        ts_ns=T0, symbol="B", order_id=order_id, seq=seq, side=side, qty=Decimal(1), price=Decimal(100),
        trade_id=trade_id or f"t{seq}", position=Decimal(position),
    )  # fmt: skip


def traded(spy, order="o1", seq=1, since=T0):
    """A decision with an order that opens a trade."""
    decision = Decision(
        symbol="B", price=100.0, since=since, candidates=(Candidate("a", 1), Candidate("b", -1)), chosen="a", way=1
    )
    spy.found.decided(decision)
    spy.found.ordered(decision, order, 1)
    spy.found.filled(fill(order, seq))
    spy.found.opened(TradeOpened(ts_ns=T0, symbol="B", trade_id=f"t{seq}", side="long"))
    return decision


def test_a_trade_that_becomes_another_corrects_what_it_settled():
    spy = Spy()
    traded(spy)
    spy.found.bar("B", 500.0, T0)  # no horizon any more
    assert spy.events == []
    spy.found.closed(closed())
    spy.found.closed(closed())  # told again
    first = spy.found.table()
    assert (first["a"].n, first["a"].pnl, first["a"].chosen, first.done.pnl) == (1, Decimal("8.5"), 1, Decimal("8.5"))
    spy.found.closed(closed(revision=2, gross="20"))
    second = spy.found.table()
    assert (second["a"].n, second["a"].pnl) == (1, Decimal("18.5"))
    assert second["a"].pnl_bps == pytest.approx(185.0)
    spy.found.closed(closed(revision=3, undone=True))
    third = spy.found.table()
    assert len(third) == 0
    assert third.done is None
    spy.found.closed(closed(revision=4))
    assert spy.found.table().rows == first.rows
    assert [(event.revision, event.undone) for event in spy.events] == [(1, False), (2, False), (3, True), (4, False)]
    spy.found.closed(closed("t99", revision=2))  # of nobody's decision
    assert len(spy.events) == 4


def test_a_trade_that_stays_open_is_settled_at_its_latest_end():
    spy = Spy(longest="1h")
    traded(spy)
    end = T0 + 3600 * S
    spy.found.chore(T0 + 60 * S)
    assert spy.found.timed == []
    for second in range(3541, 3605):
        now = T0 + second * S
        spy.found.chore(now)
        for symbol in spy.found.timed:
            spy.found.price(symbol, 100.0 + (second - 3541) / 100, now, now)
    [event] = spy.events
    assert (event.rule, event.trade_id, event.ts_ns, event.ended_px) == ("longest", "t1", end, 100.59)
    spy.found.closed(closed())
    assert len(spy.events) == 1
    assert spy.found.table().waiting == 0


def test_an_order_that_still_works_is_waited_for_and_one_that_came_to_nothing_is_not():
    alive = {"o1"}
    events = []
    found = Counterfactual(publish=events.append, alive=alive.__contains__)
    decision = Decision(symbol="B", price=100.0, since=T0, candidates=(Candidate("a", 1),), chosen="a", way=1)
    found.decided(decision)
    found.ordered(decision, "o1", 1)
    found.bar("B", 101.0, T0 + S)
    found.chore(T0 + 2 * S)
    assert (events, found.table().waiting) == ([], 1)
    alive.clear()
    found.bar("B", 150.0, T0 + 2 * S)  # its horizon was over before
    found.chore(T0 + 3 * S)
    assert events == []  # the fill that ended it may not have been followed up
    found.chore(T0 + 4 * S)
    [event] = events
    assert (event.rule, event.ended_px, event.chosen_bps, event.done) == (
        "horizon",
        101.0,
        pytest.approx(100.0),
        "flat",
    )


def test_the_way_out_is_no_way_in():
    spy = Spy()
    for position, expected in ((0, "flat"), (2, "long"), (-3, "flat")):
        decision = Decision(symbol="B", price=100.0, since=T0, candidates=(Candidate("a", 1),), chosen="a")
        spy.found.decided(decision)
        spy.found.ordered(decision, f"o{position}", 1)
        spy.found.filled(fill(f"o{position}", 9, position=position, trade_id="t1"))
        spy.found.bar("B", 101.0, T0 + S)
        assert spy.events[-1].done == expected


def test_costs_are_those_of_the_latest_trades():
    spy = Spy()
    for n, fees in enumerate(("1", "2", "90")):
        spy.found.closed(closed(f"t{n}", fees=fees, funding="0", slip=(1.0, 1.0)))
    spy.found.decide("B", {"a": 1, "b": 0, "c": -1}, price=100.0, ts_ns=T0)
    spy.found.bar("B", 101.0, T0 + S)
    [event] = spy.events
    assert event.cost_bps == pytest.approx(22.0)
    results = {source: one["result_bps"] for source, one in event.candidates.items()}
    assert results == {"a": pytest.approx(78.0), "b": 0.0, "c": pytest.approx(-122.0)}
    assert Costs(5.0).of("B") == 5.0


# -- refusals -----------------------------------------------------------------------------------------------------------


def refusal(order_id=None, sign=1, **more):
    said = {"symbol": "B", "price": 100.0, "since": T0, "by": "risk", "stage": "limits", "reason": "too large"}
    return Refusal(**{**said, "sign": sign, "order_id": order_id, **more})


def test_a_refusal_saves_what_the_order_would_have_lost_and_one_that_reduces_saves_no_costs():
    spy = Spy(cost_bps=5)
    spy.found.stopped(refusal("o1", 1, qty=Decimal(2), worth=Decimal(200)))
    spy.found.stopped(refusal("o2", -1, reduces=True))
    spy.found.bar("B", 99.0, T0 + S)
    rows = spy.found.vetoes()
    [bought, sold] = sorted(spy.events, key=lambda event: event.order_id)
    assert (bought.saved_bps, bought.saved) == (pytest.approx(105.0), pytest.approx(Decimal("2.1")))
    assert sold.saved_bps == pytest.approx(-100.0)
    assert (rows.total.n, rows.total.saved_bps, rows.total.cost_bps) == (2, pytest.approx(105), pytest.approx(100))
    assert (rows["risk"].helped, rows["risk"].priced) == (0.5, 1)


def test_the_same_refused_again_is_one_and_one_that_was_filled_was_none():
    spy = Spy()
    for order in ("o1", "o1", "o2", None):
        spy.found.stopped(refusal(order))
    spy.found.stopped(refusal("o3", -1))
    assert spy.found.vetoes().waiting == 2
    spy.found.filled(fill("o3", 4, "sell"))
    spy.found.bar("B", 101.0, T0 + S)
    spy.found.stopped(refusal("o2"))  # long settled
    spy.found.bar("B", 101.0, T0 + S)
    found = spy.found.vetoes()
    assert (found.total.n, found.total.repeats, found.withdrawn, found.waiting) == (1, 3, 1, 0)
    assert [type(event) for event in spy.events] == [VetoSettled]
    spy.found.unknown("risk", "limits", "nobody knows 7")
    assert spy.found.vetoes()["risk"].unknown == 1


def test_kinds_of_refusals_are_bounded_and_figures_in_reasons_are_no_kinds():
    spy = Spy()
    for n in range(500):
        spy.found.unknown("risk", "limits", f"{n} is over {n + 0.5}")
        spy.found.unknown("kill switch", "x" * (n + 1), "why")
    rows = spy.found.vetoes()
    assert rows.total.unknown == 1000
    assert len(rows) <= 201
    assert [row.reason for row in rows if row.by == "risk"] == ["# is over #"]


# -- sums and intervals -------------------------------------------------------------------------------------------------

results = st.lists(
    st.tuples(st.sampled_from("BE"), st.dictionaries(st.sampled_from("abc"), st.sampled_from([-1, 0, 1]), min_size=1),
              st.sampled_from([None, "a", "b"]), st.floats(-300, 300)),
    max_size=25,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(decisions=results)
def test_sums_are_those_of_a_plain_list(decisions):
    spy = Spy(cost_bps=3)
    plain = []
    for symbol, ways, chosen, move in decisions:
        spy.found.decide(symbol, ways, price=100.0, chosen=chosen, ts_ns=T0)
        spy.found.bar(symbol, 100.0 * (1 + move / 1e4), T0 + S)
        came = {source: sign * move - (3 if sign else 0) for source, sign in ways.items()}
        plain.append((symbol, ways, came, chosen if chosen in ways else None))
    for symbol in (None, "B", "E"):
        own = [one for one in plain if symbol in (None, one[0])]
        table = spy.found.table(symbol)
        for source in "abc":
            mine = [(ways[source], came[source]) for _, ways, came, _ in own if source in ways]
            if not mine:
                assert source not in [row.source for row in table]
                continue
            row = table[source]
            assert row.n == len(mine)
            assert row.pnl_bps == pytest.approx(sum(value for _, value in mine), abs=1e-6)
            sides = [value for sign, value in mine if sign]
            assert (row.sided, row.chosen) == (len(sides), sum(one[3] == source for one in own))
            if sides and all(abs(value) > 1e-6 for value in sides):
                assert row.hit_rate == pytest.approx(sum(value > 0 for value in sides) / len(sides))
            over = [came[source] - came[chosen] for _, ways, came, chosen in own if source in ways and chosen]
            assert row.compared == len(over)
            assert row.regret_bps == (pytest.approx(sum(over) / len(over), abs=1e-6) if over else None)
        regrets = [max(came.values()) - came[chosen] for *_, came, chosen in own if chosen]
        assert table.regret.n == len(regrets)
        assert table.regret.total_bps == pytest.approx(sum(regrets), abs=1e-6)
    again = Counterfactual()
    assert again.restore(json.loads(json.dumps(spy.found.state()))) == []
    assert [row.pnl_bps for row in again.table()] == [row.pnl_bps for row in spy.found.table()]


def covered(seed, symbols, bars, held, shared):
    """Whether the interval holds the truth, which is zero: decisions each bar, and trades that run for `held` bars."""
    chance, mean, clusters, running = random.Random(seed), Mean(), Clusters(), []
    moves = [
        [math.sqrt(shared) * market + math.sqrt(1 - shared) * chance.gauss(0, 10) for _ in range(symbols)]
        for market in (chance.gauss(0, 10) for _ in range(bars + held))
    ]
    for bar in range(bars):
        for one in [one for one in running if one[0] == bar]:
            mean.add(one[1], one[2])
        running = [one for one in running if one[0] > bar]
        for symbol in range(symbols):
            trade = bool(held) and bar % held == 0
            run = Run(symbol=str(symbol), price=1.0, since=0)
            clusters.join(run, busy=bool(running), trades=any(one[3] for one in running))
            own = moves[bar : bar + held] if trade else moves[bar : bar + 1]
            running.append((bar + len(own), sum(each[symbol] for each in own), run.cluster, trade))
    _, low, high = mean.interval()
    return low <= 0.0 <= high


@pytest.mark.parametrize(
    ("symbols", "bars", "held", "shared"), [(1, 60, 0, 0.0), (1, 450, 30, 0.0), (5, 60, 0, 0.7), (3, 200, 20, 0.6)]
)
def test_intervals_hold_the_truth_though_decisions_overlap_and_markets_move_together(symbols, bars, held, shared):
    held_it = sum(covered(seed, symbols, bars, held, shared) for seed in range(80))
    assert 0.91 <= held_it / 80 <= 0.995


def test_an_interval_takes_decisions_that_do_not_overlap():
    mean = Mean()
    for n in range(100):
        mean.add(float(n), cluster=1)
    assert mean.interval() == (49.5, None, None)
    spy = Spy()
    for _ in range(3):
        spy.found.decide("B", {"a": 1}, price=100.0, chosen="a", ts_ns=T0)
        spy.found.bar("B", 101.0, T0 + S)
    row = spy.found.table()["a"]
    assert (row.low_bps, row.hit_low) == (None, None)
    assert "overlap" in row.reasons["low_bps"]
    assert row.reasons["pnl"] == "no trade came of them"


# -- what goes wrong ----------------------------------------------------------------------------------------------------


def test_everything_is_bounded():
    spy = Spy("5m", longest="10m")
    found = spy.found
    for n in range(5_000):
        found.decide(f"s{n % 3000}", {f"x{n}": 1}, price=1.0, ts_ns=T0)
        found.stopped(refusal(f"o{n}", strategy=f"s{n}", symbol=f"z{n}"))
    assert len(found._running) == 2_000
    spy = Spy()
    for n in range(3_000):
        spy.found.decide(f"s{n}", {f"x{n}": 1}, price=1.0, ts_ns=T0)
        spy.found.bar(f"s{n}", 1.1, T0)
    assert len(spy.found._sums._tallies) <= 2_100
    assert spy.found.table("s1").rows[0].n == 1
    spy = Spy()
    for n in range(700):
        traded(spy, f"o{n}", n)
        spy.found.closed(closed(f"t{n}"))
    assert len(spy.found._sums.trades) == 500
    assert len(json.dumps(spy.found.state())) < 300_000
    spy = Spy(longest="1h")  # bars that do not come any more
    spy.found.decide("B", {"a": 1}, price=1.0, ts_ns=T0)
    spy.found.chore(T0 + 3601 * S)
    assert (spy.found.lost, spy.found.table().waiting) == (1, 0)


@pytest.mark.parametrize("odd", [None, math.nan, 10**400, "", b"x", [], {}, Hostile(), "\ud800"], ids=type)
def test_nothing_that_is_asked_raises(odd):
    found = Counterfactual()
    for symbol in (odd, "B"):
        found.decide(symbol, odd, price=odd, chosen=odd, decision=odd)
        found.decide(symbol, {"a": odd, odd.__class__.__name__: 1}, price=1.0, chosen=odd)
        found.table(symbol)
    found.bar("B", 1.01)
    assert str(found.table())
    assert str(found.vetoes())
    with pytest.raises(KeyError):
        found.table()["nobody"]
    json.dumps(found.state())


def test_what_waits_for_a_trade_is_kept_over_a_restart_and_damage_is_left_out():
    spy = Spy()
    traded(spy)
    spy.found.decide("B", {"a": 1}, price=100.0, ts_ns=T0)  # its horizon would have a hole
    spy.found.closed(closed("t7"))
    state = json.loads(json.dumps(spy.found.state()))
    again = Spy()
    assert again.found.restore(state) == []
    assert (again.found.table().waiting, again.found.lost) == (1, 1)
    again.found.closed(closed())
    assert again.found.table()["a"].pnl == Decimal("8.5")
    assert isinstance(again.events[0], DecisionSettled)
    for name in state:
        damaged = Counterfactual()
        [problem] = damaged.restore({**state, name: [["x"]]})
        assert name in problem
        damaged.decide("B", {"a": 1}, price=1.0)
        damaged.bar("B", 1.1)
        assert damaged.table()["a"].n >= 1
    assert Sums.of_state(state["sums"]).rows(None) == []
