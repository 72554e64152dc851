"""How an observer begins and ends: deadlines, exits, signals, neighbours in one process, starts that fail."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
import tracemalloc
import urllib.error
import urllib.request

import pytest

import botobs
import botobs.timebox
from botobs.stages.engine import ENGINES
from tests.servers.otlp import OtlpReceiver
from tests.slack import SLACK_S
from tests.soak.processes import Bot, records, run, run_json


def work(count, obs=botobs, first=0):
    for number in range(first, first + count):
        with obs.tick("BTC", bar_id=number) as tick:
            with obs.decision():
                pass
            tick.signal(model=number)


_earlier: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _threads_of_earlier_tests():
    _earlier.clear()
    _earlier.update(threading.enumerate())


def our_threads():
    """Threads of botobs that this test started; those that run the bot's own callbacks are kept for the next one."""
    return [
        thread.name
        for thread in set(threading.enumerate()) - _earlier
        if thread.name.startswith("botobs-") and thread.name != "botobs-timebox"
    ]


def wait_until(true, timeout_s=30.0):
    end, waiting = time.monotonic() + timeout_s, threading.Event()
    while not true():
        assert time.monotonic() < end, "waited in vain"
        waiting.wait(0.005)


def models(data_dir, stream="signals"):
    return [record["model"] for record in records(data_dir, stream)]


def events(data_dir):
    return [record["event"] for record in records(data_dir, "runs")]


# -- a run and its end --------------------------------------------------------------------------------------------


def test_leaving_the_block_writes_everything_and_gives_everything_back(tmp_path):
    with botobs.start("bot", data_dir=tmp_path) as obs:
        work(20)
        assert not run_json(tmp_path)["clean"]
    assert models(tmp_path) == list(range(20))
    assert events(tmp_path) == ["run_started", "run_ended"]
    assert run_json(tmp_path)["clean"]
    assert not our_threads() and not ENGINES
    assert obs.shutdown().records.delivered == 22
    assert "ended" in repr(obs)


def test_an_exception_leaves_the_block_as_it_was(tmp_path):
    error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught, botobs.start("bot", data_dir=tmp_path):
        work(1)
        raise error
    assert caught.value is error
    assert run_json(tmp_path)["clean"]


def test_shutdown_a_second_time_changes_nothing(tmp_path):
    obs = botobs.start("bot", data_dir=tmp_path)
    work(3)
    first = obs.shutdown()
    assert first and first.records.delivered == 5
    assert obs.shutdown(0) is obs.shutdown(100) is obs.flush() is first
    assert events(tmp_path) == ["run_started", "run_ended"]


def test_after_the_end_verbs_do_nothing(tmp_path):
    obs = botobs.start("bot", data_dir=tmp_path)
    with obs.tick("BTC") as tick:
        obs.shutdown()
        tick.signal(model="late")
        obs.event("notes", late=True)
    work(3, obs)
    work(3)
    botobs.event("notes", late=True)
    assert botobs.flush() is None is botobs.shutdown()
    assert not (tmp_path / "logs" / "notes.jsonl").exists()
    assert models(tmp_path) == []


@pytest.mark.parametrize("timeout", [None, "soon", float("nan"), -1, object(), 10**400, True, b"1"])
def test_a_nonsense_deadline_is_no_error(tmp_path, timeout):
    with botobs.start("bot", data_dir=tmp_path) as obs:
        obs.flush(timeout)
        work(1)
        obs.shutdown(timeout)
    assert models(tmp_path) == [0]


def test_an_end_without_time_still_reaches_the_disk(tmp_path):
    obs = botobs.start("bot", data_dir=tmp_path)
    work(100)
    report = obs.shutdown(0)
    assert report.took_s < SLACK_S
    assert report.records.pending == 0
    assert report.records.delivered == 102
    assert models(tmp_path) == list(range(100))
    assert events(tmp_path) == ["run_started", "run_ended"]


