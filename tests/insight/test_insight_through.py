"""Insight as the bot has it: through the observer's verbs and nouns."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from decimal import Decimal

import pytest

import botobs
import botobs.insight
from botobs.events.insight import PredictionSettled, RegimeChanged
from botobs.testing import Capture, Clock

SYMBOL = "BTC-USD"
RISE = [100.0 + n for n in range(40)]


def bar(obs, close, clock=None):
    obs.bar(SYMBOL, close, close + 1, close - 1, close, ts=None if clock is None else clock.now)


def a_trade(obs, entry, leave, **more):
    for side, px in (("buy", entry), ("sell", leave)):
        order = obs.order(SYMBOL, side, 1, decision_px=px, **more)
        obs.fill(order, price=px, qty=1, fee="0.10")


@pytest.fixture
def backtest(tmp_path):
    clock = Clock()
    with botobs.start("insight", mode="backtest", data_dir=tmp_path, clock=clock, strict=True) as obs:
        yield obs, clock


def records(folder, stream):
    path = folder / "logs" / f"{stream}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_bars_make_regimes_and_trades_count_for_them(backtest, tmp_path):
    obs, clock = backtest
    a_trade(obs, 100, 101)
    for close in RISE:
        bar(obs, close, clock)
        clock.advance(60)
    a_trade(obs, 139, 142)
    assert obs.regime.current(SYMBOL).name == "trend"
    found = obs.regime.performance()
    assert (found["unknown"].n, found["unknown"].net) == (1, Decimal("0.80"))
    assert (found["trend"].n, found["trend"].net, found["trend"].bars) == (1, Decimal("2.80"), 11)
    obs.flush()
    [record] = records(tmp_path, "regime_transition")
    assert {key: record[key] for key in ("symbol", "from", "to", "lasted_bars", "lasted_s", "by", "held_bars")} == {
        "symbol": SYMBOL, "from": "unknown", "to": "trend", "lasted_bars": 29, "lasted_s": 1740.0, "by": "adx",
        "held_bars": 3,
    }  # fmt: skip
    assert record["adx"] == pytest.approx(obs.trades.adx(SYMBOL))
    assert record["atr"] > 0 < record["plus_di"]


def test_each_signal_is_judged_by_the_bar_after_it_whatever_comes_in_between(backtest):
    obs, clock = backtest
    settled = []
    obs.bus.subscribe(PredictionSettled, settled.append, immediate=True)
    for n, close in enumerate((100.0, 101.0, 102.01, 101.0)):
        bar(obs, close)
        for turn in range(3):  # those that overlap tell nothing new
            with obs.tick(SYMBOL, bar_id=n, price=close) as tick:
                tick.signal(source="m", pred_bps=float(n * 10 + turn))
                tick.signal(source=None, pred_bps=math.nan)
                tick.signal(source="other")
            clock.advance(20)
    of_m = [event for event in settled if event.source == "m"]
    assert [(event.pred_bps, round(event.realized_bps)) for event in of_m] == [(0.0, 100), (10.0, 100), (20.0, -99)]
    assert of_m == settled
    assert obs.calibration.odd == 12
    order = obs.order(SYMBOL, "buy", 1, decision_px=101, source="m", pred_bps=99.0)  # one is waited for already
    obs.order(SYMBOL, "buy", 1, decision_px=202, source="o", pred_bps=7.0)
    bar(obs, 101.0)
    assert order
    assert [(event.source, event.pred_bps, round(event.realized_bps)) for event in settled[3:]] == [
        ("m", 30.0, 0), ("o", 7.0, -5000),
    ]  # fmt: skip
    assert obs.calibration.line(SYMBOL, "o").n == 1


def test_a_market_too_many_for_a_regime_has_its_decisions_settled_all_the_same(backtest, monkeypatch):
    monkeypatch.setattr("botobs.insight.regime._MOST_SYMBOLS", 1)
    obs, _ = backtest
    bar(obs, 100.0)
    for n in range(3):
        with obs.tick("ETH-USD", price=100.0) as tick:
            tick.signal(source="lgbm", pred_bps=50, candidates={"lgbm": "buy"})
        obs.bar("ETH-USD", 100.0, 101.0, 100.0, 101.0)
        assert (obs.regime.left_out, obs.regime.odd) == (n + 1, 0)
    assert (obs.calibration.line().n, len(obs.calibration.waiting)) == (3, 0)
    table = obs.counterfactual.table()
    assert (table["lgbm"].n, table.waiting, table.lost) == (3, 0, 0)


def test_another_horizon_does_not_wait_for_what_the_old_one_waited_for(backtest):
    obs, clock = backtest
    for over in ("2 bars", "trade", "30s"):  # no bar ever comes
        obs.calibration.over(over)
        with obs.tick(SYMBOL, price=100.0) as tick:
            tick.signal(source="m", pred_bps=1.0)
    assert len(obs.calibration.waiting) == 1
    clock.advance(30)
    with obs.tick(SYMBOL, price=101.0):
        pass
    assert obs.calibration.line(SYMBOL, "m").n == 1


class Hostile:
    def __float__(self):
        raise RuntimeError("no number")

    __hash__ = __str__ = __repr__ = __float__


@pytest.mark.parametrize(
    "odd", [None, math.nan, 10**400, "", "x", b"x", [], {}, Hostile(), object(), "\ud800"], ids=type
)
def test_nothing_that_is_asked_raises(odd):
    regime, calibration = botobs.insight.RegimeTracker(), botobs.insight.Calibration()
    regime.bar("B", 1, 2, 1, 2)
    calibration.learn("B", 1.0, 1.0, source="m")
    regime.bar(odd, odd, odd, odd, odd, odd, odd)
    regime.bar("B", 1, 2, 1, 2, odd, odd)
    calibration.learn(odd, 1.0, 1.0, source=odd)
    calibration.learn("B", odd, odd)
    for which in (odd, "B"):
        assert isinstance(regime.name(which), str)
        assert regime.current(which) is None or which == "B" or regime.current(which).bars == 1
        assert regime.performance(which)["chop"].n == 0
        calibration.band(odd, symbol=which, source=odd)
        calibration.line(which, odd, odd, over=odd)
        assert calibration.adjust(1.0, symbol=which, source=odd, regime=odd, over=odd) is not None
    json.dumps([regime.state(), calibration.state()])


def test_a_forked_child_leaves_what_is_the_parents_alone(tmp_path):
    with botobs.start("fork", data_dir=tmp_path) as obs:
        bar(obs, 100.0)
        with obs.regime._lock, obs.calibration._lock:
            child = os.fork()
            if not child:
                try:
                    obs.calibration.learn(SYMBOL, 1.0, 1.0)
                    obs.regime.performance()
                    obs._insight.close(0.0)
                    bar(obs, 100.0)
                    os._exit((tmp_path / "state/calibration.json").exists())
                finally:
                    os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert obs.regime.current(SYMBOL).bars == 1


@pytest.mark.parametrize("jitter", [0.0, -0.01, 0.01])
def test_a_loop_of_the_horizons_own_pace_has_each_turn_judged_by_the_next(backtest, jitter):
    obs, clock = backtest
    obs.calibration.over("1m")
    settled = []
    obs.bus.subscribe(PredictionSettled, settled.append, immediate=True)
    price = 100.0
    for n in range(12):
        with obs.tick(SYMBOL, bar_id=n, price=price) as tick:
            tick.signal(source="m", pred_bps=float(n))
        clock.advance(60 + (jitter if n % 2 else -jitter))
        price *= 1.001
    assert [event.pred_bps for event in settled] == [float(n) for n in range(len(settled))]
    assert len(settled) >= 10
    assert all(event.realized_bps == pytest.approx(10) for event in settled)
    assert all(event.over == "1m" for event in settled)


def test_a_bot_without_prices_or_symbols_is_left_alone(backtest):
    obs, _clock = backtest
    for symbol in (None, "", 7, SYMBOL, ("a", "b"), []):
        with obs.tick(symbol) as tick:
            for source in ("m", None, 3, [], "日" * 500):
                tick.signal(source=source, pred_bps=1.0)
                tick.signal(source=source, pred_bps="x")
    bar(obs, 5.0)
    assert obs.calibration.table() == []
    assert not obs.faults.errors


def test_a_live_bot_goes_on_where_it_stopped(tmp_path):
    with Capture(tmp_path) as capture:
        for run in range(2):
            obs = capture.start(data_dir=tmp_path / "data")
            for close in RISE[run * 30 : run * 30 + 30]:
                with obs.tick(SYMBOL, price=close) as tick:
                    tick.signal(source="m", pred_bps=5.0)
                bar(obs, close, capture.clock)
                capture.clock.advance(60)
            a_trade(obs, 100, 100 + run)
            if run == 0:
                assert obs.regime.name(SYMBOL) == "trend"
                before = obs.regime.current(SYMBOL), obs.calibration.table(), obs.regime.performance()
                obs.shutdown()
                assert oct((tmp_path / "data/state/regime.json").stat().st_mode & 0o777) == "0o600"
        found = obs.regime.performance()["trend"]
        assert (found.n, found.net) == (2, Decimal("0.60"))
        assert obs.calibration.line(SYMBOL, "m").n == 40
        assert obs.regime.current(SYMBOL).bars == 11
        assert [event.lasted_bars for event in capture.events_of(RegimeChanged)] == [29]
        assert len(before[1]) == 3
        assert before[2]["trend"].n == 1
        rate = capture.metric("bot_calibration_in_band_rate", symbol=SYMBOL)
        assert 0.0 <= rate <= 1.0
        assert not capture.errors


def test_after_a_crash_trades_are_counted_that_were_not_kept(tmp_path):
    script = f"""
