"""Backups in a folder: what comes back is what was there, and nothing else is believed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import botobs
from botobs.accounting.opened import open_account
from botobs.backup import BackupError, NoBackupError, check, listed, make, open_shelf, restore
from botobs.backup.cut import Cut
from botobs.backup.errors import why
from botobs.backup.manifest import decode, encode, is_ours, latest
from botobs.backup.schedule import Schedule, open_schedule
from botobs.backup.shelf import PIECE, Shelf
from botobs.clock import SystemClock
from botobs.config import load
from botobs.errors import BotobsError, ConfigError
from botobs.events import BackupFailed, BackupMade
from botobs.faults import Faults
from botobs.performance.store import Folder
from botobs.testing import Clock
from tests.servers.redis import until
from tests.slack import SLACK_S

T0 = 1_767_323_045_000_000_000


NOBODY = 65534


def fills(obs, count, first=0):
    for n in range(first, first + count):
        obs.fill(
            symbol="BTC", side="sell" if n % 3 == 2 else "buy", qty=1 + n % 2, price=100 + n, fee="0.25", fill_id=n
        )


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A data directory that two runs have left."""
    root = tmp_path_factory.mktemp("used") / "data"
    for run in range(2):
        with botobs.start(
            "trend-bot", data_dir=root, durability="os", starting_equity=10_000, rotate_bytes=3_000
        ) as obs:
            fills(obs, 6, 6 * run)
            obs.event("notes", text="x" * 4_000)
            obs.mark("BTC", 120)
            obs.flush()
            obs.event("notes", text="y")
    return root


@pytest.fixture
def root(used, tmp_path):
    """A copy of it, to be changed."""
    subprocess.check_call(["cp", "-a", str(used), str(tmp_path / "data")])
    return tmp_path / "data"


@pytest.fixture
def shelf(tmp_path):
    return Shelf(Folder(tmp_path / "place"))


def backed_up(root, shelf, **how):
    return make(root, shelf, clock=SystemClock(), **how)


def content(root):
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*") if path.is_file() and path.name not in ("lock", "alive")
    }  # fmt: skip


def manifest_in(place):
    (found,) = (place / "backups").iterdir()
    return found


