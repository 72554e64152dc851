"""Every metric botobs knows: one table for the instruments, the documentation and the tests."""

from __future__ import annotations

import re
from typing import Literal

import attrs

__all__ = ["CATALOGUE", "SCOPE", "STAGE_DURATION", "Kind", "Row", "clean_namespace"]

SCOPE = "botobs"
Kind = Literal["counter", "updown", "gauge", "histogram"]

_DEFAULT_NAMESPACE = "bot"


@attrs.frozen
class Row:
    """One metric.

    Args:
        name: As Prometheus shows it with the default namespace.
        kind: `counter` (only grows), `updown` (a sum that can fall), `gauge` (a value) or `histogram`.
        unit: In UCUM, as OpenTelemetry has it; what is merely counted stands in braces.
        description: One sentence.
        labels: Names of its labels.
        boundaries: Upper bounds of a histogram's buckets.
        reading: The field of `SelfReadings` it is read from; empty when events set it.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    reading: str = ""

    def full_name(self, namespace: str) -> str:
        """The name under `namespace`; what is not of the bot (`botobs_…`) keeps its name.

        Example:
            >>> STAGE_DURATION.full_name("acme")
            'acme_stage_duration_seconds'
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


STAGE_DURATION = Row(
    "bot_stage_duration_seconds",
    "histogram",
    "s",
    "How long a stage of a tick took.",
    ("stage", "symbol"),
)

CATALOGUE: tuple[Row, ...] = (
    STAGE_DURATION,
    Row(
        "botobs_events_dropped_total",
        "counter",
        "{event}",
        "What botobs had to drop, by stream.",
        ("stream",),
        reading="dropped",
    ),
    Row(
        "botobs_queue_depth",
        "gauge",
        "{event}",
        "What waits in botobs's background queues.",
        reading="queue_depth",
    ),
    Row(
        "botobs_internal_errors_total",
        "counter",
        "{error}",
        "Errors that botobs caught inside itself, by place.",
        ("where",),
        reading="errors",
    ),
    Row(
        "botobs_overhead_ratio",
        "gauge",
        "1",
        "The part of one core that botobs's background work takes.",
        reading="overhead",
    ),
    Row(
        "botobs_traces_kept_total",
        "counter",
        "{trace}",
        "Traces kept, by why they were worth it.",
        ("reason",),
        reading="kept",
    ),
    Row(
        "botobs_labels_folded_total",
        "counter",
        "{value}",
        'Label values that came after the cap of their label and became "other".',
        reading="folded",
    ),
    Row(
        "botobs_prometheus_up",
        "gauge",
        "1",
        "1 while the metrics endpoint has its port, 0 while the port is taken.",
        reading="prometheus_up",
    ),
    Row("metrics_gross_pnl", "gauge", "{currency}", "PnL of what was closed, before costs.", ("window",)),
    Row("metrics_fees", "gauge", "{currency}", "Fees paid, less rebates.", ("window",)),
    Row("metrics_funding", "gauge", "{currency}", "Funding received, less funding paid.", ("window",)),
    Row("metrics_realized_pnl", "gauge", "{currency}", "Gross PnL less fees, with funding.", ("window",)),
    Row(
        "metrics_unrealized_pnl",
        "gauge",
        "{currency}",
        "What open positions are worth beyond their cost; of a window, its change.",
        ("window",),
    ),
    Row("metrics_total_pnl", "gauge", "{currency}", "Realized and unrealized PnL.", ("window",)),
    Row("metrics_cash_flow", "gauge", "{currency}", "What changed hands, less fees.", ("window",)),
    Row("metrics_volume", "gauge", "{currency}", "Volume traded.", ("window",)),
    Row("metrics_maker_volume", "gauge", "{currency}", "Volume traded as maker.", ("window",)),
    Row("metrics_taker_volume", "gauge", "{currency}", "Volume traded as taker.", ("window",)),
    Row("metrics_equity", "gauge", "{currency}", "What the account is worth.", ("window",)),
    Row("metrics_peak_equity", "gauge", "{currency}", "The highest equity that was seen.", ("window",)),
    Row("metrics_drawdown", "gauge", "{currency}", "How far equity is below its peak, in money.", ("window",)),
    Row("metrics_max_drawdown", "gauge", "{currency}", "The largest drawdown, in money.", ("window",)),
    Row("metrics_fills", "gauge", "{fill}", "How many fills.", ("window",)),
    Row("metrics_drawdown_pct", "gauge", "1", "How far equity is below its peak, as a fraction of it.", ("window",)),
    Row("metrics_max_drawdown_pct", "gauge", "1", "The largest drawdown as a fraction of the peak.", ("window",)),
    Row("metrics_sharpe", "gauge", "1", "Sharpe ratio of calendar buckets of equity, annualized.", ("window",)),
)
