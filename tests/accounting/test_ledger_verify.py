"""Verification: whatever is done to the files is found, and named by file, line and number."""

from __future__ import annotations

import random
import shutil

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.ledger import Ledger
from botobs.accounting.ledger.chain import FIRST, link, seal
from tests.accounting.ledgers import Bench, add, soon


@pytest.fixture
def bench(tmp_path):
    """Thirty lines in three files: 1 to 10, 11 to 20, 21 to 30."""
    bench = Bench(tmp_path)
    fill_up(bench)
    yield bench
    bench.close()


def fill_up(bench):
    ledger = bench.open(durability="os")
    for start in (1, 11, 21):
        add(ledger, *range(start, start + 10))
        if start < 21:
            ledger.archive()
    ledger.close(soon())


def path_of(bench, number):
    return [*bench.archives, bench.live][number]


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def check(bench, problem, *, seq, file, line_no):
    """The same is said of files that nobody writes, and by whoever goes on writing them."""
    for looker in (bench.look(), bench.open()):
        found = looker.verify()
        assert not found.ok and not found and problem in found.problem, str(found)
        assert (found.seq, found.file, found.line_no) == (seq, str(file), line_no), str(found)
        assert found.file in str(found) and f"seq {seq}" in str(found)
        assert found.lines == found.last_seq < 30
        looker.close(soon())


def test_whole(bench):
    found = bench.look().verify()
    assert found and found.ok and (found.lines, found.files, found.last_seq, found.notes) == (30, 3, 30, ())
    assert (
        found.problem is found.seq is found.file is found.line_no is None and str(found) == "30 lines in 3 files: whole"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"n":', b'"n":1'),
        (b"BTC", b"ETH"),
        (b'{"seq"', b'["seq"'),
        (b'"hash":"', b'"hash":"0'),
        (b"}", b"} "),
        (b'"seq":', b'"seq":1'),
    ],
)
@pytest.mark.parametrize(("file", "line_no"), [(0, 1), (0, 10), (1, 4), (2, 9)])
def test_a_line_that_was_changed(bench, old, new, file, line_no):
    path = path_of(bench, file)
    lines = lines_of(path)
    lines[line_no - 1] = lines[line_no - 1].replace(old, new, 1)
    path.write_bytes(b"".join(lines))
    check(bench, "line changed", seq=file * 10 + line_no, file=path, line_no=line_no)


def test_the_last_line_changed(bench):
    for old, new in ((b"BTC", b"ETH"), (b'"hash":"', b'"hash":"0')):
        before = bench.live.read_bytes()
        lines = lines_of(bench.live)
        lines[-1] = lines[-1].replace(old, new)
        bench.live.write_bytes(b"".join(lines))
        check(bench, "line changed", seq=30, file=bench.live, line_no=10)
        bench.live.write_bytes(before)


@pytest.mark.parametrize(
    ("file", "first", "last", "said"),
    [
        (0, 1, 1, "seq 1 missing"),
        (0, 7, 9, "seq 7 to 9 missing"),
        (0, 10, 10, "seq 10 missing"),
        (1, 1, 3, "seq 11 to 13 missing"),
        (2, 8, 9, "seq 28 to 29 missing"),
    ],
)
def test_lines_that_were_taken_out(bench, file, first, last, said):
    path = path_of(bench, file)
    lines = lines_of(path)
    del lines[first - 1 : last]
    path.write_bytes(b"".join(lines))
    where = (path_of(bench, file + 1), 1) if last == 10 else (path, first)
    check(bench, said, seq=file * 10 + first, file=where[0], line_no=where[1])


@pytest.mark.parametrize(("file", "said", "seq"), [(0, "seq 1 to 10 missing", 1), (1, "seq 11 to 20 missing", 11)])
def test_a_whole_archive_that_was_taken_away(bench, file, said, seq):
    path_of(bench, file).unlink()
    after = path_of(bench, file)
    check(bench, said, seq=seq, file=after, line_no=1)


def test_the_last_lines_taken_away(bench):
    bench.live.write_bytes(b"".join(lines_of(bench.live)[:-2]))
    said = "last lines missing: the head knows seq 30, the last line is seq 28"
    check(bench, said, seq=29, file=bench.live, line_no=9)
    bench.live.unlink()
    check(bench, "the last line is seq 20", seq=21, file=bench.archives[-1], line_no=11)
    shutil.rmtree(bench.folder)
    check(bench, "the last line is seq 0", seq=1, file=bench.live, line_no=1)


def test_going_on_behind_lines_that_are_missing_leaves_the_evidence(bench):
    bench.live.write_bytes(b"".join(lines_of(bench.live)[:-2]))
    ledger = bench.open()
    assert bench.kinds == ["missing"] and ledger.next_seq == 31
    add(ledger, 31)
    for looker in (ledger, bench.look()):
        found = looker.verify()
        assert (found.problem, found.seq, found.line_no) == ("seq 29 to 30 missing", 29, 9)


@pytest.mark.parametrize("across", [False, True])
def test_lines_that_were_reordered(bench, across):
    if across:
        one, other = bench.archives
        a, b = lines_of(one), lines_of(other)
        a[-1], b[0] = b[0], a[-1]
        one.write_bytes(b"".join(a))
        other.write_bytes(b"".join(b))
        check(bench, "out of order: seq 11 stands before seq 10", seq=11, file=one, line_no=10)
    else:
        lines = lines_of(bench.live)
        lines[3], lines[6] = lines[6], lines[3]
        bench.live.write_bytes(b"".join(lines))
        check(bench, "out of order: seq 27 stands before seq 24", seq=27, file=bench.live, line_no=4)


