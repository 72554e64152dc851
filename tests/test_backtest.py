"""Backtests: the user's clock, full speed, the same every time, nothing dropped, nothing sent."""

from __future__ import annotations

import datetime as dt
import socket
import threading

import pytest

import botobs
from tests.soak.backtest import Clock, replay, same_files
from tests.soak.processes import records, run_json


def test_two_runs_leave_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        replay(tmp_path / name, 3_000, seed=1, queue_size=7, rotate_bytes=200_000)
    compared = same_files(tmp_path / "one" / "logs", tmp_path / "two" / "logs")
    assert any(name.endswith(".gz") for name in compared)
    assert {"signals.jsonl", "notes.jsonl", "runs.jsonl"} <= set(compared)
    assert replay(tmp_path / "three", 3_000, seed=2).ticks == 3_000
    assert (tmp_path / "one" / "logs" / "notes.jsonl").read_bytes() != (
        tmp_path / "three" / "logs" / "notes.jsonl"
    ).read_bytes()


@pytest.mark.parametrize("queue_size", [1, 3, 50_000])
def test_nothing_is_dropped_however_small_the_queue(tmp_path, queue_size):
    done = replay(tmp_path, 2_000, seed=1, queue_size=queue_size)
    assert done.report.delivered
    assert (done.report.records.pending, done.report.records.dropped) == (0, 0)
    assert not done.drops and not done.errors
    assert [record["bar_id"] for record in records(tmp_path, "signals")] == list(range(2_000))
    assert run_json(tmp_path)["clean"]


def test_no_thread_is_started_and_no_port_is_opened(tmp_path, monkeypatch):
    """Whatever the environment and the keywords say."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    before = set(threading.enumerate())
    opened = []

    class Watched(socket.socket):
        def __init__(self, *args, **more):
            opened.append(args)
            super().__init__(*args, **more)

    monkeypatch.setattr(socket, "socket", Watched)
    seen = set()
    done = replay(
        tmp_path, 2_000, seed=1, queue_size=10, rotate_bytes=50_000, prometheus_port=0, otlp_endpoint="http://127.0.0.1:1",
        keep_traces="all", between=lambda: seen.update(threading.enumerate()),
    )  # fmt: skip
    assert done.report.delivered
    assert not opened
    assert seen | set(threading.enumerate()) <= before, "a thread was started"


def test_without_a_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = replay(None, 1_000, seed=1)
    assert done.report.delivered
    hours = 1_000 // 60  # each with a snapshot
    assert done.report.records.delivered == 1_000 + done.notes + 2 + hours
    assert list(tmp_path.iterdir()) == []


def mode_free(name, record):
    return name not in ("pid", "botobs_version") or name in record


def test_the_same_streams_and_fields_as_live(tmp_path):
    replay(tmp_path / "backtest", 300, seed=1, keep_traces="all")
    replay(tmp_path / "live", 300, seed=1, keep_traces="all", mode="live")
    for stream in ("signals", "notes", "runs"):
        past, live = records(tmp_path / "backtest", stream), records(tmp_path / "live", stream)
        assert len(past) == len(live)
        for one, other in zip(past, live, strict=True):
            # which process and which version it was would make two runs differ
            assert list(one) == [name for name in other if mode_free(name, one)]
    past, live = records(tmp_path / "backtest", "signals"), records(tmp_path / "live", "signals")
    for one, other in zip(past, live, strict=True):
        for name in ("ts", "run_id", "trace_id"):
            one.pop(name), other.pop(name)
    assert past == live, "with the same clock, all but the ids is the same"


def test_time_is_the_clocks(tmp_path):
    replay(tmp_path, 500, seed=1)
    start = dt.datetime.fromisoformat("2026-01-05T00:00:00+00:00")
    for number, record in enumerate(records(tmp_path, "signals")):
        assert dt.datetime.fromisoformat(record["ts"]) - start >= dt.timedelta(minutes=number)
        assert record["latency"]["model_inference_ms"] == 2.0  # the clock moves on by so much inside
        assert record["run_id"] == "20260105T000000-backtest"
    assert records(tmp_path, "runs")[-1]["ran_s"] == pytest.approx(500 * 60, rel=0.01)


def test_a_clock_of_any_kind_will_do(tmp_path):
    clock = Clock()
    kinds = {
        "datetimes": lambda: dt.datetime.fromtimestamp(clock.ns / 1e9, dt.UTC),
        "seconds": lambda: clock.ns / 1e9,
        "text": lambda: dt.datetime.fromtimestamp(clock.ns / 1e9, dt.UTC).isoformat(),
        "milliseconds": lambda: clock.ns // 1_000_000,
        "an object": type("C", (), {"now": lambda self: clock.ns / 1e9})(),
    }
    for name, kind in kinds.items():
        with botobs.start("bot", data_dir=tmp_path / name, mode="backtest", clock=kind):
            with botobs.tick("BTC", bar_id=1) as tick:
                tick.signal(model=1)
        assert records(tmp_path / name, "signals")[0]["ts"] == "2026-01-05T00:00:00.000000Z", name


def test_subscribers_get_everything_on_the_bots_own_thread(tmp_path):
    from botobs.events import Recorded

    got, threads = [], set()

    def take(event):
        got.append(event.fields["n"])
        threads.add(threading.current_thread())

    with botobs.start("bot", mode="backtest", clock=Clock(), data_dir=tmp_path, queue_size=1) as obs:
        obs.bus.subscribe(Recorded, take)
        for number in range(1_000):
            obs.event("notes", n=number)
            assert got[-1] == number
    assert got == list(range(1_000))
    assert threads == {threading.current_thread()}


def test_a_meter_provider_of_the_users_own_gets_every_duration(tmp_path):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    done = replay(tmp_path, 2_000, seed=1, meter_provider=provider, keep_traces="none")
    found = [
        metric
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "bot_stage_duration_seconds"
    ]
    provider.shutdown()
    ticks = [point for point in found[0].data.data_points if point.attributes["stage"] == "tick"]
    assert sum(point.count for point in ticks) == 2_000
    assert not done.drops


def test_a_sample_runs_at_full_speed(tmp_path):
    done = replay(tmp_path, 20_000, seed=1)
    # a backtest that waited for anything would be far below; two on one core are at 7,000, one alone at 15,000
    assert done.per_second > 1_500, f"{done.per_second:.0f} ticks per second"
    assert len(records(tmp_path, "signals")) == 20_000