# -- deadlines with collectors that do not do their part -------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("mode", ["refuse", "hang", "503"])
def test_deadlines_hold_and_reports_are_true_whatever_the_collector_does(tmp_path, protocol, mode):
    with OtlpReceiver(protocol) as receiver:
        obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all")
        work(10)
        assert obs.flush(10)
        receiver.mode(mode)
        work(30, first=10)
        begun = time.monotonic()
        report = obs.flush(0.4)
        took = time.monotonic() - begun
        assert took < 0.4 + SLACK_S
        assert not report
        assert (report.spans.delivered, report.spans.pending, report.spans.dropped) == (20, 60, 0)
        assert report.records.pending == 0
        assert models(tmp_path) == list(range(40)), "a dead collector keeps nothing from the disk"
        begun = time.monotonic()
        report = obs.shutdown(0.4)
        assert time.monotonic() - begun < 0.4 + SLACK_S
        assert not report
        assert (report.spans.delivered, report.spans.pending, report.spans.dropped) == (20, 0, 60)
        assert obs.faults.drops["spans"] == 60
        assert receiver.stats()["spans"] == 20
    assert events(tmp_path)[-1] == "run_ended"
    assert run_json(tmp_path)["clean"]
    wait_until(lambda: not our_threads())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_that_comes_back_gets_everything_within_the_flush(tmp_path, protocol):
    with OtlpReceiver(protocol, mode="503") as receiver:
        obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all")
        work(30)
        assert obs.flush(0.1).spans.pending == 60
        receiver.mode("ok")
        report = obs.shutdown(10)
        assert report
        assert report.spans.delivered == 60 == receiver.stats()["spans"]


def test_what_is_lost_on_the_way_is_told_by_the_next_report_only(tmp_path):
    with OtlpReceiver(mode="400") as receiver:
        obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all")
        work(5)
        report = obs.flush(5)
        assert not report.delivered
        assert report.spans.dropped == 10
        receiver.mode("ok")
        assert obs.flush(5)
        assert obs.shutdown(5)


def test_stage_durations_reach_a_meter_provider_of_the_users_own_to_the_last(tmp_path):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])

    def counted():
        data = reader.get_metrics_data()
        return sum(
            point.count
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name.endswith("stage_duration_seconds") or "stage.duration" in metric.name
            for point in metric.data.data_points
        )

    obs = botobs.start("bot", data_dir=tmp_path, meter_provider=provider)
    work(5_000)
    obs.flush(10)
    assert counted() == 10_000
    work(5_000)
    obs.shutdown(10)
    assert counted() == 20_000
    provider.shutdown()


def test_traces_reach_a_tracer_provider_of_the_users_own_to_the_last(tmp_path):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    obs = botobs.start("bot", data_dir=tmp_path, tracer_provider=provider, keep_traces="all")
    work(500)
    report = obs.flush(20)
    assert report and report.spans.delivered == 1000 == len(exporter.get_finished_spans())
    work(500)
    report = obs.shutdown(20)
    assert report and report.spans.delivered == 2000 == len(exporter.get_finished_spans())
    provider.shutdown()


def test_flush_is_true_to_its_word_while_the_drainer_is_at_work(tmp_path):
    """A trace that the drainer holds in its hands is neither delivered nor forgotten."""
    with (
        OtlpReceiver(keep=False) as receiver,
        botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint) as obs,
    ):
        sent = 0
        for turn in range(40):
            for _ in range(50):
                with botobs.tick("BTC") as tick:
                    tick.keep()
            sent += 50
            if turn % 2:
                obs._drainer.wake()
            assert obs.flush(10), turn
            assert receiver.stats()["spans"] == sent


def test_two_shutdowns_at_once_both_keep_their_deadline(tmp_path):
    with OtlpReceiver(mode="hang") as receiver:
        obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all")
        work(5)
        patient = threading.Thread(target=obs.shutdown, args=(0.5 + SLACK_S,))
        patient.start()
        wait_until(lambda: not ENGINES)
        begun = time.monotonic()
        report = obs.shutdown(0.1)
        assert time.monotonic() - begun < 0.1 + SLACK_S
        assert not report
        patient.join()
        assert obs.shutdown().spans.dropped == 10


