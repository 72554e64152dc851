"""The testing helper, used as its users use it: in tests of their own, with real files and real faults."""

from __future__ import annotations

import contextvars
import datetime as dt
import errno
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from pathlib import Path

import pytest

import botobs
import botobs.testing
from botobs.errors import ConfigError
from botobs.events import Event, Recorded, RunEnded, RunStarted
from botobs.sinks.otlp.transport import Receipt, TryLater
from botobs.stages.engine import ENGINES
from botobs.streams.reader import StreamReader
from botobs.testing import Capture, CapturedSpan, Clock, Injector

# the plugin's own fixtures, whether or not it is installed as one
from botobs.testing.fixtures import botobs_capture, capbot  # noqa: F401
from botobs.testing.injector import FaultyDisk
from tests.servers.otlp import OtlpReceiver
from tests.slack import SLACK_S

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
S = 1_000_000_000


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "ns"),
    [
        (1, S),
        (0, 0),
        (0.001, 1_000_000),
        (2.5, 2_500_000_000),
        (10_000_000, 10_000_000 * S),
        ("250ms", 250_000_000),
        ("5m", 300 * S),
        ("1h30m", 5400 * S),
        (dt.timedelta(microseconds=1), 1000),
        (dt.timedelta(days=300, microseconds=7), 300 * 86_400 * S + 7000),
    ],
)
def test_a_clock_advances_exactly(by, ns):
    clock = Clock()
    wall, perf = clock.time_ns(), clock.perf_ns()
    clock.advance(by)
    assert (clock.time_ns() - wall, clock.perf_ns() - perf) == (ns, ns)


@pytest.mark.parametrize("by", [-1, "-1s", "soon", float("nan"), float("inf"), None, True, dt.timedelta(seconds=-1)])
def test_a_clock_refuses_nonsense_and_stands(by):
    clock = Clock()
    before = (clock.time_ns(), clock.perf_ns())
    with pytest.raises((ValueError, TypeError)):
        clock.advance(by)
    assert (clock.time_ns(), clock.perf_ns()) == before


