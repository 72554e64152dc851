"""The data directory: real processes hold it, die over it, fork, and meet disks that refuse."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from botobs.clock import SystemClock, rfc3339
from botobs.datadir import DataDir, atomic_write
from botobs.runfile import PreviousRun
from botobs.errors import ConfigError

START = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z
MINUTE = 60_000_000_000


class OwnClock:
    def __init__(self) -> None:
        self.now = START

    def time_ns(self) -> int:
        return self.now

    def perf_ns(self) -> int:
        return self.now


Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start another Python that runs `code` with `claim(path)`; it sees the end of its stdin when the test is over."""
    head = """
        import os, sys, threading
        from pathlib import Path
        from botobs.clock import SystemClock
        from botobs.datadir import DataDir, atomic_write
        from botobs.errors import ConfigError
        path = Path(sys.argv[1])
        def claim():
            return DataDir.claim(path, bot="other", run_id=f"run-{os.getpid()}", clock=SystemClock(), warn=print)
        def say(*words):
            print(*words, flush=True)
    """
    running: list[subprocess.Popen[str]] = []

    def start(code: str, path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with process:
            process.kill()


HOLD = "held = claim(); say('ready'); sys.stdin.read()"


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def claim(path: Path, clock: OwnClock | None = None, **more: object) -> DataDir:
    return DataDir.claim(path, bot="trend", run_id="run-1", clock=clock or OwnClock(), **more)  # type: ignore[arg-type]


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        claim(path)
    message = str(caught.value)
    assert message.startswith(f"data_dir = {str(path)!r} ")
    return message


def names(path: Path) -> set[str]:
    return {str(entry.relative_to(path)) for entry in path.rglob("*")}


# --- making it -----------------------------------------------------------------------------------------------


def test_directories_and_files_are_for_the_owner_only(tmp_path: Path) -> None:
    held = claim(tmp_path / "new" / "data")
    assert names(held.path) == {"logs", "logs/archive", "metrics", "state", "state/lock", "state/run.json"}
    for path in (tmp_path / "new", held.path, *held.path.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert (held.logs, held.archive) == (held.path / "logs", held.path / "logs" / "archive")
    assert (held.metrics, held.state) == (held.path / "metrics", held.path / "state")
    assert (held.run_id, held.locked, held.previous) == ("run-1", True, None)
    held.release(clean=True)


def test_the_directory_stays_where_it_was_when_the_bot_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    held = claim(Path("data"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    held.touch()
    held.release(clean=True)
    assert (tmp_path / "data" / "state" / "run.json").exists()
    assert names(tmp_path / "elsewhere") == set()


def test_existing_directories_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o750)
    claim(tmp_path).release(clean=True)
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("place", ["data", "data/logs", "data/logs/archive", "data/metrics", "data/state"])
def test_a_file_in_place_of_a_directory(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("mine")
    message = refusal(tmp_path / "data")
    assert f"cannot be used: {tmp_path / place}: a file stands where a directory should be" in message
    assert (tmp_path / place).read_text() == "mine"


def test_a_file_among_the_parents_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert f" {tmp_path / 'file'}: a file stands" in refusal(tmp_path / "file" / "a" / "data")


@pytest.mark.parametrize("place", ["state/lock", "state/run.json"])
def test_a_directory_in_place_of_a_file(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    assert f"{tmp_path / place}: a directory stands where a file should be" in refusal(tmp_path)
    (tmp_path / place).rmdir()
    claim(tmp_path).release(clean=True)  # the refused one holds nothing


def test_places_that_cannot_be_made() -> None:
    assert "/proc/botobs: " in refusal(Path("/proc/botobs"))
    assert "File name too long" in refusal(Path("/tmp") / ("x" * 300))
    assert "ValueError" in refusal(Path("/tmp/a\0b"))


@pytest.mark.parametrize("made", [["logs"], ["logs", "logs/archive", "metrics", "state"]])
def test_no_permission(spawn: Spawn, made: list[str]) -> None:
    become_nobody = """
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            claim()
        except ConfigError as error:
            say(error)
    """
    with tempfile.TemporaryDirectory() as place:  # tmp_path is closed to other users
        data = Path(place, "data")
        for name in made:
            (data / name).mkdir(parents=True)
            (data / name).chmod(0o777)
        data.chmod(0o755)
        Path(place).chmod(0o755)
        closed = data / "metrics" if "metrics" in made else data / "logs"
        closed.chmod(0o555)
        message = told(spawn(become_nobody, data))
        closed.chmod(0o755)
    refused = closed if "metrics" in made else data / "logs" / "archive"
    assert f"{refused}: permission denied; it takes a directory that can be written" in message


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small file system: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=64k") as disk:
        assert f"{disk / 'data'}: the file system is read-only" in refusal(disk / "data")


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        held = claim(disk / "data")
        held.release(clean=False)
        fill(disk / "ballast")
        assert "no space left on the disk" in refusal(disk / "data")
        (disk / "ballast").unlink()
        held = claim(disk / "data")
        assert held.previous is not None
        assert held.previous.unclean
        small = held.state / "small"
        atomic_write(small, b"old")
        fill(disk / "ballast")
        with pytest.raises(OSError, match="No space left") as caught:
            atomic_write(small, b"new" * 1000)
        assert caught.value.errno == errno.ENOSPC
        assert small.read_bytes() == b"old"
        held.release(clean=True)  # a full disk must not make a clean end look like a crash
        assert not list(held.state.glob(".*"))
        (disk / "ballast").unlink()
        held = claim(disk / "data")
        assert held.previous is not None
        assert held.previous.clean
        held.release(clean=True)


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


# --- holding it ----------------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_holds_it(tmp_path: Path, spawn: Spawn) -> None:
    holder = spawn(HOLD, tmp_path)
    assert told(holder) == "ready"
    message = refusal(tmp_path)
    assert f" is held by process {holder.pid} on " in message
    assert "bot 'other', since 20" in message
    assert "ended" not in message
    holder.communicate()  # it ends without releasing
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.pid == holder.pid
    held.release(clean=True)


def test_the_same_process_may_not_hold_it_twice(tmp_path: Path) -> None:
    held = claim(tmp_path)
    assert f"process {os.getpid()} (this very one; its shutdown() lets go of it)" in refusal(tmp_path)
    assert "since 2026-01-02T03:04:05.000000Z" in refusal(tmp_path)
    held.release(clean=True)
    claim(tmp_path).release(clean=True)


def _as_they_are(folder: Path) -> dict[str, tuple[int, ...]]:
    """Which files there are, and what would differ if somebody had written to one; they may be read."""
    stats = {name: (folder / name).stat() for name in names(folder)}
    return {name: (at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in stats.items()}


def test_a_refused_claim_leaves_everything_as_it_was(tmp_path: Path) -> None:
    held = claim(tmp_path)
    before = _as_they_are(tmp_path)
    refusal(tmp_path)
    assert _as_they_are(tmp_path) == before
    held.release(clean=True)


def test_of_many_at_once_one_gets_it_and_the_others_name_it(tmp_path: Path, spawn: Spawn) -> None:
    code = """
        say("here"); sys.stdin.readline()
        try:
            held = claim()
            say("got", os.getpid())
        except ConfigError as error:
            say(error)
        sys.stdin.read()
    """
    processes = [spawn(code, tmp_path) for _ in range(4)]
    assert [told(process) for process in processes] == ["here"] * 4
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [told(process) for process in processes]
    winners = [answer.split()[1] for answer in answers if answer.startswith("got")]
    assert len(winners) == 1
    assert sum(f"is held by process {winners[0]} " in answer for answer in answers) == 3


def test_a_lock_held_by_one_who_did_not_sign(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "held by another process that has not written its name" in refusal(tmp_path)
        file.write("[]")
        file.flush()
        assert "held by another process that has not written its name" in refusal(tmp_path)


def test_a_holder_that_signs_late_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def sign() -> None:
            file.write('{"pid":%d,"bot":"late","host":"elsewhere"}' % 7)
            file.flush()

        timer = threading.Timer(0.02, sign)
        timer.start()
        assert "process 7 on elsewhere: bot 'late'" in refusal(tmp_path)
        timer.join()


def test_the_lock_is_not_inherited_by_other_programs(tmp_path: Path) -> None:
    held = claim(tmp_path)
    with subprocess.Popen(["sleep", "100"], close_fds=False) as other:
        held.release(clean=True)
        held = claim(tmp_path)
        open_there = {os.readlink(link) for link in Path(f"/proc/{other.pid}/fd").iterdir()}
        other.kill()
    assert str(tmp_path / "state" / "lock") not in open_there
    held.release(clean=True)


NO_FLOCK = """
    import ctypes, platform
    number = {"x86_64": 73, "aarch64": 32}.get(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
    # load the call's number; if it is flock: fail with ENOLCK, else: let it through
    rules = (Filter * 4)((0x20, 0, 0, 0), (0x15, 0, 1, number or 0), (0x06, 0, 0, 0x50000 | 37), (0x06, 0, 0, 0x7FFF0000))
    program = Program(4, rules)
    ready = number and not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, ctypes.byref(program), 0, 0)
    say("ready" if ready else "cannot")
    held = claim()
    say(held.locked)
    held.touch()
    held.release(clean=True)
    say("released")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is told to refuse flock, as Linux can")
def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, spawn: Spawn) -> None:
    process = spawn(NO_FLOCK, tmp_path)
    if told(process) != "ready":
        pytest.skip("this kernel does not let a process refuse itself a system call")
    assert "on a file system without locks: nothing keeps a second process" in told(process)
    assert told(process) == "False"
    assert told(process) == "released"
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.clean
    held.release(clean=True)


# --- how the last run ended ----------------------------------------------------------------------------------


def test_a_clean_end_is_known(tmp_path: Path) -> None:
    clock = OwnClock()
    held = claim(tmp_path, clock)
    clock.now += 5 * MINUTE
    held.release(clean=True)
    assert not held.locked
    run = orjson.loads((tmp_path / "state" / "run.json").read_bytes())
    assert (run["clean"], run["ended"]) == (True, rfc3339(START + 5 * MINUTE))
    held = claim(tmp_path)
    assert held.previous == PreviousRun(
        run_id="run-1",
        pid=os.getpid(),
        bot="trend",
        started=rfc3339(START),
        last_seen=rfc3339(START + 5 * MINUTE),
        clean=True,
        rebooted=False if sys.platform == "linux" else None,
    )
    assert not held.previous.unclean
    held.release(clean=False)
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.unclean
    held.release(clean=True)


def test_a_killed_run_is_noticed_once(tmp_path: Path, spawn: Spawn) -> None:
    holder = spawn(HOLD, tmp_path)
    assert told(holder) == "ready"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.unclean
    assert (held.previous.run_id, held.previous.pid) == (f"run-{holder.pid}", holder.pid)
    assert held.previous.started is not None
    assert held.previous.last_seen is not None
    assert held.previous.started <= held.previous.last_seen
    held.release(clean=True)
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.clean
    held.release(clean=True)


def test_signs_of_life(tmp_path: Path) -> None:
    clock = OwnClock()
    held = claim(tmp_path, clock)
    content = held.state / "run.json"
    before = content.read_bytes()
    assert content.stat().st_mtime_ns == START
    clock.now += MINUTE
    held.touch()
    assert content.stat().st_mtime_ns == START + MINUTE
    assert content.read_bytes() == before
    held.abandon()  # as if it had died
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.last_seen == rfc3339(START + MINUTE)
    held.release(clean=True)
    clock.now += MINUTE
    held.touch()  # after the end: nothing
    assert content.stat().st_mtime_ns == START


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\x00binary",
        b"[]",
        b"5",
        b"null",
        b'{"run_id": 5, "clean": 1, "pid": "x"}',
        b'{"clean":"true"}',
    ],
)
def test_a_damaged_record_counts_as_unclean(tmp_path: Path, content: bytes) -> None:
    claim(tmp_path).release(clean=True)
    (tmp_path / "state" / "run.json").write_bytes(content)
    held = claim(tmp_path)
    assert held.previous is not None
    assert held.previous.unclean
    assert (held.previous.run_id, held.previous.pid, held.previous.bot) == (None, None, None)
    assert held.previous.last_seen is not None
    held.release(clean=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's boot id")
def test_a_restart_of_the_machine_is_told_from_a_crash(tmp_path: Path) -> None:
    held = claim(tmp_path)
    held.abandon()
    path = tmp_path / "state" / "run.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "boot_id": "another"}))
    held = claim(tmp_path)
    assert held.previous is not None
    assert (held.previous.unclean, held.previous.rebooted) == (True, True)
    held.release(clean=True)


def test_release_and_abandon_are_idempotent(tmp_path: Path) -> None:
    held = claim(tmp_path)
    held.release(clean=True)
    other = claim(tmp_path)
    held.release(clean=False)
    held.abandon()
    assert "is held by" in refusal(tmp_path)
    other.release(clean=True)
    assert orjson.loads((tmp_path / "state" / "run.json").read_bytes())["clean"] is True


def test_the_directory_is_given_back_even_if_the_end_cannot_be_written(tmp_path: Path) -> None:
    held = claim(tmp_path)
    (held.state / "run.json").unlink()
    (held.state / "run.json").mkdir()
    with pytest.raises(OSError):
        held.release(clean=True)
    (held.state / "run.json").rmdir()
    claim(tmp_path).release(clean=True)


def test_clocks_gone_mad(tmp_path: Path) -> None:
    clock = OwnClock()
    clock.now = 10**30
    held = claim(tmp_path, clock)
    held.touch()
    held.release(clean=True)

    class Silent(OwnClock):
        def time_ns(self) -> int:
            raise RuntimeError("no bar yet")

    with pytest.raises(ConfigError, match="clock = Silent is wrong: asked for the time, it raised RuntimeError"):
        claim(tmp_path, Silent())
    claim(tmp_path).release(clean=True)


# --- after fork ----------------------------------------------------------------------------------------------


FORK = """
    held = claim()
    child = os.fork()
    if child == 0:
        held.{act}
        say("child", held.locked)
        sys.stdin.read()
        os._exit(0)
    sys.stdin.read()
"""


@pytest.mark.parametrize("act", ["abandon()", "release(clean=True)"])
def test_a_forked_child_gives_up_its_copy_and_the_parent_keeps_the_lock(tmp_path: Path, spawn: Spawn, act: str) -> None:
    parent = spawn(FORK.format(act=act), tmp_path)
    assert told(parent) == "child False"
    assert f"is held by process {parent.pid} " in refusal(tmp_path)
    parent.kill()
    parent.wait()
    held = claim(tmp_path)  # although the child lives on
    assert held.previous is not None
    assert held.previous.unclean  # the child did not write the parent's end
    held.release(clean=True)


def test_a_child_that_keeps_its_copy_is_explained(tmp_path: Path, spawn: Spawn) -> None:
    parent = spawn(FORK.format(act="touch()"), tmp_path)
    assert told(parent) == "child True"
    parent.kill()
    parent.wait()
    message = refusal(tmp_path)
    assert f"is held by process {parent.pid} " in message
    assert "(it seems to have ended: one that it forked may hold on)" in message


def test_a_release_frees_the_lock_although_a_child_has_a_copy(tmp_path: Path, spawn: Spawn) -> None:
    code = """
        held = claim()
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        held.release(clean=True)
        say("released")
        sys.stdin.read()
    """
    assert told(spawn(code, tmp_path)) == "released"
    claim(tmp_path).release(clean=True)


# --- small files ---------------------------------------------------------------------------------------------


def test_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    atomic_write(path, b"old content")
    os.link(path, tmp_path / "hard link to the old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "hard link to the old").read_bytes() == b"old content"  # never written in place
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(names(tmp_path)) == 2


def test_atomic_write_survives_a_limit_by_leaving_the_old_file(tmp_path: Path, spawn: Spawn) -> None:
    code = """
        import resource
        atomic_write(path, b"old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            atomic_write(path, bytes(10_000))
        except OSError as error:
            say(error.strerror)
    """
    assert told(spawn(code, tmp_path / "small")) == "File too large"
    assert (tmp_path / "small").read_bytes() == b"old"
    assert names(tmp_path) == {"small"}


def test_atomic_write_that_cannot_be_renamed_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "small" / "full").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "small", b"x")
    assert names(tmp_path) == {"small", "small/full"}


def test_writers_at_once_leave_one_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "small"
    contents = [bytes([65 + number]) * 5000 for number in range(4)]
    seen: set[bytes] = set()
    atomic_write(path, contents[0])
    threads = [threading.Thread(target=lambda c=c: [atomic_write(path, c) for _ in range(10)]) for c in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert seen <= set(contents)
    assert names(tmp_path) == {"small"}


def test_a_kill_at_any_moment_leaves_old_or_new(tmp_path: Path, spawn: Spawn) -> None:
    code = """
        for number in range(10**9):
            atomic_write(path, b"%d " % number * 500)
            if number == 20:
                say("going")
    """
    process = spawn(code, tmp_path / "small")
    assert told(process) == "going"
    process.kill()
    process.wait()
    parts = (tmp_path / "small").read_bytes().split()
    assert len(parts) == 500
    assert len(set(parts)) == 1


def test_old_drafts_are_swept_and_young_ones_left(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    old, young = state / ".run.json.0123.tmp", state / ".kill_switch.json.4567.tmp"
    for draft in (old, young):
        draft.write_text("half")
    day_ago = SystemClock().time_ns() - 86_400 * 10**9
    os.utime(old, ns=(day_ago, day_ago))
    claim(tmp_path).release(clean=True)
    assert not old.exists()
    assert young.exists()
