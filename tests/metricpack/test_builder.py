"""Events into trades: the cases one by one, and any stream against a plain model, however it is cut."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.metricpack import Bar, Builder, Raw, Rules
from botobs.metricpack.journal import MOST_EVENTS
from botobs.metricpack.memory import KEPT_ASIDE
from botobs.metricpack.summary import summary_of

from tests.metricpack.plain import Plain, event, raws, streams

S = 1_000_000_000
T0 = 1_767_323_045


def built(*events, rules=None, market=None):
    builder = Builder(rules, market)
    for raw in raws(events):
        builder.take(raw)
    return builder


def exits(builder):
    return {action: str(tally.pnl) for (_, _, action), tally in builder.by_action.items()}


def close(n=1, price="110", qty="1", action="FULL_CLOSE", **more):
    return event(more.pop("side", "sell"), qty, price, n=n, reduceOnly=True, action=action, order_id=f"x{n}", **more)


# --- one by one


def test_partial_exits_have_their_own_pnl_and_the_last_one_closes_the_trade():
    builder = built(
        event(qty="4"), close(1, "110", "1", "PARTIAL_25"), close(2, "90", "1", "PARTIAL_50"), close(60, "120", "2")
    )
    assert exits(builder) == {"PARTIAL_25": "10", "PARTIAL_50": "-10", "FULL_CLOSE": "40"}
    found = builder.by_regime["BTCUSDT", "unknown"]
    assert (found.stats.trades, found.stats.net, found.held.total) == (1, Decimal(40), 60.0)
    assert builder.by_action["BTCUSDT", "unknown", "FULL_CLOSE"].trades == [1, 0, 0]
    assert builder.by_action["BTCUSDT", "unknown", "PARTIAL_25"].trades == [0, 0, 0]
    assert builder.by_action["BTCUSDT", "unknown", "PARTIAL_50"].win_rate == 0.0
    assert builder.open_trades == 0


def test_exits_of_an_open_trade_are_realised_but_not_judged():
    builder = built(event(qty="4"), close(1, "110", "1", "PARTIAL_25"))
    assert exits(builder) == {"PARTIAL_25": "10"}
    assert builder.by_action["BTCUSDT", "unknown", "PARTIAL_25"].win_rate is None
    assert builder.open_trades == 1
    assert not builder.by_regime


def test_fees_are_realised_where_they_are_paid_and_belong_to_the_trade():
    builder = built(event(fee="0.4"), close(1, "110", fee="0.6"))
    assert exits(builder) == {"ENTRY": "-0.4", "FULL_CLOSE": "9.4"}
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == Decimal("9.0")


def test_a_scale_in_averages():
    builder = built(event(price="100"), event(price="110", n=1, order_id="b"), close(2, "108", "2"))
    assert exits(builder) == {"FULL_CLOSE": "6"}


def test_a_flip_closes_one_trade_and_opens_another_with_the_fee_shared_out():
    builder = built(event(qty="1"), event("sell", "3", "110", n=1, fee="0.3", action="FLIP", order_id="b"))
    assert exits(builder) == {"FLIP": "9.7"}  # 10, less 0.1 of the exit and 0.2 of the entry
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == Decimal("9.9")
    assert builder.open_trades == 1
    builder.take(Raw("9", close(2, "100", "2", side="buy")))
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == Decimal("29.7")


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([close()], "exit_before_any_entry"),
        ([event(), close(side="buy")], "exit_on_the_wrong_side"),
        ([event(positionSide="LONG"), close(positionSide="SHORT", side="buy")], "exit_before_any_entry"),
        ([event(positionSide="LONG"), close(positionSide="LONG", side="buy")], "exit_on_the_wrong_side"),
        ([event(executed=0)], "not_executed"),
        ([event(type="void", fill_id="a")], "void_of_a_closed_trade"),
    ],
)
def test_what_changes_nothing_is_counted(events, reason):
    builder = built(*events)
    assert builder.memory.ignored == {reason: 1}
    assert not builder.by_regime


def test_an_exit_larger_than_the_position_closes_it_and_does_not_flip():
    builder = built(event(qty="1"), close(1, "110", "5"))
    assert exits(builder) == {"FULL_CLOSE": "10"}
    assert builder.open_trades == 0
    assert builder.memory.counts["exits_beyond_the_position"] == 1


def test_an_exit_without_a_side_takes_the_position_s():
    builder = built(event("sell"), {**close(1, "90"), "side": None})
    assert exits(builder) == {"FULL_CLOSE": "10"}


def test_both_sides_at_once_in_hedge_mode():
    builder = built(
        event("buy", positionSide="LONG"), event("sell", price="105", positionSide="SHORT", order_id="b"),
        event("sell", price="110", n=1, positionSide="LONG", order_id="c", action="TAKE"),
        event("buy", price="100", n=2, positionSide="SHORT", order_id="d", action="TAKE"),
    )  # fmt: skip
    assert exits(builder) == {"TAKE": "15"}
    assert builder.by_regime["BTCUSDT", "unknown"].stats.trades == 2


def test_bots_venues_and_accounts_have_their_own_positions():
    places = [{"bot": "a"}, {"bot": "b"}, {"venue": "x"}, {"account": "y"}]
    builder = built(*(event(**place) for place in places))
    assert builder.open_trades == 4


@pytest.mark.parametrize(("left", "closed"), [("0.001", 1), ("0.0011", 0)])
def test_a_trade_is_closed_when_next_to_nothing_is_left(left, closed):
    builder = built(event(qty="1"), close(1, "110", str(1 - Decimal(left))))
    assert builder.memory.counts.get("closed", 0) == closed


def test_what_is_left_stays_in_the_position_and_is_worth_what_it_brings():
    builder = built(
        event(qty="1"), close(1, "110", "0.9995"), close(2, "120", "0.0005", "CLEAN_UP"), close(3, "120", "1")
    )
    assert exits(builder) == {"FULL_CLOSE": "9.9950", "CLEAN_UP": "0.0100"}
    assert builder.memory.ignored == {"exit_of_dust": 1, "exit_before_any_entry": 1}


def test_what_trades_leave_behind_does_not_add_up_to_one_that_never_closes():
    builder = Builder()
    for n in range(10):
        builder.take(Raw("", event(qty="1", order_id=f"e{n}")))
        builder.take(Raw("", close(n, "100", "0.9994")))
    assert builder.by_regime["BTCUSDT", "unknown"].stats.trades == 10
    assert builder.open_trades == 0


def test_the_dust_of_a_symbol_and_a_tiny_first_entry():
    rules = Rules(dust_of={"BTCUSDT": Decimal(0)})
    builder = built(event(qty="0.0005"), close(1, "110", "0.0004"), rules=rules)
    assert builder.open_trades == 1
    assert built(event(qty="0.0005"), rules=Rules()).open_trades == 1  # the first entry opens, however small


def test_a_fee_in_the_base_moves_the_inventory():
    builder = built(event(fee="0.01", fee_asset="BTC"), close(1, "110", "0.99"))
    assert builder.open_trades == 0
    assert exits(builder) == {"ENTRY": "-1.00", "FULL_CLOSE": "9.90"}


def test_funding_belongs_to_the_open_trade():
    builder = built(
        event(), {"type": "funding", "symbol": "BTCUSDT", "price": "-0.5", "executed": 1, "ts": T0}, close()
    )
    assert exits(builder) == {"FUNDING": "-0.5", "FULL_CLOSE": "10"}
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == Decimal("9.5")


def test_inverse_contracts_are_worth_coins():
    said = {"inverse": "true", "multiplier": "100"}
    builder = built(event(qty="10", price="100", **said), close(1, "200", "10", **said))
    assert exits(builder) == {"FULL_CLOSE": "5"}  # 1,000 / 100 - 1,000 / 200


# --- duplicates


def test_duplicates_are_counted_and_change_nothing():
    builder = built(event(order_id="a", plan_id="p"), event(order_id="a", plan_id="p"), close(), close())
    assert builder.memory.counts["duplicates"] == 2
    assert exits(builder) == {"FULL_CLOSE": "10"}


def test_another_exit_of_the_same_order_is_no_duplicate_nor_is_what_has_no_id():
    builder = built(
        event(qty="4"), event(qty="4"),
        event("sell", n=1, reduceOnly=True, plan_id="p", order_id="a", action="PARTIAL_25"),
        event("sell", n=1, reduceOnly=True, plan_id="p", order_id="a", action="PARTIAL_50"),
        event("sell", n=1, reduceOnly=True, plan_id="p", order_id="a", action="PARTIAL_50", fill_id="2"),
    )  # fmt: skip
    assert "duplicates" not in builder.memory.counts


def test_the_memory_of_duplicates_is_bounded_and_survives_a_restart():
    rules, saved, builder = Rules(most_seen=100), {}, None
    for n in range(1_000):
        if n % 90 == 0:
            saved = merged(saved, builder)
            builder = Builder(rules, saved=saved)
        builder.take(Raw(str(n), event(order_id=str(n), executed=True)))
    saved = merged(saved, builder)
    assert sum(key.startswith("d/") for key in saved) == 100
    builder = Builder(rules, saved=saved)
    for n in (999, 900, 899):
        builder.take(Raw("", event(order_id=str(n))))
    assert builder.memory.counts["duplicates"] == 2


def merged(saved, builder):
    if builder is None:
        return saved
    saved = {**saved, **builder.changes().values}
    return {key: value for key, value in saved.items() if value is not None}


# --- fills that are taken back


def void(fill_id, **more):
    return {"type": "void", "symbol": "BTCUSDT", "fill_id": fill_id, **more}


def test_a_fill_taken_back_is_as_if_it_had_never_been_while_its_trade_is_open():
    fills = [
        event(qty="4", fill_id="a", fee="1"), event(qty="2", price="106", n=1, fill_id="b"),
        {**close(2, "110", "1", "PARTIAL_25"), "fill_id": "c"}, {**close(3, "112", "1", "PARTIAL_25"), "fill_id": "d"},
    ]  # fmt: skip
    market = Bars()
    assert exits(built(*fills, void("b"))) == {"ENTRY": "-1", "PARTIAL_25": "22"}
    assert exits(built(*fills, void("c"))) == exits(built(*fills[:2], fills[3]))
    builder = built(*fills, void("b"), void("d"), void("d"), market=market)
    assert (builder.memory.counts["voids"], builder.memory.ignored) == (2, {"void_of_a_closed_trade": 1})
    assert market.asked == [(T0) * S]  # what was known of the entry is not asked again
    builder.take(Raw("", close(9, "120", "3")))
    assert builder.by_regime["BTCUSDT", "trend"].stats.net == Decimal(4 * 0 + 10 - 1 + 60)
    assert built(*fills, void("a")).open_trades == 0  # what is left of it closes the trade
    closed = built(event(fill_id="a"), {**close(), "fill_id": "b"}, void("b"))
    assert (closed.memory.ignored, exits(closed)) == ({"void_of_a_closed_trade": 1}, {"FULL_CLOSE": "10"})


def test_what_meant_nothing_beside_a_fill_may_mean_something_without_it():
    funding = {"type": "funding", "symbol": "BTCUSDT", "price": "-0.5", "executed": 1, "ts": T0}
    first, second = event(qty="2", fill_id="k"), event("sell", "1", "110", n=1, fill_id="b")
    rest = [second, funding, close(2, "100", "0.5", side="buy"), event(qty="1", price="90", n=3, fill_id="z")]
    builder = built(first, *rest, void("k"))
    assert exits(builder) == exits(built(*rest)) == {"EXIT": "10.0", "FULL_CLOSE": "5.0", "FUNDING": "-0.5"}
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == built(*rest).by_regime["BTCUSDT", "unknown"].stats.net
    assert built(first, *rest, void("z")).memory.ignored == {"exit_on_the_wrong_side": 1}


def test_only_the_latest_fills_of_a_trade_can_be_taken_back():
    fills = [event(qty="1", price=str(100 + n), n=n, fill_id=f"f{n}", fee="1") for n in range(MOST_EVENTS + 10)]
    assert "voids" not in built(*fills, void("f3")).memory.counts
    builder = built(*fills, void(f"f{MOST_EVENTS + 6}"))
    assert builder.memory.counts["voids"] == 1
    assert exits(builder) == {"ENTRY": str(-(MOST_EVENTS + 9))}
    (place,) = [json.loads(value) for key, value in builder.changes().values.items() if key.startswith("p/")]
    assert place[0][0][0] == str(MOST_EVENTS + 9)


@settings(max_examples=80, deadline=None)
@given(streams(), st.integers(0, 40))
def test_any_fill_that_can_be_taken_back_leaves_what_would_have_been_without_it(events, which):
    events = [{**said, "fill_id": f"f{n}"} for n, said in enumerate(events)]
    if not events:
        return
    gone = events[which % len(events)]
    place = {name: gone[name] for name in ("symbol", "positionSide") if name in gone}
    builder = Builder(saved=merged({}, built(*events)))  # from what was saved
    builder.take(Raw("", void(gone["fill_id"], **place)))
    if "voids" not in builder.memory.counts:
        return
    # what was told again is no duplicate of what has never been
    expected = built(*(said for said in events if said["fill_id"] != gone["fill_id"]))
    assert {key: tally.pnl for key, tally in builder.by_action.items() if tally.pnl or any(tally.exits)} == {
        key: tally.pnl for key, tally in expected.by_action.items() if tally.pnl or any(tally.exits)
    }
    assert {key: each.stats.state() for key, each in builder.by_regime.items()} == {
        key: each.stats.state() for key, each in expected.by_regime.items()
    }
    assert builder.open_trades == expected.open_trades
    for each in (builder, expected):  # and everything that is open goes on in the same way
        for name in ("BTCUSDT", "ETHUSDT"):
            for side in ("buy", "sell"):
                each.take(Raw("", event(side, "99", "123", symbol=name, reduceOnly=True)))
    assert {key: each.stats.net for key, each in builder.by_regime.items()} == {
        key: each.stats.net for key, each in expected.by_regime.items()
    }


# --- what cannot be read


def test_what_cannot_be_read_is_kept_aside_with_its_place_and_bounded():
    builder = Builder()
    for n in range(KEPT_ASIDE + 5):
        builder.take(Raw(f"{n}-0", {"symbol": "X", b"raw": b"\xff", "long": "y" * 9_000}))
    kept = {key: json.loads(value) for key, value in builder.changes().values.items() if key.startswith("u/")}
    assert len(kept) == KEPT_ASIDE
    assert kept["u/0004"]["position"] == f"{KEPT_ASIDE + 4}-0"
    assert kept["u/0004"]["reason"] == "executed is missing"
    assert kept["u/0004"]["fields"]["raw"] == "\\xff"
    assert builder.memory.counts["unreadable"] == KEPT_ASIDE + 5


@pytest.mark.parametrize("fields", [None, 5, [], {"symbol": object()}, {b"\xff": 1}, {"data": "{" * 5_000}])
def test_whatever_stands_in_a_stream_it_goes_on(fields):
    builder = Builder()
    builder.take(Raw("1", fields))
    builder.take(Raw("2", event()))
    assert builder.memory.counts["unreadable"] == 1
    assert builder.open_trades == 1


def test_prices_beyond_what_a_float_can_say():
    builder = built(event(price="1e390"), close(1, "2e390"))
    assert builder.by_regime["BTCUSDT", "unknown"].stats.net == Decimal("1e390")
    again = Builder(saved=merged({}, built(event(price="1e390"))))
    again.take(Raw("9", close(1, "2e390")))
    assert summary_of(again)["regimes"] == summary_of(builder)["regimes"]


# --- which symbols


def test_only_some_symbols_and_only_a_part_of_them():
    names = [f"S{n}USDT" for n in range(40)]
    events = [event(symbol=name) for name in names]
    assert built(*events, rules=Rules(symbols=frozenset({"S3USDT"}))).memory.ignored == {"symbol": 39}
    parts = [built(*events, {"bad": 1}, rules=Rules(shard=(part, 3))) for part in (1, 2, 3)]
    assert sum(part.open_trades for part in parts) == 40
    assert [part.memory.counts.get("unreadable", 0) for part in parts] == [1, 0, 0]
    assert min(part.open_trades for part in parts) > 5
    forms = [{b"symbol": b"S7USDT", b"executed": b"maybe"}, {"data": json.dumps(event(symbol="S7USDT"))}, {"symbol": 5}, None,
             {"symbol": "", "data": json.dumps(event(symbol="S8USDT"))}, {"symbol": b"\xff"}]  # fmt: skip
    counted = [built(*forms, rules=Rules(shard=(part, 3))).memory.counts for part in (1, 2, 3)]
    assert sum(counts.get("events", 0) for counts in counted) == len(forms)
    assert sum(counts.get("unreadable", 0) for counts in counted) == 4


def test_later_symbols_and_actions_are_other():
    rules = Rules(most_symbols=2)
    builder = built(*(event(symbol=f"S{n}", fee="1", action=f"A{n}") for n in range(60)), rules=rules)
    assert {symbol for symbol, _, _ in builder.by_action} == {"S0", "S1", "other"}
    assert len({action for _, _, action in builder.by_action}) == 51
    again = Builder(rules, saved=merged({}, builder))
    again.take(Raw("", event(symbol="S2", fee="1", action="A0", order_id="n")))
    assert again.by_action["other", "unknown", "A0"].pnl == -1


# --- regimes and excursions


class Bars:
    """Rises by one with every bar of a minute, from `T0` - 200 minutes on."""

    def __init__(self, step=1.0):
        self.step, self.asked = step, []

    def bar(self, n):
        price = 100.0 + n * self.step + (n % 2) * 0.1
        return Bar((T0 + n * 60) * S, (T0 + n * 60 + 60) * S, price + 1, price - 1, price)

    def before(self, symbol, ts_ns):
        self.asked.append(ts_ns)
        return [bar for bar in map(self.bar, range(-150, 100)) if bar.end_ns <= ts_ns]

    def during(self, symbol, start_ns, end_ns):
        return [bar for bar in map(self.bar, range(-150, 100)) if bar.start_ns >= start_ns and bar.end_ns <= end_ns]


def test_regime_atr_and_excursions_are_those_of_the_entry_and_of_the_time_in_the_trade():
    market = Bars()
    builder = built(event(price="100", n=30), close(30 + 600, "104"), market=market)
    assert market.asked == [(T0 + 30) * S]
    found = builder.by_regime["BTCUSDT", "trend"]
    assert found.stats.trades == 1
    entered = Builder(market=market)
    entered.take(Raw("", event(price="100", n=30)))
    (place,) = [json.loads(value) for key, value in entered.changes().values.items() if key.startswith("p/")]
    _, _, regime, adx, atr, *_ = place[0][1]
    assert regime == "trend"
    assert adx > 25
    assert 2 < atr < 2.3
    # the bars that began after second 30 and ended before second 630: the ninth is the highest
    assert found.mfe.total == pytest.approx((market.bar(9).high - 100) / atr)
    assert found.mae.total == pytest.approx(max(100 - market.bar(1).low, 0) / atr)


def test_no_bars_no_regime_and_no_excursions():
    assert Bars(0.0).before("", T0 * S)
    builder = built(event(), close(), market=Bars(0.0))
    assert list(builder.by_regime) == [("BTCUSDT", "chop")]
    assert sum(built(event(), close()).by_regime["BTCUSDT", "unknown"].mfe.counts) == 0


# --- any stream


def figures(builder):
    found = {}
    for (symbol, _, action), tally in builder.by_action.items():
        found[symbol, action] = tally
    return found


@settings(max_examples=100, deadline=None)
@given(streams())
def test_any_stream_is_what_a_plain_model_makes_of_it(events):
    plain = Plain(events)
    builder = built(*events)
    counts = {**builder.memory.counts, **builder.memory.ignored}
    for name, count in plain.counts.items():
        assert counts.get(name, 0) == count, name
    assert builder.open_trades == plain.open_trades
    found = figures(builder)
    for key in {*plain.pnl, *found}:
        mine = found[key].pnl if key in found else 0
        assert abs(Fraction(mine) - plain.pnl[key]) < Fraction(1, 10**20), key
    for symbol, nets in plain.nets.items():
        stats = builder.by_regime[symbol, "unknown"].stats
        assert stats.trades == len(nets)
        assert abs(Fraction(stats.net) - sum(nets)) < Fraction(1, 10**20)
    if plain.sure:
        for key, tally in found.items():
            assert tally.exits == plain.exits[key], key
            assert tally.trades == plain.trades[key], key


@settings(max_examples=60, deadline=None)
@given(streams(), st.lists(st.tuples(st.integers(1, 12), st.sampled_from(("save", "restart", "crash"))), max_size=12))
def test_any_cut_gives_the_same_state_byte_for_byte(events, cuts):
    market = Bars()
    stream = raws(events)
    whole = merged({}, _fed(Builder(market=market), stream))
    saved, at, builder, done = {}, 0, Builder(market=market), 0
    for size, how in cuts:
        for raw in stream[at : at + size]:
            builder.take(raw)
        if how == "crash":  # what was not saved is built again
            at, builder = done, Builder(market=market, saved=saved)
            continue
        at = done = min(at + size, len(stream))
        saved = merged(saved, builder)
        if how == "restart":
            builder = Builder(market=market, saved=saved)
    saved = merged(saved, _fed(builder, stream[at:]))
    assert saved == whole


def _fed(builder, stream):
    for raw in stream:
        builder.take(raw)
    return builder


def test_only_what_changed_is_saved():
    builder = built(*(event(symbol=f"S{n}", order_id=str(n)) for n in range(500)))
    assert len(builder.changes().values) > 1_000
    builder.take(Raw("", event(symbol="S7", order_id="again")))
    changed = builder.changes().values
    assert {key.partition("/")[0] for key in changed} == {"p", "d", "m"}
    assert len(changed) == 3
    assert builder.changes().values == {}


@pytest.mark.parametrize("damage", [{"m": b"[]"}, {"p/[]": b"x"}, {"a/[1]": b"[]"}, {"d/x": b"y"}, {"r/[]": b"[]"}])
def test_a_damaged_state_is_refused(damage):
    with pytest.raises(ValueError, match="damaged"):
        Builder(saved=damage)
