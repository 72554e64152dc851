"""Whether the bot is well: its health, its feeds, what it trades on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance
from .safety import FeedStale, FundingStale

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BotAwake",
    "BotSilent",
    "DaySnapshot",
    "FeaturesLogged",
    "FeedAlarmed",
    "FeedReconnect",
    "FeedRecovered",
    "FeedSilent",
    "FundingAged",
    "HealthRecorded",
    "HourSnapshot",
]


@attrs.frozen(kw_only=True)
class HealthRecorded(Event):
    """The bot's health, recorded for a reason.

    Attributes:
        reasons: Why: `heartbeat`, `equity`, `equity_unknown`, `toggle:NAME`, `counter:NAME`, `level:NAME`.
        suppressed: How many calls since the record before gave none.
        record: What the bot said.
    """

    stream: ClassVar[str | None] = "health"
    flat: ClassVar[str | None] = "record"

    reasons: tuple[str, ...]
    suppressed: int = 0
    record: Mapping[str, Any] = attrs.field(metadata={"key": None})


@attrs.frozen(kw_only=True)
class _Snapshot(Event):
    importance: ClassVar[Importance] = Importance.HIGH
    flat: ClassVar[str | None] = "record"
    at_once: ClassVar[bool] = True

    record: Mapping[str, Any] = attrs.field(metadata={"key": None})


@attrs.frozen(kw_only=True)
class HourSnapshot(_Snapshot):
    """How things stood when an hour ended; `ts` is that moment."""

    stream: ClassVar[str | None] = "health_snapshot_1h"


@attrs.frozen(kw_only=True)
class DaySnapshot(_Snapshot):
    """How things stood when a day ended; `ts` is that moment."""

    stream: ClassVar[str | None] = "health_snapshot_24h"


@attrs.frozen(kw_only=True)
class FeedSilent(Event):
    """A feed has been silent for longer than it may be; where the bot gave a way to reconnect, that is tried now."""

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "stale"
    importance: ClassVar[Importance] = Importance.HIGH

    name: str
    age_s: float
    limit_s: float
    attempts: int = 0
    reconnects: int = 0


@attrs.frozen(kw_only=True)
class FeedReconnect(Event):
    """The bot's reconnect was called.

    Attributes:
        attempts: How often it was called during this silence.
        reconnects: How often it came back without an error, since the start.
        outcome: `done`, `failed` (it raised) or `hung` (no end within its limit).
        error: What it raised.
        took_s: How long it took.
    """

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "reconnect"
    importance: ClassVar[Importance] = Importance.HIGH

    name: str
    age_s: float
    limit_s: float
    attempts: int
    reconnects: int
    outcome: str
    error: str | None = None
    took_s: float = 0.0


@attrs.frozen(kw_only=True)
class FeedAlarmed(FeedStale):
    """A feed is silent and a person should know: there is no way to reconnect, or the first attempt did not help.

    Comes once more, with `escalated`, when many attempts did not help.

    Attributes:
        attempts: How often its reconnect was called during this silence.
    """

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "alarm"
    importance: ClassVar[Importance] = Importance.CRITICAL

    attempts: int = 0


@attrs.frozen(kw_only=True)
class FeedRecovered(FeedStale):
    """A feed that was silent is alive again; `age_s` is how long it was silent.

    Attributes:
        attempts: How often its reconnect was called.
        alarmed: There was a `FeedAlarmed` about it.
    """

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "recovered"

    attempts: int = 0
    alarmed: bool = False


@attrs.frozen(kw_only=True)
class BotSilent(Event):
    """The process lives and decides nothing, for several times its usual interval."""

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "silent"
    importance: ClassVar[Importance] = Importance.CRITICAL

    level: str = "critical"
    age_s: float
    limit_s: float
    usual_s: float | None = None


@attrs.frozen(kw_only=True)
class BotAwake(Event):
    """A bot that was silent decides again; `age_s` is how long it did not."""

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "awake"
    importance: ClassVar[Importance] = Importance.HIGH

    age_s: float


@attrs.frozen(kw_only=True)
class FeaturesLogged(Event):
    """What is stale has changed.

    Attributes:
        stale_features: Age in seconds by name, the oldest first; at most 100 of them.
        stale_count: How many there are.
        staleness_alert: There are more than there may be.
        became_stale: Names since the record before.
        became_fresh: Names since the record before.
        frozen: Those among the stale that come but do not change.
    """

    stream: ClassVar[str | None] = "feature_log"
    kind: ClassVar[str | None] = "staleness"
    importance: ClassVar[Importance] = Importance.LOW

    stale_features: Mapping[str, float]
    stale_count: int
    staleness_alert: bool
    became_stale: tuple[str, ...] = ()
    became_fresh: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    watched: int = 0


@attrs.frozen(kw_only=True)
class FundingAged(FundingStale):
    """A funding rate has not come for longer than it may, or has come again (`resolved`)."""

    stream: ClassVar[str | None] = "connections"
    kind: ClassVar[str | None] = "funding_stale"

    rate: float | None = None
