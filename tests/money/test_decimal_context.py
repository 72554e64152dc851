"""The bot's decimal context is the bot's: it changes no figure, and no function of the bot's meets the one of the books."""

from __future__ import annotations

import contextlib
import decimal
import json
import threading
from decimal import Decimal

import attrs
import pytest

import botobs
from botobs import cli, triggers
from botobs.accounting import numbers
from botobs.accounting.numbers import EXACT
from botobs.events import FillBooked, TradeClosed
from botobs.testing import Clock
from tests.money.world import until

D = Decimal
NOW = "2026-01-02T12:00:00Z"
PLAIN = decimal.Context(prec=28)
EVERY = [decimal.Inexact, decimal.Rounded, decimal.Subnormal, decimal.FloatOperation, decimal.InvalidOperation]
#: Whatever is reckoned under it raises.
TRAPPED = decimal.Context(
    prec=1, rounding=decimal.ROUND_UP, Emin=-1, Emax=1, capitals=0, traps=[*EVERY, decimal.Overflow]
)
#: Whatever is reckoned under it is wrong, without a word.
COARSE = decimal.Context(prec=2, rounding=decimal.ROUND_UP, capitals=0, traps=[])
PRICE = "40010.12345678901234567890123456789"
QTY = "1.234567890123456789012345678901234567"
#: symbol, side, quantity, price, and what else is said of the fill
FILLS = [
    ("BTCUSDT", "buy", QTY, PRICE, {"fee": "1.000000000000000000000000000123", "role": "taker"}),
    ("BTCUSDT", "sell", "0.234567890123456789", PRICE, {"fee": "0.00123456789", "fee_asset": "BNB", "role": "maker"}),
    ("BTCUSDT", "sell", "3.333333333333333333333333", PRICE, {"fee": "-0.001234567", "fee_asset": "BTC"}),
    ("ESZ5", "buy", "7", PRICE, {"fee": "1.111"}),
    ("ESZ5", "sell", "3", "39999.1234567", {}),
    ("XBTUSD", "buy", "777", "39999.1234567", {"fee": "0.000123456789"}),
    ("XBTUSD", "sell", "333", "39899.1234567", {"fee": "0.000123456789"}),
    ("DOGE/USDT", "buy", "1000.123456789", "0.123456789", {"fee": "0.123456789", "fee_asset": "DOGE"}),
    ("DOGE/USDT", "sell", "1000", "0.133456789", {"fee": "0.123456789", "fee_asset": "XYZ"}),
    ("AAPL", "short", "17", "123.456789", {"position_side": "short", "account": "a", "venue": "v"}),
    ("TINY", "buy", "1e-18", "0.000000000000000123", {"fee": "1e-23"}),
    ("HUGE", "buy", D("1E+12"), 1e12, {"fee": 1e-18}),
    ("HUGE", "sell", "999999999999.123456", "999999999999.9", {}),
]


@contextlib.contextmanager
def under(context):
    before = decimal.getcontext()
    decimal.setcontext(context.copy())
    try:
        yield
    finally:
        decimal.setcontext(before)


