"""The ledger: what is added is there, in order, numbered and chained; it rotates, and reads what it has to read."""

from __future__ import annotations

import io
import os
import random
import threading
from decimal import Decimal
from hashlib import blake2b

import orjson
import pytest

from botobs.accounting.ledger import Ledger
from tests.accounting.ledgers import Bench, add, fill, moment, numbers, soon


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_line_has_its_number_first_and_a_hash_over_itself_and_the_line_before_last(bench):
    ledger = bench.open()
    tickets = add(ledger, 1, 2, 3)
    previous = bytes(16)
    for seq, line in enumerate(bench.live.read_bytes().splitlines(), 1):
        record = orjson.loads(line)
        assert list(record)[0] == "seq" and list(record)[-1] == "hash" and record["seq"] == seq
        body = orjson.dumps({key: value for key, value in record.items() if key != "hash"})[:-1]
        previous = blake2b(previous + body, digest_size=16).digest()
        assert record["hash"] == previous.hex() == tickets[seq - 1].hash
        assert tickets[seq - 1].line == line + b"\n" and tickets[seq - 1].seq == seq and tickets[seq - 1].written
    assert ledger.next_seq == 4 and ledger.pending == 0
    assert bench.live.stat().st_mode & 0o077 == 0 and bench.head.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"seq": 99, "hash": "mine", "n": 1},
        {"a": Decimal("1.10"), "b": {1, 2}, "c": object(), "d": float("nan"), "e": 2**80, "f": "\ud800"},
        {"text": 'x"}\n{"seq":7,"hash":"' * 5, "more": {"seq": 5, "hash": "x"}},
        {"pad": "é" * 3_000_000},
        {1: 2, None: 3},
        ["no", "dict"],
        None,
        7,
    ],
    ids=lambda fields: repr(fields)[:20],
)
def test_whatever_is_added_becomes_one_line_that_verifies(bench, fields):
    ledger = bench.open()
    add(ledger, 1)
    with ledger.lock:
        ticket = ledger.add(fields)
    add(ledger, 3)
    assert ledger.settle(ticket) and ticket.seq == 2 and ticket.line.count(b"\n") == 1
    assert [seq for seq, _ in ledger.lines()] == [1, 2, 3]
    assert ledger.find(2)["seq"] == 2 and ledger.find(2)["hash"] == ticket.hash
    assert ledger.verify().ok and bench.look().verify().ok


def test_a_new_process_goes_on_where_the_last_one_stopped(bench):
    first = bench.open()
    add(first, 1, 2)
    assert first.close(soon())
    second = bench.open()
    assert second.next_seq == 3
    add(second, 3)
    assert numbers(second) == [1, 2, 3] and second.verify().ok and second.verify().lines == 3
    assert not second.repairs and not bench.told


def test_nothing_is_made_before_the_first_line(bench):
    ledger = bench.open()
    assert ledger.verify().ok and ledger.latest() == [] and list(ledger.between()) == [] and ledger.archive() is None
    assert ledger.flush(soon()) and ledger.close(soon())
    assert list(bench.root.iterdir()) == []


def test_latest_comes_from_memory_and_beyond_that_from_the_files(bench):
    ledger = bench.open(rotate_bytes=20_000, durability="os")
    add(ledger, *range(1, 1501))
    before = ledger.opened_files
    assert [record["n"] for record in ledger.latest()] == list(range(1401, 1501))
    assert ledger.opened_files == before
    assert [record["n"] for record in ledger.latest(1200)] == list(range(301, 1501))
    assert [record["n"] for record in ledger.latest(10_000)] == list(range(1, 1501))
    assert ledger.latest(0) == ledger.latest(-1) == []
    assert [record["n"] for record in bench.look().latest(3)] == [1498, 1499, 1500]
    again = bench.open()
    assert [record["n"] for record in again.latest(2)] == [1499, 1500]