def test_a_clock_set_back_takes_only_the_time_of_day_back():
    clock = Clock("2026-01-02T00:00:00Z")
    perf = clock.perf_ns()
    clock.set(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert clock.now == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert clock.perf_ns() == perf
    clock.set("2026-01-01T00:00:01Z")
    assert clock.perf_ns() == perf + S


def test_a_clock_is_told_times_in_every_zone():
    zone = dt.timezone(dt.timedelta(hours=2))
    assert Clock(dt.datetime(2026, 1, 1, 2, tzinfo=zone)).now == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert Clock(dt.datetime(2026, 1, 1)).now == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert Clock(1767323045.25).time_ns() == 1767323045_250_000_000


def test_a_clocks_repr_makes_it_again():
    clock = Clock()
    clock.advance("1d2h3s")
    assert eval(repr(clock)).time_ns() == clock.time_ns()


def test_threads_share_a_clock():
    clock = Clock()
    wall, perf = clock.time_ns(), clock.perf_ns()
    threads = [threading.Thread(target=lambda: [clock.advance(0.001) for _ in range(2000)]) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert (clock.time_ns() - wall, clock.perf_ns() - perf) == (8 * S, 8 * S)


@pytest.mark.parametrize("mode", ["live", "backtest"])
def test_the_clock_runs_an_observer_that_the_user_starts(tmp_path, mode):
    clock = Clock("2026-03-01T12:00:00Z")
    with botobs.start("bot", data_dir=tmp_path, mode=mode, clock=clock) as obs, obs.tick("BTC") as tick:
        with obs.risk():
            clock.advance(0.25)
        tick.signal()
    (record,) = StreamReader(tmp_path).read("signals")
    assert record["ts"] == "2026-03-01T12:00:00.250000Z"
    assert record["latency"]["risk_check_ms"] == 250


def test_the_clock_needs_no_pytest_and_the_plugin_loads_nothing_heavy():
    code = """
import sys
sys.modules["pytest"] = sys.modules["_pytest"] = None
from botobs.testing import Capture, Clock
Clock().advance(1)
heavy = ("opentelemetry.sdk", "opentelemetry.proto", "prometheus_client", "google.protobuf", "hypothesis", "rich")
print([name for name in heavy if name in sys.modules], "botobs.observer" in sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert (out.stdout, out.stderr) == ("[] False\n", "")


# -- what is captured --------------------------------------------------------------------------------------------------


def one_turn(capture, bar_id=1):
    """A bot's turn that takes 4 ms."""
    with botobs.tick("BTC-USD", bar_id=bar_id) as tick:
        with botobs.feature():
            capture.clock.advance("3ms")
        with botobs.model("lgbm"), botobs.stage("trees"):
            capture.clock.advance("1ms")
        tick.signal(features={"rsi": 55.5}, source="bma")
    botobs.event("notes", bar=bar_id)


def test_records_spans_events_and_metrics_of_one_test(capbot):
    capbot.start()
    one_turn(capbot)

    signal = capbot.record("signals")
    assert signal["latency"]["total_latency_ms"] == 4
    assert capbot.records("notes") == [
        {"ts": "2026-01-02T03:04:05.004000Z", "schema": "v1", "bot": "test-bot", "run_id": "test-run-1", "bar": 1}
    ]
    assert capbot.streams == ["notes", "runs", "signals"]

    tick, feature, model, trees = capbot.spans
    assert [span.name for span in capbot.spans] == ["tick", "feature", "lgbm", "trees"]
    assert tick.parent is None
    assert tick.parent_id is None
    assert tick.children == [feature, model]
    assert trees.parent is model
    assert model.attributes == {"stage": "model", "outcome": "ok"}
    assert tick.trace_id == signal["trace_id"]
    assert tick.attributes["symbol"] == "BTC-USD"
    assert (tick.start_ns, tick.duration_ns) == (Clock().time_ns(), 4_000_000)
    assert capbot.tree(durations=True) == "tick 4 ms\n  feature 3 ms\n  lgbm 1 ms\n    trees 1 ms"

    assert [type(event) for event in capbot.events] == [RunStarted, Recorded]
    (note,) = capbot.events_of(Recorded)
    assert note.into == "notes"
    assert capbot.events_of(Event) == capbot.events

    assert capbot.metric("botobs_traces_kept_total", reason="all") == 1
    assert capbot.metric("botobs_traces_kept_total", reason="moon") is None
    assert capbot.metric("no_such_metric") is None
    assert capbot.histogram("bot_stage_duration_seconds", stage="feature") == (1, 0.003)
    assert capbot.histogram("bot_stage_duration_seconds", stage="feature", symbol="ETH") is None
    assert capbot.errors == capbot.dropped == {}


def test_everything_can_be_asked_after_the_end_too(capbot):
    obs = capbot.start()
    one_turn(capbot)
    assert obs.shutdown().delivered
    assert capbot.tree() == "tick\n  feature\n  lgbm\n    trees"
    assert capbot.record("runs", event="run_ended")
    assert capbot.events_of(RunEnded)
    assert capbot.histogram("bot_stage_duration_seconds", stage="tick") == (1, 0.004)
    assert capbot.metric("botobs_events_dropped_total", stream="spans") == 0


def test_errors_events_and_links_of_a_span(capbot):
    obs = capbot.start()
    with pytest.raises(ZeroDivisionError), obs.tick("BTC", attrs={"many": [1, 2], "much": 1.5, "sure": True}) as tick:
        tick.root.add_event("looked", {"depth": 3})
        with obs.decision() as decision:
            decision.set_attribute("side", "buy")
            1 / 0  # noqa: B018
    failed = capbot.span("decision", side="buy")
    assert (failed.status, failed.message) == ("error", "ZeroDivisionError: division by zero")
    assert failed.events[0].name == "exception"
    assert failed.events[0].attributes["exception.type"] == "ZeroDivisionError"
    root = capbot.span("tick")
    assert {key: root.attributes[key] for key in ("many", "much", "sure")} == {
        "many": [1, 2],
        "much": 1.5,
        "sure": True,
    }
    assert ("looked", {"depth": 3}) in [(event.name, event.attributes) for event in root.events]
    assert capbot.tree() == "tick (error)\n  decision (error)"


def test_one_trace_of_several(capbot):
    obs = capbot.start()
    for name in ("feature", "risk"):
        with obs.tick("BTC"), obs.stage(name):
            pass
    second = capbot.span("risk")
    assert capbot.tree() == "tick\n  feature\ntick\n  risk"
    assert capbot.tree(second) == capbot.tree(second.trace_id) == "tick\n  risk"
    assert capbot.tree("0" * 32) == ""


def test_a_trace_that_began_elsewhere_is_shown_from_where_it_came_in(capbot):
    from opentelemetry import trace

    above = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(above), capbot.obs.tick("BTC"), capbot.obs.feature():
        pass
    root = capbot.span("tick")
    assert (root.trace_id, root.parent_id, root.parent) == (f"{7:032x}", f"{8:016x}", None)
    assert capbot.tree() == "tick\n  feature"


def test_a_stage_that_outlives_its_tick_stands_where_it_began(capbot):
    obs = capbot.start()
    late = obs.stage("late")
    with obs.tick("BTC"):
        elsewhere = contextvars.copy_context()
        elsewhere.run(late.__enter__)
        capbot.clock.advance(1)
        with obs.stage("second"):
            pass
    elsewhere.run(late.__exit__, None, None, None)
    assert [span.name for span in capbot.spans] == ["tick", "second", "late"]
    assert capbot.tree() == "tick\n  late\n  second"


def test_several_observers_keep_apart(capbot):
    first = capbot.start("one")
    second = capbot.start("two", namespace="acme")
    assert capbot.obs is second
    for obs in (first, second, first):
        with obs.tick(obs.settings.bot):
            pass
        obs.event("notes", by=obs.settings.bot)
    assert [record["by"] for record in capbot.records("notes")] == ["one", "one", "two"]
    assert {record["run_id"] for record in capbot.records("notes")} == {"test-run-1", "test-run-2"}
    assert [span.attributes["symbol"] for span in capbot.spans] == ["one", "one", "two"]
    assert len({span.trace_id for span in capbot.spans}) == 3
    assert capbot.histogram("acme_stage_duration_seconds", stage="tick") == (1, 0.0)
    assert capbot.histogram("bot_stage_duration_seconds", stage="tick") is None


def test_a_second_run_on_the_same_directory(capbot, tmp_path):
    for _ in range(2):
        with capbot.start(data_dir=tmp_path / "data") as obs:
            obs.event("notes")
    assert [record["run_id"] for record in capbot.records("notes")] == ["test-run-1", "test-run-2"]


def test_records_are_found_across_rotations(capbot):
    obs = capbot.start(rotate_days=1)
    for day in range(3):
        obs.event("notes", day=day)
        assert obs.flush()
        capbot.clock.advance("2d")
    assert [record["day"] for record in capbot.records("notes")] == [0, 1, 2]


def test_a_backtest_has_records_and_metrics_and_no_spans(capbot):
    capbot.start(mode="backtest")
    for bar in range(100):
        one_turn(capbot, bar)
    assert [record["bar_id"] for record in capbot.records("signals")] == list(range(100))
    assert capbot.histogram("bot_stage_duration_seconds", stage="lgbm")[0] == 100
    assert capbot.spans == []


def test_a_backtest_without_a_disk(capbot):
    capbot.start(mode="backtest", data_dir=None)
    one_turn(capbot)
    assert capbot.records("signals") == []
    assert capbot.histogram("bot_stage_duration_seconds", stage="lgbm")[0] == 1


def test_settings_given_win(capbot):
    obs = capbot.start("mine", keep_traces="none", strict=False, clock=None)
    with obs.tick("BTC"):
        pass
    assert capbot.spans == []
    assert abs(time.time_ns() - capbot.events[0].ts_ns) < 60 * S
    assert not obs.settings.strict
    with pytest.raises(ConfigError, match="queue_size"):
        capbot.start(queue_sizes=5)


def test_neither_environment_nor_file_reaches_a_test(capbot, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("botobs.toml").write_text("this is no configuration")
    monkeypatch.setenv("BOTOBS_QUEUE_SIZE", "nonsense")
    with OtlpReceiver("http") as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "nonsense")
        obs = capbot.start()
        one_turn(capbot)
        assert obs.shutdown()
        assert collector.stats()["tries"] == 0
    assert len(capbot.spans) == 4


def test_an_endpoint_given_is_used(capbot):
    with OtlpReceiver("http") as collector:
        obs = capbot.start(otlp_endpoint=collector.endpoint)
        one_turn(capbot)
        assert obs.shutdown().delivered
        assert collector.stats()["spans"] == 4
    assert capbot.spans == []


def test_strict_raises_and_without_it_errors_are_counted(capbot):
    def broken(_event):
        raise ValueError("a subscriber's mistake")

    obs = capbot.start()
    obs.bus.subscribe(Recorded, broken, immediate=True)
    with pytest.raises(ValueError, match="mistake"):
        obs.event("notes")

    lenient = capbot.start(strict=False)
    lenient.bus.subscribe(Recorded, broken, immediate=True)
    lenient.event("notes")
    assert sum(capbot.errors.values()) >= 2
    assert len(capbot.records("notes")) == 2


# -- messages that help ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.records("signals"),
        lambda c: c.spans,
        lambda c: c.tree(),
        lambda c: c.events,
        lambda c: c.streams,
        lambda c: c.metric("x"),
        lambda c: c.errors,
        lambda c: c.dropped,
    ],
)
def test_a_test_that_started_nothing_is_told_so(capbot, ask):
    with pytest.raises(LookupError, match=r"no observer was started in this test.*capbot\.start"):
        ask(capbot)


