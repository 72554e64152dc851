"""How a line is sealed: each hash covers the line and the one before.

A line is one JSON object that begins with its `seq` and ends with its `hash`; both ends have a fixed form, so that
reading and checking are done on bytes.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from contextlib import suppress
from hashlib import blake2b

from botobs.quick import UNFIT, quick

__all__ = ["FIRST", "SEAL", "begun", "digest_of", "is_sealed", "link", "seal", "sealed", "seq_of"]

FIRST = bytes(16)  # what the first line follows
SEAL = 43  # bytes of ,"hash":"<32 digits>"}
_EMPTY = blake2b(digest_size=16)  # of nothing; a copy takes half the time of making one


def link(previous: bytes, body: bytes) -> bytes:
    """The digest of a line whose `body` follows a line with the digest `previous`."""
    digest = _EMPTY.copy()
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


def begun(seq: int, said: bytes) -> bytes:
    r"""The body of the line `seq` that says `said`: JSON without its braces.

    Example:
        >>> begun(1, b'"type":"void"'), begun(2, b"")
        (b'{"seq":1,"type":"void"', b'{"seq":2')
    """
    return b'{"seq":%d,%b' % (seq, said) if said else b'{"seq":%d' % seq


def sealed(previous: bytes, seq: int, said: bytes) -> tuple[bytes, bytes]:
    r"""The line `seq` that says `said` behind a line with the digest `previous`, with its end; and its own digest.

    Example:
        >>> line, digest = sealed(FIRST, 1, b'"type":"void"')
        >>> line == seal(b'{"seq":1,"type":"void"', digest) + b"\n", digest == link(FIRST, b'{"seq":1,"type":"void"')
        (True, True)
    """
    body = b'{"seq":%d,%b' % (seq, said) if said else begun(seq, said)  # without a call, as a bot waits for it
    hashed = _EMPTY.copy()  # as `link` does it
    hashed.update(previous)
    hashed.update(body)
    digest = hashed.digest()
    return b"".join((body, b',"hash":"', hexlify(digest), b'"}\n')), digest


if quick is not None:
    with suppress(*UNFIT):
        quick.know_chain(_EMPTY, sealed)
        sealed = quick.sealed


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