def test_lines_and_find_at_every_place_of_every_file(bench):
    ledger = bench.open(rotate_bytes=12_000, durability="os")
    dice = random.Random(1)
    for n in range(1, 301):
        add(ledger, n, pad="x" * dice.choice((0, 10, 900, 30_000 if n % 50 == 0 else 5)))
    assert len(bench.archives) > 5
    for looker in (ledger, bench.look()):
        for n in range(1, 301):
            assert looker.find(n)["n"] == n
        assert looker.find(0) is looker.find(301) is looker.find(-5) is None
        for _ in range(50):
            a, b = dice.randrange(-2, 305), dice.randrange(-2, 305)
            assert numbers(looker, a, b) == [n for n in range(1, 301) if a <= n <= b]
        assert numbers(looker, 250) == list(range(250, 301))


def test_rotation_by_size_names_the_span_late_lines_included(bench):
    ledger = bench.open(rotate_bytes=1_000)
    add(ledger, 100, 50, 200)  # 50 is late
    with ledger.lock:
        while not bench.archives:
            ledger.add(fill(150))
    (archived,) = bench.archives
    assert archived.name == "fills-000000000001-20260102T030455.000000Z-20260102T030725.000000Z.jsonl"
    assert ledger.flush(soon()) and ledger.verify().files == 2


def test_rotation_by_age_follows_the_clock_also_after_a_restart_and_when_it_is_set_back(bench):
    hour = 3_600 * 10**9
    ledger = bench.open(rotate_ns=hour)
    bench.clock.set(moment(1))
    add(ledger, 1)
    bench.clock.advance(1800)
    add(ledger, 2)
    assert not bench.archives
    ledger.close(soon())
    ledger = bench.open(rotate_ns=hour)
    bench.clock.set(moment(-50_000))
    add(ledger, 3)
    bench.clock.set(moment(3_700))
    add(ledger, 4)
    assert len(bench.archives) == 1 and numbers(ledger) == [1, 2, 3, 4] and ledger.verify().ok


def test_archive_now(bench):
    ledger = bench.open()
    assert ledger.archive() is None
    add(ledger, 1, 2)
    path = ledger.archive()
    assert path in bench.archives and not bench.live.exists() and ledger.archive() is None
    add(ledger, 3)
    assert numbers(ledger) == [1, 2, 3] and ledger.verify().ok


def test_the_span_of_a_file_begun_by_an_earlier_process_is_known(bench):
    for head in ("kept", "lost", "stale"):
        with_late = bench.open()
        add(with_late, 5, 9)
        old = bench.head.read_bytes()
        add(with_late, 2, 30)
        with_late.close(soon())
        if head == "lost":
            bench.head.unlink()
        elif head == "stale":  # as after kill -9
            bench.head.write_bytes(old)
        again = bench.open()
        add(again, 20)
        name = again.archive().name
        assert name.endswith("-20260102T030407.000000Z-20260102T030435.000000Z.jsonl"), (head, name)
        again.close(soon())


def test_a_head_that_tells_of_an_earlier_file_says_nothing_of_this_one(bench):
    ledger = bench.open()
    add(ledger, 1, 900)
    old = bench.head.read_bytes()
    ledger.archive()
    add(ledger, 5, 6)
    ledger.close(soon())
    bench.head.write_bytes(old)  # as after kill -9
    name = bench.open().archive().name
    assert name.endswith("-20260102T030410.000000Z-20260102T030411.000000Z.jsonl")


def test_between_opens_only_files_that_overlap(bench):
    ledger = bench.open(durability="os")
    for start in range(0, 1000, 100):
        add(ledger, *range(start, start + 100))
        ledger.archive()
    add(ledger, *range(1000, 1050), 450)  # 450 late, in the live file
    for looker, live in ((ledger, 0), (bench.look(), 1)):
        before = looker.opened_files
        assert [r["n"] for r in looker.between(moment(310), moment(320))] == list(range(310, 320))
        assert looker.opened_files - before == 1 + live
        before = looker.opened_files
        assert [r["n"] for r in looker.between(moment(440), moment(501))] == [*range(440, 501), 450]
        assert looker.opened_files - before == 3
        before = looker.opened_files
        assert [r["n"] for r in looker.between(moment(1040))] == list(range(1040, 1050))
        assert looker.opened_files - before == 1
        assert len(list(looker.between())) == 1051 and len(list(looker.between(None, moment(1)))) == 1
        assert list(looker.between(moment(5), moment(5))) == []
    with pytest.raises((ValueError, TypeError)):
        ledger.between("yesterday")


