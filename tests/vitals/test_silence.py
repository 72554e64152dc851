"""What is usual for a bot, and the sign of life that is judged from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.clock import SystemClock
from botobs.testing import Clock
from botobs.vitals import alive
from botobs.vitals.alive import Alive, judge
from botobs.vitals.silence import SilenceWatch


class Bot:
    def __init__(self):
        self.clock, self.events = Clock(), []
        self.watch = SilenceWatch(self.clock, self.events.append)

    def decide(self, gaps):
        """A decision after each gap; a look at the end of it, just before."""
        for gap in gaps:
            self.clock.advance(gap)
            self.watch.tick()
            self.watch.decided()
        self.watch.tick()
        return [event.kind for event in self.events]


@pytest.mark.parametrize("interval", [0.01, 1, 60, 900, 14_400])
def test_a_steady_bot_is_never_silent_and_its_silence_is_noticed(interval):
    bot = Bot()
    bot.decide([0])
    assert bot.decide([interval] * max(100, int(200 / interval))) == []
    limit = max(5 * interval, 60)
    assert bot.watch.limit_s == pytest.approx(limit)
    bot.clock.advance(limit + 1)
    bot.watch.tick()
    assert [event.kind for event in bot.events] == ["silent"]


def test_bursts_teach_nothing_about_the_pause_after_them():
    bot = Bot()
    assert bot.decide(([0.05] * 200 + [90]) * 40) == []
    assert bot.watch.usual_s == pytest.approx(90)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(30, 90), min_size=40, max_size=120))
def test_no_false_silence_of_a_bot_that_is_now_slower_now_faster(gaps):
    bot = Bot()
    assert bot.decide([0, *gaps]) == []


def test_outages_do_not_become_usual():
    bot = Bot()
    kinds = bot.decide([0] + ([60] * 30 + [7_200]) * 10)
    assert kinds == ["silent", "awake"] * 10
    assert bot.watch.usual_s == 60


def test_a_bot_that_turns_slower_is_learned_within_a_few_turns():
    bot = Bot()
    bot.decide([0] + [60] * 100)
    bot.decide([900] * 100)
    assert 0 < [event.kind for event in bot.events].count("silent") <= 10
    assert bot.watch.usual_s == 900


def test_before_the_first_decision_there_is_no_silence():
    bot = Bot()
    bot.clock.advance(86_400)
    bot.watch.tick()
    assert bot.events == [] and bot.watch.age_s is None and bot.watch.limit_s is None
    bot.decide([0, 600])
    bot.clock.advance(3_001)
    bot.watch.tick()
    assert [event.kind for event in bot.events] == ["silent"]


def test_setting_the_clock_silences_nobody():
    bot = Bot()
    bot.decide([0] + [60] * 50)
    steady = bot.clock.perf_ns()
    bot.clock.set("2030-01-01T00:00:00Z")
    bot.clock._perf_ns = steady
    bot.watch.tick()
    bot.clock.set("2020-01-01T00:00:00Z")
    bot.watch.tick()
    assert bot.events == [] and bot.watch.age_s == 0


def test_what_was_learned_survives_a_restart():
    bot = Bot()
    bot.decide([0] + [60] * 50)
    again = Bot()
    again.watch.restore(orjson.loads(orjson.dumps(bot.watch.state())))
    assert again.watch.usual_s == 60
    again.watch.decided()
    again.clock.advance(301)
    again.watch.tick()
    assert [event.kind for event in again.events] == ["silent"]


@pytest.mark.parametrize(
    "state", [None, [], {}, {"gaps": None}, {"gaps": ["x", None, True, -1, float("nan"), float("inf"), [], 1e300]}]
)
def test_a_damaged_state_teaches_nothing(state):
    bot = Bot()
    bot.watch.restore(state)
    assert bot.watch.usual_s is None


# -- from outside -----------------------------------------------------------------------------------------------------


def test_alive_silent_dead_ended(tmp_path):
    clock = Clock()
    sign = Alive(tmp_path, clock)
    assert judge(tmp_path, clock=clock).state == "alive"
    sign.touch(decided_s=50.0, limit_s=60.0)
    verdict = judge(tmp_path, clock=clock)
    assert (verdict.state, verdict.decided_s, verdict.pid) == ("alive", 50.0, os.getpid())
    clock.advance(11)
    verdict = judge(tmp_path, clock=clock)
    assert (verdict.state, verdict.decided_s, verdict.age_s) == ("silent", 61.0, 11.0)
    clock.advance(20)
    assert judge(tmp_path, clock=clock).state == "dead"  # it hangs as a whole
    assert judge(tmp_path, clock=clock, dead_after_s=60).state == "silent"
    sign.close()
    clock.advance(1_000)
    assert judge(tmp_path, clock=clock).state == "ended"
    sign.touch()
    assert judge(tmp_path, clock=clock).state == "ended"
    Alive(tmp_path, clock).close(ended=False)
    assert judge(tmp_path, clock=clock).state == "alive"


def test_setting_the_clock_kills_nobody_and_revives_nobody(tmp_path):
    clock = Clock("2026-01-02T00:00:00Z")
    sign = Alive(tmp_path, clock)
    steady = clock.perf_ns()
    clock.set("2026-01-03T00:00:00Z")
    clock._perf_ns = steady
    assert judge(tmp_path, clock=clock).state == "alive"
    clock.advance(31)
    clock.set("2026-01-01T00:00:00Z")
    assert judge(tmp_path, clock=clock).state == "dead"
    sign.abandon()


def test_another_machine_is_judged_by_the_wall(tmp_path, monkeypatch):
    clock = Clock()
    sign = Alive(tmp_path, clock)
    monkeypatch.setattr(alive.socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr(alive.os, "kill", lambda *_: pytest.fail("a process of another machine"))
    clock.advance(20)
    assert judge(tmp_path, clock=clock).state == "alive"
    clock.advance(20)
    assert judge(tmp_path, clock=clock).state == "dead"
    sign.abandon()


def test_a_machine_that_was_started_anew(tmp_path, monkeypatch):
    clock = Clock()
    Alive(tmp_path, clock).abandon()
    monkeypatch.setattr(alive, "boot_id", lambda: "another")
    assert judge(tmp_path, clock=clock).state == "dead"


def test_a_killed_process_is_dead_at_once(tmp_path):
    script = (
        f"import sys, time\nsys.path[:0] = {sys.path!r}\nfrom pathlib import Path\n"
        f"from botobs.vitals.alive import Alive\nAlive(Path({str(tmp_path)!r}))\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        verdict = judge(tmp_path)
        assert (verdict.state, verdict.pid) == ("alive", process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    verdict = judge(tmp_path)
    assert verdict.state == "dead" and "gone" in verdict.why


def test_a_forked_child_leaves_no_sign(tmp_path):
    sign = Alive(tmp_path, SystemClock())
    before = (tmp_path / "alive").read_bytes()
    child = os.fork()
    if not child:
        sign.touch(ended=True)
        sign.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "alive").read_bytes() == before and len(before) == 512
    sign.touch(decided_s=1e300, limit_s=1.0)
    assert (tmp_path / "alive").stat().st_size == 512
    sign.abandon()


def test_one_that_is_half_written_over_is_unknown(tmp_path):
    sign = Alive(tmp_path, Clock())
    whole = (tmp_path / "alive").read_bytes()
    (tmp_path / "alive").write_bytes(whole.replace(b'"wall":1', b'"wall":2'))
    assert judge(tmp_path).state == "unknown"
    sign.abandon()


@pytest.mark.parametrize("content", [None, b"", b"\0" * 512, b"deadbeef {}", b"x" * 10_000])
def test_what_cannot_be_read_is_unknown(tmp_path, content):
    if content is not None:
        (tmp_path / "alive").write_bytes(content)
    assert judge(tmp_path).state == "unknown"
    assert judge(tmp_path / "nowhere").state == "unknown"
    assert judge("\0").state == "unknown"
