"""Who may ask: the bearer token of the endpoint, and how often somebody came without it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

from .wire import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.faults import Faults

__all__ = ["Door", "beyond_loopback"]

_CHALLENGE: Final = 'Bearer realm="botobs"'


class Door:
    """Lets in who brings the token; everybody, if there is none.

    It keeps a hash of the token, never the token: no dump of it and no `repr` can give it away.

    Args:
        token: What has to be brought.
        faults: Where to say that somebody did not.

    Attributes:
        refused: How often somebody was turned away: `no_token`, `wrong_token`, and `handshake` (of TLS).

    Example:
        >>> from botobs.faults import Faults
        >>> door = Door("open sesame", Faults())
        >>> door.answer({"authorization": "Bearer open says me"}).status, door.answer({}).status
        (401, 401)
        >>> door.answer({"authorization": "bearer open sesame"}) is None
        True
        >>> door.refused
        {'no_token': 1, 'wrong_token': 1, 'handshake': 0}
    """

    __slots__ = ("_digest", "_faults", "refused")

    def __init__(self, token: str | None, faults: Faults) -> None:
        self._digest = None if token is None else _digest(token)
        self._faults = faults
        self.refused = {"no_token": 0, "wrong_token": 0, "handshake": 0}

    @property
    def open(self) -> bool:
        """Whether everybody may come in."""
        return self._digest is None

    def answer(self, headers: Mapping[str, str]) -> Answer | None:
        """What somebody hears who may not come in; `None`: they may."""
        if self._digest is None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            self.turned_away("no_token")
            return Answer(401, b"a bearer token is needed\n", challenge=_CHALLENGE)
        if hmac.compare_digest(_digest(token.strip()), self._digest):  # takes the same time however much is right
            return None
        self.turned_away("wrong_token")
        return Answer(401, b"that is not the bearer token\n", challenge=_CHALLENGE + ', error="invalid_token"')

    def turned_away(self, why: str) -> None:
        """Count somebody, and say so at most once a minute."""
        self.refused[why] += 1
        # a handshake fails for every scanner and every client that does not know the certificate as yet
        if why != "handshake":
            said = "without the bearer token" if why == "no_token" else "with a wrong bearer token"
            self._faults.say("endpoint", why, f"/metrics and /health refused a request {said}")


def beyond_loopback(address: str) -> bool:
    """Whether other machines may reach what listens at `address`.

    Example:
        >>> [beyond_loopback(address) for address in ("127.0.0.1", "::1", "0.0.0.0", "10.0.0.7", "::")]
        [False, False, True, True, True]
    """
    try:
        return not ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
