"""Price events as one asks for them: what is told, when, and with what the bot held and did."""

from __future__ import annotations

import json
import math
import random
import threading
from decimal import Decimal

import pytest

import botobs.insight
from botobs.errors import ConfigError
from botobs.events.money import FillBooked, OrderAnnounced, TradeClosed
from botobs.events.prices import LevelCrossed, PriceEvent, PriceEventFollowed, PriceGapped, VolatilitySpiked
from botobs.insight.price_events import PriceEvents, PriceEventTerms
from botobs.testing import Clock

S = 1_000_000_000
T0 = 1_767_323_040 * S
BTC, ETH = "BTC-USD", "ETH-USD"


def made(held=None, **terms):
    told = []
    terms.setdefault("steps", {BTC: Decimal(1000)})
    return PriceEvents(PriceEventTerms(**terms), publish=told.append, clock=Clock(), held=held), told


def order(symbol, at, **more):
    return OrderAnnounced(ts_ns=at, symbol=symbol, side="buy", qty=Decimal(1), **more)


def fill(symbol, at, side="buy", qty="0.5", **more):
    return FillBooked(ts_ns=at, symbol=symbol, seq=1, side=side, qty=Decimal(qty), price=Decimal(1), **more)


def closed(symbol, at, pnl="12.5", **more):
    return TradeClosed(ts_ns=at, symbol=symbol, trade_id="t", record={"net_pnl_usd": pnl}, **more)


def calm(events, symbol=BTC, n=40, *, price=100_400.0, start=T0, seed=1):
    """Bars between two levels, so that it is known what is usual; when the next one ends."""
    rng = random.Random(seed)
    for at in range(n):
        close = price * (1 + rng.uniform(-3e-4, 3e-4))
        assert (
            events.bar(
                symbol, price, max(price, close) + 5, min(price, close) - 5, close, ts=(start + at * 60 * S) // S
            )
            == []
        )
        price = close
    return start + n * 60 * S, price


