"""How well orders are executed, and how long each stage of a tick takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.dashboards.source.board import board
from botobs.dashboards.source.panels import Query, chart, figure, heat, traces
from botobs.dashboards.source.queries import BOT, BPS, SYMBOL, explore, quantile

if TYPE_CHECKING:
    from botobs.dashboards.source.panels import Panel

__all__ = ["execution"]

_DOT: Final = " A dot is one of them; a click on it opens its trace."
_SLOWER: Final = {
    "Traces of ${__field.labels.stage} as slow as this": explore(
        '{ name = "${__field.labels.stage}" && duration >= ${__value.raw}s }'
    ),
    "Slow ticks": explore(
        '{ name = "tick" && span.kept =~ ".*slow.*" }'
    ),  # where no trace is as slow as a bucket's end
}
_WITH_ORDERS: Final = {
    "Traces with orders in ${__field.labels.symbol}": explore(
        '{ name = "tick" && span.symbol = "${__field.labels.symbol}" && span.kept =~ ".*order.*" }'
    )
}


def execution() -> Any:
    """The dashboard."""
    return board(
        "botobs-execution",
        "Bot: execution",
        "What decisions lose on their way to a fill, and where the time goes. Dots and links lead to traces.",
        [
            ("Slippage and costs", _slippage()),
            ("Orders", _orders()),
            ("Latency by stage", _latency()),
            ("Traces", _traces()),
        ],
    )


def _slippage() -> list[Panel]:
    slip = "bot_slippage_bps"
    return [
        chart("Slippage", "Fill against decision price in basis points; above zero it cost money." + _DOT, BPS,
              Query(quantile(0.99, slip, "symbol"), "p99 {{symbol}}"),
              Query(quantile(0.9, slip, "symbol"), "p90 {{symbol}}"),
              Query(quantile(0.5, slip, "symbol"), "median {{symbol}}", exemplars=True),
              Query(quantile(0.1, slip, "symbol"), "p10 {{symbol}}"), width=12, links=_WITH_ORDERS),
        chart("Slippage against its own norm", "Median of the last half hour, median and quartiles of the last day. "
              "An alert is due where the half hour leaves the day's range by twice its width.", BPS,
              Query(f"symbol:bot_slippage_bps:p50_30m{{{SYMBOL}}}", "30 min {{symbol}}"),
              Query(f"symbol:bot_slippage_bps:p75_1d{{{SYMBOL}}}", "day p75 {{symbol}}"),
              Query(f"symbol:bot_slippage_bps:p50_1d{{{SYMBOL}}}", "day median {{symbol}}"),
              Query(f"symbol:bot_slippage_bps:p25_1d{{{SYMBOL}}}", "day p25 {{symbol}}"), width=12),
        chart("Slippage by side", "Median, in basis points.", BPS,
              Query(quantile(0.5, slip, "side"), "{{side}}"), width=6),
        chart("Costs of a fill", "Median in basis points of its value: all of it, fees alone, and what its size was "
              "to cost beyond the best price, by the order book at the decision.", BPS,
              Query(quantile(0.5, "bot_cost_total_bps", "symbol"), "all {{symbol}}"),
              Query(quantile(0.5, "bot_cost_fees_bps", "symbol"), "fees {{symbol}}"),
              Query(quantile(0.5, "bot_cost_impact_bps", "symbol"), "impact {{symbol}}"), width=6),
        chart("Error of predictions", "Predicted less realized move of a trade, in basis points: median and tenths.",
              BPS,
              Query(quantile(0.9, "bot_prediction_error_bps", "symbol"), "p90 {{symbol}}"),
              Query(quantile(0.5, "bot_prediction_error_bps", "symbol"), "median {{symbol}}"),
              Query(quantile(0.1, "bot_prediction_error_bps", "symbol"), "p10 {{symbol}}"),
              empty="no trade with a prediction", width=6),
        chart("Moves in their band", "Of the last 200 predictions or so; 80 % unless told otherwise.", "percentunit",
              Query(f"bot_calibration_in_band_rate{{{SYMBOL}}}", "{{symbol}}"),
              empty="no prediction came due", width=6),
        chart("Spread of the book", "From the best bid to the best ask, in basis points, as the bot told.", BPS,
              Query(f"bot_book_spread_bps{{{SYMBOL}}}", "{{symbol}}"), empty="no order book", width=12, zero=True),
        chart("Imbalance of the book", "What the bids have more than the asks within the best levels, of all: 1 is "
              "all bids, -1 all asks.", "short",
              Query(f"bot_book_imbalance{{{SYMBOL}}}", "{{symbol}}"), empty="no order book", width=12),
    ]  # fmt: skip


def _orders() -> list[Panel]:
    wait = "bot_execution_latency_ms"
    return [
        chart("From order to fill", "Milliseconds, by kind of order." + _DOT, "ms",
              Query(quantile(0.999, wait, "order_type"), "p99.9 {{order_type}}"),
              Query(quantile(0.99, wait, "order_type"), "p99 {{order_type}}"),
              Query(quantile(0.5, wait, "order_type"), "p50 {{order_type}}", exemplars=True), width=12, zero=True),
        chart("Rejections", "Orders the exchange refused in ten minutes, by its code.", "short",
              Query(f"sum by (reason) (reason:bot_order_rejections:new_10m{{{BOT}}})", "{{reason}}"), width=12,
              bars=True, stacked=True, zero=True, empty="none"),
        chart("Fills", "How many, in ten minutes, by symbol.", "short",
              Query(f'sum by (symbol) (increase(bot_slippage_bps_bucket{{{SYMBOL}, le="+Inf"}}[10m]))', "{{symbol}}"),
              width=12, bars=True, stacked=True, zero=True),
        chart("Rejections by symbol", "Orders the exchange refused, since the bot started.", "short",
              Query(f"sum by (symbol) (bot_order_rejections_total{{{SYMBOL}}})", "{{symbol}}"), width=12, zero=True,
              empty="none"),
    ]  # fmt: skip


def _latency() -> list[Panel]:
    took = "bot_stage_duration_seconds"
    about = " of the time a stage takes; `tick` is the whole tick."
    inner = 'stage!="tick"'
    return [
        *(figure(f"Tick {name}", f"{name} of the whole tick.", "s", quantile(q, took, "", more='stage="tick"'),
                 width=4, empty="no tick yet")
          for q, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))),
        figure("Slowest stage now", "The stage with the highest p99 within ticks.", "s",
               f"topk(1, {quantile(0.99, took, 'stage', more=inner)})", legend="{{stage}}", width=12,
               empty="no stage yet"),
        *(chart(f"Stages: {name}", name + about + _DOT, "s",
                Query(quantile(q, took, "stage"), "{{stage}}", exemplars=True), links=_SLOWER, zero=True)
          for q, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))),
        heat("Ticks", "How many ticks took how long." + _DOT, "s",
             f'sum by (le) (increase({took}_bucket{{{SYMBOL}, stage="tick"}}[$__rate_interval]))'),
        chart("Ticks a second", "How often the loop turns.", "ops",
              Query(f'sum by (symbol) (rate({took}_count{{{SYMBOL}, stage="tick"}}[$__rate_interval]))', "{{symbol}}"),
              width=12, zero=True, empty="no tick yet"),
    ]  # fmt: skip


def _traces() -> list[Panel]:
    return [
        traces("Slow ticks", "Ticks kept because they were slower than 99 of 100. A click opens the trace.",
               '{ name = "tick" && span.symbol =~ "$symbol" && span.kept =~ ".*slow.*" }'),
        traces("Ticks with orders", "Every tick with an order, a fill or a rejection. A click opens the trace.",
               '{ name = "tick" && span.symbol =~ "$symbol" && span.kept =~ ".*order.*" }'),
        traces("Ticks that failed or were halted", "An exception left the tick or a stage. A click opens the trace.",
               '{ name = "tick" && span.symbol =~ "$symbol" && span.kept =~ ".*(error|halt).*" }', width=24),
    ]  # fmt: skip
