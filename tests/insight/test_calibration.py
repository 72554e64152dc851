"""Calibration: who learns from what, what is told when, and what nothing may do to it."""

from __future__ import annotations

import json
import math
import random

import pytest

from botobs.events.insight import PredictionSettled
from botobs.events.money import TradeClosed
from botobs.events.vitals import HealthRecorded
from botobs.faults import Faults
from botobs.insight.calibration import Calibration
from botobs.insight.terms import CalibrationTerms, Horizon


def teach(calibration, n, *, a=0.0, b=1.0, noise=5.0, seed=1, symbol="BTC", source=None, over=None):
    rng = random.Random(seed)
    for _ in range(n):
        pred = rng.gauss(0, 10)
        calibration.learn(symbol, pred, a + b * pred + rng.gauss(0, noise), source=source, over=over)


def test_each_symbol_and_source_has_a_line_of_its_own_that_begins_where_a_prediction_is_right():
    calibration = Calibration()
    assert calibration.adjust(7.0) == calibration.adjust(7.0, symbol="BTC", source="x") == 7.0
    teach(calibration, 300, b=0.5, source="slow")
    teach(calibration, 300, b=2.0, source="fast")
    assert calibration.adjust(10, symbol="BTC", source="slow") == pytest.approx(5, abs=0.8)
    assert calibration.adjust(10, symbol="BTC", source="fast") == pytest.approx(20, abs=0.8)
    assert 6 < calibration.adjust(10, symbol="BTC") < 19
    assert calibration.adjust(10) == calibration.adjust(10, symbol="BTC")
    assert calibration.adjust(10, symbol="ETH") == calibration.adjust(10, symbol="BTC", source="new") == 10
    assert calibration.adjust(10, symbol="BTC", source="fast", over="5m") == 10  # nothing was judged over that
    line = calibration.line("BTC", "fast")
    assert (line.n, line.over, line.reasons) == (300, "1 bar", {})
    assert line.miss_bps < line.raw_miss_bps / 1.5
    assert calibration.line("ETH") is None


def test_a_regime_refines_its_source():
    regime = ["trend"]
    calibration = Calibration(regime=lambda _symbol: regime[0])
    teach(calibration, 200, b=1.5, source="m")
    regime[0] = "chop"
    assert calibration.adjust(10, symbol="BTC", source="m") == pytest.approx(15, abs=0.8)  # as the source stands
    teach(calibration, 200, b=0.0, source="m", seed=2)
    assert calibration.adjust(10, symbol="BTC", source="m") == pytest.approx(0.5, abs=1)
    assert calibration.adjust(10, symbol="BTC", source="m", regime="trend") == pytest.approx(15, abs=1)
    assert calibration.line("BTC", "m", "chop").n == 200
    regime[0] = None
    assert calibration.adjust(10, symbol="BTC", source="m") == calibration.adjust(10, symbol="BTC")


def test_a_band_holds_the_share_that_it_states():
    told = []
    calibration = Calibration(CalibrationTerms(band=0.9), publish=told.append)
    assert calibration.band(5, symbol="BTC").reason == "no prediction came due"
    teach(calibration, 3)
    few = calibration.band(5, symbol="BTC")
    assert (few.low, few.high, few.n, few.reason) == (None, None, 3, "fewer than 5 predictions came due")
    assert calibration.line("BTC").reasons.keys() == {"a_sd", "b_sd", "noise_bps", "in_band_rate", "drift"}
    teach(calibration, 1_500)
    band = calibration.band(5, symbol="BTC")
    assert (band.value, band.share) == (calibration.adjust(5, symbol="BTC"), 0.9)
    assert band.high - band.low == pytest.approx(2 * 1.645 * 5, rel=0.15)
    judged = [event.in_band for event in told if event.in_band is not None]
    assert sum(judged) / len(judged) == pytest.approx(0.9, abs=0.02)


def test_what_was_made_of_a_prediction_is_from_before_anything_that_came_after_it():
    told = []
    calibration = Calibration(publish=told.append)
    teach(calibration, 50, source="m")
    told.clear()
    expected = calibration.band(8, symbol="BTC", source="m")
    calibration.predicted("BTC", "m", 8.0, 100.0, 0)
    teach(calibration, 50, b=-3, source="m")  # meanwhile much is learned
    told.clear()
    calibration.bar("BTC", 100.5, 60)
    [event] = told
    assert (event.pred_bps, event.adjusted_bps, event.low_bps) == (8.0, expected.value, expected.low)
    assert event.realized_bps == pytest.approx(50)
    assert event.in_band is False
    assert (event.source, event.over, event.n) == ("m", "1 bar", 101)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, None, "x", 1e9, object(), [], 10**400])
def test_what_is_no_number_is_counted_and_changes_nothing(odd):
    faults = Faults()
    calibration = Calibration(faults=faults)
    teach(calibration, 20)
    before = calibration.state()
    calibration.learn("BTC", odd, 1.0)
    calibration.learn("BTC", 1.0, odd)
    assert not calibration.predicted("BTC", None, odd, 100.0, 0)
    assert calibration.odd == 3
    assert not calibration.predicted("BTC", None, 1.0, odd if odd != 1e9 else 0.0, 0)
    calibration.bar("BTC", odd, 0)
    calibration.price("BTC", odd, 0, 0)
    assert calibration.state() == before
    assert calibration.adjust(odd) is calibration.band(odd) is None
    assert not faults.errors


