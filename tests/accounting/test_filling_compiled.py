"""A fill that is read, written and found without the interpreter is the one that Python reads, writes and finds."""

from __future__ import annotations

import decimal
import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import types
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import botobs.quick
from botobs.accounting import entries, lines, routes
from botobs.accounting.booking import Booking
from botobs.accounting.ledger import chain, index
from botobs.accounting.trade import Change
from botobs.money import fills
from botobs.money.report import FillReport
from botobs.quick import PURE, maker, quick

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
compiled = pytest.mark.skipif(quick is None, reason="nothing was compiled here")
NOW = 1_790_000_000_123_456_789
WORDS = ("BTCUSDT", "buy", "USDT", "maker", "binance", "main", None, None, "live")


def in_python(name):
    """The module `name` as it is where nothing was compiled, beside the one that is in use."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    before, botobs.quick.quick = botobs.quick.quick, None
    try:
        spec.loader.exec_module(module)
    finally:
        botobs.quick.quick = before
    return module


PLAIN = {module: in_python(module.__name__) for module in (chain, index, routes, entries, lines, fills)}


def outcome(call, *args, **named):
    """What a call came to, down to the types in it."""
    try:
        found = call(*args, **named)
    except BaseException as error:  # noqa: BLE001
        return type(error), str(error)
    parts = found if isinstance(found, tuple) else (found,)
    return [(type(part).__name__, str(part), repr(part) if isinstance(part, float | Decimal) else "") for part in parts]


def read(*args, **named):
    """The same of a fill's entry, of which the route is told by its words."""
    found = []
    for module in (entries, PLAIN[entries]):

        def told(*args, module=module, **named):
            entry = module.read_fill(*args, **named)
            assert type(entry) is module.FillEntry and len(entry) == 11
            return entry.route.said, entry.timed, *entry[1:]

        found.append(outcome(told, *args, **named))
    return found


@pytest.mark.skipif(COMPILER is None or bool(os.environ.get(PURE)), reason="no compiler, or not wanted")
def test_it_is_compiled_where_there_is_a_compiler():
    for call in (chain.sealed, entries.read_fill, fills.read_fill, lines.content, lines.said_of_fill, fills._work):
        assert type(call) is types.BuiltinFunctionType
    for method in (index.FillIndex.get, index.FillIndex.enter, routes.Route.identity):
        assert type(method) is types.MethodDescriptorType
    assert type(PLAIN[entries].read_fill) is type(PLAIN[index].FillIndex.get) is types.FunctionType


class Odd(str):
    __slots__ = ()
    value = "ETHUSDT"


class Loud(float):
    __slots__ = ()

    def __repr__(self):
        raise RuntimeError


ODD_TEXT = st.text(st.sampled_from('aZ9-_"\\/\0\n\té€𝄞 {},:E\ud800\x7f'), max_size=6)
NUMBERS = st.one_of(
    st.sampled_from([
        "1", "0.10", "+2", "5.", ".5", ".", "", "-", "1..2", "1.2.3", "1E-7", "1e3", "0", "0.000", "-1", "-0", "nan",
        "sNaN", "inf", "-Infinity", " 7 ", "1_0", "٣", "7" * 40, "7" * 41, "0." + "0" * 37 + "1", "." + "0" * 38 + "1",
        "0." + "0" * 38 + "1", Decimal("1E+2"), Decimal("1E-7"), Decimal("0.50"), Decimal("-0.0"), Decimal("NaN"),
        Decimal("1E-400"), Decimal(7**60), 2**63, 2**63 - 1, -(2**63), 10**50, 0, -1, True, None, b"1", Odd("2"),
        Loud(2.0), 1e-7, 1e16, 1e300, -0.0, "x" * 50, "--1",
    ]),
    st.floats(), st.decimals(), st.integers(), st.decimals(0, 10**6, places=4).map(str), st.text("0123456789.+-eE_", max_size=44),
)  # fmt: skip
TIMES = st.one_of(
    st.none(), st.integers(10**11 - 2, 10**14 + 2), st.integers(),
    st.sampled_from([10**11, 10**11 - 1, 10**14 - 1, 10**14, 0, -1, 1.5, True, "2026-05-01T00:00:00Z", "x", b"", 10**30]),
)  # fmt: skip
CLOCKS = st.one_of(
    st.integers(0, 4 * 10**18),
    st.sampled_from([NOW, 0, -1, -(10**18), 253_402_300_799 * 10**9, 253_402_300_800 * 10**9, 2**63 - 1, 2**63, -(2**63), 10**30]),
)  # fmt: skip
IDS = st.one_of(
    st.none(), ODD_TEXT, st.from_regex(r"[A-Za-z0-9]{1,42}", fullmatch=True),
    st.sampled_from(["", " ", "é", "a-b", "x" * 300, 7, 7.0, True, Odd("a"), b"a", object]),
)  # fmt: skip
WORD = st.one_of(st.none(), st.sampled_from(["buy", "SELL", "maker", "t", "live", "long", Odd("buy"), 7]), ODD_TEXT)


