"""The bytes of a statement: a path or an open file, packed or not, in whatever encoding an exchange or Excel chose."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import IO, Any

from botobs.errors import BotobsError

__all__ = ["Source"]

_HEAD = 65_536
_PACKED = b"\x1f\x8b"


class Source:
    """One statement, read once from its beginning to its end.

    Args:
        given: A path, or a file open for reading, binary or text; a file that is given is not closed.

    Attributes:
        name: What to call it in messages.
        head: The first 64 KiB as text.
        short: Whether that is all of it.
        size: Bytes on disk, if known; for a progress bar.

    Raises:
        BotobsError: It cannot be read; the message says why, and what would be right.
    """

    def __init__(self, given: Any) -> None:
        self._own: IO[bytes] | None = None
        self.size: int | None = None
        self._feed = self._opened(given)
        try:
            start = self._feed.take(4)
            self._feed.put_back(start)
            if start[:2] == _PACKED:
                self._feed = _Unpacked(self._feed)
            self._refuse_foreign(self._feed)
            begin = self._feed.take(_HEAD)
            self.short = len(begin) < _HEAD
            self._feed.put_back(begin)
        except (OSError, ValueError, EOFError, zlib.error) as error:
            self.close()
            raise BotobsError(f"{self.name} cannot be read: {_why(error)}") from None
        except BaseException:
            self.close()
            raise
        self._encoding = _encoding(begin)
        self.head = begin.decode(self._encoding, "replace").lstrip("\ufeff")

    def _opened(self, given: Any) -> _Feed:
        if isinstance(given, str | os.PathLike):
            path = Path(os.fsdecode(given))
            self.name = str(path)
            try:
                self._own = path.open("rb")
                self.size = os.fstat(self._own.fileno()).st_size
            except (OSError, ValueError) as error:
                self.close()
                raise BotobsError(f"{self.name} cannot be read: {_why(error)}") from None
            return _Feed(self._own)
        self.name = str(getattr(given, "name", None) or "the statement")
        if not callable(getattr(given, "read", None)):
            raise BotobsError(f"a statement is a path or a file open for reading, not {type(given).__name__}")
        return _Feed(given)

    def _refuse_foreign(self, feed: _Feed) -> None:
        begin = feed.take(512)
        feed.put_back(begin)
        if not begin.strip(b"\xef\xbb\xbf \t\r\n"):
            raise BotobsError(f"{self.name} is empty; a statement is JSON, JSON lines or CSV with a header")
        if begin[:4] == b"PK\x03\x04" or begin[:4] == b"\xd0\xcf\x11\xe0":
            raise BotobsError(f"{self.name} is a workbook or an archive; save it as CSV (UTF-8), or unpack it")
        if begin[:5] == b"%PDF-" or begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            raise BotobsError(f"{self.name} is a document; a statement is JSON, JSON lines or CSV with a header")
        if begin[:4] == b"PAR1":
            raise BotobsError(f"{self.name} is Parquet; a statement is JSON, JSON lines or CSV with a header")

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._feed.bytes_read

    def text(self) -> io.TextIOWrapper:
        """The whole as text; lines keep their ends, what is no text is replaced."""
        encoding = "utf-8-sig" if self._encoding == "utf-8" else self._encoding
        return io.TextIOWrapper(
            io.BufferedReader(_Raw(self._feed), _HEAD), encoding=encoding, errors="replace", newline=""
        )

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._own is not None:
            self._own.close()


class _Feed:
    """Takes bytes from a file, whether it gives bytes or text; what was looked at can be put back."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._back = b""
        self._read = 0

    @property
    def bytes_read(self) -> int:
        return self._read - len(self._back)

    def take(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        parts, self._back = [self._back[:size]], self._back[size:]
        have = len(parts[0])
        while have < size:
            part = self._more(size - have)
            if not part:
                break
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        if len(whole) > size:  # text takes more bytes than it has characters
            self._back = whole[size:] + self._back
        return whole[:size]

    def put_back(self, some: bytes) -> None:
        self._back = some + self._back

    def _more(self, size: int) -> bytes:
        part = self._file.read(size)
        if isinstance(part, str):
            part = part.encode("utf-8", "replace")
        part = bytes(part or b"")
        self._read += len(part)
        return part


class _Unpacked(_Feed):
    """The same through gzip."""

    def __init__(self, packed: _Feed) -> None:
        super().__init__(None)
        self._packed = packed
        self._inflate = zlib.decompressobj(31)

    @property
    def bytes_read(self) -> int:
        return self._packed.bytes_read

    def _more(self, size: int) -> bytes:
        del size
        while True:
            packed = self._inflate.unused_data or self._packed.take(_HEAD)
            if self._inflate.eof:
                if not packed.strip(b"\0"):
                    return b""
                self._inflate = zlib.decompressobj(31)
            elif not packed:
                raise EOFError("the gzip file was cut off")
            part = self._inflate.decompress(packed)
            if part:
                return part


class _Raw(io.RawIOBase):
    def __init__(self, feed: _Feed) -> None:
        self._feed = feed

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        view = memoryview(into)
        part = self._feed.take(len(view))
        view[: len(part)] = part
        return len(part)


def _encoding(begin: bytes) -> str:
    if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"  # what Excel calls Unicode text
    if len(begin) > 3 and begin[1:4:2] == b"\0\0" and begin[0]:
        return "utf-16-le"
    try:
        begin.decode()
    except UnicodeDecodeError as error:
        if error.start < len(begin) - 4:
            return "cp1252"  # old spreadsheets of the West; digits and Latin letters are the same everywhere
    return "utf-8"


def _why(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
