"""Orders: what was said of them stays, their fills find them, and they never fill the memory."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import threading
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botobs.accounting.sides import opposite, side, sign
from botobs.clock import rfc3339
from botobs.events import FillBooked, OrderAnnounced, OrderCancelled, OrderSent, to_record
from botobs.trackers.orders import Orders, misspelt, order_key
from botobs.trackers.slippage import SlippageTracker
from tests.trackers.hostile import EVERY, hostile

DAY = 86_400 * 10**9
campaign = settings(
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "100")), deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def orders_at(start=1_700_000_000 * 10**9, **more):
    clock = [start]
    return Orders(now=lambda: clock[0], **more), clock


def fill(orders, order, price, qty):
    tracker = SlippageTracker(orders)
    return tracker.filled(order, Decimal(price), Decimal(qty), order.side)


class Direction(enum.Enum):
    LONG = 1
    DOWN = "sell"


class Confused(enum.Enum):
    SIDEWAYS = 3


# -- sides ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["buy", "LONG", "Bid", "b", " B ", "bUy", Direction.LONG])
def test_buys(word):
    assert side(word) == "buy"


@pytest.mark.parametrize("word", ["sell", "SHORT", "Ask", "s", "sElL", Direction.DOWN])
def test_sells(word):
    assert side(word) == "sell"
    assert (opposite(side(word)), sign(side(word))) == ("buy", -1)


@pytest.mark.parametrize("word", ["", "x", None, 1, True, b"buy", Confused.SIDEWAYS, "buy sell", ["buy"]])
def test_no_sides(word):
    with pytest.raises(ValueError, match="unknown side"):
        side(word)


def test_no_value_makes_a_side_raise_anything_else():
    for make in EVERY:
        try:
            assert side(make()) in ("buy", "sell")
        except ValueError:
            continue


# -- ids --------------------------------------------------------------------------------------------------------------


def test_one_id_whatever_it_is_held_in():
    assert {order_key(value) for value in (7, "7", b"7", " 7 ", Decimal(7))} == {"7"}
    assert order_key("é") == "é"
    assert order_key("") is order_key("  ") is order_key(None) is None


def test_long_ids_are_cut_and_stay_different():
    one, two = order_key("x" * 300 + "a"), order_key("x" * 300 + "b")
    assert one != two
    assert len(one) == len(two) == 256


@given(hostile)
@campaign
def test_a_key_is_its_own_key_and_can_be_written(value):
    key = order_key(value)
    if key is not None:
        assert order_key(key) == key
        assert key.encode()
        assert "\0" not in key
        assert len(key) <= 4 * 256


def test_ids_made_here_are_unique_over_instances_threads_and_processes():
    found, lock = [], threading.Lock()
    orders = Orders()

    def work():
        made = [orders.announce("B", "buy", 1)[0].order_id for _ in range(500)]
        with lock:
            found.extend(made)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    found += [Orders().announce("B", "buy", 1)[0].order_id for _ in range(10)]
    code = "from botobs.trackers.orders import Orders; print(Orders().announce('B', 'buy', 1)[0].order_id)"
    found.append(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )
    assert len(set(found)) == 2_011
    assert all(one.isalnum() and one.isascii() and len(one) <= 18 for one in found)


def test_a_forked_child_makes_other_ids():
    orders = Orders()
    orders.announce("B", "buy", 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        orders.abandon()
        os.write(writing, orders.announce("B", "buy", 1)[0].order_id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() != orders.announce("B", "buy", 1)[0].order_id


def test_a_made_id_is_never_one_the_bot_took_itself():
    orders = Orders(run="r")
    orders.announce("B", "buy", 1, order_id="r1")
    assert orders.announce("B", "buy", 1)[0].order_id == "r2"


# -- announcing -------------------------------------------------------------------------------------------------------


def test_all_that_was_said_is_known():
    orders, _ = orders_at()
    order, problems = orders.announce(
        "BTCUSDT", "LONG", 0.1, decision_px="100.10", order_id=5, order_type="limit", limit_px=101, strategy="bma",
        source="m", pred_bps=4, strength="0.7", reason="signal_flip", stop_px=90, target_px=120, reduces=False,
        plan_id="p", action="open", venue="binance", account="a", bar_id=9, trace_id="ab", more={"mood": "calm"},
    )  # fmt: skip
    assert not problems
    assert orders.get("5") is orders.get(5) is order
    assert (order.side, order.qty, order.decision_px) == ("buy", Decimal("0.1"), Decimal("100.10"))
    assert (order.pred_bps, order.strength, order.reduces, order.bar_id) == (4.0, 0.7, False, 9)
    assert (order.reason, order.account, order.more) == ("signal_flip", "a", {"mood": "calm"})


def test_what_is_wrong_is_named_and_the_order_is_still_known():
    orders, _ = orders_at()
    order, problems = orders.announce(
        None, "up", -1, order_id="o", decision_px=float("nan"), limit_px=True, strength="x"
    )
    assert orders.get("o") is order
    assert (order.side, order.qty, order.decision_px, order.limit_px) == (None, None, None, None)
    assert {problem.partition(":")[0] for problem in problems} == {
        "symbol", "side", "qty", "decision_px", "limit_px", "strength",
    }  # fmt: skip


def test_the_same_id_amends_and_keeps_what_was_filled():
    orders, _ = orders_at()
    order, _ = orders.announce("B", "buy", 2, order_id="o", decision_px=100, strategy="s")
    fill(orders, order, "101", "1")
    again, problems = orders.announce("B", "buy", 3, order_id="o", decision_px=102)
    assert again is order
    assert not problems
    assert (again.qty, again.strategy, again.filled_qty, again.filled_notional) == (3, "s", 1, 101)
    # 1 at 100 bps against the first decision, 1 at 0 bps against the second
    assert fill(orders, again, "102", "1").order_bps == pytest.approx(50)


def test_the_same_id_for_another_symbol_or_side_is_another_order():
    orders, _ = orders_at()
    order, _ = orders.announce("B", "buy", 2, order_id="o", decision_px=100)
    fill(orders, order, "101", "1")
    other, problems = orders.announce("E", "buy", 2, order_id="o", decision_px=100)
    assert other is not order
    assert other.filled_qty == 0
    assert "another order" in problems[0]


@given(st.data())
@campaign
def test_no_values_raise(data):
    orders = Orders(most=20)
    given_ = lambda: data.draw(hostile)  # noqa: E731
    order, problems = orders.announce(
        given_(), given_(), given_(), order_id=given_(), decision_px=given_(), order_type=given_(), limit_px=given_(),
        strategy=given_(), pred_bps=given_(), strength=given_(), stop_px=given_(), reduces=given_(), venue=given_(),
        action=given_(), plan_id=given_(),
    )  # fmt: skip
    assert orders.get(order.order_id) is order
    assert all(type(problem) is str for problem in problems)
    for price in (order.qty, order.decision_px, order.limit_px):
        assert price is None or price > 0
    for key in (order.order_id, given_()):
        orders.sent(key, given_())
        orders.cancel(key, given_())
    orders.restore([{"event": data.draw(st.sampled_from(["order", "fill", "sent", "cancel"])), "order_id": given_(),
                     "ts": given_(), "qty": given_(), "price": given_(), "px": given_()}])  # fmt: skip


def test_every_curious_value_in_every_place():
    orders, problems = Orders(), []
    for make in EVERY:
        for name in ("order_id", "decision_px", "order_type", "strategy", "pred_bps", "reduces", "trace_id"):
            orders.announce("B", "buy", 1, **{name: make()})
        orders.announce(make(), make(), make())
        orders.sent(make(), make())
        orders.cancel(make(), make())
        assert orders.get(make()) is None or order_key(make()) is not None
    assert not problems


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_the_done_go_first_then_the_oldest():
    orders, clock = orders_at(most=4)
    for name in "abcd":
        clock[0] += 1
        orders.announce("B", "buy", 1, order_id=name, decision_px=1)
    orders.cancel("c")
    fill(orders, orders.get("d"), "1", "1")
    clock[0] += 1
    for name in "efg":
        orders.announce("B", "buy", 1, order_id=name)
    assert [order.order_id for order in orders.all()] == ["b", "e", "f", "g"]
    assert orders.expired == 1


def test_the_forgotten_expire_by_age_and_those_still_heard_of_do_not():
    orders, clock = orders_at(keep_s=7 * 86_400)
    for name in ("alive", "old"):
        orders.announce("B", "buy", 2, order_id=name, decision_px=1)
    clock[0] += 6 * DAY
    fill_at = SlippageTracker(orders)
    fill_at.filled(orders.get("alive"), Decimal(1), Decimal(1), "buy")
    clock[0] += 2 * DAY
    orders.announce("B", "buy", 1, order_id="new")
    assert orders.get("old") is None
    assert orders.get("alive") is not None
    clock[0] += 8 * DAY
    assert orders.expire() == 2
    clock[0] -= 300 * DAY
    orders.announce("B", "buy", 1, order_id="back")
    assert orders.expire() == 0
    assert orders.get("back") is not None


def test_memory_is_bounded_whatever_comes():
    orders, clock = orders_at(most=100)
    for number in range(5_000):
        clock[0] += 1
        order, _ = orders.announce("B", "buy", 1, decision_px=1)
        if number % 3 == 0:
            orders.cancel(order.order_id)
        if number % 5 == 0:
            fill(orders, order, "1", "1")
        assert len(orders) <= 100
        assert len(orders._done) <= 11


# -- after a crash ----------------------------------------------------------------------------------------------------


def written(event):
    """The line as it is read back: decimals are text."""
    record = {"ts": rfc3339(event.ts_ns), **to_record(event)}
    return {key: str(value) if isinstance(value, Decimal) else value for key, value in record.items()}


def test_a_fill_after_a_crash_finds_its_order():
    start = 1_700_000_000 * 10**9
    lines = [
        written(OrderAnnounced(ts_ns=start, symbol="B", order_id="o", side="buy", qty=Decimal(3), decision_px=Decimal(100),
                               strategy="s", trace_id="ab", pred_bps=4.0, reduces=False, more={"a": 1})),
        {"garbage": True}, {"event": "order", "order_id": "x", "ts": "never"},
        written(OrderSent(ts_ns=start + 1000, order_id="o", px=Decimal("100.5"))),
        written(FillBooked(ts_ns=start + 2000, symbol="B", order_id="o", seq=1, side="buy", qty=Decimal(1), price=Decimal(101))),
        written(OrderAnnounced(ts_ns=start, symbol="B", order_id="c", side="buy", qty=Decimal(3))),
        written(OrderCancelled(ts_ns=start + 3000, order_id="c", reason="why")),
    ]  # fmt: skip
    orders, _ = orders_at(start + 10**9)
    assert orders.restore(lines) == 5
    order = orders.get("o")
    assert (order.filled_qty, order.filled_notional, order.sent_ns) == (1, 101, start + 1000)
    assert (order.trace_id, order.reduces, order.more, order.restored) == ("ab", False, {"a": 1}, True)
    found = fill(orders, order, "102", "1")
    assert found.order_bps == pytest.approx(150)
    assert found.delay_bps == pytest.approx(50)
    assert orders.get("c").cancelled == "why"


def test_restoring_leaves_this_runs_orders_alone_and_a_reused_id_of_a_done_one_is_new():
    orders, clock = orders_at()
    own, _ = orders.announce("B", "buy", 1, order_id="own")
    old = {"event": "order", "ts": rfc3339(clock[0] - DAY), "symbol": "B", "side": "buy", "qty": "1"}
    orders.restore([
        {**old, "order_id": "own"}, {**old, "order_id": 1},
        {"event": "fill", "ts": rfc3339(clock[0] - DAY), "order_id": 1, "qty": "1", "price": "5"},
    ])  # fmt: skip
    assert orders.get("own") is own
    assert orders.get(1).done
    fresh, problems = orders.announce("B", "buy", 1, order_id=1)
    assert fresh.filled_qty == 0
    assert not problems


# -- misspelt ---------------------------------------------------------------------------------------------------------

FILL = ("price", "qty", "symbol", "side", "fee", "fee_asset", "role", "fill_id", "ts", "venue", "account")
ORDER = ("decision_px", "order_id", "order_type", "limit_px", "strategy", "source", "stop_px", "target_px", "reduces")


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [("commission", FILL, "fee"), ("quantity", FILL, "qty"), ("amount", FILL, "qty"), ("px", FILL, "price"),
     ("feeAsset", FILL, "fee_asset"), ("fee_aset", FILL, "fee_asset"), ("Price", FILL, "price"), ("FEE", FILL, "fee"),
     ("price", ORDER, "decision_px"), ("decison_px", ORDER, "decision_px"), ("reduce_only", ORDER, "reduces"),
     ("comission", FILL, "fee"), ("Quantitiy", FILL, "qty"), ("reduceOnly", ORDER, "reduces"), ("limit_price", ORDER, "limit_px"), ("stategy", ORDER, "strategy")],
)  # fmt: skip
def test_misspelt_parameters_are_spotted(name, known, meant):
    assert misspelt({name: 1}, known) == [f"{name!r} (did you mean {meant!r}?)"]


@pytest.mark.parametrize("name", ["mood", "note", "regime", "leverage", "", "x", "\ud800", "session_id"])
def test_context_is_left_alone(name):
    assert misspelt({name: 1}, FILL) == []