def reported(folder, cost_basis):
    """All that a bot may say about money, and what is answered."""
    clock = Clock(NOW)
    limits = [triggers.Drawdown("0.99999"), triggers.DailyLoss("14.123456"), triggers.EquityBelow("-1e15")]
    obs = botobs.start(
        "bot", mode="backtest", data_dir=folder, clock=clock, starting_equity="10000.123456789", strict=True,
        cost_basis=cost_basis, kill_switch=limits,
    )  # fmt: skip
    obs.instrument("ESZ5", multiplier=50, quote="USD")
    obs.instrument("XBTUSD", inverse=True, base="XBT", quote="USD", multiplier=10)
    obs.instrument("DOGE/USDT", dust="0.512345678901234567")
    obs.mark("BNBUSDT", "612.3456789123456789")
    said = []
    for number, (symbol, side, qty, price, more) in enumerate(FILLS):
        told = {key: more[key] for key in ("venue", "account") if key in more}
        with botobs.tick(symbol, bar_id=number, bid=price, ask=D(price) if type(price) is str else price):
            order = obs.order(
                symbol, side, qty, decision_px="39999.98765432101234567", order_id=f"o{number}", strategy="s",
                pred_bps=4.23456, limit_px=price, stop_px="39000.123456", target_px="41000.98765", **told,
            )  # fmt: skip
            obs.sent(order, px="40000.12345")
            clock.advance(1)
            said.append(obs.fill(order, price=price, qty=qty, fill_id=f"f{number}", ts=clock.now, **more))
        obs.mark("BTCUSDT", bid="40000.12345678", ask="40001.23456789")
        obs.mark("XBTUSD", bid=40000.123456, ask=40000.234567)
    obs.funding_rate("BTCUSDT", "0.000123456789", next_ts="2026-01-02T13:00:00Z")
    obs.funding_rate("XBTUSD", 0.000123456789, next_ts="2026-01-02T13:00:00Z")
    obs.health(equity="9999.123456789", other=D("1E-7"))
    obs.bar("BTCUSDT", "41000.123", "41200.456", "40900.789", "41111.123456", "12.345678")
    obs.book("BTCUSDT", [["41000.12345", "1.23456789"]], [["41001.12345", "1.23456789"]])
    obs.transfer("123.456789012345678901234567890123456789")
    obs.position("SOLUSDT", "12.345678901234567890123456789012345678", "123.4567890123456")
    obs.event("own", a=D("1.234567"), b=D("1E-9"), c=D("1E+9"))
    obs.reject("o3", "x", "m", market={"bid": D("1.23456"), "ask": "1.23567", "volume_1m": D("123.456")})
    clock.advance("2h")
    said += [obs.totals(), obs.accrued]
    said += [
        obs.funding("BTCUSDT", "-1.23456789012345678901234567", rate="0.000123456789", ts="2026-01-02T13:00:00Z"),
        obs.void("f1", "busted"),
        obs.fill(
            symbol="BTCUSDT", side="buy", price=PRICE, qty="0.333333333", ts="2026-01-02T12:00:01.5Z", fill_id="l"
        ),
        obs.fill(
            symbol="BTCUSDT", side="buy", price=PRICE, qty="0.333333333", ts="2026-01-02T12:00:01.5Z", fill_id="l"
        ),
        obs.fill(symbol="BTCUSDT", side="buy", price="1e-7", qty="0.3", ts="2026-01-02T12:00:01.5Z", fill_id="l"),
    ]
    clock.advance("30h")
    obs.mark("BTCUSDT", "41000.98765")
    said += [obs.totals(), obs.totals("6h"), obs.totals(kinds=["live", "hedger_sim"])]
    said += [obs.positions, obs.equity, obs.equity_curve(), list(obs.trades.open), obs.trades.closed()]
    said += [obs.slippage.stats(by) for by in ("symbol", "side", "venue")]
    said += [obs.slippage.calculate_slippage("o1", "40000.123456", "buy", "1.23456")]
    said += [obs.performance.summary(), obs.performance.by_strategy(), obs.performance.sessions("day")]
    said += [str(obs.explain(trade["trade_id"])) for trade in obs.trades.closed()]
    said += [book.trade for book in obs._money.account.books.values()]
    said += [limit.used() for limit in limits]
    assert not obs._own.faults.errors
    obs.shutdown(10)
    return [_plain(one) for one in said], _written(folder)


def _plain(one):
    if attrs.has(type(one)):
        return {field.name: _plain(getattr(one, field.name)) for field in attrs.fields(type(one))}
    if isinstance(one, list | tuple):
        return [_plain(each) for each in one]
    return one


def _written(folder):
    """The records, without what differs from run to run."""
    found = {}
    for path in sorted([*folder.glob("logs/*.jsonl"), *folder.glob("metrics/*.jsonl")]):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [
            {key: value for key, value in record.items() if not key.endswith(("run_id", "trace_id", "hash", "_ms"))}
            for record in records
        ]
    return found


def _apart(one, other):
    return [(mine, their) for mine, their in zip(one, other, strict=True) if mine != their]


@pytest.mark.parametrize("cost_basis", ["average", "fifo"])
@pytest.mark.parametrize("context", [TRAPPED, COARSE], ids=["trapped", "coarse"])
def test_no_figure_depends_on_the_bots_context(tmp_path, context, cost_basis):
    with under(PLAIN):
        said, written = reported(tmp_path / "plain", cost_basis)
    with under(context):
        others, rewritten = reported(tmp_path / "other", cost_basis)
    with under(PLAIN):
        assert _apart(said, others) == []
        assert (
            written.keys() == rewritten.keys() >= {"fills.jsonl", "costs.jsonl", "own.jsonl", "trade_lifecycle.jsonl"}
        )
        for name in written:
            assert _apart(written[name], rewritten[name]) == [], name


def test_no_figure_depends_on_the_context_of_new_threads(tmp_path, monkeypatch):
    def traded(folder):
        clock = Clock(NOW)
        with botobs.start("bot", data_dir=folder, clock=clock, starting_equity=1000, durability="os") as obs:
            for number, (symbol, side, qty, price, more) in enumerate(FILLS[:3]):
                obs.order(symbol, side, qty, decision_px="39999.98765432101234567", order_id=f"o{number}", strategy="s")
                clock.advance(1)
                obs.fill(f"o{number}", price=price, qty=qty, ts=clock.now, fill_id=number, **more)
                obs.mark(symbol, bid="40000.12345678", ask="40001.23456789")
            assert obs.flush(10).delivered
            assert not obs._own.faults.errors
        return _written(folder)

    with under(PLAIN):
        written = traded(tmp_path / "plain")
        for name in ("prec", "rounding", "capitals"):
            monkeypatch.setattr(decimal.DefaultContext, name, getattr(COARSE, name))
        other = traded(tmp_path / "other")
    for name in ("fills.jsonl", "costs.jsonl", "execution.jsonl", "trade_lifecycle.jsonl"):
        assert _apart(written[name], other[name]) == [], name


