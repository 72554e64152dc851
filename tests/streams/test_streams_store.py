"""Queues in front of the files: bounded, in order, nothing lost without being counted."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from botobs.clock import SystemClock
from botobs.faults import Faults
from botobs.streams import Disk, StreamReader, StreamStore
from botobs.streams.jsonl import JsonlFile
from botobs.streams.lane import Lane
from botobs.streams.names import IMPORTANCE, stream_name

from .striking import interrupted

MS = 1_000_000


class Switch(Disk):
    """A disk that can be full."""

    full = False

    def write(self, fd, data):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(fd, data)


@pytest.fixture
def make(tmp_path):
    made = []

    def make(root=tmp_path, **kwargs):
        given = {
            "queue_size": 1000, "rotate_bytes": 1 << 30, "rotate_ns": 1 << 62, "clock": SystemClock(), "disk": Switch(),
            "faults": Faults(), "synchronous": False,
        }  # fmt: skip
        store = StreamStore(root, **(given | kwargs))
        made.append(store)
        return store

    yield make
    for store in made:
        store.close(time.monotonic() + 5)


def line(n, **more):
    return json.dumps({"ts": "2026-01-02T03:04:05.000001Z", "n": n, **more}).encode()


def numbers(tmp_path, stream="signals"):
    path = tmp_path / f"logs/{stream}.jsonl"
    return [json.loads(text)["n"] for text in path.read_bytes().splitlines()] if path.exists() else []


def drain(store):
    while store.drain(MS):
        pass


def test_lines_reach_their_streams_in_order(make, tmp_path):
    store = make()
    for n in range(500):
        store.put("signals" if n % 2 else "costs", line(n))
    assert store.pending == 500
    drain(store)
    assert (store.pending, store.written, store.dropped) == (0, 500, 0)
    assert numbers(tmp_path) == list(range(1, 500, 2))
    assert numbers(tmp_path, "costs") == list(range(0, 500, 2))


def test_a_slice_ends_with_its_budget_and_takes_turns(make, tmp_path):
    store = make(queue_size=10_000)
    for n in range(240):
        for stream in ("signals", "costs", "mine"):
            store.put(stream, line(n, text="x" * 60_000))
    slices, more = 0, True
    while more:
        more = store.drain(0)
        slices += 1
        counts = [len(numbers(tmp_path, stream)) for stream in ("signals", "costs", "mine")]
        assert max(counts) - min(counts) <= 135  # a piece of eight megabytes
    assert counts == [240, 240, 240]
    assert slices >= 3 * 2


def test_no_line_is_counted_twice_or_left_out_however_it_was_taken(make):
    """Lines are counted as they come in; nobody looks for their ends in what is written."""
    store = make(queue_size=100_000)
    lane, total = None, 0
    for round_ in range(6):
        for n in range(2_000):
            store.put("signals", line(n, text="x" * 600 * round_))
            total += 1
        lane = store._by_name["signals"]
        lane.piece = 100_000 * round_ + 1  # a part of it only
        store.drain(0)
        assert store.written + store.pending == total
    while store.drain(0):
        assert store.written + store.pending == total
    store.drain(0)
    assert (store.written, store.pending, lane.taken) == (total, 0, total)


def test_many_lines_are_few_writes_and_none_is_too_large(make):
    sizes = []

    class Noting(Disk):
        def write(self, fd, data):
            sizes.append(len(data))
            return super().write(fd, data)

    store = make(disk=Noting(), queue_size=10_000)
    for n in range(1_000):
        store.put("signals", line(n))
    drain(store)
    assert len(sizes) == 1
    for n in range(100):
        store.put("signals", line(n, text="x" * 30_000))
    store.put("signals", line(0, text="x" * 3_000_000))
    drain(store)
    assert sum(sizes) > 6_000_000
    assert max(sizes) <= 4_000_000 + 3_100_000
    assert len(sizes) <= 4


def test_after_a_failure_smaller_pieces_are_tried(make, tmp_path):
    """A disk with some room takes what fits."""
    taken = []

    class Small(Disk):
        def write(self, fd, data):
            if len(data) > 100_000:
                raise OSError(28, "No space left on device")
            taken.append(len(data))
            return super().write(fd, data)

    store = make(disk=Small(), queue_size=10_000)
    for n in range(100):
        store.put("signals", line(n, text="x" * 3_000))
    store.drain(MS)
    assert taken == []
    assert store.pending == 100
    assert store.flush(time.monotonic() + 10, sync=False)
    assert (store.pending, store.written, store.dropped) == (0, 100, 0)
    assert len(taken) > 3
    assert numbers(tmp_path) == list(range(100))


def test_a_flush_never_claims_lines_that_it_could_not_take(make, tmp_path):
    """Somebody is in the middle of exchanging the chunk, and got no further."""
    store = make()
    store.put("signals", line(1))
    (lane,) = store._lanes
    with lane.turning:
        assert not store.flush(time.monotonic() + 1, sync=False)
        assert store.pending == 1
    assert store.flush(time.monotonic() + 1, sync=False)
    assert (store.pending, store.written) == (0, 1)
    assert numbers(tmp_path) == [1]


# --- bounds


def test_what_matters_more_has_room_left(make, tmp_path):
    faults = Faults()
    store = make(queue_size=100, faults=faults)
    for n in range(200):
        store.put("order_book", line(n))
    assert store.pending == 50
    for n in range(200):
        store.put("mine", line(n))
    assert store.pending == 80
    for n in range(200):
        store.put("execution", line(n))
    assert store.pending == 100
    drain(store)
    store.drain(0)
    assert faults.drops == {"order_book": 150, "mine": 170, "execution": 180}
    assert store.dropped == 500
    assert numbers(tmp_path, "execution") == list(range(20))


def test_bytes_are_bounded_too(make):
    store = make(queue_size=10**6)
    big = b"x" * (1 << 20)
    for _ in range(100):
        store.put("execution", big)
        store.put("feature_log", big)
    assert 60 <= store.pending <= 66
    assert store.pending + store.dropped == 200


def test_every_stream_of_the_contract_has_its_importance():
    contract = "signals execution costs rejections trade_lifecycle equity_curve health feature_log regime_transition counterfactual calibration order_book price_events explanations alerts kill_switch connections"
    assert set(contract.split()) <= set(IMPORTANCE)


def test_the_counts_are_exact_after_many_threads(make):
    store = make(queue_size=10**6)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def put():
        for n in range(5000):
            store.put("signals", line(n))

    threads = [threading.Thread(target=put) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            store.drain(MS)
    finally:
        sys.setswitchinterval(before)
        for thread in threads:
            thread.join()
    drain(store)
    assert (store.written, store._count, store._bytes) == (20_000, 0, 0)


def test_the_drainer_is_called_once_when_the_queue_fills(make):
    store = make(queue_size=100)
    calls = []
    store.on_pressure = lambda: calls.append(store.pending)
    for n in range(60):
        store.put("signals", line(n))
    assert calls == [25]
    drain(store)
    for n in range(30):
        store.put("signals", line(n))
    assert len(calls) == 2


# --- a failing disk


def test_a_full_disk_keeps_the_lines_and_resumes(make, tmp_path, monkeypatch):
    disk, faults = Switch(), Faults()
    store = make(disk=disk, faults=faults)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    disk.full = True
    for n in range(300):
        store.put("signals", line(n))
    waits, attempts = [], 0
    for _ in range(2000):
        assert not store.drain(MS)  # nothing to do before it is time to retry
        if faults.errors["streams.write"] > attempts:
            attempts += 1
            waits.append(now)
        now += 0.01
    gaps = [round(b - a, 1) for a, b in zip(waits, waits[1:])]
    assert gaps[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert set(gaps[6:]) == {5.0}
    assert (store.pending, store.written) == (300, 0)
    disk.full = False
    now += 5
    drain(store)
    assert numbers(tmp_path) == list(range(300))
    assert store.dropped == 0


def test_one_bad_file_does_not_hold_up_the_others(make, tmp_path):
    (tmp_path / "logs/costs.jsonl").mkdir(parents=True)
    store = make()
    store.put("costs", line(1))
    store.put("signals", line(1))
    drain(store)
    assert numbers(tmp_path) == [1]
    assert store.pending == 1


def test_what_is_left_when_closing_is_counted(make):
    disk, faults = Switch(), Faults()
    store = make(disk=disk, faults=faults)
    disk.full = True
    for n in range(10):
        store.put("signals", line(n))
    assert not store.close(time.monotonic() + 5)
    store.put("signals", line(11))
    assert not store.write_now("signals", line(12))
    assert (store.dropped, store.pending) == (12, 0)
    assert faults.drops == {"signals": 10}


def test_strict_mode_raises_and_loses_nothing(make, tmp_path):
    disk = Switch()
    store = make(disk=disk, faults=Faults(strict=True))
    disk.full = True
    store.put("signals", line(1))
    with pytest.raises(OSError, match="No space"):
        store.drain(MS)
    disk.full = False
    assert store.flush(time.monotonic() + 5, sync=True)
    assert numbers(tmp_path) == [1]


# --- at once


def test_write_now_is_after_what_is_queued(make, tmp_path):
    store = make()
    for n in range(300):
        store.put("execution", line(n))
    store.put("signals", line(0))
    assert store.write_now("execution", line(300))
    assert numbers(tmp_path, "execution") == list(range(301))
    assert store.pending == 1


def test_write_now_on_a_full_disk_keeps_the_line(make, tmp_path):
    disk = Switch()
    store = make(disk=disk)
    disk.full = True
    store.put("execution", line(0))
    assert not store.write_now("execution", line(1))
    disk.full = False
    assert store.write_now("execution", line(2))
    assert numbers(tmp_path, "execution") == [0, 1, 2]


def test_write_now_against_the_drainer(make, tmp_path):
    store = make(queue_size=10**6)
    over = threading.Event()
    thread = threading.Thread(target=lambda: [store.drain(MS) for _ in iter(over.is_set, True)])
    thread.start()
    for n in range(0, 3000, 3):
        store.put("execution", line(n))
        store.put("execution", line(n + 1))
        assert store.write_now("execution", line(n + 2))
    over.set()
    thread.join()
    assert numbers(tmp_path, "execution") == list(range(3000))


def test_a_signal_handler_in_the_middle_of_a_write_does_not_wait_for_itself(make, tmp_path):
    results = []

    class Interrupted(Disk):
        def write(self, fd, data):
            if not results:
                results.append(None)
                results.append(store.write_now("execution", line(1)))
                results.append(store.flush(time.monotonic() + 60, sync=True))
            return super().write(fd, data)

    store = make(disk=Interrupted())
    before = time.monotonic()
    assert store.write_now("execution", line(0))
    assert time.monotonic() - before < 10
    assert results == [None, False, False]
    assert store.flush(time.monotonic() + 60, sync=True)
    assert numbers(tmp_path, "execution") == [0, 1]


def test_a_signal_handler_that_raises_has_nothing_written_or_counted_twice(make, tmp_path):
    steps = (StreamStore._empty, StreamStore._step, JsonlFile.append, JsonlFile._write, Lane.done, Lane.take)
    for after in range(1_000):
        root = tmp_path / str(after)
        store = make(root)
        for n in range(3):
            store.put("signals", line(n))
        assert store.flush(time.monotonic() + 60, sync=False)
        for n in range(3, 6):
            store.put("signals", line(n))
        struck = interrupted(lambda store=store: store.flush(time.monotonic() + 60, sync=False), after, steps)
        lock = store._by_name["signals"].turning
        if lock.locked():  # had, and not known to be so yet: nobody can mend that
            lock.release()
        store.put("signals", line(6))
        assert store.flush(time.monotonic() + 60, sync=False)
        assert numbers(root) == list(range(7)), after
        assert (store.written, store.pending, store.dropped) == (7, 0, 0), after
        drain(store)
        assert (store._count, store._bytes) == (0, 0), after
        if not struck:
            assert after > 10
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("end", ["flush", "close"])
def test_all_streams_are_written_before_the_first_is_synced(make, tmp_path, end):
    """A slow disk may take all the time there is."""
    names = ["runs", "signals", "execution", "costs", "notes"]
    there = []

    class Slow(Disk):
        def sync(self, fd):
            there.append([numbers(tmp_path, name) for name in names])
            super().sync(fd)

    store = make(disk=Slow())
    for n, name in enumerate(names):
        store.put(name, line(n))
    deadline = time.monotonic() + 60
    assert store.flush(deadline, sync=True) if end == "flush" else store.close(deadline)
    assert there and all(found == [[0], [1], [2], [3], [4]] for found in there)


def test_flush_keeps_its_deadline_while_a_write_hangs(make):
    entered, free = threading.Event(), threading.Event()

    class Hanging(Disk):
        def write(self, fd, data):
            entered.set()
            free.wait(20)
            return super().write(fd, data)

    store = make(disk=Hanging())
    store.put("signals", line(1))
    thread = threading.Thread(target=store.drain, args=(MS,))
    thread.start()
    assert entered.wait(20)
    before = time.monotonic()
    assert not store.flush(before + 0.05, sync=False)
    assert time.monotonic() - before < 10
    free.set()
    thread.join()
    assert store.flush(time.monotonic() + 5, sync=False)


# --- names


def test_names_are_safe(tmp_path, make):
    names = [
        "../../etc/passwd",
        "a/b",
        "",
        "日本",
        "x" * 300,
        "-rf",
        "archive",
        "A B",
        "a\0b",
        "a\nb",
        ".",
        "..",
        None,
        5,
        [1],
    ]
    for name in names:
        safe = stream_name(name)
        assert 1 <= len(safe) <= 64
        assert set(safe) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    store = make()
    for name in names:
        store.put(name, line(1))
    drain(store)
    assert store.written == len(names)
    files = {os.path.join(folder, name) for folder, _, found in os.walk(tmp_path) for name in found}
    assert all(os.path.dirname(path) == str(tmp_path / "logs") for path in files)


def test_two_names_for_one_stream(make, tmp_path):
    store = make()
    for n, name in enumerate(["My Stream", "my_stream", "MY/STREAM"]):
        store.put(name, line(n))
    drain(store)
    assert numbers(tmp_path, "my_stream") == [0, 1, 2]
    assert StreamReader(tmp_path).streams() == ["my_stream"]


def test_the_number_of_streams_is_bounded(make, tmp_path):
    store = make(queue_size=10**5)
    for n in range(3000):
        store.put(f"order-{n}", line(n))
    store.put("signals", line(1))
    drain(store)
    assert len(os.listdir(tmp_path / "logs")) == 66
    assert len(numbers(tmp_path, "other")) == 3000 - 64
    assert len(store._aliases) <= 1024


# --- backtests


def test_without_a_folder_lines_are_counted(make):
    store = make(root=None)
    for n in range(5000):
        store.put("signals", line(n))
    assert store.write_now("signals", line(1))
    assert not store.drain(MS)
    assert store.flush(time.monotonic(), sync=True)
    assert (store.written, store.pending, store.dropped) == (5001, 0, 0)


def test_synchronous_drops_nothing(make, tmp_path):
    store = make(queue_size=10, synchronous=True)
    for n in range(1000):
        store.put("order_book", line(n))
        store.put("signals", line(n))
    assert store.close(time.monotonic() + 5)
    assert numbers(tmp_path) == numbers(tmp_path, "order_book") == list(range(1000))
    assert store.dropped == 0


def test_synchronous_on_a_full_disk_drops_and_counts(make):
    disk = Switch()
    store = make(queue_size=10, synchronous=True, disk=disk)
    disk.full = True
    for n in range(50):
        store.put("signals", line(n))
    assert (store.pending, store.dropped) == (10, 40)


# --- crashes


def test_torn_ends_are_found_at_the_start_even_of_unused_streams(make, tmp_path):
    logs = tmp_path / "logs"
    (logs / "1h/health_snapshot").mkdir(parents=True)
    for path in ("old.jsonl", "1h/health_snapshot/snapshot.jsonl"):
        (logs / path).write_bytes(line(1) + b'\n{"n":')
    (logs / "fine.jsonl").write_bytes(line(1) + b"\n")
    (logs / "folder.jsonl").mkdir()
    store = make()
    assert sorted((mended.stream, mended.bytes) for mended in store.repairs) == [("health_snapshot_1h", 5), ("old", 5)]
    assert (logs / "old.jsonl").read_bytes() == line(1) + b"\n"


def test_a_child_after_a_fork_writes_nothing(make, tmp_path):
    store = make()
    store.put("signals", line(1))
    assert store.flush(time.monotonic() + 5, sync=False)
    store.put("signals", line(2))
    with store._lanes[0].lock:  # held by a thread that the child does not have
        pid = os.fork()
        if not pid:
            status = 1
            try:
                store.abandon()
                store.put("signals", line(3))
                store.write_now("signals", line(4))
                store.drain(MS)
                good = store.flush(time.monotonic() + 1, sync=True) and store.close(time.monotonic() + 1)
                status = 0 if good and store.pending == 0 else 2
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    drain(store)
    assert numbers(tmp_path) == [1, 2]


WRITER = textwrap.dedent(
    """
    import sys, threading, time
    from pathlib import Path
    from botobs.clock import SystemClock, rfc3339
    from botobs.faults import Faults
    from botobs.streams import Disk, StreamStore
    store = StreamStore(Path(sys.argv[1]), queue_size=100_000, rotate_bytes=200_000, rotate_ns=1 << 62,
                        clock=SystemClock(), disk=Disk(), faults=Faults())
    def drain():
        while True:
            store.drain(100_000)
    threading.Thread(target=drain, daemon=True).start()
    n = 0
    while True:
        for _ in range(200):
            line = b'{"ts":"%s","n":%d,"pad":"%s"}' % (rfc3339(time.time_ns()).encode(), n, b"x" * (n % 300))
            store.put("signals", line)
            n += 1
        if store.flush(time.monotonic() + 10, sync=False):
            print(n, flush=True)
    """
)


@pytest.mark.parametrize("rounds", [3])
def test_kill_9_under_load(make, tmp_path, rounds):
    for attempt in range(rounds):
        root = tmp_path / str(attempt)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE)
        acknowledged = 0
        while acknowledged < 3000 + 1777 * attempt:
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        acknowledged = int(([acknowledged, *process.stdout.read().split()])[-1])
        process.wait()
        process.stdout.close()
        store = make(root=root)
        assert store.put("signals", line(-1)) is None
        assert store.flush(time.monotonic() + 5, sync=True)
        reader = StreamReader(root)
        found = [record["n"] for record in reader.read("signals")]
        assert found[-1] == -1
        assert found[:-1] == list(range(len(found) - 1))
        assert len(found) > acknowledged
        assert reader.skipped == 0
