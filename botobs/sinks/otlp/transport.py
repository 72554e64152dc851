"""Carries one payload to a collector: what came of it is a `Receipt`, `Refused` or `TryLater`.

HTTP goes over the standard library's connection: a quarter of the CPU that requests takes, and CPU here is
GIL time taken from the bot. Proxies and trusted authorities are found as requests finds them.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import socket
import ssl
import threading
import time
import zlib
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from botobs.errors import ConfigError
from botobs.sinks.otlp.wire import ask, opening

if TYPE_CHECKING:
    from botobs.sinks.otlp.target import OtlpTarget, Signal
    from botobs.sinks.otlp.wire import Answer

__all__ = ["HttpTransport", "Receipt", "Refused", "Transport", "TryLater", "connect", "not_traced"]

_PASSING = frozenset((408, 429, 502, 503, 504))


class Receipt(NamedTuple):
    """The collector took the payload, apart from `rejected` items of it."""

    rejected: int = 0
    message: str = ""


class Refused(Exception):  # noqa: N818  # it says what happened; not every outcome is an error of ours
    """The collector will never take this payload: it is lost."""


class TryLater(Exception):  # noqa: N818  # as above
    """The payload may get through later; `after_s` is what the collector asked for, if it did."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Transport(Protocol):
    """A way to one collector. `send` is called by one thread; `close` and `abandon` by any."""

    def send(self, payload: bytes, timeout_s: float) -> Receipt:
        """Deliver one request.

        Raises:
            Refused: It was refused for good.
            TryLater: It did not get through this time.
        """
        ...

    def close(self) -> None:
        """Free everything; a `send` under way ends at once."""
        ...

    def abandon(self) -> None:
        """Close a forked child's copies, saying nothing to the collector and taking no lock."""
        ...


def connect(target: OtlpTarget, signal: Signal) -> Transport:
    """The transport for `target`.

    Raises:
        ConfigError: Certificates or a proxy cannot be used.
    """
    if target.protocol == "grpc":
        from botobs.sinks.otlp.grpc_transport import GrpcTransport  # noqa: PLC0415  # gRPC loads only when chosen

        return GrpcTransport(target, signal)
    return HttpTransport(target)


def not_traced() -> None:
    """From here on, what this thread sends makes no spans of its own."""
    attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))


def receipt(answer: bytes) -> Receipt:
    """What an Export…ServiceResponse says; the three signals' answers look alike on the wire."""
    if not answer:
        return Receipt()
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except Exception:  # delivered all the same: the status said so
        return Receipt()
    return Receipt(max(partial.rejected_spans, 0), partial.error_message[:300])


