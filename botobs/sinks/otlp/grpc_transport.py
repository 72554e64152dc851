"""Carries one payload over gRPC, as bytes: nothing is built on the way. Imported only when chosen."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import grpc
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above

from botobs.errors import ConfigError
from botobs.sinks.otlp.transport import Receipt, Refused, TryLater, receipt

if TYPE_CHECKING:
    from botobs.sinks.otlp.target import OtlpTarget, Signal

__all__ = ["COMPRESSION", "GrpcTransport", "credentials"]

_METHODS: Final[dict[Signal, str]] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_PASSING = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
_BROKEN = frozenset((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))
_OPTIONS = (
    # a channel that failed is thrown away; shared subchannels would carry its waiting time over to the next
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_retries", 0),  # retrying is the sender's business
    ("grpc.primary_user_agent", "botobs-otlp"),
)
COMPRESSION = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


class GrpcTransport:
    """OTLP over one gRPC channel, made anew after a failure so that every attempt really tries."""

    def __init__(self, target: OtlpTarget, signal: Signal) -> None:
        self._target = target
        self._method = _METHODS[signal]
        self._metadata = target.headers
        self._credentials = None if target.insecure else credentials(target)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] | None = None
        self._closed = False

    def send(self, payload: bytes, timeout_s: float) -> Receipt:
        """Deliver one request; see `Transport.send`."""
        try:
            answer = self._call()(payload, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            # what a call raises is a Call as well; nothing in the types says so
            raise self._judge(cast("grpc.Call", error)) from error
        except ValueError as error:  # what grpc raises when the channel was closed under the call
            raise TryLater("the channel is closed") from error
        return receipt(answer)

    def close(self) -> None:
        """Close the channel; a `send` under way is cancelled."""
        with self._lock:
            self._closed = True
        self._drop()

    def abandon(self) -> None:
        """Leave the child's copy of the channel alone: gRPC's own threads are gone, closing it could hang."""
        self._closed = True
        if self._channel is not None:
            _abandoned.append(self._channel)

    def _call(self) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        with self._lock:
            if self._closed:
                raise TryLater("the channel is closed")
            if self._export is None:
                target, compression = self._target.url, COMPRESSION[self._target.compression]
                if self._credentials is None:
                    self._channel = grpc.insecure_channel(target, options=_OPTIONS, compression=compression)
                else:
                    self._channel = grpc.secure_channel(
                        target, self._credentials, options=_OPTIONS, compression=compression
                    )
                self._export = self._channel.unary_unary(self._method, _as_is, _as_is)
            return self._export

    def _drop(self) -> None:
        with self._lock:
            channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()

    def _judge(self, failed: grpc.Call) -> Refused | TryLater:
        code = failed.code()
        after_s = _retry_info(failed)
        said = f"{self._target.place} answered {code.name}"
        if code in _BROKEN:
            self._drop()
        if code in _PASSING or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and after_s is not None):
            return TryLater(said, after_s)
        return Refused(said)


def _as_is(message: bytes) -> bytes:
    return message


# channels of the parent that a forked child must never finalize
_abandoned: list[grpc.Channel] = []


def credentials(target: OtlpTarget) -> grpc.ChannelCredentials:
    """TLS as `target` wants it.

    Raises:
        ConfigError: A file cannot be read.
    """
    try:
        return grpc.ssl_channel_credentials(
            *(
                Path(name).read_bytes() if name else None
                for name in (target.certificate, target.client_key, target.client_certificate)
            )
        )
    except OSError as error:
        raise ConfigError(f"the certificates for {target.place} must be readable: {type(error).__name__}") from None


def _retry_info(call: grpc.Call) -> float | None:
    """How long the collector asks to wait: in the standard details, or where Python's exporter looks."""
    for key, value in call.trailing_metadata() or ():
        info = RetryInfo()
        try:
            if key == "google.rpc.retryinfo-bin":
                info.ParseFromString(value)
            elif key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    if detail.Unpack(info):
                        break
                else:
                    continue
            else:
                continue
        except Exception:  # noqa: S112  # a collector that sends rubbish gets our own waiting time
            continue
        return max(float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9), 0.0)
    return None
