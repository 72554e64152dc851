"""A bad disk: nothing is lost, nothing is called durable that is not, and it is said once."""

from __future__ import annotations

import os
import random
import threading
from types import SimpleNamespace

import pytest

from botobs.faults import Faults
from tests.accounting.ledgers import Bench, add, fill, numbers, soon


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("fault", ["full", "partly full", "read only", "does not cut"])
def test_what_cannot_be_written_waits_in_order_and_is_written_when_the_disk_is_back(bench, durability, fault):
    ledger = bench.open(durability=durability)
    add(ledger, 1)
    whole = bench.live.read_bytes()
    bench.disk.read_only = fault == "read only"
    bench.disk.room = None if fault == "read only" else 50 if fault != "full" else 0
    bench.disk.cut_fails = fault == "does not cut"
    tickets = add(ledger, 2, 3, 4)
    assert not any(ticket.written or ledger.settle(ticket) for ticket in tickets)
    assert ledger.pending == 3 and ledger.next_seq == 5 and bench.kinds == ["write"]
    assert not ledger.retry(at_once=True) and not ledger.flush(soon())
    assert bench.kinds == ["write"]
    if fault != "does not cut":
        assert bench.live.read_bytes() == whole
    # all the same, everything can be read, and is as it should be
    assert numbers(ledger) == [1, 2, 3, 4] and ledger.find(3)["n"] == 3
    assert [r["n"] for r in ledger.latest(2)] == [3, 4] and [r["n"] for r in ledger.between()] == [1, 2, 3, 4]
    found = ledger.verify()
    assert found.ok and found.pending == 3 and found.lines == 4
    assert bench.look().verify().ok and numbers(bench.look()) == [1]
    bench.disk.room, bench.disk.read_only, bench.disk.cut_fails = None, False, False
    assert ledger.retry(at_once=True) and ledger.pending == 0 and all(map(ledger.settle, tickets))
    assert bench.kinds == ["write", "resumed"]
    assert bench.live.read_bytes() == whole + b"".join(ticket.line for ticket in tickets)
    add(ledger, 5)
    assert bench.look().verify().ok and numbers(bench.look()) == [1, 2, 3, 4, 5] and ledger.retry()
    assert bench.kinds == ["write", "resumed"]


def test_new_lines_wait_behind_those_that_wait_and_take_them_along(bench, monkeypatch):
    monkeypatch.setattr("botobs.accounting.ledger.trouble.time", SimpleNamespace(monotonic=lambda: 100.0))
    ledger = bench.open()
    bench.disk.room = 0
    add(ledger, *range(600))
    bench.disk.room = None
    (ticket,) = add(ledger, 600, settle=False)
    assert not ticket.written  # a pause follows a failure
    ledger._trouble._again = 0.0
    (ticket,) = add(ledger, 601, settle=False)
    assert ticket.written and ledger.pending == 0 and bench.kinds == ["write"]
    assert ledger.settle(ticket) and bench.kinds == ["write", "resumed"]
    assert numbers(bench.look()) == list(range(602)) and bench.look().verify().ok


def test_failures_are_followed_by_pauses(bench, monkeypatch):
    ledger = bench.open()
    bench.disk.room = 0
    tried = []
    monkeypatch.setattr(bench.disk, "write", lambda fd, data: tried.append(fd) or 1 / 0)
    add(ledger, *range(1000))
    assert len(tried) < 20 and ledger.pending == 1000


def test_a_small_disk_takes_whole_lines_as_many_as_fit(bench):
    ledger = bench.open()
    (ticket,) = add(ledger, 1)
    bench.disk.room = 0
    add(ledger, *range(2, 30))
    bench.disk.room = 5 * len(ticket.line) + 17
    assert not ledger.retry(at_once=True)
    assert 4 <= len(numbers(bench.look())) <= 6 and bench.live.read_bytes().endswith(b"}\n")
    assert ledger.pending == 29 - len(numbers(bench.look())) and numbers(ledger) == list(range(1, 30))
    assert bench.look().verify().ok and ledger.verify().ok


