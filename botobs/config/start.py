"""The keywords of `start`, for type checkers; a test compares them with the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import os
    from datetime import timedelta
    from decimal import Decimal

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    _Amount = Decimal | int | float | str

__all__ = ["StartSettings"]


class StartSettings(TypedDict, total=False):
    """What `start` takes beside the bot's name."""

    data_dir: str | os.PathLike[str] | None
    mode: Literal["live", "backtest"]
    bot_version: str
    namespace: str
    keep_traces: Literal["tail", "all", "none"]
    rotate_bytes: int | str
    rotate_days: float
    queue_size: int
    prometheus_port: int | None
    prometheus_host: str
    prometheus_token: str | None
    prometheus_tls_cert: str | os.PathLike[str] | None
    prometheus_tls_key: str | os.PathLike[str] | None
    otlp_endpoint: str | None
    redact: list[str] | tuple[str, ...] | set[str] | frozenset[str] | str
    strict: bool
    clock: Any
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    timezone: str
    starting_equity: _Amount | None
    equity_floor: _Amount | None
    currency: str
    cost_basis: Literal["average", "fifo"]
    ledger: bool
    durability: Literal["fsync", "os"]
    max_position_age: str | float | timedelta | None
    sharpe_bucket: Literal["day", "hour"]
    days_per_year: float
    performance_rolling_window: int
    performance_store: str | None
    migrate_csv: str | os.PathLike[str] | None
    kill_switch: list[Any] | tuple[Any, ...] | None
    health_every: int
    slack_webhook_url: str | None
    slack_bot_token: str | None
    slack_channel: str | None
    alert_cooldown: str | float | timedelta
    alert_drawdown: float
    alert_same_bar: bool
    feed_silence: str | float | timedelta
    funding_age: str | float | timedelta
    accrue_funding: bool
    feature_age: str | float | timedelta
    stale_features: int
    redis_url: str | None
    redis_stream: str | None
    redis_prefix: str | None
    redis_field: str | None
    redis_maxlen: int | None
    redis_stream_maxlen: int | None
    backup_url: str | None
    backup_every: str | float | timedelta
    backup_keep: int | None
