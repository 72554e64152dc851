"""One request on an open connection, and its answer.

Each call to a socket lets go of the interpreter's lock and takes it again, and each time the bot waits for it.
`http.client` makes about ten of them for a request. Here they are three: the whole request goes at once, the answer is
waited for, and it is read at once. What answers as collectors usually do is understood here; all else is left to
`http.client`, from the first byte on.
"""

from __future__ import annotations

import http.client
import io
import re
import select
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

__all__ = ["Answer", "ask", "opening"]

_MOST: Final = 65_536  # of an answer; more than any collector says
_END: Final = b"\r\n\r\n"
_USUAL: Final = re.compile(rb"HTTP/1\.1 200 ([^\r\n]*)\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,5})[ \t]*(?=\r\n)")
_ODD: Final = re.compile(rb"\r\n(?:transfer-encoding|connection|[ \t])")  # what needs a second look
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS: Final = frozenset(("content-length", "transfer-encoding", "connection"))


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: The status.
        reason: What stands beside it.
        body: At most 64 KB of the body.
        retry_after: The header of that name.
        kept: Whether the connection can be used again.
    """

    status: int
    reason: str
    body: bytes
    retry_after: str | None = None
    kept: bool = True


def opening(path: str, host: str, headers: Mapping[str, str]) -> bytes:
    """All of a request that is the same each time: what is missing is the length of the body, and an empty line.

    Args:
        path: What is asked for.
        host: Of whom.
        headers: What else is said.

    Raises:
        ValueError: Something of it cannot be said in a header.
    """
    said = {name.lower(): value for name, value in headers.items()}
    said = {"host": host, "accept-encoding": "identity"} | said
    lines = [f"POST {path} HTTP/1.1"]
    for name, value in said.items():
        if name in _OURS:
            continue
        if not _TOKEN.fullmatch(name) or any(sign in value for sign in "\r\n\0"):
            raise ValueError(f"the header {name[:40]!r} has a sign in it that cannot be sent")
        lines.append(f"{name}: {value.strip()}")
    try:
        return "\r\n".join((*lines, "content-length: ")).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a header has a sign in it that is not of Latin-1") from error


def ask(sock: socket.socket, start: bytes, body: bytes, deadline: float) -> Answer:
    """Send a request and read what is answered.

    Args:
        sock: The connection, which does not block.
        start: What `opening` gave.
        body: The body.
        deadline: Until when (monotonic).

    Raises:
        OSError: The connection failed; `TimeoutError`: it took too long.
        http.client.HTTPException: What came is no answer.
    """
    _send(sock, b"%b%d%b%b" % (start, len(body), _END, body), deadline)
    got = b""
    _wait(sock, select.POLLIN, deadline)
    while True:
        more = _read(sock, deadline)
        got += more
        at = got.find(_END)
        if more and at < 0 and len(got) < _MOST:
            continue
        usual = _USUAL.match(got) if at >= 0 else None
        if usual is None:
            return _understood(sock, got, deadline)
        head = got[: at + 2].lower()
        lengths = _LENGTH.findall(head)
        if len(lengths) != 1 or head.count(b"content-length") != 1 or _ODD.search(head):
            return _understood(sock, got, deadline)
        missing = at + len(_END) + int(lengths[0]) - len(got)
        if missing == 0:
            return Answer(200, usual[1].decode("latin-1"), got[at + len(_END) :])
        if missing < 0 or not more or len(got) >= _MOST:
            return _understood(sock, got, deadline)


def _send(sock: socket.socket, data: bytes, deadline: float) -> None:
    left = memoryview(data)
    while left:
        left = left[_patient(sock.send, left, sock, deadline, select.POLLOUT) :]


def _read(sock: socket.socket, deadline: float) -> bytes:
    found: bytes = _patient(sock.recv, _MOST, sock, deadline, select.POLLIN)
    return found


def _patient(call: Callable[[Any], Any], arg: Any, sock: socket.socket, deadline: float, wanted: int) -> Any:
    while True:
        try:
            return call(arg)
        except ssl.SSLWantReadError:
            wanted = select.POLLIN
        except ssl.SSLWantWriteError:
            wanted = select.POLLOUT
        except BlockingIOError:
            pass
        _wait(sock, wanted, deadline)


def _wait(sock: socket.socket, wanted: int, deadline: float) -> None:
    if isinstance(sock, ssl.SSLSocket) and wanted == select.POLLIN and sock.pending():
        return  # it was read from the socket already
    poll = select.poll()
    poll.register(sock, wanted)
    if not poll.poll(max((deadline - time.monotonic()) * 1000, 1)):
        raise TimeoutError("timed out")


class _Begun(io.RawIOBase):
    """An answer of which some was read already."""

    def __init__(self, sock: socket.socket, got: bytes, deadline: float) -> None:
        self._sock, self._got, self._deadline = sock, got, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        piece = self._got or _read(self._sock, self._deadline)
        size = min(len(piece), len(room))
        room[:size], self._got = piece[:size], piece[size:]
        return size

    def makefile(self, *_args: Any) -> io.BufferedReader:
        """As `http.client` asks a socket."""
        return io.BufferedReader(self, _MOST)


def _understood(sock: socket.socket, got: bytes, deadline: float) -> Answer:
    """Whatever else HTTP knows: chunks, interim answers, refusals, nonsense."""
    response = http.client.HTTPResponse(_Begun(sock, got, deadline), method="POST")  # type: ignore[arg-type]
    with response:
        response.begin()
        try:
            body = response.read(_MOST)
            whole = response.isclosed() or not response.read(1)
        except (OSError, http.client.HTTPException):
            if not 200 <= response.status < 300:
                raise
            body, whole = b"", False  # the status says that it arrived: sending again would make duplicates
        kept = whole and not response.will_close
        return Answer(response.status, response.reason, body, response.getheader("retry-after"), kept)
