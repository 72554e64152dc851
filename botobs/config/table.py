"""Every setting, once: its type, default, parser, variable and meaning stand in one row of `Settings`."""

# ruff: noqa: RUF009  # `_row` returns an attrs.field, which ruff cannot see

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from botobs.config import values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["SETTINGS", "Setting", "Settings", "table_markdown"]


@attrs.frozen(kw_only=True)
class Setting:
    """One row of the table.

    Attributes:
        name: The keyword of `start`, and the key in `botobs.toml`.
        parse: Makes the value of what was given, or raises.
        default: What holds when nobody says anything.
        env: The environment variables that give it, the first found wins; none if text cannot tell it.
        meaning: What it does, for the documentation.
        takes: What would be right, for error messages and the documentation.
        secret: Its value is never shown.
    """

    name: str
    parse: values.Parse
    default: Any
    env: tuple[str, ...]
    meaning: str
    takes: str
    secret: bool = False


def _row(
    parse: values.Parse,
    default: Any,
    takes: str,
    meaning: str,
    *,
    env: tuple[str, ...] = (),
    text: bool = True,
    secret: bool = False,
) -> Any:
    row = {
        "parse": parse, "default": default, "env": env, "meaning": meaning, "takes": takes,
        "secret": secret, "text": text,
    }  # fmt: skip
    return attrs.field(default=default, metadata=row)


