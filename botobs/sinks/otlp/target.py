"""Where to send: botobs's own setting and the standard `OTEL_*` variables, checked once at start.

The meaning of each variable follows the official Python exporters (a timeout is in seconds there, not in the
specification's milliseconds), except that a wrong value is a `ConfigError` here instead of a log line, and
that nothing is sent to localhost unless somebody asked for it.
"""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import attrs

from botobs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Batching", "OtlpTarget", "Pushing", "Signal", "batching", "pushing", "resolve"]

Signal = Literal["traces", "metrics", "logs"]
_Protocol = Literal["http/protobuf", "grpc"]
_Compression = Literal["none", "gzip", "deflate"]

_SETTING = "otlp_endpoint"
_GRPC_PORT = 4317
_TIMEOUT_S = 10.0
_SIGNAL_PATH = re.compile(r"/v1/(traces|metrics|logs)/?$")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _names_only(headers: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}: ***" for name, _ in headers) + "}"


def _shown(url: str) -> str:
    """`url` without what may be secret in it: credentials and query."""
    return re.sub(r"^([^/@]*//)?[^/@]*@", r"\1***@", url.split("?", 1)[0].split("#", 1)[0])


@attrs.frozen
class OtlpTarget:
    """A collector, and how to talk to it about one signal.

    Attributes:
        protocol: What is spoken.
        url: HTTP: the whole URL; gRPC: `host:port`. Never with credentials: those are in `headers`.
        headers: Names in lower case, and secret values; `repr` shows only the names.
        timeout_s: The most one attempt may take.
        compression: Of the payload.
        insecure: No TLS.
        certificate: A file with the authorities to trust.
        client_key: The key for mutual TLS.
        client_certificate: The certificate for mutual TLS.
    """

    protocol: _Protocol
    url: str = attrs.field(repr=_shown)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=_names_only)
    timeout_s: float = _TIMEOUT_S
    compression: _Compression = "none"
    insecure: bool = False
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    @property
    def place(self) -> str:
        """`host:port`, fit for a log line."""
        return self.url if self.protocol == "grpc" else urlsplit(self.url).netloc


@attrs.frozen
class Batching:
    """How spans wait and travel."""

    queue_spans: int = 65_536
    batch_spans: int = 2_048
    delay_s: float = 2.0
    timeout_s: float = 30.0


@attrs.frozen
class Pushing:
    """How often metrics leave."""

    interval_s: float = 60.0
    timeout_s: float = 30.0