import os, botobs
obs = botobs.start("crash", data_dir={str(tmp_path)!r})
for n in range(40):
    obs.bar("B", n + 10, n + 11, n + 9, n + 10, ts=1767323000 + 60 * n)
def trade(px):
    for side in ("buy", "sell"):
        obs.fill(symbol="B", side=side, price=px + (side == "sell"), qty=1, fee=0)
trade(5)
obs.flush()
obs.regime.current("B")
obs._insight._save()
trade(6)
obs.flush()
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 9, done.stderr
    with botobs.start("crash", data_dir=tmp_path) as obs:
        found = obs.regime.performance()
        assert (found["trend"].n, found["unknown"].n) == (1, 1)
        assert sum(each.net for each in found.values()) == 2
        assert obs.regime.current("B").name == "trend"
    with botobs.start("crash", data_dir=tmp_path) as obs:
        assert sum(each.n for each in obs.regime.performance().values()) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"crc":1,"state":{}}\n', b"\x00" * 100, b'{"crc":223132457,"state":[]}\n']
)
def test_state_that_is_damaged_or_cannot_be_written_stops_nobody(tmp_path, content, caplog):
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "regime.json").write_bytes(content)
    (folder / "calibration.json").mkdir()  # nothing can be written there
    with botobs.start("damaged", data_dir=tmp_path) as obs:
        bar(obs, 100.0)
        assert obs.regime.current(SYMBOL).bars == 1
        obs.calibration.learn(SYMBOL, 1.0, 1.0)
        assert not obs.faults.errors
    assert "calibration.json could not be" in caplog.text
    with botobs.start("damaged", data_dir=tmp_path) as obs:
        assert obs.regime.current(SYMBOL).bars == 1


def test_the_tables_say_how(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "botobs.toml").write_text('[regime]\nhold = 1\n[calibration]\nover = "2 bars"\n')
    with botobs.start("tables", data_dir="data", mode="backtest", clock=Clock()) as obs:
        for close in RISE[:28]:
            bar(obs, close)
        assert obs.regime.name(SYMBOL) == "trend"
        assert obs.calibration.horizon.text == "2 bars"
    (tmp_path / "botobs.toml").write_text('[calibration]\nover = "later"\n')
    with pytest.raises(botobs.ConfigError, match=r"calibration\.over"):
        botobs.start("tables", data_dir="data")