@attrs.frozen(kw_only=True, repr=False, eq=False)
class Settings:
    """What one observer runs with. Made by `load`; `repr` hides secrets.

    Attributes:
        bot: The bot's name as given in code; `OTEL_SERVICE_NAME` does not override it.
        tables: Tables of `botobs.toml` that are no settings (`[fees]`, `[targets]`), for their own rooms.
        warnings: What looked odd but need not be wrong, one sentence each.
        origins: Who gave each setting that is not at its default.
    """

    bot: str
    data_dir: Path | None = _row(
        values.directory,
        Path("data"),
        "a directory; `None` only in a backtest",
        "Where everything is written; relative to the working directory.",
    )
    mode: Literal["live", "backtest"] = _row(
        values.choice("live", "backtest"),
        "live",
        "`live` or `backtest`",
        "A backtest takes its time from `clock`, waits instead of dropping, and uses no network.",
    )
    bot_version: str = _row(
        values.line(255),
        "unknown",
        "text",
        "The bot's version: label `bot_version` and resource attribute `service.version`.",
    )
    namespace: str = _row(
        values.namespace,
        "bot",
        "up to 64 letters, digits and `_`, not beginning with a digit, not ending in `_`",
        "Prefix of the metrics' names.",
    )
    keep_traces: Literal["tail", "all", "none"] = _row(
        values.choice("tail", "all", "none"),
        "tail",
        "`tail`, `all` or `none`",
        "Which ticks leave a trace; `tail`: errors, orders, halts, the slowest, and a few of the rest.",
    )
    rotate_bytes: int = _row(
        values.size,
        64_000_000,
        "a number of bytes, at least 1, or text such as `64MB` or `64MiB`",
        "A stream's file is archived when it is this large.",
    )
    rotate_days: float = _row(
        values.number(0, 36_500),
        1.0,
        "a number of days above 0",
        "A stream's file is archived when it is this old.",
    )
    queue_size: int = _row(
        values.whole(1, 10_000_000),
        50_000,
        "a whole number from 1 to 10,000,000",
        "How many records may wait for the disk before some are dropped, and counted.",
    )
    prometheus_port: int | None = _row(
        values.whole(0, 65_535),
        None,
        "a port from 0 to 65535 (0: any free one) or `None`",
        "Serves `/metrics` and `/health`; `None`: no server.",
    )
    prometheus_host: str = _row(
        values.host,
        "127.0.0.1",
        "a host name or an address, without scheme and port",
        "Where `/metrics` and `/health` listen.",
    )
    prometheus_token: str | None = _row(
        values.bearer,
        None,
        "visible ASCII characters without spaces, at most 1,000, or `None`",
        "Whoever asks for `/metrics` or `/health` has to bring it (`Authorization: Bearer …`).",
        secret=True,
    )
    prometheus_tls_cert: Path | None = _row(
        values.file,
        None,
        "the path of a PEM file, or `None`",
        "Certificate, with its chain, for HTTPS at `prometheus_port`; renewed on disk, it is taken up by itself.",
    )
    prometheus_tls_key: Path | None = _row(
        values.file,
        None,
        "the path of a PEM file, or `None`",
        "The certificate's private key, without a passphrase; `None`: it stands in the certificate's file.",
    )
    otlp_endpoint: str | None = _row(
        values.url("http", "https", "grpc", "grpcs"),
        None,
        "a URL such as `http://localhost:4318` or `grpc://localhost:4317`, or `None`",
        "OpenTelemetry collector for traces and metrics; the standard `OTEL_*` variables are honoured too.",
    )
    redact: tuple[str, ...] = _row(
        values.keys,
        (),
        "a list of field names, or text with commas between them",
        "Fields whose values never leave the process, beside the usual ones (`password`, `token`, …).",
    )
    strict: bool = _row(
        values.flag,
        default=False,
        takes="true or false",
        meaning="Raise what would otherwise be counted and logged; for tests.",
    )
    clock: Any = _row(
        values.clock,
        None,
        "a function, or an object with `time_ns()`, `timestamp_ns()`, `time()` or `now()`",
        "Tells the time; `None`: the machine's clock. A backtest must give one.",
        text=False,
    )
    tracer_provider: Any = _row(
        values.provider("get_tracer"),
        None,
        "an OpenTelemetry `TracerProvider` or `None`",
        "Kept traces go through it.",
        text=False,
    )
    meter_provider: Any = _row(
        values.provider("get_meter"),
        None,
        "an OpenTelemetry `MeterProvider` or `None`",
        "Metrics go into it.",
        text=False,
    )
    timezone: str = _row(
        values.zone,
        "UTC",
        "a timezone's name such as `UTC` or `Europe/Berlin`",
        "Days, weeks and months begin there. Records are in UTC whatever it says.",
    )
    starting_equity: Decimal | None = _row(
        values.amount,
        None,
        "an amount of 0 or more, as a number or text, or `None`",
        "What the account was worth before the first fill.",
    )
    equity_floor: Decimal | None = _row(
        values.amount,
        None,
        "an amount of 0 or more, as a number or text, or `None`",
        "The kill switch trips when equity falls below.",
    )
    currency: str = _row(
        values.currency,
        "USD",
        "a currency's code such as `USD`",
        "Totals of several currencies are converted to it.",
    )
    cost_basis: Literal["average", "fifo"] = _row(
        values.choice("average", "fifo"),
        "average",
        "`average` or `fifo`",
        "Which cost a closed quantity had.",
    )
    ledger: bool = _row(
        values.flag,
        default=True,
        takes="true or false",
        meaning="Keep the ledger of fills; false only where there is no disk.",
    )
    durability: Literal["fsync", "os"] = _row(
        values.choice("fsync", "os"),
        "fsync",
        "`fsync` or `os`",
        "What a flush survives, and a fill: the machine's crash (`fsync`), or only the process's (`os`).",
    )
    max_position_age: float | None = _row(
        values.period,
        None,
        "a duration such as `6h`, a number of seconds, or `None`",
        "A position held longer is reported.",
    )
    sharpe_bucket: Literal["day", "hour"] = _row(
        values.choice("day", "hour"),
        "day",
        "`day` or `hour`",
        "The calendar bucket of returns.",
    )
    days_per_year: float = _row(
        values.number(0, 366),
        365.0,
        "a number of days above 0, at most 366",
        "Annualizes the Sharpe ratio.",
    )
    performance_rolling_window: int = _row(
        values.whole(1, 100_000),
        20,
        "a whole number of trades, at least 1",
        "How many of the last trades a rolling performance window has.",
    )
    performance_store: str | None = _row(
        values.line(2_000),
        None,
        "a folder or an fsspec URL such as `s3://bucket/bot`, or `None`",
        "Where performance summaries are saved; `None`: `logs/performance/` in `data_dir`.",
    )
    migrate_csv: Path | None = _row(
        values.directory,
        None,
        "the path of a CSV file, or `None`",
        "Old telemetry to take over when there is no ledger yet.",
    )
    kill_switch: tuple[Any, ...] | None = _row(
        values.triggers,
        None,
        "a list of triggers or `None`",
        "When to stop trading; `None`: what `equity_floor` implies.",
        text=False,
    )
    health_every: int = _row(
        values.whole(1, 1_000_000_000),
        60,
        "a whole number of calls, at least 1",
        "A health record goes out at least every so many calls of `health`.",
    )
    slack_webhook_url: str | None = _row(
        values.url("https", "http"),
        None,
        "the URL of a Slack webhook or `None`",
        "Alerts go there.",
        env=("SLACK_WEBHOOK_URL",),
        secret=True,
    )
    slack_bot_token: str | None = _row(
        values.line(300),
        None,
        "a Slack bot token or `None`",
        "Alerts go to `slack_channel` with it, where a recovery answers its alert.",
        env=("SLACK_BOT_TOKEN",),
        secret=True,
    )
    slack_channel: str | None = _row(
        values.line(100),
        None,
        "a Slack channel's name or id, or `None`",
        "Where alerts go that are sent with `slack_bot_token`.",
    )
    alert_cooldown: float = _row(
        values.period,
        3600.0,
        "a duration such as `1h`, or a number of seconds",
        "An alert of one key is told again no sooner.",
    )
    alert_drawdown: float = _row(
        values.number(0, 1),
        0.05,
        "a fraction above 0, at most 1",
        "How far equity may fall below its peak before somebody is told.",
    )
    alert_same_bar: bool = _row(
        values.flag,
        default=True,
        takes="true or false",
        meaning="Tell somebody of a round trip that began and ended in one bar; false for a market maker.",
    )
    feed_silence: float = _row(
        values.period,
        30.0,
        "a duration such as `30s`, or a number of seconds",
        "How long a feed may be silent for which `watch` says nothing else.",
    )
    funding_age: float = _row(
        values.period,
        3600.0,
        "a duration such as `1h`, or a number of seconds",
        "How old a funding rate may be.",
    )
    accrue_funding: bool = _row(
        values.flag,
        default=True,
        takes="true or false",
        meaning="Let funding count from its funding time on, and not only from the report of its payment on.",
    )
    feature_age: float = _row(
        values.period,
        300.0,
        "a duration such as `5m`, or a number of seconds",
        "How old a feature may be for which `staleness.watch` says nothing else.",
    )
    stale_features: int = _row(
        values.whole(0, 1_000),
        5,
        "a whole number of features",
        "How many features may be too old before somebody is told.",
    )
    redis_url: str | None = _row(
        values.url("redis", "rediss", "unix"),
        None,
        "a URL such as `redis://localhost:6379/0` or `None`",
        "Records and executions are also published there, to Redis streams; needs the extra `redis`.",
        secret=True,
    )
    redis_stream: str = _row(
        values.line(200),
        "quantum:stream:apply.result",
        "the key of a stream",
        "Executions go there, in the form that `botobs metricpack` reads.",
    )
    redis_prefix: str = _row(
        values.line(100),
        "botobs",
        "text",
        "Records go to `<prefix>:<bot>:<stream>`.",
    )
    redis_field: str = _row(
        values.line(100),
        "json",
        "the name of a field",
        "In an entry of those streams, the record stands under this name.",
    )
    redis_maxlen: int = _row(
        values.whole(1, 1_000_000_000),
        10_000,
        "a whole number of entries, at least 1",
        "About how many records each stream keeps; older ones go.",
    )
    redis_stream_maxlen: int = _row(
        values.whole(1, 1_000_000_000),
        1_000_000,
        "a whole number of entries, at least 1",
        "About how many executions `redis_stream` keeps; older ones go.",
    )
    backup_url: str | None = _row(
        values.line(2_000),
        None,
        "a folder or an fsspec URL such as `s3://bucket/bot`, or `None`",
        "Where the data directory is backed up while the bot runs; `None`: nowhere.",
        secret=True,
    )
    backup_every: float = _row(
        values.period,
        3600.0,
        "a duration such as `1h`, or a number of seconds",
        "How long from one backup to the next.",
    )
    backup_keep: int | None = _row(
        values.whole(1, 1_000_000),
        None,
        "a whole number of backups, at least 1, or `None`",
        "How many backups to keep, the newest ones; `None`: all.",
    )
    tables: Mapping[str, Any] = attrs.field(factory=dict)
    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = attrs.field(factory=dict)

    def origin(self, name: str) -> str:
        """Where a setting's value came from, such as `keyword` or `environment variable BOTOBS_STRICT`.

        Raises:
            KeyError: There is no such setting.
        """
        if name not in BY_NAME:
            raise KeyError(name)
        return self.origins.get(name, "default")

    def __repr__(self) -> str:
        parts = [f"bot={self.bot!r}"]
        for row in SETTINGS:
            if row.name in self.origins:
                value = getattr(self, row.name)
                parts.append(f"{row.name}={'***' if row.secret and value is not None else values.shown(value)}")
        return f"Settings({', '.join(parts)})"


def _setting(attribute: attrs.Attribute[Any]) -> Setting:
    row = dict(attribute.metadata)
    env = (f"BOTOBS_{attribute.name.upper()}", *row["env"]) if row.pop("text") else ()
    return Setting(name=attribute.name, **{**row, "env": env})


SETTINGS: tuple[Setting, ...] = tuple(_setting(field) for field in attrs.fields(Settings) if field.metadata)
BY_NAME: Mapping[str, Setting] = {row.name: row for row in SETTINGS}


def table_markdown() -> str:
    """The table of settings for the documentation."""
    lines = ["| setting | takes | default | environment variable | meaning |", "|---|---|---|---|---|"]
    for row in SETTINGS:
        default = str(row.default) if isinstance(row.default, Path) else row.default
        default = f"{default:g}" if isinstance(default, float) else repr(default)
        variables = ", ".join(f"`{name}`" for name in row.env) or "in code only"
        cells = (f"`{row.name}`", row.takes, f"`{default}`", variables, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
