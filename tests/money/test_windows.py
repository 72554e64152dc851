"""Windows: everything that happened in one, and the change of value of what was held at its start."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

import botobs
from botobs.accounting.opened import open_account
from botobs.testing import Clock
from tests.money.copied import copy_of

S = "BTCUSDT"
T = "2026-01-02T{:02d}:{:02d}:00Z"


def start(folder, clock, **settings):
    return botobs.start(
        "bot", data_dir=folder, clock=clock, durability="os", strict=True, **{"starting_equity": 1000, **settings}
    )


@pytest.fixture
def clock():
    return Clock(T.format(0, 0))


@pytest.fixture
def obs(tmp_path, clock):
    found = start(tmp_path / "data", clock)
    yield found
    found.shutdown(10)


def at(clock, hour, minute=0):
    clock.set(f"2026-01-02T{hour:02d}:{minute:02d}:00Z") if hasattr(clock, "set") else clock.move_to(
        T.format(hour, minute)
    )


def tell(obs, clock, price):
    """A mark, and time for it to be written down."""
    obs.mark(S, price)
    clock.advance(2)
    obs._money.housekeep()


def day(obs, clock):
    """A position over several hours, with marks, fills and funding."""
    at(clock, 1)
    obs.fill(symbol=S, side="buy", qty=2, price=100, fee="0.2", fill_id="1")
    for hour, price in ((2, 110), (3, 90), (4, 120), (5, 105)):
        at(clock, hour)
        tell(obs, clock, price)
        at(clock, hour, 30)
        tell(obs, clock, price + 1)
    obs.fill(symbol=S, side="sell", qty=1, price=106, fee="0.1", fill_id="2")
    obs.funding(S, "-0.3", funding_id="f")
    at(clock, 5, 59)
    tell(obs, clock, 107)
    at(clock, 6)


def expected(obs):
    found = obs.totals("2h25m")  # since 3:35, when the mark was 91
    assert found.window[0] == "2026-01-02T03:35:00.000000Z"
    assert found.fills == 1 and found.fees == Decimal("0.1") and found.funding == Decimal("-0.3")
    assert found.gross_pnl == 6 and found.volume == 106
    # at 3:35 two were held at 91, bought for 100: -18; now one at 107: 7
    assert found.unrealized_pnl == 7 - (-18)
    assert found.total_pnl == found.gross_pnl - found.fees + found.funding + 25
    return found


def test_a_window_has_what_happened_in_it_and_the_change_of_value_of_what_was_held(obs, clock):
    day(obs, clock)
    expected(obs)
    same = obs.totals("2026-01-02T03:35:00Z")
    assert same == obs.totals(dt.datetime(2026, 1, 2, 3, 35, tzinfo=dt.UTC)) == obs.totals(dt.timedelta(minutes=145))
    assert same == obs.totals("2h25m") and same.total_pnl == obs.totals(1767324900).total_pnl
    everything, window = obs.totals(), obs.totals("48h")
    assert window.total_pnl == everything.total_pnl and window.fills == everything.fills
    assert obs.totals("all") == obs.totals(None) == everything


@pytest.mark.parametrize("window", ["", "soon", "6x", object(), -1j, [1], "2026-13-01", float("nan")])
def test_what_is_no_window_says_so(obs, window):
    with pytest.raises(ValueError, match="window"):
        obs.totals(window)
    with pytest.raises(ValueError, match="window"):
        obs.equity_curve(window)


@pytest.mark.parametrize("how", ["restart", "no snapshots", "damaged", "nothing", "crash"])
def test_windows_after_a_restart(tmp_path, clock, how):
    folder = tmp_path / "data"
    obs = start(folder, clock)
    day(obs, clock)
    before = expected(obs)
    if how == "crash":
        obs.flush(10)
        copy_of(folder, tmp_path / "copy")
    obs.shutdown(10)
    if how == "crash":
        folder = tmp_path / "copy"
    state = folder / "state"
    if how == "no snapshots":
        (state / "books.jsonl").unlink()
    if how == "damaged":
        (state / "books.jsonl").write_bytes((state / "books.jsonl").read_bytes()[:-20] + b"junk\n")
    if how == "nothing":
        for name in ("books.jsonl", "account.json", "live.json", "fills.index"):
            (state / name).unlink()
    obs = start(folder, clock)
    assert expected(obs) == before
    there = open_account(folder, wall=clock.time_ns)
    assert there.totals("2h25m").total_pnl == before.total_pnl
    late = obs.fill(symbol=S, side="sell", qty="0.5", price=100, fee=0, fill_id="9", ts=T.format(2, 30))
    assert late.late
    # it was sold before the window: less was held at its start
    found = obs.totals("2h25m")
    assert found.fills == 1 and found.unrealized_pnl == Decimal("0.5") * 7 - Decimal("1.5") * -9
    obs.shutdown(10)


def test_late_fills_and_voids_in_the_past_of_a_snapshot(obs, clock):
    day(obs, clock)
    assert obs.fill(symbol=S, side="buy", qty=1, price=80, fee="0.08", fill_id="late", ts=T.format(2, 15)).late
    found = obs.totals("2h25m")
    # three were held at 91, worth 280 to us; now two at 107, of an average of 280 / 3
    assert found.fills == 1
    assert found.total_pnl == obs.totals("all").total_pnl - (Decimal(3 * 91 - 280) - Decimal("0.28"))
    assert obs.void("late", "busted").booked
    expected(obs)
    assert obs.void("1", "busted").booked  # before everything
    found = obs.totals("2h25m")
    assert found.fills == 1 and found.gross_pnl == 0 and found.unrealized_pnl == 106 - 107
    assert obs.totals("6h").fills == obs.totals().fills == 1


def test_the_drawdown_of_a_window_is_that_of_the_curve_as_it_was_lived(tmp_path, clock):
    folder = tmp_path / "data"
    obs = start(folder, clock)
    day(obs, clock)

    def look(found):
        # 91 at 3:30, then 120, 121, 105, 106 sold one, 107: down from 2 * 21 to 2 * 5
        assert found.max_drawdown == 2 * (121 - 105)
        assert found.max_drawdown_pct == pytest.approx(32 / (1000 + 42 - 0.2))

    look(obs.totals("2h25m"))
    assert obs.totals().max_drawdown == 2 * (111 - 90)
    obs.shutdown(10)
    look(open_account(folder, wall=clock.time_ns).totals("2h25m"))
    obs = start(folder, clock)
    look(obs.totals("2h25m"))
    assert obs.totals().max_drawdown == 2 * (111 - 90)
    obs.shutdown(10)


@pytest.mark.parametrize(
    "lost", [(), ("live.json",), ("account.json",), ("account.json", "live.json"), ("fills.index",)]
)
def test_peak_and_drawdown_survive_whatever_is_lost_of_the_state(tmp_path, clock, lost):
    folder = tmp_path / "data"
    obs = start(folder, clock)
    day(obs, clock)
    before = obs.totals()
    obs.shutdown(10)
    for name in lost:
        (folder / "state" / name).unlink()
    obs = start(folder, clock)
    after = obs.totals()
    assert (after.peak_equity, after.max_drawdown, after.max_drawdown_pct, after.drawdown, after.equity) == (
        before.peak_equity, before.max_drawdown, before.max_drawdown_pct, before.drawdown, before.equity,
    )  # fmt: skip
    assert after.unrealized_pnl == before.unrealized_pnl  # the marks too
    obs.shutdown(10)


def test_another_cost_basis_rewrites_the_books_and_not_the_curve(tmp_path, clock):
    folder = tmp_path / "data"
    obs = start(folder, clock)
    obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
    obs.fill(symbol=S, side="buy", qty=1, price=200, fee=0)
    obs.mark(S, 400)
    clock.advance(10)
    obs.fill(symbol=S, side="sell", qty=1, price=400, fee=0)
    assert obs.totals().gross_pnl == 250
    obs.shutdown(10)
    obs = start(folder, clock, cost_basis="fifo")
    found = obs.totals()
    assert found.gross_pnl == 300 and found.total_pnl == 500
    assert found.max_drawdown == 0 and found.peak_equity == found.equity == 1500
    obs.shutdown(10)


def test_what_moved_between_two_states_is_not_lost(tmp_path, clock):
    """A trough that came and went, and marks of what is not held, after the last time all of it was written."""
    folder = tmp_path / "data"
    obs = start(folder, clock)
    money = obs._money
    obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
    obs.mark("BNBUSDT", 300)
    money._checkpoint.save({})
    money._checkpoint.touch()
    obs.mark(S, 40)
    obs.mark(S, 100)
    obs.mark("BNBUSDT", 310)
    money._checkpoint.touch()
    copy_of(folder, tmp_path / "copy")
    obs.mark("BNBUSDT", 320)
    obs.shutdown(10)
    for place, price in ((tmp_path / "copy", 310), (folder, 320)):
        obs = start(place, clock)
        assert obs.totals().max_drawdown == 60
        assert obs._money.account.marks.get(None, "BNBUSDT") == price
        obs.shutdown(10)


def test_transfers_and_unpriced_fees_of_a_window(obs, clock):
    at(clock, 1)
    obs.transfer(500)
    obs.fill(symbol=S, side="buy", qty=1, price=100, fee="0.1", fee_asset="XYZ", fill_id="1")
    obs.fill(symbol=S, side="buy", qty=1, price=100, fill_id="2")
    at(clock, 5)
    obs.transfer(-200)
    obs.fill(symbol=S, side="buy", qty=1, price=100, fee="0.3", fee_asset="XYZ", fill_id="3")
    found, everything = obs.totals("2h"), obs.totals()
    assert found.transfers == -200 and everything.transfers == 300
    assert found.unpriced_fees == {"XYZ": Decimal("0.3")} and everything.unpriced_fees == {"XYZ": Decimal("0.4")}
    assert "fees" not in found.reasons and everything.reasons["fees"].startswith("1 ")
    assert everything.equity == 1300 and everything.max_drawdown == 0


def test_the_equity_curve_is_there_to_plot(obs, clock):
    day(obs, clock)
    curve = obs.equity_curve()
    assert [point["ts"] for point in curve] == sorted(point["ts"] for point in curve)
    assert Decimal(curve[-1]["equity"]) == obs.totals().equity
    assert min(Decimal(point["equity"]) for point in curve) == 1000 - 20 - Decimal("0.2")
    recent = obs.equity_curve("2h25m")
    assert recent and recent == [point for point in curve if point["ts"] >= "2026-01-02T03:35"]
    assert {
        "ts",
        "equity",
        "peak",
        "drawdown",
        "drawdown_pct",
        "realized",
        "unrealized",
        "position_qty",
        "position_value",
    } <= set(recent[0])
