"""Reading back: by time, by count, and following."""

import datetime as dt
import gzip
import json
import os
import threading
import time
import zlib

import pytest

from botobs.clock import rfc3339
from botobs.faults import Faults
from botobs.streams import Disk, StreamReader, StreamStore
from botobs.streams import reader as reading
from botobs.streams import torn
from botobs.streams.earlier import EarlierRuns

S = 10**9
START = 1_767_323_045 * S
HOUR = 3600


class Clock:
    def time_ns(self):
        return START

    perf_ns = time_ns


def line(n):
    """Record `n`, made `n` seconds after the start."""
    return json.dumps({"ts": rfc3339(START + n * S), "n": n}).encode()


@pytest.fixture
def make(tmp_path):
    made = []

    def make(rotate_bytes=1 << 30):
        store = StreamStore(
            tmp_path,
            queue_size=10**6,
            rotate_bytes=rotate_bytes,
            rotate_ns=1 << 62,
            clock=Clock(),
            disk=Disk(),
            faults=Faults(),
        )
        made.append(store)
        return store

    yield make
    for store in made:
        store.close(time.monotonic() + 5)


def archived(tmp_path, numbers, compress=True):
    """An archive of these records, made by hand."""
    folder = tmp_path / "logs/archive"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = rfc3339(START + numbers[0] * S).replace("-", "").replace(":", "")
    text = b"".join(line(n) + b"\n" for n in numbers)
    path = folder / f"signals-{stamp}.jsonl{'.gz' if compress else ''}"
    path.write_bytes(gzip.compress(text) if compress else text)
    return path


def live(tmp_path, text):
    path = tmp_path / "logs/signals.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    return path


def ns(records):
    return [record["n"] for record in records]


def put(store, *numbers):
    for n in numbers:
        assert store.write_now("signals", line(n))


def test_nothing_there(tmp_path):
    reader = StreamReader(tmp_path)
    assert reader.streams() == []
    assert list(reader.read("signals")) == reader.latest("signals", 5) == []
    assert list(reader.follow("signals", from_start=True, stop=lambda: True)) == []


def test_what_was_rotated_is_read_in_order(make, tmp_path):
    store = make(rotate_bytes=200)
    put(store, *range(100))
    assert ns(StreamReader(tmp_path).read("signals")) == list(range(100))
    assert store.close(time.monotonic() + 10)
    reader = StreamReader(tmp_path)
    assert ns(reader.read("signals")) == list(range(100))
    assert (reader.skipped, reader.streams()) == (0, ["signals"])


