"""What was saved last, as metrics. Only what is saved is shown, so that no figure is taken back by a crash."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from botobs.metricpack.tallies import ATR_BOUNDS, TIME_BOUNDS
from botobs.metricpack.trade import OUTCOMES
from botobs.sinks.metrics.catalogue import Row
from botobs.sinks.metrics.numbers import number
from botobs.sinks.metrics.page import PrometheusPage
from botobs.sinks.metrics.series import HistogramPoint, Plain, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from botobs.metricpack.builder import Builder, Changes
    from botobs.metricpack.tallies import Spread

__all__ = ["ROWS", "Page", "table_markdown"]

_ACTION: Final = ("symbol", "regime", "action")
_REGIME: Final = ("symbol", "regime")


def _row(name: str, kind: Any, unit: str, description: str, *labels: str, bounds: tuple[float, ...] = ()) -> Row:
    return Row(name, kind, unit, description, labels, bounds, source="reading")


ROWS: Final = (
    _row("realized_pnl_total", "gauge", "{currency}",
         "PnL realised so far, after the fees of each event; it falls as well as rises.", *_ACTION),
    _row("trades_total", "counter", "{trade}",
         "Closed trades, by the action that closed them and by what they made after all costs.", *_ACTION, "outcome"),
    _row("exits_total", "counter", "{exit}",
         "Exits of closed trades, by what each made after its own fee.", *_ACTION, "outcome"),
    _row("winrate", "gauge", "1", "Part of the exits of closed trades that made money.", *_ACTION),
    _row("expectancy", "gauge", "{currency}", "What a closed trade makes on average, after costs.", *_REGIME),
    _row("profit_factor", "gauge", "1", "What winning trades made over what losing ones lost.", *_REGIME),
    _row("time_in_trade_seconds", "histogram", "s", "From the first entry to the last exit.", *_REGIME,
         bounds=TIME_BOUNDS),
    _row("mfe_atr", "histogram", "1", "How far the price went for a trade, in ATR at its entry.", *_REGIME,
         bounds=ATR_BOUNDS),
    _row("mae_atr", "histogram", "1", "How far the price went against a trade, in ATR at its entry.", *_REGIME,
         bounds=ATR_BOUNDS),
    _row("open_trades", "gauge", "{trade}", "Trades that are open."),
    _row("events_processed_total", "counter", "{event}", "Events taken from the stream."),
    _row("events_duplicate_total", "counter", "{event}", "Events that had been seen before, and changed nothing."),
    _row("events_unreadable_total", "counter", "{event}", "Events that could not be read, and were kept aside."),
    _row("events_ignored_total", "counter", "{event}", "Events that changed nothing, by reason.", "reason"),
    _row("builder_lag_seconds", "gauge", "s", "How long the last event, or the one in work, waited to be saved."),
    _row("builder_active", "gauge", "1", "Whether this process works (1) or stands by (0)."),
    _row("builder_gaps_total", "counter", "{gap}", "How often a part of the stream was missing, since this start."),
    _row("builder_unanswered_total", "counter", "{question}", "Questions for bars without answer, since this start."),
)  # fmt: skip


class Page:
    """The figures of the pack.

    Args:
        prefix: What every name begins with, without the underscore behind it.
        about: What the process is, for `target_info`.
        standing: Asked at each scrape for figures of the process itself, by name; `None` for one leaves it out.
    """

    def __init__(
        self, prefix: str, about: Mapping[str, Any], standing: Callable[[], Mapping[str, float | None]]
    ) -> None:
        self._prefix = prefix
        self._standing = standing
        self._lock = threading.Lock()
        self._plain: dict[str, dict[tuple[str, ...], float]] = {}
        self._spreads: dict[str, dict[tuple[str, ...], HistogramPoint]] = {}
        self._page = PrometheusPage(self._collect, about)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, as the endpoint wants them."""
        return self._page.render(accept)

    def clear(self) -> None:
        """Show no figure: another process works."""
        with self._lock:
            self._plain.clear()
            self._spreads.clear()

    def show_all(self, builder: Builder) -> None:
        """Show everything, as it was saved."""
        self.clear()
        with self._lock:
            self._show(builder, builder.by_action, builder.by_regime)

    def show(self, builder: Builder, changes: Changes) -> None:
        """Show what has changed and is saved now."""
        with self._lock:
            self._show(builder, changes.actions, changes.regimes)

    def _show(
        self, builder: Builder, actions: Iterable[tuple[str, str, str]], regimes: Iterable[tuple[str, str]]
    ) -> None:
        for labels in actions:
            tally = builder.by_action[labels]
            self._put("realized_pnl_total", labels, tally.pnl)
            self._put("winrate", labels, tally.win_rate)
            for name, counts in (("trades_total", tally.trades), ("exits_total", tally.exits)):
                if any(counts):
                    for outcome, count in zip(OUTCOMES, counts, strict=True):
                        self._put(name, (*labels, outcome), count)
        for place in regimes:
            found = builder.by_regime[place]
            self._put("expectancy", place, found.stats.expectancy.value)
            self._put("profit_factor", place, found.stats.profit_factor.value)
            self._spread("time_in_trade_seconds", place, found.held)
            self._spread("mfe_atr", place, found.mfe)
            self._spread("mae_atr", place, found.mae)
        memory = builder.memory
        self._put("open_trades", (), builder.open_trades)
        counted = {"events_processed": "events", "events_duplicate": "duplicates", "events_unreadable": "unreadable"}
        for name, what in counted.items():
            self._put(f"{name}_total", (), memory.counts.get(what, 0))
        for reason, count in memory.ignored.items():
            self._put("events_ignored_total", (reason,), count)

    def _put(self, name: str, labels: tuple[str, ...], value: Any) -> None:
        found = None if value is None else number(value)
        if found is None:  # undefined, or beyond what a float can say
            self._plain.get(name, {}).pop(labels, None)
        else:
            self._plain.setdefault(name, {})[labels] = found

    def _spread(self, name: str, labels: tuple[str, ...], spread: Spread) -> None:
        if any(spread.counts):
            point = HistogramPoint(labels, spread.counts.copy(), spread.total, {})
            self._spreads.setdefault(name, {})[labels] = point

    def _collect(self) -> list[Taken]:
        standing = self._standing()
        with self._lock:
            found = []
            for row in ROWS:
                plain = [Plain(labels, value) for labels, value in self._plain.get(row.name, {}).items()]
                value = standing.get(row.name)
                if value is not None:
                    plain.append(Plain((), value))
                points = list(self._spreads.get(row.name, {}).values())
                found.append(Taken(row, f"{self._prefix}_{row.name}", row.boundaries, plain, points))
        return found


def table_markdown(prefix: str = "quantum_exit") -> str:
    """The table of metrics for the documentation."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for row in ROWS:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{prefix}_{row.name}` | {row.kind} | {labels} | {row.description} |")
    return "\n".join(lines) + "\n"
