"""What fills and prices tell the kill switch, through a running observer."""

from __future__ import annotations

import math

import pytest

import botobs
from botobs.testing import Clock
from botobs.triggers import ConsecutiveLosses, EquityBelow, SameBarRoundTrip
from tests.safety.test_through_observer import S, alerts, hold, running, said


def trade(obs, entry, leave, qty=1, **more):
    assert obs.fill(symbol=S, side="buy", qty=qty, price=entry, fee=0, **more)
    assert obs.fill(symbol=S, side="sell", qty=qty, price=leave, fee=0, **more)


def test_losses_in_a_row_halt_before_the_fill_returns(tmp_path):
    with running(tmp_path, kill_switch=[ConsecutiveLosses(3)]) as obs:
        trade(obs, 100, 99)
        trade(obs, 100, 99)
        trade(obs, 100, 101)  # ends the row
        trade(obs, 100, 99)
        trade(obs, 100, 99)
        assert obs.kill_switch.state == "active"
        trade(obs, 100, 99)
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"] == {"losses": 3, "limit": 3}


def test_fees_make_a_loss_and_a_partial_close_is_none(tmp_path):
    with running(tmp_path, kill_switch=[ConsecutiveLosses(1)]) as obs:
        obs.fill(symbol=S, side="buy", qty=2, price=100, fee=0)
        obs.fill(symbol=S, side="sell", qty=1, price=50, fee=0)
        assert obs.kill_switch.state == "active"
        obs.fill(symbol=S, side="sell", qty=1, price=150, fee=1)
        assert obs.kill_switch.state == "halted"


def test_a_row_of_losses_survives_a_restart_and_duplicates_count_once(tmp_path):
    limits, clock = [ConsecutiveLosses(2)], Clock()
    with running(tmp_path, kill_switch=limits, clock=clock) as obs:
        assert obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
        last = {"symbol": S, "side": "sell", "qty": 1, "price": 99, "fee": 0, "fill_id": "x", "ts": clock.now}
        assert obs.fill(**last).booked
        assert obs.fill(**last).duplicate
        assert obs.kill_switch.state == "active"
    clock.advance(60)
    with running(tmp_path, kill_switch=limits, clock=clock) as obs:
        assert obs.kill_switch.state == "active"
        assert obs.fill(**last).duplicate
        assert obs.kill_switch.state == "active"
        trade(obs, 100, 99)
        assert obs.kill_switch.state == "halted"


def test_a_round_trip_within_one_bar_halts_and_one_over_two_does_not(tmp_path):
    with running(tmp_path, kill_switch=[SameBarRoundTrip()]) as obs:
        with botobs.tick(S, bar_id=1):
            obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
        with botobs.tick(S, bar_id=2):
            obs.fill(symbol=S, side="sell", qty=1, price=101, fee=0)
        trade(obs, 100, 101)  # in no bar that is known
        assert obs.kill_switch.state == "active"
        with botobs.tick(S, bar_id=3):
            trade(obs, 100, 101)
            assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"] == {"symbol": S, "bar_id": "3", "opened_in": "3"}


def test_a_fill_that_turns_a_position_round_closes_and_opens(tmp_path):
    with running(tmp_path, kill_switch=[SameBarRoundTrip(confirm=2)]) as obs:
        with botobs.tick(S, bar_id=1):
            obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
            obs.fill(symbol=S, side="sell", qty=2, price=100, fee=0)
            assert obs.kill_switch.state == "active"
            obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
            assert obs.kill_switch.state == "halted"


def test_positions_of_one_symbol_are_told_apart(tmp_path):
    """By venue, account and side: what one opened and another closed in a bar was no round trip."""
    ways = [{"venue": "x"}, {"venue": "y"}, {"account": "b"}, {"position_side": "short"}]
    with running(tmp_path, kill_switch=[SameBarRoundTrip()]) as obs:
        for way in ways:
            side = "sell" if "position_side" in way else "buy"
            with botobs.tick(S, bar_id=1):
                assert obs.fill(symbol=S, side=side, qty=1, price=100, fee=0, **way)
        for bar, way in enumerate(ways, 2):
            side = "buy" if "position_side" in way else "sell"
            with botobs.tick(S, bar_id=bar):
                assert obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0, venue="z", fill_id=f"z{bar}")
                assert obs.fill(symbol=S, side=side, qty=1, price=100, fee=0, **way)
                assert obs.kill_switch.state == "active", way
            with botobs.tick(S, bar_id=f"{bar} later"):
                assert obs.fill(symbol=S, side="sell", qty=1, price=100, fee=0, venue="z")
        assert obs.kill_switch.state == "active"
        assert alerts(obs, f"same-bar-{S}") == []


