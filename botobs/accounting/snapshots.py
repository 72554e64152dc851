"""What every book was at the turn of each hour: so that a window need not read what lies before it.

A line says: with all ledger lines up to `seq`, these books were so before `at`. It has the books touched since the line
before; once in a while one has them all. Nothing here is needed to be right: what is missing or doubtful is composed
from the ledger.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from botobs.accounting.valuation import BookKey

__all__ = ["Snapshots"]

_FULL_EVERY = 24
_NEVER = "9999"


class Snapshots:
    """Keeps them in a file, or in memory where there is none.

    Args:
        path: The file; `None`: memory.
        writing: Whether to write; a reader never does.

    Attributes:
        boundary: An entry at or after this time begins a new hour.
        touched: The books changed since the last line.
    """

    def __init__(self, path: Path | None, *, writing: bool = True) -> None:
        self._path = path
        self._writing = writing
        self._lines: list[bytes] = []  # without a file
        self._places: list[tuple[str, int, int, int, bool]] = []  # at, seq, offset, length, whether it has all books
        self._size = 0
        self.boundary = ""
        self.touched: set[BookKey] = set()
        self.failed: OSError | None = None

    @property
    def known(self) -> list[Any]:
        """What a checkpoint keeps: the boundary, and how many lines there are, so that a missing one is noticed."""
        return [self.boundary, len(self._places)]

    def load(self, most_seq: int, known: list[Any]) -> None:
        """Read what is there up to a checkpoint, which had `known`; what came after it will be written again.

        A line has only what changed since the line before: if one is missing or damaged all begin anew.
        """
        try:
            self._load(most_seq)
        except OSError as error:
            self._places, self.failed = [], error
        self.boundary, count = known
        del self._places[count:]
        if len(self._places) < count:
            self._places = []
        self._size = self._places[-1][2] + self._places[-1][3] + 1 if self._places else 0

    def _load(self, most_seq: int) -> None:
        self._places = []
        if self._path is None or not self._path.exists():
            return
        at = 0
        with self._path.open("rb") as file:  # line by line: after years it is larger than all else in memory
            for line in file:
                place = _place(line[:-1], at) if line.endswith(b"\n") else None
                if place is None or place[1] > most_seq:
                    break
                self._places.append(place)
                at += len(line)

    def clear(self) -> None:
        """Begin anew: the ledger is composed from its first line."""
        self._places, self._lines, self._size, self.boundary = [], [], 0, ""
        self.touched.clear()
        if self._path is not None and self._writing:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                self.failed = error

    def pass_over(
        self, ts: str, seq: int, books: Mapping[BookKey, Book], unsure: Container[BookKey] = frozenset()
    ) -> str:
        """An entry of `ts` comes after line `seq`: keep what the books were before its hour; the next boundary.

        Books that are `unsure` are not what they should be at this moment; whoever needs them composes them.
        """
        at = f"{ts[:13]}:00:00.000000Z"
        self.touched.update(key for key in books if key in unsure)
        if self.touched:
            full = len(self._places) % _FULL_EVERY == 0
            chosen = books if full else {key: books[key] for key in self.touched if key in books}
            states = {key: None if key in unsure else book.state() for key, book in chosen.items()}
            self._write(at, seq, states, full=full)
            self.touched.clear()
        self.boundary = _after(at)
        return self.boundary

    def before(
        self, ts: str, most_seq: int, *, only: BookKey | None = None
    ) -> tuple[str, int, dict[BookKey, Book | None]]:
        """The newest there is from at or before `ts` and line `most_seq`: its time, the ledger's line, the books.

        A book that is `None` has to be composed. With `only`, that book alone.
        """
        found = _bisect(self._places, ts)
        while found >= 0 and self._places[found][1] > most_seq:
            found -= 1
        if found < 0:
            return "", 0, {}
        states: dict[BookKey, Any] = {}
        for place in range(found, -1, -1):
            line = self._read(place)
            if line is None:
                return "", 0, {}
            for key, state in line["books"]:
                states.setdefault(tuple(key), state)
            if self._places[place][4]:
                break
        at, seq = self._places[found][:2]
        if only is not None:
            states = {only: states[only]} if only in states else {}
        return at, seq, {key: None if state is None else Book.of_state(state) for key, state in states.items()}

    def _write(self, at: str, seq: int, states: Mapping[BookKey, Any], *, full: bool) -> None:
        body = orjson.dumps({"at": at, "seq": seq, "full": full, "books": list(states.items())})
        line = b'%b,"crc":%d}' % (body[:-1], zlib.crc32(body))
        if self._path is None:
            self._places.append((at, seq, len(self._lines), 0, full))
            self._lines.append(line)
            return
        if not self._writing:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(file, self._size)
                if os.write(file, line + b"\n") != len(line) + 1:
                    os.ftruncate(file, self._size)
                    return
            finally:
                os.close(file)
        except OSError as error:  # it only makes windows quick
            self.failed = error
            return
        self._places.append((at, seq, self._size, len(line), full))
        self._size += len(line) + 1

    def _read(self, index: int) -> dict[str, Any] | None:
        _, _, offset, length, _ = self._places[index]
        if self._path is None:
            line = self._lines[offset]
        else:
            try:
                file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None
            try:
                line = os.pread(file, length, offset)
            finally:
                os.close(file)
        return _parsed(line)


def _place(line: bytes, offset: int) -> tuple[str, int, int, int, bool] | None:
    parsed = _parsed(line)
    if parsed is None:
        return None
    return parsed["at"], parsed["seq"], offset, len(line), parsed["full"]


def _parsed(line: bytes) -> dict[str, Any] | None:
    body, _, crc = line.rpartition(b',"crc":')
    if not crc.endswith(b"}") or crc[:-1] != b"%d" % zlib.crc32(body + b"}"):
        return None
    try:
        found = orjson.loads(body + b"}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _bisect(places: list[tuple[str, int, int, int, bool]], ts: str) -> int:
    """The index of the last place at or before `ts`, or -1."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if places[middle][0] <= ts:
            low = middle + 1
        else:
            high = middle
    return low - 1


def _after(at: str) -> str:
    """The hour after the one that begins at `at`; only compared with, so 24 o'clock will do."""
    hour = int(at[11:13]) + 1
    return f"{at[:11]}{hour:02d}" if hour < 24 else f"{at[:10]}U"
