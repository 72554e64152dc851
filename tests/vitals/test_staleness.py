"""Staleness of features and of funding rates."""

from __future__ import annotations

import sys
import threading
import time
from decimal import Context, Decimal, FloatOperation, localcontext

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.clock import SystemClock
from botobs.events import to_record
from botobs.events.safety import FeaturesStale, FundingStale
from botobs.faults import Faults
from botobs.testing import Clock
from botobs.vitals.freshness import Freshness
from botobs.vitals.funding import FundingRates
from botobs.vitals.marks import says_something
from botobs.vitals.staleness import Staleness
from botobs.vitals.watchdogs import Watchdogs
from tests.test_promises import ALL


class World:
    def __init__(self, clock=None, **more):
        self.clock, self.faults, self.events = clock or Clock(), Faults(), []
        self.staleness = Staleness(self.clock, self.events.append, self.faults, **more)
        self.value, self.watch = self.staleness.feature_value, self.staleness.watch

    def go(self, seconds, step=1):
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            self.staleness.tick()
        return self

    @property
    def stale(self):
        return self.staleness.stale_features

    @property
    def alerts(self):
        return [(event.count, event.resolved) for event in self.events if isinstance(event, FeaturesStale)]

    @property
    def log(self):
        return [to_record(event) for event in self.events if event.stream == "feature_log"]


def test_values_without_names_are_told(caplog):
    world = World()
    world.staleness.feature_values(5)
    assert "feature_values takes a mapping of names to values" in caplog.text
    assert not world.faults.errors


# -- age --------------------------------------------------------------------------------------------------------------


def test_a_feature_is_stale_when_nothing_came_for_five_minutes():
    world = World()
    world.value("rsi", 55.0)
    world.go(300)
    assert world.stale == {} and world.staleness.ages == {"rsi": 300.0}
    world.go(1)
    assert world.stale == {"rsi": 301.0} == dict(world.staleness.fresh())
    world.value("rsi", 55.0)
    assert world.stale == {} == dict(world.staleness.fresh())


@pytest.mark.parametrize(
    "value", [0.0, 0, -0.0, False, "", "up", Decimal(0), np.float64(0), np.zeros(3), float("inf"), [], {}, (0,)]
)
def test_whatever_is_a_value_refreshes(value):
    assert says_something(value)
    world = World()
    world.value("x", 1.0)
    world.go(400)
    world.value("x", value)
    assert world.stale == {}


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        Decimal("NaN"),
        Decimal("sNaN"),
        np.nan,
        np.float32("nan"),
        np.full(3, np.nan),
        np.datetime64("NaT", "us"),
    ],
)
def test_nothing_does_not_refresh(value):
    assert not says_something(value)
    world = World()
    world.value("x", 1.0)
    world.go(299)
    world.value("x", value)
    world.staleness.feature_values({"x": value, "y": value})
    world.go(2)
    assert world.stale == {"x": 301.0}
    world.go(300)
    assert world.stale.keys() == {"x", "y"}  # one that never came but was named


def test_limits_of_its_own_before_and_after_the_first_value():
    world = World()
    world.watch("slow", after="1h")
    world.value("slow", 1)
    world.value("fast", 1)
    world.watch("fast", after="10s")
    world.watch("never", after="20s")
    world.go(11)
    assert world.stale == {"fast": 11.0}
    world.go(10)
    assert world.stale == {"fast": 21.0, "never": 21.0}
    world.go(3_600)
    assert list(world.stale) == ["fast", "never", "slow"]


def test_when_it_was_true_counts_where_the_bot_says_so():
    world = World()
    now = world.clock.time_ns() / 1e9
    world.value("x", 1.0, now - 200)
    world.go(99)
    assert world.stale == {}
    world.go(2)
    assert world.stale["x"] == pytest.approx(301)
    world.value("x", 1.0, ts=now - 1_000)  # older than what is known
    assert world.stale["x"] == pytest.approx(301)
    world.value("x", 1.0, ts=now + 10_000)  # from the future: just now
    assert world.staleness.ages["x"] == 0.0
    world.value("x", 1.0, "2026-01-02T03:04:05Z")
    world.value("x", 1.0, ts="nonsense")
    assert world.staleness.ages["x"] == 0.0 and not world.faults.errors


def test_setting_the_clock_makes_nothing_stale_and_nothing_fresh():
    world = World()
    world.value("x", 1.0)
    world.go(200)
    for when in ("2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"):
        steady = world.clock.perf_ns()
        world.clock.set(when)
        world.clock._perf_ns = steady
        world.go(20)
    assert world.staleness.ages == {"x": 240.0} and world.events == []


