"""Rotated files become gzip archives, on a thread of low priority, in steps that a crash cannot spoil."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING

from botobs.datadir import sync_directory, write_all
from botobs.streams.names import Archived

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.faults import Faults

__all__ = ["ArchiveFolder"]

_CHUNK = 65_536
_LEVEL = 6
_GZIP = 31  # zlib's name for its gzip format with the largest window
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class ArchiveFolder:
    """Compresses what lies in the archive folder.

    What an earlier run left behind is finished first: half-made archives are thrown away, files that have
    their archive already are removed, the others compressed.

    Args:
        folder: Where rotated files are put.
        faults: Gets what fails.
        inline: Compress on the caller's thread, for backtests.
    """

    def __init__(self, folder: Path, faults: Faults, *, inline: bool = False) -> None:
        self.folder = folder
        self._inline = inline
        self._faults = faults
        self._changed = threading.Condition()
        self._waiting: list[Path] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._quit = False
        leftovers = self._leftovers()
        if leftovers:
            self._start(leftovers)

    def add(self, path: Path) -> None:
        """Have `path` compressed, soon; returns at once."""
        self._start([path])

    def close(self, deadline: float) -> bool:
        """Finish until `deadline` (`time.monotonic`); False if something is left for the next start."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
            self._quit = True
            return not thread.is_alive()
        return True

    def abandon(self) -> None:
        """Forget everything: after a fork, in the child, where the thread does not exist."""
        self._closing = self._quit = True
        self._changed = threading.Condition()
        self._waiting, self._thread = [], None

    def _leftovers(self) -> list[Path]:
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if entry.name.endswith((".jsonl", ".gz.tmp"))]
        except FileNotFoundError:  # nothing was ever rotated
            return []
        except OSError as error:
            self._faults.say("archive", "folder", f"what an earlier run left in {self.folder} stays as it is: {error}")
            return []
        return [self.folder / name for name in sorted(names)]

    def _start(self, paths: list[Path]) -> None:
        if self._inline:
            for path in paths:
                self._settle(path)
            return
        with self._changed:
            if self._closing:
                return
            self._waiting += paths
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="botobs-archive", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no threads to be had, or the interpreter is going down
                    self._thread, self._closing = None, True
                    self._faults.say("archive", "thread", f"rotated files stay uncompressed: {error}")
            else:
                self._changed.notify_all()

    def _run(self) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # on Linux a thread has a priority of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting or self._quit:
                    return
                path = self._waiting.pop(0)
            # strict mode raises what is reported; the thread goes on
            with contextlib.suppress(Exception):
                self._settle(path)

    def _settle(self, path: Path) -> None:
        try:
            if path.name.endswith(".tmp"):
                path.unlink(missing_ok=True)
            elif Archived.parse(path.name):
                self._compress(path, path.with_name(f"{path.name}.gz"))
        except FileNotFoundError:  # taken away by somebody
            return
        except Exception as error:  # stays as it is, readable; the next start tries again
            self._faults.error("archive", error)

    def _compress(self, source: Path, target: Path) -> None:
        if _holds(target, source.stat().st_size):
            source.unlink()
            return
        draft = target.with_name(f"{target.name}.tmp")
        try:
            if not self._squeeze(source, draft):
                return
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(target.parent)
        source.unlink()

    def _squeeze(self, source: Path, draft: Path) -> bool:
        # plain descriptors: a forked child would inherit a file object's buffer and write it a second time
        with contextlib.ExitStack() as stack:
            reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, reading)
            writing = os.open(draft, _WRITE, 0o600)
            stack.callback(os.close, writing)
            squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            while chunk := os.read(reading, _CHUNK):  # zlib lets go of the GIL while it works on it
                if self._quit:
                    return False
                write_all(writing, squeeze.compress(chunk))
            write_all(writing, squeeze.flush())
            os.fsync(writing)
        return True


def _holds(archive: Path, size: int) -> bool:
    """Whether `archive` is the complete archive of a file of that size; it ends in the size, by format."""
    try:
        with archive.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            return int.from_bytes(file.read(4), "little") == size % 2**32
    except OSError:
        return False
