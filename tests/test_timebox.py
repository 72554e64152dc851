import contextvars
import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from botobs import timebox
from botobs.timebox import Outcome, Pool

ROOT = Path(timebox.__file__).parents[1]
LONG = 20.0


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "waited too long"
        threading.Event().wait(0.002)


@pytest.fixture
def gate():
    """An event that hanging functions wait for; opened at the end, so that no thread stays behind."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_a_value_an_exception_and_the_time_it_took():
    done = timebox.call(divmod, 7, 2, limit_s=LONG)
    assert (done.state, done.value, done.error, done.began) == ("done", (3, 1), None, True)
    assert 0 <= done.took_s < LONG
    failed = timebox.call(divmod, 7, 0, limit_s=LONG)
    assert (failed.state, failed.value) == ("failed", None)
    assert isinstance(failed.error, ZeroDivisionError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_even_an_exit_is_only_an_outcome(error):
    def fn():
        raise error

    pool = Pool()
    assert pool.call(fn, limit_s=LONG).error is error
    assert pool.call(int, limit_s=LONG) == Outcome("done", 0, None, pytest.approx(0, abs=LONG))


def test_it_runs_on_a_daemon_thread_that_is_reused():
    pool = Pool()
    first, second = (pool.call(threading.current_thread, limit_s=LONG).value for _ in range(2))
    assert first is second
    assert first is not threading.current_thread()
    assert first.daemon
    assert first.name.startswith("botobs-")


def test_the_callers_context_is_seen_and_not_changed():
    var = contextvars.ContextVar("var", default=0)

    def fn():
        seen = var.get()
        var.set(99)
        return seen

    var.set(5)
    assert timebox.call(fn, limit_s=LONG).value == 5
    assert var.get() == 5


def test_one_that_hangs_is_given_up_at_its_limit_and_the_next_call_works(gate):
    pool = Pool()
    began = time.monotonic()
    hung = pool.call(gate.wait, LONG, limit_s=0.05)
    assert 0.04 < time.monotonic() - began < LONG / 2
    assert hung.state == "hung"
    assert hung.began
    assert isinstance(hung.error, TimeoutError)
    assert 0.04 < hung.took_s < LONG / 2
    assert pool.abandoned == 1
    assert pool.call(int, limit_s=LONG).state == "done"


def test_one_that_comes_back_rejoins_the_pool(gate):
    pool = Pool()
    threads = []

    def fn():
        threads.append(threading.current_thread())
        gate.wait(LONG)

    pool.call(fn, limit_s=0.01)
    gate.set()
    until(lambda: pool.abandoned == 0)
    assert pool.call(threading.current_thread, limit_s=LONG).value is threads[0]


def test_hanging_threads_are_bounded_and_the_rest_refused_at_once(gate):
    pool = Pool(most_abandoned=3)
    for _ in range(3):
        assert pool.call(gate.wait, LONG, limit_s=0.0).began
    before = threading.active_count()
    called = []
    refused = pool.call(called.append, 1, limit_s=LONG)
    assert (refused.state, refused.began, called) == ("hung", False, [])
    assert isinstance(refused.error, TimeoutError)
    assert refused.took_s < LONG / 2
    assert threading.active_count() <= before
    gate.set()
    until(lambda: pool.abandoned == 0)
    assert pool.call(int, limit_s=LONG).state == "done"


def test_nested_calls_do_not_deadlock_and_use_few_threads():
    pool = Pool()
    seen = set()

    def fn(depth):
        seen.add(threading.current_thread())
        return depth if depth == 0 else pool.call(fn, depth - 1, limit_s=LONG).value

    assert pool.call(fn, 30, limit_s=LONG).value == 0
    assert len(seen) <= 8
    until(lambda: sum(thread.is_alive() for thread in seen) <= 4)


def test_a_closed_pool_keeps_no_thread_and_still_calls(gate):
    pool = Pool()
    threads = []

    def fn():
        threads.append(threading.current_thread())
        gate.wait(LONG)

    pool.call(fn, limit_s=0.0)
    waiting = pool.call(threading.current_thread, limit_s=LONG).value
    pool.close()
    waiting.join(LONG)
    assert not waiting.is_alive()
    later = pool.call(threading.current_thread, limit_s=LONG).value
    later.join(LONG)
    assert not later.is_alive()
    pool.close()
    gate.set()
    threads[0].join(LONG)  # the one that hung as well
    assert not threads[0].is_alive() and pool.abandoned == 0


def test_a_pool_closed_while_calls_end_keeps_no_thread():
    before = set(threading.enumerate())
    for _ in range(100):
        pool = Pool()
        closing = threading.Thread(target=pool.close)
        for n in range(3):
            pool.call(closing.start if n == 1 else int, limit_s=LONG)
        closing.join()
    until(lambda: not set(threading.enumerate()) - before)


def test_many_callers_at_once_each_get_their_own_answer():
    pool = Pool()
    answers = {}

    def caller(number):
        answers[number] = [pool.call(lambda n=n: (number, n), limit_s=LONG).value for n in range(200)]

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert answers == {number: [(number, n) for n in range(200)] for number in range(8)}


def test_a_race_at_the_limit_is_never_counted_twice():
    pool = Pool(most_abandoned=1000)
    states = set()
    for n in range(3000):  # around the time that a hand-over takes
        states.add(pool.call(int, limit_s=n % 60 * 1e-6).state)
    assert states <= {"done", "hung"}
    until(lambda: pool.abandoned == 0)


def test_either_the_end_or_the_limit_is_first():
    crew = timebox._Crew()
    ended, given_up = timebox._Job(int, (), 0), timebox._Job(int, (), 0)
    assert ended.settle()
    assert not crew.give_up(ended)
    assert crew.abandoned == set()
    assert crew.give_up(given_up)
    assert not given_up.settle()
    assert crew.abandoned == {given_up}


@pytest.mark.parametrize("limit", [-1.0, 0.0, float("inf"), 1e300])
def test_odd_limits(limit):
    outcome = timebox.call(int, limit_s=limit)
    assert outcome.state == "done" or limit <= 0


def test_an_idle_thread_keeps_nothing_alive():
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    pool = Pool()
    pool.call(lambda _: None, thing, limit_s=LONG)
    del thing
    until(lambda: gc.collect() is not None and gone() is None)


def test_without_a_thread_to_be_had_the_function_still_runs(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    pool = Pool()
    assert pool.call(divmod, 7, 2, limit_s=LONG).value == (3, 1)
    assert pool.call(divmod, 7, 0, limit_s=LONG).state == "failed"


def _run(code):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_ctrl_c_ends_the_wait():
    code = (
        "import os, signal, threading\n"
        "from botobs.timebox import Pool\n"
        "pool, gate = Pool(), threading.Event()\n"
        "def fn():\n"
        "    while not gate.is_set():\n"  # one that arrives just before the wait begins does not end it
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        gate.wait(1)\n"
        "try:\n"
        "    pool.call(fn, limit_s=30)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', pool.abandoned)\n"
        "gate.set()\n"
    )
    ran = _run(code)
    assert ran.stdout == "interrupted 1\n", ran.stderr


def test_a_signal_handler_may_call_while_its_thread_waits():
    code = (
        "import os, signal, threading\n"
        "from botobs import timebox\n"
        "answers = []\n"
        "def handler(*_): answers.append(timebox.call(int, limit_s=20).state)\n"
        "signal.signal(signal.SIGUSR1, handler)\n"
        "for _ in range(50):\n"
        "    timebox.call(os.kill, os.getpid(), signal.SIGUSR1, limit_s=20)\n"
        "print(set(answers))\n"
    )
    ran = _run(code)
    assert ran.stdout == "{'done'}\n", ran.stderr


def test_a_forked_child_starts_afresh():
    code = (
        "import os, threading\n"
        "from botobs import timebox\n"
        "gate = threading.Event()\n"
        "timebox.call(int, limit_s=20)\n"
        "timebox.call(gate.wait, 20, limit_s=0.01)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    ok = timebox.call(divmod, 7, 2, limit_s=20).value == (3, 1) and timebox._pool.abandoned == 0\n"
        "    os._exit(0 if ok else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "gate.set()\n"
    )
    ran = _run(code)
    assert ran.stdout == "0\n", ran.stderr


def test_a_function_that_forks_leaves_no_child_waiting():
    code = (
        "import os\n"
        "from botobs import timebox\n"
        "pid = timebox.call(os.fork, limit_s=20).value\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    ran = _run(code)
    assert ran.stdout == "0\n", ran.stderr