def test_what_is_not_there_is_named_beside_what_is(capbot):
    capbot.start()
    one_turn(capbot, 1)
    one_turn(capbot, 2)
    with pytest.raises(AssertionError, match="no records in 'signal'; did you mean 'signals'"):
        capbot.record("signal")
    with pytest.raises(AssertionError, match="no records in 'fills'; streams with records: notes, runs, signals"):
        capbot.record("fills")
    with pytest.raises(AssertionError, match=r"no records in 'notes' with bar=3, of these:\n.*'bar': 1.*\n.*'bar': 2"):
        capbot.record("notes", bar=3)
    with pytest.raises(AssertionError, match="2 records in 'notes', of these"):
        capbot.record("notes")
    with pytest.raises(AssertionError, match="no spans 'featur'; did you mean 'feature'"):
        capbot.span("featur")
    with pytest.raises(AssertionError, match=r"no spans 'tick' with bar_id=9, of these:\n.*'bar_id': 1"):
        capbot.span("tick", bar_id=9)
    assert capbot.span("tick", bar_id=2).attributes["bar_id"] == 2


def test_metrics_are_never_guessed(capbot):
    obs = capbot.start()
    for symbol in ("BTC", "ETH"):
        with obs.tick(symbol):
            pass
    with pytest.raises(LookupError, match=r"2 series match .*stage='tick'.*by its labels:\n.*'BTC'.*\n.*'ETH'"):
        capbot.histogram("bot_stage_duration_seconds", stage="tick")
    with pytest.raises(LookupError, match=r"is a histogram: ask histogram"):
        capbot.metric("bot_stage_duration_seconds")
    with pytest.raises(LookupError, match=r"is no histogram: ask metric"):
        capbot.histogram("botobs_queue_depth")
    assert capbot.metric("botobs_queue_depth") == 0


