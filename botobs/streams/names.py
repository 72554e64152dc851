"""What streams are called, where they lie and how much they matter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from botobs.clock import epoch_ns, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "ARCHIVE",
    "HIGH",
    "IMPORTANCE",
    "LOW",
    "NORMAL",
    "OTHER",
    "PATHS",
    "Archived",
    "stream_name",
    "stream_path",
]

# The share of the queue that streams of this importance may fill: what matters more always finds room left.
LOW, NORMAL, HIGH = 0.5, 0.8, 1.0

IMPORTANCE: Mapping[str, float] = {
    "alerts": HIGH,
    "calibration": NORMAL,
    "connections": HIGH,
    "costs": HIGH,
    "counterfactual": NORMAL,
    "decisions": NORMAL,
    "edge": NORMAL,
    "equity_curve": HIGH,
    "execution": HIGH,
    "explanations": NORMAL,
    "feature_log": LOW,
    "health": NORMAL,
    "health_snapshot_1h": HIGH,
    "health_snapshot_24h": HIGH,
    "kill_switch": HIGH,
    "order_book": LOW,
    "price_events": LOW,
    "regime_transition": NORMAL,
    "performance_alerts": HIGH,
    "refused": HIGH,
    "rejections": HIGH,
    "signals": NORMAL,
    "trade_lifecycle": HIGH,
}

# Streams that lie elsewhere than in logs/<stream>.jsonl, relative to logs/.
PATHS: Mapping[str, str] = {
    "health_snapshot_1h": "1h/health_snapshot/snapshot.jsonl",
    "health_snapshot_24h": "24h/health_snapshot/snapshot.jsonl",
    "performance_alerts": "performance/alerts.jsonl",
    "refused": "../metrics/refused.jsonl",
}

ARCHIVE = "archive"  # the folder in logs/ for what was rotated or set aside
OTHER = "other"  # the stream for names that cannot be used, and for those beyond the limit

_ARCHIVED = re.compile(
    r"(?P<stream>[a-z0-9_-]{1,64})-(?P<start>\d{8}T\d{6}\.\d{6}Z)(?:-(?P<turn>\d+))?\.jsonl(?:\.gz)?"
)


def stream_name(name: object) -> str:
    """A name that is safe as a file's, whatever the bot calls its stream.

    Example:
        >>> stream_name("../My Stream"), stream_name("日本"), stream_name("archive")
        ('my_stream', 'other', 'other')
    """
    text = name if isinstance(name, str) else ""
    safe = re.sub(r"[^a-z0-9_-]", "_", text[:256].lower()).lstrip("_-")[:64].rstrip("_-")
    return OTHER if not safe or safe == ARCHIVE else safe


def stream_path(logs: Path, stream: str) -> Path:
    """The live file of a stream."""
    path = PATHS.get(stream, f"{stream}.jsonl")
    return logs.parent / path.removeprefix("../") if path.startswith("../") else logs / path


class Archived(NamedTuple):
    """What the name of an archived file tells; sorts in the order of writing."""

    start: str
    turn: int
    stream: str

    @classmethod
    def parse(cls, name: str) -> Archived | None:
        """What `name` tells, or None if it names no archived file."""
        found = _ARCHIVED.fullmatch(name)
        return found and cls(found["start"], int(found["turn"] or 0), found["stream"])

    @classmethod
    def of(cls, stream: str, start_ns: int) -> Archived:
        """The first choice of a name for a file of `stream` that begins at `start_ns`."""
        return cls(compact(start_ns), 0, stream)

    @property
    def start_ns(self) -> int:
        """When the first record was made."""
        return epoch_ns(self.start)

    @property
    def file_name(self) -> str:
        """The name before compression."""
        turn = f"-{self.turn}" if self.turn else ""
        return f"{self.stream}-{self.start}{turn}.jsonl"


def compact(ns: int) -> str:
    """`ns` as it stands in file names.

    Example:
        >>> compact(1_767_323_045_000_001_000)
        '20260102T030405.000001Z'
    """
    return rfc3339(ns).replace("-", "").replace(":", "")