def test_a_subscriber_may_flush_and_end_the_observer_it_hangs_on(tmp_path):
    from botobs.events import Recorded

    obs = botobs.start("bot", data_dir=tmp_path)
    said = []

    def last_words(event):
        said.append(obs.flush(1))
        said.append(obs.shutdown(1))

    obs.bus.subscribe(Recorded, last_words)
    begun = time.monotonic()
    obs.event("notes", bye=1)
    wait_until(lambda: len(said) == 2)
    assert time.monotonic() - begun < 2 + SLACK_S
    assert records(tmp_path, "notes")[0]["bye"] == 1
    assert run_json(tmp_path)["clean"]
    wait_until(lambda: not our_threads())


# -- the ways a process ends ---------------------------------------------------------------------------------------

ENDS = {
    "falls off the end": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "exception": ("raise RuntimeError('mine')", 1, "RuntimeError: mine"),
    "keyboard interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -2, "KeyboardInterrupt"),
    "exit in a stage": ("t = botobs.tick('BTC'); t.__enter__(); botobs.stage('s').__enter__(); sys.exit()", 0, ""),
    "exit in asyncio": (
        "async def main():\n with botobs.tick('BTC') as t:\n  t.signal(model=100)\n  await asyncio.sleep(0)\n"
        "asyncio.run(main())",
        0,
        "",
    ),
    "start in a thread": ("", 0, ""),
}


@pytest.mark.parametrize("how", ENDS)
def test_an_exit_without_shutdown_leaves_everything_on_disk(tmp_path, how):
    last, code, complaint = ENDS[how]
    start = "botobs.start('bot', data_dir=data_dir, prometheus_port=0)\n"
    if how == "start in a thread":
        start = "t = threading.Thread(target=lambda: botobs.start('bot', data_dir=data_dir)); t.start(); t.join()\n"
        start += "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    bot = run(f"{start}work(100)\nbotobs.event('notes', a=1)\n{last}", tmp_path)
    assert bot.process.returncode == code, bot.stderr
    assert bot.stderr.strip().endswith(complaint) and bool(bot.stderr) == bool(complaint), bot.stderr
    assert models(tmp_path)[:100] == list(range(100))
    assert len(models(tmp_path)) == 100 + (how == "exit in asyncio")
    assert len(records(tmp_path, "notes")) == 1
    assert run_json(tmp_path)["clean"]
    assert records(tmp_path, "runs")[-1]["how"] == "exit"


def test_a_run_that_did_not_end_is_reported_by_the_next(tmp_path):
    bot = run("botobs.start('bot', data_dir=data_dir)\nwork(10)\nbotobs.flush()\nos._exit(7)", tmp_path)
    assert bot.process.returncode == 7
    assert not run_json(tmp_path)["clean"]
    first = records(tmp_path, "runs")[0]["run_id"]
    with botobs.start("bot", data_dir=tmp_path) as obs:
        assert obs.previous_run.unclean
        assert (obs.previous_run.run_id, obs.previous_run.pid) == (first, bot.pid)
    assert events(tmp_path) == ["run_started", "run_started", "unclean_end", "run_ended"]
    said = records(tmp_path, "runs")[2]
    assert (said["earlier_run_id"], said["pid"], said["run_id"]) == (first, bot.pid, obs.run_id)
    assert said["started"] <= said["last_seen"] <= said["ts"]
    with botobs.start("bot", data_dir=tmp_path) as obs:
        assert not obs.previous_run.unclean
    assert events(tmp_path).count("unclean_end") == 1


def test_a_start_that_fails_does_not_hide_an_unclean_end(tmp_path):
    run("botobs.start('bot', data_dir=data_dir)\nos._exit(7)", tmp_path)
    with pytest.raises(ZeroDivisionError):
        botobs.start("bot", data_dir=tmp_path, tracer_provider=_Raises())
    with botobs.start("bot", data_dir=tmp_path) as obs:
        assert obs.previous_run.unclean
    assert "unclean_end" in events(tmp_path)


