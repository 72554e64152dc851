"""What the pack runs with: flags before the environment, before the table `[metricpack]` of `botobs.toml`."""

# ruff: noqa: RUF009  # `_row` returns an attrs.field, which ruff cannot see

from __future__ import annotations

import difflib
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from botobs.config import values
from botobs.errors import ConfigError
from botobs.metricpack.names import Names
from botobs.metricpack.source import START, Start

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["DEFAULT_STREAM", "PackSettings", "load_pack", "pack_table_markdown"]

DEFAULT_STREAM: Final = "quantum:stream:apply.result"

_PREFIX: Final = "METRICPACK_"


def _row(parse: values.Parse, default: Any, takes: str, meaning: str, *env: str, secret: bool = False) -> Any:
    metadata = {"parse": parse, "takes": takes, "meaning": meaning, "env": env, "secret": secret}
    return attrs.field(default=default, metadata=metadata)


def _dust_of(value: object) -> dict[str, Decimal]:
    if not isinstance(value, dict) or not all(isinstance(symbol, str) for symbol in value):
        raise values.Wrong("it is no table")
    return {symbol: values.amount(dust) for symbol, dust in value.items()}


def _names(value: object) -> Names:
    if not isinstance(value, dict):
        raise values.Wrong("it is no table")
    try:
        return Names.of(value)
    except ValueError as error:
        raise values.Wrong(str(error)) from error


def _symbols(value: object) -> frozenset[str]:
    found = frozenset(symbol.upper() for symbol in values.keys(value))
    if not found:
        raise values.Wrong("it names no symbol")
    return found


def _shard(value: object) -> tuple[int, int]:
    part, slash, parts = values.line(20)(value).partition("/")
    whole = values.whole(1, 1_000)
    if not slash or whole(part) > whole(parts):
        raise values.Wrong("it is no part of a whole")
    return whole(part), whole(parts)


def _bars(value: object) -> str:
    text = values.line()(value)
    return text.lower() if text.lower() in ("bot", "none") else text


def _prefix(value: object) -> str:
    return values.namespace(values.line()(value).rstrip("_"))


def _interval(value: object) -> str:
    text = values.line(10)(value)
    if values.seconds(text) <= 0:
        raise values.Wrong("no bar is as long as that")
    return text


def _takeover(value: object) -> float:
    found = values.period(value)
    if not 0.2 <= found <= 600:
        raise values.Wrong("it is out of range")
    return found