def test_a_disk_that_takes_a_few_bytes_at_a_time(bench):
    bench.disk.most = 7
    ledger = bench.open()
    assert all(ticket.written for ticket in add(ledger, 1, 2, 3))
    assert numbers(bench.look()) == [1, 2, 3] and bench.look().verify().ok and not bench.told


@pytest.mark.parametrize("seed", range(6))
def test_a_disk_that_fails_at_random_loses_nothing(bench, seed):
    dice = random.Random(seed)
    ledger = bench.open(rotate_bytes=2_000, durability=dice.choice(("fsync", "os")))
    durable = []
    for n in range(200):
        if dice.random() < 0.2:
            bench.disk.room = dice.choice((None, 0, dice.randrange(2_000)))
            bench.disk.read_only = dice.random() < 0.1
            bench.disk.cut_fails = dice.random() < 0.1
            bench.disk.sync_fails = dice.choice((0, 0, 1, 2))
        (ticket,) = add(ledger, n, pad="x" * dice.randrange(300), settle=False)
        if ledger.settle(ticket):
            durable.append(ticket.line)
        if dice.random() < 0.3:
            ledger.retry(at_once=True)
        if dice.random() < 0.05:
            ledger.archive()
        if dice.random() < 0.1:
            on_disk = b"".join(path.read_bytes() for path in (*bench.archives, bench.live) if path.exists())
            assert all(line in on_disk for line in durable)
            assert numbers(ledger) == list(range(n + 1)) and ledger.verify().ok
    bench.disk.__init__()
    assert ledger.flush(soon()) and not ledger.pending
    assert numbers(bench.look()) == list(range(200)) and bench.look().verify().ok
    assert [kind for kind in bench.kinds if kind == "missing"] == []
    assert not bench.told or bench.kinds[-1] == "resumed"


def test_a_sync_that_failed_is_not_believed_until_the_lines_are_written_again(bench, monkeypatch):
    """The system may drop what it could not write and call the next sync a success: here it does."""
    ledger = bench.open()
    add(ledger, 1)
    durable = bench.live.read_bytes()
    bench.disk.sync_fails = 1
    first = add(ledger, 2, 3, settle=False)
    assert not ledger.settle(first[1]) and bench.kinds == ["sync"] and first[0].written
    size = bench.live.stat().st_size
    with bench.live.open("r+b") as file:  # the pages are gone, the length is not
        file.seek(len(durable))
        file.write(b"\0" * (size - len(durable)))
    assert not ledger.settle(first[0])  # within the pause
    assert not ledger._vault.reach(first[0].seq)  # nor for one who asked before it was known
    ledger._trouble._again = 0.0
    assert ledger.settle(first[0]) and ledger.settle(first[1])
    assert bench.live.read_bytes() == durable + first[0].line + first[1].line
    assert bench.kinds == ["sync", "resumed"] and ledger.verify().ok


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_while_syncs_fail_lines_go_on_being_written_and_rotation_waits(bench, durability):
    ledger = bench.open(rotate_bytes=500, durability=durability)
    add(ledger, 1)
    bench.disk.sync_fails = 10**6
    tickets = add(ledger, *range(2, 20))
    assert all(ticket.written for ticket in tickets) and not bench.archives and bench.kinds == ["sync"]
    assert not ledger.retry(at_once=True) and not ledger.flush(soon()) and ledger.archive() is None
    assert all(map(ledger.settle, tickets)) is (durability == "os")
    assert numbers(bench.look()) == list(range(1, 20))
    bench.disk.sync_fails = 0
    assert ledger.retry(at_once=True) and bench.kinds == ["sync", "resumed"]
    add(ledger, 20)
    assert len(bench.archives) == 1 and all(map(ledger.settle, tickets)) and bench.look().verify().ok