@compiled
@settings(max_examples=200, deadline=None)
@example(WORDS, "65000.5", "0.25", "0.1", "f1", 1_780_000_000_001, NOW, "o1", "f" * 32, None)
@given(
    st.one_of(st.just(WORDS), st.tuples(*[WORD] * 9), st.lists(WORD), st.none(), st.tuples(WORD, WORD)),
    NUMBERS, NUMBERS, st.none() | NUMBERS, IDS, TIMES, CLOCKS, IDS, IDS,
    st.sampled_from([None, {}, {"a": 1}, 0, (), [], "more"]),
)  # fmt: skip
def test_a_fill_is_read_alike(words, price, qty, fee, fill_id, ts, now_ns, order_id, trace_id, more):
    compiled_one, plain = read(words, price, qty, fee, fill_id, ts, now_ns, order_id, trace_id, more)
    assert compiled_one == plain


@compiled
@settings(max_examples=100, deadline=None)
@given(
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from([[], [decimal.FloatOperation, decimal.Inexact, decimal.Rounded]]),
    st.integers(1, 30),
)
def test_a_fill_is_read_alike_whatever_the_bots_own_decimals_are(price, qty, fee, traps, digits):
    with decimal.localcontext(decimal.Context(prec=digits, traps=traps, capitals=0)):
        compiled_one, plain = read(WORDS, price, qty, fee, "f1", 1_780_000_000_001, NOW)
        assert compiled_one == plain


@compiled
def test_what_a_fill_need_not_say_may_be_left_out():
    for said in ((), WORDS[:1], (WORDS, 1, 1), (WORDS, 1, 1, None, None, None), (WORDS, 1, 1, None, None, None, NOW)):
        compiled_one, plain = read(*said)
        assert compiled_one == plain
    compiled_one, plain = read(WORDS, qty="1", price="2", fee=None, fill_id="f", ts=None, now_ns=NOW, trace_id="t")
    assert compiled_one == plain and len(plain) == 12
    compiled_one, plain = read(*[WORDS, 1, 1, None, None, None, NOW, None, None, None, 5])
    assert compiled_one[0] is plain[0] is TypeError


@compiled
def test_a_second_is_told_right_beside_every_other_one():
    """What is kept of seconds never stands for another one."""
    for ahead in [0, 1, 16, 3_600, 0, 86_400, 16, 1] * 2:
        for ms in (1_780_000_000_000 + ahead * 1_000, 1_780_000_000_999 + ahead * 16_000):
            entry = entries.read_fill(WORDS, 1, 1, None, None, ms, NOW + ahead * 10**9)
            assert entry.ts == entries.stamp(ms * 10**6) and entry.received == entries.stamp(NOW + ahead * 10**9)


@compiled
def test_routes_of_more_words_than_are_kept():
    for n in [*range(5_000), 0, 4_999]:
        route = entries.read_fill((f"S{n}", *WORDS[1:]), 1, 1, None, None, None, NOW).route
        assert route.symbol == f"S{n}" and route.venue == "binance"


class Stop(BaseException):
    pass


class Signals:
    """An id that is looked at when a signal comes."""

    def __str__(self):
        signal.raise_signal(signal.SIGUSR1)
        return "id"


