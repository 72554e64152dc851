"""What `/health` says: asked every second by whoever watches the bot, so it takes no lock that a verb may hold long.

What never changes is made once. Everything else is read where it stands, nothing is computed from history.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import botobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.bus import Bus
    from botobs.config import Settings
    from botobs.delivery import Delivery
    from botobs.faults import Faults
    from botobs.safety.room import Safety
    from botobs.sinks.endpoint import Endpoint
    from botobs.sinks.otlp_out import OtlpOut
    from botobs.sinks.redis.publisher import RedisPublisher

__all__ = ["HealthPage"]


class HealthPage:
    """Health as one page.

    Args:
        settings: What the bot runs with.
        run_id: This run.
        faults: Drops and errors.
        delivery: What waits.
        bus: Subscribers that hang.
        safety: The kill switch, feeds and features.
        otlp: Whether traces get through; `None`: they go nowhere.
        endpoint: Who was turned away there; `None`: there is none.
        redis: Whether records get to Redis; `None`: they do not go there.
        over: Whether the run has ended.
    """

    __slots__ = (
        "_begun", "_bus", "_delivery", "_endpoint", "_faults", "_over", "_redis", "_safety", "_sender", "_versions",
        "_who",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        *,
        faults: Faults,
        delivery: Delivery,
        bus: Bus,
        safety: Safety,
        otlp: OtlpOut | None,
        endpoint: Endpoint | None,
        redis: RedisPublisher | None,
        over: Callable[[], bool],
    ) -> None:
        self._who = {"bot": settings.bot, "bot_version": settings.bot_version, "run_id": run_id, "mode": settings.mode}
        self._versions = {"botobs": botobs.__version__, "python": sys.version.partition(" ")[0]}
        self._begun = time.monotonic()
        self._faults, self._delivery, self._bus, self._safety, self._over = faults, delivery, bus, safety, over
        self._sender = None if otlp is None else otlp.sender
        self._endpoint, self._redis = endpoint, redis

    def __call__(self) -> dict[str, Any]:
        """The page as it is now; `status` is `ok`, `stale`, `halted` or `ended`."""
        faults, sender, now = self._faults, self._sender, time.monotonic()
        trouble = None if sender is None else sender.trouble
        watch = self._safety.page()
        status = watch.pop("status")
        said_at = faults.last_error_at
        page = {
            "status": "ended" if self._over() else status,
            **self._who,
            "uptime_s": round(now - self._begun, 3),
            **watch,
            "queue_depth": self._delivery.waiting,
            "dropped": faults.drops,
            "internal_errors": faults.errors,
            "last_error": faults.last_error,
            "last_error_s": None if said_at is None else round(now - said_at, 3),
            "hung_subscribers": list(self._bus.hung),
            "otlp": {"endpoint": "off" if sender is None else "on", "trouble": [] if trouble is None else [trouble]},
            "versions": dict(self._versions),
        }
        if self._endpoint is not None:
            page["refused_requests"] = dict(self._endpoint.door.refused)
        if self._redis is not None:
            away = self._redis.trouble
            page["redis"] = {"waiting": self._redis.counts.pending, "trouble": [] if away is None else [away]}
        return page