def test_a_ledger_that_cannot_be_opened_at_first_begins_when_it_can(bench):
    bench.disk.read_only = True
    ledger = bench.open()
    tickets = add(ledger, 1, 2)
    assert bench.kinds == ["write"] and ledger.pending == 2
    bench.disk.read_only = False
    assert ledger.retry(at_once=True) and numbers(bench.look()) == [1, 2] and all(map(ledger.settle, tickets))


ZEROS = b'{"seq":3,"n":3,"x":"\0\0","hash":"' + b"0" * 32 + b'"}\n'


@pytest.mark.parametrize("tail", [b'{"seq":3,"type":"fi', b"\0" * 300, b'"\xff\xfe', ZEROS, "whole"])
def test_a_torn_end_is_set_aside_when_the_disk_allows_it(bench, tail):
    ledger = bench.open()
    two = add(ledger, 1, 2)
    ledger.close(soon())
    if tail == "whole":  # only the line end is missing: nothing is lost
        os.truncate(bench.live, bench.live.stat().st_size - 1)
    else:
        with bench.live.open("ab") as file:
            file.write(tail)
    assert bench.look().verify().ok
    bench.disk.read_only = True
    ledger = bench.open()
    assert ledger.next_seq == 3
    add(ledger, 3)
    bench.disk.read_only = False
    assert ledger.flush(soon())
    assert len(ledger.repairs) == 1 and ledger.repairs[0].bytes == (0 if tail == "whole" else len(tail))
    assert bench.live.read_bytes().startswith(two[0].line + two[1].line)
    assert numbers(bench.look()) == [1, 2, 3] and bench.look().verify().ok and bench.kinds == ["write", "resumed"]


def test_a_ledger_that_cannot_be_read_is_no_empty_one(bench):
    bench.live.mkdir(parents=True)
    with pytest.raises(OSError):
        bench.open()


def test_a_damaged_head_is_no_matter(bench):
    ledger = bench.open()
    add(ledger, 1, 2)
    ledger.close(soon())
    for damage in (b"", b"nonsense", bench.head.read_bytes()[:-3] + b"xx\n", os.urandom(500)):
        bench.head.write_bytes(damage)
        found = bench.look().verify()
        assert found.ok and "ledger.head" in found.notes[0]
        ledger = bench.open()
        assert ledger.next_seq == 3 and ledger.verify().ok
        ledger.close(soon())
    bench.head.unlink()
    found = bench.look().verify()
    assert found.ok and "missing" in found.notes[0]
    bench.head.mkdir()
    ledger = bench.open()
    assert all(map(ledger.settle, add(ledger, 3))) and bench.look().verify().ok


def test_a_listener_a_clock_and_strict_faults_that_raise_lose_nothing(bench):
    bench.faults = Faults(strict=True)
    bench.told = None  # the listener fails
    bench.clock = type("Broken", (), {"time_ns": lambda self: 1 / 0, "perf_ns": lambda self: 0})()
    ledger = bench.open()
    bench.disk.room = 0
    add(ledger, 1)
    bench.disk.room = None
    assert ledger.retry(at_once=True)
    add(ledger, 2)
    assert ledger.archive() and numbers(bench.look()) == [1, 2] and bench.faults.errors["ledger.listener"] == 2


def test_those_who_wait_share_a_sync(bench):
    ledger = bench.open()
    add(ledger, 0)
    bench.disk.may_sync.clear()
    bench.disk.in_sync.clear()
    before, done = bench.disk.syncs, []

    def work(n):
        (ticket,) = add(ledger, n, settle=False)
        added.release()
        done.append(ledger.settle(ticket))

    added = threading.Semaphore(0)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    threads[0].start()
    assert bench.disk.in_sync.wait(20)
    for thread in threads[1:]:
        thread.start()
    for _ in threads:
        assert added.acquire(timeout=20)
    bench.disk.may_sync.set()
    for thread in threads:
        thread.join(20)
    assert done == [True] * 8 and bench.disk.syncs - before == 2  # the first, and one for all the others
    assert b"%020d" % 9 in bench.head.read_bytes()


