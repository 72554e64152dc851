"""What botobs says about itself, and the totals of the ledger."""

from __future__ import annotations

from typing import Final

from botobs.events import AlertFate

from .row import UNKNOWN, Kind, Measured, Row

__all__ = ["OWN", "TOTALS"]


def _alert(event: AlertFate) -> Measured:
    record = event.record
    return 1, (record.get("level") or UNKNOWN, record.get("fate") or UNKNOWN)


def _own(name: str, kind: Kind, unit: str, description: str, *labels: str) -> Row:
    return Row(f"botobs_{name}", kind, unit, description, labels, source="reading")


OWN: Final = (
    _own("events_dropped_total", "counter", "{event}", "What botobs had to drop, by stream.", "stream"),
    _own("queue_depth", "gauge", "{event}", "What waits in botobs's background queues."),
    _own("internal_errors_total", "counter", "{error}", "Errors that botobs caught inside itself, by place.", "where"),
    _own("overhead_ratio", "gauge", "1", "The part of one core that botobs's background work takes."),
    _own("traces_kept_total", "counter", "{trace}", "Traces kept, by why they were worth it.", "reason"),
    _own(
        "labels_folded_total", "counter", "{value}",
        'Label values that came after the cap of their label and became "other".',
    ),
    _own("label_values", "gauge", "{value}", "How many values a label has that are shown by name.", "label"),
    _own("label_limit", "gauge", "{value}", 'How many values a label may have; later ones become "other".'),
    _own("ledger_pending", "gauge", "{fill}", "Lines of the ledger that are not on disk yet."),
    Row(
        "botobs_alerts_total", "counter", "{alert}", "What became of alerts.", ("level", "fate"),
        source="event", event=AlertFate, measure=_alert,
    ),
    _own("prometheus_up", "gauge", "1", "1 while the metrics endpoint has its port, 0 while the port is taken."),
)  # fmt: skip


def _total(figure: str, unit: str, description: str) -> Row:
    return Row(f"metrics_{figure}", "gauge", unit, description, ("window",), source="reading")


TOTALS: Final = (
    _total("gross_pnl", "{currency}", "PnL of what was closed, before costs."),
    _total("fees", "{currency}", "Fees paid, less rebates."),
    _total("funding", "{currency}", "Funding received, less funding paid, with what is due."),
    _total("accrued_funding", "{currency}", "The part of the funding that was due and has not been reported."),
    _total("realized_pnl", "{currency}", "Gross PnL less fees, with funding."),
    _total("unrealized_pnl", "{currency}", "What open positions are worth beyond their cost; of a window, its change."),
    _total("total_pnl", "{currency}", "Realized and unrealized PnL."),
    _total("cash_flow", "{currency}", "What changed hands, less fees."),
    _total("volume", "{currency}", "Volume traded."),
    _total("maker_volume", "{currency}", "Volume traded as maker."),
    _total("taker_volume", "{currency}", "Volume traded as taker."),
    _total("equity", "{currency}", "What the account is worth."),
    _total("peak_equity", "{currency}", "The highest equity that was seen."),
    _total("drawdown", "{currency}", "How far equity is below its peak, in money."),
    _total("max_drawdown", "{currency}", "The largest drawdown, in money."),
    _total("fills", "{fill}", "How many fills."),
    _total("drawdown_pct", "1", "How far equity is below its peak, as a fraction of it."),
    _total("max_drawdown_pct", "1", "The largest drawdown as a fraction of the peak."),
    _total("sharpe", "1", "Sharpe ratio of calendar buckets of equity, annualized."),
)