class HttpTransport:
    """OTLP over HTTP on one kept-alive connection; no redirect is followed."""

    def __init__(self, target: OtlpTarget) -> None:
        self._place = target.place
        self._compression = target.compression
        headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "botobs-otlp",
            **({} if target.compression == "none" else {"content-encoding": target.compression}),
            **dict(target.headers),
        }
        self._connection, self._opening = _open(target, headers)
        self._lock = threading.Lock()
        self._sending = False
        self._closed = False

    def send(self, payload: bytes, timeout_s: float) -> Receipt:
        """Deliver one request; see `Transport.send`."""
        deadline = time.monotonic() + timeout_s
        body = self._compressed(payload)
        with self._lock:
            if self._closed:
                raise TryLater("the connection is closed")
            self._sending = True
        try:
            return self._judge(self._exchange(body, deadline))
        finally:
            with self._lock:
                self._sending = False
                if self._is_closed():
                    self._connection.close()

    def close(self) -> None:
        """Free the connection; a `send` under way ends at once."""
        with self._lock:
            self._closed = True
            if not self._sending:
                self._connection.close()
                return
            sock = self._connection.sock
        if sock is not None:
            # wakes the sending thread, which then closes: closed here, the number could be given anew
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close a forked child's copy of the socket; the parent's connection stays as it is."""
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                os.close(sock.detach())

    def _is_closed(self) -> bool:
        return self._closed

    def _compressed(self, payload: bytes) -> bytes:
        # the fastest level: spans repeat themselves, more effort gains little; zlib lets go of the GIL
        if self._compression == "gzip":
            return zlib.compress(payload, 1, wbits=31)
        if self._compression == "deflate":
            return zlib.compress(payload, 1)
        return payload

    def _exchange(self, body: bytes, deadline: float) -> Answer:
        kept_alive = self._connection.sock is not None
        try:
            try:
                return self._once(body, deadline)
            except ConnectionError:
                # a connection kept alive may have died long ago: that says nothing about the collector
                self._connection.close()
                if not kept_alive or self._is_closed():
                    raise
                return self._once(body, deadline)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TryLater(f"{self._place}: {_reason(error)}") from error
        except BaseException:
            self._connection.close()
            raise

    def _once(self, body: bytes, deadline: float) -> Answer:
        connection = self._connection
        sock = connection.sock or self._connected(deadline)
        answer = ask(sock, self._opening, body, deadline)
        if not answer.kept:
            connection.close()
        return answer

    def _connected(self, deadline: float) -> socket.socket:
        connection = self._connection
        connection.timeout = max(deadline - time.monotonic(), 0.001)
        connection.connect()
        if self._is_closed():  # `close` found no socket to cut
            raise ConnectionAbortedError
        sock: socket.socket = connection.sock
        sock.settimeout(0.0)
        return sock

    def _judge(self, answer: Answer) -> Receipt:
        if 200 <= answer.status < 300:
            return receipt(answer.body)
        said = f"{self._place} answered {answer.status} {answer.reason}"[:200]
        if answer.status in _PASSING:
            raise TryLater(said, _retry_after(answer.retry_after))
        if 300 <= answer.status < 400:
            said += "; redirects are not followed"
        raise Refused(said)


def _reason(error: BaseException) -> str:
    """The cause in short, without the addresses that a message may carry."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}"[:200]


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _open(target: OtlpTarget, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, bytes]:
    """A connection, not yet made, and how each request begins: straight, or through the environment's proxy."""
    parts = urlsplit(target.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    context = None if target.insecure else _tls(target)
    proxy = _proxy(target.url)
    if proxy is None:
        connection = _connection(parts.hostname, parts.port, context)
    else:
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if via.scheme != "http" or not via.hostname:
            raise ConfigError(f"the proxy for {target.place} must be an http:// URL, or be excepted in NO_PROXY")
        credentials = {}
        if via.username is not None:
            import base64  # noqa: PLC0415  # rarely needed

            pair = f"{unquote(via.username)}:{unquote(via.password or '')}".encode()
            credentials["proxy-authorization"] = "Basic " + base64.b64encode(pair).decode()
        connection = _connection(via.hostname, via.port or 80, context)
        if target.insecure:
            headers, path = {**headers, **credentials}, target.url
        else:
            connection.set_tunnel(parts.hostname or "", parts.port or 443, credentials)
    try:
        return connection, opening(
            path, _host(parts.hostname or "", parts.port, 80 if target.insecure else 443), headers
        )
    except ValueError as error:
        raise ConfigError(f"the headers for {target.place}: {error}") from None


def _host(name: str, port: int | None, usual: int) -> str:
    """As the header of that name has it."""
    if not name.isascii():
        name = name.encode("idna").decode()
    said = f"[{name}]" if ":" in name else name
    return said if port in (None, usual) else f"{said}:{port}"


def _connection(host: str | None, port: int | None, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(host or "", port)
    return http.client.HTTPSConnection(host or "", port, context=context)


def _proxy(url: str) -> str | None:
    if not getproxies():
        return None
    from requests.utils import get_environ_proxies, select_proxy  # noqa: PLC0415  # heavy, and proxies are rare

    return select_proxy(url, get_environ_proxies(url))


def _tls(target: OtlpTarget) -> ssl.SSLContext:
    import certifi  # noqa: PLC0415  # only TLS needs it

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    try:
        context = ssl.create_default_context(cafile=target.certificate or bundle)
        if target.client_certificate:
            context.load_cert_chain(target.client_certificate, target.client_key)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificates for {target.place} must be PEM files that belong together: {_reason(error)}"
        ) from None
    return context
