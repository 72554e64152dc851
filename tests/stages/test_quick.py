"""What is compiled does the same as the Python that it stands in for."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import types
from bisect import bisect_left
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import botobs
from botobs.quick import PURE
from botobs.sinks.spans import SpanEncoder
from botobs.stages import latency, tick
from botobs.stages.cells import BOUNDS_NS
from botobs.stages.hasten import quick
from botobs.stages.live import Live
from botobs.streams.redact import Redactor, familiar
from tests.stages.engines import running

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
compiled = pytest.mark.skipif(quick is None, reason="nothing was compiled here")


@pytest.mark.skipif(COMPILER is None or bool(os.environ.get(PURE)), reason="no compiler, or not wanted")
def test_it_is_compiled_where_there_is_a_compiler():
    assert quick is not None
    assert type(botobs.stage("x")).__enter__.__class__ is types.MethodDescriptorType
    assert latency.at_once is quick.told
    assert tick.begun_at_once is quick.begun


def test_without_it_everything_is_python(tmp_path):
    script = (
        "import botobs, botobs.stages.hasten as h, types; assert h.quick is None; "
        "assert type(botobs.stage('x')).__enter__.__class__ is types.FunctionType; "
        "obs = botobs.start('pure', mode='backtest', clock=lambda: 1767323045.0)\n"
        "with obs.tick('BTC') as tick:\n with botobs.model(): tick.signal(strength=1)\n"
    )
    env = {**os.environ, PURE: "1", "BOTOBS_DATA_DIR": str(tmp_path / "data")}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=60)


def test_a_clock_that_was_replaced_before_the_import_is_asked():
    script = (
        "from freezegun import freeze_time\n"
        "with freeze_time('2026-01-02') as frozen:\n"
        "    import botobs; from tests.stages.engines import running\n"
        "    with running(), botobs.tick('BTC'), botobs.model() as live: frozen.tick(2.0)\n"
        "assert live.t1 - live.t0 == 2 * 10**9, live.t1 - live.t0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=ROOT)


@compiled
@pytest.mark.parametrize(
    "lacks", ["know", "know_stages", "know_turns", "know_latency", "know_spans", "begun", "root", "told", "familiar"]
)
def test_a_module_of_another_version_ends_no_import(lacks):
    script = (
        "import importlib.util, sys, types\n"
        "spec = importlib.util.spec_from_file_location('_quick', sys.argv[1])\n"
        "made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made)\n"
        "fewer = types.SimpleNamespace(**{name: each for name, each in vars(made).items() if name != sys.argv[2]})\n"
        "sys.modules['botobs._quick'] = fewer\n"
        "import botobs, botobs.streams.redact; from tests.stages.engines import running; from botobs.sinks.spans import SpanEncoder\n"
        "with running(keep='all') as bench:\n"
        "    bench.engine.export = SpanEncoder(bench.engine, lambda count, data: sent.append(count)); sent = []\n"
        "    with botobs.tick('BTC', 1) as this:\n"
        "        with botobs.model(): this.signal(strength=1)\n"
        "assert sent == [2] and len(bench.lines) == 1 and not bench.faults.errors\n"
        "assert bench.counts() == {('tick', 'BTC'): 1, ('model', 'BTC'): 1}\n"
    )
    subprocess.run([sys.executable, "-c", script, quick.__file__, lacks], check=True, timeout=60, cwd=ROOT)


@compiled
def test_modules_may_be_loaded_again():
    script = (
        "import importlib, sys, botobs; from tests.stages.engines import running\n"
        "for name in ('roots', 'site', 'turn', 'verbs'): importlib.reload(sys.modules[f'botobs.stages.{name}'])\n"
        "import botobs.sinks.spans; importlib.reload(botobs.sinks.spans)\n"
        "verbs = sys.modules['botobs.stages.verbs'].StageVerbs()\n"
        "with running() as bench:\n"
        "    with verbs.tick('BTC', 1) as this, verbs.model(): this.signal(strength=1)\n"
        "assert bench.lines and bench.counts() == {('tick', 'BTC'): 1, ('model', 'BTC'): 1}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=ROOT)


@pytest.fixture
def hook():
    """`hatch_build.py` without hatchling, which only the build has."""
    names = ["hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin",
             "hatchling.builders.hooks.plugin.interface"]  # fmt: skip
    before = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[names[-1]].BuildHookInterface = object
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        for name, was in before.items():
            if was is None:
                del sys.modules[name]
            else:
                sys.modules[name] = was


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("/nowhere/cc", "no compiler"), ("false", "does not compile"), (f"{sys.executable} -c 0", "does not load")],
)
def test_what_cannot_be_compiled_is_left_out_and_said(hook, tmp_path, monkeypatch, compiler, says):
    (tmp_path / "botobs").mkdir()
    (tmp_path / "botobs/_quick.c").write_text("int")
    monkeypatch.setenv("CC", compiler)
    monkeypatch.delenv(PURE, raising=False)
    if says == "does not load":
        monkeypatch.setenv("CC", f"{sys.executable} {tmp_path / 'cc.py'}")
        (tmp_path / "cc.py").write_text("import sys; open(sys.argv[-1], 'w').write('no module')")
    found = hook.compiled(tmp_path)
    assert isinstance(found, str)
    assert says in found
    assert [path.name for path in (tmp_path / "botobs").iterdir()] == ["_quick.c"]
    monkeypatch.setenv(PURE, "1")
    assert PURE in hook.compiled(tmp_path)


def built(hook, root, version="standard"):
    """What the hook says at a build; the build goes on."""
    said = []
    this = hook.QuickHook()
    this.root, this.target_name = str(root), "wheel"
    this.app = types.SimpleNamespace(display_warning=said.append)
    data = {"artifacts": []}
    this.initialize(version, data)
    assert bool(said) is not bool(data["artifacts"])
    return said


def test_no_trouble_ends_an_installation(hook, tmp_path, monkeypatch):
    (tmp_path / "botobs").mkdir()
    (tmp_path / "botobs/_quick.c").write_text("int")
    monkeypatch.delenv(PURE, raising=False)
    monkeypatch.setenv("CC", "cc '")
    assert "quotation" in built(hook, tmp_path)[0]
    (tmp_path / "cc.py").write_text("import os, sys; os.write(2, b'\\xfcber'); sys.exit(1)")
    monkeypatch.setenv("CC", f"{sys.executable} {tmp_path / 'cc.py'}")
    assert "\N{REPLACEMENT CHARACTER}ber" in built(hook, tmp_path)[0]
    monkeypatch.setattr(hook, "_compile", lambda _source, draft: draft.touch())
    monkeypatch.setattr(hook.Path, "write_bytes", read_only)
    assert "Read-only" in built(hook, tmp_path)[0]


def read_only(*_args):
    raise OSError(30, "Read-only file system")


def test_an_older_module_is_not_used_in_place_of_one_that_cannot_be_compiled(hook, tmp_path, monkeypatch):
    (tmp_path / "botobs").mkdir()
    (tmp_path / "botobs/_quick.c").write_text("int")
    old = hook.made(tmp_path)
    old.write_bytes(b"")
    monkeypatch.setenv(PURE, "1")
    assert built(hook, tmp_path)  # a wheel: it is not packed, and stays
    assert old.exists()
    assert built(hook, tmp_path, "editable")
    assert not old.exists()


@compiled
@given(st.lists(st.tuples(st.sampled_from(("feature", "model", "risk", "own")), st.integers(0, 5 * 10**9)), max_size=6),
       st.integers(0, 5), st.booleans())  # fmt: skip
@settings(max_examples=60)
def test_latency_is_told_alike(stages, runs_still, folded):
    with running() as bench, botobs.tick("BTC") as this:
        for name, took in stages:
            with getattr(botobs, name)() if name != "own" else botobs.stage("own"):
                with botobs.decision():
                    pass
            live = this.spans[-2]
            live.t1 = live.t0 + took
        if runs_still < len(stages):
            this.spans[1 + 2 * runs_still].t1 = 0
        this.folded = {} if folded else None
        plain = latency.told_at_once(this)
        assert quick.told(this) == plain
        assert latency.told(this)["total_latency_ms"] >= 0.0
        if plain is not None:
            assert all(type(value) is float for value in quick.told(this).values())
            assert [*quick.told(this)] == [*plain]
    assert bench.faults.errors == {}


KEYS = st.text("ab{é", max_size=2)
VALUES = st.recursive(st.none() | st.integers(0, 9) | st.text("{a", max_size=3), lambda v: st.dictionaries(KEYS, v), max_leaves=5)  # fmt: skip


@compiled
@given(st.sets(KEYS), st.lists(KEYS, max_size=3), st.dictionaries(KEYS, VALUES, max_size=4) | st.lists(st.none()))
@settings(max_examples=100)
def test_what_is_familiar_is_told_alike(known, nests, value):
    line = orjson.dumps(value)
    assert quick.familiar(known, tuple(nests), value, line) is familiar(known, tuple(nests), value, line)


class Odd(str):
    __slots__ = ()

    def __eq__(self, other):
        raise RuntimeError

    def __hash__(self):
        return str.__hash__(self)


@compiled
def test_keys_of_the_bots_own_making_are_not_asked():
    assert quick.familiar({"a"}, (), {Odd("a"): 1}, b"{}") is False
    with pytest.raises(TypeError):
        quick.familiar({"a"}, (), {"a": 1})
    with pytest.raises(TypeError):
        quick.familiar(frozenset("a"), (), {"a": 1}, b"{}")
    assert Redactor().line({Odd("a"): 1}) == b'{"a":1}'


@compiled
@pytest.mark.parametrize("bar", [0, 7, -1, 2**63 - 1, -(2**63), 2**63, True, None, "b", 1.5])
@pytest.mark.parametrize("symbol", ["BTC", 'Ü"\n', None])
def test_a_record_begins_alike(monkeypatch, bar, symbol):
    found = []
    for begun_at_once in (quick.begun, None):
        monkeypatch.setattr(tick, "begun_at_once", begun_at_once)
        with running() as bench, botobs.tick(symbol, bar) as this:
            this.signal(strength=1)
            this.signal()
        lines = [line for _, line in bench.lines]
        assert all(re.fullmatch(r"2026-01-02T03:04:05\.\d{6}Z", line.pop("ts")) for line in lines)
        assert lines[0]["trace_id"] == lines[1]["trace_id"]
        found.append([{**line, "latency": None} for line in lines])
    assert found[0] == found[1]


@compiled
@pytest.mark.parametrize("wall", [0, -5, 2**63 - 1, 2**63, 10**20, -(2**70)])
def test_a_turn_begins_whatever_the_wall_clock_says(wall):
    with running() as bench:
        bench.engine.wall = lambda: wall
        with botobs.tick("BTC", 1) as this, botobs.model():
            assert this.offset + this.root.t0 == wall
            this.signal()
    assert len(bench.lines) == 1


@compiled
def test_a_record_over_the_seconds_end_is_dated_right():
    with running() as bench, botobs.tick("BTC", 1) as this:
        for ahead in (0, 999_999_999, -1, 5 * 10**9):
            this.offset = 1_767_323_045_000_000_000 - time.perf_counter_ns() + ahead
            before = this.unix_now()
            this.signal()
            _, line = bench.lines[-1] if bench.lines else (None, None)
            [text] = re.findall(rb'"ts":"([^"]*)"', this.signals[-1])
            after = this.unix_now()
            assert before // 1000 <= botobs.clock.epoch_ns(text.decode()) // 1000 <= after // 1000, line


@compiled
@given(st.lists(st.integers(0, 3), max_size=8), st.sampled_from([(), ("bar",), ("parent",)]))
@settings(max_examples=40)
def test_spans_are_packed_alike(nesting, odd):
    sent = []
    with running(keep="all") as bench:
        encode = SpanEncoder(bench.engine, lambda count, data: sent.append((count, data)))
        stages = [botobs.stage(f"s{n}") for n in range(9)]
        for _ in range(2):  # the first time nothing is known of them
            with botobs.tick("BTC", 1) as this:
                for n, deep in enumerate(nesting):
                    with stages[n]:
                        for each in stages[n + 1 : n + 1 + deep]:
                            each.__enter__()
                        for each in reversed(stages[n + 1 : n + 1 + deep]):
                            each.__exit__(None, None, None)
            spans, root = list(this.spans), this.root
            encode(this)
        this.spans, this.root = spans, root
        if odd == ("bar",) and len(spans) > 1:
            spans[-1].set_attribute("a", 1)
            spans[-1].extra()
        if odd == ("parent",) and len(spans) > 2:
            del this.spans[1]
        ids = bytes(range(8 * len(this.spans)))
        trace = b"\x0a\x10" + bytes(16)
        one_by_one = encode._each(this, ids, trace)
        packed = quick.children(this.spans, this.offset, ids, trace, b'"\x08', b"\x12\x08")
        if packed is None:
            assert odd
        else:
            assert b"".join([*encode._root(this, root, trace), packed]) == b"".join(one_by_one)
            assert [live.sid for live in this.spans] == [ids[n : n + 8] for n in range(0, len(ids), 8)]


@compiled
@given(st.integers(0, 3 * 10**10))
@settings(max_examples=40)
def test_durations_fall_into_their_buckets(took):
    with running() as bench:
        with botobs.tick("BTC"), botobs.risk() as live:
            live.t0 -= took
        [cell] = [cell for cell in bench.engine.cells.all() if cell.label == "risk"]
    least, most = bisect_left(BOUNDS_NS, took), bisect_left(BOUNDS_NS, cell.total_ns)
    assert sum(cell.counts) == 1
    assert cell.total_ns == live.t1 - live.t0
    assert least <= cell.counts.index(1) == most


def _without(name):
    def tamper(live):
        delattr(live.tick if name in ("cells", "spans", "done") else live, name)

    return tamper


def _other(name, value):
    def tamper(live):
        setattr(live.tick if name in ("cells", "spans", "done", "special") else live, name, value)

    return tamper


@compiled
@pytest.mark.parametrize(
    "tamper",
    [
        _without("tick"), _without("parent"), _without("t0"), _without("cells"), _without("spans"), _without("done"),
        _other("cells", {}), _other("cells", None), _other("spans", ()), _other("tick", None), _other("t0", None),
        _other("t0", 2**80), _other("parent", None), _other("special", True), _other("done", 1),
    ],
)  # fmt: skip
def test_what_was_tampered_with_ends_no_process(tamper):
    """Nobody does this; whoever does gets an error, as from Python."""
    with running():
        this = botobs.tick("BTC")
        this.__enter__()
        site = botobs.risk()
        live = site.__enter__()
        tamper(live)
        for call in (lambda: botobs.model().__enter__(), lambda: site.__exit__(None, None, None)):
            try:
                call()
            except Exception as error:  # noqa: BLE001, PERF203  # any of them
                assert isinstance(error, (AttributeError, TypeError, KeyError, OverflowError))
        botobs.stages.live.set_context(type(botobs.stages.live.get_context()).__mro__[1]())
    gc.collect()


@compiled
def test_wrong_calls_are_errors_of_python():
    stage = botobs.stage("x")
    for call in (
        lambda: type(stage).__enter__(7), lambda: type(stage).__enter__(botobs.tick("BTC")), lambda: stage.__exit__(),
        lambda: stage.__exit__(1, 2, 3, 4, 5, 6), lambda: quick.root(), lambda: quick.know(), lambda: quick.know_spans(7),
        lambda: quick.know_turns(None), lambda: quick.know_spans(Live), lambda: quick.know_latency({}, 0.5, ""),
        lambda: quick.know_stages(Live, 1, 2, 3),
    ):  # fmt: skip
        with pytest.raises((TypeError, RuntimeError, AttributeError)):
            call()
    for call in (quick.told, lambda x: quick.begun(x, x, x), lambda x: quick.children(x, x, x, x, x, x)):
        for odd in (None, 7, [], b"", {}, object()):
            assert call(odd) is None


@compiled
def test_nothing_is_left_behind():
    with running(keep="all") as bench:
        bench.engine.export = SpanEncoder(bench.engine, lambda _count, _data: None)

        def turns(count):
            for n in range(count):
                with botobs.tick("BTC", n) as this:
                    with botobs.feature(), botobs.model():
                        pass
                    this.signal(strength=1.0)
                with botobs.risk():
                    pass
            bench.lines.clear()
            gc.collect()

        turns(50)
        before = len(gc.get_objects()), sys.getallocatedblocks()
        turns(3_000)
        assert len(gc.get_objects()) - before[0] < 100
        assert sys.getallocatedblocks() - before[1] < 500


class Unhanging:
    """Garbage that, when it is collected, changes what is being looked at."""

    def __init__(self, change):
        self.change, self.ring = change, self

    def __del__(self):
        self.change()


def at_the_next(number):
    """Have garbage collected when so many more objects were made."""
    gc.set_threshold(gc.get_count()[0] + number)


@pytest.fixture
def by_hand():
    before = gc.get_threshold()
    gc.set_threshold(1_000_000)
    yield
    gc.set_threshold(*before)


@compiled
@pytest.mark.parametrize("number", range(1, 9))
def test_a_generator_collected_while_a_stage_ends_takes_no_context_along(by_hand, number):
    def steps():
        with botobs.stage("above"):
            yield

    with running(keep="none"):
        ring = [steps()]
        ring.append(ring)
        next(ring[0])
        stage = botobs.stage("below")
        stage.__enter__()
        gc.collect()
        del ring
        at_the_next(number)
        stage.__exit__(None, None, None)
        gc.set_threshold(1_000_000)
        left = botobs.stages.live.get_context()
        assert sys.getrefcount(left) > 2  # the context's own, too
        botobs.stages.live.set_context(botobs.stages.live.Context())


@compiled
@pytest.mark.parametrize("number", range(1, 4))
def test_latency_is_told_of_the_stages_that_there_were(by_hand, number):
    with running(), botobs.tick("BTC") as this:
        with botobs.risk():
            pass
        plain = latency.told_at_once(this)
        gc.collect()
        Unhanging(lambda: setattr(this, "spans", []))
        at_the_next(number)
        found = quick.told(this)
        gc.set_threshold(1_000_000)
        assert found in (plain, {**dict.fromkeys(plain, 0.0)})


@compiled
def test_entering_without_memory_is_one_error():
    _testcapi = pytest.importorskip("_testcapi")
    stage = botobs.stage("x")
    found = set()
    with running():
        for number in range(1, 7):
            _testcapi.set_nomemory(number, number + 1)
            try:
                live = stage.__enter__()
            except BaseException as error:  # noqa: BLE001, PERF203
                _testcapi.remove_mem_hooks()
                found.add(type(error))
            else:
                _testcapi.remove_mem_hooks()
                assert live.t0
            botobs.stages.live.set_context(botobs.stages.live.Context())
    assert found <= {MemoryError}