values = st.sampled_from([0.0, 1.0, None, float("nan"), "a"])
steps = st.one_of(
    st.tuples(st.just("value"), st.sampled_from("abc"), values),
    st.tuples(st.just("watch"), st.sampled_from("abc"), st.integers(1, 400)),
    st.tuples(st.just("freeze"), st.sampled_from("abc"), st.integers(1, 400)),
    st.tuples(st.just("go"), st.integers(1, 300), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30))
def test_against_the_plainest_model(course):
    world = World()
    now, named, came, limit, frozen, changed, last = 0, {}, {}, {}, {}, {}, {}
    for step, name, more in course:
        if step == "go":
            now += name
            world.clock.advance(name)
        else:
            named.setdefault(name, now)
            if step == "value":
                world.value(name, more)
                if more is not None and more == more:
                    came[name] = now
                    if name not in last or last[name] != more:
                        last[name], changed[name] = more, now
            elif step == "watch":
                world.watch(name, after=more)
                limit[name] = more
                frozen.pop(name, None)
            else:
                world.watch(name, after=10_000, frozen_after=more)
                limit[name], frozen[name] = 10_000, more
        want = {}
        for one in named:
            age = now - came.get(one, named[one])
            if age > limit.get(one, 300):
                want[one] = age
            elif one in frozen and one in last and now - changed[one] > frozen[one]:
                want[one] = now - changed[one]
        assert dict(world.staleness.fresh()) == want == world.stale
        assert list(world.stale.values()) == sorted(want.values(), reverse=True)
    assert not world.faults.errors


# -- frozen -----------------------------------------------------------------------------------------------------------


def test_a_value_that_never_changes():
    world = World()
    world.watch("mid", after="5m", frozen_after="1m")
    for _ in range(60):
        world.go(1)
        world.value("mid", 0.0)
    assert world.stale == {}
    world.go(2)
    world.value("mid", 0.0)
    assert world.stale == {"mid": 61.0} == world.staleness.frozen_features
    world.value("mid", 0.1)
    assert world.stale == {} == world.staleness.frozen_features


@pytest.mark.parametrize(
    "same", [lambda: np.arange(3), lambda: [1, 2], lambda: Decimal("1.0"), lambda: "flat", lambda: {"a": 1}]
)
def test_things_of_all_kinds_freeze(same):
    world = World()
    world.watch("x", frozen_after="1m")
    for _ in range(4):
        world.value("x", same())
        world.go(20)
    assert world.stale == {"x": 80.0}
    world.value("x", np.arange(4))
    assert world.stale == {}


def test_what_changed_before_it_was_watched_for_that_is_not_frozen():
    world = World()
    world.value("x", [1])
    world.go(100)
    world.value("x", [2])
    world.watch("x", frozen_after="1m")
    assert world.stale == {}
    world.go(61)
    assert world.stale == {"x": 61.0}


def test_an_array_that_is_filled_anew_has_changed():
    world, array = World(), np.zeros(4)
    world.watch("x", frozen_after="1m")
    for at in range(10):
        array[0] = at
        world.value("x", array)
        world.go(20)
    assert world.stale == {}


# -- the alert and the log --------------------------------------------------------------------------------------------


def test_more_than_five_are_an_alert():
    world = World()
    world.staleness.feature_values({f"f{n}": n for n in range(8)})
    world.go(200)
    world.staleness.feature_values({"f0": 1, "f1": 1, "f2": 1})
    world.go(150)
    assert world.alerts == [] and not world.staleness.staleness_alert and len(world.stale) == 5
    world.go(200)
    assert world.alerts == [(8, False)] and world.staleness.staleness_alert
    world.go(500)
    world.staleness.feature_values({f"f{n}": n for n in range(3)})
    world.go(1)
    assert world.alerts == [(8, False), (5, True)] and not world.staleness.staleness_alert


def test_the_log_says_what_changed_and_not_too_often():
    world = World(log_every_s=30.0)
    for n in range(10):
        world.value(f"f{n}", 1.0)
        world.go(5)
    world.go(320)
    assert [record["stale_count"] for record in world.log] == [1, 7, 10]
    first, second, third = world.log
    assert first["event"] == "staleness" and first["stale_features"] == {"f0": 301.0} and first["watched"] == 10
    assert second["became_stale"] == tuple(f"f{n}" for n in range(1, 7)) and second["staleness_alert"]
    assert list(third["stale_features"])[:2] == ["f0", "f1"]
    world.go(3_600)
    assert len(world.log) == 3
    world.value("f3", 1.0)
    world.go(1)
    assert world.log[3]["became_fresh"] == ("f3",) and "f3" not in world.log[3]["stale_features"]


def test_at_the_edge_it_does_not_flicker():
    world = World()
    world.staleness.feature_values({f"f{n}": n for n in range(6)})
    world.watch("f0", after="2s")
    world.go(301)
    for _ in range(200):
        world.value("f0", 1.0)
        world.go(3)
    assert len(world.alerts) <= 2 * 600 / 30 + 1 and len(world.log) <= 600 / 30 + 2


