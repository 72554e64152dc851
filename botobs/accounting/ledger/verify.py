"""Whether the ledger is whole: the first line that was lost, changed or reordered, in all its files."""

from __future__ import annotations

import os
from binascii import hexlify
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import attrs

from botobs.accounting.ledger.chain import FIRST, SEAL, digest_of, is_sealed, link, seq_of
from botobs.accounting.ledger.scan import blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.accounting.ledger.reading import Part, Reader

__all__ = ["Known", "Verification", "verify"]

_LARGEST_LINE: Final = 16 << 20

Known = tuple[int, bytes]  # the number and the hash of a line that somebody remembers


@attrs.frozen(kw_only=True)
class Verification:
    """What a verification found.

    Attributes:
        lines: How many lines are as they were written, from the first on.
        files: How many files were read.
        last_seq: The last of these lines.
        problem: What is wrong with the ledger; None: it is whole.
        seq: The first line that is concerned.
        file: Where it is, or where it should be.
        line_no: The line in that file, from 1.
        pending: How many lines are in the writer's memory only.
        notes: What else there is to know, without being wrong.
    """

    lines: int
    files: int
    last_seq: int = 0
    problem: str | None = None
    seq: int | None = None
    file: str | None = None
    line_no: int | None = None
    pending: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no line was lost, changed or reordered."""
        return self.problem is None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.problem is None:
            return f"{self.lines:,} lines in {self.files} files: whole"
        return f"{self.file}, line {self.line_no}, seq {self.seq}: {self.problem}"


def verify(
    reader: Reader, parts: Sequence[Part], *, pending: Sequence[bytes], known: Sequence[Known], notes: Sequence[str]
) -> Verification:
    """Check all lines in `parts`, then those in memory.

    Args:
        reader: Opens the parts.
        parts: All files of the ledger, as they were at one moment.
        pending: The lines in the writer's memory at that moment, without their ends.
        known: What was remembered before that moment.
        notes: What is known already.
    """
    walk = _Walk(reader, parts, dict(known), list(notes))
    try:
        for part in parts:
            if not walk.file(part):
                break
        else:
            walk.memory(pending)
            walk.end(max((seq for seq, _ in known), default=0))
    except OSError as error:
        walk.fail(f"cannot be read: {error}", walk.expected)
    return walk.result(len(pending))


class _Walk:
    """Goes through the lines in order."""

    def __init__(self, reader: Reader, parts: Sequence[Part], known: dict[int, bytes], notes: list[str]) -> None:
        self.expected = 1
        self._reader = reader
        self._parts = parts
        self._known = known
        self._notes = notes
        self._digest = FIRST
        self._files = 0
        self._name = str(parts[-1].path) if parts else str(reader.live)
        self._line_no = 0
        self._stray: tuple[str, int] | None = None  # something that is no line, where the next one should be
        self._problem: tuple[str, int, str, int] | None = None

    def file(self, part: Part) -> bool:
        """Check the lines of a file; whether all are as they should be."""
        self._name, self._line_no = str(part.path), 0
        self._files += 1
        with self._reader.opening(part) as (fd, size):
            read = 0
            for block in blocks(fd, 0, size):
                if not self._lines(block):
                    return False
                read += sum(map(len, block)) + len(block)
            if read == size:
                return True
            rest = os.pread(fd, min(size - read, _LARGEST_LINE), read)
            if is_sealed(rest):  # lacks nothing but its end, which the repair will give it
                return self._lines([rest])
            self._notes.append(f"{size - read} bytes at the end of {part.path} are no whole line as yet")
        return True

    def memory(self, pending: Sequence[bytes]) -> None:
        """Check the lines that are not in a file."""
        if pending:
            self._name, self._line_no = "memory", 0
            self._lines(pending)

    def end(self, last: int) -> None:
        """Check whether the end is the end."""
        if self._problem is None and last >= self.expected:
            if self._stray is not None:
                self._fail_at_stray()
            else:
                self._line_no += 1
                self.fail(
                    f"last lines missing: the head knows seq {last}, the last line is seq {self.expected - 1}",
                    self.expected,
                )
        elif self._problem is None and self._stray is not None and self.expected == 1:
            self._name, self._line_no = self._stray
            self.fail("no line is one of a ledger", 1)  # nor does anybody know of one: nothing can be called whole
        elif self._problem is None:
            self._pass_stray()

    def fail(self, what: str, seq: int) -> None:
        """Note the problem."""
        self._problem = (what, seq, self._name, self._line_no)

    def result(self, pending: int) -> Verification:
        """What was found."""
        what, seq, file, line_no = self._problem or (None, None, None, None)
        if pending:
            self._notes.append(f"{pending} lines are in memory only")
        return Verification(
            lines=self.expected - 1,
            files=self._files,
            last_seq=self.expected - 1,
            problem=what,
            seq=seq,
            file=file,
            line_no=line_no,
            pending=pending,
            notes=tuple(self._notes),
        )

    def _lines(self, lines: Sequence[bytes]) -> bool:
        expected, digest, line_no = self.expected, self._digest, self._line_no
        for line in lines:
            line_no += 1
            following = blake2b(digest + line[:-SEAL], digest_size=16).digest()
            if line[-SEAL:] == b',"hash":"%b"}' % hexlify(following) and line.startswith(b'{"seq":%d,' % expected):
                digest = following
                expected += 1
                if self._stray is None and expected - 1 not in self._known:
                    continue
            self.expected, self._digest, self._line_no = expected, digest, line_no
            if digest is following:
                if not self._is_as_known():
                    return False
            elif is_sealed(line):
                self._diagnose(line)
                return False
            elif self._stray is None:
                self._stray = (self._name, line_no)
        self.expected, self._digest, self._line_no = expected, digest, line_no
        return True

    def _is_as_known(self) -> bool:
        """Look closer at a line that is chained as it should be."""
        seq = self.expected - 1
        self._pass_stray()
        if self._known.get(seq, self._digest) == self._digest:
            return True
        self.expected = seq
        self.fail("line changed: its hash is not the one that the head knows", seq)
        return False

    def _diagnose(self, line: bytes) -> None:
        """Say what happened where a line does not follow the one before."""
        seq, expected = seq_of(line), self.expected
        if self._stray is not None:
            self._fail_at_stray()
        elif seq == expected or self._was(expected, line):
            self.fail("line changed", expected)
        elif seq < expected:
            self.fail(f"out of order: seq {seq} stands behind seq {expected - 1}", seq)
        elif self._comes_later(expected):
            self.fail(f"out of order: seq {seq} stands before seq {expected}", seq)
        else:
            gap = f"seq {expected} to {seq - 1}" if seq - 1 > expected else f"seq {expected}"
            self.fail(f"{gap} missing", expected)

    def _was(self, seq: int, line: bytes) -> bool:
        """Whether only the number in `line` was changed."""
        body = b'{"seq":%d%b' % (seq, line[line.index(b",") : -SEAL])
        return link(self._digest, body) == digest_of(line)

    def _comes_later(self, seq: int) -> bool:
        start = b'{"seq":%d,' % seq
        for part in self._parts:
            with self._reader.opening(part) as (fd, size):
                for block in blocks(fd, 0, size):
                    if any(line.startswith(start) for line in block):
                        return True
        return False

    def _pass_stray(self) -> None:
        if self._stray is not None:
            self._notes.append(f"{self._stray[0]}, line {self._stray[1]}: not a line of the ledger; none is missing")
            self._stray = None

    def _fail_at_stray(self) -> None:
        assert self._stray is not None
        self._name, self._line_no = self._stray
        self.fail("line changed: it is none any more", self.expected)