@pytest.mark.parametrize("kind", ["datetime", "text", "number"])
def test_windows(tmp_path, kind):
    archived(tmp_path, range(10))
    archived(tmp_path, range(10, 20), compress=False)
    live(tmp_path, b"".join(line(n) + b"\n" for n in range(20, 30)))

    def at(n):
        if kind == "number":
            return START // S + n
        return dt.datetime.fromtimestamp(START // S + n, dt.UTC) if kind == "datetime" else rfc3339(START + n * S)

    reader = StreamReader(tmp_path)
    for start in (None, 0, 5, 10, 15, 25, 40):
        for end in (None, 0, 5, 10, 20, 25, 40):
            expected = [n for n in range(30) if n >= (start or 0) and n < (40 if end is None else end)]
            found = reader.read("signals", None if start is None else at(start), None if end is None else at(end))
            assert ns(found) == expected


def test_a_window_of_less_than_a_microsecond_around(tmp_path):
    live(tmp_path, line(1) + b"\n")
    assert ns(StreamReader(tmp_path).read("signals", START + S + 1)) == []
    assert ns(StreamReader(tmp_path).read("signals", START + S, START + S + 1)) == [1]


def test_times_written_in_another_way(tmp_path):
    stamp = dt.datetime.fromtimestamp(START // S, dt.timezone(dt.timedelta(hours=2))).isoformat()
    live(
        tmp_path,
        b"".join(
            json.dumps(r).encode() + b"\n"
            for r in ({"ts": stamp, "n": 0}, {"ts": START, "n": 1}, {"ts": [], "n": 2}, {"n": 3})
        ),
    )
    assert ns(StreamReader(tmp_path).read("signals", START // S, START // S + 1)) == [0, 1]
    assert ns(StreamReader(tmp_path).read("signals")) == [0, 1, 2, 3]


def test_only_archives_that_can_matter_are_opened(tmp_path):
    paths = [archived(tmp_path, range(h * HOUR, h * HOUR + 3)) for h in range(10)]
    for path in (*paths[:3], *paths[6:]):
        path.write_bytes(b"not to be opened")
    reader = StreamReader(tmp_path)
    found = reader.read("signals", rfc3339(START + (4 * HOUR + 1) * S), rfc3339(START + (5 * HOUR + 1) * S))
    assert ns(found) == [4 * HOUR + 1, 4 * HOUR + 2, 5 * HOUR]
    assert reader.skipped == 0


def test_a_file_in_both_forms_is_read_once(tmp_path):
    archived(tmp_path, range(5))
    archived(tmp_path, range(5), compress=False)
    assert ns(StreamReader(tmp_path).read("signals")) == list(range(5))


def test_a_file_that_is_compressed_between_listing_and_opening(tmp_path):
    archived(tmp_path, range(5))
    path = archived(tmp_path, range(5, 10), compress=False)
    records = StreamReader(tmp_path).read("signals")
    first = next(records)
    path.unlink()
    archived(tmp_path, range(5, 10))
    assert ns([first, *records]) == list(range(10))


def test_lines_that_are_no_records_are_skipped_and_counted(tmp_path):
    live(tmp_path, line(1) + b"\n{broken\n\n[1]\n\0\0\n" + line(2) + b"\n" + line(3)[:9])
    reader = StreamReader(tmp_path)
    assert ns(reader.read("signals")) == [1, 2]
    assert reader.skipped == 4
    assert ns(reader.latest("signals", 5)) == [1, 2]


def test_a_damaged_archive_is_read_up_to_the_damage(tmp_path):
    path = archived(tmp_path, range(2000))
    path.write_bytes(path.read_bytes()[:-500])
    live(tmp_path, line(5000) + b"\n")
    reader = StreamReader(tmp_path)
    found = ns(reader.read("signals"))
    assert found[:500] == list(range(500))
    assert found[-1] == 5000
    assert reader.skipped == 1
    squeeze = zlib.compressobj(wbits=31)
    whole = squeeze.compress(line(7) + b"\n") + squeeze.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(whole + b"\xff" * 1000)  # not cut off: no block begins like that
    assert ns(reader.read("signals"))[-1] == 5000
    assert reader.skipped == 2


def test_what_an_earlier_run_wrote_and_nobody_can_read_is_said(tmp_path, caplog):
    live(tmp_path, line(1) + b"\n")
    (tmp_path / "logs" / "costs.jsonl").mkdir()
    earlier = EarlierRuns(tmp_path, Faults())
    assert ns(earlier.latest("signals", 5)) == [1]
    assert caplog.messages == []
    with pytest.raises(IsADirectoryError):
        earlier.latest("costs", 5)
    assert "the records of costs cannot be read" in caplog.text


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 25, 30, 99])
@pytest.mark.parametrize("block", [7, 50, 65_536])
def test_latest(tmp_path, n, block, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", block)
    monkeypatch.setattr(torn, "_BLOCK", block)
    archived(tmp_path, range(10))
    archived(tmp_path, range(10, 20), compress=False)
    live(tmp_path, b"".join(line(n) + b"\n" for n in range(20, 30)) + b'{"torn')
    assert ns(StreamReader(tmp_path).latest("signals", n)) == list(range(30))[max(0, 30 - n) :]


def test_lines_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 5)
    live(tmp_path, b"".join(line(n) + b"\n" for n in range(10)))
    reader = StreamReader(tmp_path)
    assert ns(reader.read("signals")) == ns(reader.latest("signals", 10)) == list(range(10))


def test_a_rotation_while_the_files_are_listed(make, tmp_path):
    store = make(rotate_bytes=200)
    put(store, *range(9))

    class Unlucky(StreamReader):
        rotations = 3

        def _archived(self):
            if self.rotations:
                self.rotations -= 1
                begin = 9 + 10 * (2 - self.rotations)
                put(store, *range(begin, begin + 10))
            return super()._archived()

    assert ns(Unlucky(tmp_path).read("signals")) == list(range(39))


# --- following


class Stepping:
    """Runs one step of the test each time the follower would wait, then tells it to stop."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def stop(self):
        return not self.steps

    def wait(self, _seconds):
        self.steps.pop(0)()


def follow(tmp_path, *steps, **kwargs):
    stepping = Stepping(*steps)
    return ns(StreamReader(tmp_path).follow("signals", stop=stepping.stop, wait=stepping.wait, **kwargs))


@pytest.mark.parametrize("from_start", [True, False])
def test_following_across_rotations(make, tmp_path, from_start):
    store = make(rotate_bytes=150)
    put(store, *range(10))

    def settle():
        # all archives compressed: the file that was followed is known by its contents only
        deadline = time.monotonic() + 10
        while any(name.endswith(".jsonl") for name in os.listdir(tmp_path / "logs/archive")):
            assert time.monotonic() < deadline
            os.sched_yield()

    found = follow(
        tmp_path,
        lambda: put(store, 10),
        lambda: put(store, *range(11, 15)),
        lambda: (put(store, *range(15, 30)), settle()),
        lambda: None,
        lambda: put(store, *range(30, 60)),
        from_start=from_start,
    )
    assert found == list(range(0 if from_start else 10, 60))


def test_following_before_the_stream_begins(make, tmp_path):
    store = make(rotate_bytes=150)
    assert follow(tmp_path, lambda: None, lambda: put(store, *range(20))) == list(range(20))


def test_a_torn_end_is_waited_for(tmp_path):
    path = live(tmp_path, line(0) + b"\n")

    def add(text):
        with path.open("ab") as out:
            out.write(text)

    found = follow(
        tmp_path,
        lambda: add(line(1)[:10]),
        lambda: add(line(1)[10:] + b"\n" + line(2)[:5]),
        lambda: os.truncate(path, 2 * len(line(0)) + 2),  # the writer cut back what it could not finish
        lambda: add(line(3) + b"\n"),
        from_start=True,
    )
    assert found == [0, 1, 3]


def test_a_file_that_somebody_empties(tmp_path):
    path = live(tmp_path, line(0) + b"\n")
    found = follow(tmp_path, lambda: os.truncate(path, 0), lambda: path.write_bytes(line(1) + b"\n"), from_start=True)
    assert found == [0, 1]


def test_collisions_while_following(tmp_path, make):
    store = make(rotate_bytes=1)
    same = json.dumps({"ts": rfc3339(START), "n": 0}).encode()
    found = follow(tmp_path, *[lambda: store.write_now("signals", same)] * 6)
    assert found == [0] * 6


def test_readers_beside_a_writer_that_rotates_all_the_time(make, tmp_path):
    store = make(rotate_bytes=2000)
    total = 6000
    followed, over = [], threading.Event()

    def follower():
        reader = StreamReader(tmp_path)
        followed.extend(
            ns(reader.follow("signals", from_start=True, stop=over.is_set, wait=lambda _: os.sched_yield()))
        )

    thread = threading.Thread(target=follower)
    thread.start()
    seen = 0
    for n in range(total):
        store.put("signals", line(n))
        if n % 10 == 0:
            store.drain(100_000)
        if n % 1000 == 999:
            found = ns(StreamReader(tmp_path).read("signals"))
            assert found == list(range(len(found)))
            assert len(found) >= seen
            seen = len(found)
            last = ns(StreamReader(tmp_path).latest("signals", 50))
            assert last == list(range(last[0], last[0] + 50))
    assert store.flush(time.monotonic() + 5, sync=False)
    over.set()
    thread.join(30)
    assert followed == list(range(total))


def test_only_lines_that_have_a_word_are_read(tmp_path):
    archived(tmp_path, range(10))
    live(tmp_path, b"".join(line(n) + b"\n" for n in range(10, 20)) + b'no record, but "n": 7 in it\n')
    reader = StreamReader(tmp_path)
    assert ns(reader.read("signals", having=(b'"n": 3}', b'"n": 14}'))) == [3, 14]
    assert reader.skipped == 0  # what is not read is no damage
    assert ns(reader.read("signals", START // S + 5, having=(b'"n": 3}', b'"n": 14}'))) == [14]
    assert list(reader.read("signals", having=(b"nowhere",))) == []