@pytest.mark.parametrize("busy", ["idle", "ticking", "asyncio", "stages in daemon threads"])
def test_sigterm_writes_everything_and_ends_the_process_as_it_would_have(tmp_path, busy):
    script = {
        "idle": "work(100); say(ready=1); time.sleep(30)",
        "ticking": "work(100); say(ready=1)\nwhile True: work(1)",
        "asyncio": "async def main():\n while True:\n  work(1)\n  await asyncio.sleep(0.0001)\nwork(100); say(ready=1)\n"
        "asyncio.run(main())",
        "stages in daemon threads": "def loop():\n while True:\n  with botobs.stage('s'): work(1)\n"
        "work(100)\nfor _ in range(3): threading.Thread(target=loop, daemon=True).start()\nsay(ready=1)\n"
        # short ones: CPython may miss a signal that comes just before the main thread blocks, until it wakes
        "while True: time.sleep(0.05)",
    }[busy]
    with Bot(f"botobs.start('bot', data_dir=data_dir, prometheus_port=0)\n{script}", tmp_path) as bot:
        assert bot.hear() == {"ready": 1}
        bot.signal(signal.SIGTERM)
        assert bot.end() == -signal.SIGTERM
    assert bot.stderr == ""
    assert models(tmp_path)[:100] == list(range(100))
    assert run_json(tmp_path)["clean"]
    assert records(tmp_path, "runs")[-1]["how"] == "sigterm"


HANDLERS = {
    "before": (
        "def mine(*_): work(1, 1000); sys.exit(5)\nsignal.signal(signal.SIGTERM, mine)\nSTART\nsay(ready=1)\ntime.sleep(30)",
        5,
    ),
    "after": (
        "START\ndef mine(*_): work(1, 1000); sys.exit(5)\nsignal.signal(signal.SIGTERM, mine)\nsay(ready=1)\ntime.sleep(30)",
        5,
    ),
    "ignored": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nSTART\nsay(ready=1)\nsys.stdin.readline()\nwork(1, 1000)",
        0,
    ),
    "asyncio before": (
        "async def main():\n over = asyncio.Event()\n asyncio.get_running_loop().add_signal_handler(15, over.set)\n START\n"
        " say(ready=1)\n await over.wait()\n work(1, 1000)\nasyncio.run(main())",
        0,
    ),
    "asyncio after": (
        "START\nasync def main():\n over = asyncio.Event()\n asyncio.get_running_loop().add_signal_handler(15, over.set)\n"
        " say(ready=1)\n await over.wait()\n work(1, 1000)\nasyncio.run(main())",
        0,
    ),
    "shuts down itself": (
        "START\ndef mine(*_): work(1, 1000); botobs.shutdown(); sys.exit(5)\nsignal.signal(signal.SIGTERM, mine)\n"
        "say(ready=1)\nwhile True: botobs.flush()",
        5,
    ),
    "hands on to ours": (
        "START\nours = signal.getsignal(15)\ndef mine(*a): work(1, 1000); ours(*a)\nsignal.signal(signal.SIGTERM, mine)\n"
        "say(ready=1)\ntime.sleep(30)",
        -15,
    ),
}


@pytest.mark.parametrize("who", HANDLERS)
def test_a_sigterm_that_somebody_else_handles_is_theirs(tmp_path, who):
    script, code = HANDLERS[who]
    script = script.replace("START", "botobs.start('bot', data_dir=data_dir)")
    with Bot(script, tmp_path) as bot:
        assert bot.hear() == {"ready": 1}
        bot.signal(signal.SIGTERM)
        if who == "ignored":
            bot.tell("go on")
        assert bot.end() == code, bot.stderr
    assert bot.stderr == ""
    assert models(tmp_path) == [1000]
    assert run_json(tmp_path)["clean"]


def test_sigterm_during_a_flush_lets_it_finish_and_loses_nothing(tmp_path):
    script = """
from botobs.streams.disk import Disk
sync = Disk.sync
def slow(self, fd):
    if sys.argv[2:] and not hasattr(slow, "said"):
        slow.said = True
        say(ready=1)
        end = time.monotonic() + 0.5
        while time.monotonic() < end: pass  # the signal comes here, on the thread that holds the stream
    sync(self, fd)
Disk.sync = slow
obs = botobs.start("bot", data_dir=data_dir)
for name in ("a", "b", "c"): obs.event(name, n=1)
work(100)
obs.flush()
for name in ("a", "b", "c"): obs.event(name, n=2)
time.sleep(30)
"""
    with Bot(script, tmp_path, "slow") as bot:
        assert bot.hear() == {"ready": 1}
        begun = time.monotonic()
        bot.signal(signal.SIGTERM)
        assert bot.end() == -signal.SIGTERM, bot.stderr
        assert time.monotonic() - begun < 4.5  # one that waited for its own lock would take the five of the exit
    assert models(tmp_path) == list(range(100))
    for name in "abc":
        assert [record["n"] for record in records(tmp_path, name)][:1] == [1]
    assert run_json(tmp_path)["clean"]
    assert records(tmp_path, "runs")[-1]["how"] == "sigterm"


