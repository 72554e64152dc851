"""Funding from its funding time on: what is accrued, and how the payment takes its place."""

from __future__ import annotations

import decimal
import json
import runpy
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import botobs
from botobs.accounting.account import Account, Terms
from botobs.accounting.accruing import Near
from botobs.accounting.book import Book
from botobs.accounting.entries import read_fill, stamp
from botobs.accounting.exchange.summary import compare_summary
from botobs.accounting.instruments import guess
from botobs.accounting.ledger import Ledger
from botobs.accounting.numbers import EXACT, exact
from botobs.cli import main
from botobs.clock import epoch_ns
from botobs.events import FundingAccrued, FundingBooked, FundingCost
from botobs.metricpack.lines import fields_of
from botobs.money.funding_times import FundingTimes
from botobs.streams import StreamReader
from botobs.testing import Clock
from tests.money.copied import copy_of
from tests.money.world import exactly
from tests.test_promises import ALL

S, D = "BTCUSDT", Decimal
T0, T1, T2 = "2026-01-10T08:00:00Z", "2026-01-10T16:00:00Z", "2026-01-11T00:00:00Z"
NS = 10**9


class Bot:
    """A backtest in which something is held, and the rate for 08:00 is told."""

    def __init__(self, rate="0.0001", qty="2", start="2026-01-10T07:00:00Z", **more):
        self.clock = Clock(start)
        settings = {"mode": "backtest", "data_dir": None, "strict": True, "starting_equity": 10_000}
        self.obs = botobs.start("bot", clock=self.clock, **{**settings, **more})
        self.events = []
        for event in (FundingAccrued, FundingBooked, FundingCost):
            self.obs.bus.subscribe(event, self.events.append, immediate=True)
        self.obs.mark(S, "100")
        if qty:
            self.fill(qty)
        if rate is not None:
            self.obs.funding_rate(S, rate, T0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.obs.shutdown(5)

    def fill(self, qty, symbol=S, price="100", **more):
        side = "sell" if D(qty) < 0 else "buy"
        return self.obs.fill(symbol=symbol, side=side, qty=abs(D(qty)), price=price, fee=0, **more)

    def at(self, ts):
        self.clock.set(ts)
        self.obs.totals()

    @property
    def funding(self):
        """All of it, and what of it is accrued."""
        totals = self.obs.totals()
        return totals.funding, totals.accrued_funding

    def costs(self):
        self.obs.flush(5)
        return [event for event in self.events if isinstance(event, FundingCost)]


def costs_of(bot):
    return exactly(lambda: sum((event.funding_cost_usd for event in bot.costs()), D(0)))


def test_what_is_due_counts_until_the_payment_takes_its_place():
    with Bot() as bot:
        bot.at("2026-01-10T07:59:59.999999Z")
        assert bot.funding == (0, 0) and bot.obs.accrued == ()
        equity = bot.obs.equity
        bot.at(T0)
        assert bot.funding == (D("-0.02"), D("-0.02"))
        assert bot.obs.equity == equity - D("0.02")
        assert bot.obs.totals().reasons["funding"] == "1 payment is accrued and not reported yet"
        one = bot.obs.accrued[0]
        assert (one.symbol, one.qty, one.rate, one.mark, one.amount) == (S, 2, D("0.0001"), 100, D("-0.02"))
        assert (one.currency, one.trade_id, one.ts) == ("USDT", "t1", "2026-01-10T08:00:00.000000Z")
        report = bot.obs.funding(S, "-0.0201", ts="2026-01-10T08:00:02Z", funding_id="x1")
        assert report.booked and report.trade_id == "t1"
        assert bot.funding == (D("-0.0201"), 0) and bot.obs.accrued == () and "funding" not in bot.obs.totals().reasons
        assert bot.obs.funding(S, "-0.0201", ts="2026-01-10T08:00:02Z", funding_id="x1").duplicate
        assert bot.obs.funding(S, "-5", funding_id="x1").conflict
        line = bot.obs.ledger.latest(1)[0]
        assert (line["ts"], line["paid_ts"]) == ("2026-01-10T08:00:00.000000Z", "2026-01-10T08:00:02.000000Z")
        assert (line["settles"], line["reverses"]) == (2, "-0.0200")
        assert [(cost.cause, cost.funding_cost_usd) for cost in bot.costs()] == [
            ("funding_accrued", D("0.02")), ("funding_reversed", D("-0.02")), ("funding", D("0.0201")),
        ]  # fmt: skip
        assert bot.costs()[2].settles == bot.costs()[0].funding_id == one.funding_id
        accrued = next(event for event in bot.events if isinstance(event, FundingAccrued))
        booked = next(event for event in bot.events if isinstance(event, FundingBooked))
        assert (accrued.funding_id, accrued.qty) == (one.funding_id, 2)
        assert (booked.settles, booked.accrued, booked.amount) == (one.funding_id, D("-0.02"), D("-0.0201"))


@pytest.mark.parametrize(("qty", "rate", "amount"), [
    ("2", "0.0001", "-0.02"), ("-2", "0.0001", "0.02"), ("2", "-0.0001", "0.02"), ("-2", "-0.0001", "-0.02"),
])  # fmt: skip
def test_who_is_long_pays_a_rate_above_zero(qty, rate, amount):
    with Bot(rate, qty) as bot:
        bot.at(T0)
        assert bot.funding == (D(amount), D(amount))


def test_a_multiplier_and_an_inverse_contract():
    with Bot(None, None) as bot:
        bot.obs.instrument("ESZ5", multiplier=50, quote="USD")
        bot.obs.instrument("XBTUSD", inverse=True, base="XBT", quote="USD", multiplier=10)
        for symbol, qty in (("ESZ5", "-3"), ("XBTUSD", "7")):
            bot.fill(qty, symbol)
            bot.obs.mark(symbol, "80")
            bot.obs.funding_rate(symbol, "0.001", T0)
        bot.at(T0)
        found = {one.symbol: one for one in bot.obs.accrued}
        assert found["ESZ5"].amount == 3 * 50 * 80 * D("0.001")
        assert Fraction(found["XBTUSD"].amount) == Fraction(-7 * 10, 80) * Fraction("0.001")
        assert found["XBTUSD"].currency == "XBT"
        assert bot.obs.totals().by_currency["XBT"]["accrued_funding"] == found["XBTUSD"].amount


def test_the_mark_and_the_rate_are_the_last_ones_before():
    with Bot() as bot:
        bot.obs.mark(S, "110")
        bot.obs.funding_rate(S, "0.0003", T0)
        bot.obs.funding_rate(S, float("nan"), T0)  # no rate: the one before stands
        bot.obs.funding_rate(S, None)
        bot.obs.funding_rate(S, "0.0002")  # for the time that is known
        bot.clock.set("2026-01-10T08:00:01Z")
        bot.obs.mark(S, "500")  # the first to see that the time has come, and after it
        bot.obs.funding_rate(S, "0.05", T0)  # the exchange goes on telling of a time that is over
        assert bot.funding == (D("-0.044"), D("-0.044"))
        bot.clock.set("2026-01-10T16:00:05Z")
        assert bot.obs.accrued[0].mark == 110 and len(bot.obs.accrued) == 1


def test_the_bots_own_threads_only_note_it(tmp_path):
    clock = Clock("2026-01-10T07:00:00Z")
    obs = live(tmp_path, clock)
    try:
        obs.mark(S, "100", venue="x")
        obs.fill(symbol=S, side="buy", qty=2, price=100, venue="x")
        obs.mark(S, "110", venue="x")
        obs.funding_rate(S, "0.0001", T0)
        clock.set("2026-01-10T08:00:01Z")
        obs.mark(S, "500", venue="x")
        obs.fill(symbol=S, side="sell", qty=2, price=500, venue="x")
        assert [(one.qty, one.mark) for one in obs.accrued] == [(2, 110)]
    finally:
        obs.shutdown(5)


def test_a_fill_after_the_time_holds_nothing_then_and_one_before_it_does():
    with Bot() as bot:
        bot.clock.set(T0)
        bot.fill("3", fill_id="at the very time")
        assert bot.funding[0] == D("-0.02")
        bot.fill("-1", ts="2026-01-10T07:59:59Z", fill_id="late")
        assert bot.funding == (D("-0.01"), D("-0.01")) and costs_of(bot) == D("0.01")
        bot.obs.void("late", "busted")
        assert bot.funding[0] == D("-0.02") and costs_of(bot) == D("0.02")
        assert [cost.cause for cost in bot.costs()] == ["funding_accrued", *["funding_reversed", "funding_accrued"] * 2]
        bot.obs.funding(S, "-0.019")
        bot.fill("1", ts="2026-01-10T07:59:59Z", fill_id="later still")
        assert bot.funding == (D("-0.019"), 0) and costs_of(bot) == D("0.019")


def test_nothing_seemed_to_be_held_until_a_fill_came_late():
    with Bot(qty=None) as bot:
        bot.at(T0)
        assert bot.funding == (0, 0) and len(bot.obs.ledger) == 0
        bot.obs.mark(S, "90")
        bot.fill("2", ts="2026-01-10T07:59:00Z", fill_id="1")
        bot.clock.advance(2)
        bot.obs.mark(S, "91")
        assert bot.funding == (D("-0.02"), D("-0.02"))  # at the price of that time
        bot.obs.void("1", "busted")
        assert bot.funding == (0, 0) and not bot.obs.positions
    with Bot(qty=None) as bot:
        bot.at(T0)
        bot.obs.funding(S, "-0.5", ts=T0)  # the payment came before the fill
        bot.fill("2", ts="2026-01-10T07:59:00Z")
        bot.clock.advance(2)
        bot.obs.mark(S, "91")
        assert bot.funding == (D("-0.5"), 0)
    with Bot(qty=None) as bot:
        bot.at(T0)
        bot.obs.position(S, "2", "100", ts="2026-01-09T00:00:00Z")
        bot.clock.advance(2)
        bot.obs.mark(S, "91")
        assert bot.funding == (D("-0.02"), D("-0.02"))


def test_a_trade_that_closed_before_its_payment_came():
    with Bot() as bot:
        bot.fill("1", price="130", fill_id="b")
        bot.at(T0)
        bot.fill("-1", fill_id="c")  # a part of it
        bot.fill("-2", fill_id="d")
        bot.fill("1", fill_id="e")  # the next trade
        record = bot.obs.trades.closed()[-1]
        assert (record["trade_id"], record["funding_usd"], record["revision"]) == ("t1", D("-0.03"), 1)
        bot.obs.funding(S, "-0.031")  # no word when
        record = bot.obs.trades.closed()[-1]
        assert (record["trade_id"], record["funding_usd"], record["revision"]) == ("t1", D("-0.031"), 2)
        assert record["net_pnl_usd"] == record["realized_pnl_usd"] - D("0.031")
        assert bot.obs.trades.open[0].trade_id != "t1" and bot.funding == (D("-0.031"), 0)


def test_the_lots_bear_it():
    with Bot(qty=None, cost_basis="fifo") as bot:
        for price, fill_id in (("100", "a"), ("130", "b"), ("160", "c")):
            bot.fill("1", price=price, fill_id=fill_id)
        bot.fill("-0.5", fill_id="d")
        bot.at(T0)
        bot.fill("-2.5", fill_id="e")
        bot.obs.funding(S, "-0.1", ts=T0)
        accrued, _, paid = bot.costs()
        assert [(lot["qty"], lot["entry_px"], lot["seq"]) for lot in paid.lots] == [
            (D("0.5"), 100, 1), (1, 130, 2), (1, 160, 3),
        ]  # fmt: skip
        assert [lot["cost"] for lot in paid.lots] == [D("0.02"), D("0.04"), D("0.04")]
        assert [lot["qty"] for lot in accrued.lots] == [D("0.5"), 1, 1]
        assert paid.total_bps == pytest.approx(4.0) and accrued.total_bps == pytest.approx(1.0)
    with Bot(qty="3", cost_basis="fifo") as bot:
        for _ in range(70):
            bot.fill("1")
        bot.obs.funding(S, "-1")  # nothing was accrued
        cost = bot.costs()[-1]
        assert len(cost.lots) == 50 and cost.lots[-1]["entry_px"] is None
        assert exactly(lambda: sum(lot["cost"] for lot in cost.lots)) == 1
        assert exactly(lambda: sum(lot["qty"] for lot in cost.lots)) == cost.qty == 73


def test_the_exchange_is_ahead_of_our_clock():
    with Bot() as bot:
        bot.clock.set("2026-01-10T07:59:58Z")
        bot.obs.funding_rate(S, "0.0005", T1)  # it is in the next interval already: the rate for 08:00 is told
        assert bot.obs.funding(S, "-0.021", ts=T0).booked
        bot.at("2026-01-10T08:00:01Z")
        assert bot.funding == (D("-0.021"), 0)
        bot.at(T1)
        assert bot.funding == (D("-0.121"), D("-0.1"))
    with Bot() as bot:
        bot.clock.set("2026-01-10T07:59:58Z")
        bot.obs.funding_rate(S, "0.0005", T1)
        bot.at(T0)
        assert bot.funding == (D("-0.02"), D("-0.02"))


def test_times_that_move_and_rates_that_cannot_be(caplog):
    with Bot() as bot:
        bot.obs.funding_rate(S, "0.0002", "2026-01-10T07:30:00Z")  # earlier than was told
        bot.at("2026-01-10T07:30:00Z")
        assert bot.funding[0] == D("-0.04")
        bot.obs.funding_rate(S, "0.0002", T1)
        bot.obs.funding_rate(S, "0.0001", "2026-01-10T12:00:00Z")
        bot.at("2026-01-10T08:00:00Z")
        assert bot.funding[0] == D("-0.04")
        bot.obs.funding_rate(S, "0.75", "2026-01-10T12:00:00Z")
        bot.at("2026-01-10T12:00:00Z")
        assert bot.funding[0] == D("-0.04") and "above 10 %" in caplog.text
        assert f"the funding of {S} at 2026-01-10T12:00:00.000000Z is not accrued" in caplog.text
        caplog.clear()
        bot.obs.funding_rate(S, "0.0001", "2026-01-10T11:59:00Z")
        bot.obs.funding_rate("NEW", "0.0001", "2026-01-10T11:00:00Z")
        assert "is said to be 2026-01-10T11:00:00.000000Z, which is over" in caplog.text
        bot.obs.funding_rate(S, "0.0001", "2031-01-01T00:00:00Z")
        assert "far from now" in caplog.text
        for hostile in ALL:
            bot.obs.funding_rate(S, hostile(), hostile())
            bot.obs.funding_rate(hostile(), "0.0001", T2)
        bot.at(T2)
        assert bot.obs.faults.errors == {}


def test_no_time_and_no_rate_is_nothing_but_said(caplog):
    with Bot() as bot:
        bot.at(T0)
        bot.obs.funding_rate(S, "0.0001", T1)
        bot.at(T1)
        bot.at("2026-01-11T20:00:00Z")  # three more, of which nobody said a word
        assert bot.funding[0] == D("-0.04")
        assert "nobody told its rate before" in caplog.text and "2026-01-11T16:00:00" in caplog.text
    with Bot(None) as bot:
        bot.obs.funding_rate(S, "0.0001")
        bot.at(T2)
        assert bot.funding == (0, 0)


def test_the_setting_turns_it_off():
    with Bot(accrue_funding=False) as bot:
        bot.at(T1)
        assert bot.funding == (0, 0) and bot.obs.accrued == ()
        assert bot.obs.funding(S, "-1", ts=T0).booked and bot.funding == (-1, 0)


def test_both_sides_in_hedge_mode():
    with Bot(qty=None) as bot:
        bot.fill("3", position_side="long", fill_id="a")
        bot.fill("-1", position_side="short", fill_id="b")
        bot.at(T0)
        assert [one.amount for one in bot.obs.accrued] == [D("-0.03"), D("0.01")]
        assert bot.obs.funding(S, "-0.022", ts=T0, funding_id="both").booked  # of the symbol as a whole
        assert bot.funding == (D("-0.022"), 0) and costs_of(bot) == D("0.022")
        assert bot.obs.funding(S, "-0.022", ts=T0, funding_id="both").duplicate
        assert bot.obs.funding(S, "-0.021", ts=T0, funding_id="both").conflict
        bot.fill("-3", position_side="long", fill_id="c")
        bot.fill("1", position_side="short", fill_id="d")
        found = {record["position_side"]: record["funding_usd"] for record in bot.obs.trades.closed()}
        assert found == {"long": D("-0.032"), "short": D("0.01")}
    with Bot(qty=None) as bot:
        bot.fill("3", position_side="long")
        bot.fill("-1", position_side="short")
        bot.at(T0)
        bot.obs.funding(S, "0.011", ts=T0, position_side="short")
        assert bot.funding == (D("-0.019"), D("-0.03"))
        bot.obs.funding(S, "-0.033", position_side="long", ts="2026-01-10T08:00:01Z")
        assert bot.funding == (D("-0.022"), 0)


def test_a_side_may_be_written_as_exchanges_do():
    with Bot(qty=None) as bot:
        bot.fill("3", position_side="LONG")
        bot.at(T0)
        assert bot.obs.funding(S, "-0.031", ts=T0, position_side="LONG").trade_id == "t1"
        assert bot.funding == (D("-0.031"), 0)
        assert bot.obs.funding(S, "1", funding_id="all", position_side="BOTH").trade_id == "t1"
        bot.obs.position("ETHUSDT", 2, 100, position_side="Long")
        bot.fill("-2", symbol="ETHUSDT", price="110", position_side="LONG", fill_id="a")
        assert bot.obs.totals().gross_pnl == 20 and set(bot.obs.totals().inventory) == {S}
    with Bot(strict=False) as bot:
        for report in (bot.obs.funding(S, "1", position_side="up"), bot.obs.position(S, 1, 1, position_side="up")):
            assert not report.booked and report.reason == "unknown position_side: 'up'; long or short"


@pytest.mark.parametrize("where", ["position_side", "venue"])
def test_two_payments_of_one_time_without_an_id(tmp_path, where):
    names = {"position_side": ("long", "short"), "venue": ("x", "y")}[where]
    clock = Clock("2026-01-10T07:00:00Z")
    for again in range(3):
        obs = live(tmp_path, clock)
        if not again:
            for name, side in zip(names, ("buy", "sell"), strict=True):
                obs.fill(symbol=S, side=side, qty=2, price=100, **{where: name})
        clock.set(T0)
        for name in names:
            report = obs.funding(S, "-0.5", ts=T0, **{where: name})
            assert (report.booked, report.duplicate) == (not again, bool(again))
            assert obs.funding(S, "-0.6", ts=T0, **{where: name}).conflict
        assert obs.funding(S, "-0.5", ts=T0).duplicate  # says less
        assert obs.totals().funding == -1
        assert [p.trade_id for p in obs.positions] == ["t1", "t2"]
        assert obs.shutdown(5).delivered
        if again:  # all of it is read from the ledger
            for path in (tmp_path / "state").iterdir():
                path.unlink()


def test_whose_it_is_where_the_payment_says_less_or_more_than_the_fills():
    with Bot(qty=None) as bot:
        for account, qty in (("a", "1"), ("b", "5")):
            bot.fill(qty, account=account)
        bot.at(T0)
        bot.obs.funding(S, "-0.051", ts=T0, funding_id="1")  # nobody says whose: the amount does
        assert bot.funding == (D("-0.061"), D("-0.01"))
        bot.obs.funding(S, "-0.011", ts=T0, funding_id="2", account="a")
        assert bot.funding == (D("-0.062"), 0)
    with Bot() as bot:
        bot.at(T0)
        bot.obs.funding(S, "-0.03", ts=T0, account="main", venue="binance", position_side="long")
        assert bot.funding == (D("-0.03"), 0)  # the fills named none
    with Bot(qty=None) as bot:
        bot.fill("1", account="a")
        bot.at(T0)
        bot.obs.funding(S, "-1", ts=T0, account="b")  # another account's is not ours
        assert bot.funding == (D("-1.01"), D("-0.01"))


def test_two_venues_and_one_rate(caplog):
    with Bot(qty=None) as bot:
        bot.fill("1", venue="x")
        bot.fill("-1", venue="y")
        bot.at(T0)
        assert bot.funding == (0, 0) and "it is held at x, y, and nobody said whose rate it is" in caplog.text


def test_a_payment_is_for_the_nearest_time():
    with Bot() as bot:
        for ts, following in ((T0, T1), (T1, T2)):
            bot.at(ts)
            bot.obs.funding_rate(S, "0.0001", following)
        assert len(bot.obs.accrued) == 2
        bot.obs.funding(S, "-0.5", ts="2026-01-10T10:30:00Z", funding_id="1")
        assert [one.ts[11:13] for one in bot.obs.accrued] == ["16"]
        bot.at("2026-01-10T20:30:00Z")
        bot.obs.funding(S, "-0.5", ts="2026-01-10T20:30:00Z", funding_id="2")  # more than half an interval after it
        assert len(bot.obs.accrued) == 1
        bot.obs.funding(S, "-0.25", funding_id="3")  # no time: for the last one
        assert bot.obs.accrued == () and bot.funding == (D("-1.25"), 0)


def test_of_what_is_never_paid_all_is_counted_and_little_kept():
    with Bot(start="2026-01-01T00:00:00Z", rate=None) as bot:
        first = "2026-01-01T01:00:00Z"
        for n in range(140):
            at = epoch_ns(first) + n * 3_600 * NS
            bot.obs.funding_rate(S, "0.0001", stamp(at))
            bot.clock.set(stamp(at))
        bot.obs.funding_rate(S, "0.0001", stamp(at + 3_600 * NS))
        assert bot.funding == (D("-2.8"), D("-2.8")) and len(bot.obs.accrued) == 128
        bot.obs.funding(S, "-0.5", ts="2026-01-01T03:00:10Z")  # the books have forgotten it, the ledger has not
        assert bot.funding == (D("-3.28"), D("-2.78")) and costs_of(bot) == D("3.28")
        bot.obs.funding(S, "-0.5", ts="2026-01-01T03:00:20Z")  # for that time it was paid
        assert bot.funding == (D("-3.78"), D("-2.78"))


@pytest.mark.parametrize("restarted", [False, True])
def test_of_what_is_not_listed_any_more_it_is_known_how_much_it_is(tmp_path, caplog, restarted):
    bot = Bot(start="2026-01-01T00:00:00Z", rate=None, data_dir=tmp_path)
    begun, hour = epoch_ns("2026-01-01T01:00:00Z"), 3_600 * NS
    for n in range(140):  # of the first twelve, the sum is nothing
        bot.obs.funding_rate(S, "0.0001" if n % 2 else "-0.0001", stamp(begun + n * hour))
        bot.clock.set(stamp(begun + n * hour + NS))
    assert bot.funding == (0, 0) and len(bot.obs.accrued) == 128
    assert "`obs.accrued` has the last ones only" in caplog.text
    if restarted:
        bot.obs.shutdown(5)
        bot.obs = botobs.start("bot", mode="backtest", clock=bot.clock, data_dir=tmp_path, starting_equity=10_000)
    reasons = [bot.obs.totals(window).reasons.get("funding") for window in ("all", "6h", "300h")]
    assert reasons[0] == "140 payments are accrued and not reported yet"
    assert reasons[1] == "6 payments are accrued and not reported yet"
    assert reasons[2] == "at least 128 payments are accrued and not reported yet"
    found = bot.obs.explain(bot.obs.trades.open[0].trade_id)
    assert {part.name: part for part in found.parts}["funding"].amount == 0
    bot.obs.funding(S, "0.03", ts=stamp(begun + NS))
    assert bot.funding == (D("0.01"), D("-0.02"))  # it took the place of 0.02
    assert bot.obs.totals().reasons["funding"].startswith("139 payments")
    for n in range(1, 140):
        bot.obs.funding(S, "-0.03" if n % 2 else "0.03", ts=stamp(begun + n * hour + NS))
    assert bot.funding == (0, 0) and bot.obs.accrued == () and "funding" not in bot.obs.totals().reasons
    bot.obs.shutdown(5)


def test_explained_is_all_that_is_accrued(tmp_path):
    with Bot(start="2026-01-01T00:00:00Z", rate=None, data_dir=tmp_path) as bot:
        begun = epoch_ns("2026-01-01T01:00:00Z")
        for n in range(130):
            bot.obs.funding_rate(S, "0.0001", stamp(begun + n * 3_600 * NS))
            bot.clock.set(stamp(begun + n * 3_600 * NS + NS))
        assert bot.funding == (D("-2.6"), D("-2.6"))
        [trade] = bot.obs.trades.open
        funding = {part.name: part for part in bot.obs.explain(trade.trade_id).parts}["funding"]
        assert funding.amount == D("-2.6") and funding.reason.startswith("-2.6000 of it is due")


@pytest.mark.parametrize("rate", ["abc", float("nan"), True, [], D("Infinity")])
def test_a_rate_that_is_none_is_said_and_the_payment_counts(rate, caplog):
    with Bot() as bot:
        report = bot.obs.funding(S, "-1.5", rate=rate, ts="2026-01-09T08:00:00Z")
        assert report.booked and "booked without its rate: rate: not a " in report.reason
        assert "funding of BTCUSDT: booked without its rate" in caplog.text
        assert "rate" not in bot.obs.ledger.latest(1)[0] and bot.funding == (D("-1.5"), 0)
        assert bot.obs.funding(S, "-1", rate="0.0001", ts="2026-01-09T16:00:00Z").reason is None


def test_what_reads_lines_comes_to_the_same_sum():
    with Bot() as bot:
        bot.at(T0)
        bot.fill("-1")
        bot.obs.funding(S, "-0.021", ts=T0)
        lines = bot.obs.ledger.latest()
        told = [
            D(fields["price"])
            for line in lines
            if (fields := fields_of(line))["action" if line["type"] == "funding" else "type"] == "FUNDING"
        ]
        assert exactly(lambda: sum(told)) == D("-0.021")


def test_an_exchange_knows_of_payments_only():
    with Bot() as bot:
        bot.at(T0)
        totals = bot.obs.totals()
        found = compare_summary(totals, {"funding": "0", "realizedPnl": "0", "equity": "10000"})
        assert found.ok and "-0.0200 of funding is accrued" in found.notes[0]
        assert compare_summary(totals.to_dict(), {"funding": "0"}).ok


def test_a_clock_that_is_set_back_pays_nothing_twice():
    with Bot() as bot:
        bot.at("2026-01-10T08:00:30Z")
        bot.clock.set("2026-01-10T07:59:00Z")
        bot.obs.funding_rate(S, "0.0001", T0)
        bot.at("2026-01-10T08:00:30Z")
        assert bot.funding == (D("-0.02"), D("-0.02")) and len(bot.obs.accrued) == 1


def test_a_signal_in_the_middle_of_an_entry_leaves_it_for_later():
    with Bot() as bot:
        account = bot.obs._money.account
        bot.clock.set(T0)
        account.busy = True  # as a handler finds it that looks at the totals
        bot.obs._money.funding.cross(bot.clock.time_ns())
        account.busy = False
        assert bot.obs.accrued[0].amount == D("-0.02")


def test_what_was_paid_is_measured_and_what_is_due_is_told(capbot):
    obs = capbot.start("bot", starting_equity=10_000)
    capbot.clock.set("2026-01-10T07:00:00Z")
    obs.fill(symbol=S, side="buy", qty=2, price=100, fee=0)
    obs.funding_rate(S, "0.0001", T0)
    capbot.clock.set(T0)
    due = obs.totals().accrued_funding
    obs.flush(5)
    assert capbot.metric("metrics_accrued_funding", window="all") == float(due) == -0.02
    obs.funding(S, "-0.02")
    obs.flush(5)
    assert capbot.histogram("bot_cost_total_bps", symbol=S) == (2, 1.0)  # the fill, and the payment


def test_dump_says_what_is_accrued(tmp_path, capsys):
    clock = Clock("2026-01-10T07:00:00Z")
    with live(tmp_path, clock) as obs:
        obs.fill(symbol=S, side="buy", qty=2, price=100, fee=0)
        obs.funding_rate(S, "0.0001", T0)
        clock.set(T0)
        obs.totals()
    assert main(["dump", "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "of it accrued" in said and "1 payment is accrued and not reported yet" in said
    assert main(["dump", "--json", "--data-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["accrued_funding"] == "-0.0200"


def test_the_picture_is_of_this_code(tmp_path):
    docs = Path(__file__).resolve().parents[2] / "docs"
    runpy.run_path(str(docs / "pictures/funding.py"))["main"](tmp_path)
    drawn = (tmp_path / "funding.svg").read_text("utf-8")
    assert (docs / "_static/funding.svg").read_text("utf-8") == drawn, "run docs/pictures/funding.py"


# -- over a restart ---------------------------------------------------------------------------------------------------


def live(data_dir, clock):
    return botobs.start("bot", data_dir=data_dir, clock=clock, strict=True, durability="os", starting_equity=10_000)


def recorded(data_dir):
    lines = (data_dir / "logs/costs.jsonl").read_text("utf-8").splitlines()
    found = [D(one["funding_cost_usd"]) for line in lines if (one := json.loads(line))["funding_cost_usd"] is not None]
    return exactly(lambda: sum(found, D(0)))


def test_over_restarts_and_crashes(tmp_path, caplog):
    clock, first = Clock("2026-01-10T07:00:00Z"), tmp_path / "0"
    obs = live(first, clock)
    obs.mark(S, "100")
    obs.fill(symbol=S, side="buy", qty=2, price=100, fill_id="a")
    obs.funding_rate(S, "0.0001", T0)
    obs.flush(5)
    copy_of(first, tmp_path / "before")
    assert obs.shutdown(5).delivered
    # down while it was due, known rate
    clock.set("2026-01-10T09:00:00Z")
    obs = live(first, clock)
    assert obs.totals().funding == D("-0.02") and obs.accrued[0].mark == 100
    obs.flush(5)
    assert recorded(first) == D("0.02")
    # a crash: the time is still to come in what was kept, and what was recorded is lost
    (first / "logs/costs.jsonl").rename(tmp_path / "costs")
    copy_of(first, tmp_path / "1")
    (tmp_path / "1/state/funding.json").write_bytes((tmp_path / "before/state/funding.json").read_bytes())
    (tmp_path / "costs").rename(first / "logs/costs.jsonl")
    obs.shutdown(5)
    obs = live(tmp_path / "1", clock)
    obs.flush(5)
    assert obs.totals().funding == D("-0.02") and len(obs.accrued) == 1
    assert recorded(tmp_path / "1") == D("0.02")
    # paid, and a crash before the records were written
    obs.funding(S, "-0.03", ts=T0)
    obs.flush(5)
    copy_of(tmp_path / "1", tmp_path / "2")
    path = tmp_path / "2/logs/costs.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:1]), "utf-8")
    obs.shutdown(5)
    obs = live(tmp_path / "2", clock)
    obs.flush(5)
    assert obs.totals().funding == D("-0.03") and recorded(tmp_path / "2") == D("0.03")
    obs.funding_rate(S, "0.0001", T1)
    obs.shutdown(5)
    # down for longer than is known, and what was kept is damaged
    clock.set("2026-01-11T09:00:00Z")
    copy_of(tmp_path / "2", tmp_path / "3")
    obs = live(tmp_path / "2", clock)
    assert obs.totals().funding == D("-0.05") and "nobody told its rate before" in caplog.text
    obs.shutdown(5)
    kept = tmp_path / "3/state/funding.json"
    kept.write_bytes(kept.read_bytes().replace(b"pending", b"pendinG"))
    obs = live(tmp_path / "3", clock)
    assert obs.totals().funding == D("-0.03") and "funding.json is damaged" in caplog.text
    obs.shutdown(5)


@pytest.mark.parametrize("how", ["shutdown", "crash", "import", "void"])
def test_what_came_late_just_before_the_end_is_accrued(tmp_path, how):
    clock, first, then = Clock("2026-01-10T07:00:00Z"), tmp_path / "0", "2026-01-10T07:30:00Z"
    obs = live(first, clock)
    obs.mark(S, "100")
    obs.funding_rate(S, "0.0001", T0)
    obs.fill(symbol=S, side="buy", qty=3, price=100, ts="2026-01-10T07:10:00Z", fill_id="a")
    obs.fill(symbol=S, side="sell", qty=3, price=100, ts="2026-01-10T07:20:00Z", fill_id="b")
    clock.set("2026-01-10T08:00:01Z")
    assert obs.totals().funding == 0
    obs.mark(S, "200")
    obs.flush(5)
    if how in ("shutdown", "crash"):
        obs.fill(symbol=S, side="buy", qty=3, price=100, ts=then, fill_id="c")
    elif how == "void":
        obs.void("b", "busted")
    copy_of(first, tmp_path / "1")
    assert obs.shutdown(5).delivered
    path = first if how == "shutdown" else tmp_path / "1"
    if how == "import":
        file = tmp_path / "some.csv"
        file.write_text(f"ts,symbol,side,qty,price,fill_id\n{then},{S},buy,3,100,c\n", "utf-8")
        assert main(["--data-dir", str(path), "import-csv", str(file)]) == 0
    for _ in range(2):
        obs = live(path, clock)
        obs.flush(5)
        assert obs.totals().funding == D("-0.03") and len(obs.accrued) == 1
        assert obs.shutdown(5).delivered
    found = [one for one in StreamReader(path).read("costs") if one["funding_cost_usd"] is not None]
    assert [(one["funding_cost_usd"], one["mark"]) for one in found] == [("0.0300", "100")]


def test_times_that_cannot_be_kept_and_records_of_before(tmp_path, caplog):
    clock = Clock("2026-01-10T07:00:00Z")
    obs = live(tmp_path, clock)
    obs.fill(symbol=S, side="buy", qty=2, price=100)
    obs.funding(S, "-1", ts="2026-01-10T00:00:00Z")
    (tmp_path / "state/funding.json").mkdir()  # nothing can be written there
    obs.funding_rate("\ud800", "0.0001", T0)
    obs.funding_rate(S, "0.0001", T0)
    obs.flush(5)
    assert "funding.json could not be kept" in caplog.text
    (tmp_path / "state/funding.json").rmdir()
    assert obs.shutdown(5).delivered
    # a run of an earlier version that did not end cleanly: its records do not say which line they are of
    path = tmp_path / "logs/costs.jsonl"
    path.write_text(path.read_text("utf-8").replace('"seq"', '"no"'), "utf-8")
    (tmp_path / "state/account.json").unlink()
    clock.set(T0)
    obs = live(tmp_path, clock)
    obs.flush(5)
    assert obs.totals().funding == D("-1.02") == -recorded(tmp_path)
    assert not obs.faults.errors
    obs.shutdown(5)


def test_whoever_looks_first_books_it_and_once(tmp_path):
    clock = Clock("2026-01-10T07:00:00Z")
    obs = live(tmp_path, clock)
    try:
        obs.fill(symbol=S, side="buy", qty=2, price=100, fill_id="a")
        for hour in range(8, 16):
            obs.funding_rate(S, "0.0001", f"2026-01-10T{hour:02d}:00:00Z")
            clock.set(f"2026-01-10T{hour:02d}:00:00Z")
            threads = [threading.Thread(target=obs.mark, args=(S, "100")) for _ in range(3)]
            threads.append(
                threading.Thread(target=obs.fill, kwargs={"symbol": S, "side": "buy", "qty": 1, "price": 100})
            )
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(obs.accrued) == 8
        assert obs.totals().funding == D("-0.01") * sum(range(2, 10))
        assert obs.ledger.verify().ok
    finally:
        obs.shutdown(5)


# -- the books --------------------------------------------------------------------------------------------------------


@st.composite
def _lives(draw):
    """What happens to one position, in the order of time: fills, funding times, payments for some of them."""
    found = []
    for n in range(draw(st.integers(2, 9))):
        ts = stamp(epoch_ns(T0) + n * 3_600 * NS)
        if n % 3 == 2:
            found.append(
                ("due", ts, draw(st.sampled_from(["0.0001", "-0.0002"])), draw(st.sampled_from(["90", "110"])))
            )
            if draw(st.booleans()):
                found.append(("paid", ts, draw(st.sampled_from(["-1", "0.5"])), ""))
        else:
            found.append(
                ("fill", ts, draw(st.sampled_from(["1", "-2", "3", "-1"])), draw(st.sampled_from(["100", "95"])))
            )
    return found, draw(st.permutations(range(len(found)))), draw(st.sampled_from(["average", "fifo"]))


@settings(max_examples=60, deadline=None)
@given(life=_lives())
def test_in_whatever_order_it_comes_it_is_the_same(life):
    told, order, basis = life
    account = Account(Ledger(None), Terms(cost_basis=basis), lambda: epoch_ns(T2))
    key = (None, None, S, None, False)
    near = Near(every_ns=3_600 * NS, times=tuple(ts for what, ts, *_ in told if what == "due"))
    for n in order:
        what, ts, amount, price = told[n]
        if what == "fill":
            side = "sell" if D(amount) < 0 else "buy"
            words = (S, side, None, None, None, None, None, None, "live")
            account.fill(read_fill(words, price, abs(D(amount)), "0", f"f{n}", ts, 0))
        elif what == "due":
            account.accrue(key, ts, D(amount), D(price))
        else:
            account.fund(S, D(amount), ts=ts, near=near)
    for what, ts, amount, price in told:  # what came late is looked at again
        if what == "due":
            account.accrue(key, ts, D(amount), D(price))
    held, wanted, paid = D(0), D(0), {ts: D(amount) for what, ts, amount, _ in told if what == "paid"}
    for what, ts, amount, price in told:
        if what == "fill":
            held += D(amount)
        elif what == "due":
            wanted += paid[ts] if ts in paid else -held * D(price) * D(amount)
    book = account.books.get(key)
    assert (D(0) if book is None else book.funding) == wanted
    if book is not None:
        assert book.accrued == sum((one.amount for one in book.accruals.values()), D(0))
        again = Book.of_state(orjson.loads(orjson.dumps(book.state())))
        assert (again.accruals, again.accrued, again.lots) == (book.accruals, book.accrued, book.lots)
        assert (
            exact(lambda: book.cash + book.funding + book.instrument.worth(book.inventory, D(70)))()
            == exact(lambda: book.realized + book.unrealized(D(70)))()
        )


def test_states_of_before_accruals_are_read():
    book = Book(guess(S), "fifo")
    with_lots = exact(lambda: book.fill("2026-01-01T00:00:00.000000Z", 1, "a", D(2), D(100), D(0), None))
    with_lots()
    state = orjson.loads(orjson.dumps(book.state()))
    del state["accrued"], state["accruals"]
    state["lots"] = [lot[:3] for lot in state["lots"]]
    again = Book.of_state(state)
    assert (again.accrued, again.accruals, again.lots) == (0, {}, ((2, 200, 100, 0),))


# -- the times --------------------------------------------------------------------------------------------------------


def test_times_are_bounded_and_kept():
    said = []
    times = FundingTimes(lambda cause, message: said.append(cause))
    for n in range(1_500):
        times.told(f"S{n}", "0.0001", 10**18 + n, 10**18 - 1)
    assert len(times.state()) == 1_000 and set(said) == {"symbols"}
    assert len(times.take(10**18 + 10)) == 11 and times.due_ns == 10**18 + 11
    again = FundingTimes(lambda cause, message: said.append(message))
    again.restore(orjson.loads(orjson.dumps(times.state())))
    assert again.state() == times.state() and again.due_ns == times.due_ns
    for damaged in (None, [], {"A": 1}, {"A": {"pending": [[1, "x"]]}}, {"A": {"pending": [["1", "0.1"]], "passed": [],
                    "last": 0, "every": None}}, {"A": {"pending": [], "passed": [], "last": 0, "every": 5}}):  # fmt: skip
        FundingTimes(lambda *_: None).restore(damaged)


def test_the_context_of_the_bot_does_not_matter():
    with decimal.localcontext(decimal.Context(prec=3)), Bot(rate="0.00012345678", qty="1.23456789") as bot:
        bot.at(T0)
        bot.obs.funding(S, "-0.0123456789", ts="2026-01-10T08:00:01Z")
        assert bot.funding == (D("-0.0123456789"), 0)
        assert EXACT.prec > 3