def test_its_reprs_say_something(capbot):
    capbot.start()
    one_turn(capbot)
    assert repr(capbot) == "<botobs capture: 1 observer, 2 events>"
    assert repr(capbot.faults) == "<faults: none>"
    capbot.faults.disk_full(5)
    capbot.faults.collector_says(503)
    assert repr(capbot.faults) == "<faults: disk full, room for 5 bytes, collector says 503>"
    capbot.faults.all_ok()
    assert "CapturedSpan(name='feature'" in repr(capbot.spans)


# -- the same in each run ----------------------------------------------------------------------------------------------


def a_day(folder, keep_traces, look_after):
    """The bytes and the spans of a run; `look_after` is when somebody reads, which must make no difference."""
    with Capture(folder) as capture:
        obs = capture.start(keep_traces=keep_traces, data_dir=folder / "data")
        for bar in range(40):
            one_turn(capture, bar)
            with obs.tick("ETH", bar_id=bar) as tick:
                tick.root.get_span_context()  # somebody asks for the ids now
                with obs.execution():
                    capture.clock.advance(0.0001 * (bar % 7))
            if bar in look_after:
                capture.spans  # noqa: B018
        spans = capture.spans
        obs.shutdown()
        logs = folder / "data" / "logs"
        return {name: (logs / f"{name}.jsonl").read_bytes() for name in ("signals", "notes")}, spans


