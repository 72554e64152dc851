"""How a line is sealed: each hash covers the line and the one before.

A line is one JSON object that begins with its `seq` and ends with its `hash`; both ends have a fixed form, so that
reading and checking are done on bytes.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from hashlib import blake2b

__all__ = ["EMPTY", "FIRST", "SEAL", "digest_of", "is_sealed", "link", "seal", "seq_of"]

FIRST = bytes(16)  # what the first line follows
EMPTY = blake2b(digest_size=16)  # of nothing; a copy takes half the time of making one
SEAL = 43  # bytes of ,"hash":"<32 digits>"}


def link(previous: bytes, body: bytes) -> bytes:
    """The digest of a line whose `body` follows a line with the digest `previous`."""
    digest = EMPTY.copy()
    digest.update(previous)
    digest.update(body)  # apart: to join them would copy the line
    return digest.digest()


def seal(body: bytes, digest: bytes) -> bytes:
    r"""The line made of `body`, without the line end.

    Example:
        >>> seal(b'{"seq":1', FIRST)
        b'{"seq":1,"hash":"00000000000000000000000000000000"}'
    """
    return b'%b,"hash":"%b"}' % (body, hexlify(digest))


def seq_of(line: bytes) -> int:
    """The number of a line; 0 if it has none.

    Example:
        >>> seq_of(b'{"seq":12,"type":"fill"}'), seq_of(b"torn")
        (12, 0)
    """
    if not line.startswith(b'{"seq":'):
        return 0
    digits = line[7 : line.find(b",", 7, 28)]
    return int(digits) if digits.isdigit() and len(digits) < 20 else 0


def digest_of(line: bytes) -> bytes | None:
    """What a line says its digest is; None if it says nothing of the kind."""
    if line[-SEAL:-34] != b',"hash":"' or line[-2:] != b'"}':
        return None
    try:
        return unhexlify(line[-34:-2])
    except ValueError:
        return None


def is_sealed(line: bytes) -> bool:
    """Whether `line` has the form of a line: a number first, a hash last, and none of the zeros a crash leaves."""
    return seq_of(line) > 0 and digest_of(line) is not None and b"\0" not in line