def test_the_command_line_says_the_same_under_every_context(tmp_path, capsys):
    with under(PLAIN):
        reported(tmp_path / "data", "average")
    capsys.readouterr()
    shown = []
    for context in (PLAIN, TRAPPED, COARSE):
        with under(context):
            assert cli.main(["--data-dir", str(tmp_path / "data"), "dump", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        for held in told["positions"]:
            held.pop("age_s")
        told.pop("window")
        shown.append(told)
    assert shown[0] == shown[1] == shown[2]
    [sol] = [held for held in shown[0]["positions"] if held["symbol"] == "SOLUSDT"]
    assert sol["avg_px"] == sol["mark"]  # the second is the first, where nobody told a price


@pytest.mark.parametrize("mode", ["live", "backtest"])
@pytest.mark.parametrize("immediate", [True, False])
def test_a_function_of_the_bot_runs_under_the_bots_context(tmp_path, mode, immediate):
    seen = []

    def heard(event):
        seen.append((type(event), decimal.getcontext().prec, D(1) / D(3)))
        decimal.getcontext().prec = 4  # as an unthinking bot does

    with under(decimal.Context(prec=9)):
        obs = botobs.start("bot", mode=mode, data_dir=tmp_path, clock=Clock(NOW), durability="os", starting_equity=1000)
        for event in (FillBooked, TradeClosed):
            obs.bus.subscribe(event, heard, immediate=immediate)
        obs.alerts.on(FillBooked, when=heard, level="info")
        obs.performance.on_close(heard)
        obs.fill(symbol="BTCUSDT", side="buy", qty=QTY, price=PRICE)
        obs.fill(symbol="BTCUSDT", side="sell", qty=QTY, price=PRICE)
        assert obs.flush(10)
        until(lambda: len(seen) >= 6)
        obs.fill(symbol="BTCUSDT", side="buy", qty=QTY, price=PRICE)
        until(lambda: len(seen) >= 8)
        with decimal.localcontext(EXACT):
            assert obs.totals().volume == 3 * D(QTY) * D(PRICE)
        assert not obs._own.faults.errors
        obs.shutdown(10)
    assert {prec for _, prec, _ in seen} <= {9, 28, 4}
    assert EXACT.prec == 6_000


def test_who_trips_in_the_middle_of_a_trade_meets_the_bots_context(tmp_path):
    seen = []
    with under(decimal.Context(prec=9)):
        obs = botobs.start(
            "bot", data_dir=tmp_path, clock=Clock(NOW), durability="os", starting_equity=1000,
            kill_switch=[triggers.ConsecutiveLosses(1), triggers.When(lambda: seen.append(D(1) / D(3)))],
        )  # fmt: skip
        obs.kill_switch.on_trip(lambda _trip: seen.append(D(2) / D(3)))
        obs.fill(symbol="BTCUSDT", side="buy", qty=1, price=100)
        obs.fill(symbol="BTCUSDT", side="sell", qty=1, price=90)
        obs.flush(10)
        until(lambda: obs.kill_switch.state == "halted")
        assert not obs._own.faults.errors
        obs.shutdown(10)
    assert any(str(one).startswith("0.666") for one in seen)


def test_as_the_bot_and_back():
    seen = []

    @numbers.as_the_bot
    def asked():
        seen.append(decimal.getcontext().prec)
        numbers.exact(lambda: seen.append(decimal.getcontext().prec))()

    @numbers.exact
    def reckoned():
        asked()
        seen.append(decimal.getcontext().prec)

    with under(decimal.Context(prec=7)):
        reckoned()
        asked()
        assert decimal.getcontext().prec == 7

    def elsewhere():
        decimal.setcontext(EXACT)  # on this thread nobody said what the bot's is
        asked()
        seen.append(decimal.getcontext() is EXACT)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [7, 6000, 6000, 7, 6000, 28, 6000, True]


def test_what_the_bots_code_calls_under_another_context_is_its_own():
    seen = []

    @numbers.as_the_bot
    def asked():
        seen.append(decimal.getcontext().prec)

    @numbers.as_the_bot
    def bot():
        with under(decimal.Context(prec=5)):
            numbers.exact(asked)()

    @numbers.exact
    def reckoned():
        asked()
        bot()
        asked()

    with under(decimal.Context(prec=7)):
        reckoned()
    assert seen == [7, 5, 7]
