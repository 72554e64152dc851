"""One metric: its name, what it measures, and where that comes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.events import Event

__all__ = [
    "BPS",
    "CONFIDENCE",
    "MILLISECONDS",
    "SCOPE",
    "UNKNOWN",
    "Kind",
    "Measured",
    "Row",
    "Source",
    "clean_namespace",
]

SCOPE: Final = "botobs"
#: The label value of what nobody said.
UNKNOWN: Final = "unknown"

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["event", "reading", "stages", "signals", "later"]
#: A value and the label values that go with it; `None`: the event has none.
Measured = tuple[Any, tuple[Any, ...]] | None

_DEFAULT_NAMESPACE: Final = "bot"
_STEPS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)

#: Basis points, for better and for worse alike.
BPS: Final = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)
#: From a tenth of a millisecond to half a minute.
MILLISECONDS: Final = (0.1, 0.25, 0.5, *_STEPS, 2_500.0, 5_000.0, 10_000.0, 30_000.0)
#: A probability.
CONFIDENCE: Final = (0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 1.0)


@attrs.frozen
class Row:
    """One metric.

    Args:
        name: As Prometheus shows it with the default namespace.
        kind: `counter` (only grows), `gauge` (a value) or `histogram`.
        unit: In UCUM, as OpenTelemetry has it; what is merely counted, and what UCUM does not know, stands in braces.
        description: One sentence.
        labels: Names of its labels.
        boundaries: Upper bounds of a histogram's buckets.
        source: `event` (counted as they happen), `reading` (asked at each collection), `stages` and `signals` (the hot
            path's own cells), `later` (nothing fills it yet).
        event: Which events are measured.
        measure: What one of them comes to.
        why_later: Why it is absent for now.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    source: Source = attrs.field(kw_only=True)
    event: type[Event] | None = attrs.field(default=None, kw_only=True)
    measure: Callable[[Any], Measured] | None = attrs.field(default=None, kw_only=True)
    why_later: str = attrs.field(default="", kw_only=True)

    @property
    def below_zero(self) -> bool:
        """Whether it is a histogram of what may be negative: its sum may fall."""
        return bool(self.boundaries) and self.boundaries[0] < 0

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if self.why_later:
            return f"absent for now: {self.why_later}"
        if self.event is not None:
            return f"`{self.event.__name__}`"
        return {
            "reading": "asked at each collection", "stages": "each stage and tick", "signals": "`tick.signal`",
        }.get(self.source, "")  # fmt: skip

    def full_name(self, namespace: str) -> str:
        """The name under `namespace`; what is not of the bot (`botobs_…`) keeps its name.

        Example:
            >>> Row("bot_trades_total", "counter", "{trade}", "Trades.", source="event").full_name("acme")
            'acme_trades_total'
        """
        prefix = _DEFAULT_NAMESPACE + "_"
        if not self.name.startswith(prefix):
            return self.name
        return f"{clean_namespace(namespace)}_{self.name.removeprefix(prefix)}"


def clean_namespace(namespace: str) -> str:
    """`namespace` as both Prometheus and OpenTelemetry (which lowers case) take it at the front of a name.

    Example:
        >>> clean_namespace("My-Bot"), clean_namespace("9lives"), clean_namespace("")
        ('my_bot', 'bot_9lives', 'bot')
    """
    cleaned = re.sub(r"[^a-z0-9_]+", "_", namespace.lower()).strip("_")[:100]
    if not cleaned:
        return _DEFAULT_NAMESPACE
    return cleaned if cleaned[0].isalpha() else f"{_DEFAULT_NAMESPACE}_{cleaned}"