def test_lines_that_were_put_in_twice(bench):
    lines = lines_of(bench.live)
    bench.live.write_bytes(b"".join([*lines[:5], lines[2], *lines[5:]]))
    check(bench, "out of order: seq 23 stands behind seq 25", seq=23, file=bench.live, line_no=6)


def test_a_chain_that_was_forged_from_some_line_on(bench):
    digest = FIRST
    for file in range(3):
        forged = []
        for line in lines_of(path_of(bench, file)):
            body = line[:-44].replace(b'"n":25', b'"n":26')
            digest = link(digest, body)
            forged.append(seal(body, digest) + b"\n")
        path_of(bench, file).write_bytes(b"".join(forged))
    check(bench, "not the one that the head knows", seq=30, file=bench.live, line_no=10)


def test_what_is_no_line_hides_nothing(bench):
    lines = lines_of(bench.live)
    bench.live.write_bytes(b"".join([*lines[:5], b"half a li\n", b"\n", *lines[5:]]))
    found = bench.look().verify()
    assert found.ok and found.lines == 30 and "line 6" in found.notes[0]
    assert [seq for seq, _ in bench.look().lines()] == list(range(1, 31))
    bench.live.write_bytes(b"".join([*lines[:5], b"half a li\n", *lines[6:]]))
    check(bench, "line changed", seq=26, file=bench.live, line_no=6)
    bench.live.write_bytes(b"".join([*lines[:9], b"half a li\n"]))
    check(bench, "line changed", seq=30, file=bench.live, line_no=10)


def test_a_line_that_is_being_written_is_no_damage(bench):
    with bench.live.open("ab") as file:
        file.write(b'{"seq":31,"type":"fi')
    found = bench.look().verify()
    assert found.ok and found.lines == 30 and "no whole line as yet" in found.notes[0]


def test_files_that_cannot_be_read_are_a_problem(bench):
    path = path_of(bench, 1)
    path.unlink()
    path.mkdir()
    found = bench.look().verify()
    assert not found.ok and "cannot be read" in found.problem and found.file == str(path)


def test_a_loss_under_a_running_ledger_is_found_by_it_without_a_head(tmp_path):
    bench = Bench(tmp_path)
    ledger = bench.open()
    add(ledger, 1, 2, 3)
    bench.head.unlink()
    bench.live.write_bytes(b"".join(lines_of(bench.live)[:-1]))
    assert "the last line is seq 2" in ledger.verify().problem
    bench.close()


def test_a_file_without_a_line_of_a_ledger_is_not_whole(tmp_path):
    for content, ok in ((b"", True), (b"torn", True), (b"something else\n", False), (b"\x93\n\x00\nmore\n\n", False)):
        live = tmp_path / "metrics" / "fills.jsonl"
        live.parent.mkdir(exist_ok=True)
        live.write_bytes(content)
        found = Ledger(tmp_path, read_only=True).verify()
        assert found.ok is ok, (content, found)
        if not ok:
            assert (found.problem, found.line_no, found.seq) == ("no line is one of a ledger", 1, 1)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_change_to_any_byte_of_a_line_is_found(tmp_path_factory, data):
    bench = Bench(tmp_path_factory.mktemp("ledger"))
    fill_up(bench)
    number = data.draw(st.integers(0, 2))
    path = path_of(bench, number)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(("change", "cut", "insert")))
    byte = bytes([data.draw(st.integers(0, 255))])
    new = whole[:at] + {"change": byte, "cut": b"", "insert": byte + whole[at : at + 1]}[kind] + whole[at + 1 :]
    path.write_bytes(new)
    # an empty line between lines takes nothing away, nor does a last line without its end
    same = [line for line in new.split(b"\n") if line] == [line for line in whole.split(b"\n") if line]
    found = bench.look().verify()
    assert found.ok is same, (str(found), at, kind, byte)
    if not same:
        assert found.seq in {1 + whole[:at].count(b"\n") + 10 * number + step for step in (-1, 0, 1)}


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_rearrangement_of_lines_is_found(tmp_path_factory, dice: random.Random):
    bench = Bench(tmp_path_factory.mktemp("ledger"))
    fill_up(bench)
    paths = [*bench.archives, bench.live]
    whole = [line for path in paths for line in lines_of(path)]
    lines = whole.copy()
    for _ in range(dice.randrange(1, 4)):
        action = dice.choice(("drop", "swap", "repeat"))
        a, b = dice.randrange(len(lines)), dice.randrange(len(lines))
        if action == "drop":
            del lines[a]
        elif action == "swap":
            lines[a], lines[b] = lines[b], lines[a]
        else:
            lines.insert(a, lines[b])
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(lines[number * 10 : number * 10 + 10] if number < 2 else lines[20:]))
    found = bench.look().verify()
    assert found.ok is (lines == whole), str(found)
    if not found.ok:
        first = next((at for at in range(30) if at >= len(lines) or lines[at] != whole[at]), 30)
        assert found.lines == first
        assert found.seq in {first + 1, orjson.loads(lines[first])["seq"] if first < len(lines) else 0}
