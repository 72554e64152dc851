"""The state in a file: together or not at all, and by one process at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import stat

import pytest

from botobs.metricpack import Fenced, StoreTrouble
from botobs.metricpack.sqlite import SqliteStore


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def open_store(tmp_path, time):
    stores = []

    def made(path=tmp_path / "state" / "pack.sqlite"):
        stores.append(SqliteStore(path, steady=time))
        return stores[-1]

    yield made
    for store in stores:
        store.close()


def test_changes_position_and_fence_go_in_together(open_store):
    store = open_store()
    fence = store.lease("a", 5)
    assert store.load(fence) == ({}, None)
    store.commit({"x": b"1", "y": b"2"}, "10", fence)
    store.commit({"x": None, "z": b"\0"}, "11", fence)
    store.close()
    again = open_store()
    assert again.load(again.lease("a", 5)) == ({"y": b"2", "z": b"\0"}, "11")
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
    again.clear(fence)
    assert again.load(fence) == ({}, None)


def test_a_commit_that_fails_half_way_leaves_all_as_it_was(open_store):
    store = open_store()
    fence = store.lease("a", 5)
    store.commit({"x": b"1"}, "10", fence)
    with pytest.raises(StoreTrouble):
        store.commit({"x": b"2", "y": object()}, "11", fence)
    assert store.load(fence) == ({"x": b"1"}, "10")


def test_one_works_and_the_others_wait_until_it_shows_no_sign_of_life(open_store, time):
    one, two = open_store(), open_store()
    first = one.lease("one", 5)
    assert two.lease("two", 5) is None
    for _ in range(10):
        time.now += 4
        assert one.lease("one", 5) == first
        assert two.lease("two", 5) is None
    time.now += 4.9
    assert two.lease("two", 5) is None
    time.now += 0.2
    second = two.lease("two", 5)
    assert second > first
    for late in (lambda: one.commit({"x": b"1"}, "1", first), lambda: one.load(first), lambda: one.clear(first)):
        with pytest.raises(Fenced):
            late()
    assert one.lease("one", 5) is None
    assert two.load(second) == ({}, None)


def test_who_ends_in_order_makes_room_at_once(open_store):
    one, two = open_store(), open_store()
    first = one.lease("one", 5)
    assert two.lease("two", 5) is None
    two.release("two")  # it is not its own to give
    assert one.lease("one", 5) == first
    one.release("one")
    assert two.lease("two", 5) == first + 1


def test_what_is_no_store_is_told(open_store, tmp_path):
    (tmp_path / "text").write_text("this is no database, and long enough to be none" * 100)
    for path in (tmp_path / "text", tmp_path, tmp_path / "text" / "below"):
        with pytest.raises(StoreTrouble):
            open_store(path)
    store = open_store(tmp_path / "later")
    store.close()
    with sqlite3.connect(tmp_path / "later") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreTrouble, match="another version"):
        open_store(tmp_path / "later")


def test_a_disk_that_is_full_is_told_and_later_it_goes_on(open_store):
    store = open_store()
    fence = store.lease("a", 5)
    store.commit({"x": b"1"}, "1", fence)
    store._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreTrouble, match="full"):
        store.commit({f"{n}": bytes(4_000) for n in range(100)}, "2", fence)
    assert store.load(fence) == ({"x": b"1"}, "1")
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.commit({"y": b"2"}, "2", fence)
    assert store.load(fence).position == "2"


def test_a_file_that_is_taken_away_counts_as_lost(open_store):
    store = open_store()
    fence = store.lease("a", 5)
    store.commit({"x": b"1"}, "1", fence)
    for path in store.path.parent.iterdir():
        path.unlink()
    with pytest.raises(Fenced, match="replaced"):
        store.commit({"y": b"2"}, "2", fence)
    assert store.load(store.lease("a", 5)) == ({}, None)


def test_who_hangs_within_a_write_is_left_with_a_file_that_nobody_reads(open_store, time, monkeypatch):
    monkeypatch.setattr("botobs.metricpack.sqlite._BUSY_S", 0.05)
    one, two, three = open_store(), open_store(), open_store()
    first = one.lease("one", 5)
    one.commit({"x": b"1", "y": b"2"}, "10", first)
    assert two.lease("two", 5) is three.lease("three", 5) is None
    one._connection.execute("BEGIN IMMEDIATE")  # it begins to write, and stops
    one._connection.execute("INSERT INTO state VALUES ('half', x'00')")
    time.now += 6
    second = two.lease("two", 5)
    assert second == first + 1
    assert two.load(second) == ({"x": b"1", "y": b"2"}, "10")
    two.commit({"x": None}, "11", second)
    with contextlib.suppress(Fenced):  # it sees that its file is gone, and finds the other one
        three.lease("three", 5)
    assert three.lease("three", 5) is None
    one._db.execute("COMMIT")
    with pytest.raises(Fenced):
        one.commit({"z": b"3"}, "12", first)
    assert one.lease("one", 5) is None
    assert two.load(second) == ({"y": b"2"}, "11")
    assert two.lease("two", 5) == second
    fresh = open_store()
    assert fresh.lease("four", 5) is None
    assert [path.name for path in sorted(one.path.parent.iterdir()) if "-" not in path.name] == ["pack.sqlite.next2"]
    for store in (two, three, one, fresh):
        store.release("two")
        store.close()
    again = open_store()
    assert again.load(again.lease("five", 5)).position == "11"
