"""The verbs of money, sentence by sentence of what the numbers mean."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import decimal
import enum
import os
import shutil
import signal
import threading
from decimal import Decimal

import numpy as np
import pytest

import botobs
from botobs.streams.reader import StreamReader
from botobs.testing import Capture, Clock
from tests.money.world import until
from tests.test_promises import ALL

D = Decimal
S = "BTCUSDT"
NOW = "2026-01-02T12:00:00Z"


def start(folder, **settings):
    more = {"durability": "os", "strict": True, "starting_equity": 1000, "clock": Clock(NOW), **settings}
    return botobs.start("bot", data_dir=folder, **more)


@pytest.fixture
def obs(tmp_path):
    found = start(tmp_path / "data")
    yield found
    found.shutdown(10)
    assert not found.faults.errors


def refused(obs):
    return list(StreamReader(obs.data_dir).read("refused"))


def buy(obs, qty=1, price=100, **more):
    return obs.fill(**{"symbol": S, "side": "buy", "qty": qty, "price": price, "fee": 0, **more})


def sell(obs, qty=1, price=100, **more):
    return buy(obs, qty, price, **{"side": "sell", **more})


class Way(enum.Enum):
    BUY = "buy"
    LONG = 1
    SELL = "Sell"


# --- what is said


@pytest.mark.parametrize("value", ["0.1", 0.1, D("0.1"), np.float64(0.1), np.float32(0.1), " 0.1 "])
def test_numbers_are_taken_with_all_their_digits(obs, value):
    report = buy(obs, qty=value, price=value, fee=value)
    assert report.booked and obs.ledger.latest(1)[0]["size"] == "0.1"
    found = obs.totals()
    assert (found.volume, found.fees, found.inventory) == (D("0.01"), D("0.1"), {S: D("0.1")})


def test_no_digit_is_lost_however_many_and_whatever_the_bots_own_context(obs):
    many = "1." + "123456789" * 20
    with decimal.localcontext(prec=3, traps=[decimal.Inexact]):
        assert buy(obs, qty=many, price=many).booked
        assert buy(obs, qty=np.int64(2), price=3).booked
        found = obs.totals()
        assert decimal.getcontext().prec == 3
    with decimal.localcontext(prec=1000):
        assert found.volume == D(many) * D(many) + 6
        assert found.inventory[S] == D(many) + 2


@pytest.mark.parametrize("side", ["buy", "BUY", "Long", "bid", "b", Way.BUY, Way.LONG, " buy "])
def test_sides_are_understood(obs, side):
    assert buy(obs, side=side).position == 1
    assert sell(obs, side=Way.SELL).position == 0


@pytest.mark.parametrize(
    "ts",
    [
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC), dt.datetime(2026, 1, 2, 4, 4, 5, 678901, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        "2026-01-02T03:04:05.678901Z", "2026-01-02T04:04:05.678901+01:00", 1767323045.678901, 1767323045678901, 1767323045678901999,
        "1767323045678901", np.int64(1767323045678901), D("1767323045.678901"),
    ],
)  # fmt: skip
def test_every_form_of_time(obs, ts):
    assert buy(obs, ts=ts).booked
    assert obs.ledger.latest(1)[0]["ts"] == "2026-01-02T03:04:05.678901Z"


@pytest.mark.parametrize(("role", "told"), [("foo", True), (3, True), ("", False), (None, False), (" Taker ", False)])
def test_a_role_that_is_none_is_said(obs, role, told, caplog):
    assert buy(obs, role=role).booked
    assert ("unknown role" in caplog.text) is told
    assert obs.totals().maker_volume == 0


def test_a_naive_datetime_is_utc_and_warned_once(obs, caplog):
    for hour in (1, 2):
        assert buy(obs, ts=dt.datetime(2026, 1, 2, hour)).booked
    assert obs.ledger.latest(1)[0]["ts"] == "2026-01-02T02:00:00.000000Z"
    assert sum("timezone" in record.message for record in caplog.records) == 1


def test_milliseconds_and_default_time(obs):
    assert buy(obs, ts=1767323045678).booked
    assert obs.ledger.latest(1)[0]["ts"] == "2026-01-02T03:04:05.678000Z"
    assert not buy(obs).late and obs.ledger.latest(1)[0]["ts"] == "2026-01-02T12:00:00.000000Z"


WRONG = {
    "no symbol": {"symbol": None}, "empty symbol": {"symbol": " "}, "no side": {"side": None}, "unknown side": {"side": "up"},
    "negative": {"qty": -1}, "nought": {"qty": 0}, "zero price": {"price": 0}, "nan": {"price": float("nan")}, "inf": {"qty": "inf"},
    "text": {"qty": "many"}, "truth": {"qty": True}, "nothing": {"price": None}, "list": {"price": [1]}, "fee": {"fee": "nan"},
    "time": {"ts": "yesterday"}, "kind": {"kind": "paper"}, "position side": {"position_side": "up"}, "huge": {"qty": 10**500},
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_booked_is_set_aside_with_the_reason(obs, wrong):
    report = buy(obs, **WRONG[wrong], fill_id="f")
    assert not report and not report.booked and report.reason and report.durable and report.fill_id == "f"
    (record,) = refused(obs)
    assert record["reason"] == report.reason and record["what"] == "fill" and record["said"]["fill_id"] == "f"
    assert len(obs.ledger) == 0 and obs.totals().fills == 0 and obs._money.desk.counts["refused"] == 1
    assert buy(obs, fill_id="f").booked  # it was not counted as reported


def test_a_fill_belongs_to_its_order_or_names_symbol_and_side(obs):
    order = obs.order(S, "sell", 1, decision_px=100, venue="v", account="a", strategy="s")
    report = obs.fill(order, price=99, qty=1, fee=0)
    line = obs.ledger.latest(1)[0]
    assert report.booked and (line["symbol"], line["side"], line["venue"], line["account"], line["strategy"]) == (
        S,
        "sell",
        "v",
        "a",
        "s",
    )
    assert report.slippage_bps == pytest.approx(100) and report.slippage == 1
    assert not obs.fill("who", price=99, qty=1).booked
    assert "who" in refused(obs)[0]["reason"]
    assert obs.fill("who", price=99, qty=1, symbol=S, side="buy").booked
    assert buy(obs, strategy="mine").booked and obs.ledger.latest(1)[0]["strategy"] == "mine"


@pytest.mark.parametrize("order_id", [7, "7", b"7", np.int64(7), D(7)])
def test_order_ids_are_known_whatever_their_type(obs, order_id):
    obs.order(S, "buy", 1, decision_px=100, order_id=7)
    assert obs.fill(order_id, price=100, qty=1, fee=0, fill_id=1).booked
    assert obs.fill("7", price=100, qty=1, fee=0, fill_id="1").duplicate


def test_a_misspelt_keyword_is_warned_about_and_kept(obs, caplog):
    assert buy(obs, fil_id="1", api_key="secret").booked
    assert any("fill_id" in record.message for record in caplog.records)
    line = obs.ledger.latest(1)[0]
    assert line["more"]["fil_id"] == "1" and line["more"]["api_key"] != "secret"


def test_a_misspelt_name_of_another_library_is_warned_about(obs, caplog):
    assert buy(obs, fee=None, comission=3).booked
    assert "fill does not know 'comission' (did you mean 'fee'?)" in caplog.text


def test_an_order_that_left_and_was_never_told_is_told(obs, caplog):
    obs.sent("who")
    assert "sent: order 'who' is not known" in caplog.text


@pytest.mark.parametrize(
    ("symbol", "told", "says"),
    [
        ("X", {"multiplier": "x"}, "instrument 'X' is not taken: multiplier: not a number: 'x'"),
        ("X", {"multiplier": 0}, "instrument 'X' is not taken: multiplier: not positive: 0"),
        ("X", {"inverse": "no"}, "instrument 'X' is not taken: inverse: neither true nor false"),
        ("X", {"dust": -1}, "instrument 'X' is not taken: dust: not positive: -1"),
        ("", {}, "instrument '' is not taken: symbol: none"),
    ],
)
def test_an_instrument_that_cannot_be_is_left_out(obs, caplog, symbol, told, says):
    obs.instrument(symbol, **told)
    assert says in caplog.text
    if symbol:
        obs.fill(symbol=symbol, side="buy", qty=1, price=10, fee=0)
        assert obs.ledger.latest(1)[0]["quote_delta"] == "-10"


def test_dust_may_be_none_at_all(obs, caplog):
    for dust in (0, "0", D(0), 0.5):
        obs.instrument("X", multiplier=2, inverse=np.bool_(True), dust=dust)  # noqa: FBT003 - what a table gives
    assert caplog.text == ""
    obs.fill(symbol="X", side="buy", qty=1, price=10, fee=0)
    assert obs.ledger.latest(1)[0]["instrument"]["inverse"] is True


VERBS = {
    "fill": lambda obs, v: [obs.fill(**{"symbol": S, "side": "buy", "qty": 1, "price": 1, "fill_id": f"{k}{id(v)}", k: v})
                            for k in ("symbol", "side", "qty", "price", "fee", "fee_asset", "role", "fill_id", "ts", "venue", "account",
                                      "position_side", "kind", "strategy", "other")],
    "fill order": lambda obs, v: [obs.fill(v, symbol=S, side="buy", qty=1, price=1), obs.fill(v, price=v, qty=v)],
    "void": lambda obs, v: [obs.void(v, v), obs.void("x", v, order_id=v, symbol=v, account=v), obs.void(v, "y")],
    "funding": lambda obs, v: [obs.funding(v, 1), obs.funding(S, v), obs.funding(S, 1, ts=v), obs.funding(S, 1, rate=v, funding_id=v, account=v)],
    "position": lambda obs, v: [obs.position(v, 1, 1), obs.position(S, v, 1), obs.position(S, 1, v), obs.position(S, 1, 1, ts=v, account=v)],
    "transfer": lambda obs, v: [obs.transfer(v), obs.transfer(1, currency=v), obs.transfer(1, ts=v)],
    "mark": lambda obs, v: [obs.mark(v, 1), obs.mark(S, v), obs.mark(S, 1, ts=v), obs.mark(S, 1, venue=v)],
    "bar": lambda obs, v: [obs.bar(v, 1, 1, 1, 1), obs.bar(S, v, v, v, v), obs.bar(S, 1, 2, 1, v), obs.bar(S, 1, 1, 1, 1, v, v)],
    "book": lambda obs, v: [obs.book(v, [[99, 1]], [[101, 1]]), obs.book(S, v, v), obs.book(S, [v, [99, v], [v, 1]], {1: v}), obs.book(S, [[99, 1]], [[101, 1]], ts=v, venue=v),
                            obs.depth.impact(S, v, v, limit_px=v, order_type=v, venue=v), obs.depth.last(v, v), obs.depth.last(S)],
    "instrument": lambda obs, v: [obs.instrument(v), obs.instrument("X", multiplier=v), obs.instrument("X", dust=v, base=v, quote=v, venue=v, inverse=v)],
    "order": lambda obs, v: [obs.order(v, v, v, decision_px=v), obs.order(S, "buy", 1, decision_px=1, order_id=v), obs.order(S, "buy", 1, decision_px=1, limit_px=v, strategy=v, x=v)],
    "others": lambda obs, v: [obs.sent(v, px=v), obs.cancel(v, v), obs.reject(v, v, v, attempt=v, max_retries=v, market=v, error=v)],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_no_value_raises_or_breaks_the_books(tmp_path, verb):
    obs = start(tmp_path, strict=False, starting_equity=None, durability="os")
    raised = {}
    for number, make in enumerate(ALL):
        value = make()
        try:
            VERBS[verb](obs, value)
        except Exception as error:
            raised[number] = error
    obs.flush(10)
    assert not raised, list(raised.items())[:3]
    assert not obs.faults.errors, (obs.faults.errors, obs.faults.last_error)
    before = obs.totals()
    assert obs.ledger.verify().ok
    obs.shutdown(10)
    shutil.rmtree(tmp_path / "state")
    again = start(tmp_path, strict=False, starting_equity=None)
    after = again.totals()
    again.shutdown(10)
    assert (after.fills, after.fees, after.volume, after.funding, after.inventory) == (
        before.fills, before.fees, before.volume, before.funding, before.inventory,
    )  # fmt: skip


# --- identity


def test_the_same_fill_twice_is_counted_once_also_after_a_restart_and_across_archives(tmp_path):
    obs = start(tmp_path, rotate_bytes=100_000)
    for number in range(300):
        assert buy(obs, fill_id=f"{number}", order_id="o").booked
    obs.shutdown(10)
    obs = start(tmp_path, rotate_bytes=100_000)
    assert list((tmp_path / "metrics" / "archive").iterdir()) or obs.ledger.archive()
    for number in (0, 150, 299):
        report = buy(obs, fill_id=f"{number}", order_id="o")
        assert report.duplicate and not report.booked and report
    for other in ({"symbol": "ETHUSDT"}, {"side": "sell"}, {"venue": "v"}, {"account": "a"}, {"order_id": "p"}):
        assert buy(obs, **{"fill_id": "0", "order_id": "o", **other}).booked  # another fill
    assert buy(obs).booked and buy(obs).booked  # without an id nobody can tell
    assert obs.totals().fills == 307 and obs._money.desk.counts["duplicate"] == 3
    obs.shutdown(10)


@pytest.mark.parametrize("other", [{"qty": 2}, {"price": 101}, {"fee": 1}, {"ts": "2026-01-02T01:00:00Z"}])
@pytest.mark.parametrize("restart", [False, True])
def test_a_conflict_is_recorded_alerted_and_not_booked(tmp_path, other, restart):
    obs = start(tmp_path)
    ts = "2026-01-02T02:00:00Z"
    buy(obs, fill_id="1", ts=ts)
    if restart:
        obs.shutdown(10)
        obs = start(tmp_path)
    seen = []
    obs.bus.subscribe(botobs.events.FillConflict, seen.append, immediate=True)
    report = buy(obs, **{"fill_id": "1", "ts": ts, **other})
    assert report.conflict and not report.booked and not report and "conflict" in report.reason
    assert buy(obs, fill_id="1", ts=ts, qty="1.000", price=100.0).duplicate  # the same number otherwise
    (record,) = refused(obs)
    assert record["conflict"] and len(seen) == 1 and seen[0].differs and obs.totals().fills == 1
    obs.shutdown(10)


def test_an_ambiguous_void_names_the_candidates(obs):
    buy(obs, fill_id="1", symbol="BTCUSDT")
    buy(obs, fill_id="1", symbol="ETHUSDT", account="main")
    report = obs.void("1", "busted")
    assert not report.booked and "BTCUSDT" in report.reason and "ETHUSDT" in report.reason and "main" in report.reason
    assert obs.void("1", "busted", symbol="ETHUSDT").booked
    assert obs.void("1", "busted", symbol="ETHUSDT").duplicate
    assert not obs.void("1", "busted").booked, "the void of one must not be taken for the void of the other"
    assert obs.totals().fills == 1 and len(refused(obs)) == 2


def test_a_void_before_its_fill_waits_for_it_also_over_a_restart(tmp_path):
    obs = start(tmp_path)
    first = obs.void("9", "busted", symbol=S)
    assert first.booked and "waited" in first.reason
    assert obs.void("9", "busted", symbol=S).duplicate
    for restart in (True, False):
        if restart:
            obs.shutdown(10)
            obs = start(tmp_path)
        else:
            assert not buy(obs, fill_id="9").booked
            assert buy(obs, fill_id="9").duplicate
    found = obs.totals()
    assert (found.fills, found.volume, found.inventory) == (0, 0, {}) and "fees" not in found.reasons
    assert buy(obs, fill_id="9", symbol="ETHUSDT").booked  # another one
    assert obs.ledger.verify().ok
    obs.shutdown(10)


def test_a_void_takes_everything_back(obs):
    before = obs.totals()
    buy(obs, 2, 100, fill_id="1", fee=None, role="maker")
    buy(obs, 2, 100, fill_id="2", fee="0.5", fee_asset="XYZ")
    assert obs.totals().reasons["fees"] and obs.totals().unpriced_fees
    for number in ("1", "2"):
        assert obs.void(number, "busted").booked
    after = obs.totals()
    for name in (
        "fills",
        "volume",
        "maker_volume",
        "fees",
        "inventory",
        "unpriced_fees",
        "total_pnl",
        "equity",
        "by_currency",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert "fees" not in after.reasons


def test_funding_has_an_identity(obs):
    assert obs.funding(S, "-1", funding_id="a").booked
    assert obs.funding(S, "-1.0", funding_id="a").duplicate
    assert obs.funding(S, "-2", funding_id="a").conflict
    assert obs.funding(S, "-1", ts="2026-01-02T08:00:00Z").booked
    assert obs.funding(S, "-1", ts="2026-01-02T08:00:00Z").duplicate
    assert obs.funding(S, "-1", ts="2026-01-02T08:00:00Z", account="b").booked
    assert obs.funding(S, "-1").booked and obs.funding(S, "-1").booked
    assert obs.totals().funding == -5
    assert not obs.funding(S, "nan").booked and not obs.funding(None, 1).booked


# --- fees


def test_fees(tmp_path):
    obs = start(tmp_path / "a")
    buy(obs, 1, 100, fee=None)
    assert obs.totals().fees == 0 and obs.totals().reasons["fees"].startswith("1 ")
    buy(obs, 1, 100, fee="-0.02")
    assert obs.totals().fees == D("-0.02")  # a rebate
    buy(obs, 1, 100, fee="0.01", fee_asset="BTC")
    found = obs.totals()
    assert found.fees == D("0.98") and found.inventory[S] == D("2.99")
    assert D(obs.ledger.latest(1)[0]["quote_delta"]) == -99
    buy(obs, 1, 100, fee="0.01", fee_asset="BNB")
    assert obs.totals().unpriced_fees == {"BNB": D("0.01")} and obs.totals().fees == D("0.98")
    obs.mark("BNB/USDT", 300)
    assert obs.totals().unpriced_fees == {"BNB": D("0.01")}, "never guessed afterwards"
    buy(obs, 1, 100, fee="0.01", fee_asset="bnb")
    assert obs.totals().fees == D("3.98") and obs.ledger.latest(1)[0]["fee_value"] == "3.00"
    obs.mark("BNBUSDT", 400)
    buy(obs, 1, 100, fee="0.01", fee_asset="BNB")
    obs.mark("BNB/USDT", 500)
    buy(obs, 1, 100, fee="0.01", fee_asset="BNB")
    buy(obs, 1, 100, fee="1", fee_asset="USDC")  # as good as USDT
    assert obs.totals().fees == D("3.98") + 4 + 5 + 1
    before = obs.totals()
    obs.shutdown(10)
    shutil.rmtree(tmp_path / "a" / "state")
    obs = start(tmp_path / "a")
    after = obs.totals()
    assert (after.fees, after.unpriced_fees, after.reasons["fees"]) == (
        before.fees,
        before.unpriced_fees,
        before.reasons["fees"],
    )
    obs.shutdown(10)


def test_a_table_of_fees(tmp_path, monkeypatch):
    (tmp_path / "botobs.toml").write_text("[fees]\nmaker = 2\ntaker = 5\n")
    monkeypatch.chdir(tmp_path)
    obs = start(tmp_path / "data")
    buy(obs, 1, 100, fee=None, role="maker", fill_id="1")
    buy(obs, 1, 100, fee=None, role="taker")
    assert obs.totals().fees == D("0.07") and "fees" not in obs.totals().reasons
    assert buy(obs, 1, 100, fee="0.9", role="maker", fill_id="1").duplicate  # nobody had said what it cost
    obs.shutdown(10)


# --- positions, marks, currencies


def test_a_flip_and_dust(obs):
    obs.instrument(S, dust="0.001")
    buy(obs, 1, 100)
    report = sell(obs, 3, 110, fee="0.3")
    assert report.gross_pnl == 10 and report.position == -2
    report = buy(obs, "1.9995", 100)
    assert report.position == D("-0.0005") and not obs.trades.open
    assert obs.totals().inventory == {S: D("-0.0005")}
    assert [record["trade_id"] for record in obs.trades.closed()] == ["t1", "t2"]


def test_what_was_held_before(obs):
    assert obs.position(S, 2, 100).booked
    found = obs.totals()  # no mark: worth what was paid
    assert (found.fills, found.volume, found.unrealized_pnl, found.equity) == (0, 0, 0, 1000)
    assert obs.position(S, "2.0", 100.0).duplicate
    obs.mark(S, 90)
    assert obs.totals().unrealized_pnl == -20 and obs.equity == 980
    assert sell(obs, 2, 110).gross_pnl == 20
    assert not obs.position(S, 1, 100).booked
    assert obs.position("ETHUSDT", 0, 100) and not obs.position("ETHUSDT", "x", 100)
    assert obs.position(S, -1, 100, position_side="short").booked
    assert obs.trades.open[0].side == "short"


def test_the_newest_mark_counts(obs):
    buy(obs, 1, 100)
    assert obs.totals().unrealized_pnl == 0
    buy(obs, 1, 104)  # before any mark, the last fill
    assert obs.totals().unrealized_pnl == 4
    with obs.tick(S, price=110.0):
        pass
    assert obs.positions[0].mark == 110
    obs.bar(S, 1, 130, 1, 120)
    assert obs.positions[0].mark == 120
    with obs.tick(S, bid=100, ask=D("100.5"), venue="binance"):
        pass
    assert obs.positions[0].mark == D("100.25")
    for bad in (float("nan"), 0, -1, "x", None, float("inf")):
        obs.mark(S, bad)
        with obs.tick(S, price=bad):
            pass
    obs.bar(S, 1, 1, 2, 1)
    obs.bar(S, 1, 2, 1, float("nan"))
    assert obs.positions[0].mark == D("100.25")
    obs.bar(S, 1, 2, 1, 2, ts="never")  # a price all the same
    assert obs.positions[0].mark == 2
    obs.mark(S, 99, ts="2026-01-02T11:00:00Z")
    obs.mark(S, 98, ts="2026-01-02T10:00:00Z")
    assert obs.positions[0].mark == 99


def test_inverse_and_multiplier(obs):
    obs.instrument("XBTUSD", inverse=True, base="XBT", quote="USD", multiplier=1)
    obs.instrument("ES", multiplier=50, quote="USD")
    buy(obs, 100, 50_000, symbol="XBTUSD", fee=0)
    assert sell(obs, 100, 40_000, symbol="XBTUSD").gross_pnl == D("-0.0005")
    assert buy(obs, 2, 100, symbol="ES").booked and sell(obs, 2, 101, symbol="ES").gross_pnl == 100
    by = obs.totals().by_currency
    assert by["XBT"]["gross_pnl"] == D("-0.0005") and by["USD"]["gross_pnl"] == 100
    assert by["USD"]["volume"] == 2 * 50 * 201


def test_funding_before_the_instrument_was_told_stays(tmp_path):
    obs = start(tmp_path)
    obs.funding("XBTUSD", "-0.001")
    obs.instrument("XBTUSD", inverse=True, base="XBT", quote="USD")
    for _ in range(2):
        obs.fill(symbol="XBTUSD", side="buy", qty=1, price=50_000, fee=0)
    assert obs.totals().by_currency["XBT"]["funding"] == D("-0.001")
    here = obs.totals().by_currency
    obs.shutdown(10)
    shutil.rmtree(tmp_path / "state")
    obs = start(tmp_path)
    assert obs.totals().by_currency == here
    obs.shutdown(10)


def test_currencies(obs):
    buy(obs, 1, 100, symbol="ETHUSDT", fee=1)
    buy(obs, 1, 100, symbol="ETHUSDC", fee=1)
    found = obs.totals()
    assert found.fees == 2 and set(found.by_currency) == {"USDT", "USDC"} and found.currency == "USD"
    buy(obs, 1, "0.05", symbol="ETH/BTC", fee="0.001")
    found = obs.totals()
    assert "BTC" in found.reasons["by_currency.BTC"] and found.fees == 2 and found.fills == 3
    obs.mark("BTCUSDT", 50_000)
    found = obs.totals()
    assert found.fees == 52 and not any(name.startswith("by_currency") for name in found.reasons)
    assert found.equity == 1000 + found.total_pnl


def test_one_currency_is_its_own(obs):
    buy(obs, 1, "0.05", symbol="ETH/BTC", fee="0.001")
    assert obs.totals().currency == "BTC" and obs.totals().fees == D("0.001")


def test_kinds(obs):
    buy(obs, 1, 100, kind="hedger_sim", fee=1)
    buy(obs, 1, 100, kind="import", fee=2)
    buy(obs, 1, 100, fee=4)
    assert obs.totals().fees == 6 and obs.totals(kinds=("hedger_sim",)).fees == 1
    assert obs.totals(kinds=("live", "hedger_sim")).fees == 7 and len(obs.positions) == 1
    with pytest.raises(ValueError, match="kinds"):
        obs.totals(kinds=("paper",))
    assert obs.equity == 994


def test_a_transfer_is_no_profit_and_no_drawdown(obs):
    buy(obs, 1, 100)
    obs.mark(S, 90)
    assert obs.transfer("-500").booked and obs.transfer("250", currency="USDT").booked
    found = obs.totals()
    assert (found.transfers, found.total_pnl, found.max_drawdown, found.equity) == (-250, -10, 10, 740)
    assert not obs.transfer(1, currency="XAU").booked and not obs.transfer("much").booked


def test_without_a_starting_equity_there_is_a_reason(tmp_path):
    obs = start(tmp_path, starting_equity=None)
    buy(obs, 1, 100)
    obs.mark(S, 90)
    found = obs.totals()
    assert obs.equity is found.equity is None and found.total_pnl == -10 and found.max_drawdown == 10
    for name in ("equity", "peak_equity", "drawdown_pct", "sharpe"):
        assert found.reasons[name], name
    assert found.max_drawdown_pct is None
    obs.shutdown(10)


def test_sharpe_is_made_of_calendar_buckets(tmp_path):
    obs = start(tmp_path, sharpe_bucket="hour")
    clock = obs.settings.clock
    assert obs.totals().sharpe.annualized is None and obs.totals().reasons["sharpe"]
    buy(obs, 1, 100)
    for price in (110, 110, 121):
        clock.advance(3600)
        obs.mark(S, price)
    clock.advance(3600)
    found = obs.totals().sharpe
    # the price of an hour's first tick falls into that hour
    returns = [0, 10 / 1000, 0, 11 / 1010]
    mean = sum(returns) / 4
    vol = (sum((one - mean) ** 2 for one in returns) / 3) ** 0.5
    assert found.n == 4 and found.bucket == "hour"
    assert found.mean == pytest.approx(mean) and found.vol == pytest.approx(vol)
    assert found.annualized == pytest.approx(mean / vol * (365 * 24) ** 0.5)
    obs.shutdown(10)
    obs = start(tmp_path, sharpe_bucket="hour", clock=clock)
    assert obs.totals().sharpe == found
    obs.shutdown(10)


# --- trouble


def test_a_full_disk_loses_nothing(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start(durability="fsync", starting_equity=1000)
        assert buy(obs, fill_id="1").durable
        capture.faults.disk_full()
        report = buy(obs, fill_id="2")
        assert report.booked and not report.durable and report.reason
        assert buy(obs, fill_id="2").duplicate
        assert obs.totals().fills == 2 and obs.ledger.pending == 1
        until(lambda: any(type(event).__name__ == "LedgerTrouble" for event in capture.events))
        trouble = next(event for event in capture.events if type(event).__name__ == "LedgerTrouble")
        assert trouble.pending >= 1  # as many as wait when it is told, not when it began
        assert trouble.importance.name == "CRITICAL"
        capture.faults.disk_ok()
        until(lambda: obs._money.ledger.retry() and not obs.ledger.pending)
        assert buy(obs, fill_id="3").durable
        assert obs.ledger.verify().ok and [line["fill_id"] for line in obs.ledger.latest()] == ["1", "2", "3"]
        until(lambda: any(type(event).__name__ == "LedgerResumed" for event in capture.events))
        folder = obs.data_dir
    obs = start(folder)
    assert obs.totals().fills == 3
    obs.shutdown(10)


@pytest.mark.parametrize("settings", [{"ledger": False}, {"mode": "backtest", "data_dir": None}, {"mode": "backtest"}])
def test_without_a_ledger_on_disk_the_figures_are_the_same(tmp_path, settings):
    folder = settings.get("data_dir", tmp_path)
    obs = start(**{"folder": folder, **{key: value for key, value in settings.items() if key != "data_dir"}})
    for number in range(1500):
        assert (buy if number % 2 else sell)(
            obs,
            1,
            100 + number % 7,
            fill_id=str(number),
            ts=f"2026-01-02T{number // 600:02d}:{number // 60 % 10:02d}:{number % 60:02d}Z",
        ).booked
    assert buy(obs, 1, 90, fill_id="late", ts="2026-01-01T00:00:00Z").late
    assert obs.void("5", "busted").booked and buy(obs, 1, 100, fill_id="7", ts="2026-01-02T00:00:07Z").duplicate
    found = obs.totals()
    assert found.fills == 1500 and found.inventory == {}
    assert (tmp_path / "metrics" / "fills.jsonl").exists() is ("ledger" not in settings and folder is not None)
    obs.shutdown(10)
    with start(tmp_path / "other") as other:
        for number in [n for n in range(1500) if n != 5]:
            (buy if number % 2 else sell)(
                other,
                1,
                100 + number % 7,
                ts=f"2026-01-02T{number // 600:02d}:{number // 60 % 10:02d}:{number % 60:02d}Z",
            )
        buy(other, 1, 90, ts="2026-01-01T00:00:00Z")
        assert other.totals().total_pnl == found.total_pnl


def test_a_cancelled_afill_still_books_and_many_share_the_disk(tmp_path):
    obs = start(tmp_path, durability="fsync")

    async def all_of_it():
        task = asyncio.create_task(obs.afill(symbol=S, side="buy", qty=1, price=100, fill_id="c"))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return await asyncio.gather(
            *(obs.afill(symbol=S, side="buy", qty=1, price=100, fee=0, fill_id=str(number)) for number in range(200))
        )

    reports = asyncio.run(all_of_it())
    assert all(report.booked and report.durable for report in reports)
    assert obs.totals().fills == 201 and obs.ledger.verify().ok
    wrong = asyncio.run(obs.afill(symbol=S, side="up", qty=1, price=1))
    assert not wrong.booked and "side" in wrong.reason
    assert asyncio.run(obs.afill(symbol=S, side="buy", qty=1, price=100, fee=0, fill_id="7")).duplicate
    obs.shutdown(10)
    assert asyncio.run(obs.afill(symbol=S, side="buy", qty=1, price=1)).reason


def test_a_forked_child_reports_nothing_and_asks_without_waiting(obs):
    buy(obs, fill_id="1")
    with obs._money.account.lock:  # another thread might hold it
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                done = []

                def child():
                    report = obs.fill(symbol=S, side="buy", qty=1, price=1)
                    obs.mark(S, 5)
                    done.append((report.booked, obs.totals().fills, obs.equity is not None, len(obs.positions)))

                thread = threading.Thread(target=child, daemon=True)
                thread.start()
                thread.join(10)
                status = 0 if done and done[0][0] is False else 2
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert buy(obs, fill_id="2").booked and obs.ledger.verify().ok and obs.totals().fills == 2


def test_threads_fill_at_once(tmp_path):
    obs = start(tmp_path, durability="fsync", clock=None)

    def work(number):
        for count in range(60):
            assert (buy if number % 2 else sell)(
                obs, number, 100 + count % 3, fee="0.01", fill_id=f"{number}-{count}"
            ).booked

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = obs.totals()
        assert found.total_pnl == found.cash_flow + sum((p.value for p in ()), D(0)) + found.total_pnl - found.cash_flow
        obs.mark(S, 101)
    for thread in threads:
        thread.join()
    found = obs.totals()
    assert found.fills == 240 and found.fees == D("2.4") and found.inventory == {S: D(60 * (1 - 2 + 3 - 4))}
    assert obs.ledger.verify().ok and obs.equity == found.equity
    obs.shutdown(10)
    with start(tmp_path) as again:
        assert again.totals().fees == found.fees and again.totals().realized_pnl == found.realized_pnl


def test_a_signal_handler_that_fills_in_the_middle(tmp_path):
    obs = start(tmp_path, strict=False, durability="fsync")
    told, inside, busy = [], [0], []

    def handler(*_):
        if busy or inside[0] >= 300:
            return
        busy.append(1)
        inside[0] += 1
        obs.mark(S, 100 + inside[0] % 5)
        told.append(obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0, fill_id=f"h{inside[0]}"))
        busy.clear()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.001)
    try:
        own = [sell(obs, 1, 100, fill_id=f"m{number}", ts="2026-01-02T11:00:00Z") for number in range(400)]
        for number in range(200):
            obs.mark(S, 100 + number % 3)
            obs.order(S, "buy", 1, decision_px=100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(report.booked for report in own) and told
    booked = sum(report.booked for report in told)
    found = obs.totals()
    assert found.fills == 400 + booked and found.inventory.get(S, 0) == booked - 400
    obs.flush(10)
    assert len(refused(obs)) == len(told) - booked and obs.ledger.verify().ok
    assert not obs.faults.errors, obs.faults.last_error
    obs.shutdown(10)


def test_a_damaged_line_of_the_ledger_is_told_and_does_not_keep_the_bot_from_starting(tmp_path):
    obs = start(tmp_path)
    for number in range(4):
        buy(obs, fill_id=str(number))
    obs.shutdown(10)
    path = tmp_path / "metrics" / "fills.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"size":"1"', b'"size":"!"')
    lines[2] = b"{" + lines[2][2:]
    path.write_bytes(b"".join(lines))
    shutil.rmtree(tmp_path / "state")
    obs = start(tmp_path)
    assert not obs.ledger.verify().ok
    assert obs.totals().fills == 2 and buy(obs, fill_id="9").booked
    assert obs.totals("1h").fills == 3 and obs.void("0", "x").booked
    obs.shutdown(10)