@pytest.mark.parametrize("where", ["shutdown", "exit", "sigterm", "thread"])
def test_a_sigterm_does_not_cut_an_end_short_that_is_under_way(tmp_path, where):
    """Supervisors are impatient, and a signal may come twice."""
    last = {
        "shutdown": "obs.shutdown(1.5)\ntime.sleep(30)",
        "exit": "",
        "sigterm": "os.kill(os.getpid(), 15)",
        "thread": "threading.Thread(target=obs.shutdown, args=(1.0,), daemon=True).start()\ntime.sleep(30)",
    }[where]
    limit_s = 3.0 if where in ("exit", "sigterm") else 30  # others have a deadline of their own
    script = f"""
import botobs.lifecycle; botobs.lifecycle.EXIT_TIMEOUT_S = {limit_s}
obs = botobs.start("bot", data_dir=data_dir, otlp_endpoint=sys.argv[2], keep_traces="all")
work(100)
def watch():
    while botobs.stages.engine.ENGINES: time.sleep(0.001)
    say(ending=1)
threading.Thread(target=watch, daemon=True).start()
{last}
"""
    with OtlpReceiver(mode="hang") as receiver, Bot(script, tmp_path, receiver.endpoint) as bot:
        assert bot.hear() == {"ending": 1}
        bot.signal(signal.SIGTERM)
        assert bot.end() == -signal.SIGTERM, bot.stderr
    assert bot.stderr == ""
    assert models(tmp_path) == list(range(100))
    assert run_json(tmp_path)["clean"], "the end was cut short"


@pytest.mark.parametrize(
    "lock",
    ["obs.faults._lock", "obs._delivery._hands", "obs.bus._lock", "obs._otlp.sender._lock", "obs._store._making"],
)
def test_a_signal_handler_of_the_bots_may_flush_and_end_whatever_it_interrupts(tmp_path, lock):
    script = f"""
obs = botobs.start("bot", data_dir=data_dir, otlp_endpoint=sys.argv[2], keep_traces="all")
def mine(*_):
    work(1, 1000)
    obs.event("never_seen_before", a=1)
    obs.faults.error("somewhere", ValueError("x"))
    obs.flush(0.2)
    report = obs.shutdown(0.3)
    say(took=report.took_s)
signal.signal(signal.SIGTERM, mine)
with {lock}:
    signal.raise_signal(signal.SIGTERM)
"""
    with OtlpReceiver() as receiver:
        bot = run(script, tmp_path, receiver.endpoint)  # whoever waits for the lock never ends
    assert (bot.process.returncode, bot.stderr) == (0, "")
    assert len(bot.said) == 1
    assert models(tmp_path) == [1000]


def test_at_exit_a_dead_collector_of_one_takes_nothing_from_another(tmp_path):
    script = """
first = botobs.start("first", data_dir=data_dir + "/1", otlp_endpoint=sys.argv[2], keep_traces="all")
second = botobs.start("second", data_dir=data_dir + "/2", otlp_endpoint=sys.argv[2], keep_traces="all")
third = botobs.start("third", data_dir=data_dir + "/3")
for obs in (first, second, third): work(50, obs=obs)
say(ready=1)
time.sleep(30)
"""
    with OtlpReceiver(mode="hang") as receiver, Bot(script, tmp_path, receiver.endpoint) as bot:
        assert bot.hear() == {"ready": 1}
        begun = time.monotonic()
        bot.signal(signal.SIGTERM)
        assert bot.end() == -signal.SIGTERM
        assert time.monotonic() - begun < 5 + SLACK_S
    for name in "123":
        assert models(tmp_path / name) == list(range(50))
        assert run_json(tmp_path / name)["clean"]