# -- over a restart ---------------------------------------------------------------------------------------------------


def again(world, down=0.0):
    """The bot was down and is back: another process, another steady clock."""
    state = orjson.loads(orjson.dumps(world.staleness.state()))
    clock = Clock(world.clock.time_ns() / 1e9 + down)
    fresh = World(clock)
    fresh.staleness.restore(state)
    return fresh


def test_ages_go_on_over_a_restart_and_ghosts_do_not():
    world = World()
    world.staleness.feature_values({f"f{n}": n for n in range(8)})
    world.go(100)
    after = again(world, down=250)
    after.go(3_600)
    assert after.stale == {} and after.events == []  # this run has named none of them
    after = again(world, down=250)
    after.watch("f0")
    assert after.stale["f0"] == pytest.approx(350, abs=0.01)  # no decision on it
    after.value("f0", 1)
    assert after.stale == {}


def test_a_start_after_a_pause_alerts_nobody():
    world = World()
    world.staleness.feature_values({f"f{n}": n for n in range(8)})
    after = again(world, down=86_400)
    for n in range(8):
        after.watch(f"f{n}")
    assert len(after.staleness.fresh()) == 8
    after.go(60)
    assert after.events == []
    after.go(300)
    assert after.alerts == [(8, False)]


def test_a_clock_set_back_over_a_restart_gives_no_negative_age():
    world = World()
    world.value("x", 1)
    after = again(world, down=-86_400)
    after.watch("x")
    assert after.staleness.ages == {"x": 0.0}


def test_frozen_goes_on_over_a_restart():
    world = World()
    world.watch("x", after="1d", frozen_after="1h")
    world.value("x", 7.5)
    world.go(1_800, step=60)
    world.value("x", 7.5)
    after = again(world, down=900)
    after.watch("x", after="1d", frozen_after="1h")
    after.value("x", 7.5)
    after.go(960, step=60)
    assert after.stale["x"] == pytest.approx(3_660, abs=0.01)
    other = again(world, down=900)
    other.value("x", 7.6)
    other.watch("x", after="1d", frozen_after="1h")
    other.go(960, step=60)
    assert other.stale == {}


@pytest.mark.parametrize(
    "state",
    [None, 7, {}, {"features": []}, {"features": {"x": None, "y": [1], "z": ["a", 1, 2], "w": [1, 2, "3"], 3: 4}}],
)
def test_a_damaged_state_is_left_out(state):
    world = World()
    world.staleness.restore(state)
    for name in "xyzw":
        world.watch(name)
    assert world.stale == {}
    assert World().staleness.state() == {"features": {}}


# -- never raises, bounded, cheap -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", range(len(ALL)))
def test_hostile_values_names_and_limits(nasty):
    world, value = World(), ALL[nasty]()
    world.watch("v", frozen_after="1m")
    world.value("v", value)
    world.value("v", value, value)
    world.value(value, 1.0)
    world.value(value, value, value)
    world.watch(value, value, value)
    world.watch("w", value, value)
    world.staleness.feature_values({"ok": 1.0, "odd": value, "late": 2.0})
    world.staleness.feature_values(value)
    world.go(3)
    assert {"ok", "late"} <= world.staleness.ages.keys()
    orjson.dumps(world.staleness.state())


def test_names_are_bounded():
    world = World()
    world.staleness.feature_values({f"f{n}": n for n in range(5_000)})
    assert len(world.staleness.ages) == 1_000
    world.go(400, step=100)
    assert len(world.log[0]["stale_features"]) == 100 and world.log[0]["stale_count"] == 1_000


def test_a_decimal_context_of_the_bots_own_changes_nothing():
    world = World()
    world.watch("x", frozen_after="1m")
    with localcontext(Context(prec=2, traps=[FloatOperation])):
        world.value("x", Decimal("1.05"))
        world.value("x", 1.05)
        world.value("x", Decimal("1.05"))
    world.go(61)
    assert world.stale == {"x": 61.0} and not world.faults.errors


