"""It never breaks the bot: whatever a verb is given and whatever goes wrong behind it, the bot's loop goes on.

What is lost is counted, what is written can be read.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import inspect
import itertools
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

import botobs
from tests.servers.otlp import OtlpReceiver
from tests.slack import SLACK_S, undisturbed_s
from tests.soak.processes import PRELUDE, Bot, records, run, run_json, whole

# -- nasty values -----------------------------------------------------------------------------------------------------

DUNDERS = (
    "__str__", "__repr__", "__eq__", "__hash__", "__bool__", "__iter__", "__len__", "__getattr__",
    "__format__", "__float__", "__int__", "__index__", "__lt__", "__contains__", "__getitem__", "__call__", "__bytes__",
)  # fmt: skip


def _raiser(name, kind):
    def method(self, *_args, **_more):
        raise kind(name)

    return method


def nasty_object(names, base=object, kind=ValueError):
    """An object whose `names` raise `kind`."""
    body = {name: _raiser(name, kind) for name in names}
    if "__eq__" in body and "__hash__" not in body:
        body["__hash__"] = object.__hash__
    return type("Nasty", (base,), body)()


class Shifty(str):
    """Text that says something else whenever it is asked."""

    def __str__(self):
        return "x" * 10

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return True


class LyingClass:
    @property
    def __class__(self):
        raise RuntimeError("no class")


class Endless(dict):
    def items(self):
        return ((str(n), n) for n in itertools.count())

    def __iter__(self):
        return itertools.count()


class Flag(enum.Enum):
    A = float("nan")


def recursive():
    knot = {"a": [1, {}]}
    knot["a"][1]["again"] = knot
    knot["self"] = knot["a"]
    return knot


@functools.cache  # making it takes longer than all that is done with it
def deep(depth=100_000):
    found = []
    for _ in range(depth):
        found = [found]
    return found


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("cannot be shown")

    __repr__ = __str__


CURIOUS = [
    float("nan"), float("inf"), -float("inf"), -0.0, 10**400, -(2**63) - 1, 2**64, 1 << 20_000, True, None, "", "\ud800",
    "a\x00b", "line\nend\r\u2028", "é" * 50, b"\xff\x00", bytearray(b"x"), memoryview(b"abc"), 1 + 2j, ..., NotImplemented,
    decimal.Decimal("NaN"), decimal.Decimal("sNaN"), decimal.Decimal("1E+999999"), decimal.Decimal("-0"), fractions.Fraction(1, 3),
    dt.datetime.max, dt.datetime.min, dt.date(1, 1, 1), dt.timedelta.max, dt.time(1, tzinfo=dt.UTC), uuid.UUID(int=1), Path("/"),
    Flag.A, range(10**9), object, type, int, np.float64("nan"), np.float32(1.5), np.int64(-1), np.bool_(True), np.array([1.0, np.nan]),
    np.array([[1, 2], [3, 4]]), np.array(["a", object()], dtype=object), np.datetime64("NaT", "us"), np.array([], dtype="f8"), np.str_("s"),
    np.void(b"ab"), {1, "1", 1.5}, frozenset(), {"": 1, 1: 2, None: 3, (1, 2): 4, 1.5: 5, True: 6}, {"1": 1, 1: 2},
    {"api_key": "s", "nested": [{"Password": ["deep"]}]}, ("t", ("u",)), collections.deque([1]), collections.Counter("ab"),
    types.SimpleNamespace(a=1), Shifty("shifty"), {Shifty("k"): 1}, Unprintable("x"), ValueError("mine"), KeyError(b"\xff"),
    ExceptionGroup("g", [ValueError(1)]), sys, print, lambda: 1, threading.Lock(), "x" * 1_000_000, list(range(1000)),
    logging.getLogger("x"),
]  # fmt: skip
MADE = [
    recursive, Endless, lambda: (n for n in range(3)), lambda: iter([1]),
    lambda: nasty_object(DUNDERS),
    lambda: nasty_object(("__str__", "__repr__"), str), lambda: nasty_object(("__float__", "__repr__", "__eq__", "__bool__"), float),
    lambda: nasty_object(("__int__", "__index__", "__str__", "__bool__", "__hash__", "__eq__"), int),
    lambda: nasty_object(("__iter__", "__len__", "__bool__", "__getitem__"), list),
    lambda: nasty_object(("__iter__", "__len__", "__bool__", "__getitem__"), dict),
    lambda: nasty_object(("__str__", "__repr__", "__bool__"), kind=RecursionError),
    lambda: nasty_object(("__str__", "__repr__", "__iter__"), kind=MemoryError), lambda: nasty_object(("__getattr__", "__str__"), kind=KeyError),
]  # fmt: skip


def _choose(number):
    return CURIOUS[number]


def _make(number):
    return MADE[number]()


nasty = st.one_of(
    # by number: Hypothesis shows what it chooses from, and these cannot all be shown
    st.integers(0, len(CURIOUS) - 1).map(lambda number: _choose(number)),
    st.integers(0, len(MADE) - 1).map(lambda number: _make(number)),
    st.sampled_from(DUNDERS).map(lambda name: nasty_object((name,))),
    st.text(max_size=5),
    st.floats(),
    st.integers(),
)
values = st.recursive(
    nasty,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
FIELDS = ["", "self", "stream", "cls", "fields", "ts", "schema", "bot", "run_id", "symbol", "bar_id", "trace_id", "latency", "event",
          "features", "model", "\ud800", "é", "a b", "api_key", "into", "ts_ns", "kind"]  # fmt: skip
fields = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), values, max_size=3)
campaign = settings(
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "150")), deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def lines_of(data_dir):
    """Every record of every stream, parsed strictly."""
    found = []
    for path in sorted((Path(data_dir) / "logs").rglob("*.jsonl")):
        data = path.read_bytes()
        assert data.endswith(b"\n")
        found += [whole(line) for line in data.splitlines()]
    return found


def callable_or_class(value):
    return callable(value) or isinstance(type(value), type) and issubclass(type(value), (classmethod, staticmethod))


@pytest.fixture
def receiver():
    with OtlpReceiver(keep=False) as found:
        yield found


@pytest.mark.parametrize("keep", ["all", "none"])
def test_no_value_given_to_signal_or_event_raises_and_every_line_can_be_read(tmp_path, keep):
    calls = 0
    with botobs.start("bot", data_dir=tmp_path, keep_traces=keep) as obs:

        @campaign
        @given(values, values, fields)
        def said(one, two, more):
            nonlocal calls
            kept = {name: value for name, value in more.items() if name not in ("features", "model")}
            with botobs.tick("BTC", bar_id=one) as tick:
                tick.signal(features=one, model=two, decision=one, source=two, pred_bps=one, strength=two)
                tick.signal(confidence=one, cohort=two, **kept)
                obs.event("notes", **more)
                botobs.event("notes", a=one, b=two)
            tick.signal(model=one, **kept)
            obs.event(one, a=1)
            calls += 6
            if calls % 24 == 0:
                obs.flush(10)  # so that the queue never overflows with texts of a megabyte

        said()
        obs.flush(10)
        lost = sum(obs.faults.drops.values())
        errors = dict(obs.faults.errors)
    assert not errors, errors
    assert lost == 0
    assert len(lines_of(tmp_path)) == calls + 2


def entered(context):
    with context:
        pass


def named(verb):
    """A stage by that name; what can be called is decorated instead."""
    return lambda obs, value: None if callable_or_class(value) else entered(getattr(botobs, verb)(value))


def in_tick(use):
    def verb(obs, value):
        with obs.tick("BTC") as tick:
            use(tick, value)

    return verb


def in_stage(use):
    def verb(obs, value):
        with obs.tick("BTC"), botobs.stage("s") as live:
            use(live, value)

    return verb


def with_keys(value):
    """A mapping with that key, where it can be one."""
    try:
        return {value: 1}
    except Exception:
        return {}


@botobs.tick
def turn(*args, **more):
    return args


VERBS = {
    **{verb: named(verb) for verb in ("tick", "stage", "feature", "model", "decision", "risk", "execution")},
    "obs.tick": lambda obs, value: None if callable_or_class(value) else entered(obs.tick(value)),
    "obs.stage": lambda obs, value: None if callable_or_class(value) else entered(obs.stage(value)),
    "tick bar_id": lambda obs, value: entered(botobs.tick("BTC", value)),
    "tick price": lambda obs, value: entered(botobs.tick("BTC", price=value, bid=value, ask=value, venue=value)),
    "tick attrs": lambda obs, value: entered(botobs.tick("BTC", attrs=value)),
    "tick attrs of": lambda obs, value: entered(botobs.tick("BTC", attrs={"a": value, **with_keys(value)})),
    "stage attrs": lambda obs, value: entered(botobs.stage("s", attrs=value)),
    "stage attrs of": lambda obs, value: entered(botobs.stage("s", attrs={"a": value, **with_keys(value)})),
    "stage fresh": lambda obs, value: entered(botobs.stage("s", fresh=value)),
    "feature attrs": lambda obs, value: entered(botobs.feature(attrs=value)),
    "execution order": lambda obs, value: entered(botobs.execution(order=value)),
    "execution reduces": lambda obs, value: entered(botobs.execution(reduces=value)),
    "bare tick": lambda obs, value: (turn(value), turn(symbol=value)),
    "keep": in_tick(lambda tick, value: tick.keep(value)),
    "tick.set_attribute": in_tick(lambda tick, value: tick.set_attribute("a", value)),
    "tick.set_attribute key": in_tick(lambda tick, value: tick.set_attribute(value, 1)),
    "signal": in_tick(lambda tick, value: tick.signal(features=value, model=value, source=value, more=value)),
    "set_attribute": in_stage(lambda live, value: live.set_attribute("a", value)),
    "set_attribute key": in_stage(
        lambda live, value: [live.set_attribute(key, 1) for key in (value, *range(130), value)]
    ),
    "set_attributes": in_stage(lambda live, value: live.set_attributes(value)),
    "add_event": in_stage(lambda live, value: live.add_event(value)),
    "add_event attrs": in_stage(lambda live, value: live.add_event("e", value)),
    "add_event attrs of": in_stage(lambda live, value: live.add_event("e", {"a": value})),
    "add_event time": in_stage(lambda live, value: live.add_event("e", None, value)),
    "update_name": in_stage(lambda live, value: live.update_name(value)),
    "set_status": in_stage(lambda live, value: live.set_status(value)),
    "set_status text": in_stage(lambda live, value: live.set_status(StatusCode.ERROR, value)),
    "record_exception": in_stage(lambda live, value: live.record_exception(value)),
    "record_exception attrs": in_stage(lambda live, value: live.record_exception(ValueError(), value, value)),
    "add_link": in_stage(lambda live, value: live.add_link(value)),
    "add_link attrs": in_stage(lambda live, value: live.add_link(live.get_span_context(), value)),
    "event stream": lambda obs, value: obs.event(value, a=1),
    "event": lambda obs, value: (obs.event("notes", a=value), botobs.event("notes", symbol=value, ts=value)),
    "event keys": lambda obs, value: obs.event(
        "notes", **{key: 1 for key in with_keys(value) if issubclass(type(key), str)}
    ),
    "flush": lambda obs, value: obs.flush(0 if value is None or type(value) in (int, float) else value),
    "publish": lambda obs, value: obs.bus.publish(value),
    "subscribe": lambda obs, value: obs.bus.subscribe(value, value),
}
ALL = [
    *(lambda value=value: value for value in CURIOUS),
    *MADE,
    *(lambda name=name: nasty_object((name,)) for name in DUNDERS),
    # these three break Hypothesis itself
    deep,
    LyingClass,
    lambda: nasty_object((*DUNDERS, "__getattribute__")),
]


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_takes_every_curious_value(tmp_path, receiver, verb):
    obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all")
    use, raised = VERBS[verb], {}
    flush, obs.flush = obs.flush, lambda timeout: flush(timeout if verb != "flush" else min(timeout, 0.01))
    if verb == "flush":
        use = lambda obs, value: flush(value) if type(value) not in (int, float, bool, type(None)) else None  # noqa: E731
    for number, make in enumerate(ALL):
        value = make()
        try:
            use(obs, value)
        except Exception as error:
            raised[number] = error
    flush(10)
    report = obs.shutdown(10)
    assert not raised, f"{len(raised)} of {len(ALL)}: {dict(list(raised.items())[:3])!r:.500}"
    assert report.records.dropped == 0
    assert lines_of(tmp_path)


def test_keys_that_are_also_parameters(tmp_path):
    with botobs.start("bot", data_dir=tmp_path) as obs:
        for key in ("self", "stream", "fields", "event", "", "\ud800", "class", "ts"):
            obs.event("notes", **{key: 1})
            botobs.event("notes", **{key: 1})
            with botobs.tick("BTC") as tick:
                tick.signal(**{key: 1})
            botobs.current_tick().signal(**{key: 1})
    assert len(records(tmp_path, "signals")) == 8
    assert len(records(tmp_path, "notes")) == 16


@pytest.mark.parametrize("keep", ["all", "tail"])
def test_no_values_given_to_stages_and_ticks_together_raise(tmp_path, receiver, keep):
    with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces=keep) as obs:

        @campaign
        @given(values, values, st.sampled_from([botobs, obs]))
        def opened(one, two, verbs):
            name = None if callable_or_class(one) else one
            with verbs.tick(name, two, price=one, bid=two, ask=one, venue=two, attrs=two) as tick:
                tick.keep(one)
                for made in (verbs.stage(name, attrs=two), verbs.execution(name, order=two, attrs=one)):
                    with made as live:
                        live.set_attributes({"a": one, "b": [one, two]})
                        live.add_event(one, {"a": two}, two)
                        live.record_exception(ValueError(), one)
            with verbs.stage(name, attrs=two) as live:
                live.set_attribute("a", one)
            tick.signal(features=one, model=two)

        opened()
        report = obs.flush(20)
        assert (report.spans.pending, report.spans.dropped) == (0, 0)
        assert not obs.faults.errors, obs.faults.last_error
    assert lines_of(tmp_path)


def test_what_a_decorated_function_gets_and_gives_is_its_own(tmp_path):
    with botobs.start("bot", data_dir=tmp_path) as obs:

        @botobs.tick
        def turn(*args, **more):
            return args, more

        @botobs.feature
        def feature(*args, **more):
            return args, more

        @campaign
        @given(values, fields)
        def called(value, more):
            for fn in (turn, feature):
                args, kept = fn(value, **more)
                assert args[0] is value and all(kept[name] is more[name] for name in more)
            args, kept = turn(symbol=value)
            assert kept["symbol"] is value

        called()
        assert not set(obs.faults.errors) - {"tick"}


class Own(BaseException):
    pass


def _chain():
    error = ValueError("first")
    error.__cause__ = KeyError("second")
    error.__cause__.__context__ = error
    return error


ERRORS = {
    "plain": lambda: ValueError("mine"),
    "unprintable": lambda: Unprintable("x"),
    "base": lambda: Own("base"),
    "ctrl-c": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "group": lambda: ExceptionGroup("g", [Unprintable()]),
    "chain": _chain,
    "hostile": lambda: type("E", (Exception,), {"__getattribute__": _raiser("x", ValueError)})(),
    "stop": lambda: StopIteration(1),
    "close": GeneratorExit,
    "é": lambda: type("é", (Exception,), {})(),
    "recursion": RecursionError,
    "memory": MemoryError,
    "halted": lambda: botobs.TradingHalted("halted"),
}


@pytest.mark.parametrize("kind", list(ERRORS))
def test_the_bots_exceptions_pass_untouched(tmp_path, receiver, kind):
    error = ERRORS[kind]()
    with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint) as obs:

        @botobs.feature
        def fails():
            raise error

        caught = None
        try:
            with botobs.tick("BTC") as tick, botobs.stage("outer"):
                tick.signal(model=1)
                fails()
        except BaseException as found:
            caught = found
        assert caught is error
        assert obs.flush(10)
        assert kind == "hostile" or not obs.faults.errors
    assert kind == "hostile" or receiver.stats()["spans"] == 3
    assert records(tmp_path, "signals")[0]["model"] == 1


def test_close_to_the_end_of_the_stack_no_broken_line_is_written(tmp_path):
    """A bot that recurses too deep gets its RecursionError; what botobs wrote on the way is whole."""
    with botobs.start("bot", data_dir=tmp_path) as obs:

        def fall(n):
            with botobs.tick("BTC", bar_id=n) as tick:
                tick.signal(model={1: {2, decimal.Decimal(1)}}, n=n)
                obs.event("notes", n=n, value={1: {2, decimal.Decimal(1)}})
                fall(n + 1)

        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        try:
            with pytest.raises(RecursionError):
                fall(0)
        finally:
            sys.setrecursionlimit(limit)
        with botobs.tick("BTC") as tick:
            tick.signal(model="after")
        assert not botobs.current_tick().engine, "the stages that were left are left"
        obs.flush(10)
    assert records(tmp_path, "signals")[-1]["model"] == "after"
    assert lines_of(tmp_path)


# -- what goes wrong behind the verbs -----------------------------------------------------------------------------------


def loop_speed(ticks=2_000):
    """Ticks per second of a plain loop."""
    begun = undisturbed_s()
    for number in range(ticks):
        with botobs.tick("BTC", bar_id=number) as tick:
            with botobs.decision():
                pass
            tick.signal(model=number)
    return ticks / (undisturbed_s() - begun)


def assert_at_speed(speed):
    # a healthy loop does ten times that; one that waits for anything, a hundredth of it
    assert speed > 2_000, f"{speed:.0f} ticks per second"


FULL = """
import resource
obs = botobs.start("bot", data_dir=data_dir, queue_size=2000)
obs.event("early", a=1)
assert obs.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
begun = time.monotonic()
work(20_000)
took = time.monotonic() - begun
report = obs.flush(1)
again = obs.flush(0.5)
say(took=took, delivered=report.records.delivered, pending=report.records.pending, dropped=report.records.dropped, ok=bool(report),
    counted=dict(obs.faults.drops), errors=dict(obs.faults.errors), flushed=again.took_s)