@compiled
def test_a_signal_handler_that_raises_is_obeyed():
    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        for module in (entries, PLAIN[entries]):
            with pytest.raises(Stop):
                module.read_fill(WORDS, 1, 1, None, Signals(), None, NOW)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert entries.read_fill(WORDS, 1, 1, None, 7, None, NOW).fill_id == "7"


@compiled
@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=20),
    st.integers(-2, 2**70) | st.sampled_from([True, "1", None]),
    st.binary(max_size=300) | st.just("text"),
)
def test_a_line_is_sealed_alike(previous, seq, said):
    assert outcome(chain.sealed, previous, seq, said) == outcome(PLAIN[chain].sealed, previous, seq, said)
    if type(seq) is int and type(said) is bytes:
        body = chain.begun(seq, said)
        line, digest = chain.sealed(previous, seq, said)
        assert digest == chain.link(previous, body) and line == chain.seal(body, digest) + b"\n"


@compiled
@settings(max_examples=200, deadline=None)
@given(*[st.one_of(st.none(), ODD_TEXT, st.just(Odd("a")), st.just(7))] * 8)
def test_keys_and_checksums_are_alike(venue, symbol, order_id, fill_id, size, fee, asset, ts):
    made = []
    for module in (routes, PLAIN[routes]):
        route = module.Route(symbol if type(symbol) is str else "BTC", "buy", None, None, venue if venue != 7 else "v")
        made.append((outcome(route.identity, order_id, fill_id), outcome(route.identity, order_id)[0]))
    assert made[0] == made[1]
    said = size, size, fee, asset, ts
    assert outcome(lines.content, *said) == outcome(PLAIN[lines].content, *said)
    assert outcome(lines.content)[0] is TypeError


KEYS = st.binary(min_size=8, max_size=8) | st.sampled_from([b"\0" * 8, b"\0\0" + b"\0\1" * 3, b"\1\0" * 4])
WHOLE = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 1, 0x01010101])


@compiled
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(KEYS, WHOLE, WHOLE), max_size=40), st.lists(KEYS))
def test_fills_are_entered_and_found_alike(entered, asked):
    ours, plain = index.FillIndex(), PLAIN[index].FillIndex()
    for key, crc, seq in entered:
        assert ours.get(key) == plain.get(key)
        if plain.get(key) is None:
            ours.enter(key, crc, seq)
            plain.enter(key, crc, seq)
    assert ours._shelves == plain._shelves and len(ours) == len(plain)
    assert [ours.get(key) for key in asked] == [plain.get(key) for key in asked]


@compiled
def test_what_is_no_key_is_the_same_error():
    for said in (
        (b"", 1, 1), (b"\0", 1, 1), (b"\0" * 9, 1, 1), ("x" * 8, 1, 1), (None, 1, 1), (b"\0" * 8, -1, 1),
        (b"\0" * 8, 2**32, 1), (b"\0" * 8, 1, 2**32), (b"\0" * 8, 1, -1), (b"\0" * 8, "1", 1), (b"\0" * 8, 1, None),
    ):  # fmt: skip
        ours, plain = index.FillIndex(), PLAIN[index].FillIndex()
        assert outcome(ours.enter, *said) == outcome(plain.enter, *said)
        assert ours._shelves == plain._shelves and len(ours) == len(plain)
        assert outcome(ours.get, said[0]) == outcome(plain.get, said[0])
    for call in (ours.enter, lambda: ours.enter(b"\0" * 8, 1), ours.get, lambda: index.FillIndex.get(7, b"")):
        with pytest.raises(TypeError):
            call()
    shelf = ours._shelves[0] = bytearray(16)
    with memoryview(shelf), pytest.raises(BufferError):
        ours.enter(b"\0" * 8, 1, 1)
    assert ours._shelves[0] == bytearray(16) and len(ours) == 0


AMOUNTS = st.sampled_from(
    [Decimal(1), Decimal("-0.50"), Decimal("1E+3"), Decimal("1E-9"), Decimal("0E-7"), Decimal(7**50)]
)
PIECES = st.sampled_from(["", ',"fee":"1"', ',"é":1', ',"mark":"1","equity":"5","peak":"7"'])