def test_threads_bring_values_while_it_looks():
    world = World(SystemClock())
    threads = [
        threading.Thread(target=lambda n=n: [world.value(f"f{n} {at % 50}", at) for at in range(2_000)]) for n in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        world.staleness.tick()
        assert not world.staleness.fresh()
    assert len(world.staleness.ages) == 200 and not world.faults.errors


@pytest.mark.skipif(sys.gettrace() is not None, reason="measured without a tracer")
def test_what_it_costs():
    world = World(SystemClock())
    features = {f"f{n}": n / 7 for n in range(200)}
    world.staleness.feature_values(features)

    def cost(fn, times):
        best = 1e9
        for _ in range(10):
            begun = time.perf_counter_ns()
            for _ in range(times):
                fn()
            best = min(best, (time.perf_counter_ns() - begun) / times)
        return best

    assert cost(lambda: world.value("f1", 0.5), 500) < 4_000
    assert cost(lambda: world.staleness.feature_values(features), 10) / 200 < 3_000
    assert cost(world.staleness.fresh, 500) < 1_500


# -- funding rates ----------------------------------------------------------------------------------------------------


class Funding:
    def __init__(self, clock=None):
        self.clock, self.faults, self.events = clock or Clock(), Faults(), []
        self.rates = FundingRates(self.clock, self.events.append, self.faults)

    def go(self, seconds, step=60):
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            self.rates.tick()


def test_a_funding_rate_is_stale_after_an_hour():
    world = Funding()
    world.rates.funding_rate("BTC", 0.0, "2026-01-02T08:00:00Z")
    world.rates.funding_rate("ETH", "0.0001")
    world.go(3_600)
    assert world.events == [] and world.rates.stale() == {}
    world.rates.funding_rate("ETH", -0.0001)
    world.go(60)
    assert world.rates.stale() == {"BTC": 3_660.0}
    event = world.events[0]
    assert isinstance(event, FundingStale) and not event.resolved
    assert to_record(event) == {
        "event": "funding_stale", "symbol": "BTC", "age_s": 3_660.0, "limit_s": 3_600.0, "resolved": False, "rate": 0.0,
    }  # fmt: skip
    world.rates.funding_rate("BTC", 0.0002)
    world.go(60)
    assert [(event.symbol, event.resolved, event.age_s) for event in world.events[1:]] == [("BTC", True, 3_660.0)]
    rate = world.rates.rates["BTC"]
    assert (rate.rate, rate.next_ns, rate.age_s) == (0.0002, None, 60.0)


@pytest.mark.parametrize("nothing", [None, float("nan"), "n/a", Decimal("NaN"), [], True])
def test_no_rate_does_not_refresh(nothing):
    world = Funding()
    world.rates.funding_rate("BTC", 0.0001)
    world.go(3_600)
    world.rates.funding_rate("BTC", nothing)
    world.rates.funding_rate("NEW", nothing)
    world.go(60)
    assert world.rates.stale() == {"BTC": 3_660.0} and world.rates.rates["BTC"].rate == 0.0001
    world.go(3_600)
    assert [event.symbol for event in world.events] == ["BTC", "NEW"]


def test_funding_over_a_restart():
    world = Funding()
    world.rates.funding_rate("BTC", 0.0001)
    state = orjson.loads(orjson.dumps(world.rates.state()))
    after = Funding(Clock(world.clock.time_ns() / 1e9 + 7_200))
    after.rates.restore(state)
    after.go(7_200)
    assert after.events == []  # no ghosts
    after.rates.funding_rate("BTC", None)
    assert after.rates.stale()["BTC"] == pytest.approx(14_400, abs=0.01)
    after.go(60)
    assert after.events == []  # it has an hour from its first name on
    after.go(3_600)
    assert len(after.events) == 1
    for damaged in (None, [], {"rates": 3}, {"rates": {"BTC": "x", "ETH": None, "SOL": True}}):
        Funding().rates.restore(damaged)


@pytest.mark.parametrize("nasty", range(len(ALL)))
def test_hostile_funding(nasty):
    world, value = Funding(), ALL[nasty]()
    world.rates.funding_rate(value, value, value)
    world.rates.funding_rate("BTC", value, value)
    world.rates.funding_rate("BTC", 0.1, value)
    world.go(60)
    assert world.rates.rates["BTC"].rate == 0.1
    orjson.dumps(world.rates.state())


def test_symbols_are_bounded():
    world = Funding()
    for n in range(1_500):
        world.rates.funding_rate(f"S{n}", 0.1)
    assert len(world.rates.rates) == 1_000


# -- all of it --------------------------------------------------------------------------------------------------------


def test_one_answer_to_whether_the_bot_may_decide():
    world = World()
    dogs = Watchdogs(world.clock, world.events.append, world.faults)
    funding = FundingRates(world.clock, world.events.append, world.faults)
    freshness = Freshness(world.staleness, dogs, funding)
    world.value("rsi", 1.0)
    dogs.heartbeat("ws")
    funding.funding_rate("BTC", 0.1)
    assert freshness.stale() == {}
    world.clock.advance(31)
    assert freshness.stale() == {"feed:ws": 31.0}
    world.clock.advance(3_600)
    assert freshness.stale() == {"feature:rsi": 3_631.0, "feed:ws": 3_631.0, "funding:BTC": 3_631.0}