if sys.argv[2] == "recovers":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    again = obs.flush(5)
    obs.event("late", a=1)
    last = obs.flush(5)
    say(pending=again.records.pending, ok=bool(last), delivered=last.records.delivered, dropped=last.records.dropped)
last = obs.shutdown(1)
say(delivered=last.records.delivered, pending=last.records.pending, dropped=last.records.dropped, took=last.took_s,
    counted=dict(obs.faults.drops))
"""


@pytest.mark.parametrize("what", ["recovers", "stays full"])
def test_a_full_disk_stops_nobody_tears_nothing_and_every_loss_is_counted(tmp_path, what):
    bot = run(FULL, tmp_path, what)
    assert (bot.process.returncode, bot.stderr) == (0, "")
    full, last = bot.said[0], bot.said[-1]
    assert 20_000 / full["took"] > 2_000
    assert not full["ok"] and full["pending"] > 0 and full["dropped"] > 0
    assert full["delivered"] + full["pending"] + full["dropped"] == 20_002
    assert sum(full["counted"].values()) == full["dropped"]
    assert full["errors"]["streams.write"] > 0
    assert full["flushed"] < 0.5 + SLACK_S
    assert last["pending"] == 0 and last["took"] < 1 + SLACK_S
    found = records(tmp_path, "signals")
    assert [record["model"] for record in found] == sorted({record["model"] for record in found}), (
        "in order, and each once"
    )
    assert last["delivered"] == len(lines_of(tmp_path))
    total = 20_003 + (what == "recovers")
    assert last["delivered"] + last["dropped"] == total
    assert sum(last["counted"].values()) == last["dropped"]
    if what == "recovers":
        back = bot.said[1]
        assert back["pending"] == 0 and back["ok"]
        assert back["dropped"] == full["dropped"], "what waited was written"
        assert len(records(tmp_path, "late")) == 1
        assert records(tmp_path, "runs")[-1]["dropped"] == full["counted"]
    assert run_json(tmp_path)["clean"]


READ_ONLY = """
import stat, pathlib
with botobs.start("bot", data_dir=data_dir + "/../warm"): work(3); botobs.event("a", a=1)  # what loads late is loaded now
if os.getuid() == 0:  # permissions mean nothing to root
    os.chown(data_dir, 65534, 65534); os.setgid(65534); os.setuid(65534)
