"""Price events as the bot has them: through the observer's verbs, its streams and its bus."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from decimal import Decimal

import pytest

import botobs
from botobs.events import LevelCrossed, PriceEvent, PriceEventFollowed
from botobs.testing import Capture, Clock

BTC, ETH = "BTC-USD", "ETH-USD"
TABLE = '[price_events]\nsteps = { "BTC-USD" = 1000, "ETH-USD" = 100 }\nwindow = "30s"\n'


@pytest.fixture(autouse=True)
def _table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "botobs.toml").write_text(TABLE)


def records(folder, *kinds):
    lines = (folder / "logs/price_events.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["event"] in (kinds or ("level", "spike", "gap", "after"))]


def trade(obs, symbol, side, qty, price):
    order = obs.order(symbol, side, qty, decision_px=price)
    obs.fill(order, price=price, qty=qty, fee=0)


def test_a_backtest_tells_what_was_held_and_done(tmp_path):
    clock, alerted = Clock(), []
    with botobs.start("prices", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        obs.bus.subscribe(PriceEvent, alerted.append)
        trade(obs, ETH, "buy", 2, 3_010)
        obs.mark(BTC, 99_500)
        trade(obs, BTC, "sell", "0.5", 99_500)
        for price in (99_700, 100_020, 99_990, 100_010, 100_100):
            clock.advance(5)
            obs.bar(BTC, price, price, price, price, ts=clock.now)
            with obs.tick(BTC, price=price):
                if price == 99_990:
                    trade(obs, BTC, "buy", "0.2", price)
        clock.advance(30)
        with obs.tick(BTC, price=100_220):
            pass
        assert [type(one) for one in obs.price_events.latest()] == [LevelCrossed, PriceEventFollowed]
        assert obs.price_events.table()[0].for_us_bps < 0  # short, and it rose
        assert obs.price_events.reference == BTC
    [event] = alerted
    level, after = records(tmp_path / "data")
    assert {key: level[key] for key in ("event", "symbol", "level", "levels", "direction", "price", "by", "reference")} == {
        "event": "level", "symbol": BTC, "level": "100000", "levels": 1, "direction": "up", "price": "100020", "by": "bar",
        "reference": True,
    }  # fmt: skip
    assert level["held"] == {
        ETH: {"qty": "2", "side": "long", "unrealized_pnl": "0"},
        BTC: {"qty": "-0.5", "side": "short", "unrealized_pnl": "-100.0"},  # at the mark before the bar's
    }
    assert level["did"][BTC] == {"orders": 1, "fills": 1, "bought": "0", "sold": "0.5", "closed": 0, "net_pnl": None}
    assert (after["event"], after["of"], after["event_id"]) == ("after", "level", level["event_id"])
    assert event.event_id == level["event_id"]
    assert after["did"] == {BTC: {"orders": 1, "fills": 1, "bought": "0.2", "sold": "0", "closed": 0, "net_pnl": None}}
    assert after["held"][BTC]["qty"] == "-0.3"
    assert after["after_s"] >= 30


def test_a_live_bot_goes_on_where_it_stopped_and_the_hole_is_a_gap(tmp_path):
    rng = random.Random(1)
    with Capture(tmp_path) as capture:
        obs = capture.start(data_dir=tmp_path / "data")
        price = 3_075.0  # without a file, levels are 50 apart
        for _ in range(40):
            close = price + rng.uniform(-1, 1)
            obs.bar(ETH, price, max(price, close) + 1, min(price, close) - 1, close, ts=capture.clock.now)
            price = close
            capture.clock.advance(60)
        assert obs.price_events.latest() == []
        obs.shutdown()
        capture.clock.advance(3_600)
        obs = capture.start(data_dir=tmp_path / "data")
        obs.alerts.on(PriceEvent, when=lambda event: event.kind == "gap", level="info")
        obs.bar(ETH, 3_110, 3_112, 3_109, 3_111, ts=capture.clock.now)
        assert len(obs.price_events.latest()) == 2
        kinds = [event.kind for event in capture.events_of(PriceEvent)]
        assert kinds == ["gap", "level"]
        assert capture.events_of(PriceEvent)[0].missing_s == 3_600.0
        assert capture.metric("bot_price_events_total", symbol=ETH, kind="gap") == 1
        obs.flush()  # the alert has gone, or has not
        assert capture.record("alerts", level="info")["title"] == "PriceGapped"
        assert not capture.errors


def test_who_has_the_account_is_not_waited_for(tmp_path):
    with botobs.start("busy", data_dir="data", clock=Clock()) as obs:
        obs.mark(BTC, 99_500)
        obs._insight.price_events.price(BTC, 99_500)
        lock, held, let = obs._money.account.lock, threading.Event(), threading.Event()

        def hold():
            with lock:
                held.set()
                let.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        try:
            obs._insight.price_events.price(BTC, 100_500)
        finally:
            let.set()
            thread.join()
        [event] = obs.price_events.latest()
        assert (event.held, event.position) == (None, None)


def test_positions_at_several_places_are_one_and_marks_are_looked_at_each_second(tmp_path):
    clock = Clock()
    with botobs.start("places", mode="backtest", data_dir=None, clock=clock, strict=True) as obs:
        for venue, side, qty in (("a", "buy", 3), ("b", "sell", 1), ("c", "buy", 1)):
            obs.fill(symbol=ETH, side=side, qty=qty, price=3_050, fee=0, venue=venue)
        obs.fill(symbol=ETH, side="buy", qty=9, price=3_050, fee=0, kind="hedger_sim")
        obs.bar(ETH, 3_050, 3_050, 3_050, 3_050)
        obs.bar(ETH, 3_060, 3_101, 3_060, 3_101)
        [event] = obs.price_events.latest()
        assert event.held == {ETH: {"qty": Decimal(3), "side": "both", "unrealized_pnl": Decimal(0)}}
        assert event.did[ETH]["fills"] == 3
        for price in (3_150, 3_199, 3_201, 3_202):
            clock.advance(1)
            with obs.tick(ETH, price=price):
                pass
        event = obs.price_events.latest()[-1]
        assert (event.by, event.level, event.direction) == ("mark", 3_200, "up")


def test_the_state_survives_a_kill_and_a_fork_leaves_it_alone(tmp_path):
    script = """
import os, botobs
obs = botobs.start("crash", data_dir="data")
obs.order("ETH-USD", "buy", 1, decision_px=3050)
for n in range(3):
    close = 3050 + 60 * n
    obs.bar("ETH-USD", close, close, close, close)
obs.price_events.latest()
obs._insight._save()
child = os.fork()
if not child:
    obs.bar("ETH-USD", 1, 1, 1, 1)
    obs.price_events.table()
    obs._insight.close(0.0)
    os._exit(0)
os.waitpid(child, 0)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert oct((tmp_path / "data/state/price_events.json").stat().st_mode & 0o777) == "0o600"
    with botobs.start("crash", data_dir="data") as obs:
        [line] = obs.price_events.table()
        assert (line.symbol, line.kind, line.n) == (ETH, "level", 1)
        obs.bar(ETH, 3_170, 3_171, 3_169, 3_170)
        assert obs.price_events.table()[0].n == 1  # it is above that level already


def test_a_wrong_table_stops_the_start(tmp_path):
    (tmp_path / "botobs.toml").write_text('[price_events]\nsteps = { "BTC-USD" = "x" }\n')
    with pytest.raises(botobs.ConfigError, match=r"price_events\.steps"):
        botobs.start("wrong", data_dir="data")