def test_between_takes_times_as_the_verbs_do_and_cuts_nothing(bench):
    ledger = bench.open()
    add(ledger, 1, 1.000001, 1.000002)
    ns = 1_767_323_046 * 10**9
    assert [r["n"] for r in ledger.between(ns, ns + 1)] == [1]
    assert [r["n"] for r in ledger.between(ns + 1, ns + 1001)] == [1.000001]


def test_without_a_folder_lines_are_numbered_and_kept():
    ledger = Ledger(None)
    tickets = add(ledger, *range(1, 2001), settle=False)
    assert [ticket.seq for ticket in tickets] == list(range(1, 2001)) and ledger.next_seq == 2001
    assert not ledger.settle(tickets[-1]) and not tickets[-1].written
    assert [r["n"] for r in ledger.latest(3)] == [1998, 1999, 2000] and len(ledger.latest(5000)) == 2000
    assert ledger.find(2000)["n"] == 2000 and ledger.find(1)["n"] == 1  # late fills and voids need them all
    assert [r["n"] for r in ledger.between(moment(1990), moment(1992))] == [1990, 1991]
    assert ledger.verify().ok and ledger.retry() and ledger.flush(soon()) and ledger.close(soon())


def test_read_only_writes_nothing(bench):
    add(bench.open(), 1)
    before = {path: path.stat().st_mtime_ns for path in bench.root.rglob("*")}
    with bench.live.open("ab") as file:
        file.write(b'{"seq":2,"ty')
    looker = bench.look()
    assert numbers(looker) == [1] and looker.verify().ok and looker.next_seq == 2
    with pytest.raises(io.UnsupportedOperation):
        add(looker, 2)
    assert looker.flush(soon()) and looker.close(soon()) and looker.archive() is None
    assert bench.live.read_bytes().endswith(b'"ty')
    assert {path for path in bench.root.rglob("*")} == set(before)


def test_readers_miss_nothing_and_see_nothing_twice_while_it_writes_and_rotates(bench):
    """From outside, with no lock in common, as another process does."""
    ledger = bench.open(rotate_bytes=3_000, durability="os")
    done, wrong = threading.Event(), []

    def read():
        looker = bench.look()
        while not done.is_set():
            acknowledged = ledger.next_seq - 1
            seen = [seq for seq, _ in looker.lines()]
            if seen != list(range(1, len(seen) + 1)) or len(seen) < acknowledged:
                wrong.append((acknowledged, len(seen), seen[-3:]))
            verified = looker.verify()
            if not verified.ok:
                wrong.append(str(verified))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(1, 1501):
        add(ledger, n)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(bench.archives) > 50


def test_a_file_that_is_rotated_while_a_reader_opens_it_is_read_once(bench, monkeypatch):
    ledger = bench.open()
    add(ledger, 1, 2)
    looker = bench.look()
    module = __import__("botobs.accounting.ledger.reading", fromlist=["volumes"])
    listing = module.volumes

    def rotated_before(folder):
        if not bench.archives:
            ledger.archive()
            add(ledger, 3)
        return listing(folder)

    monkeypatch.setattr(module, "volumes", rotated_before)
    assert numbers(looker) == [1, 2]
    assert numbers(looker) == [1, 2, 3]