what = sys.argv[2]
logs = pathlib.Path(data_dir, "logs")
if what == "start":
    os.chmod(data_dir, 0o500)
    try: botobs.start("bot", data_dir=data_dir + "/new")
    except botobs.ConfigError as error: say(error=str(error))
    sys.exit()
if what == "file":
    logs.mkdir(); (logs / "signals.jsonl").touch(); os.chmod(logs / "signals.jsonl", 0o400)
obs = botobs.start("bot", data_dir=data_dir)
if what == "directory":
    obs.flush()
    for path in [logs, logs / "archive", pathlib.Path(data_dir) / "state"]: os.chmod(path, 0o500)
begun = time.monotonic()
work(3000)
obs.event("notes", a=1)
took = time.monotonic() - begun
report = obs.flush(0.5)
say(took=took, pending=report.records.pending, ok=bool(report), errors=dict(obs.faults.errors))
last = obs.shutdown(0.5)
say(took=last.took_s, pending=last.records.pending, dropped=last.records.dropped, ok=bool(last), counted=dict(obs.faults.drops))
"""


@pytest.fixture
def open_to_all():
    """A directory that another user can reach; pytest's own are closed to others whenever a run of it begins."""
    with tempfile.TemporaryDirectory(prefix="botobs-") as folder:
        Path(folder).chmod(0o755)
        found = Path(folder, "data")
        found.mkdir()
        yield found