def test_when_nobody_observes_any_more_sigterm_is_as_before(tmp_path):
    bot = run(
        "with botobs.start('bot', data_dir=data_dir): pass\n"
        "say(default=signal.getsignal(15) is signal.SIG_DFL)\nos.kill(os.getpid(), 15); time.sleep(9)",
        tmp_path,
    )
    assert bot.process.returncode == -15
    assert bot.said == [{"default": True}]


def test_the_interpreter_ends_in_peace_while_threads_are_in_stages(tmp_path):
    script = """
obs = botobs.start("bot", data_dir=data_dir, prometheus_port=0, keep_traces="all")
def loop(i):
    while True:
        work(3)
        with botobs.stage("long"): time.sleep(0.0002)
        botobs.event("notes", i=i)
for i in range(4): threading.Thread(target=loop, args=(i,), daemon=True).start()
time.sleep(0.3)
"""
    bot = run(script, tmp_path)
    assert (bot.process.returncode, bot.stderr) == (0, "")
    assert models(tmp_path)
    assert run_json(tmp_path)["clean"]


# -- neighbours -------------------------------------------------------------------------------------------------------


def test_two_observers_keep_apart(tmp_path):
    one = botobs.start("one", data_dir=tmp_path / "1")
    two = botobs.start("two", data_dir=tmp_path / "2")
    one.event("notes", n=1)
    two.event("notes", n=2)
    botobs.event("notes", n="newest")
    work(1, one, 10)
    work(1, two, 20)
    work(1, botobs, 30)
    with one.tick("BTC") as tick:
        botobs.event("notes", n="in one's tick")
        botobs.current_tick().signal(model=11)
        two.event("notes", n="by name")
        with botobs.decision(), botobs.tick("ETH") as inner:
            inner.signal(model=12)
        with two.tick("ETH") as other:
            botobs.event("notes", n="in two's tick")
            other.signal(model=21)
        tick.signal(model=13)
    two.shutdown()
    botobs.event("notes", n="one is left")
    work(1, botobs, 14)
    one.shutdown()
    assert models(tmp_path / "1") == [10, 12, 11, 13, 14]
    assert models(tmp_path / "2") == [20, 30, 21]
    assert [r["n"] for r in records(tmp_path / "1", "notes")] == [1, "in one's tick", "one is left"]
    assert [r["n"] for r in records(tmp_path / "2", "notes")] == [2, "newest", "by name", "in two's tick"]
    assert {r["bot"] for r in records(tmp_path / "1", "notes")} == {"one"}


def test_threads_may_observe_while_observers_come_and_go(tmp_path):
    import sys

    over = threading.Event()
    raised = []

    def bot():
        try:
            while not over.is_set():
                with botobs.stage("free"):
                    work(1)
                    botobs.event("notes", a=1)
                    botobs.current_tick().signal(model=1)
        except BaseException as error:
            raised.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=bot) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(10):
            botobs.start("bot", data_dir=tmp_path / str(turn % 2)).shutdown(2)
        over.set()
        for thread in threads:
            thread.join(20)
    finally:
        over.set()
        sys.setswitchinterval(interval)
    assert not raised, raised[0]


def test_a_data_dir_in_use_is_an_error_that_names_the_holder(tmp_path):
    with Bot("botobs.start('other', data_dir=data_dir); say(ready=1); sys.stdin.readline()", tmp_path) as bot:
        bot.hear()
        with pytest.raises(botobs.ConfigError, match=rf"held by process {bot.pid} .*'other'"):
            botobs.start("bot", data_dir=tmp_path)
        bot.tell()
        bot.end()
    with botobs.start("bot", data_dir=tmp_path):
        mine = rf"held by process {os.getpid()} \(this very one; its shutdown\(\) lets go of it\)"
        with pytest.raises(botobs.ConfigError, match=mine):
            botobs.start("bot", data_dir=tmp_path)
        work(1)
    assert models(tmp_path) == [0]
    assert not our_threads()


# -- starts that fail -------------------------------------------------------------------------------------------------


