import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import attrs
import orjson
import pytest

from botobs import events
from botobs.events import (
    Event,
    Importance,
    Recorded,
    RunEnded,
    RunStarted,
    TailRepaired,
    UncleanEnd,
    stream_of,
    to_record,
)


def test_an_event_is_frozen_and_slotted():
    event = RunStarted(ts_ns=1, pid=2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.pid = 3
    for cls in (Event, Recorded, RunStarted, RunEnded, UncleanEnd, TailRepaired):
        assert "__slots__" in vars(cls)
        assert "__dict__" not in dir(cls)


def test_records_carry_what_is_known_and_nothing_else():
    assert to_record(RunStarted(ts_ns=1, pid=2)) == {"event": "run_started", "pid": 2, "mode": "live"}
    assert to_record(RunEnded(ts_ns=1, pid=2, ran_s=0.0, dropped={"x": 1})) == {
        "event": "run_ended",
        "pid": 2,
        "how": "shutdown",
        "ran_s": 0.0,
        "dropped": {"x": 1},
    }


def test_names_that_would_hide_the_envelope_get_another_key():
    assert to_record(UncleanEnd(ts_ns=1, run_id="r1", pid=7, last_seen="2026-01-02T03:04:05.000000Z")) == {
        "event": "unclean_end",
        "earlier_run_id": "r1",
        "pid": 7,
        "last_seen": "2026-01-02T03:04:05.000000Z",
    }
    assert to_record(TailRepaired(ts_ns=1, tail_of="signals", bytes_set_aside=9)) == {
        "event": "tail_repaired",
        "stream": "signals",
        "bytes_set_aside": 9,
    }


def test_what_the_bot_recorded_stays_as_it_is_and_wins():
    event = Recorded(ts_ns=1, symbol="BTC", bar_id=4, trace_id="ab", into="notes", fields={"symbol": "ETH", "a": None})
    assert to_record(event) == {"symbol": "ETH", "bar_id": 4, "trace_id": "ab", "a": None}
    assert stream_of(event) == "notes"


def test_run_events_go_to_the_runs_stream_and_an_unclean_end_is_critical():
    made = [
        RunStarted(ts_ns=1, pid=2),
        RunEnded(ts_ns=1, pid=2),
        UncleanEnd(ts_ns=1, run_id="r"),
        TailRepaired(ts_ns=1, tail_of="s", bytes_set_aside=1),
    ]
    assert {stream_of(event) for event in made} == {"runs"}
    assert UncleanEnd.importance is Importance.CRITICAL
    assert stream_of(Event(ts_ns=1)) is None
    for event in made:
        assert orjson.loads(orjson.dumps(to_record(event))) == to_record(event)


def test_a_subclass_of_the_bots_own_needs_no_registration():
    @attrs.frozen(kw_only=True)
    class Rebalanced(Event):
        stream: ClassVar[str | None] = "rebalances"
        importance: ClassVar[Importance] = Importance.LOW
        turnover: float

    class Plain(Recorded):  # not even attrs
        pass

    assert to_record(Rebalanced(ts_ns=1, turnover=0.5)) == {"turnover": 0.5}
    assert stream_of(Rebalanced(ts_ns=1, turnover=0.5)) == "rebalances"
    assert to_record(Plain(ts_ns=1, into="x", fields={"a": 1})) == {"a": 1}


def test_all_is_sorted_and_complete():
    assert list(events.__all__) == sorted(events.__all__)
    public = {
        name for name, value in vars(events).items() if getattr(value, "__module__", "").startswith(events.__name__)
    }
    assert {name for name in public if not name.startswith("_")} == set(events.__all__)


def test_the_bus_imports_nothing_heavy():
    # in a bare package, so that only its own imports count
    code = (
        "import sys, types, attrs\n"
        "package = types.ModuleType('botobs'); package.__path__ = ['botobs']; sys.modules['botobs'] = package\n"
        "import botobs.bus\n"
        "heavy = {'asyncio', 'opentelemetry', 'requests', 'grpc', 'rich', 'slack_sdk', 'logging.handlers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(events.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=root)
    assert ran.stdout == "[]\n", ran.stderr
