"""The health emitter: a record for a reason, and for every reason a record."""

from __future__ import annotations

import sys
import threading
import time
from decimal import Context, Decimal, FloatOperation, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.events import to_record
from botobs.faults import Faults
from botobs.testing import Clock
from botobs.vitals.health import DEFAULT, HealthEmitter, Rule
from tests.test_promises import ALL


class Bot:
    """An emitter and what came of it."""

    def __init__(self, every=60, own=None, **more):
        self.events, self.own = [], own
        self.clock, self.faults = Clock(), Faults()
        self.emitter = HealthEmitter(
            every, self.events.append, lambda: self.own, self.clock,
            faults=self.faults, **more,
        )  # fmt: skip
        self.health = self.emitter.health

    @property
    def records(self):
        return [to_record(event) for event in self.events]

    def reasons(self, kind=""):
        return [reason for event in self.events for reason in event.reasons if reason.startswith(kind)]

    def said(self, **fields):
        """The reasons that one call gives, the heartbeat aside."""
        before = len(self.events)
        self.health(**fields)
        return [r for event in self.events[before:] for r in event.reasons if r != "heartbeat"]


@pytest.mark.parametrize(("calls", "every", "records"), [(1440, 60, 24), (96, 8, 12)])
def test_a_quiet_day_gives_its_heartbeats(calls, every, records):
    bot = Bot(every)
    for minute in range(calls):
        bot.health(equity=10_000 + minute % 3, ws_connected=True, ws_reconnects=2, calibration_drift=0.01)
        bot.clock.advance(86_400 // calls)
    assert len(bot.events) == records
    assert set(bot.reasons()) == {"heartbeat"}
    assert [event.suppressed for event in bot.events] == [0] + [every - 1] * (records - 1)
    assert bot.emitter.calls == calls and bot.emitter.records == records


def test_a_record_is_flat_and_names_its_reasons():
    bot = Bot()
    bot.health(equity=Decimal("10000.5"), ws_connected=True, note="calm")
    bot.health(equity=Decimal("10000.5"), ws_connected=True)
    bot.health(equity=Decimal("10000.5"), ws_connected=False)
    assert bot.records == [
        {
            "reasons": ("heartbeat",),
            "suppressed": 0,
            "equity": Decimal("10000.5"),
            "ws_connected": True,
            "note": "calm",
        },
        {"reasons": ("toggle:ws_connected",), "suppressed": 1, "equity": Decimal("10000.5"), "ws_connected": False},
    ]


def test_names_that_a_line_has_its_own_meaning_for_stay_apart():
    bot = Bot()
    bot.health(ts=1, reasons="mine", symbol="BTC", fields=3, run_id="x")
    record = bot.records[0]
    assert record["reasons"] == ("heartbeat",) and record["symbol"] == "BTC"
    assert record["fields"] == {"ts": 1, "reasons": "mine", "run_id": "x", "fields": 3}
    assert "ts" not in record and "run_id" not in record


# -- equity -----------------------------------------------------------------------------------------------------------


def test_equity_is_compared_with_the_last_record_not_the_last_call():
    bot = Bot(1000)
    bot.health(equity=10_000)
    for equity in (10_004, 10_008, 10_010):
        assert bot.said(equity=equity) == []
    assert bot.said(equity=10_010.01) == ["equity"]
    assert bot.said(equity=10_001) == []
    assert bot.said(equity=10_000) == []
    assert bot.said(equity=9_999.9) == ["equity"]


def test_exactly_a_thousandth_is_not_more_whatever_floats_say():
    bot = Bot(1000)
    bot.health(equity=3.0)
    assert 3.003 - 3.0 > 0.003  # in floats
    assert bot.said(equity=3.003) == []
    assert bot.said(equity="3.003000001") == ["equity"]


def test_any_other_reason_moves_the_reference():
    bot = Bot(1000)
    bot.health(equity=10_000, up=True)
    assert bot.said(equity=10_009, up=False) == ["toggle:up"]
    assert bot.said(equity=10_018, up=False) == []


def test_botobs_own_equity_where_the_fields_give_none():
    bot = Bot(1000, own=Decimal(5_000))
    bot.health(up=True)
    assert bot.records[0]["equity"] == 5_000
    bot.own = Decimal(5_005)
    assert bot.said(up=True) == []
    bot.own = Decimal("5005.01")
    assert bot.said(up=True) == ["equity"]
    # the bot's own figure may be quite another one: taking turns is no swing
    assert bot.said(equity=9_000) == ["equity"]
    assert [bot.said(equity=9_000), bot.said(), bot.said(equity=9_000), bot.said()] == [[], [], [], []]


def test_equity_value_is_equity():
    bot = Bot(1000)
    bot.health(equity_value=100)
    assert bot.said(equity_value=101) == ["equity"]


@pytest.mark.parametrize(
    "unknown", [float("nan"), None, "n/a", Decimal("NaN"), Decimal("sNaN"), float("inf"), [], np.nan]
)
def test_unknown_equity_is_a_record_once(unknown):
    bot = Bot(1000)
    bot.health(equity=10_000)
    assert bot.said(equity=unknown) == ["equity_unknown"]
    assert [bot.said(equity=unknown), bot.said(equity=unknown)] == [[], []]
    assert bot.said(equity=10_000) == ["equity"]  # known again
    assert bot.said(equity=10_001) == []


def test_botobs_own_unknown_equity_is_no_reason():
    bot = Bot(1000)
    bot.health(up=True)
    bot.health(up=True)
    assert "equity" not in bot.records[0]
    bot.own = Decimal(1)
    assert bot.said(up=True) == ["equity"]


def test_equity_of_zero_and_below():
    bot = Bot(1000)
    bot.health(equity=0)
    assert bot.said(equity=0.0) == []
    assert bot.said(equity=-1e-9) == ["equity"]
    assert bot.said(equity=-1) == ["equity"]
    assert bot.said(equity=-1.0005) == []
    assert bot.said(equity=-1.0011) == ["equity"]


# -- toggles, counters, levels ----------------------------------------------------------------------------------------


def test_toggles():
    bot = Bot(1000)
    bot.health(up=True, down=False)
    assert bot.said(up=True, down=np.bool_(False)) == []
    assert bot.said(up=np.False_, down=True) == ["toggle:up", "toggle:down"]
    assert bot.said() == []  # what is not said has not changed
    assert bot.said(up=False) == []
    assert bot.said(late=False) == []
    assert bot.said(later=True) == ["toggle:later"]


def test_counters():
    bot = Bot(1000)
    bot.health(ws_reconnects=3, api_errors=0, fill_count=7, bytes_total=1.5, counters=1)
    assert bot.said(ws_reconnects=3, api_errors=0, fill_count=7, bytes_total=1.5, counters=2) == []
    assert bot.said(ws_reconnects=4) == ["counter:ws_reconnects"]
    assert bot.said(ws_reconnects=1) == []  # it began anew
    assert bot.said(ws_reconnects=2, bytes_total=Decimal("1.6")) == ["counter:ws_reconnects", "counter:bytes_total"]
    assert bot.said(ws_reconnects=float("nan")) == [] and bot.said(ws_reconnects=2) == []
    assert bot.said(ws_reconnects="3") == []  # text counts nothing
    assert bot.said(new_errors=0) == [] and bot.said(other_errors=1) == ["counter:other_errors"]


def test_a_level_is_said_on_crossing_only():
    bot = Bot(1000)
    bot.health(calibration_drift=0.01)
    said = [
        bot.said(calibration_drift=drift) for drift in (0.05, 0.051, 0.2, 0.06, None, float("nan"), 0.06, 0.04, 0.07)
    ]
    assert [bool(reasons) for reasons in said] == [False, True, False, False, False, False, False, False, True]
    assert said[1] == ["level:calibration_drift"]
    assert Bot().said(calibration_drift=1) == ["level:calibration_drift"]  # at the first call too


def test_rules_are_data():
    rules = (*DEFAULT[1:], Rule("level", fields=("lag_s",), limit=2.0), Rule("equity", fields=("nav",), limit=0.5))
    bot = Bot(1000, rules=rules)
    bot.health(nav=100, equity=1)
    assert (
        bot.said(nav=140, equity=50) == [] and bot.said(lag_s=3) == ["level:lag_s"] and bot.said(nav=220) == ["equity"]
    )
    bot = Bot(1000, rules=())
    bot.health(equity=1, up=True)
    assert bot.said(equity=2, up=False, x_total=1, calibration_drift=1) == []
    bot = Bot(1000, rules=[Rule("toggle", fields=("up",))])
    bot.health(up=True, ok=True)
    assert bot.said(up=False, ok=False) == ["toggle:up"]


equities = st.one_of(
    st.integers(9_900, 10_100), st.decimals("9950", "10050", places=2), st.sampled_from([None, float("nan")])
)
call = st.fixed_dictionaries(
    {},
    optional={
        "equity": equities,
        "up": st.booleans(),
        "stale": st.booleans(),
        "ws_reconnects": st.integers(0, 3),
        "api_errors": st.integers(0, 2),
        "calibration_drift": st.sampled_from([0.0, 0.049, 0.05, 0.051, 0.2]),
        "note": st.text(max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.lists(call, max_size=60))
def test_every_reason_has_its_record_and_every_record_its_reasons(every, calls):
    """Against the plainest model there is."""
    bot = Bot(every)
    flags, counts, drift, recorded, unknown, kept = {}, {}, 0.0, None, False, 0
    for at, fields in enumerate(calls):
        want = {"heartbeat"} if at % every == 0 else set()
        known = None
        if "equity" in fields:
            told = fields["equity"]
            if told is None or told != told:
                want |= set() if unknown else {"equity_unknown"}
                unknown = True
            else:
                known = Fraction(told)
                moved = recorded is None or unknown or abs(known - recorded) > Fraction(1, 1000) * abs(recorded)
                want |= {"equity"} if moved and at else set()
                unknown = False
        for name in ("up", "stale"):
            if name in fields:
                want |= {f"toggle:{name}"} if fields[name] != flags.get(name, False) and at else set()
                flags[name] = fields[name]
        for name in ("ws_reconnects", "api_errors"):
            if name in fields:
                want |= {f"counter:{name}"} if fields[name] > counts.get(name, 0) and at else set()
                counts[name] = fields[name]
        if "calibration_drift" in fields:
            want |= {"level:calibration_drift"} if fields["calibration_drift"] > 0.05 >= drift else set()
            drift = fields["calibration_drift"]
        before = len(bot.events)
        bot.health(**fields)
        assert [set(event.reasons) for event in bot.events[before:]] == ([want] if want else [])
        if want:
            assert bot.events[-1].suppressed == kept
            kept, recorded = 0, recorded if known is None else known
        else:
            kept += 1
    assert not bot.faults.errors


# -- never raises, never costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", range(len(ALL)))
def test_hostile_values_neither_raise_nor_hide_the_others(nasty):
    bot = Bot(1000)
    bot.health(up=True, ws_reconnects=0)
    value = ALL[nasty]()
    bot.health(
        a=value, equity=value, x_total=value, calibration_drift=value, b_count=value, up=False, ws_reconnects=1
    )  # fmt: skip
    assert {"toggle:up", "counter:ws_reconnects"} <= set(bot.reasons())


def test_rooms_that_fail_do_not_stop_a_record():
    faults, events = Faults(), []

    def broken():
        raise RuntimeError("no")

    emitter = HealthEmitter(1, events.append, broken, Clock(), faults=faults)
    emitter.health(up=True)
    emitter.health(up=True)
    assert len(events) == 2 and faults.errors == {"health": 2}
    HealthEmitter(1, lambda event: broken(), lambda: None, Clock(), faults=faults).health()
    assert faults.errors == {"health": 3}


def test_a_decimal_context_of_the_bots_own_changes_nothing():
    bot = Bot(1000)
    with localcontext(Context(prec=2, traps=[FloatOperation])):
        bot.health(equity=Decimal("10000.00"), x_total=Decimal("1.1"))
        assert bot.said(equity=10_010.0, x_total=1.0) == []
        assert bot.said(equity=10_010.1, x_total=Decimal("1.05")) == ["equity", "counter:x_total"]
    assert not bot.faults.errors


def test_more_names_than_any_bot_has_are_bounded():
    bot = Bot(10**6)
    for at in range(0, 3_000, 100):
        bot.health(**{f"flag_{n}": True for n in range(at, at + 100)})
    assert len(bot.emitter._watched) == 1_000 and not bot.faults.errors
    bot.health(**{f"n{n}": n for n in range(50_000)})


def test_threads_lose_no_count():
    bot = Bot(10)
    threads = [threading.Thread(target=lambda: [bot.health(up=True) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bot.emitter.calls == 2_000 and len(bot.events) == bot.emitter.records
    assert sum(event.suppressed for event in bot.events) + len(bot.events) + bot.emitter._suppressed == 2_000


@pytest.mark.skipif(sys.gettrace() is not None, reason="measured without a tracer")
def test_a_suppressed_call_costs_less_than_ten_microseconds():
    bot = Bot(10**9)
    fields = {
        "equity": 10_000.5, "ws_connected": True, "ws_reconnects": 2, "calibration_drift": 0.01, "api_errors": 0,
        "position": 0.5, "latency_ms": 12.5, "note": "calm", "open_orders": 2, "halted": False,
    }  # fmt: skip
    bot.health(**fields)
    best = 1e9
    for _ in range(20):
        begun = time.perf_counter_ns()
        for _ in range(200):
            bot.health(**fields)
        best = min(best, (time.perf_counter_ns() - begun) / 200)
    assert len(bot.events) == 1
    assert best < 10_000
