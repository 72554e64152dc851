"""What botobs costs the bot, and whether it loses anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.dashboards.source.board import board
from botobs.dashboards.source.panels import Query, chart, figure
from botobs.dashboards.source.queries import BOT

if TYPE_CHECKING:
    from botobs.dashboards.source.panels import Panel

__all__ = ["itself"]

_ANY = ((None, "green"), (1, "red"))


def itself() -> Any:
    """The dashboard."""
    return board(
        "botobs-itself",
        "botobs itself",
        "Drops, errors, queues, and the part of a core that botobs takes.",
        [("Now", _now()), ("Losses", _losses()), ("Cost", _cost()), ("Traces, labels, alerts", _rest())],
    )


def _now() -> list[Panel]:
    return [
        figure("Dropped", "Events dropped since the bot started.", "short",
               f"sum(botobs_events_dropped_total{{{BOT}}}) or vector(0)", steps=_ANY),
        figure("Internal errors", "Errors that botobs caught inside itself since the bot started.", "short",
               f"sum(botobs_internal_errors_total{{{BOT}}}) or vector(0)", steps=_ANY),
        figure("Not on disk", "Lines of the ledger that are not on the disk yet.", "short",
               f"sum(botobs_ledger_pending{{{BOT}}})", steps=_ANY),
        figure("Overhead", "The part of one core that botobs takes.", "percentunit",
               f"max(botobs_overhead_ratio{{{BOT}}})", steps=((None, "green"), (0.02, "orange"), (0.05, "red"))),
        figure("In queues", "Events that wait for the background thread.", "short",
               f"sum(botobs_queue_depth{{{BOT}}})"),
        figure("Labels", "Values of the fullest label, as a part of its cap. At 100 % new values become `other`.",
               "percentunit", f"max(botobs_label_values{{{BOT}}}) / max(botobs_label_limit{{{BOT}}})",
               steps=((None, "green"), (0.8, "orange"), (1, "red"))),
    ]  # fmt: skip


def _losses() -> list[Panel]:
    return [
        chart("Dropped", "Events dropped in ten minutes, by stream.", "short",
              Query(f"sum by (stream) (stream:botobs_events_dropped:new_10m{{{BOT}}})", "{{stream}}"), zero=True,
              empty="none"),
        chart("Internal errors", "In ten minutes, by place.", "short",
              Query(f"sum by (where) (where:botobs_internal_errors:new_10m{{{BOT}}})", "{{where}}"), zero=True,
              empty="none"),
        chart("Ledger lines not on disk", "They stay in memory and are tried again.", "short",
              Query(f"botobs_ledger_pending{{{BOT}}}", "{{instance}}"), zero=True),
    ]  # fmt: skip


def _cost() -> list[Panel]:
    return [
        chart("Overhead", "The part of one core that botobs takes.", "percentunit",
              Query(f"botobs_overhead_ratio{{{BOT}}}", "{{instance}}"), zero=True),
        chart("Queue", "Events that wait for the background thread.", "short",
              Query(f"botobs_queue_depth{{{BOT}}}", "{{instance}}"), zero=True),
        chart("Scrapes", "How long Prometheus waits for the page.", "s",
              Query(f"scrape_duration_seconds{{{BOT}}}", "{{instance}}"), zero=True),
    ]  # fmt: skip


def _rest() -> list[Panel]:
    return [
        chart("Traces kept", "In ten minutes, by the first reason that kept them.", "short",
              Query(f"sum by (reason) (increase(botobs_traces_kept_total{{{BOT}}}[10m]))", "{{reason}}"), zero=True,
              bars=True, stacked=True, empty="none"),
        chart("Label values", "Beside the cap, from which on new values become `other`.", "short",
              Query(f"max by (label) (botobs_label_values{{{BOT}}})", "{{label}}"),
              Query(f"max(botobs_label_limit{{{BOT}}})", "cap"), zero=True),
        chart("Values folded into `other`", "Label values that came after the cap.", "short",
              Query(f"botobs_labels_folded_total{{{BOT}}}", "{{instance}}"), zero=True),
        chart("Alerts", "What became of the bot's own alerts, since it started.", "short",
              Query(f"sum by (level, fate) (botobs_alerts_total{{{BOT}}})", "{{level}} {{fate}}"), width=12, zero=True,
              empty="no alert yet"),
        chart("Series", "How many series a scrape brings.", "short",
              Query(f"scrape_samples_scraped{{{BOT}}}", "{{instance}}"), width=12, zero=True),
    ]  # fmt: skip
