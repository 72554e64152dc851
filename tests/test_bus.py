import asyncio
import functools
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botobs.bus import dispatch as bus_module
from botobs import timebox
from botobs.bus.background import Backlog, Entry
from botobs.bus import Bus
from botobs.events import Event, Importance, Recorded, RunStarted
from botobs.faults import Faults

ROOT = Path(bus_module.__file__).parents[2]
LONG = 20.0


@attrs.frozen(kw_only=True)
class Number(Event):
    n: int = 0
    source: int = 0


@attrs.frozen(kw_only=True)
class Low(Number):
    importance: ClassVar[Importance] = Importance.LOW
    stream: ClassVar[str | None] = "lows"


@attrs.frozen(kw_only=True)
class Critical(Number):
    importance: ClassVar[Importance] = Importance.CRITICAL


def number(n, cls=Number, source=0):
    return cls(ts_ns=n, n=n, source=source)


def deadline(seconds=LONG):
    return time.monotonic() + seconds


def until(condition):
    end = deadline()
    while not condition():
        assert time.monotonic() < end, "waited too long"
        threading.Event().wait(0.002)


@pytest.fixture
def gate():
    """An event that hanging subscribers wait for; opened at the end, so that no thread stays behind."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def make(faults, gate):
    made = []

    def make(*, queue_size=100_000, threaded=True, faults=faults, **settings):
        made.append(Bus(faults, queue_size=queue_size, threaded=threaded, **settings))
        return made[-1]

    yield make
    gate.set()
    for bus in made:
        try:
            bus.close(deadline())
        except Exception:  # what a strict test has left
            pass


@pytest.fixture(params=[True, False], ids=["live", "backtest"])
def bus(make, request):
    return make(threaded=request.param)


# -- subscribing


def test_subscribers_get_their_class_and_its_subclasses(bus):
    got = {cls: [] for cls in (Event, Number, Low)}
    for cls, events in got.items():
        bus.subscribe(cls, events.append)
    sent = [number(1), number(2, Low), Recorded(ts_ns=3, into="x", fields={})]
    for event in sent:
        bus.publish(event)
    assert bus.flush(deadline())
    assert got == {Event: sent, Number: sent[:2], Low: sent[1:2]}


def test_a_class_published_before_is_noticed_by_a_later_subscriber(bus):
    got = []
    bus.publish(number(1))
    bus.subscribe(Event, got.append)
    bus.publish(number(2))
    assert bus.flush(deadline())
    assert [event.n for event in got] == [2]


@pytest.mark.parametrize("immediate", [True, False])
def test_cancel_ends_it(bus, immediate):
    got = []
    subscription = bus.subscribe(Number, got.append, immediate=immediate)
    bus.publish(number(1))
    assert bus.flush(deadline())
    subscription.cancel()
    subscription.cancel()
    bus.publish(number(2))
    assert bus.flush(deadline())
    assert [event.n for event in got] == [1]


def test_cancel_also_holds_for_queued_events(make, gate):
    bus, got, entered = make(), [], threading.Event()
    bus.subscribe(Number, lambda _: (entered.set(), gate.wait(LONG)))
    subscription = bus.subscribe(Number, got.append)
    bus.publish(number(1))
    assert entered.wait(LONG)
    subscription.cancel()
    gate.set()
    assert bus.flush(deadline())
    assert got == []


def test_subscribing_and_cancelling_during_dispatch(bus):
    got = []

    def once(event):
        got.append(("once", event.n))
        first.cancel()
        bus.subscribe(Number, lambda event: got.append(("later", event.n)))

    first = bus.subscribe(Number, once)
    bus.publish(number(1))
    assert bus.flush(deadline())
    bus.publish(number(2))
    assert bus.flush(deadline())
    assert got == [("once", 1), ("later", 2)]


def test_nonsense_is_counted_and_not_raised(bus, faults):
    subscription = bus.subscribe(int, print)
    bus.subscribe(Number, None)
    subscription.cancel()
    bus.publish("not an event")
    bus.publish(None)
    assert dict(faults.errors) == {"bus.subscribe": 2, "bus.publish": 2}


def test_repr_names_function_class_and_lane(bus):
    def on_number(event):
        pass

    assert repr(bus.subscribe(Number, on_number)) == "<Subscription on_number to Number, background>"
    assert repr(bus.subscribe(Low, functools.partial(on_number), immediate=True)) == (
        "<Subscription on_number to Low, immediate>"
    )
    assert repr(bus.subscribe("Number", on_number)) == "<Subscription _nothing to Number, background>"


# -- the immediate lane


def test_immediate_runs_before_publish_returns_trusted_first(bus):
    got = []
    bus.subscribe(Number, lambda _: got.append("bot 1"), immediate=True)
    bus.subscribe(Number, lambda _: got.append(threading.current_thread()), immediate=True, _trusted=True)
    bus.subscribe(Number, lambda _: got.append("bot 2"), immediate=True)
    bus.subscribe(Number, lambda _: got.append("room"), immediate=True, _trusted=True)
    bus.publish(number(1))
    assert got == [threading.current_thread(), "room", "bot 1", "bot 2"]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("immediate", [True, False])
def test_one_that_raises_is_counted_each_time_and_called_again(bus, faults, immediate, trusted):
    got = []

    def fails(event):
        got.append(event.n)
        raise ValueError("no")

    bus.subscribe(Number, fails, immediate=immediate, _trusted=trusted)
    bus.subscribe(Number, lambda event: got.append(-event.n), immediate=immediate, _trusted=trusted)
    for n in (1, 2, 3):
        bus.publish(number(n))
    assert bus.flush(deadline())
    assert got == [1, -1, 2, -2, 3, -3]
    assert dict(faults.errors) == {"bus:fails": 3}


def test_an_immediate_one_that_hangs_delays_the_bot_once(make, faults, gate):
    bus, got, entered = make(callback_limit_s=0.05), [], []

    def hangs(event):
        entered.append(event.n)
        gate.wait(LONG)

    bus.subscribe(Number, hangs, immediate=True, limit_s=0.05)
    bus.subscribe(Number, lambda event: got.append(event.n), immediate=True)
    began = time.monotonic()
    bus.publish(number(1))
    once = time.monotonic() - began
    assert 0.04 < once < 5
    assert got == [1]
    assert bus.hung == ("hangs",)
    for n in range(2, 200):
        bus.publish(number(n))
    assert bus.flush(deadline())
    assert got == list(range(1, 200))
    # nobody calls it while it hangs; what it missed is counted
    assert entered == [1]
    assert dict(faults.errors) == {"bus:hangs": 1}
    assert dict(faults.drops) == {"bus:hangs": 198}
    gate.set()
    until(lambda: bus.hung == ())
    bus.publish(number(200))
    assert bus.flush(deadline())
    assert entered == [1, 200]  # it is back, in the background


def test_one_that_hung_meanwhile_gets_the_outer_event_in_the_background(make, faults, gate):
    bus, entered = make(), []

    def nests(event):
        if event.n == 1:
            bus.publish(number(2))

    def hangs(event):
        entered.append((event.n, threading.current_thread().name))
        if event.n == 2:
            gate.wait(LONG)

    bus.subscribe(Number, nests, immediate=True, _trusted=True)
    bus.subscribe(Number, hangs, immediate=True, limit_s=0.02)
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert entered == [(2, "botobs-timebox")]
    assert dict(faults.drops) == {"bus:hangs": 1}


def test_one_that_ends_just_at_its_limit_is_not_taken_for_stuck(make):
    bus, calls = make(), 0

    def quick(_):
        nonlocal calls
        calls += 1

    for n in range(1500):
        subscription = bus.subscribe(Number, quick, immediate=True, limit_s=n % 100 * 1e-6)
        bus.publish(number(n))
        until(lambda: not bus.hung)
        subscription.cancel()
    assert calls == 1500


def test_an_immediate_one_that_cannot_be_guarded_is_called_in_the_background(make, faults, monkeypatch):
    monkeypatch.setattr(timebox, "_pool", timebox.Pool(most_abandoned=0))
    bus, got = make(), []
    bus.subscribe(Number, lambda _: got.append(threading.current_thread().name), immediate=True)
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert got == ["botobs-bus"]
    assert dict(faults.errors) == {"bus:<lambda>": 1}


def test_nested_publishes_are_immediate_at_once_and_in_order_in_the_background(bus):
    immediate, background = [], []

    def enrich(event):
        immediate.append(event.n)
        if event.n < 3:
            bus.publish(number(event.n + 1))
            assert immediate[-1] == 3  # before that publish returned

    bus.subscribe(Number, enrich, immediate=True)
    bus.subscribe(Number, lambda event: background.append(event.n))
    bus.publish(number(1))
    assert immediate == [1, 2, 3]
    assert bus.flush(deadline())
    assert background == [1, 2, 3]


def test_the_background_sees_an_event_after_the_immediate_lane_has_it(make):
    bus, got = make(), []
    handed_on = threading.Event()
    bus.subscribe(Number, lambda _: (got.append("background"), handed_on.set()))

    def room(_):
        bus.publish(RunStarted(ts_ns=0, pid=1))
        handed_on.wait(0.05)
        got.append("immediate")

    bus.subscribe(Number, room, immediate=True, _trusted=True)
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert got == ["immediate", "background"]


def test_a_context_that_outlives_its_publish_does_not_swallow_events(make):
    bus, got = make(), []
    go, threads = threading.Event(), []

    def room(event):
        if event.n == 1:
            import contextvars

            context = contextvars.copy_context()
            late = lambda: (go.wait(LONG), bus.publish(number(2)))
            threads.append(threading.Thread(target=context.run, args=(late,)))
            threads[0].start()

    bus.subscribe(Number, room, immediate=True, _trusted=True)
    bus.subscribe(Number, lambda event: got.append(event.n))
    bus.publish(number(1))
    go.set()
    threads[0].join(LONG)
    assert bus.flush(deadline())
    assert got == [1, 2]


# -- the background lane


def test_eight_threads_lose_nothing_and_keep_their_order(make, faults):
    bus, got = make(), {source: [] for source in range(8)}
    bus.subscribe(Number, lambda event: got[event.source].append(event.n))

    def publish(source):
        for n in range(10_000):
            bus.publish(number(n, source=source))

    threads = [threading.Thread(target=publish, args=(source,)) for source in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert bus.flush(deadline())
    assert all(numbers == list(range(10_000)) for numbers in got.values())
    assert bus.depth == 0
    assert (faults.errors, faults.drops) == ({}, {})


def test_background_runs_on_one_daemon_thread_of_its_own(make):
    bus, got = make(), []
    bus.subscribe(Number, lambda _: got.append(threading.current_thread()))
    for n in range(3):
        bus.publish(number(n))
    assert bus.flush(deadline())
    (thread,) = set(got)
    assert thread.name == "botobs-bus"
    assert thread.daemon
    assert bus.close(deadline())
    assert not thread.is_alive()


def test_a_background_subscriber_may_publish(bus):
    got = []

    def again(event):
        got.append(event.n)
        if event.n < 5:
            bus.publish(number(event.n + 1))
            got.append(-event.n)  # the next one comes when this one returned

    bus.subscribe(Number, again)
    bus.publish(number(1))
    until(lambda: bus.flush(deadline()) and len(got) == 9)
    assert got == [1, -1, 2, -2, 3, -3, 4, -4, 5]


def test_a_hanging_subscriber_is_left_behind_and_nobody_else_notices(make, faults, gate):
    bus = make(callback_limit_s=0.05)
    before, after, entered = [], [], []

    def hangs(event):
        entered.append(event.n)
        if event.n == 5:
            gate.wait(LONG)
            raise ValueError("too late to matter")

    bus.subscribe(Number, lambda event: before.append(event.n))
    bus.subscribe(Number, hangs)
    bus.subscribe(Number, lambda event: after.append(event.n))
    for n in range(20):
        bus.publish(number(n))
    until(lambda: bus.housekeep() is None and bus.hung == ("hangs",))
    assert bus.flush(deadline())
    assert before == after == list(range(20))
    assert entered == list(range(6))
    assert dict(faults.errors) == {"bus:hangs": 1}
    assert dict(faults.drops) == {"bus:hangs": 14}
    stuck = [thread for thread in threading.enumerate() if thread.name == "botobs-bus"]
    assert len(stuck) == 2
    gate.set()
    until(lambda: sum(thread.is_alive() for thread in stuck) == 1)
    assert bus.hung == ()
    bus.publish(number(20))
    assert bus.flush(deadline())
    assert before == after == list(range(21))
    assert entered == [*range(6), 20]
    assert dict(faults.errors) == {"bus:hangs": 1}


def test_publish_alone_notices_a_hanging_subscriber(make, gate):
    bus, got = make(callback_limit_s=0.02), []
    bus.subscribe(Low, lambda _: gate.wait(LONG))
    bus.subscribe(Number, lambda event: got.append(event.n))
    bus.publish(number(1, Low))
    until(lambda: bus.publish(number(2)) is None and bus.hung != ())
    assert bus.flush(deadline())
    assert got[:2] == [1, 2]


def test_flush_goes_on_without_a_hanging_subscriber(make, gate):
    bus, got = make(callback_limit_s=0.05), []
    bus.subscribe(Number, lambda _: gate.wait(LONG))
    bus.subscribe(Number, got.append)
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert len(got) == 1


def test_after_three_hangs_the_bots_function_is_out_for_good_but_no_room_of_ours(make, faults):
    bus, gates, calls = (
        make(callback_limit_s=0.01),
        [threading.Event() for _ in range(5)],
        {"bots": 0, "ours": 0},
    )

    def bots(event):
        calls["bots"] += 1
        gates[event.n].wait(LONG)

    def ours(event):
        calls["ours"] += 1
        gates[event.n].wait(LONG)

    bus.subscribe(Number, bots)
    bus.subscribe(Number, ours, _trusted=True)
    for n, gate in enumerate(gates):
        bus.publish(number(n))
        assert bus.flush(deadline())
        gate.set()
        until(lambda n=n: "ours" not in bus.hung and ("bots" not in bus.hung or n >= 2))
    assert calls == {"bots": 3, "ours": 5}
    assert bus.hung == ("bots",)
    assert dict(faults.drops) == {"bus:bots": 2}


def test_flush_keeps_its_deadline_and_close_counts_what_is_left(make, faults, gate):
    bus, entered = make(), threading.Event()
    bus.subscribe(Number, lambda _: (entered.set(), gate.wait(LONG)))
    bus.subscribe(Number, print)
    for n in range(3):
        bus.publish(number(n, Low if n == 2 else Number))
    assert entered.wait(LONG)
    began = time.monotonic()
    assert not bus.flush(deadline(0.05))
    assert not bus.close(deadline(0.05))
    assert time.monotonic() - began < 5
    bus.publish(number(3, Low))
    # one stuck half way, one still queued, and two of the other stream
    assert dict(faults.drops) == {"bus:Number": 2, "lows": 2}
    gate.set()
    assert bus.close(deadline())


def test_flush_from_a_subscriber_does_not_wait_for_itself(bus):
    got = []
    bus.subscribe(Number, lambda _: got.append(bus.flush(deadline())))
    began = time.monotonic()
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert got == [True]
    assert time.monotonic() - began < 10


def test_flush_waits_for_what_was_published_before_and_no_longer(make, gate):
    bus, second = make(), threading.Event()

    def slow(event):
        if event.n == 2:
            second.set()
            gate.wait(LONG)

    bus.subscribe(Number, slow)
    bus.publish(number(1))
    bus.publish(number(2, Critical))
    assert second.wait(LONG)
    assert not bus.flush(deadline(0.01))


def test_no_thread_to_be_had_delays_events_and_loses_none(make, faults, monkeypatch):
    bus, got = make(), []

    def start(self):
        raise RuntimeError("can't start new thread")

    bus.subscribe(Number, lambda event: got.append((event.n, threading.current_thread().name)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        bus.publish(number(1))
        assert bus.depth == 1
        assert bus.flush(deadline())
        assert got == [(1, threading.current_thread().name)]
        bus.publish(number(2))
    bus.housekeep()
    assert bus.flush(deadline())
    assert got[1] == (2, "botobs-bus")
    assert (faults.errors, faults.drops) == ({}, {})


# -- the drop policy


def test_a_full_queue_drops_by_importance_and_counts_each(make, faults, gate):
    bus, got, entered = make(queue_size=3), [], threading.Event()

    def take(event):
        entered.set()
        gate.wait(LONG)
        got.append((type(event).__name__, event.n))

    bus.subscribe(Number, take)
    bus.publish(number(0))
    assert entered.wait(LONG)
    for n, cls in enumerate([Low, Number, Low, Number, Number, Number, Low, Critical, Critical, Critical, Critical], 1):
        bus.publish(number(n, cls))
    assert bus.depth == 4  # critical ones may exceed the bound
    bus.publish(number(99))
    gate.set()
    assert bus.flush(deadline())
    assert got == [("Number", 0), *(("Critical", n) for n in (8, 9, 10, 11))]
    assert dict(faults.drops) == {"lows": 3, "bus:Number": 5}


def _model(size, importances):
    """The policy in plain words, on a plain list."""
    queue, dropped = [], []
    for n, importance in enumerate(importances):
        if len(queue) >= size:
            lowest = min(level for level, _ in queue)
            if importance < lowest:
                dropped.append(n)
                continue
            if lowest < 3:
                victim = next(entry for entry in queue if entry[0] == lowest)
                queue.remove(victim)
                dropped.append(victim[1])
        queue.append((importance, n))
    return [n for _, n in queue], dropped


@given(st.integers(1, 6), st.lists(st.integers(0, 3), max_size=40))
def test_the_queue_equals_a_plain_model(size, importances):
    backlog, dropped = Backlog(size), []
    for n, importance in enumerate(importances):
        victim = backlog.push(importance, Entry(n, number(n), ()))
        if victim is not None:
            dropped.append(victim.seq)
    kept = []
    length = len(backlog)
    while (oldest := backlog.oldest()) is not None:
        entry = backlog.pop()
        assert entry.seq == oldest
        kept.append(entry.seq)
    assert backlog.pop() is None
    assert (kept, dropped) == _model(size, importances)
    assert length == len(kept)
    assert len(kept) + len(dropped) == len(importances)
    assert not any(importances[n] == 3 for n in dropped)


# -- async functions


def _on_loop(main):
    asyncio.run(asyncio.wait_for(main(), LONG))


@pytest.mark.parametrize("immediate", [True, False])
def test_an_async_subscriber_runs_on_its_own_event_loop(bus, faults, immediate):
    async def main():
        got, done = [], asyncio.Event()

        async def on_number(event):
            await asyncio.sleep(0)
            got.append((event.n, asyncio.get_running_loop()))
            if event.n == 3:
                done.set()
            raise ValueError("counted")

        bus.subscribe(Number, on_number, immediate=immediate)
        for n in (1, 2):
            bus.publish(number(n))
        await asyncio.to_thread(bus.publish, number(3))
        await done.wait()
        assert got == [(n, asyncio.get_running_loop()) for n in (1, 2, 3)]

    _on_loop(main)
    assert dict(faults.errors) == {"bus:on_number": 3}
    bus.publish(number(4))  # its loop is closed
    assert bus.flush(deadline())
    assert dict(faults.errors) == {"bus:on_number": 4}


def test_an_async_subscriber_older_than_its_loop_is_taken_in_by_the_first_that_publishes(bus, faults):
    got = []

    class Handler:
        async def __call__(self, event):
            got.append(event.n)

    bus.subscribe(Number, Handler())
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert dict(faults.errors) == {f"bus:{Handler.__qualname__.rpartition('<locals>.')[2]}": 1}

    async def main():
        bus.publish(number(2))
        while got != [2]:
            await asyncio.sleep(0.001)

    _on_loop(main)


def test_a_loop_that_does_not_keep_up_loses_the_rest_counted(make, faults):
    bus, got = make(queue_size=5), []

    async def main():
        async def on_number(event):
            got.append(event.n)

        bus.subscribe(Number, on_number)
        for n in range(8):  # the loop is busy here
            bus.publish(number(n, Critical if n == 7 else Low))
            assert bus.flush(deadline())
        while len(got) < 6:
            await asyncio.sleep(0.001)

    _on_loop(main)
    assert got == [0, 1, 2, 3, 4, 7]
    assert dict(faults.drops) == {"bus:on_number": 2}


def test_what_a_closed_loop_never_ran_is_counted_at_close(make, faults):
    bus = make()
    loop = asyncio.new_event_loop()

    async def on_number(event):
        pass

    async def subscribe():
        bus.subscribe(Number, on_number)

    loop.run_until_complete(subscribe())
    bus.publish(number(1))
    assert bus.flush(deadline())
    loop.close()
    assert bus.close(deadline())
    assert dict(faults.drops) == {"bus:on_number": 1}


@pytest.mark.parametrize("immediate", [True, False])
def test_a_plain_function_that_returns_a_coroutine_is_an_error(bus, faults, immediate):
    async def handle(event):
        pass

    bus.subscribe(Number, lambda event: handle(event), immediate=immediate)
    bus.publish(number(1))
    assert bus.flush(deadline())
    assert dict(faults.errors) == {"bus:<lambda>": 1}


# -- strict mode and backtests


@pytest.mark.parametrize("threaded", [True, False])
def test_strict_mode_raises_in_publish_or_flush(make, threaded):
    bus, got = make(threaded=threaded, faults=Faults(strict=True)), []

    def fails(event):
        raise ValueError(event.n)

    subscription = bus.subscribe(Number, fails, immediate=True)
    bus.subscribe(Number, got.append, immediate=True)
    with pytest.raises(ValueError, match="1"):
        bus.publish(number(1))
    assert len(got) == 1  # the others had it all the same
    subscription.cancel()
    bus.subscribe(Number, fails)

    def both():
        bus.publish(number(2))
        bus.flush(deadline())

    with pytest.raises(ValueError, match="2"):
        both()
    with pytest.raises(TypeError):
        bus.publish("not an event")


def test_a_backtest_is_synchronous_ordered_unbounded_and_has_no_thread(make, faults):
    bus, got = make(threaded=False, queue_size=1), []
    before = threading.active_count()

    def first(event):
        got.append(("first", event.n))
        if event.n in (1, 2):
            for n in (10, 11):
                bus.publish(number(event.n * n))
            assert got[-1] == ("first", event.n)

    bus.subscribe(Number, first)
    bus.subscribe(Number, lambda event: got.append(("second", event.n)))
    bus.publish(number(1))
    assert got == [(who, n) for n in (1, 10, 11) for who in ("first", "second")]
    assert threading.active_count() == before
    assert (faults.errors, faults.drops) == ({}, {})


def test_an_interrupted_backtest_goes_on_where_it_was(make):
    bus, got = make(threaded=False), []

    def interrupted(event):
        if event.n == 1:
            bus.publish(number(2))
            raise KeyboardInterrupt

    bus.subscribe(Number, interrupted)
    bus.subscribe(Number, lambda event: got.append(event.n))
    with pytest.raises(KeyboardInterrupt):
        bus.publish(number(1))
    assert bus.flush(deadline())
    assert got == [1, 2]


# -- process borders


def test_a_forked_child_calls_nobody_and_waits_for_nobody():
    code = (
        "import os, threading, time\n"
        "from botobs.bus import Bus\n"
        "from botobs.events import Event\n"
        "from botobs.faults import Faults\n"
        "faults = Faults(); bus = Bus(faults, queue_size=10, threaded=True); got = []\n"
        "bus.subscribe(Event, got.append); bus.subscribe(Event, got.append, immediate=True)\n"
        "bus.publish(Event(ts_ns=1)); bus.flush(time.monotonic() + 20); assert len(got) == 2\n"
        "held, let_go = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with bus._lock, bus._lane._lock: held.set(); let_go.wait(20)\n"
        "threading.Thread(target=hold, daemon=True).start(); held.wait(20)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    bus.abandon()\n"
        "    bus.publish(Event(ts_ns=2)); bus.subscribe(Event, got.append); bus.publish(Event(ts_ns=3))\n"
        "    done = bus.flush(time.monotonic() + 20) and bus.close(time.monotonic() + 20)\n"
        "    os._exit(0 if done and len(got) == 2 and not faults.drops and bus.depth == 0 else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "let_go.set()\n"
        "bus.publish(Event(ts_ns=4)); bus.flush(time.monotonic() + 20); print(len(got))\n"
    )
    assert _run(code) == "0\n4\n"


def test_a_signal_handler_may_publish_and_flush_at_any_moment():
    code = (
        "import signal, time\n"
        "from botobs.bus import Bus\n"
        "from botobs.events import Event\n"
        "from botobs.faults import Faults\n"
        "bus = Bus(Faults(), queue_size=10**6, threaded=True); got = []\n"
        "bus.subscribe(Event, lambda event: got.append(event.ts_ns)); sent = 0\n"
        "def handler(*_):\n"
        "    global sent\n"
        "    sent += 1; bus.publish(Event(ts_ns=-1)); assert bus.flush(time.monotonic() + 20)\n"
        "signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
        "for n in range(20000): bus.publish(Event(ts_ns=n))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "assert bus.flush(time.monotonic() + 20)\n"
        "print(sent > 3, got.count(-1) == sent, [n for n in got if n >= 0] == list(range(20000)))\n"
    )
    assert _run(code) == "True True True\n"


def _run(code):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# -- types

TYPED = """
from botobs.bus import Bus, Subscription
from botobs.events import Event, Recorded, RunStarted

def on_any(event: Event) -> None: ...
def on_recorded(event: Recorded) -> int: return len(event.into)
async def on_start(event: RunStarted) -> None: ...

def use(bus: Bus) -> Subscription:
    bus.subscribe(Recorded, on_recorded)
    bus.subscribe(Recorded, on_any, immediate=True)
    bus.subscribe(RunStarted, on_start)
    bus.subscribe(Recorded, lambda event: print(event.into))
    bus.subscribe(Event, on_recorded)  # wrong
    bus.subscribe(int, print)  # wrong
    bus.subscribe(Recorded, lambda event: print(event.pid))  # wrong
    bus.publish("text")  # wrong
    bus.publish(Recorded(ts_ns=1, into="x", fields={}))
    return bus.subscribe(Event, on_any)
"""


def test_mypy_knows_what_a_subscriber_gets(tmp_path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(TYPED)
    # a cache of its own inside mypy's: other settings would throw the project's away
    cache = ROOT / ".mypy_cache" / "snippets"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    ran = subprocess.run(
        [*command, f"--cache-dir={cache}", "--follow-imports=silent", str(snippet)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    wrong = {n for n, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# wrong")}
    found = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error:" in line}
    assert found == wrong, ran.stdout + ran.stderr
