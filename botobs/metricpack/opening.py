"""Which source, store and market the settings mean."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from botobs.metricpack.market import NoMarket
from botobs.metricpack.names import Names
from botobs.metricpack.rules import Rules
from botobs.metricpack.settings import DEFAULT_STREAM

if TYPE_CHECKING:
    from botobs.metricpack.market import Market
    from botobs.metricpack.settings import PackSettings
    from botobs.metricpack.source import Source
    from botobs.metricpack.store import Store

__all__ = ["open_market", "open_source", "open_store", "rules_of"]


def open_source(settings: PackSettings) -> Source:
    """The stream of events.

    Raises:
        ConfigError: It cannot be had.
    """
    if settings.uses_redis:
        from botobs.metricpack.redis_source import RedisSource  # noqa: PLC0415 - the one that is used

        consumer = f"{socket.gethostname()}:{os.getpid()}"
        return RedisSource(
            _redis_url(settings), settings.stream or DEFAULT_STREAM, settings.group + _shard_of(settings), consumer
        )
    if settings.events is not None:
        from botobs.metricpack.jsonl import JsonlSource  # noqa: PLC0415 - the one that is used

        return JsonlSource(settings.events)
    if settings.stream is not None:
        from botobs.metricpack.jsonl import JsonlSource  # noqa: PLC0415

        return JsonlSource.of_stream(settings.data_dir, settings.stream)
    from botobs.metricpack.ledger import LedgerSource  # noqa: PLC0415

    return LedgerSource(settings.data_dir)


def open_store(settings: PackSettings) -> Store:
    """Where the state is kept.

    Raises:
        ConfigError: It cannot be had.
        StoreTrouble: It cannot be opened.
    """
    if settings.uses_redis:
        from botobs.metricpack.redis_store import RedisStore  # noqa: PLC0415 - the one that is used

        return RedisStore(_redis_url(settings), settings.keys + _shard_of(settings))
    from botobs.metricpack.sqlite import SqliteStore  # noqa: PLC0415

    shard = "" if settings.shard is None else "-{}-of-{}".format(*settings.shard)
    if settings.state is not None:
        return SqliteStore(settings.state)
    if settings.events is not None:
        return SqliteStore(settings.events.with_name(f"{settings.events.name}.metricpack{shard}.sqlite"))
    return SqliteStore(settings.data_dir / "state" / f"metricpack{shard}.sqlite")


def _redis_url(settings: PackSettings) -> str:
    host = settings.redis_host or ""
    place = f"[{host}]" if ":" in host else host
    return settings.redis_url or f"redis://{place}:{settings.redis_port}/{settings.redis_db}"


def _shard_of(settings: PackSettings) -> str:
    """Each part has a checkpoint, a state and a group of its own: all of them read all of the stream."""
    return "" if settings.shard is None else ":{}of{}".format(*settings.shard)


def open_market(settings: PackSettings) -> Market:
    """Where bars come from.

    Raises:
        ConfigError: They cannot be had.
    """
    from botobs.metricpack.klines import MAINNET, TESTNET, Klines  # noqa: PLC0415

    said = settings.bars
    if said is None:
        if settings.mode is not None:
            return Klines(MAINNET if settings.mode == "mainnet" else TESTNET, interval=settings.interval)
        said = "none" if settings.uses_redis or settings.events is not None else "bot"
    if said == "none":
        return NoMarket()
    if said.startswith(("http://", "https://")):
        return Klines(said, interval=settings.interval)
    from botobs.metricpack.bars import BotBars, FileBars  # noqa: PLC0415

    if said == "bot":
        return BotBars(settings.data_dir)
    return FileBars(Path(said).expanduser(), interval=settings.interval)


def rules_of(settings: PackSettings) -> Rules:
    """How events become trades. The ledger's lines are of our own making: nobody names their fields otherwise."""
    of_ledger = not settings.uses_redis and settings.events is None and settings.stream is None
    return Rules(
        names=Names() if of_ledger else settings.names,
        dust=settings.dust,
        dust_of=settings.dust_of,
        symbols=settings.symbols,
        shard=settings.shard,
        most_symbols=settings.label_limit,
        most_seen=settings.seen,
    )
