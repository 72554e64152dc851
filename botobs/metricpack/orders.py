"""What orders were for: their plan and action, from the bot's own records, for the fills of its ledger."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.clock import rfc3339
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MOST_ORDERS", "Order", "Orders"]

#: How many announced orders are remembered; one that fills after so many later ones has no plan any more.
MOST_ORDERS: Final = 50_000

_SLACK_NS: Final = 300 * 1_000_000_000  # clocks are set back, and records of several threads change places


class Order(NamedTuple):
    """What an order was announced with.

    Attributes:
        plan_id: The plan it belongs to.
        action: What it does in that plan; else the reason it was given.
        reduces: Whether it can only reduce.
    """

    plan_id: Any
    action: Any
    reduces: bool


class Orders:
    """Follows the stream `execution`, in which every order stands before its first fill.

    It reads no further than the fills are, so that of a long history no order is forgotten before its fills come.

    Args:
        data_dir: The bot's data directory.
        most: How many orders are remembered.
    """

    def __init__(self, data_dir: Path, most: int = MOST_ORDERS) -> None:
        self._ask = StreamReader(data_dir).follower("execution")
        self._news: Iterator[dict[str, Any]] | None = None
        self._known: OrderedDict[str, Order] = OrderedDict()
        self._most = most
        self._latest = ""

    def of(self, order_id: str | None) -> Order | None:
        """What the order was announced with; `None`: nobody announced it as far as was read."""
        return None if order_id is None else self._known.get(order_id)

    def reach(self, ts_ns: int) -> None:
        """Read on, up to what was announced by `ts_ns` on the bot's clock."""
        until = rfc3339(ts_ns + _SLACK_NS)
        if self._latest > until and self._news is not None:
            return
        # the same reading until it ends: an archive that was begun is not begun again
        self._news = news = self._news or self._ask()
        for record in news:
            self._take(record)
            if self._latest > until:
                return
        self._news = None

    def _take(self, record: dict[str, Any]) -> None:
        ts = record.get("ts")
        if isinstance(ts, str):
            self._latest = ts
        order_id, known = record.get("order_id"), self._known
        # the first announcement counts: a later one may stand behind the fill in question
        if record.get("event") == "order" and isinstance(order_id, str) and order_id not in known:
            action = record.get("action") or record.get("reason")
            known[order_id] = Order(record.get("plan_id"), action, record.get("reduces") is True)
            if len(known) > self._most:
                known.popitem(last=False)