@pytest.mark.parametrize("keep_traces", ["all", "tail"])
def test_two_runs_are_the_same_byte_for_byte(tmp_path, keep_traces):
    first, spans = a_day(tmp_path / "a", keep_traces, look_after=())
    second, spans_again = a_day(tmp_path / "b", keep_traces, look_after=(3, 17))
    assert first == second
    assert len(first["signals"].splitlines()) == 40
    assert spans == spans_again
    assert len(spans) >= 80


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_disk_fills_as_disks_do(tmp_path):
    disk = FaultyDisk()
    fd = disk.open_append(tmp_path / "file")
    try:
        disk.room = 4
        assert disk.write(fd, b"0123456789") == 4
        with pytest.raises(OSError) as refused:
            disk.write(fd, b"456789")
        assert refused.value.errno == errno.ENOSPC
        disk.truncate(fd, 1)
        assert disk.write(fd, b"123") == 3
        disk.room = None
        assert disk.write(fd, b"456") == 3
    finally:
        disk.close(fd)
    assert (tmp_path / "file").read_bytes() == b"0123456"


@pytest.mark.parametrize("room", [0, 1, 60, 150])
def test_a_full_disk_keeps_records_in_memory_and_whole_lines_on_disk(capbot, room):
    obs = capbot.start()
    obs.event("notes", n=0)
    assert obs.flush()
    capbot.faults.disk_full(after_bytes=room)
    for n in range(1, 6):
        obs.event("notes", n=n)
    report = obs.flush()
    assert not report.delivered
    assert report.records.pending == 5
    assert [record["n"] for record in capbot.records("notes")] == [0]
    assert (obs.data_dir / "logs" / "notes.jsonl").read_bytes().endswith(b"}\n")
    assert capbot.errors["streams.write"] >= 1

    capbot.faults.disk_ok()
    assert [record["n"] for record in capbot.records("notes")] == list(range(6))
    assert obs.flush().delivered
    assert capbot.dropped == {}


@pytest.mark.parametrize("fault", ["disk_full", "disk_read_only"])
def test_what_has_no_room_in_memory_is_counted_and_the_bot_goes_on(capbot, fault):
    obs = capbot.start(queue_size=20)
    with getattr(capbot.faults, fault)():
        for n in range(100):
            obs.event("notes", n=n)
        dropped = capbot.dropped["notes"]
        assert capbot.metric("botobs_events_dropped_total", stream="notes") == dropped
        assert 0 < dropped < 100
    kept = [record["n"] for record in capbot.records("notes")]
    assert kept == list(range(100 - dropped))


def test_a_read_only_disk_refuses_files_that_are_open_and_files_that_are_not(capbot):
    obs = capbot.start()
    obs.event("open", n=1)
    assert obs.flush()
    with capbot.faults.disk_read_only():
        obs.event("open", n=2)
        obs.event("closed", n=1)
        assert obs.flush().records.pending == 2
        assert len(capbot.records("open")) == 1
        assert not (obs.data_dir / "logs" / "closed.jsonl").exists()
        assert "EROFS" in obs.faults.last_error or os.strerror(errno.EROFS) in obs.faults.last_error
    assert len(capbot.records("open")) == 2
    assert len(capbot.records("closed")) == 1


def test_strict_comes_back_with_the_disk(capbot):
    strict, lenient = capbot.start(), capbot.start(strict=False)
    with capbot.faults.disk_full():
        assert not strict.faults.strict
        assert not capbot.start().faults.strict
    assert strict.faults.strict
    assert not lenient.faults.strict
    assert capbot.obs.faults.strict