def resealed(path, change):
    """Change what a list says, and seal it again, as somebody would who means harm."""
    said = json.loads(path.read_bytes())
    del said["sha256"]
    said = change(said) or said
    body = json.dumps(said).encode()[:-1]
    path.write_bytes(body + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n')


# --- there and back


def test_what_comes_back_is_what_was_there(root, shelf, tmp_path):
    told = []
    made = backed_up(root, shelf, progress=lambda done, total: told.append((done, total)))
    assert made.stored > 10
    assert told[-1][0] == told[-1][1] == made.manifest.size
    assert (made.manifest.bot, made.manifest.lines, made.notes) == ("trend-bot", 12, ())
    done = restore(shelf, tmp_path / "new" / "data")
    assert done.ledger.ok and done.ledger.lines == 12
    assert content(tmp_path / "new" / "data") == content(root)
    assert open_account(tmp_path / "new" / "data").totals().to_dict() | {"window": None} == open_account(
        root
    ).totals().to_dict() | {"window": None}
    for path in [*(tmp_path / "new" / "data").rglob("*"), *(tmp_path / "place").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert not list((tmp_path / "new").glob(".*"))
    with botobs.start("trend-bot", data_dir=tmp_path / "new" / "data", durability="os") as obs:  # a bot goes on there
        fills(obs, 1, 0)
        assert obs.totals().fills == 12  # the same fill again: a duplicate
        fills(obs, 1, 12)
        assert obs.ledger.verify().ok and len(obs.ledger) == 13


def test_only_what_is_new_is_sent(root, shelf):
    first = backed_up(root, shelf)
    again = backed_up(root, shelf)
    assert (again.stored, again.sent) == (0, 0)
    assert again.manifest.entries == first.manifest.entries
    (root / "logs" / "big.jsonl").write_bytes(b'{"n": %d}\n' % 10**20 * (5 * PIECE // 2 // 29))
    assert backed_up(root, shelf).stored == 3
    with open(root / "logs" / "big.jsonl", "ab") as file:
        file.write(b'{"n":1}\n' * 10)
    assert backed_up(root, shelf).stored == 1
    os.rename(root / "logs" / "big.jsonl", root / "logs" / "archive" / "big-20260102T030405.000000Z.jsonl")
    assert backed_up(root, shelf).stored == 0, "a file that moved is no new one"


def test_archives_are_not_read_again(root, shelf):
    first = backed_up(root, shelf)
    archived = next(root.glob("logs/archive/*.gz"))
    seen = archived.stat()
    archived.write_bytes(bytes(seen.st_size))
    os.utime(archived, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert backed_up(root, shelf).manifest.entries == first.manifest.entries
    assert backed_up(root, shelf, thorough=True).stored == 1


def test_live_files_up_to_their_last_whole_line(root, shelf, tmp_path):
    whole = (root / "logs" / "notes.jsonl").read_bytes()
    with open(root / "logs" / "notes.jsonl", "ab") as file:
        file.write(b'{"half')
    with open(root / "metrics" / "fills.jsonl", "ab") as file:
        file.write(b'{"seq":13,"type":"fill"')
    backed_up(root, shelf)
    assert restore(shelf, tmp_path / "new").ledger.ok
    assert (tmp_path / "new" / "logs" / "notes.jsonl").read_bytes() == whole


def test_what_is_no_plain_file_of_ours_stays_out(root, shelf, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush")
    (root / "logs" / "leak.jsonl").symlink_to(secret)
    (root / "logs" / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "logs" / "pipe.jsonl")
    (root / "logs" / ".draft.jsonl").write_text("{}\n")
    (root / "logs" / "archive" / "x-20260102T030405.000000Z.jsonl.gz.tmp").write_text("{}\n")
    (root / "logs" / "two\nlines.jsonl").write_text("{}\n")
    (root / "logs" / os.fsdecode(b"\xff.jsonl")).write_text("{}\n")
    (root / "own.txt").write_text("the user's")
    (root / "archive-20260101T000000Z" / "metrics").mkdir(parents=True)
    (root / "archive-20260101T000000Z" / "metrics" / "fills.jsonl").write_text("{}\n")
    paths = {entry.path for entry in backed_up(root, shelf).manifest.entries}
    assert "archive-20260101T000000Z/metrics/fills.jsonl" in paths  # what `botobs reset` put aside
    assert not [path for path in paths if any(word in path for word in ("leak", "linked", "pipe", "draft", "tmp", "\n", "own", "lock", "\udcff"))]  # fmt: skip


def test_a_file_compressed_or_gone_in_between(root, shelf, tmp_path):
    """The archive's thread goes on while files are read: the same records are in the other file."""
    archived = next(root.glob("logs/archive/notes-*.gz"))
    packed = archived.read_bytes()
    plain = archived.with_suffix("")
    plain.write_bytes(b'{"n":1}\n')
    archived.unlink()
    with Cut(root) as cut:
        source = next(each for each in cut.sources if each.path.endswith(plain.name))
        plain.unlink()
        archived.write_bytes(packed)
        with pytest.raises(FileNotFoundError):
            list(cut.pieces(source, 10))
        again = cut.again(source)
        assert b"".join(cut.pieces(again, 10)) == packed
        archived.unlink()
        assert cut.again(source) is None
        live = next(each for each in cut.sources if each.path == "logs/notes.jsonl")
        expected = (root / live.path).read_bytes()
        (root / live.path).unlink()  # taken away: it is open
        assert b"".join(cut.pieces(live, 7)) == expected
    plain.write_bytes(b"1\n")
    archived.write_bytes(packed)
    with Cut(root) as cut:  # both are there for a moment
        assert not [each for each in cut.sources if each.path.endswith(plain.name)]


def test_nothing_knows_of_what_comes_after_it(root):
    """State, then streams, then the ledger: whatever a bot does in between, the ledger has the fills of the others."""
    stream, head, ledger = (root / name for name in ("logs/costs.jsonl", "state/ledger.head", "metrics/fills.jsonl"))
    before = {path: path.read_bytes() for path in (stream, head)}

    class Watched(Cut):
        def _streams(self):
            head.write_bytes(b"newer")
            return super()._streams()

        def _ledger(self):
            with open(stream, "ab") as file, open(ledger, "ab") as lines:
                file.write(b'{"fill_id":"99"}\n')
                lines.write(b'{"seq":13,"fill_id":"99"}\n')
            return super()._ledger()

    with Watched(root) as cut:
        found = {each.path: b"".join(cut.pieces(each, PIECE)) for each in cut.sources}
    assert found["state/ledger.head"] == before[head]
    assert found["logs/costs.jsonl"] == before[stream]
    assert found["metrics/fills.jsonl"].endswith(b'{"seq":13,"fill_id":"99"}\n')


def test_a_stream_rotated_while_it_is_looked_at_is_there_once(root):
    live, archived = root / "logs/notes.jsonl", root / "logs/archive/notes-20360102T030405.000000Z.jsonl"
    expected = live.read_bytes()

    class Watched(Cut):
        turns = 0

        def _others(self):
            self.turns += 1
            if self.turns == 1:
                live.rename(archived)
            yield from super()._others()

    with Watched(root) as cut:
        found = [each.path for each in cut.sources]
        assert cut.turns == 2 and "logs/notes.jsonl" not in found
        (source,) = [each for each in cut.sources if each.path.endswith(archived.name)]
        assert b"".join(cut.pieces(source, PIECE)) == expected


# --- several


def test_older_backups_and_how_many_are_kept(root, shelf, tmp_path):
    clock = Clock(T0 / 1e9)
    for lines in (12, 13, 14):
        made = make(root, shelf, clock=clock)
        assert made.manifest.lines == lines
        with botobs.start("trend-bot", data_dir=root, durability="os") as obs:
            fills(obs, 1, lines)
        clock.advance(3600)
    clock.set(made.manifest.at_ns / 1e9 - 86_400)  # set back: the newest is the newest all the same
    assert [each.lines for each in listed(shelf)] == [12, 13, 14]
    assert latest(shelf, T0 + 3600 * 10**9).lines == 13
    assert latest(shelf, T0 + 3600 * 10**9 - 1000).lines == 12
    assert latest(shelf, T0 - 1000) is None
    with pytest.raises(NoBackupError, match="there is no backup from that time or before at"):
        restore(shelf, tmp_path / "new", at_ns=T0 - 1000)
    before = shelf.digests()
    made = make(root, shelf, clock=clock, keep=2)
    assert (made.dropped, made.manifest.lines) == (2, 15)
    assert [each.lines for each in listed(shelf)] == [14, 15]
    assert len(shelf.digests()) < len(before | {part.digest for part in made.manifest.parts})
    assert check(shelf, at_ns=made.manifest.at_ns - 1)[1] == check(shelf)[1] == []
    assert restore(shelf, tmp_path / "new", at_ns=made.manifest.at_ns - 1).ledger.lines == 14


def test_one_place_for_each_bot_and_one_backup_at_a_time(root, shelf, tmp_path):
    backed_up(root, shelf)
    with botobs.start("other", data_dir=tmp_path / "other", durability="os"):
        pass
    with pytest.raises(BackupError, match="has the backups of bot 'trend-bot', and this is 'other'"):
        backed_up(tmp_path / "other", shelf)
    with pytest.raises(NoBackupError, match="nothing to back up"):
        (tmp_path / "empty").mkdir()
        backed_up(tmp_path / "empty", shelf)
    seen = []

    def inside(_done, _total):
        if not seen:
            with pytest.raises(BackupError, match="another backup of .* is being made"):
                seen.append(True)
                backed_up(root, shelf)

    backed_up(root, shelf, progress=inside)
    assert seen


def test_a_child_forked_meanwhile_holds_nothing_up(root, shelf):
    reads, writes = os.pipe()
    children = []

    def fork(_done, _total):
        if not children:
            with warnings.catch_warnings(action="ignore"):  # of threads; there are none that matter
                children.append(os.fork())
            if not children[0]:
                os.close(writes)
                os.read(reads, 1)
                os._exit(0)

    backed_up(root, shelf, progress=fork)
    backed_up(root, shelf)
    os.close(writes)
    os.close(reads)
    os.waitpid(children[0], 0)


# --- interrupted and damaged


class Failing(Folder):
    """A folder that takes so many objects; the last of them only in part."""

    left = 5

    def write(self, name, data):
        self.left -= 1
        if self.left < 0:
            self._path(name).parent.mkdir(parents=True, exist_ok=True)
            self._path(name).write_bytes(data[: len(data) // 2])  # as stores do that write in place
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(name, data)


def test_an_interrupted_one_is_none_and_is_gone_on_with(root, shelf, tmp_path):
    for _ in range(2):
        with pytest.raises(BackupError, match=r"objects/.* cannot be written: No space left on device"):
            backed_up(root, Shelf(Failing(tmp_path / "place")))
    assert list(listed(shelf)) == []
    with pytest.raises(NoBackupError, match="there is no backup at"):
        restore(shelf, tmp_path / "new")
    there = len(shelf.digests())
    made = backed_up(root, shelf)
    files = {part.digest for part in made.manifest.parts}
    assert there > 8 and made.stored == len(files) - there + 1, "the torn one is written again, the others are not"
    assert check(shelf)[1] == []


def test_a_place_that_reads_back_something_else(root, tmp_path):
    class Forgetful(Folder):
        def write(self, name, data):
            super().write(name, data[:-9] + bytes(9))

    with pytest.raises(BackupError, match="reads back otherwise than it was written"):
        backed_up(root, Shelf(Forgetful(tmp_path / "place")))


def test_a_torn_list_counts_for_nothing(root, shelf, tmp_path):
    first = backed_up(root, shelf).manifest
    second = backed_up(root, shelf).manifest
    path = tmp_path / "place" / "backups" / f"{second.stamp}.json"
    whole = path.read_bytes()
    for torn in (
        b"",
        whole[:-1],
        whole[: len(whole) // 2],
        whole.replace(b'"lines":12', b'"lines":13'),
        bytes(len(whole)),
    ):
        path.write_bytes(torn)
        notes = []
        assert latest(shelf, notes=notes) == first
        assert "is torn or damaged, and counts for nothing" in notes[0]
    assert restore(shelf, tmp_path / "new").notes
    assert backed_up(root, shelf, keep=1).dropped == 2


def test_a_damaged_piece_is_found_named_and_mended(root, shelf, tmp_path):
    made = backed_up(root, shelf)
    entry = next(each for each in made.manifest.entries if each.path == "metrics/fills.jsonl")
    piece = tmp_path / "place" / "objects" / entry.parts[0].digest[:2] / f"{entry.parts[0].digest}.gz"
    for harm in (lambda: piece.write_bytes(b"x" * 40), piece.unlink, lambda: piece.write_bytes(_bomb())):
        harm()
        assert check(shelf)[1] == ["metrics/fills.jsonl: a piece is missing or damaged"]
        with pytest.raises(BackupError, match="is missing or damaged"):
            restore(shelf, tmp_path / "new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "place"], "nothing half restored"
        assert backed_up(root, shelf, thorough=True).stored == 1
        assert check(shelf)[1] == []


def _bomb():
    import gzip

    return gzip.compress(bytes(20 << 20), 9)


def test_a_ledger_damaged_before_is_restored_and_told(root, shelf, tmp_path):
    path = next(root.glob("metrics/archive/fills-*"))
    path.write_bytes(path.read_bytes().replace(b'"price":"100"', b'"price":"101"'))
    backed_up(root, shelf)
    assert restore(shelf, tmp_path / "new").ledger.problem == "line changed"


# --- what somebody may have put into a list


def at(*keys, to):
    def change(said):
        place = said
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


HOSTILE = {
    **{
        path: at("files", 0, "path", to=path)
        for path in (
            "../evil",
            "logs/../../evil",
            "/etc/evil",
            "logs//evil",
            "logs/./evil",
            "logs/..",
            "logs/",
            "evil",
            "",
            "logs/a\0b",
            "logs/a\nb",
            "logs\\..\\evil",
            "state/lock",
            "exchange/x",
            "logs/" + "x" * 256,
            "logs/" + "x/" * 600 + "x",
            "logs/\ud800",
            ".botobs-restore-000000000000/x",
        )
    },
    "path number": at("files", 0, "path", to=5),
    "twice": lambda said: said["files"].append(said["files"][0]),
    "file as folder": lambda said: said["files"].append({**said["files"][0], "path": said["files"][0]["path"] + "/x"}),
    "size": at("files", 0, "size", to=10**30),
    "size below": at("files", 0, "size", to=-1),
    "size true": at("files", 0, "size", to=True),
    "size text": at("files", 0, "size", to="1"),
    "piece huge": lambda said: said["files"][0].update(size=1 << 50, parts=[["0" * 64, 1 << 50]]),
    "piece negative": lambda said: said["files"][0].update(size=0, parts=[["0" * 64, 5], ["1" * 64, -5]]),
    "piece elsewhere": lambda said: said["files"][0].update(size=1, parts=[["../" * 20 + "evil", 1]]),
    "piece odd": lambda said: said["files"][0].update(size=1, parts=[["0" * 64]]),
    "pieces none": at("files", 0, "parts", to=None),
    "files none": at("files", to=None),
    "files words": at("files", to=["logs/x"]),
    "format": at("format", to="botobs backup 2"),
    "at": at("at", to="yesterday"),
    "another time": at("at", to="2020-01-01T00:00:00Z"),
    "list": lambda _: [1],
    "deep": lambda said: at("files", to=[[]])(said),
}


def test_a_hostile_list_is_refused_with_words(root, shelf, tmp_path, monkeypatch):
    backed_up(root, shelf)
    path = manifest_in(tmp_path / "place")
    whole = path.read_bytes()
    for name, change in HOSTILE.items():
        path.write_bytes(whole)
        try:
            resealed(path, change)
        except UnicodeEncodeError:
            continue
        for act in (lambda: restore(shelf, tmp_path / "in" / "new"), lambda: check(shelf), lambda: list(listed(shelf))):
            with pytest.raises(BackupError) as told:
                act()
            assert "backups/" in str(told.value), name
    path.write_bytes(whole)
    resealed(path, lambda said: said["files"][0].update(size=9 * PIECE, parts=[["0" * 64, PIECE]] * 9))
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=9 * PIECE))
    with pytest.raises(BackupError, match="bytes, and 9,437,184 are free at"):
        restore(shelf, tmp_path / "in" / "new")
    assert not (tmp_path / "evil").exists()
    assert [each for each in tmp_path.rglob("*") if "in" in each.parts[-2:]] in ([], [tmp_path / "in"])


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "", "logs", "state", "lock", "a", "\\", "~", "archive-x"])).map("/".join)
)
def test_a_path_that_is_ours_leads_nowhere_else(path):
    if is_ours(path):
        led = os.path.normpath(os.path.join("/root/data", path))
        assert led == f"/root/data/{path}" and led.split("/")[3].startswith(("logs", "metrics", "state", "archive-"))


@given(st.binary(max_size=300))
def test_no_bytes_make_a_list(data):
    with pytest.raises(NoBackupError):
        decode(data, "x")
    body = data[:-1]
    with pytest.raises(BackupError):
        decode(body + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n', "x")


def test_a_list_reads_back_as_it_was_written(root, shelf):
    manifest = backed_up(root, shelf).manifest
    assert decode(encode(manifest), "x") == manifest


# --- where it may not go


def test_it_overwrites_nothing(root, shelf, tmp_path):
    backed_up(root, shelf)
    before = content(root)
    with pytest.raises(BackupError, match="data is not empty; a backup is restored into an empty directory"):
        restore(shelf, root)
    with botobs.start("trend-bot", data_dir=root, durability="os"):
        with pytest.raises(BackupError, match="data is not empty, and a bot is at work there"):
            restore(shelf, root)
    assert set(before) <= set(content(root))
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupError, match="file is a file; a backup is restored into an empty directory"):
        restore(shelf, tmp_path / "file")
    (tmp_path / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far").mkdir()
    restore(shelf, tmp_path / "linked")
    assert (tmp_path / "linked").is_symlink() and (tmp_path / "far" / "metrics").is_dir()

    def begin(done, total):  # a bot that starts while it is restored
        (tmp_path / "new" / "state").mkdir(parents=True, exist_ok=True)

    with pytest.raises(BackupError, match="new is not empty"):
        restore(shelf, tmp_path / "new", progress=begin)
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / "state"]
    assert not list(tmp_path.glob(".*"))


def test_a_directory_that_cannot_be_replaced_is_filled(root, shelf, tmp_path, monkeypatch):
    """A disk of its own, as containers have."""
    backed_up(root, shelf)
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    (tmp_path / "disk" / ".botobs-restore-0123456789ab" / "logs").mkdir(parents=True)  # what a crash left
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    restore(shelf, tmp_path / "disk")
    assert sorted(os.listdir(tmp_path / "disk")) == ["logs", "lost+found", "metrics", "state"]
    assert content(tmp_path / "disk") == content(root)


def test_a_full_disk_leaves_nothing_half_restored(root, shelf, tmp_path):
    (root / "logs" / "big.jsonl").write_bytes(b"{}\n" * 100_000)
    backed_up(root, shelf)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OSError):
            restore(shelf, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "place"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "backups: '' is no place"),
        ("a\0b", "is no place"),
        ("zz://user:hush@host/x", "zz://host/x is no place that fsspec knows"),
        ("file://far/x", "names another machine"),
        ("data/logs/x", "is in the data directory itself"),
        ("data", "is in the data directory itself"),
        ("file", "file cannot be read: Not a directory"),
    ],
)
def test_a_wrong_place_is_told(url, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/logs").mkdir(parents=True)
    Path("file").write_text("")
    with pytest.raises(BotobsError) as told:
        open_shelf(url, Path("data"))
    assert says in str(told.value) and "hush" not in str(told.value)


def test_no_secret_is_told():
    from botobs.backup.errors import secrets_of

    for url in (
        "s3://key:hush@bucket/x",
        "sftp://me:hu/sh@host/x",
        "https://host/x?sig=hush",
        "s3://key:hush@b/x?hush=1",
    ):
        secrets = secrets_of(url)
        said = why(ValueError(f"cannot do {url}: bucket {url.partition('//')[2]}"), secrets)
        assert "hush" not in said and "hu/sh" not in said, said


# --- while the bot runs


class Raising:
    def time_ns(self):
        raise RuntimeError("no time")

    perf_ns = time_ns


def scheduled(root, shelf, clock, *, every_s=3600.0, said=None, keep=None):
    said = [] if said is None else said
    schedule = Schedule(shelf, root, every_s=every_s, keep=keep, clock=clock, faults=Faults(), publish=said.append)
    return schedule, said


def test_a_backup_every_so_often(root, tmp_path, caplog):
    clock = Clock(T0 / 1e9)
    folder = Folder(tmp_path / "place")
    schedule, said = scheduled(root, Shelf(folder), clock, keep=2)
    schedule.begin()
    until(lambda: len(said) == 1 and schedule._due_ns)
    assert isinstance(said[0], BackupMade) and said[0].lines == 12 and said[0].sent_bytes > 1000
    schedule.chore()
    clock.advance(3599)
    schedule.chore()
    assert len(said) == 1
    # the place is broken: told, tried again sooner, less and less often
    (tmp_path / "place" / "backups").rename(tmp_path / "away")
    (tmp_path / "place" / "backups").write_text("")
    for turn, wait_s in enumerate((1, 60, 120), 1):
        clock.advance(wait_s)
        schedule.chore()
        until(lambda: len(said) == 1 + turn and schedule._due_ns)
    assert [each.failures for each in said[1:]] == [1, 2, 3]
    assert isinstance(said[1], BackupFailed) and said[1].last == said[0].at and "backups/" in said[1].error
    (tmp_path / "place" / "backups").unlink()
    (tmp_path / "away").rename(tmp_path / "place" / "backups")
    clock.advance(240)
    schedule.chore()
    until(lambda: len(said) == 5 and schedule._due_ns)
    assert isinstance(said[4], BackupMade) and said[4].sent_bytes == 0
    assert schedule.flush(0.0) and schedule.close(time.monotonic() + 5)
    until(lambda: not any(thread.name == "botobs-backup" for thread in threading.enumerate()))
    # a restart goes on from the newest there is
    again, said = scheduled(root, Shelf(folder), clock)
    clock.advance(600)
    again.begin()
    until(lambda: again._due_ns)
    assert said == [] and again._due_ns - clock.perf_ns() == pytest.approx(3000e9, rel=1e-6)
    clock.set(T0 / 1e9 - 86_400)  # a clock set back does not stop them
    again.close(time.monotonic() + 5)
    third, said = scheduled(root, Shelf(folder), clock)
    third.begin()
    until(lambda: said and third._due_ns)
    assert fcntl.flock(held := os.open(root / "state", os.O_RDONLY), fcntl.LOCK_EX) is None
    clock.advance(3600)  # another one is being made, by hand: no failure
    third.chore()
    until(lambda: third._due_ns and third._first)
    os.close(held)
    assert len(said) == 1
    third.abandon()
    third.chore()
    assert third._thread is None


def test_the_end_of_the_bot_does_not_wait(root, tmp_path):
    hanging, go_on = threading.Event(), threading.Event()

    class Hanging(Folder):
        def write(self, name, data):
            hanging.set()
            go_on.wait(30)
            super().write(name, data)

    schedule, said = scheduled(root, Shelf(Hanging(tmp_path / "place")), SystemClock())
    schedule.begin()
    assert hanging.wait(10)
    begun = time.monotonic()
    assert schedule.close(begun + 0.05)
    assert time.monotonic() - begun < 0.05 + SLACK_S
    go_on.set()
    schedule._thread.join(10)
    assert said == [] and list(listed(Shelf(Folder(tmp_path / "place")))) == []


def test_a_bot_backs_itself_up_and_alerts(tmp_path):
    url = f"file://{tmp_path}/place"
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "objects").write_text("in the way")
    runs = tmp_path / "data" / "logs" / "runs.jsonl"

    def told(kind):
        return [each for line in runs.read_text().splitlines() if (each := json.loads(line))["event"] == kind]

    with botobs.start("bot", data_dir=tmp_path / "data", durability="os", backup_url=url, backup_every="1h") as obs:
        fills(obs, 3)
        until(lambda: obs.flush() and told("backup_failed"))
        (tmp_path / "place" / "objects").unlink()
        obs._backups._wake.set()  # its time has come
        until(lambda: obs.flush() and told("backup_made"))
    assert restore(open_shelf(url, tmp_path / "data"), tmp_path / "new").ledger.ok
    alerts = [json.loads(line) for line in (tmp_path / "data" / "logs" / "alerts.jsonl").read_text().splitlines()]
    assert [each["level"] for each in alerts if each["key"] == "backup-failed"] == ["warning", "info"]


def test_a_folder_that_cannot_be_looked_into_fails_the_backup(used):
    with tempfile.TemporaryDirectory() as place:  # tmp_path is closed to other users
        root = Path(place, "data")
        subprocess.check_call(["cp", "-a", str(used), str(root)])
        (root / "logs" / "own").mkdir()
        (root / "logs" / "own" / "more.txt").write_text("x")
        (root / "logs" / "own").chmod(0o444)  # it tells its names and lets nobody pass
        for path in (Path(place), *root.rglob("*"), root):
            os.chown(path, NOBODY, -1) if os.getuid() == 0 else None
        text = (
            "import os, sys; from pathlib import Path\nfrom botobs.backup.cut import Cut\n"
            f"os.getuid() or os.setuid({NOBODY})\n"
            "try: Cut(Path(sys.argv[1]))\nexcept PermissionError as error: print(error.filename)\n"
        )
        done = subprocess.run([sys.executable, "-c", text, root], capture_output=True, text=True, timeout=60)
        (root / "logs" / "own").chmod(0o755)
        assert done.stdout.strip() == str(root / "logs" / "own" / "more.txt"), done.stderr


def test_without_locks_a_backup_is_made_and_that_is_said(root, tmp_path, monkeypatch, caplog):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("botobs.backup.making.fcntl.flock", none)
    said = []
    schedule = Schedule(
        Shelf(Folder(tmp_path / "place")), root, every_s=1e-3, keep=None, clock=SystemClock(), faults=Faults(),
        publish=said.append,
    )  # fmt: skip
    schedule.begin()
    until(lambda: schedule._wake.set() or len(said) > 1)  # its time has come, twice
    assert schedule.close(time.monotonic() + 5)
    assert {type(each) for each in said} == {BackupMade}
    assert caplog.text.count(f"nothing kept a second backup of {root} from being made meanwhile") == 1


def test_what_a_schedule_needs_is_there_at_the_start(tmp_path):
    clock = Raising()
    faults = Faults()
    schedule = Schedule(None, tmp_path, every_s=1, keep=None, clock=clock, faults=faults, publish=print)
    schedule.begin()
    until(lambda: schedule._due_ns)  # the thread lives on
    assert schedule._thread.is_alive() and schedule.close(time.monotonic() + 5)
    for url in ("zz://me:hush@x/y", str(tmp_path / "data" / "place")):
        with pytest.raises(ConfigError, match=r"^backup_url cannot be used: ") as told:
            botobs.start("bot", data_dir=tmp_path / "data", backup_url=url)
        assert "hush" not in str(told.value)
    settings = load(
        "bot", {"backup_url": "x", "mode": "backtest", "clock": Clock(1), "data_dir": None}, env={}, cwd=None
    )
    assert open_schedule(settings, None, clock=SystemClock(), faults=Faults(), publish=print) is None
    assert "hush" not in repr(load("bot", {"backup_url": "s3://me:hush@x/y"}, env={}, cwd=None))