def test_a_round_trip_within_one_bar_is_an_alert_without_any_limit_and_over_a_restart(tmp_path):
    told, clock = [], Clock()
    with running(tmp_path, clock=clock) as obs, botobs.tick(S, bar_id=7):
        assert obs.fill(symbol=S, side="buy", qty=2, price=100, fee=0, strategy="trend")
        assert obs.fill(symbol="ETH", side="buy", qty=1, price=100, fee=0)
    clock.advance(1)
    with running(tmp_path, clock=clock) as obs:
        obs.alerts.to(told.append)
        with botobs.tick(S, bar_id=7):
            obs.fill(symbol=S, side="sell", qty=1, price=101, fee=0)
            obs.fill(symbol=S, side="sell", qty=1, price=101, fee=0, fill_id="last")
        with botobs.tick(S, bar_id=8):
            obs.fill(symbol="ETH", side="sell", qty=1, price=101, fee=0)
        obs.void("last", "bust")  # what is told of it once more is no news
        obs.flush(5)
        assert [(one.level, one.title, one.event) for one in told] == [
            ("warning", f"{S} opened and closed on one bar", "SameBarRoundTrip")
        ]
        assert dict(told[0].fields) == {"symbol": S, "bar_id": 7, "trade_id": "t1", "strategy": "trend"}


@pytest.mark.parametrize("how", ["mark", "tick"])
def test_a_nan_price_of_what_is_held_is_one_unknown_observation(tmp_path, how):
    with running(tmp_path, kill_switch=[EquityBelow(9_000, on_unknown="halt", confirm=2)]) as obs:

        def price(value):
            if how == "mark":
                obs.mark(S, value)
            else:
                with obs.tick(S, price=value):
                    pass

        price(math.nan)
        price(math.nan)
        assert obs.kill_switch.state == "active"  # nothing is held: equity is known
        hold(obs)
        price(math.nan)
        price(1000.5)
        price(math.nan)
        assert obs.kill_switch.state == "active"
        assert obs.equity == 10_005  # at the last good price
        price(math.nan)
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"]["why"] == "price"


def test_what_adds_or_closes_in_part_opens_nothing(tmp_path):
    clock = Clock()
    with running(tmp_path, kill_switch=[SameBarRoundTrip()], clock=clock) as obs:
        assert obs.fill(symbol=S, side="buy", qty=4, price=100, fee=0)  # in no bar that is known
        with botobs.tick(S, bar_id=3):
            obs.fill(symbol=S, side="sell", qty=1, price=101, fee=0)
            obs.fill(symbol=S, side="buy", qty=1, price=101, fee=0, fill_id="more")
        assert obs.kill_switch.state == "active"
    clock.advance(1)
    with running(tmp_path, kill_switch=[SameBarRoundTrip()], clock=clock) as obs, botobs.tick(S, bar_id=3):
        obs.fill(symbol=S, side="buy", qty=1, price=101, fee=0)
        obs.fill(symbol=S, side="sell", qty=5, price=101, fee=0)
        assert obs.positions == []
        assert obs.kill_switch.state == "active"


def test_a_callback_of_a_loss_flattens_from_within_the_fill(tmp_path):
    with running(tmp_path, kill_switch=[ConsecutiveLosses(1)]) as obs:

        @obs.kill_switch.on_trip
        def flatten(_trip):
            with botobs.execution(reduces=True):
                obs.fill(symbol="ETH", side="sell", qty=1, price=10, fee=0)

        obs.fill(symbol="ETH", side="buy", qty=1, price=10, fee=0)
        trade(obs, 100, 99)
        assert obs.positions == []
        assert len(said(obs, event="trip")) == 1