@pytest.mark.parametrize("what", ["start", "file", "directory"])
def test_what_cannot_be_written_is_counted_and_stops_nobody(open_to_all, what):
    bot = run(READ_ONLY, open_to_all, what)
    assert (bot.process.returncode, bot.stderr) == (0, "")
    if what == "start":
        assert "cannot be used" in bot.said[0]["error"] and "permission denied" in bot.said[0]["error"]
        return
    during, last = bot.said
    assert 3_000 / during["took"] > 2_000
    assert not during["ok"] and during["pending"] == 3_000 + (what == "directory")
    assert during["errors"]["streams.write"] > 0
    assert not last["ok"] and last["pending"] == 0
    assert last["dropped"] == 3_000 + (what == "directory") == sum(last["counted"].values())
    assert last["took"] < 0.5 + SLACK_S


def test_a_data_dir_that_is_taken_away_while_running(tmp_path):
    home = tmp_path / "data"
    obs = botobs.start("bot", data_dir=home)
    loop_speed(100)
    assert obs.flush(5)
    shutil.rmtree(home)
    assert_at_speed(loop_speed())
    obs.event("new", a=1)
    obs.flush(2)
    assert len(records(home, "new")) == 1, "made anew"
    last = obs.shutdown(5)
    assert last.records.pending == 0
    assert obs.shutdown() is last
    # the run's own file went with the directory: that is told, not raised
    assert "shutdown" in obs.faults.errors or run_json(home)["clean"]