@attrs.frozen(kw_only=True)
class PackSettings:
    """What one process of the pack runs with. Made by `load_pack`.

    Attributes:
        data_dir: The bot's data directory.
    """

    data_dir: Path
    redis_url: str | None = _row(
        values.url("redis", "rediss", "unix"), None, "a URL redis://…, rediss://… or unix://…",
        "Read from this Redis in place of the data directory.", "METRICPACK_REDIS_URL", secret=True,
    )  # fmt: skip
    redis_host: str | None = _row(
        values.host, None, "a host", "The same, by name: Redis is read as soon as it is given.", "REDIS_HOST"
    )
    redis_db: int = _row(values.whole(0, 65_535), 0, "a number", "Redis' database.", "REDIS_DB")
    redis_port: int = _row(values.whole(1, 65_535), 6_379, "a port", "Redis' port.", "REDIS_PORT")
    stream: str | None = _row(
        values.line(200), None, "the name of a stream",
        f"Which stream: of Redis (`{DEFAULT_STREAM}` if none is named), else of the bot (`logs/<stream>.jsonl`; its "
        "ledger if none is named).", "APPLY_RESULT_STREAM",
    )  # fmt: skip
    events: Path | None = _row(
        values.file, None, "a file", "Read this file of JSON lines in place of the data directory.",
        "METRICPACK_EVENTS",
    )  # fmt: skip
    group: str = _row(
        values.line(200), "metricpack_builder", "the name of a group", "The consumer group of Redis.",
        "METRICPACK_CONSUMER_GROUP",
    )  # fmt: skip
    keys: str = _row(values.line(100), "quantum:metricpack", "text", "What the keys of the state in Redis begin with.",
                     "METRICPACK_KEYS")  # fmt: skip
    start: Start = _row(
        values.choice(*START), "checkpoint", "`checkpoint`, `beginning` or `end`",
        "Where to begin: `checkpoint` goes on where the state was saved, and begins at the beginning where there is "
        "none; `beginning` and `end` forget the state.", "METRICPACK_FROM",
    )  # fmt: skip
    port: int = _row(values.whole(0, 65_535), 8_051, "a port; 0: any free one", "Where `/metrics` and `/health` are.",
                     "METRICPACK_PORT")  # fmt: skip
    host: str = _row(values.host, "127.0.0.1", "a host", "Address to listen on.", "METRICPACK_HOST")
    token: str | None = _row(values.bearer, None, "text without spaces",
                             "Bearer token that `/metrics` and `/health` ask for.", "METRICPACK_TOKEN",
                             secret=True)  # fmt: skip
    symbols: frozenset[str] | None = _row(_symbols, None, "names with commas between them",
                                          "Only these symbols count.", "METRICPACK_SYMBOLS")  # fmt: skip
    mode: Literal["mainnet", "testnet"] | None = _row(
        values.choice("mainnet", "testnet"), None, "`mainnet` or `testnet`",
        "Ask Binance's futures for bars: the real ones, or the testnet's.", "METRICPACK_MODE",
    )  # fmt: skip
    bars: str | None = _row(
        _bars, None, "`bot`, `none`, a file (CSV, JSON lines), or a URL",
        "Where bars come from: the bot's own records, nowhere, a file, or an interface in the format of Binance's "
        "futures. Without it, what `mode` says, else the bot's.", "METRICPACK_BARS",
    )  # fmt: skip
    interval: str = _row(_interval, "5m", "`1m`, `5m`, `15m`, `1h`, …",
                         "How long a bar is that regimes and ATR are taken of.", "METRICPACK_INTERVAL")  # fmt: skip
    prefix: str = _row(_prefix, "quantum_exit", "letters, digits and `_`, not beginning with a digit",
                       "What the names of the metrics begin with.", "METRICPACK_PREFIX")  # fmt: skip
    dust: Decimal = _row(values.amount, Decimal("0.001"), "a quantity",
                         "What may be left of a trade when it is closed.", "METRICPACK_DUST")  # fmt: skip
    dust_of: dict[str, Decimal] = attrs.field(
        factory=dict,
        metadata={
            "parse": _dust_of, "takes": "a table of quantities by symbol", "meaning": "The same for single symbols.",
            "env": (), "secret": False,
        },
    )  # fmt: skip
    names: Names = attrs.field(
        factory=Names,
        metadata={
            "parse": _names, "takes": "a table of names, or lists of names, by field",
            "meaning": "How the fields of an event are called.", "env": (), "secret": False,
        },
    )  # fmt: skip
    shard: tuple[int, int] | None = _row(_shard, None, "`1/3`: the first of three",
                                         "Build only this part of all symbols.", "METRICPACK_SHARD")  # fmt: skip
    state: Path | None = _row(
        values.file, None, "a file", "Where the state is kept; if none is named, `state/metricpack.sqlite` in the data "
        "directory. With Redis it is kept there.", "METRICPACK_STATE",
    )  # fmt: skip
    takeover: float = _row(
        _takeover, 5.0, "a duration from 0.2s to 10m",
        "After how long without a sign of life another process takes over.", "METRICPACK_TAKEOVER",
    )  # fmt: skip
    label_limit: int = _row(values.whole(1, 100_000), 200, "a whole number",
                            "How many symbols the metrics tell apart; later ones are `other`.",
                            "METRICPACK_LABEL_LIMIT")  # fmt: skip
    batch: int = _row(
        values.whole(1, 100_000), 1_000, "a whole number", "How many events are built and saved at once, at most.",
        "METRICPACK_BATCH",
    )  # fmt: skip
    seen: int = _row(values.whole(1, 10_000_000), 10_000, "a whole number",
                     "How many events are remembered to tell duplicates.", "METRICPACK_DEDUPE_SIZE")  # fmt: skip

    @property
    def uses_redis(self) -> bool:
        """Whether events and state are in Redis."""
        return self.redis_url is not None or self.redis_host is not None