@attrs.frozen
class _Variables:
    """The environment as one signal sees it: what is said for the signal goes before what is said for all."""

    signal: Signal
    env: Mapping[str, str]

    def find(self, what: str) -> tuple[str, str]:
        """The variable that decides on `what` and its value; both empty when nobody says anything."""
        for name in (f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
            value = self.env.get(name, "").strip()
            if value:
                return name, value
        return "", ""


def resolve(signal: Signal, endpoint: str | None, env: Mapping[str, str]) -> OtlpTarget | None:
    """Where `signal` goes, or None when it goes nowhere.

    Args:
        signal: What is to be sent.
        endpoint: botobs's own `otlp_endpoint`: a base URL; goes before the variables' endpoints.
        env: The environment.

    Example:
        >>> resolve("traces", "http://collector:4318", {}).url
        'http://collector:4318/v1/traces'
        >>> resolve("traces", None, {}) is None
        True

    Raises:
        ConfigError: A setting or variable has a wrong value; the message says which and what is right.
    """
    variables = _Variables(signal, env)
    if not _wanted(signal, env, asked=bool(endpoint)):
        return None
    name, text, base = _where(variables, endpoint)
    if not text:
        return None
    parts = _split(name, text)
    protocol = _protocol(variables, parts)
    headers = _headers(variables)
    if parts.username is not None and "authorization" not in headers:
        # credentials leave the URL here, so that no message about the URL can show them
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
    host = parts.netloc.rpartition("@")[2]
    if protocol == "grpc":
        insecure = _insecure(variables, name, text, parts.scheme)
        url = f"{host}:{_GRPC_PORT}" if parts.port is None and insecure else host
    else:
        insecure = parts.scheme in ("http", "grpc")
        if not parts.scheme:
            raise ConfigError(f"{name}={_shown(text)!r} has no scheme: write http://{host} or https://{host}")
        path = _signal_path(parts.path, signal) if base else parts.path or "/"
        url = urlunsplit(("http" if insecure else "https", host, path, parts.query, ""))
    return OtlpTarget(
        protocol=protocol,
        url=url,
        headers=tuple(headers.items()),
        timeout_s=_timeout(variables),
        compression=_compression(variables),
        insecure=insecure,
        certificate=_file(variables, "CERTIFICATE"),
        client_key=_file(variables, "CLIENT_KEY"),
        client_certificate=_file(variables, "CLIENT_CERTIFICATE"),
    )


def batching(env: Mapping[str, str]) -> Batching:
    """How spans wait and travel, from `OTEL_BSP_*`.

    Raises:
        ConfigError: A variable is no positive number, or the batch is larger than the queue.
    """
    usual = Batching()
    queue = _whole(env, "OTEL_BSP_MAX_QUEUE_SIZE", usual.queue_spans)
    batch = _whole(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(usual.batch_spans, queue))
    if batch > queue:
        raise ConfigError(f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE={batch} must not exceed the queue's {queue} spans")
    return Batching(
        queue_spans=queue,
        batch_spans=batch,
        delay_s=_millis(env, "OTEL_BSP_SCHEDULE_DELAY", usual.delay_s),
        timeout_s=_millis(env, "OTEL_BSP_EXPORT_TIMEOUT", usual.timeout_s),
    )


def pushing(env: Mapping[str, str]) -> Pushing:
    """How often metrics leave, from `OTEL_METRIC_EXPORT_*`.

    Raises:
        ConfigError: A variable is no positive number.
    """
    usual = Pushing()
    return Pushing(
        interval_s=_millis(env, "OTEL_METRIC_EXPORT_INTERVAL", usual.interval_s),
        timeout_s=_millis(env, "OTEL_METRIC_EXPORT_TIMEOUT", usual.timeout_s),
    )


def _wanted(signal: Signal, env: Mapping[str, str], *, asked: bool) -> bool:
    """Whether the standard variables let this signal out over OTLP at all."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    chosen = [item.strip().lower() for item in env.get(f"OTEL_{signal.upper()}_EXPORTER", "").split(",")]
    chosen = [item for item in chosen if item]
    if "none" in chosen:
        return False
    # "console" alone keeps OTLP out, unless botobs itself was told where to send
    return asked or not chosen or any(item.startswith("otlp") for item in chosen)


def _where(variables: _Variables, endpoint: str | None) -> tuple[str, str, bool]:
    """Who names the endpoint, the endpoint, and whether it is a base that the signal's path is added to."""
    if endpoint is not None and endpoint.strip():
        return _SETTING, endpoint.strip(), True
    name, text = variables.find("ENDPOINT")
    return name, text, name == "OTEL_EXPORTER_OTLP_ENDPOINT"


def _split(name: str, text: str) -> SplitResult:
    right = "must be a URL such as http://127.0.0.1:4318 or https://collector.example:4317"
    if not text.isprintable() or " " in text:
        raise ConfigError(f"{name} {right}; it contains spaces or control characters")
    try:
        parts = urlsplit(text if "://" in text else "//" + text)
        usable = bool(parts.hostname) and parts.port != 0 and parts.netloc.isascii()
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name}={_shown(text)!r} {right}")
    if parts.scheme not in ("", "http", "https", "grpc", "grpcs"):
        raise ConfigError(f"{name}={_shown(text)!r} {right}; {parts.scheme!r} is not spoken here")
    return parts


def _protocol(variables: _Variables, parts: SplitResult) -> _Protocol:
    name, value = variables.find("PROTOCOL")
    if not name:
        told = parts.scheme.startswith("grpc") or parts.port == _GRPC_PORT
        return "grpc" if told else "http/protobuf"
    if value.lower() == "grpc":
        return "grpc"
    if value.lower() == "http/protobuf":
        return "http/protobuf"
    raise ConfigError(f"{name}={value!r} must be 'grpc' or 'http/protobuf'")


def _insecure(variables: _Variables, name: str, text: str, scheme: str) -> bool:
    """Whether gRPC goes without TLS: the scheme decides; without one, `OTEL_EXPORTER_OTLP_INSECURE` does."""
    if scheme:
        return scheme in ("http", "grpc")
    variable, value = variables.find("INSECURE")
    if not variable:
        if name == _SETTING:  # the standard says TLS, and a plain collector would then fail without a clue
            raise ConfigError(f"{name}={_shown(text)!r} has no scheme: write http:// (plain) or https:// (TLS)")
        return False
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{variable}={value!r} must be 'true' or 'false'")
    return value.lower() == "true"


def _signal_path(path: str, signal: Signal) -> str:
    """The signal's path under a base; a base that already names some signal's path gets this signal's."""
    return f"{_SIGNAL_PATH.sub('', path).rstrip('/')}/v1/{signal}"


def _headers(variables: _Variables) -> dict[str, str]:
    name, text = variables.find("HEADERS")
    headers: dict[str, str] = {}
    for item in text.split(","):
        if not item.strip():
            continue
        key, equals, value = (piece.strip() for piece in item.partition("="))
        key, value = unquote(key).strip().lower(), unquote(value).strip()
        # the value stays out of the message: it is a secret more often than not
        if not equals or not _TOKEN.fullmatch(key):
            raise ConfigError(f"{name} must be name=value pairs with commas between them, values URL-encoded")
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"{name}: the value of {key!r} must be printable ASCII")
        headers[key] = value
    return headers


def _timeout(variables: _Variables) -> float:
    name, value = variables.find("TIMEOUT")
    return _positive(name, value, "seconds") if name else _TIMEOUT_S


def _compression(variables: _Variables) -> _Compression:
    name, value = variables.find("COMPRESSION")
    lowered = value.lower()
    if lowered == "gzip":
        return "gzip"
    if lowered == "deflate":
        return "deflate"
    if lowered in ("", "none"):
        return "none"
    raise ConfigError(f"{name}={value!r} must be 'none', 'gzip' or 'deflate'")


def _file(variables: _Variables, what: str) -> str | None:
    name, value = variables.find(what)
    if not name:
        return None
    try:
        with Path(value).open("rb"):
            return value
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}={value!r} must be a readable file: {type(error).__name__}") from None


def _positive(name: str, value: str, unit: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise ConfigError(f"{name}={value!r} must be a positive number of {unit}")
    return number


def _millis(env: Mapping[str, str], name: str, usual_s: float) -> float:
    value = env.get(name, "").strip()
    return _positive(name, value, "milliseconds") / 1000 if value else usual_s


def _whole(env: Mapping[str, str], name: str, usual: int) -> int:
    value = env.get(name, "").strip()
    number = _positive(name, value, "spans") if value else usual
    if number != int(number):
        raise ConfigError(f"{name}={value!r} must be a whole number of spans")
    return int(number)