def test_a_failed_sync_is_told_to_all_who_wait(bench):
    ledger = bench.open()
    add(ledger, 0)
    bench.disk.may_sync.clear()
    bench.disk.in_sync.clear()
    bench.disk.sync_fails = 100
    done, added = [], threading.Semaphore(0)

    def work(n):
        (ticket,) = add(ledger, n, settle=False)
        added.release()
        done.append(ledger.settle(ticket))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert added.acquire(timeout=20)
    bench.disk.may_sync.set()
    for thread in threads:
        thread.join(20)
    assert done == [False] * 5 and bench.kinds == ["sync"]
    bench.disk.sync_fails = 0
    assert ledger.flush(soon()) and bench.kinds == ["sync", "resumed"]


def test_flush_and_close_keep_to_their_deadline(bench):
    ledger = bench.open()
    add(ledger, 0)
    (ticket,) = add(ledger, 1, settle=False)
    bench.disk.in_sync.clear()
    bench.disk.may_sync.clear()
    waiting = threading.Thread(target=ledger.settle, args=(ticket,))
    waiting.start()
    assert bench.disk.in_sync.wait(20)
    import time

    begun = time.monotonic()
    assert not ledger.flush(begun + 0.05) and not ledger.close(begun + 0.1)
    assert time.monotonic() - begun < 5
    bench.disk.may_sync.set()
    waiting.join()


def test_a_signal_handler_may_settle_in_the_middle_of_a_sync(bench, monkeypatch):
    ledger = bench.open(rotate_bytes=400)
    add(ledger, 1)
    sync, seen = bench.disk.sync, []

    def interrupted(fd):
        if not seen:
            seen.append(None)
            seen[:] = [ledger.settle(ticket) for ticket in add(ledger, 2, 3, 4, settle=False)]
            seen.append(ledger.flush(soon()))
        sync(fd)

    (ticket,) = add(ledger, 5, settle=False)
    monkeypatch.setattr(bench.disk, "sync", interrupted)
    assert ledger.settle(ticket) and seen == [True] * 4
    add(ledger, 6)
    assert numbers(bench.look()) == [1, 5, 2, 3, 4, 6] and bench.look().verify().ok


def test_durability_os_syncs_nothing_but_at_rotation_and_the_end(bench):
    ledger = bench.open(durability="os")
    assert all(map(ledger.settle, add(ledger, *range(10))))
    assert bench.disk.syncs == 0 and b"%020d" % 10 in bench.head.read_bytes()
    assert ledger.flush(soon()) and bench.disk.syncs == 0
    assert ledger.archive() and bench.disk.syncs > 0
    before = bench.disk.syncs
    add(ledger, 11)
    assert ledger.close(soon()) and bench.disk.syncs > before


def test_after_close_lines_stay_in_memory(bench):
    ledger = bench.open()
    add(ledger, 1)
    assert ledger.close(soon()) and ledger.close(soon())
    (ticket,) = add(ledger, 2)
    assert not ticket.written and ledger.pending == 1 and not ledger.settle(ticket) and not ledger.flush(soon())
    assert not ledger.retry(at_once=True) and not ledger.close(soon()) and ledger.archive() is None
    assert numbers(bench.look()) == [1] and fill(1)["n"] == 1


def test_new_names_reach_the_disk_with_the_lines(bench, monkeypatch):
    synced, sync = [], bench.disk.sync
    monkeypatch.setattr(bench.disk, "sync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd)))
    ledger = bench.open()
    add(ledger, 1)
    assert {bench.live.stat().st_ino, bench.live.parent.stat().st_ino} <= set(synced)
    synced.clear()
    add(ledger, 2)
    assert synced == [bench.live.stat().st_ino]
    ledger.archive()
    synced.clear()
    add(ledger, 3)
    assert {path.stat().st_ino for path in (bench.live, bench.live.parent, bench.folder)} <= set(synced)