def test_a_number_may_be_of_any_kind():
    class Hostile:
        def __float__(self):
            raise RuntimeError("no")

    calibration = Calibration()
    calibration.learn("BTC", "4.5", 3)
    assert calibration.line("BTC").n == 1
    assert calibration.adjust(Hostile()) is None
    assert calibration.adjust(1.0, over=Hostile()) == 1.0


# -- trades


def closed(trade="t1", pred=20.0, entry=100, leave=101, revision=1, undone=False, **more):
    record = {"entry_pred_bps": pred, "entry_px": entry, "exit_px": leave, "entry_signal_source": "m", **more}
    return TradeClosed(ts_ns=5, symbol="BTC", trade_id=trade, record=record, revision=revision, undone=undone)


def test_a_trade_is_judged_by_its_own_move_once():
    told = []
    calibration = Calibration(publish=told.append)
    calibration.closed(closed())
    calibration.closed(closed())  # told again after a restart
    calibration.closed(closed("t2", revision=2))
    calibration.closed(closed("t3", undone=True))
    for odd in ({"pred": None}, {"pred": math.nan}, {"entry": 0}, {"entry": None}, {"leave": "x"}):
        calibration.closed(closed("t4", **odd))
    [event] = told
    assert (event.over, event.trade_id, event.realized_bps, event.source) == ("trade", "t1", pytest.approx(100), "m")
    assert calibration.line("BTC").over == "trade"  # where nothing else came due
    assert calibration.adjust(20, symbol="BTC", source="m") > 20
    teach(calibration, 5)
    assert calibration.line("BTC").over == "1 bar"
    assert calibration.line("BTC", over="trade").n == 1
    assert set(calibration.by_symbol()) == {"BTC"}


# -- drift, and the rule of health


def test_a_drift_is_told_once_until_it_is_over():
    told = []
    calibration = Calibration(publish=told.append)

    def alarms():
        return [event for event in told if isinstance(event, HealthRecorded)]

    teach(calibration, 600)
    assert calibration.drift < 0.05
    assert alarms() == []
    rng = random.Random(3)
    for n in range(60):  # the moves lie beside the band more often than not, and never far enough to be another market
        move = rng.choice((-1, 1)) * 9.0 if n % 4 else 0.0
        calibration.learn("BTC", 0.0, move)
    [alarm] = alarms()
    assert (alarm.symbol, alarm.reasons) == ("BTC", ("level:calibration_drift",))
    assert alarm.record["calibration_drift"] > 0.05
    assert alarm.record["in_band_rate"] < 0.7
    again = Calibration(publish=told.append)
    again.restore(json.loads(json.dumps(calibration.state())))
    again.learn("BTC", 0.0, 50.0)
    assert len(alarms()) == 1  # not a second time after a restart
    teach(again, 900, noise=6.0, seed=4)
    assert again.drift < 0.05
    assert len(alarms()) == 1


# -- over a restart, and bounds


def test_it_goes_on_after_a_restart_as_if_there_had_been_none():
    regime = iter(["trend", "chop"] * 1_000)
    whole = Calibration(regime=lambda _symbol: next(regime))
    for symbol, source in (("BTC", None), ("BTC", "m"), ("ETH", "m")):
        teach(whole, 60, source=source, symbol=symbol, a=1.0)
    whole.closed(closed())
    again = Calibration(regime=lambda _symbol: "trend")
    assert again.restore(json.loads(json.dumps(whole.state()))) == []
    assert again.table() == whole.table()
    assert again.state() == whole.state()
    again.closed(closed())
    assert again.state() == whole.state()


def test_a_damaged_line_begins_anew_and_the_others_go_on():
    calibration = Calibration()
    teach(calibration, 50, source="m")
    state = calibration.state()
    state["lines"][0][4] = [1]
    again = Calibration()
    assert again.restore(state) == ["a line of calibration: ValueError"]
    assert (again.line(), again.line("BTC", "m").n) == (None, 50)
    for damaged in ({}, {"trades": 1, "lines": []}, {"trades": [], "lines": 1}):
        assert len(Calibration().restore(damaged)) == 1


def test_there_are_so_many_lines_and_no_more(monkeypatch):
    monkeypatch.setattr("botobs.insight.lines._MOST", 40)
    monkeypatch.setattr("botobs.insight.calibration._MOST_TRADES", 10)
    told = []
    calibration = Calibration(publish=told.append)
    for n in range(200):
        calibration.learn(f"S{n}", 1.0, 1.0, source=f"s{n}")
        calibration.closed(closed(f"t{n}"))
    state = calibration.state()
    assert len(state["lines"]) == 40
    assert len(state["trades"]) == 10
    assert calibration.left_out > 300
    assert calibration.line().n == 200  # everything still teaches the widest
    assert len([event for event in told if isinstance(event, PredictionSettled)]) == 400


def test_the_horizon_may_be_another():
    calibration = Calibration(CalibrationTerms(over=Horizon.parse("5m")))
    assert calibration.predicted("BTC", None, 1.0, 100.0, 0)
    calibration.over("2 bars")
    assert len(calibration.waiting) == 0
    assert calibration.horizon.text == "2 bars"
    calibration.over("trade")
    assert not calibration.predicted("BTC", None, 1.0, 100.0, 0)
    with pytest.raises(ValueError, match="is no horizon"):
        calibration.over("now")