def test_a_bar_can_tell_a_gap_levels_and_a_spike():
    events, told = made()
    at, price = calm(events)
    found = events.bar(BTC, price + 400, 103_900, price + 300, 103_100, ts=at // S)
    assert told == found
    gap, level, spike = found
    assert isinstance(gap, PriceGapped)
    assert (gap.direction, gap.price, gap.missing_s) == ("up", Decimal(str(price + 400)), None)
    assert gap.times == pytest.approx(math.log1p(gap.move_bps / 1e4) / math.log1p(gap.usual_bps / 1e4))
    assert isinstance(level, LevelCrossed)
    assert (level.level, level.first_level, level.levels, level.step) == (103_000, 101_000, 3, 1000)
    assert (level.price, level.direction, level.by) == (103_900, "up", "bar")
    assert isinstance(spike, VolatilitySpiked)
    assert (spike.over_s, spike.direction, spike.price) == (60.0, "up", 103_100)
    assert spike.range_bps > spike.move_bps > 0


def test_each_kind_is_in_the_table_with_what_followed():
    held = {}
    events, told = made(lambda: dict(held), spike=0, gap=0)
    at, _ = calm(events)
    events.done.take(fill(BTC, at - 60 * S, qty="7"))  # too long ago
    events.done.take(fill(BTC, at, fill_kind="import", qty="7"))
    events.done.take(fill(BTC, at - 59 * S))
    events.done.take(order(BTC, at))
    events.done.take(fill(BTC, at, "sell", "0.2"))
    events.done.take(closed(BTC, at, revision=2))
    events.done.take(closed(BTC, at, None))
    events.done.take(closed(BTC, at))
    events.done.take(order(None, at))
    held[BTC] = {"qty": Decimal("-0.2"), "side": "short", "unrealized_pnl": Decimal("-3.5")}
    [event] = events.bar(BTC, 100_400, 101_010, 100_400, 101_010, ts=at // S, now_ns=at)
    assert event.reference is True
    assert event.did == {
        BTC: {
            "orders": 1,
            "fills": 2,
            "bought": Decimal("0.5"),
            "sold": Decimal("0.2"),
            "closed": 2,
            "net_pnl": Decimal("12.5"),
        }
    }
    assert event.held == held
    assert event.position == Decimal("-0.2")
    held.clear()
    events.done.take(fill(BTC, at, qty="0.2"))  # at the same moment, and after it
    events.price(BTC, 101_111, at + 59 * S, at + 59 * S)
    events.chore(at + 59 * S)
    assert told == [event]
    events.chore(at + 60 * S)
    [_, after] = told
    assert isinstance(after, PriceEventFollowed)
    assert (after.of, after.event_id, after.after_s, after.price) == ("level", event.event_id, 60.0, 101_111)
    assert after.move_bps == pytest.approx(10.0, abs=0.01)
    assert (after.held, after.did[BTC]["bought"], after.did[BTC]["orders"]) == ({}, Decimal("0.2"), 0)
    [line] = events.table()
    assert (line.symbol, line.kind, line.n, line.held, line.followed, line.acted) == (BTC, "level", 1, 1, 1, 1)
    assert line.on_bps == pytest.approx(10.0, abs=0.01)
    assert line.for_us_bps == pytest.approx(-10.0, abs=0.01)  # short, and it rose
    assert line.reasons == {}
    assert events.latest() == [event, after]
    assert events.latest(1) == [after]
    assert events.latest(0) == []


def test_what_followed_waits_for_a_price():
    events, told = made(steps={"X": Decimal(10)})
    events.price("X", 95, T0, T0)
    events.price("X", 101, T0 + S, T0 + S)
    events.chore(T0 + 500 * S)
    assert len(told) == 1
    assert [line.reasons for line in events.table()] == [
        {"on_bps": "nothing followed yet", "for_us_bps": "nothing followed yet"}
    ]
    events.price("X", 103, T0 + 600 * S, T0 + 600 * S)
    events.chore(T0 + 600 * S)
    assert told[1].after_s == 599.0
    assert events.table()[0].reasons == {"for_us_bps": "nothing was held of it"}


def test_the_reference_tells_of_all_that_is_held_and_others_of_themselves():
    held = {
        symbol: {"qty": Decimal(n + 1), "side": "long", "unrealized_pnl": None}
        for n, symbol in enumerate([ETH, BTC, "S"])
    }
    events, _ = made(lambda: held, steps={BTC: Decimal(1000), ETH: Decimal(100)})
    for symbol in (BTC, ETH, "S"):
        events.done.take(order(symbol, T0))
    events.chore(T0)
    assert events.reference == BTC
    assert sorted(events.timed) == [BTC, ETH, "S"]
    for symbol, prices in ((ETH, (3_050, 3_101)), (BTC, (100_500, 101_001))):
        for price in prices:
            events.price(symbol, price, T0, T0)
    eth, btc = events.latest()
    assert (eth.reference, list(eth.held), list(eth.did)) == (False, [ETH], [ETH])
    assert (btc.reference, list(btc.held), list(btc.did)) == (True, [ETH, BTC, "S"], [BTC, ETH, "S"])
    assert btc.position == 2


def test_which_market_is_the_reference():
    events, _ = made()
    for symbol in ("ETHUSDT", "BTC/USDT:USDT", "XBTUSD"):
        events.bar(symbol, 1, 1, 1, 1)
    assert events.reference == "BTC/USDT:USDT"
    assert list(events.timed) == ["BTC/USDT:USDT"]
    named, _ = made(reference=ETH)
    named.bar(BTC, 1, 1, 1, 1)
    assert (named.reference, list(named.timed)) == (ETH, [ETH])
    none, _ = made(reference="")
    none.bar(BTC, 1, 1, 1, 1)
    assert (none.reference, list(none.timed)) == (None, [])


def test_history_teaches_and_tells_nothing():
    events, told = made()
    now = T0 + 3_600 * 24 * S
    for n in range(50):
        close = 100_000 + (1_500 if n % 7 == 0 else 0)
        events.bar(BTC, close, close + 10, close - 10, close, ts=(T0 + n * 60 * S) // S, now_ns=now)
    assert told == []
    assert events.table() == []
    late = events.bar(BTC, 100_000, 109_010, 99_990, 109_000, ts=now // S, now_ns=now)
    assert [type(event) for event in late] == [PriceGapped, LevelCrossed, LevelCrossed, VolatilitySpiked]
    assert late[0].missing_s > 80_000
    assert events.bar(BTC, 1, 1, 1, 1, ts=now // S, now_ns=now) == []  # told again
    assert events.odd == 1


def test_marks_and_bars_tell_a_crossing_once_and_a_wick_is_seen_by_the_bar():
    events, told = made(spike=0, gap=0)
    at, _ = calm(events)
    for second, price in enumerate((100_700, 101_020, 100_500)):
        events.price(BTC, price, at + second * S, at + second * S)
    assert [event.direction for event in told] == ["up", "down"]
    assert [event.by for event in told] == ["mark", "mark"]
    assert events.bar(BTC, 100_390, 101_020, 100_380, 100_510, ts=(at + 60 * S) // S) == []
    wick = events.bar(BTC, 100_510, 101_400, 100_505, 100_520, ts=(at + 120 * S) // S)
    assert [(event.direction, event.price, event.previous) for event in wick] == [
        ("up", 101_400, 100_505), ("down", 100_520, 101_400),
    ]  # fmt: skip


def test_marks_alone_make_minutes_of_their_own():
    events, told = made(steps={"X": Decimal(0)})
    rng, price, now = random.Random(1), 100.0, T0
    for _ in range(30 * 60):
        price *= 1 + rng.gauss(0, 5e-5)
        events.price("X", price, now, now)
        now += S
    assert told == []
    for _ in range(3):
        events.price("X", price * 1.02, now, now)
        now += S
    [spike] = told
    assert isinstance(spike, VolatilitySpiked)
    assert (spike.by, spike.over_s) == ("mark", 60.0)
    assert spike.move_bps == pytest.approx(200, abs=15)
    now += 900 * S
    events.price("X", price * 0.9, now, now)
    gap = told[-1]
    assert isinstance(gap, PriceGapped)
    assert 700 < gap.missing_s < 900
    same = Decimal(50)
    events.price("X", same, now, now)
    before = events.steps
    for second in range(1_000):  # the same mark, looked at again, is no new price
        events.price("X", same, now, now + second * S)
    assert events.steps == before


def test_it_goes_on_after_a_restart():
    events, told = made()
    at, price = calm(events)
    events.bar(BTC, price, 101_050, price, 101_050, ts=at // S)
    events.done.take(order(ETH, at))
    events.chore(at)
    kept = json.loads(json.dumps(events.state()))
    again, after = made()
    assert again.restore(kept) == []
    assert again.state() == kept
    assert (again.reference, sorted(again.timed)) == (BTC, [BTC, ETH])
    again.price(BTC, 100_990, at + S, at + S)  # it was told, and the price was not away
    assert after == []
    [gap, level] = again.bar(BTC, 104_000, 104_010, 103_990, 104_001, ts=at // S + 3_660)
    assert (gap.missing_s, gap.previous, level.first_level, level.level) == (3_600.0, 101_050, 102_000, 104_000)
    assert gap.event_id not in [event.event_id for event in told]
    assert again.table()[0].n == events.table()[0].n + 1


@pytest.mark.parametrize(
    "damaged",
    [{}, {"told": "x"}, {"symbols": 3}, {"symbols": {BTC: {}}}, {"symbols": {BTC: None}}, {"counts": [[BTC, "level"]]},
     {"counts": [[BTC, "level", *[-1] * 8]]}, {"dated": {BTC: "soon"}}, {"timed": None}],
    ids=str,
)  # fmt: skip
def test_a_damaged_state_is_named_and_left_out(damaged):
    events, _ = made()
    calm(events)
    whole = events.state()
    again, _ = made()
    assert len(again.restore({**whole, **damaged} if damaged else {})) == 1
    assert calm(again, start=T0 + 10**6 * S)


class Hostile:
    def __float__(self):
        raise RuntimeError("no number")

    __hash__ = __str__ = __repr__ = __float__


@pytest.mark.parametrize(
    "odd",
    [None, math.nan, math.inf, 10**400, -1, 0, True, "", "x", b"x", [], {}, Hostile(), object(), "\ud800"],
    ids=type,
)
def test_nothing_that_is_said_raises(odd):
    events, told = botobs.insight.PriceEvents(), []
    events.bar(odd, odd, odd, odd, odd, odd, odd)
    events.bar("B", odd, odd, odd, odd)
    events.price(odd, odd)
    events.price("B", odd)
    events.bar("B", 1, 2, 3, 4, odd, odd)
    events.bar("B", 3, 2, 1, 9, ts=1767323000)  # high and low do not hold the others
    for price in ("1E-390", "1E+390", "1E+300", "1E-300", 5):
        events.price("B", price)
        told += events.bar("B", price, price, price, price)
    json.dumps(events.state())
    assert json.dumps([line.on_bps for line in events.table()])


def test_what_is_held_may_be_unknown_or_fail():
    def fail():
        raise RuntimeError("no")

    for held in (lambda: None, fail):
        events, told = made(held, steps={"X": Decimal(1)})
        events.price("X", 1.5, T0, T0)
        events.price("X", 2.5, T0, T0)
        events.price("X", 2.6, T0 + 99 * S, T0 + 99 * S)
        events.chore(T0 + 99 * S)
        assert [event.held for event in told] == [None, None]
        assert told[0].position is None


def test_all_of_it_is_bounded():
    events, told = made(reference="", steps={f"S{n}": Decimal(1) for n in range(700)})
    for n in range(700):
        events.done.take(order(f"S{n}", T0))
        events.bar(f"S{n}", 1.5, 1.5, 1.5, 1.5, now_ns=T0)
    events.chore(T0)
    assert (len(events.symbols), len(events.timed)) == (500, 200)
    assert events.left_out > 0
    later = T0 + 90_000 * S
    events.bar("new", 1, 1, 1, 1, now_ns=later)
    assert "new" in events.symbols
    assert (len(events.symbols), "S0" in events.symbols) == (500, False)
    for n in range(600):
        for price in (1.5, 2.5):
            events.price("S499", price + n % 3, later, later)
    assert len(events.latest(10_000)) == 500
    assert events.lost > 0
    assert len(events._pending) == 256
    for n in range(6_000):
        events.done.take(fill("S1", later))
    assert events.done.before(later, S)["S1"]["fills"] == 5_000


def test_a_clock_that_is_set_back_holds_nothing_up_for_long():
    events, told = made(steps={"X": Decimal(1)})
    events.price("X", 1.5, T0, T0)
    events.price("X", 2.5, T0, T0)
    back = T0 - 86_400 * S
    events.price("X", 2.6, back, back)
    events.chore(back)
    assert len(told) == 1
    events.chore(T0 + 1)
    assert [type(event) for event in told] == [LevelCrossed, PriceEventFollowed]


def test_orders_and_bars_from_many_threads():
    events, told = made(steps={"X": Decimal(1)})

    def trade():
        for at in range(1_500):
            events.take(fill("X", T0 + at, qty="1"))

    threads = [threading.Thread(target=trade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(60):
        events.price("X", 1.5 + n % 2, T0, T0)
        events.chore(T0 + n)
    for thread in threads:
        thread.join()
    assert len(told) == 59
    assert not events._faults.errors


def test_the_table_of_the_settings():
    assert PriceEventTerms.parse(None) == PriceEventTerms()
    said = {
        "reference": "",
        "steps": {BTC: 0.1, ETH: "2.50", "S": 0},
        "spike": 0,
        "gap": 3,
        "least_bps": 5,
        "window": "5m",
    }
    found = PriceEventTerms.parse(said)
    assert found.steps == {BTC: Decimal("0.1"), ETH: Decimal("2.50"), "S": 0}
    assert (found.reference, found.spike, found.gap, found.least_bps, found.window) == ("", 0, 3.0, 5.0, 300.0)
    for wrong in (
        3, {"step": {}}, {"reference": False}, {"steps": [1]}, {"steps": {BTC: "x"}}, {"steps": {BTC: -1}},
        {"steps": {BTC: True}}, {"spike": 0.5}, {"spike": "5"}, {"gap": math.nan}, {"least_bps": -1}, {"window": "soon"},
        {"window": 0}, {"window": "2d"},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"price_events"):
            PriceEventTerms.parse(wrong)


def test_events_have_one_base():
    assert all(issubclass(one, PriceEvent) for one in (LevelCrossed, VolatilitySpiked, PriceGapped))
    assert not issubclass(PriceEventFollowed, PriceEvent)