def test_blocks_bring_back_what_was_before_also_when_they_raise():
    faults = Injector()
    faults.collector_says(503)
    with pytest.raises(KeyError), faults.collector_hangs(), faults.disk_full(10), faults.disk_read_only():
        assert faults.in_force == ["disk read-only", "collector hangs"]
        raise KeyError
    assert faults.in_force == ["collector says 503"]
    faults.all_ok()
    assert faults.in_force == []
    with pytest.raises(ValueError, match="room"):
        faults.disk_full(-1)
    with pytest.raises(ValueError, match="status"):
        faults.collector_says(42)


@pytest.mark.parametrize(
    "fault",
    [
        lambda f: f.collector_down(),
        lambda f: f.collector_hangs(),
        lambda f: f.collector_says(503),
        lambda f: f.collector_says(429, retry_after=30),
    ],
    ids=["down", "hangs", "503", "429"],
)
def test_spans_wait_for_a_collector_that_comes_back(capbot, fault):
    obs = capbot.start()
    one_turn(capbot, 1)
    assert len(capbot.spans) == 4
    with fault(capbot.faults):
        one_turn(capbot, 2)
        begun = time.monotonic()
        report = obs.flush(timeout=0.05)
        assert time.monotonic() - begun < 0.05 + SLACK_S
        assert not report.delivered
        assert (report.spans.delivered, report.spans.pending, report.spans.dropped) == (4, 4, 0)
        assert len(capbot.spans) == 4  # does not wait for who is not there
        assert len(capbot.records("signals")) == 2  # and the disk works
    assert [span.attributes.get("bar_id") for span in capbot.spans if span.name == "tick"] == [1, 2]
    assert obs.flush().delivered
    assert capbot.dropped == {}


@pytest.mark.parametrize("mended", [True, False], ids=["answered", "closed"])
def test_a_request_hangs_until_it_is_answered_or_its_line_is_cut(mended):
    faults = Injector()
    faults.collector_hangs()
    line = faults.collector.line()
    came = []

    def send():
        try:
            came.append(line.send(b"payload", 60.0))
        except TryLater as error:
            came.append(str(error))

    sending = threading.Thread(target=send)
    sending.start()
    sending.join(0.05)
    assert sending.is_alive()
    faults.collector_ok() if mended else line.close()
    sending.join(10)
    assert came == ([Receipt()] if mended else ["the connection is closed"])
    assert line.payloads == ([b"payload"] if mended else [])
    with pytest.raises(TryLater, match="hangs"), faults.collector_hangs():
        faults.collector.line().send(b"", 0.001)


def test_a_collector_that_refuses_loses_spans_and_that_is_counted(capbot):
    obs = capbot.start()
    with capbot.faults.collector_says(400):
        one_turn(capbot)
        assert obs.flush().spans.dropped == 4
    assert capbot.spans == []
    assert capbot.dropped == {"spans": 4}
    assert capbot.metric("botobs_events_dropped_total", stream="spans") == 4
    one_turn(capbot, 2)
    assert len(capbot.spans) == 4


@pytest.mark.parametrize("fault", ["collector_down", "collector_hangs"])
def test_the_end_keeps_its_deadline_and_counts_what_stays_behind(capbot, fault):
    obs = capbot.start()
    getattr(capbot.faults, fault)()
    one_turn(capbot)
    begun = time.monotonic()
    report = obs.shutdown(timeout=0.1)
    assert time.monotonic() - begun < 0.1 + SLACK_S
    assert not report.delivered
    assert capbot.dropped == {"spans": 4}
    assert len(capbot.records("signals")) == 1


# -- the end of a test -------------------------------------------------------------------------------------------------


def test_closing_ends_what_the_bot_started_itself_and_leaves_others_alone(tmp_path):
    before = botobs.start("before", data_dir=tmp_path / "before")
    try:
        with Capture(tmp_path) as capture:
            capture.start()
            own = botobs.start("the bot's own", data_dir=tmp_path / "own")
            botobs.tick("BTC").__enter__()
            assert len(ENGINES) == 3
        assert len(ENGINES) == 1
        assert repr(own).endswith("ended>")
        assert botobs.current_tick().id == ""
        assert botobs.flush() is not None
    finally:
        before.shutdown()
    assert ENGINES == []


