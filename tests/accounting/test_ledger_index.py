"""The index of fills agrees with a dictionary, takes little memory, and is whole or nothing when it is loaded."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import botobs
from botobs.accounting.ledger import FillIndex

KEYS = st.one_of(
    st.binary(min_size=8, max_size=8),
    st.sampled_from([b"\0" * 8, b"\0\0" + b"\1" * 6, b"\0\0" + b"\0\1" * 3, b"\1\0" * 4, b"\0\1" * 4]),
)
NUMBERS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**32 - 1, 0x01010101]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("add", "remove", "get")), KEYS, NUMBERS, NUMBERS), max_size=60))
def test_it_agrees_with_a_dictionary(tmp_path_factory, steps):
    index, model = FillIndex(), {}
    for verb, key, crc, seq in steps:
        if verb == "add":
            index.add(key, crc, seq)
            model[key] = (crc, seq)
        elif verb == "remove":
            assert index.remove(key) is (model.pop(key, None) is not None)
        assert index.get(key) == model.get(key) and len(index) == len(model)
    path = tmp_path_factory.mktemp("index") / "index"
    index.watermark = len(steps)
    index.save(path)
    again = FillIndex.load(path)
    assert again.watermark == len(steps) and len(again) == len(model)
    for key, value in model.items():
        assert index.get(key) == again.get(key) == value


def test_entries_are_not_found_across_their_borders():
    index = FillIndex()
    content = struct.unpack("<II", b"\0\0\0\0\0\0\0\0")
    index.add(b"\0\0\0\0abcd", *content)
    index.add(b"\0\0\0\0abcd", *content)
    assert len(index) == 1 and index.get(b"\0\0\0\0\0\0\0\0") is None and index.get(b"\0\0abcd\0\0") is None
    index.add(b"\0\0\0\0\0\0\0\0", 5, 6)
    assert index.get(b"\0\0\0\0\0\0\0\0") == (5, 6) and index.remove(b"\0\0\0\0abcd")
    assert index.get(b"\0\0\0\0\0\0\0\0") == (5, 6) and not index.remove(b"\0\0\0\0abcd")


def test_a_key_is_of_all_its_parts():
    key = FillIndex.key
    parts = ("binance", "main", "BTCUSDT", "o1", "f1", "buy")
    seen = {key(*parts)}
    for at in range(6):
        seen.add(key(*parts[:at], parts[at] + "x", *parts[at + 1 :]))
    seen |= {key("a\0b", "c"), key("a", "b\0c"), key("a", "b", "c"), key("a\0", "c"), key("a", "\0c")}
    assert len(seen) == 12 and key(None, "a") == key("", "a") and len(key("\ud800")) == 8


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "byte"])
def test_what_is_damaged_is_not_loaded(tmp_path, damage):
    path, dice = tmp_path / "index", random.Random(1)
    index = FillIndex()
    for n in range(1000):
        index.add(dice.randbytes(8), n, n)
    index.save(path)
    whole = path.read_bytes()
    assert len(FillIndex.load(path)) == 1000 and path.stat().st_mode & 0o077 == 0
    if damage == "missing":
        path.unlink()
    elif damage in {"empty", "cut", "longer"}:
        path.write_bytes({"empty": b"", "cut": whole[:-1], "longer": whole + b"x"}[damage])
    else:
        for at in [*range(45), *dice.sample(range(len(whole)), 30)]:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert FillIndex.load(path) is None
    assert FillIndex.load(path) is None


def test_a_save_that_fails_leaves_the_last_one(tmp_path, monkeypatch):
    path, index = tmp_path / "index", FillIndex()
    index.add(b"12345678", 1, 1)
    index.save(path)
    index.add(b"87654321", 2, 2)
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError):
            index.save(path)
    assert len(FillIndex.load(path)) == 1 and os.listdir(tmp_path) == ["index"]


def test_memory_at_a_hundred_thousand_is_in_proportion():
    dice = random.Random(2)
    keys = [dice.randbytes(8) for _ in range(100_000)]
    tracemalloc.start()
    index = FillIndex()
    for n, key in enumerate(keys):
        index.add(key, n, n)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 12_000_000 and all(index.get(key) == (n, n) for n, key in enumerate(keys))


def test_it_is_written_again_only_for_what_is_new(tmp_path, monkeypatch):
    """It takes a while, with the account's lock held: a quiet bot must not do that every half minute."""
    written, save = [], FillIndex.save
    monkeypatch.setattr(FillIndex, "save", lambda self, path: (written.append(len(self)), save(self, path)))

    with botobs.start("bot", data_dir=tmp_path, prometheus_port=None) as obs:

        def checkpoint():
            obs._money._saved_ns = 0
            obs._money.save()

        for n in (1, 2):
            obs.fill(symbol="BTC", side="buy", qty=1, price=1, fill_id=str(n))
            checkpoint()
            assert written == [1, 2][:n]
            for price in (2, 3):
                obs.mark("BTC", price)
                checkpoint()
            assert written == [1, 2][:n]
    assert written == [1, 2, 2]
