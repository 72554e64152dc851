"""Which alert goes out, which is held back, and what the record says of it. No network, a clock of our own."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.alerts import Alert, Alerts
from botobs.events import Event
from botobs.faults import Faults
from botobs.testing import Clock
from tests.alerts.parlour import Lines, Parlour


@pytest.mark.parametrize("level", ["info", "INFO", "Warning", "critical", "CRITICAL"])
def test_levels_in_any_case(level):
    with Parlour().listen() as p:
        p.alerts.send(level, "t")
        assert [alert.level for alert in p.got] == [level.lower()]


def test_an_unknown_level_is_a_warning_and_said():
    with Parlour().listen() as p:
        p.alerts.send("loud", "t")
        assert [alert.level for alert in p.got] == ["warning"]


def test_the_function_gets_a_frozen_alert():
    with Parlour().listen() as p:
        p.alerts.send("info", "Title", "Message", {"px": Decimal("1.10"), "nested": {"a": [1]}}, key="k")
        (alert,) = p.got
        assert isinstance(alert, Alert)
        assert (alert.title, alert.message, alert.key, alert.bot, alert.run_id) == (
            "Title", "Message", "k", "mybot", "run1",
        )  # fmt: skip
        assert dict(alert.fields) == {"px": "1.10", "nested": {"a": [1]}}
        assert alert.ts == "2026-01-02T03:04:05.000000Z"
        with pytest.raises(AttributeError):
            alert.title = "other"
        with pytest.raises(TypeError):
            alert.fields["px"] = 2


def test_a_key_is_silent_for_an_hour_and_then_counts_what_it_held_back():
    with Parlour().listen() as p:
        for _ in range(4):
            p.alerts.send("warning", "Wide", "now", key="spread")
            p.later(60)
        assert p.titles == ["Wide"]
        assert p.lines.fates() == ["delivered", "held", "held", "held"]
        p.later(3600 - 240 - 1)
        p.alerts.send("warning", "Wide", "now", key="spread")
        assert len(p.got) == 1
        p.later(1)
        p.alerts.send("warning", "Wide", "now", key="spread")
        assert len(p.got) == 2
        assert p.got[-1].held == 4
        assert p.lines[-1]["held"] == 4


def test_without_a_key_the_same_words_are_held_back():
    with Parlour().listen() as p:
        p.alerts.send("info", "a", "1")
        p.alerts.send("info", "a", "1")
        p.alerts.send("info", "a", "2")
        assert [alert.message for alert in p.got] == ["1", "2"]


def test_worse_news_of_a_key_is_not_held_back():
    with Parlour().listen() as p:
        p.alerts.send("warning", "Drawdown", key="dd")
        p.alerts.send("critical", "Drawdown", key="dd")
        p.alerts.send("critical", "Drawdown", key="dd")
        p.alerts.send("warning", "Drawdown", key="dd")
        assert [alert.level for alert in p.got] == ["warning", "critical"]


def test_resolve_tells_once_and_ends_the_cooldown():
    with Parlour().listen() as p:
        p.alerts.resolve("ws")
        p.alerts.send("warning", "Feed silent", key="ws")
        p.alerts.send("warning", "Feed silent", key="ws")
        p.later(120)
        p.alerts.resolve("ws")
        p.alerts.resolve("ws")
        assert [(alert.title, alert.recovery, alert.held) for alert in p.got] == [
            ("Feed silent", False, 0), ("Feed silent", True, 1),
        ]  # fmt: skip
        assert "2 min" in p.got[1].message
        p.alerts.send("warning", "Feed silent", key="ws")
        assert len(p.got) == 3


def test_a_clock_set_back_does_not_prolong_the_silence():
    with Parlour().listen() as p:
        p.alerts.send("warning", "a", key="k")
        p.clock.set("2025-06-01T00:00:00Z")
        p.later(3601)
        p.alerts.send("warning", "a", key="k")
        assert len(p.got) == 2


def test_more_than_five_at_once_become_a_digest():
    with Parlour().listen() as p:
        for number in range(12):
            p.alerts.send("warning" if number % 2 else "info", f"n{number % 9}", f"message {number}", key=f"k{number}")
        assert p.titles == ["n0", "n1", "n2", "n3", "n4"]
        assert p.lines.fates().count("digested") == 7
        assert p.alerts.counts.pending == 7
        p.later(9.9)
        assert len(p.got) == 5
        p.later(0.2)
        digest = p.got[5]
        assert digest.title == "7 alerts at once"
        assert digest.level == "warning"
        assert [alert.title for alert in digest.of] == ["n5", "n6", "n7", "n8", "n0", "n1", "n2"]
        assert "message 11" in digest.message
        assert p.lines[-1]["digest_of"] == 7
        assert p.alerts.counts.delivered == 12


def test_five_are_no_burst_and_a_quiet_minute_ends_one():
    with Parlour().listen() as p:
        for number in range(5):
            p.alerts.send("info", f"a{number}")
        p.later(10)
        for number in range(6):
            p.alerts.send("info", f"b{number}")
        p.later(10)
        assert p.titles == [*(f"a{n}" for n in range(5)), *(f"b{n}" for n in range(6))]  # one alone is no digest


def test_critical_alerts_are_never_digested():
    with Parlour().listen() as p:
        for number in range(20):
            p.alerts.send("info", f"i{number}")
            p.alerts.send("critical", f"c{number}")
        assert [title for title in p.titles if title[0] == "c"] == [f"c{n}" for n in range(20)]
        assert "digested" not in [line["fate"] for line in p.lines if line["level"] == "critical"]


def test_a_storm_makes_ever_fewer_digests_and_loses_nothing():
    with Parlour().listen() as p:
        for second in range(600):
            p.alerts.send("info", "s", f"{second}")
            p.alerts.send("info", "t", f"{second}")
            p.later(1)
        p.later(160)
        p.later(160)
        assert len(p.got) < 20
        assert sum(max(1, len(alert.of)) for alert in p.got) == 1200
        assert p.alerts.counts == type(p.alerts.counts)(1200, 0, 0)


def test_flush_sends_what_was_collected():
    with Parlour().listen() as p:
        for number in range(8):
            p.alerts.send("info", f"a{number}")
        assert p.flush()
        assert p.titles[-1] == "3 alerts at once"


def test_nowhere_to_go_is_said_and_is_no_loss():
    with Parlour() as p:
        p.alerts.send("warning", "a")
        p.alerts.send("critical", "b")
        assert p.lines.fates() == ["failed", "pending"]
        assert "nowhere" in p.lines[0]["error"]
        assert p.flush()
        assert p.alerts.counts.dropped == p.alerts.counts.pending == 0
        assert not p.faults.drops


def test_a_failing_function_is_counted_and_the_others_get_it():
    def broken(alert):
        raise RuntimeError("pager")

    with Parlour() as p:
        p.alerts.to(broken)
        p.listen()
        p.alerts.send("warning", "a")
        assert p.titles == ["a"]
        assert sorted(p.lines.fates()) == ["delivered", "failed"]
        assert p.faults.errors == {"alerts.to": 1}
        assert p.alerts.counts.delivered == 1
        assert p.alerts.counts.dropped == 0


def test_a_failing_function_alone_is_a_loss_that_is_told():
    with Parlour() as p:
        p.alerts.to(lambda alert: 1 / 0)
        p.alerts.send("warning", "a")
        assert p.alerts.counts.dropped == 1
        assert p.faults.drops == {"alerts": 1}
        assert not p.flush()
        assert p.flush()  # nothing new was lost


def test_an_async_function_is_called():
    got = []

    async def page(alert):
        got.append(alert.title)

    with Parlour() as p:
        assert p.alerts.to(page) is page
        p.alerts.send("info", "a")
        assert got == ["a"]


def test_a_function_that_sends_an_alert_itself():
    with Parlour() as p:
        p.alerts.to(lambda alert: p.alerts.send("info", "again", key="again"))
        p.listen()
        p.alerts.send("info", "first")
        assert p.titles == ["first", "again"]


class Unprintable:
    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


NASTY = [
    None,
    1,
    float("nan"),
    b"x",
    "",
    "\ud800\x00\x1b",
    "x" * 100_000,
    Unprintable(),
    [1],
    {"a": Unprintable()},
    {1: 2},
]


@pytest.mark.parametrize("nasty", NASTY, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("where", ["level", "title", "message", "fields", "key"])
def test_nothing_a_bot_sends_breaks(nasty, where, tmp_path):
    given = {"level": "critical", "title": "t", "message": "m", "fields": {"a": 1}, "key": "k", where: nasty}
    with Parlour(folder=tmp_path, faults=Faults(strict=True)).listen() as p:
        p.alerts.send(**given)
        assert len(p.got) == 1
        json.dumps([dict(line) for line in p.lines])
        alert = p.got[0]
        assert len(alert.title) <= 200
        assert len(alert.message) <= 8000
        alert.title.encode()
        p.alerts.resolve(given["key"])
        assert not p.faults.errors


def test_fields_are_taken_at_the_call():
    fields = {"a": 1}
    with Parlour(threaded=True) as p:
        p.alerts.to(p.got.append)
        p.alerts.send("info", "t", "", fields)
        fields["a"] = 2
        assert p.flush()
        assert dict(p.got[0].fields) == {"a": 1}


# -- across restarts ---------------------------------------------------------------------------------------------------


def test_the_cooldown_and_its_count_survive_a_restart(tmp_path):
    clock = Clock()
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.send("warning", "a", key="k")
        p.alerts.send("warning", "a", key="k")
    clock.advance(600)
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.send("warning", "a", key="k")
        assert not p.got
        p.later(3600 - 600)
        p.alerts.send("warning", "a", key="k")
        assert [alert.held for alert in p.got] == [2]


def test_a_recovery_after_a_restart(tmp_path):
    clock = Clock()
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.send("warning", "Feed silent", key="k")
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.resolve("k")
        assert [(alert.title, alert.recovery) for alert in p.got] == [("Feed silent", True)]
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.resolve("k")
        assert not p.got


def test_a_restart_with_the_clock_years_back(tmp_path):
    with Parlour(folder=tmp_path, clock=Clock("2026-01-02T00:00:00Z")).listen() as p:
        p.alerts.send("warning", "a", key="k")
    clock = Clock("2020-01-02T00:00:00Z")
    with Parlour(folder=tmp_path, clock=clock).listen() as p:
        p.alerts.send("warning", "a", key="k")
        assert not p.got
        p.later(3600)
        p.alerts.send("warning", "a", key="k")
        assert len(p.got) == 1


def test_a_critical_alert_without_receivers_waits_for_the_next_run(tmp_path):
    with Parlour(folder=tmp_path) as p:
        p.alerts.send("critical", "Lost connection", "m", {"a": 1}, key="k")
    assert p.lines.fates() == ["pending", "pending"]
    with Parlour(folder=tmp_path, run_id="run2").listen() as p:
        (alert,) = p.got
        assert (alert.title, alert.late, alert.run_id, dict(alert.fields)) == (
            "Lost connection",
            True,
            "run1",
            {"a": 1},
        )
        assert p.lines[-1]["fate"] == "delivered"
        assert p.lines[-1]["from_run"] == "run1"
    with Parlour(folder=tmp_path, run_id="run3").listen() as p:
        assert not p.got


def test_what_nobody_took_for_many_runs_is_given_up(tmp_path, caplog):
    with Parlour(folder=tmp_path) as p:
        p.alerts.send("critical", "old", key="k")
    caplog.clear()
    for _ in range(6):
        Parlour(folder=tmp_path).close()
    with Parlour(folder=tmp_path).listen() as p:
        assert not p.got
    assert caplog.text.count("1 undelivered alerts of earlier runs are given up") == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\x00" * 100, b'{"keys": 7, "pending": 3}',
    b'{"keys": {"k": {"rank": "x"}}, "pending": [1, {}, {"alert": {"id": 3}}]}'])  # fmt: skip
def test_a_damaged_state_file_stops_nothing(tmp_path, damage):
    (tmp_path / "alerts.json").write_bytes(damage)
    with Parlour(folder=tmp_path).listen() as p:
        p.alerts.send("warning", "a", key="k")
        assert p.titles == ["a"]
    assert json.loads((tmp_path / "alerts.json").read_bytes())["keys"]["k"]


def test_a_full_disk_is_counted_and_the_alert_goes_out(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Parlour(folder=tmp_path, faults=Faults(strict=True)).listen() as p:
        monkeypatch.setattr("botobs.alerts.saved.atomic_write", full)
        p.alerts.send("critical", "a", key="k")
        assert p.titles == ["a"]
        assert p.faults.errors["alerts.state"] >= 1
        monkeypatch.undo()
    assert "k" in json.loads((tmp_path / "alerts.json").read_bytes())["keys"]


def test_a_disk_that_refuses_the_record_stops_nothing():
    def refuse(line):
        raise OSError(28, "No space left on device")

    faults, got = Faults(), []
    alerts = Alerts(write=refuse, faults=faults, clock=Clock(), threaded=False)
    alerts.to(got.append)
    alerts.send("info", "a")
    assert len(got) == 1
    assert faults.errors == {"alerts.write": 1}


def test_thousands_of_keys_are_bounded(tmp_path):
    with Parlour(threaded=True, folder=tmp_path).listen() as p:
        for number in range(2_500):
            p.alerts.send("critical", "a", key=f"order-{number}")
        p.alerts.close(time.monotonic() + 60)
    assert len(json.loads((tmp_path / "alerts.json").read_bytes())["keys"]) <= 2_000


# -- a model -----------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from("abc"), st.sampled_from(["info", "warning", "critical"])),
        st.tuples(st.just("resolve"), st.sampled_from("abc")),
        st.tuples(st.just("wait"), st.integers(0, 4000)),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@settings(max_examples=int(os.environ.get("BOTOBS_EXAMPLES", "60")), deadline=None)
@given(STEPS)
def test_cooldowns_as_a_plain_model_says(tmp_path_factory, steps):
    folder, clock = tmp_path_factory.mktemp("state"), Clock()
    p = Parlour(folder=folder, clock=clock, burst=1000).listen()
    said, expected, got, now, seen = {}, [], [], 0, 0
    ranks = ["info", "warning", "critical"]
    for step in steps:
        if step[0] == "send":
            _, key, level = step
            rank = ranks.index(level)
            last = said.get(key)
            if last is None or now - last["at"] >= 3600 or rank > last["rank"]:
                expected.append((key, False, last["held"] if last else 0))
                said[key] = {"at": now, "rank": rank, "held": 0}
            else:
                last["held"] += 1
            p.alerts.send(level, key, key=key)
            seen += 1
        elif step[0] == "resolve":
            last = said.pop(step[1], None)
            if last:
                expected.append((step[1], True, last["held"]))
            p.alerts.resolve(step[1])
        elif step[0] == "wait":
            now += step[1]
            clock.advance(step[1])
        else:
            got += p.got
            p.close()
            p = Parlour(folder=folder, clock=clock, burst=1000).listen()
    got += p.got
    p.close()
    assert [(alert.key, alert.recovery, alert.held) for alert in got] == expected


# -- the end, and forks ------------------------------------------------------------------------------------------------


def test_verbs_after_the_end_do_nothing():
    p = Parlour(threaded=True)
    p.listen()
    assert p.close()
    assert p.close()
    p.alerts.send("critical", "late")
    p.alerts.resolve("k")
    p.alerts.to(print)
    assert p.flush()
    assert not p.lines


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_lets_go():
    with Parlour(threaded=True).listen() as p:
        p.alerts.send("info", "a")
        assert p.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                p.alerts.abandon()
                p.alerts.send("critical", "child")
                begun = time.monotonic()
                done = p.flush() and p.close()
                code = 0 if done and time.monotonic() - begun < 5 and len(p.lines) == 1 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        p.alerts.send("info", "b")
        assert p.flush()
        assert p.titles == ["a", "b"]


def test_too_many_at_once_drop_the_least_and_say_so():
    lines = Lines()
    faults = Faults()
    alerts = Alerts(write=lines, faults=faults, clock=Clock(), threaded=False)
    alerts.to(lambda alert: None)
    alerts._room._busy = True  # the desk is held up
    for number in range(2_100):
        alerts.send("info", f"{number}")
    for number in range(100):
        alerts.send("critical", f"c{number}")
    alerts._room._busy = False
    alerts.poll()
    assert faults.drops == {"alerts": 100}
    assert [line["count"] for line in lines if line["fate"] == "failed"] == [100]
    assert len([line for line in lines if line["level"] == "critical" and line["fate"] == "delivered"]) == 100


def test_a_frozen_clock():
    import freezegun

    from botobs.clock import SystemClock

    with freezegun.freeze_time("2026-01-02T03:04:05Z") as frozen, Parlour(clock=SystemClock()).listen() as p:
        for _ in range(2):
            p.alerts.send("warning", "a", key="k")
            frozen.tick(3599)
            p.alerts.send("warning", "a", key="k")
            frozen.tick(1)
        assert [alert.held for alert in p.got] == [0, 1]


def test_a_field_of_any_size_is_bounded():
    with Parlour().listen() as p:
        p.alerts.send("info", "t", "", {"deep": {"a": ["x" * 100] * 10_000}, "many": list(range(10_000))})
        assert all(len(value) <= 2_000 for value in p.got[0].fields.values())


def test_functions_that_hang_keep_nobody_from_the_rest():
    import threading

    stuck = threading.Event()
    with Parlour(threaded=True) as p:
        p.alerts.to(lambda alert: stuck.wait(10), limit=0.01)
        p.listen()
        p.alerts.on(Event, title="rule", when=lambda event: True)
        for number in range(20):
            p.alerts.send("critical", f"{number}")
        assert p.flush()
        p.fan.publish(Event(ts_ns=1))
        assert p.flush()
        assert len(p.got) == 21
        stuck.set()


def test_a_signal_handler_may_send():
    import signal

    with Parlour(threaded=True).listen() as p:
        previous = signal.signal(
            signal.SIGALRM, lambda *_: p.alerts.send("critical", "from the handler", f"{len(p.got)}")
        )
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            for number in range(1_500):
                p.alerts.send("info", "x", key="k")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        assert p.flush()
        assert "from the handler" in p.titles