def test_the_end_of_a_test_does_not_wait_for_broken_things(tmp_path):
    others = set(threading.enumerate())  # of tests before
    capture = Capture(tmp_path)
    obs = capture.start()
    one_turn(capture)
    capture.faults.collector_hangs()
    capture.faults.disk_full()
    one_turn(capture)
    begun = time.monotonic()
    capture.close()
    assert time.monotonic() - begun < 2 * SLACK_S
    assert obs.shutdown().delivered
    assert len(list(StreamReader(obs.data_dir).read("signals"))) == 2
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name in ("botobs-otlp", "botobs-drain")]


# -- in a project of the user's ----------------------------------------------------------------------------------------


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs the user's tests in this process, with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # that this process has loaded the plugin before is no fault of the user's
    pytester.makeini("[pytest]\nfilterwarnings = error\n    ignore::pytest.PytestAssertRewriteWarning")
    return lambda: pytester.runpytest_inprocess("-p", "no:cacheprovider", plugins=[botobs.testing])


def test_a_failed_test_shows_what_was_captured_and_leaves_nothing(pytester, run):
    pytester.makepyfile("""
        import botobs
        from botobs.stages.engine import ENGINES

        def test_that_fails(capbot):
            capbot.start()
            botobs.start("own", data_dir=capbot.obs.data_dir.parent / "own")
            with botobs.tick("BTC", bar_id=7):
                with botobs.feature():
                    pass
            capbot.faults.collector_hangs()
            botobs.tick("left open").__enter__()
            assert capbot.record("signals")

        def test_that_follows(capbot):
            assert not ENGINES
            assert botobs.current_tick().id == ""
            with capbot.obs.tick("ETH"):
                pass
            assert capbot.tree() == "tick"
            assert not capbot.faults.in_force

        def test_without_it():
            assert not ENGINES

        def test_before_anything_was_started(capbot):
            raise KeyError("the reason")
    """)
    result = run()
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: no records in 'signals'; streams with records: runs",
            "*Captured botobs*",
            "<botobs.Observer 'test-bot' test-run-1 running>",
            "records: runs 1",
            "faults: collector hangs",
            "*KeyError: 'the reason'",
            "*Captured botobs*",
            "no observer was started",
        ]
    )
    assert ENGINES == []


def test_both_names_are_one_fixture(capbot, botobs_capture):
    assert capbot is botobs_capture


def test_pytest_finds_the_plugin_by_its_entry_point(tmp_path):
    """As in the user's own project: another directory, another process, nothing on the command line."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    info = tmp_path / "site" / "botobs-0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: botobs\nVersion: 0.0\n")
    (info / "entry_points.txt").write_text(
        "[pytest11]\n" + "".join(f"{name} = {value}\n" for name, value in entry.items())
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_bot.py").write_text(
        "def test_bot(capbot):\n"
        "    with capbot.obs.tick('BTC') as tick:\n"
        "        tick.signal(strength=0.5)\n"
        "    assert capbot.record('signals')['strength'] == 0.5\n"
        "    assert capbot.tree() == 'tick'\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"}
    out = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "kept"), "-p", "no:logfire",
         "-p", "no:hypothesispytest", "-p", "no:xdist", str(project)],
        cwd=project, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert out.returncode == 0, out.stdout + out.stderr
    assert "1 passed" in out.stdout


def examples():
    """Every Python block of the page and of the docstrings."""
    docs = [(ROOT / "docs" / "testing.md").read_text(), Injector.__doc__, Capture.tree.__doc__]
    return [
        textwrap.dedent(block)
        for text in docs
        for block in re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    ]


def test_every_example_runs(pytester, run, monkeypatch):
    blocks = examples()
    assert len(blocks) == 9
    tests = 0
    for number, block in enumerate(blocks):
        tests += block.count("def test_")
        if "def test_" in block:
            pytester.makepyfile(**{f"test_example_{number}": block})
        else:
            monkeypatch.chdir(pytester.path)
            exec(compile(block, f"example {number}", "exec"), {"__name__": "example"})
    run().assert_outcomes(passed=tests)


def test_annotations_have_their_types():
    assert set(botobs.testing.__all__) == {"Capture", "CapturedSpan", "Clock", "Injector"}
    assert botobs.testing.CapturedSpan is CapturedSpan
    with pytest.raises(AttributeError, match="Captur"):
        botobs.testing.Captur  # noqa: B018