def test_a_log_file_that_is_taken_away_while_running(tmp_path):
    with botobs.start("bot", data_dir=tmp_path) as obs:
        loop_speed(100)
        assert obs.flush(5)
        (tmp_path / "logs" / "signals.jsonl").unlink()
        ends = time.monotonic() + 10
        while not (tmp_path / "logs" / "signals.jsonl").exists() and time.monotonic() < ends:
            assert_at_speed(loop_speed(500))
            obs.flush(1)
        loop_speed(10)
        assert obs.flush(5)
    assert records(tmp_path, "signals")[-1]["model"] == 9


class Garbage:
    """Answers every connection with rubbish."""

    def __init__(self, answer):
        self.answer = answer
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client:
                client.settimeout(1)
                try:
                    client.recv(65536)
                    client.sendall(self.answer)
                except OSError:
                    pass

    def stop(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(5)


ANSWERS = {
    "noise": b"\x00\xff" * 500,
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "lies about its length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\nx",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
    "redirect": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "odd status": b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
    "nothing": b"",
    "bad protobuf": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\xff\xff\xff\xff",
}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_collector_that_talks_rubbish(tmp_path, scheme, answer):
    if scheme == "grpc" and answer not in ("noise", "odd status", "nothing"):
        answer = "noise"
    garbage = Garbage(ANSWERS[answer])
    try:
        obs = botobs.start(
            "bot", data_dir=tmp_path, otlp_endpoint=f"{scheme}://127.0.0.1:{garbage.port}", keep_traces="all"
        )
        assert_at_speed(loop_speed(500))
        report = obs.flush(0.3)
        assert report.records.pending == 0
        assert_at_speed(loop_speed(500))
        begun = time.monotonic()
        last = obs.shutdown(0.3)
        assert time.monotonic() - begun < 0.3 + SLACK_S
        assert last.spans.delivered + last.spans.dropped == 2_000
        if b" 200 OK" not in ANSWERS[answer]:  # whatever follows a 200, it is one
            assert last.spans.delivered == 0
        assert obs.faults.drops.get("spans", 0) == last.spans.dropped
        assert not set(obs.faults.errors) - {"otlp-metrics"}, obs.faults.errors
    finally:
        garbage.stop()
    assert len(records(tmp_path, "signals")) == 1_000


@pytest.mark.parametrize("mode", ["refuse", "hang", "503", "429", "slow", "400"])
def test_the_loop_does_not_feel_the_collector(tmp_path, mode):
    with OtlpReceiver(mode=mode) as receiver:
        obs = botobs.start(
            "bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces="all", prometheus_port=0
        )
        assert_at_speed(loop_speed(3_000))
        obs.flush(0.1)
        assert_at_speed(loop_speed(3_000))
        last = obs.shutdown(0.2)
    assert last.spans.delivered + last.spans.dropped == 12_000
    assert len(records(tmp_path, "signals")) == 6_000


# -- clocks ---------------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_and_forth(tmp_path):
    now = itertools.cycle([1.7e9, 1.8e9, 1.6e9, 0, -5, 4e9, 1.7e9 + 0.5, 1e30, -1e18])
    with botobs.start("bot", data_dir=tmp_path, clock=lambda: next(now), rotate_days=30) as obs:
        for number in range(500):
            with botobs.tick("BTC", bar_id=number) as tick:
                with botobs.decision():
                    pass
                tick.signal(model=number)
            if number % 50 == 0:
                obs.event("notes", n=number)
                obs.flush(5)
        assert obs.flush(10)
        assert not obs.faults.errors
    found = records(tmp_path, "signals")
    assert sorted(record["model"] for record in found) == list(range(500))
    for record in found:
        assert all(value >= 0 for value in record["latency"].values())
        dt.datetime.fromisoformat(record["ts"])


def test_the_machines_clock_set_back_shows_in_no_duration(tmp_path):
    from freezegun import freeze_time

    with freeze_time("2026-06-01", tick=True) as frozen:
        obs = botobs.start("bot", data_dir=tmp_path)
        for day in (1, 20, 3, 30, 1):
            frozen.move_to(f"2026-06-{day:02d}")
            loop_speed(20)
            assert obs.flush(5)
        obs.event("notes", a=1)
        assert obs.shutdown(5)
    found = records(tmp_path, "signals")
    assert len(found) == 100
    assert [record["ts"][:10] for record in found[::20]] == [f"2026-06-{day:02d}" for day in (1, 20, 3, 30, 1)]
    assert all(record["latency"]["total_latency_ms"] >= 0 for record in found)


@pytest.mark.parametrize("started", ["frozen", "free"])
def test_a_clock_that_is_frozen_and_freed_while_running(tmp_path, started):
    from freezegun import freeze_time

    frozen = freeze_time("2026-06-01")
    if started == "frozen":
        frozen.start()
    obs = botobs.start("bot", data_dir=tmp_path)
    try:
        loop_speed(20) if started == "free" else [_turn(n) for n in range(20)]
        (frozen.stop if started == "frozen" else frozen.start)()
        [_turn(n) for n in range(20)]
    finally:
        if started == "free":
            frozen.stop()
        assert obs.shutdown(5)
    assert not obs.faults.errors
    assert len(records(tmp_path, "signals")) == 40


def _turn(number):
    with botobs.tick("BTC", bar_id=number) as tick:
        with botobs.decision():
            pass
        tick.signal(model=number)


# -- subscribers ----------------------------------------------------------------------------------------------------------


def test_subscribers_that_fail_or_hang_are_the_bus_s_business(tmp_path):
    from botobs.events import Recorded

    freed = threading.Event()

    def fails(event):
        raise Unprintable("x")

    def hangs(event):
        freed.wait(20)

    with botobs.start("bot", data_dir=tmp_path) as obs:
        obs.bus.subscribe(Recorded, fails)
        obs.bus.subscribe(Recorded, fails, immediate=True)
        obs.bus.subscribe(Recorded, hangs)
        obs.bus.subscribe(Recorded, hangs, immediate=True, limit_s=0.05)
        obs.event("notes", n=0)
        begun = time.monotonic()
        for number in range(1, 300):
            obs.event("notes", n=number)
        assert time.monotonic() - begun < 6
        assert_at_speed(loop_speed(500))
        report = obs.flush(0.2)
        assert report.records.pending == 0 and not report.delivered
        assert sum(count for where, count in obs.faults.errors.items() if "fails" in where) >= 300
        freed.set()
    assert [record["n"] for record in records(tmp_path, "notes")] == list(range(300))
    assert obs.shutdown().records.dropped == 0


# -- strict, and silence ----------------------------------------------------------------------------------------------------


def test_strict_raises_what_is_swallowed_otherwise(tmp_path):
    from botobs.events import Recorded

    def fails(event):
        raise ZeroDivisionError("mine")

    with botobs.start("bot", data_dir=tmp_path, strict=True) as obs:
        obs.bus.subscribe(Recorded, fails, immediate=True)
        with pytest.raises(ZeroDivisionError):
            obs.event("notes", a=1)
        with pytest.raises(TypeError):
            obs.bus.publish("no event")
        shutil.rmtree(tmp_path / "logs")
        (tmp_path / "logs").write_text("in the way")
        obs.event  # noqa: B018
        with pytest.raises((OSError, ZeroDivisionError)):
            botobs.current_tick()
            obs.bus.subscribe(Recorded, fails, immediate=True)
            obs.event("other", a=1)
            obs.flush(1)
        (tmp_path / "logs").unlink()
    assert run_json(tmp_path)["clean"]
    with botobs.start("bot", data_dir=tmp_path) as obs:
        obs.bus.subscribe(Recorded, fails, immediate=True)
        obs.event("notes", a=1)
        assert sum(obs.faults.errors.values()) == 1


def test_a_bot_without_a_logging_configuration_reads_nothing_of_botobs(tmp_path):
    """Everything goes wrong at once, and the screen stays the bot's."""
    script = """
from botobs.events import Recorded
import pathlib, shutil, warnings
warnings.simplefilter("always")
warnings.simplefilter("ignore", ResourceWarning)  # requests leaves sockets to the garbage collector
def fails(event): raise ValueError("mine")
async def later(event): raise ValueError("mine")
obs = botobs.start("bot", data_dir=data_dir, otlp_endpoint=sys.argv[2], prometheus_port=int(sys.argv[3]), keep_traces="all",
                   equity_floor=1, queue_size=10)
obs.bus.subscribe(Recorded, fails); obs.bus.subscribe(Recorded, fails, immediate=True); obs.bus.subscribe(Recorded, later)
shutil.rmtree(data_dir + "/logs"); pathlib.Path(data_dir, "logs").write_text("in the way")
class Nasty:
    def __str__(self): raise ValueError
    __repr__ = __str__
work(300)
obs.event("notes", a=Nasty(), b=1 << 9999)
async def main():
    with botobs.tick("BTC") as tick: tick.signal(model=Nasty())
    obs.event("notes", a=1)
    await asyncio.sleep(0.01)
asyncio.run(main())
obs.flush(0.3)
pid = os.fork()
if not pid:
    work(3)
    sys.exit(0)
os.waitpid(pid, 0)
obs.bus.publish("nothing")
obs.shutdown(0.3)
"""
    for protocol in ("http", "grpc"):
        with OtlpReceiver(protocol, mode="503") as receiver, socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            home = tmp_path / protocol
            home.mkdir()
            bot = run(script, home, receiver.endpoint, port, GRPC_VERBOSITY="")
        # gRPC's core says by itself that a process forked in the middle of a call, and Python that it has threads
        by_themselves = ("fork_posix.cc", "is multi-threaded, use of fork()", "  pid = os.fork()")
        stderr = [line for line in bot.stderr.splitlines() if not any(known in line for known in by_themselves)]
        assert (bot.process.returncode, bot.said, stderr) == (0, [], []), protocol


def test_each_trouble_is_logged_once_a_minute(tmp_path, caplog):
    from botobs.events import Recorded

    with botobs.start("bot", data_dir=tmp_path) as obs:

        def fails(event):
            raise ValueError("mine")

        obs.bus.subscribe(Recorded, fails, immediate=True)
        for _ in range(50):
            obs.event("notes", a=1)
    assert len([record for record in caplog.records if "mine" in record.getMessage()]) == 1
    assert {record.name for record in caplog.records} == {"botobs"}


def test_a_broken_log_handler_of_the_bots_breaks_nothing(tmp_path):
    class Broken(logging.Handler):
        def emit(self, record):
            botobs.event("from_the_handler", text=record.getMessage())
            raise ValueError("a handler")

    handler = Broken()
    logging.getLogger("botobs").addHandler(handler)
    try:
        with botobs.start("bot", data_dir=tmp_path, equity_floor=1) as obs:
            obs.bus.publish("nothing")
            obs.faults.dropped("x")
            assert obs.faults.errors["logging"] >= 2
    finally:
        logging.getLogger("botobs").removeHandler(handler)
    assert PRELUDE and Bot  # what the campaigns use too


@pytest.mark.parametrize("keep", ["all", "tail"])
def test_no_text_anywhere_costs_a_trace(tmp_path, receiver, keep):
    texts = ["\ud800", "a\udfff", b"\xff", "\0", "ü" * 5000]
    with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, keep_traces=keep) as obs:
        for one, two in itertools.product(texts, texts):
            with obs.tick(one, two, venue=two, attrs={one: two, "k": one}) as tick:
                tick.keep(one)
                for made in (obs.stage(one, attrs={"a": two}), obs.execution(one, order=two, attrs={"b": one})):
                    with made as live:
                        live.set_attributes({"a": one, "b": [one, two], one: 1})
                        live.add_event(one, {"a": two, one: [one]}, 5)
                        live.record_exception(ValueError(one), {"a": one})
                        live.update_name(one)
                obs.order("BTC", "buy", 1, decision_px=1, order_id=one)
                obs.fill(one, price=1, qty=1, symbol="BTC", side="buy", fill_id=two)
            with obs.tick("S", attrs={"a": one}) as tick:
                tick.keep(one)
                obs.order("BTC", "buy", 1, decision_px=1, order_id=two)
            with obs.stage(one):
                botobs.current_tick().keep(two)
        report = obs.flush(20)
        assert (report.spans.pending, report.spans.dropped) == (0, 0)
        assert not obs.faults.errors, obs.faults.last_error


def test_importing_it_loads_only_what_runs_before_start():
    """What `start` needs comes with `start`: a bot that is only looked at starts as fast as without botobs."""
    code = "import sys, botobs; print(*(name for name in sys.modules if name.startswith('botobs.')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    rooms = {"botobs." + name for name in ("accounting", "events", "insight", "sinks", "streams", "trackers", "config")}
    assert not {name for name in loaded if any(name == room or name.startswith(room + ".") for room in rooms)}
    assert {name for name in loaded if name.startswith("botobs.money.")} == {
        "botobs.money.report",
        "botobs.money.verbs",
    }