@compiled
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["BTCUSDT", 'B"T\\', "é/USDT"]), IDS, IDS, IDS, st.booleans(), st.sampled_from([None, {}, {"a": "é"}]),
    AMOUNTS, AMOUNTS, st.sampled_from(["t1", None, "tE", "té"]), st.sampled_from([None, "t2"]), st.booleans(),
    PIECES, PIECES, st.sampled_from([None, 3]), st.booleans(),
)  # fmt: skip
def test_a_fills_line_is_said_alike(
    symbol, order_id, fill_id, trace_id, timed, more, delta, inventory, trade_id, next_id, late, fees, ending, voided_by, undone
):  # fmt: skip
    route = entries.read_fill((symbol, *WORDS[1:]), 1, 1, None, None, None, NOW).route
    entry = entries.FillEntry(
        route, Decimal(1), Decimal(2), "2026-01-02T03:04:05.000000Z", timed, "2026-01-02T03:04:06.000000Z", None,
        order_id, fill_id, trace_id, more,
    )  # fmt: skip
    change = None if undone else Change(delta, inventory, delta, delta, delta, trade_id, next_id, (), late=late)
    said = ('"schema":"v1"', entry, "1.0", "2", fees, change, ending, voided_by)
    assert outcome(lines.said_of_fill, *said) == outcome(PLAIN[lines].said_of_fill, *said)
    assert outcome(lines.said_of_fill, *said[:-1]) == outcome(PLAIN[lines].said_of_fill, *said[:-1])
    for at in range(len(said)):  # whatever else is said in any place
        for odd in (None, 7, "é", Odd("a"), (), entry[:5]):
            wrong = (*said[:at], odd, *said[at + 1 :])
            assert outcome(lines.said_of_fill, *wrong) == outcome(PLAIN[lines].said_of_fill, *wrong)


def told(work):
    return {name: getattr(work, name) for name in (*type(work).__slots__, "ready")}


@compiled
def test_what_follows_from_a_fill_is_noted_alike():
    change, book, trade = object(), object(), object()
    booking = Booking(7, 8, change, book, Decimal(1), None, trade=trade)
    args = object(), object(), booking, None, object(), NOW
    assert type(fills._work(*args)) is fills.Filled and type(PLAIN[fills]._work(*args)) is PLAIN[fills].Filled
    assert told(fills._work(*args)) == told(PLAIN[fills]._work(*args))
    fewer = (*args[:2], tuple(booking), *args[3:])
    assert told(fills._work(*fewer)) == told(PLAIN[fills]._work(*fewer))
    for wrong in ((), args[:5], (*args, 1), (*args[:2], None, *args[3:]), (*args[:2], booking[:5], *args[3:])):
        assert outcome(fills._work, *wrong)[0] is outcome(PLAIN[fills]._work, *wrong)[0]
        assert issubclass(outcome(fills._work, *wrong)[0], Exception)


class Point(NamedTuple):
    x: object
    y: object = 0


class Point3(Point):  # with a dictionary beside its fields
    pass


def test_a_named_tuple_is_made_of_a_tuple():
    made = maker(Point)((1, "a"))
    assert type(made) is Point and made == Point(1, "a") and made._replace(y=2).y == 2
    if quick is None:
        return
    with pytest.raises(TypeError):
        quick.maker(Point)()
    for wrong in ([1, 2], "ab", None, made):
        with pytest.raises(TypeError):
            quick.maker(Point)(wrong)
    for wrong in (Point3, str, list, object, 7):
        with pytest.raises(TypeError):
            quick.maker(wrong)


@compiled
def test_only_what_no_ring_can_be_made_of_is_hidden_from_the_collector():
    make = maker(Point)
    for plain in (1, "a", None, True, 1.5, Decimal(1), (), b""):
        assert not gc.is_tracked(make((plain, plain)))
    kept: dict = {}
    for ringed in ([], kept, {"a": []}, Point, make, (kept, [])):
        assert gc.is_tracked(make((1, ringed)))
    kept["self"] = make((kept, 1))
    ring = [make(([], 1))]
    ring[0][0].append(ring)
    count = len([each for each in gc.get_objects() if type(each) is Point])
    del ring
    kept.clear()
    gc.collect()
    assert len([each for each in gc.get_objects() if type(each) is Point]) < count
    read_one = entries.read_fill(WORDS, 1, 1, None, None, None, NOW, None, None, {"a": 1})
    assert gc.is_tracked(read_one) and read_one.more == {"a": 1}


