"""HTTPS for the endpoint: a certificate read at the start, and again when it was renewed on disk."""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

from botobs.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from botobs.faults import Faults

__all__ = ["Tls"]

_LOOK_EVERY_S: Final = 1.0
_CERT, _KEY = "prometheus_tls_cert", "prometheus_tls_key"

_Seen = tuple[tuple[int, int, int], ...]


class Tls:
    """The server's side of TLS, with the certificate that is on the disk.

    A renewed certificate holds for connections made after it. While its files do not fit together (one of two is
    replaced, or half written), the one before goes on.

    Args:
        cert: PEM file with the certificate and its chain.
        key: PEM file with its private key; `None`: it stands in `cert`.
        faults: Where to say that a renewed certificate cannot be used.
        look_every_s: How often the files are looked at.

    Raises:
        ConfigError: The files cannot be used; it names the setting.
    """

    def __init__(
        self, cert: Path | None, key: Path | None, faults: Faults, *, look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        if cert is None:
            raise ConfigError(f"{_KEY} is given without {_CERT}; it takes the certificate that the key belongs to")
        self._cert = cert.absolute()  # the bot may change its working directory
        self._key = None if key is None else key.absolute()
        self._faults = faults
        self._look_every_s = look_every_s
        self._lock = threading.Lock()
        self._seen = self._look()
        self._looked = time.monotonic()
        self._context = self._load()

    def shake_hands(self, client: socket.socket, timeout_s: float, wrapped: Callable[[socket.socket], None]) -> None:
        """Speak TLS with a client from here on.

        Args:
            client: Whose socket; the TLS one takes it over.
            timeout_s: What the whole handshake may take.
            wrapped: Gets the TLS socket before the handshake begins.

        Raises:
            OSError: The client does not speak it, is too slow, or does not trust the certificate.
        """
        speaking = self._current().wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        wrapped(speaking)
        speaking.settimeout(timeout_s)
        speaking.do_handshake()

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def _current(self) -> ssl.SSLContext:
        now = time.monotonic()
        if now - self._looked < self._look_every_s or not self._lock.acquire(blocking=False):
            return self._context
        try:
            self._looked = now
            seen = self._look()
            if seen != self._seen:
                self._context = self._load()
                self._seen = seen  # only now: files that cannot be used are tried again
        except ConfigError as error:
            self._faults.say("endpoint", "tls", f"the renewed certificate is not used: {error}")
        finally:
            self._lock.release()
        return self._context

    def _look(self) -> _Seen:
        """What tells whether the files are others than before."""
        seen = []
        for setting, path in ((_CERT, self._cert), (_KEY, self._key)):
            if path is not None:
                try:
                    with path.open("rb") as file:
                        found = os.fstat(file.fileno())
                except OSError as error:
                    raise _wrong(setting, path, f"it cannot be read: {error.strerror or error}") from None
                seen.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(seen)

    def _load(self) -> ssl.SSLContext:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self._cert)
        except (OSError, ValueError):
            raise _wrong(_CERT, self._cert, "it holds no certificate in PEM form") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # without an answer of ours, OpenSSL would ask for the passphrase on the terminal, and wait
            context.load_cert_chain(self._cert, self._key, password=lambda: "")
        except (OSError, ValueError) as error:
            setting, path = (_CERT, self._cert) if self._key is None else (_KEY, self._key)
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise _wrong(setting, path, "the key does not belong to the certificate") from None
            raise _wrong(setting, path, "it holds no private key in PEM form that needs no passphrase") from None
        return context


def _wrong(setting: str, path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{setting} = {str(path)!r} is wrong: {reason}")