class _Raises:
    def get_tracer(self, *_args, **_more):
        raise ZeroDivisionError("a provider of the bot's")

    get_meter = get_tracer


def _fds():
    return {
        name: os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{name}")
    }


def _settings(receiver, tmp_path):
    return {"data_dir": tmp_path, "prometheus_port": 0, "otlp_endpoint": receiver.endpoint}


def _leftover(tmp_path):
    """Something for the archive's thread to do."""
    archive = tmp_path / "logs" / "archive"
    archive.mkdir(parents=True, exist_ok=True)
    (archive / "signals-20200101T000000.000000Z.jsonl").write_text('{"ts":"2020-01-01T00:00:00Z"}\n' * 1000)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors as Linux shows them")
@pytest.mark.parametrize(
    "part",
    ["tracer_provider", "meter_provider", "certificate", "grpc certificate", "metrics certificate", "metrics protocol"],
)
def test_a_start_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch, part):
    with OtlpReceiver() as receiver:
        settings, error = _settings(receiver, tmp_path), botobs.ConfigError
        if part == "tracer_provider":
            settings["tracer_provider"], error = _Raises(), ZeroDivisionError
        elif part == "meter_provider":
            settings |= {"meter_provider": _Raises(), "strict": True}
            error = ZeroDivisionError
        elif part == "certificate":
            settings["otlp_endpoint"] = "https://127.0.0.1:1"
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "missing.pem"))
        elif part == "grpc certificate":
            del settings["otlp_endpoint"]
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "missing.pem"))
        elif part == "metrics certificate":
            del settings["otlp_endpoint"]
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://127.0.0.1:1")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", str(tmp_path / "missing.pem"))
        else:
            del settings["otlp_endpoint"]
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "gopher://nowhere")
        with pytest.raises(error):
            botobs.start("bot", **settings)  # what loads late is loaded now
        wait_until(lambda: not our_threads())
        _leftover(tmp_path)
        before = sorted(_fds().values())
        with pytest.raises(error):
            botobs.start("bot", **settings)
        wait_until(lambda: not our_threads())
        assert not ENGINES
        wait_until(lambda: sorted(_fds().values()) == before)
        monkeypatch.undo()
        with botobs.start("bot", data_dir=tmp_path):
            pass


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors as Linux shows them")
def test_no_thread_to_be_had_is_survived_or_leaves_nothing(tmp_path, monkeypatch):
    """Each thread of a start is refused in turn."""
    with OtlpReceiver() as receiver:
        settings = _settings(receiver, tmp_path)
        botobs.start("bot", **settings).shutdown()
        start = threading.Thread.start
        for refused in range(20):
            _leftover(tmp_path)
            before = sorted(_fds().values())
            count = 0

            def sometimes(thread):
                nonlocal count
                if thread.name.startswith("botobs"):
                    count += 1
                    if count == refused + 1:
                        raise RuntimeError("can't start new thread")
                start(thread)

            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", sometimes)
                try:
                    obs = botobs.start("bot", **settings)
                except RuntimeError:
                    obs = None
            if obs is not None:
                work(3)
                obs.shutdown(5)
            wait_until(lambda: not our_threads())
            wait_until(lambda: sorted(_fds().values()) == before)
            assert not ENGINES
            if count <= refused:
                break
        assert refused >= 4, "fewer threads than thought"
        with botobs.start("bot", data_dir=tmp_path):
            pass


def test_a_clock_that_fails_during_the_start_leaves_nothing(tmp_path):
    """The clock raises at its first call, its second, and so on, until a start needs fewer."""
    started = 0
    for good in itertools.count():
        left = good

        def clock():
            nonlocal left
            left -= 1
            if left < 0:
                raise ZeroDivisionError("clock")
            return 1.7e9 + good

        try:
            obs = botobs.start("bot", data_dir=tmp_path, clock=clock, prometheus_port=0)
        except (ZeroDivisionError, botobs.ConfigError):
            wait_until(lambda: not our_threads())
            assert not ENGINES
        else:
            started += 1
            obs.shutdown(1)
            wait_until(lambda: not our_threads())
        left = 10**9
        if good % 4 == 0 or started:
            with botobs.start("bot", data_dir=tmp_path):
                pass
        if started == 3:
            break
    assert good > 10, "it needs the clock more often than that"


