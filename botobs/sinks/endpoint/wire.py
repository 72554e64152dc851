"""The endpoint's HTTP/1.1: a request read from text, an answer written to a socket."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "JSON",
    "LONGEST_HEAD",
    "TEXT",
    "Answer",
    "RefusedError",
    "Request",
    "linger",
    "parse",
    "refusal",
    "send",
    "takes_gzip",
]

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
LONGEST_HEAD: Final = 16 * 1024
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@attrs.frozen
class Request:
    """What a client asks; `clean` tells whether its connection can carry another request."""

    method: str
    path: str
    headers: Mapping[str, str]
    clean: bool


@attrs.frozen
class Answer:
    """What a client gets; `challenge` tells what it has to bring (`WWW-Authenticate`)."""

    status: int
    body: bytes
    content_type: str = TEXT
    zipped: bool = False
    challenge: str | None = None


class RefusedError(Exception):
    """The request cannot be answered as asked."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse(head: str) -> Request:
    """The request that `head` (all up to the empty line) makes.

    Raises:
        RefusedError: It makes none.
    """
    first, *lines = head.lstrip("\r\n").split("\r\n")
    try:
        method, target, version = first.split(" ")
        path = urlsplit(target).path
    except ValueError:
        raise RefusedError(400) from None
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not method.isalpha():
        raise RefusedError(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise RefusedError(400)
        key = name.strip().lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    wish = headers.get("connection", "").lower()
    keep = "close" not in wish and (version == "HTTP/1.1" or "keep-alive" in wish)
    # no request here needs a body, so none is read and the connection ends behind it
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return Request(method, path, headers, clean=keep and not has_body)


def takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip.

    Example:
        >>> takes_gzip("deflate, gzip;q=0.5"), takes_gzip("gzip;q=0"), takes_gzip("")
        (True, False, False)
    """
    for coding in accepted.lower().split(","):
        name, _, weight = coding.replace(" ", "").partition(";")
        if name == "gzip":
            return weight not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def send(client: socket.socket, answer: Answer, *, keep: bool, bare: bool = False) -> None:
    """Write an answer; without its body for a HEAD request."""
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    ]
    if answer.status == 405:
        lines.append("Allow: GET, HEAD")
    if answer.challenge is not None:
        lines.append(f"WWW-Authenticate: {answer.challenge}")
    if answer.zipped:
        lines.append("Content-Encoding: gzip")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    client.sendall(head if bare else head + answer.body)


def linger(client: socket.socket) -> None:
    """Take what the client still sends, before its connection is closed.

    Closing on unread bytes would reset the connection, and take the answer away before it is read.
    """
    client.settimeout(0.5)
    if hasattr(client, "unwrap"):  # TLS says goodbye first, so that the client knows that nothing is missing
        with contextlib.suppress(OSError, ValueError):
            client.unwrap()
    socket.socket.shutdown(client, socket.SHUT_WR)  # beneath TLS, whatever became of it
    for _ in range(16):
        if not socket.socket.recv(client, LONGEST_HEAD):
            return


def refusal(status: int) -> Answer:
    """The answer to a request that was refused."""
    return Answer(status, f"{_REASONS[status].lower()}\n".encode())