def ledger_of(env):
    """The lines of a deterministic bot, as another interpreter writes them."""
    script = (
        "import botobs, json, tempfile, itertools, sys\n"
        "now = itertools.count(1_790_000_000_000_000_000, 1_000_000_007)\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    with botobs.start('bot', mode='backtest', clock=lambda: next(now) / 1e9, data_dir=folder,\n"
        "                      starting_equity=1000, ledger=True) as obs:\n"
        "        for n in range(60):\n"
        "            side = 'buy' if n % 7 < 4 else 'sell'\n"
        "            obs.mark('BTCUSDT', 100 + n % 5, venue='x')\n"
        "            obs.order('BTCUSDT', side, '1', decision_px='100.5', order_id=f'o{n}', venue='x')\n"
        "            price = ['100.25', 101.5, 100, '1e2'][n % 4]\n"
        "            for again in range(1 + n % 2):\n"
        "                said = obs.fill(f'o{n}', price=price, qty=['0.1', '.5', 1][n % 3], fee=[None, '0.01', '-0.02', 1e-7][n % 4],\n"
        "                                fill_id=[f'f{n}', None, f'é{n}'][n % 3], ts=[None, 1_780_000_000_000 + n * 60_000][n % 2],\n"
        "                                note=n if n % 5 else None)\n"
        "                print(said)\n"
        "        obs.flush()\n"
        "        for line in obs.ledger.latest(100): print(json.dumps(line))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, timeout=60, env=env, cwd=ROOT
    )
    return done.stdout.decode().splitlines()


@compiled
def test_a_bot_writes_the_same_ledger_without_it():
    ours = ledger_of({**os.environ, PURE: ""})
    assert len(ours) > 120 and ours == ledger_of({**os.environ, PURE: "1"})


@compiled
@pytest.mark.parametrize(
    "lacks", ["know_chain", "know_index", "know_routes", "know_fills", "know_lines", "know_work", "maker"]
)
def test_a_module_of_another_version_ends_no_import(lacks):
    script = (
        "import importlib.util, sys, types\n"
        "spec = importlib.util.spec_from_file_location('_quick', sys.argv[1])\n"
        "made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made)\n"
        "fewer = types.SimpleNamespace(**{name: each for name, each in vars(made).items() if name != sys.argv[2]})\n"
        "sys.modules['botobs._quick'] = fewer\n"
        "import botobs\n"
        "with botobs.start('bot', mode='backtest', clock=lambda: 1767323045.0, data_dir=None) as obs:\n"
        "    said = [obs.fill(None, price=1, qty=2, symbol='BTC', side='buy', fill_id='f') for _ in range(2)]\n"
        "    assert said[0].booked and said[1].duplicate and len(obs.ledger.latest(5)) == 1\n"
        "import importlib\n"
        "for name in ('quick', 'accounting.ledger.chain', 'accounting.ledger.index', 'accounting.routes',\n"
        "             'accounting.entries', 'accounting.lines', 'money.fills'):\n"
        "    importlib.reload(sys.modules[f'botobs.{name}'])\n"
        "entries, lines = sys.modules['botobs.accounting.entries'], sys.modules['botobs.accounting.lines']\n"
        "entry = entries.read_fill(('BTC', 'buy', *[None] * 7), 1, 1, None, 'f', None, 10**18)\n"
        "said = lines.said_of_fill('\"bot\":1', entry, '1', '1', '', None, '')\n"
        "assert type(entry) is entries.FillEntry and b'fill_id' in said, said\n"
    )
    subprocess.run([sys.executable, "-c", script, quick.__file__, lacks], check=True, timeout=60, cwd=ROOT)


