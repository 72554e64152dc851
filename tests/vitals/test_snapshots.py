"""Snapshots: exactly one per boundary, whatever happens in between."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import textwrap
from decimal import Decimal
from zoneinfo import ZoneInfo

import freezegun
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.calendar import Calendar
from botobs.clock import SystemClock, epoch_ns, rfc3339
from botobs.events import to_record
from botobs.faults import Faults
from botobs.streams.names import PATHS
from botobs.testing import Clock
from botobs.vitals.snapshots import FIELDS, Snapshots
from botobs.vitals.spans import Spans

HOUR = 3_600
WHOLE = dict.fromkeys(FIELDS, 1)


class World:
    """A bot's snapshots on a data directory; its streams are written as the real ones are."""

    def __init__(self, folder, start="2026-01-02T10:30:00Z", tz="UTC", facts=None):
        self.folder, self.tz, self.clock, self.faults = folder, tz, Clock(start), Faults()
        self.events, self.asked = [], []
        self.facts = facts or (lambda *_: WHOLE)
        if folder is not None:
            (folder / "state").mkdir(parents=True, exist_ok=True)
        self.begin()

    def begin(self):
        """A (new) process."""
        self.snapshots = Snapshots(
            Calendar(self.tz), self._facts, self.publish, clock=self.clock, faults=self.faults, data_dir=self.folder
        )

    def _facts(self, unit, since, until):
        self.asked.append((unit, rfc3339(since), rfc3339(until)))
        return self.facts(unit, since, until)

    def publish(self, event):
        self.events.append(event)
        if self.folder is not None:
            path = self.folder / "logs" / PATHS[event.stream]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(orjson.dumps({"ts": rfc3339(event.ts_ns), **to_record(event)}, default=str) + b"\n")

    def go(self, until, step=600):
        """Time passes, with a look every `step` seconds."""
        end = epoch_ns(until)
        while self.clock.time_ns() < end:
            self.clock.advance(min(step, (end - self.clock.time_ns()) / 1e9))
            self.snapshots.tick()

    def tick(self):
        self.snapshots.tick()
        return self

    def down(self, until):
        """The process is killed; a new one starts at `until`."""
        self.clock.set(until)
        self.begin()
        self.tick()

    def of(self, stream="health_snapshot_1h"):
        return [(rfc3339(e.ts_ns)[5:16], e.record["gap"]) for e in self.events if e.stream == stream]


def test_one_record_at_each_boundary(tmp_path):
    world = World(tmp_path, "2026-01-02T21:30:00Z").tick()
    world.go("2026-01-03T01:10:00Z", step=7)
    assert world.of() == [(f"01-0{d}T{h}:00", False) for d, h in ((2, 22), (2, 23), (3, "00"), (3, "01"))]
    assert world.of("health_snapshot_24h") == [("01-03T00:00", False)]
    assert world.asked[2:4] == [
        ("hour", "2026-01-02T23:00:00.000000Z", "2026-01-03T00:00:00.000000Z"),
        ("day", "2026-01-02T00:00:00.000000Z", "2026-01-03T00:00:00.000000Z"),
    ]
    assert list(world.events[0].record) == ["from", *FIELDS, "gap"]
    assert world.events[0].record["from"] == "2026-01-02T21:00:00.000000Z"
    assert all(event.at_once for event in world.events)


def test_on_the_boundary_itself(tmp_path):
    world = World(tmp_path, "2026-01-02T10:59:59.999999Z").tick()
    assert world.of() == []
    world.go("2026-01-02T11:00:00Z")
    assert world.of() == [("01-02T11:00", False)]