def load_pack(
    data_dir: Path,
    flags: Mapping[str, object],
    table: Mapping[str, Any] | None = None,
    env: Mapping[str, str] = os.environ,
) -> PackSettings:
    """The settings of the pack.

    Args:
        data_dir: The bot's data directory.
        flags: What the command line says; `None` is nothing.
        table: The table `[metricpack]` of `botobs.toml`.
        env: The environment.

    Raises:
        ConfigError: A setting is unknown or wrong: the message names it, who gave it and what is right.
    """
    rows = {field.name: field for field in attrs.fields(PackSettings) if field.metadata}
    given: dict[str, tuple[object, str]] = {}
    for name, value in (table or {}).items():
        if name not in rows:
            raise ConfigError(f"unknown setting {name!r} in [metricpack]" + _nearest(name, rows))
        given[name] = (value, "[metricpack] in botobs.toml")
    given |= _from_environment(rows, env)
    given |= {name: (value, f"--{_flag(name)}") for name, value in flags.items() if value is not None}
    if "redis_host" not in given:
        for name in ("redis_port", "redis_db"):  # of another program: without a host they mean nothing here
            if given.get(name, ("", ""))[1].startswith("environment"):
                del given[name]
    found = {name: _parsed(rows[name], value, origin) for name, (value, origin) in given.items()}
    settings = PackSettings(data_dir=data_dir, **found)
    if settings.uses_redis and settings.events is not None:
        raise ConfigError(f"events ({given['events'][1]}) and Redis are two streams; the pack reads one")
    return settings


def _from_environment(rows: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    known = {variable: name for name, row in rows.items() for variable in row.metadata["env"]}
    given: dict[str, tuple[object, str]] = {}
    for variable, text in env.items():
        if variable in known and text.strip():
            given[known[variable]] = (text.strip(), f"environment variable {variable}")
        elif variable.startswith(_PREFIX) and variable not in known:
            raise ConfigError(f"unknown environment variable {variable}" + _nearest(variable, known))
    return given


def _parsed(row: Any, value: object, origin: str) -> Any:
    try:
        return row.metadata["parse"](value)
    except values.Wrong as wrong:
        reason = f": {wrong}"
    except Exception:  # other reasons may quote the value
        reason = ""
    shown = "***" if row.metadata["secret"] else values.shown(value)
    takes = row.metadata["takes"].replace("`", "")
    raise ConfigError(f"{row.name} = {shown} ({origin}) is wrong{reason}; it takes {takes}")


def _flag(name: str) -> str:
    return {"start": "from", "redis_url": "redis"}.get(name, name).replace("_", "-")


def _nearest(word: str, known: Iterable[str]) -> str:
    listed = list(known)
    near = difflib.get_close_matches(word, listed, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(listed))}"


def pack_table_markdown() -> str:
    """The table of settings for the documentation."""
    lines = ["| setting | takes | default | environment variable | meaning |", "|---|---|---|---|---|"]
    for row in attrs.fields(PackSettings):
        if not row.metadata:
            continue
        told = row.metadata
        default = "" if isinstance(row.default, attrs.Factory) or row.default is None else f"`{row.default}`"  # type: ignore[arg-type]
        variables = ", ".join(f"`{name}`" for name in told["env"])
        lines.append(f"| `{row.name}` | {told['takes']} | {default} | {variables} | {told['meaning']} |")
    return "\n".join(lines) + "\n"
