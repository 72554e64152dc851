"""One live file: whole lines only, whatever happens to the disk."""

import errno
import gzip
import json
import os
import stat
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.clock import rfc3339
from botobs.faults import Faults
from botobs.streams import ArchiveFolder, Disk, JsonlFile
from botobs.streams.torn import repair
from tests.slack import SLACK_S

DAY = 86_400 * 10**9
START = 1_767_323_045_000_001_000


class Clock:
    def __init__(self, now=START):
        self.now = now

    def time_ns(self):
        return self.now

    perf_ns = time_ns


class FullDisk(Disk):
    """Takes `room` bytes, the last of them in a short write, then nothing; may refuse to cut as well."""

    def __init__(self, room, cuts=True):
        self.room = room
        self.cuts = cuts

    def write(self, fd, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = super().write(fd, data[: self.room])
        self.room -= done
        return done

    def truncate(self, fd, size):
        if not self.cuts:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(fd, size)


def record(n, ts=START):
    return json.dumps({"ts": rfc3339(ts), "n": n}).encode() + b"\n"


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.fixture
def make(tmp_path):
    made = []

    def make(disk=None, clock=None, rotate_bytes=1 << 30, rotate_ns=DAY, name="signals"):
        faults = Faults()
        archive = ArchiveFolder(tmp_path / "logs/archive", faults)
        file = JsonlFile(
            tmp_path / f"logs/{name}.jsonl", rotate_bytes=rotate_bytes, rotate_ns=rotate_ns, clock=clock or Clock(),
            disk=disk or Disk(), faults=faults, archive=archive,
        )  # fmt: skip
        file.faults, file.archive = faults, archive
        made.append(file)
        return file

    yield make
    for file in made:
        file.close()
        file.archive.close(time.monotonic() + 5)


def test_no_file_before_the_first_line_and_then_for_the_owner_only(make, tmp_path):
    file = make()
    assert not (tmp_path / "logs").exists()
    assert file.append(record(1))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("room", range(0, 60, 7))
@pytest.mark.parametrize("cuts", [True, False])
def test_a_full_disk_leaves_no_part_of_a_line(make, room, cuts):
    disk = FullDisk(10**6, cuts)
    file = make(disk)
    assert file.append(record(1))
    disk.room = room
    assert not file.append(record(2) + record(3))
    assert not file.append(record(2))
    if cuts:
        assert file.path.read_bytes() == record(1)
    assert file.faults.errors["streams.write"] == 2
    disk.room, disk.cuts = 10**6, True
    assert file.append(record(2) + record(3))
    assert file.path.read_bytes() == record(1) + record(2) + record(3)


def test_a_part_that_could_not_be_cut_is_cut_when_closing(make):
    disk = FullDisk(10**6, cuts=False)
    file = make(disk)
    file.append(record(1))
    disk.room = 5
    assert not file.append(record(2))
    disk.cuts = True
    file.close()
    assert file.path.read_bytes() == record(1)


def test_a_short_write_is_continued(make):
    class Short(Disk):
        def write(self, fd, data):
            return super().write(fd, data[:7])

    file = make(Short())
    assert file.append(record(1) + record(2))
    assert file.path.read_bytes() == record(1) + record(2)


def test_an_interrupt_in_the_middle_of_a_write_leaves_whole_lines(make):
    class Interrupted(Disk):
        armed = False

        def write(self, fd, data):
            done = super().write(fd, data[:9])
            if self.armed:
                raise KeyboardInterrupt
            return done

    disk = Interrupted()
    file = make(disk)
    file.append(record(1))
    disk.armed = True
    with pytest.raises(KeyboardInterrupt):
        file.append(record(2))
    assert file.path.read_bytes() == record(1)


def test_a_file_where_the_folder_should_be(make, tmp_path):
    (tmp_path / "logs").write_bytes(b"")
    file = make()
    assert not file.append(record(1))
    (tmp_path / "logs").unlink()
    assert file.append(record(1))


def test_a_real_file_size_limit(tmp_path):
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, "tests/streams")
        from botobs.clock import SystemClock
        from botobs.faults import Faults
        from botobs.streams import ArchiveFolder, Disk, JsonlFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        root, faults = Path(sys.argv[1]), Faults()
        file = JsonlFile(root / "a.jsonl", rotate_bytes=1 << 30, rotate_ns=1 << 60, clock=SystemClock(), disk=Disk(),
                         faults=faults, archive=ArchiveFolder(root / "archive", faults))
        line = b'{"a":"' + b"x" * 90 + b'"}\\n'
        assert [file.append(line) for _ in range(15)] == [True] * 10 + [False] * 5
        assert faults.errors == {"streams.write": 5}
        assert (root / "a.jsonl").read_bytes() == line * 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert file.append(line)
        assert (root / "a.jsonl").read_bytes() == line * 11
        """
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- rotation


def test_rotation_by_size(make):
    file = make(rotate_bytes=2 * len(record(1)))
    for n in range(5):
        assert file.append(record(n, START + n * 1000))
    assert file.path.read_bytes() == record(4, START + 4000)
    folder = file.path.parent / "archive"
    names = ["signals-20260102T030405.000001Z.jsonl.gz", "signals-20260102T030405.000003Z.jsonl.gz"]
    until(lambda: sorted(os.listdir(folder)) == names)
    assert gzip.decompress((folder / names[0]).read_bytes()) == record(0) + record(1, START + 1000)
    assert stat.S_IMODE((folder / names[0]).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_names_that_collide(make):
    file = make(rotate_bytes=1)
    for n in range(4):
        assert file.append(record(n))
    folder = file.path.parent / "archive"
    base = "signals-20260102T030405.000001Z"
    names = [f"{base}-1.jsonl.gz", f"{base}-2.jsonl.gz", f"{base}.jsonl.gz"]
    until(lambda: sorted(os.listdir(folder)) == names)
    assert [gzip.decompress((folder / name).read_bytes()) for name in names] == [record(1), record(2), record(0)]


def test_rotation_by_age_of_a_file_found(make):
    clock = Clock()
    first = make(clock=clock)
    first.append(record(1))
    first.close()
    clock.now += DAY - 1
    second = make(clock=clock)
    second.append(record(2))
    assert second.path.read_bytes() == record(1) + record(2)
    clock.now += 2
    second.append(record(3))
    assert second.path.read_bytes() == record(3)


def test_records_from_another_time_do_not_rotate_all_the_while(make):
    file = make(clock=Clock(START + 1000 * DAY))
    for n in range(5):
        file.append(record(n))
    assert len(file.path.read_bytes().splitlines()) == 5


def test_a_clock_set_back(make):
    clock = Clock()
    file = make(clock=clock)
    file.append(record(1))
    clock.now -= 100 * DAY
    assert file.append(record(2))
    assert file.path.read_bytes() == record(1) + record(2)


def test_rotation_that_fails_goes_on_in_the_same_file(make):
    file = make(rotate_bytes=1)
    file.path.parent.mkdir(parents=True)
    (file.path.parent / "archive").write_bytes(b"")
    assert all(file.append(record(n)) for n in range(3))
    assert len(file.path.read_bytes().splitlines()) == 3
    assert file.faults.errors == {"streams.rotate": 1}


def test_what_was_rotated_is_synced_too(make):
    synced = []

    class Noting(Disk):
        def sync(self, fd):
            synced.append(os.fstat(fd).st_ino)
            super().sync(fd)

    file = make(Noting(), rotate_bytes=1)
    file.archive.close(time.monotonic())  # nothing is compressed
    file.append(record(1))
    old = file.path.stat().st_ino
    file.append(record(2))
    assert file.sync()
    assert {old, file.path.stat().st_ino} <= set(synced)
    before = len(synced)
    assert file.sync()
    assert len(synced) == before


def test_a_live_file_taken_away_is_made_anew(make, monkeypatch):
    file = make()
    file.append(record(1))
    file.path.unlink()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert file.append(record(2))
    assert file.path.read_bytes() == record(2)


def test_a_live_file_emptied_by_somebody(make, monkeypatch):
    disk = FullDisk(10**6)
    file = make(disk)
    file.append(record(1) + record(2))
    os.truncate(file.path, 0)
    disk.room = 10
    assert not file.append(record(3))
    assert file.path.read_bytes() == b""
    disk.room = 10**6
    assert file.append(record(3))
    assert file.path.read_bytes() == record(3)


def test_abandon_writes_nothing(make):
    disk = FullDisk(10**6, cuts=False)
    file = make(disk)
    file.append(record(1))
    disk.room = 3
    file.append(record(2))
    disk.cuts = True
    size = file.path.stat().st_size
    file.abandon()
    assert file.path.stat().st_size == size


# --- torn ends

TEXT = b"".join(record(n) for n in range(4))


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, len(TEXT)), zeros=st.sampled_from([b"", b"", b"\0" * 10, b"\0" * 70_000, b"\0\0\n"]))
def test_any_cut(tmp_path_factory, cut, zeros):
    logs = tmp_path_factory.mktemp("logs")
    path = logs / "a.jsonl"
    path.write_bytes(TEXT[:cut] + zeros)
    mended = repair(path, "a", folder=logs / "archive", clock=Clock(), disk=Disk())
    after = path.read_bytes()
    whole = TEXT[:cut].count(b"\n")
    rest = TEXT[:cut].split(b"\n")[-1]
    complete = not zeros and rest.endswith(b"}")
    assert after == b"".join(record(n) for n in range(whole + complete))
    if not rest + zeros:
        assert mended is None
    elif complete:
        assert (mended.stream, mended.bytes, mended.where) == ("a", 0, str(path))
    else:
        (torn,) = (logs / "archive").iterdir()
        assert torn.name == "a-20260102T030405.000001Z.torn"
        assert torn.read_bytes() == rest + zeros
        assert stat.S_IMODE(torn.stat().st_mode) == 0o600
        assert (mended.bytes, mended.where) == (len(rest + zeros), str(torn))
    assert repair(path, "a", folder=logs / "archive", clock=Clock(), disk=Disk()) is None


def test_torn_ends_are_mended_when_the_file_is_opened(make):
    file = make()
    file.path.parent.mkdir(parents=True)
    for n in range(2):
        with file.path.open("ab") as out:
            out.write(b'{"n":')
        assert file.append(record(n))
        file.close()
    assert file.path.read_bytes() == record(0) + record(1)
    assert [mended.bytes for mended in file.repairs] == [5, 5]
    assert len({mended.where for mended in file.repairs}) == 2


def test_broken_bytes_that_cannot_be_moved_stay_and_get_a_line_end(make):
    file = make()
    file.path.parent.mkdir(parents=True)
    (file.path.parent / "archive").write_bytes(b"")
    file.path.write_bytes(record(1) + b'{"n":')
    assert file.append(record(2))
    assert file.path.read_bytes() == record(1) + b'{"n":\n' + record(2)
    assert [(mended.bytes, mended.where) for mended in file.repairs] == [(5, str(file.path))]


def test_a_disk_too_full_to_set_anything_aside_loses_nothing(make):
    disk = FullDisk(3)
    file = make(disk)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(record(1) + b'{"n":')
    assert not file.append(record(2))
    assert file.path.read_bytes() == record(1) + b'{"n":'
    disk.room = 10**6
    assert file.append(record(2))
    assert file.path.read_bytes() == record(1) + record(2)
    (torn,) = (file.path.parent / "archive").iterdir()
    assert torn.read_bytes() == b'{"n":'


# --- the archive's own crashes


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, caplog):
    ArchiveFolder(tmp_path / "gone", Faults())
    assert caplog.messages == []
    (tmp_path / "file").touch()
    ArchiveFolder(tmp_path / "file", Faults())
    assert "stays as it is" in caplog.text


def test_leftovers_of_a_crash(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    base = "a-20260102T030405.00000"
    (folder / f"{base}1Z.jsonl").write_bytes(TEXT)  # never compressed
    (folder / f"{base}2Z.jsonl").write_bytes(TEXT)  # compressed, not removed
    (folder / f"{base}2Z.jsonl.gz").write_bytes(gzip.compress(TEXT))
    (folder / f"{base}3Z.jsonl").write_bytes(TEXT)  # half compressed
    (folder / f"{base}3Z.jsonl.gz.tmp").write_bytes(gzip.compress(TEXT)[:10])
    (folder / f"{base}4Z.jsonl").write_bytes(TEXT)  # beside an archive that is not its own
    (folder / f"{base}4Z.jsonl.gz").write_bytes(gzip.compress(TEXT)[:-9])
    (folder / "mine.jsonl").write_bytes(b"hands off")
    archive = ArchiveFolder(folder, Faults())
    assert archive.close(time.monotonic() + 10)
    assert sorted(os.listdir(folder)) == [*(f"{base}{n}Z.jsonl.gz" for n in range(1, 5)), "mine.jsonl"]
    for n in range(1, 5):
        assert gzip.decompress((folder / f"{base}{n}Z.jsonl.gz").read_bytes()) == TEXT


def test_an_archive_that_cannot_be_made_leaves_the_file(tmp_path):
    folder = tmp_path / "archive"
    source = folder / "a-20260102T030405.000001Z.jsonl"
    (folder / f"{source.name}.gz.tmp" / "in the way").mkdir(parents=True)
    source.write_bytes(TEXT)
    faults = Faults()
    archive = ArchiveFolder(folder, faults)
    archive.close(time.monotonic() + 10)
    assert source.read_bytes() == TEXT
    assert faults.errors["archive"] >= 1


def test_closing_the_archive_keeps_its_deadline(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    source = folder / "a-20260102T030405.000001Z.jsonl"
    source.write_bytes(os.urandom(1 << 20) * 32)
    archive = ArchiveFolder(folder, Faults())
    before = time.monotonic()
    assert not archive.close(before + 0.05)
    assert time.monotonic() - before < 0.05 + SLACK_S
    until(lambda: os.listdir(folder) == [source.name])  # gave up and tidied
    assert not archive._thread.is_alive() or archive._thread.join(5) is None
