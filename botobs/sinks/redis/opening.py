"""Which publisher the settings of `start` mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.metricpack.ledger import LedgerSource
from botobs.metricpack.orders import Order
from botobs.sinks.redis.publisher import RedisPublisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botobs.config import Settings
    from botobs.faults import Faults

__all__ = ["open_publisher"]


class _BotsOrders:
    """The orders that the bot knows, as the ledger's source asks for them.

    They are not read again from their stream: that would take the bot's time.
    """

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get

    def of(self, order_id: str | None) -> Order | None:
        """What the order was announced with; `None`: nobody announced it."""
        found = None if order_id is None else self._get(order_id)
        return None if found is None else Order(found.plan_id, found.action or found.reason, found.reduces is True)


def open_publisher(
    settings: Settings, faults: Faults, data_dir: Path | None, order: Callable[[str], Any]
) -> RedisPublisher | None:
    """The way to `redis_url`; `None`: there is none, or no network may be used.

    Args:
        settings: What the observer runs with.
        faults: Where losses and failures are counted.
        data_dir: Where the ledger is.
        order: Finds an order by its id.

    Raises:
        ConfigError: The extra `redis` is not installed.
    """
    if settings.redis_url is None or settings.mode != "live":
        return None
    ledger = since = None
    if data_dir is not None and settings.ledger:
        ledger = LedgerSource(data_dir, _BotsOrders(order))
        since = data_dir / "state" / "redis.since"
    return RedisPublisher(
        settings.redis_url,
        faults,
        bot=settings.bot,
        prefix=settings.redis_prefix,
        field=settings.redis_field,
        maxlen=settings.redis_maxlen,
        queue_size=settings.queue_size,
        ledger=ledger,
        since=since,
        executions=settings.redis_stream,
        executions_maxlen=settings.redis_stream_maxlen,
    )