def test_a_restart_within_the_hour_is_no_gap_and_no_second_record(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T11:10:00Z")
    world.down("2026-01-02T11:20:00Z")
    world.go("2026-01-02T12:10:00Z")
    assert world.of() == [("01-02T11:00", False), ("01-02T12:00", False)]


def test_what_passed_while_it_was_down_is_not_made_up_and_the_next_one_says_so(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T11:10:00Z")
    world.down("2026-01-02T14:20:00Z")
    world.go("2026-01-02T16:10:00Z")
    assert world.of() == [("01-02T11:00", False), ("01-02T15:00", True), ("01-02T16:00", False)]
    assert world.of("health_snapshot_24h") == []


def test_down_before_the_first_boundary_ever(tmp_path):
    world = World(tmp_path).tick()
    world.down("2026-01-02T12:10:00Z")
    world.go("2026-01-03T00:10:00Z")
    assert world.of()[0] == ("01-02T13:00", True)
    assert world.of("health_snapshot_24h") == [("01-03T00:00", False)]  # it had not passed a day's end


def test_a_slow_turn_leaves_no_boundary_out(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T14:10:00Z", step=4 * HOUR)
    assert world.of() == [(f"01-02T{hour}:00", False) for hour in (11, 12, 13, 14)]
    assert [event.record["late_s"] for event in world.events] == [11_400.0, 7_800.0, 4_200.0, 600.0]


def test_a_machine_that_slept_was_down(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T11:10:00Z")
    steady = world.clock.perf_ns()
    world.clock.set("2026-01-02T15:10:00Z")
    world.clock._perf_ns = steady + 10**9  # the steady clock stood still meanwhile
    world.tick()
    world.go("2026-01-02T17:10:00Z")
    assert world.of() == [("01-02T11:00", False), ("01-02T16:00", True), ("01-02T17:00", False)]


def test_a_clock_set_back_repeats_nothing(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T15:10:00Z")
    world.clock.set("2026-01-02T11:50:00Z")
    world.tick()
    world.down("2026-01-02T12:10:00Z")
    world.go("2026-01-02T17:10:00Z")
    assert world.of() == [(f"01-02T{hour}:00", False) for hour in range(11, 18)]


def test_set_back_by_days_it_repeats_nothing(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-05T12:30:00Z", step=HOUR)
    count = len(world.events)
    world.clock.set("2026-01-02T13:30:00Z")
    world.down("2026-01-02T14:30:00Z")
    world.go("2026-01-05T12:30:00Z", step=HOUR)
    assert len(world.events) == count


def test_a_clock_that_was_ahead_for_years_does_not_end_it(tmp_path):
    world = World(tmp_path, "2090-01-01T10:30:00Z").tick()
    world.go("2090-01-01T12:10:00Z")
    world.clock.set("2026-01-02T10:30:00Z")
    world.tick()
    world.down("2026-01-02T10:40:00Z")
    world.go("2026-01-02T12:10:00Z")
    assert world.of()[2:] == [("01-02T11:00", True), ("01-02T12:00", False)]


@pytest.mark.parametrize(
    ("day", "hours"), [(dt.date(2026, 3, 29), 23), (dt.date(2026, 10, 25), 25), (dt.date(2026, 6, 1), 24)]
)
def test_days_on_which_the_clocks_change(tmp_path, day, hours):
    berlin = ZoneInfo("Europe/Berlin")
    start, end = (dt.datetime.combine(day + dt.timedelta(days=n), dt.time(), berlin) for n in (0, 1))
    world = World(tmp_path, start - dt.timedelta(minutes=5), "Europe/Berlin").tick()
    world.go(end + dt.timedelta(minutes=5), step=240)
    moments = [event.ts_ns for event in world.events if event.stream == "health_snapshot_1h"]
    assert moments == [epoch_ns(start) + n * HOUR * 10**9 for n in range(hours + 1)]
    days = [event.ts_ns for event in world.events if event.stream == "health_snapshot_24h"]
    assert days == [epoch_ns(start), epoch_ns(end)]
    assert not any(event.record["gap"] for event in world.events)


def test_a_backtest_by_its_clock():
    world = World(None, "2026-01-01T00:00:00Z").tick()
    world.go("2026-03-01T00:00:00Z", step=86_400)
    assert len(world.of()) == 59 * 24 and len(world.of("health_snapshot_24h")) == 59


def test_a_frozen_clock_that_is_moved():
    with freezegun.freeze_time("2026-01-02T10:30:00Z") as frozen:
        events = []
        snapshots = Snapshots(
            Calendar(), lambda *_: WHOLE, events.append, clock=SystemClock(), faults=Faults()
        )  # fmt: skip
        snapshots.tick()
        for moment in ("2026-01-02T11:00:00Z", "2026-01-02T13:00:01Z"):
            frozen.move_to(moment)
            snapshots.tick()
        assert [rfc3339(event.ts_ns)[11:16] for event in events] == ["11:00", "12:00", "13:00"]


def test_a_leap_of_a_century_is_bounded():
    world = World(None, "2026-01-01T00:30:00Z").tick()
    world.clock.set("2126-01-01T00:30:00Z")
    world.tick()
    assert len(world.of()) == 1_001 and world.of()[-1] == ("01-01T00:00", True)


# -- what is in it ----------------------------------------------------------------------------------------------------


def test_what_is_null_has_a_reason_beside_it(tmp_path):
    told = {
        "equity_value": Decimal("10000.50"), "drawdown_current": 0.0, "daily_pnl": None, "rolling_sharpe": float("nan"),
        "win_rate": Decimal("sNaN"), "reasons": {"daily_pnl": "no equity at the day's start"}, "fills": 3,
    }  # fmt: skip
    world = World(tmp_path, facts=lambda *_: told).tick()
    world.go("2026-01-02T11:00:00Z")
    record = world.events[0].record
    assert record["equity_value"] == Decimal("10000.50") and record["drawdown_current"] == 0.0 and record["fills"] == 3
    nulls = {name for name in FIELDS if record[name] is None}
    assert nulls == set(FIELDS) - {"equity_value", "drawdown_current"} == set(record["reasons"])
    assert record["reasons"]["daily_pnl"] == "no equity at the day's start"
    assert record["reasons"]["rolling_sharpe"] == record["reasons"]["win_rate"] == "it is no finite number"


@pytest.mark.parametrize("facts", [lambda *_: 1 / 0, lambda *_: None, lambda *_: {"reasons": 7}, lambda *_: [1, 2]])
def test_facts_that_fail_leave_a_record_of_nulls(tmp_path, facts):
    world = World(tmp_path, facts=facts).tick()
    world.go("2026-01-02T12:00:00Z")
    assert world.of() == [("01-02T11:00", False), ("01-02T12:00", False)]
    assert set(world.events[0].record["reasons"]) == set(FIELDS)
    assert world.faults.errors["snapshots"] == 2


def test_a_publisher_that_fails_and_a_clock_that_ticks_within(tmp_path):
    world = World(tmp_path, facts=lambda *_: world.snapshots.tick() or WHOLE).tick()
    world.go("2026-01-02T11:00:00Z")
    assert len(world.events) == 1
    world.snapshots._publish = lambda event: 1 / 0
    world.go("2026-01-02T12:00:00Z")
    assert world.faults.errors == {"snapshots": 1}


# -- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"hour": {"done": [[1]], "begun": "x"}}', b'{"hour":{"done":[[9,1]]}}', b"\xff"],
)
def test_a_damaged_state_writes_nothing_twice(tmp_path, damage):
    world = World(tmp_path).tick()
    world.go("2026-01-02T12:10:00Z")
    (tmp_path / "state" / "snapshots.json").write_bytes(damage)
    world.down("2026-01-02T12:20:00Z")
    world.clock.set("2026-01-02T11:50:00Z")
    world.tick()
    world.go("2026-01-02T13:10:00Z")
    assert world.of() == [(f"01-02T{hour}:00", False) for hour in (11, 12, 13)]


def test_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    world = World(tmp_path).tick()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("botobs.vitals.snapshots.atomic_write", full)
        world.go("2026-01-02T12:10:00Z")
    assert world.of() == [("01-02T11:00", False), ("01-02T12:00", False)]
    world.down("2026-01-02T12:20:00Z")  # the stream's own lines tell what is done
    world.go("2026-01-02T13:10:00Z")
    assert world.of()[2:] == [("01-02T13:00", False)]


def test_a_torn_last_line_is_none(tmp_path):
    world = World(tmp_path).tick()
    world.go("2026-01-02T11:10:00Z")
    path = tmp_path / "logs" / PATHS["health_snapshot_1h"]
    state = tmp_path / "state" / "snapshots.json"
    said = orjson.loads(state.read_bytes())
    said["hour"] = {"done": [[epoch_ns("2026-01-02T10:00:00Z")] * 2], "begun": epoch_ns("2026-01-02T11:00:00Z")}
    state.write_bytes(orjson.dumps(said))
    path.write_bytes(path.read_bytes()[:-1])  # killed in the middle of the write
    world.down("2026-01-02T11:10:05Z")
    assert world.of() == [("01-02T11:00", False)] * 2


@pytest.mark.parametrize("step", ["begun", "published", "noted"])
def test_killed_at_each_step_of_a_boundary_it_is_written_once(tmp_path, step):
    """kill -9 right after each write that a boundary makes, then a restart."""
    script = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = {sys.path!r}
        from tests.vitals.test_snapshots import World
        import botobs.vitals.snapshots as room
        world = World(Path({str(tmp_path)!r})).tick()
        die = lambda: os.kill(os.getpid(), signal.SIGKILL)
        write, publish, saves = room.atomic_write, world.snapshots._publish, [0]
        def saved(*args):
            write(*args)
            saves[0] += 1
            if {step!r} == "begun" and saves[0] == 1 or {step!r} == "noted" and saves[0] == 2:
                die()
        def published(event):
            publish(event)
            if {step!r} == "published":
                die()
        room.atomic_write, world.snapshots._publish = saved, published
        world.go("2026-01-02T11:00:00Z")
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    world = World(tmp_path, "2026-01-02T11:00:01Z").tick()
    world.go("2026-01-02T12:00:01Z")
    path = tmp_path / "logs" / PATHS["health_snapshot_1h"]
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["ts"], line["gap"]) for line in lines] == [
        ("2026-01-02T11:00:00.000000Z", False), ("2026-01-02T12:00:00.000000Z", False),
    ]  # fmt: skip


steps = st.one_of(
    st.tuples(st.just("go"), st.integers(1, 5 * HOUR)),
    st.tuples(st.just("down"), st.integers(0, 5 * HOUR)),
    st.tuples(st.just("back"), st.integers(1, 3 * HOUR)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=15), st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_exactly_one_for_every_boundary_that_it_lived_through(tmp_path_factory, course, tz):
    folder = tmp_path_factory.mktemp("snapshots")
    world = World(folder, "2026-10-24T20:13:00Z", tz).tick()
    calendar, lived = Calendar(tz), {"hour": set(), "day": set()}
    for step, seconds in course:
        now = world.clock.time_ns()
        if step == "go":
            for unit, moments in lived.items():
                at = calendar.next_boundary(now, unit)
                while at <= now + seconds * 10**9:
                    moments.add(at)
                    at = calendar.next_boundary(at, unit)
            world.clock.advance(seconds)
            world.tick()
        elif step == "down":
            world.down((now + seconds * 10**9) / 1e9)
        else:
            world.clock.set((now - seconds * 10**9) / 1e9)
            world.tick()
    for unit, stream in (("hour", "health_snapshot_1h"), ("day", "health_snapshot_24h")):
        written = [event.ts_ns for event in world.events if event.stream == stream]
        assert len(written) == len(set(written))
        first = calendar.bucket(epoch_ns("2026-10-24T20:13:00Z"), unit)[0]
        assert set(written) == lived[unit] - {first}
    assert not world.faults.errors


def test_spans_are_bounded_and_merge():
    spans = Spans()
    for at in range(200):
        spans.add(at * 10, at * 10 + 1)
    assert len(spans.state()) == 64 and 1990 in spans and 10 not in spans
    spans.add(0, 10_000)
    assert spans.state() == [[0, 10_000]]
    again = Spans()
    again.restore([[1, 2], "x", [3], [True, 5], [9, 8], [4, 6.0], [7, 7], None])
    assert again.state() == [[1, 2], [7, 7]]