def test_a_crash_between_the_steps_of_a_rotation_is_harmless(bench, monkeypatch):
    ledger = bench.open()
    add(ledger, 1, 2)
    ledger.archive()  # and the process ends before the next file begins
    ledger.close(soon())
    again = bench.open()
    assert again.next_seq == 3
    add(again, 3)
    assert numbers(again) == [1, 2, 3] and again.verify().ok and bench.look().verify().ok


def test_signal_handlers_may_add_in_the_middle_of_an_add(bench, monkeypatch):
    ledger = bench.open()
    handled = []
    write = bench.disk.write

    def interrupted(fd, data):
        if not handled:
            handled.append(None)
            handled[:] = [ledger.add(fill(100)), ledger.add(fill(101))]
            assert not ledger.flush(soon()) and not ledger.close(soon())  # the line under way comes first
        return write(fd, data)

    monkeypatch.setattr(bench.disk, "write", interrupted)
    (ticket,) = add(ledger, 1)
    assert (ticket.seq, [late.seq for late in handled]) == (1, [2, 3])
    assert numbers(bench.look()) == [1, 100, 101] and bench.look().verify().ok and handled[1].written
    add(ledger, 4)
    assert ledger.pending == 1  # it was closed meanwhile


@pytest.mark.parametrize("wrote", [False, True])
def test_an_interrupt_in_the_middle_of_an_add_leaves_no_trace(bench, monkeypatch, wrote):
    ledger = bench.open()
    add(ledger, 1)
    write = bench.disk.write

    def interrupted(fd, data):
        write(fd, data if wrote else data[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.disk, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            add(ledger, 2)
    assert ledger.next_seq == 2
    add(ledger, 3)
    assert numbers(ledger) == [1, 3] and ledger.next_seq == 3 and ledger.verify().ok and bench.look().verify().ok


def test_a_forked_child_writes_nothing_and_waits_for_nobody(bench):
    ledger = bench.open()
    add(ledger, 1)
    bench.disk.may_sync.clear()
    waiting = threading.Thread(target=add, args=(ledger, 2))
    waiting.start()
    bench.disk.in_sync.wait(20)
    holds, free = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: (ledger.lock.acquire(), holds.set(), free.wait(20), ledger.lock.release()))
    holder.start()
    holds.wait(20)
    before = bench.live.read_bytes()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        try:
            bench.disk.may_sync.set()
            ledger.abandon()
            ticket = add(ledger, 3, settle=False)[0]
            refused = not ticket.written and not ledger.settle(ticket) and not ledger.pending
            ended = ledger.retry() and ledger.flush(soon()) and ledger.close(soon()) and ledger.archive() is None
            code = 0 if refused and ended and bench.live.read_bytes() == before else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    free.set()
    bench.disk.may_sync.set()
    waiting.join()
    holder.join()
    assert os.waitstatus_to_exitcode(status) == 0
    add(ledger, 3)
    assert numbers(ledger) == [1, 2, 3] and ledger.verify().ok


@pytest.mark.parametrize("how", ["unlinked", "moved", "replaced", "cut", "appended"])
def test_somebody_else_lays_hands_on_the_live_file(bench, how):
    ledger = bench.open()
    add(ledger, 1, 2)
    if how == "unlinked":
        bench.live.unlink()
    elif how == "moved":
        bench.live.rename(bench.root / "mine.jsonl")
    elif how == "replaced":
        copy = bench.root / "copy"
        copy.write_bytes(bench.live.read_bytes())
        copy.replace(bench.live)
    elif how == "cut":
        os.truncate(bench.live, bench.live.stat().st_size - 10)
    else:
        with bench.live.open("ab") as file:
            file.write(b"half a li")
    ledger._vault.look_at = 0.0
    add(ledger, 3)
    assert bench.kinds == ["missing"]
    assert ledger.find(3)["n"] == 3 and b'"n":3' in bench.live.read_bytes()
    assert bench.look().verify().ok is (how in {"replaced", "appended"})
    add(ledger, 4)
    assert bench.kinds == ["missing"] and numbers(bench.look())[-2:] == [3, 4]