@compiled
def test_nothing_is_called_before_its_classes_are_known():
    script = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('_quick', sys.argv[1])\n"
        "quick = importlib.util.module_from_spec(spec); spec.loader.exec_module(quick)\n"
        "class Other(tuple): pass\n"
        "for call in (quick.sealed, quick.read_fill, quick.content, quick.said_of_fill, quick.work,\n"
        "             lambda: quick.know_routes(Other, 1), lambda: quick.know_lines(*[Other] * 3, 1, 2, 3),\n"
        "             lambda: quick.know_fills(Other, int, 1, 2, 3, 4), lambda: quick.know_work(Other, Other),\n"
        "             lambda: quick.know_chain(7, 8), lambda: quick.know_index(Other, 1, 2), quick.know_index):\n"
        "    try: call()\n"
        "    except (RuntimeError, TypeError, AttributeError): pass\n"
        "    else: raise SystemExit(f'{call} did something')\n"
    )
    subprocess.run([sys.executable, "-c", script, quick.__file__], check=True, timeout=60)


@compiled
def test_nothing_is_left_behind():
    known, route = index.FillIndex(), routes.Route("BTC", "buy")
    keys = [n.to_bytes(8, "little") for n in range(256)]
    for key in keys:
        known.enter(key, 1, 1)
    change = Change(Decimal(1), Decimal(2), *[Decimal(0)] * 3, "t1", None, ())
    make = maker(FillReport)
    booking = Booking(7, 8, change, known)

    def work(count):
        for n in range(count):
            entry = entries.read_fill(
                WORDS, "1.5", 2.5, Decimal("0.1"), "f1", 1_780_000_000_000 + n * 977, NOW + n, "o1"
            )
            for wrong in (("x", "1", None), ("1", 1, object()), ("1", "1", "nan")):
                try:
                    entries.read_fill(WORDS, *wrong, "f-2", None, NOW)
                except routes.Refused:
                    pass
            said = lines.said_of_fill('"a":1', entry, "1", "2", "", change, "")
            assert len(chain.sealed(chain.FIRST, n, said)) == 2
            route.identity("o1", "f1")
            lines.content("1", "2", "3", None, entry.ts)
            known.get(keys[n % 256])
            make((True, False, *[None] * 11))
            fills._work(1, entry, booking, None, 2, 3)
        gc.collect()

    work(300)
    before, objects = sys.getallocatedblocks(), len(gc.get_objects())
    counted = [
        sys.getrefcount(each)
        for each in (None, True, False, entries.FillEntry, fills.Filled, route, chain.FIRST, change)
    ]
    work(2_000)
    assert sys.getallocatedblocks() - before < 200 and len(gc.get_objects()) - objects < 50
    again = [
        sys.getrefcount(each)
        for each in (None, True, False, entries.FillEntry, fills.Filled, route, chain.FIRST, change)
    ]
    assert max(abs(now - then) for then, now in zip(counted, again, strict=True)) < 100


@compiled
def test_two_threads_read_and_enter_beside_each_other():
    known, failed, barrier = index.FillIndex(), [], threading.Barrier(2)

    def work(which):
        barrier.wait(10)
        try:
            for n in range(4_000):
                ms = 1_780_000_000_000 + (n * 2 + which) * 1_000
                entry = entries.read_fill(
                    (f"S{n % 9}{which}", *WORDS[1:]), "1", "2", None, f"f{n}", ms, NOW + n * 10**9
                )
                key = entry.route.identity("o", entry.fill_id)
                known.enter(key, n, which)
                assert entry.ts == entries.stamp(ms * 10**6) and known.get(key) == (n, which)
                assert entry.route.symbol == f"S{n % 9}{which}"
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    every, _ = sys.getswitchinterval(), sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(every)
    assert not failed and len(known) == 8_000


@compiled
@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=6))
def test_lines_hang_together(said):
    digests, previous = [chain.FIRST], chain.FIRST
    for seq, each in enumerate(said, 1):
        line, previous = chain.sealed(previous, seq, each)
        assert chain.digest_of(line[:-1]) == previous
        digests.append(previous)
    for (before, after), (seq, each) in zip(pairwise(digests), enumerate(said, 1), strict=True):
        assert chain.link(before, chain.begun(seq, each)) == after
