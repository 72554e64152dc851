"""The lines of one file: forwards in blocks, backwards from the end, and by bisection to a number."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from botobs.accounting.ledger.chain import seq_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["backwards", "blocks", "place"]

_BLOCK: Final = 1 << 20
_FIRST_BLOCK: Final = 16_384  # often one line is all that is wanted
_LITTLE: Final = 8_192  # bytes that are sooner read than searched
_START: Final = 40  # bytes of a line that surely show its number


def blocks(fd: int, at: int, end: int) -> Iterator[list[bytes]]:
    """The whole lines from position `at`, many at a time, without their ends; what has no end is no line yet."""
    rest: list[bytes] = []
    size = _FIRST_BLOCK
    while at < end:
        block = os.pread(fd, min(size, end - at), at)
        if not block:
            return
        at, size = at + len(block), min(size * 4, _BLOCK)
        cut = block.rfind(b"\n")
        if cut < 0:
            rest.append(block)
            continue
        rest.append(block[:cut])
        yield b"".join(rest).split(b"\n")
        rest = [block[cut + 1 :]]


def backwards(fd: int, size: int) -> Iterator[bytes]:
    """The lines from the last to the first; what stands behind the last line end comes first, if only as nothing."""
    at, step, rest = size, 65_536, b""
    while at > 0:
        start = max(0, at - step)
        rest, *lines = (os.pread(fd, at - start, start) + rest).split(b"\n")
        yield from reversed(lines)
        at, step = start, step * 2
    yield rest


def place(fd: int, size: int, seq: int) -> int:
    """Where to begin reading to find the line `seq` and all that follow it."""
    low, high = 0, size  # a line begins at `low`; the first that begins behind `high` is `seq` or later
    while high - low > _LITTLE:
        middle = (low + high) // 2
        found = _next_line(fd, middle, high)
        if found is not None and found[1] < seq:
            low = found[0]
        else:
            high = middle
    return low


def _next_line(fd: int, at: int, end: int) -> tuple[int, int] | None:
    """Where the first line behind `at` begins, and its number; None if none with a number begins before `end`."""
    while at < end:
        data = os.pread(fd, _LITTLE, at)
        if not data:
            return None
        cut = data.find(b"\n")
        while cut >= 0:
            begin = at + cut + 1
            if begin >= end:
                return None
            start = data[cut + 1 : cut + 1 + _START]
            number = seq_of(start if len(start) == _START else os.pread(fd, _START, begin))
            if number:
                return begin, number
            cut = data.find(b"\n", cut + 1)
        at += len(data)
    return None