# -- the port ----------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_a_warning_and_a_state_and_is_taken_later(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        obs = botobs.start("bot", data_dir=tmp_path, prometheus_port=port)
        assert not obs.endpoint.up
        assert "in use" in obs.endpoint.state
        assert "in use" in caplog.text
        work(3)
    wait_until(obs.endpoint.retry)
    health = json.loads(urllib.request.urlopen(f"{obs.endpoint.url}/health").read())
    assert health["status"] == "ok" and obs.endpoint.port == port
    page = urllib.request.urlopen(f"{obs.endpoint.url}/metrics").read().decode()
    assert 'bot_stage_duration_seconds_count{stage="decision",symbol="BTC"} 3' in page
    obs.shutdown()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert models(tmp_path) == [0, 1, 2]


# -- again and again ---------------------------------------------------------------------------------------------------


def test_the_threads_that_call_the_bots_functions_end_with_the_observer(tmp_path):
    def new():
        process = botobs.timebox._pool.crew.idle  # this one is for all observers
        return [thread for thread in set(threading.enumerate()) - _earlier if thread not in process]

    called = []
    with botobs.start("bot", data_dir=tmp_path) as obs:
        obs.alerts.to(called.append)
        obs.kill_switch.on_trip(called.append)
        obs.kill_switch.keep_alive(lambda: called.append("alive"))
        obs.alerts.send("warning", "Spread is wide")
        obs.kill_switch.drill()
        wait_until(lambda: len(called) >= 3)
        assert obs.flush(10)
        assert sum(thread.name == "botobs-timebox" for thread in new()) >= 3
    wait_until(lambda: not new())


def test_many_starts_and_ends_leave_no_threads_no_descriptors_no_memory(tmp_path):
    def turn():
        with botobs.start("bot", data_dir=tmp_path, prometheus_port=0, otlp_endpoint=receiver.endpoint) as obs:
            work(20)
            with botobs.tick("BTC") as tick:
                tick.keep()
            assert obs.flush(5)

    with OtlpReceiver(keep=False) as receiver:
        for _ in range(5):
            turn()
        threads, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))
        tracemalloc.start()
        try:
            turn()
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(19):
                turn()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        wait_until(lambda: threading.active_count() <= threads + 1)  # the receiver's own come and go
        assert not our_threads()
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= fds + 1)
    # caches of what ran meanwhile are in it; whoever keeps a part of an observer keeps far more than this
    assert grown < 100_000 + 19 * 3_000, f"{grown / 19:.0f} bytes for each start"
    assert events(tmp_path).count("run_ended") == 25


def test_what_an_observer_answers_with_shows_itself(tmp_path):
    with botobs.start("b", data_dir=tmp_path, prometheus_port=0) as obs:
        assert re.fullmatch(r"<KillSwitch active since [-0-9T:.]+Z>", repr(obs.kill_switch))
        assert repr(obs.endpoint) == f"<Endpoint {obs.endpoint.url}: up>"
        assert repr(obs.performance) == "<Performance of no closed trade yet>"
        order = obs.order("BTC-USD", "buy", 1, decision_px=10, strategy="bma")
        obs.fill(order, price=10, qty=1, fill_id="1")
        obs.fill(symbol="BTC-USD", side="sell", price=11, qty=2, fill_id="2")
        assert repr(obs.trades) == "<TradeTracker: 1 open, 1 closed>"
        assert repr(obs.performance) == "<Performance of 'bma'>"
        obs.void("2", "busted")
        assert repr(obs.trades) == "<TradeTracker: 1 open, 0 closed>"
        assert repr(obs.ledger) == f"<Ledger of 3 lines in {tmp_path}>"
        obs.kill_switch.trip("enough")
        assert repr(obs.kill_switch).endswith("Z: enough>")
        with obs.tick("BTC-USD", 7) as tick:
            assert repr(tick) == "<botobs tick of 'BTC-USD', bar_id=7>"
    assert repr(botobs.current_tick()) == "<botobs tick that nobody watches>"
