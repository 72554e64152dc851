"""A sign of life that can be judged from outside: whether the process is dead, or lives and decides nothing.

`state/alive` is laid out once and then written over in place, 512 bytes every second: that needs no room on a full
disk. Ages are told by the machine's steady counter as long as it runs, so that setting its clock makes nobody dead.
"""

from __future__ import annotations

import contextlib
import os
import socket
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import orjson

from botobs.clock import SystemClock
from botobs.runfile import boot_id
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from botobs.clock import Clock

__all__ = ["Alive", "Verdict", "judge"]

_SIZE = 512
_S = 1_000_000_000


@attrs.frozen
class Verdict:
    """How a bot looks from outside.

    Attributes:
        state: `alive`; `silent`: the process lives and decides nothing; `dead`: it is gone, or hangs as a whole;
            `ended`: it ended in good order; `unknown`: there is no sign of life that could be judged.
        age_s: Seconds since the last sign of life.
        decided_s: Seconds since the last decision, where one is known.
        pid: The process.
        why: In words.
    """

    state: Literal["alive", "silent", "dead", "ended", "unknown"]
    age_s: float | None = None
    decided_s: float | None = None
    pid: int | None = None
    why: str = ""


class Alive:
    """Leaves the signs of life of this process in `state/alive`.

    Args:
        folder: The directory `state/` of the run.
        clock: The machine's clock: it is the process that lives, whatever clock the bot trades by.

    Raises:
        OSError: The file cannot be laid out.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._pid = os.getpid()
        self._who = {"pid": self._pid, "ns": _namespace(), "host": socket.gethostname()[:64], "boot": boot_id()}
        self._file = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.touch()
        except BaseException:
            os.close(self._file)
            raise

    def touch(self, *, decided_s: float | None = None, limit_s: float | None = None, ended: bool = False) -> None:
        """Leave a sign of life; about once a second.

        Args:
            decided_s: Seconds since the last decision.
            limit_s: How many of them are too many.
            ended: It is the last one, in good order.

        Raises:
            OSError: The disk refused.
        """
        if self._file < 0 or os.getpid() != self._pid:
            return
        said = {
            **self._who,
            "wall": self._clock.time_ns(),
            "steady": self._clock.perf_ns(),
            "decided_s": decided_s,
            "limit_s": limit_s,
            "ended": ended,
        }
        body = dumps(said)  # a clock may say anything
        os.pwrite(self._file, (b"%08x %b" % (zlib.crc32(body), body)).ljust(_SIZE - 1) + b"\n", 0)

    def close(self, *, ended: bool = True) -> None:
        """Leave the last sign of life, `ended` in good order or not, and close the file."""
        file = self._file
        if file < 0:
            return
        with contextlib.suppress(OSError):
            self.touch(ended=ended)
        self._file = -1
        with contextlib.suppress(OSError):
            os.close(file)

    def abandon(self) -> None:
        """In a forked child: let go of the file and leave no sign of life of the parent's."""
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.close(file)


def judge(folder: Path | str, *, dead_after_s: float = 30.0, clock: Clock | None = None) -> Verdict:
    """How the bot looks whose `state/` is `folder`, from any process on any machine that can read it. Never raises.

    Args:
        folder: The directory `state/` of its `data_dir`.
        dead_after_s: Without a sign of life for longer it is dead.
        clock: Tells the time.
    """
    try:
        said = _read(Path(folder) / "alive")
        return _judged(said, dead_after_s, clock or SystemClock())
    except FileNotFoundError:
        return Verdict("unknown", why="it has left no sign of life")
    except Exception as error:
        return Verdict("unknown", why=f"its sign of life cannot be read: {type(error).__name__}: {error}"[:200])


def _read(path: Path) -> dict[str, Any]:
    for attempt in range(3):
        content = path.read_bytes()[:_SIZE]
        check, _, body = content.rstrip().partition(b" ")
        if check == b"%08x" % zlib.crc32(body):
            said: dict[str, Any] = orjson.loads(body)
            return said
        if attempt == 2:
            break
    raise ValueError("it is damaged")


def _judged(said: dict[str, Any], dead_after_s: float, clock: Clock) -> Verdict:
    pid, decided_s, limit_s = said["pid"], said["decided_s"], said["limit_s"]
    here = said["host"] == socket.gethostname()[:64]
    same_boot = here and said["boot"] is not None and said["boot"] == boot_id()
    since = clock.perf_ns() - said["steady"] if same_boot else clock.time_ns() - said["wall"]
    age_s = max(since, 0) / _S
    if decided_s is not None:
        decided_s += age_s

    def verdict(state: Literal["alive", "silent", "dead", "ended"], why: str) -> Verdict:
        return Verdict(state, round(age_s, 3), None if decided_s is None else round(decided_s, 3), pid, why)

    if said["ended"]:
        return verdict("ended", "it ended in good order")
    if here and said["boot"] is not None and not same_boot:
        return verdict("dead", "the machine was started anew since")
    # a container has process ids of its own: there this one may be somebody else, or nobody
    if same_boot and said["ns"] == _namespace() and not _exists(pid):
        return verdict("dead", f"process {pid} is gone")
    if age_s > dead_after_s:
        return verdict("dead", f"no sign of life for {age_s:.0f} s")
    if decided_s is not None and limit_s is not None and decided_s > limit_s:
        return verdict(
            "silent", f"it lives and has decided nothing for {decided_s:.0f} s, with a limit of {limit_s:.0f} s"
        )
    return verdict("alive", "it lives")


def _namespace() -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # its target is a name, not a path
    return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
