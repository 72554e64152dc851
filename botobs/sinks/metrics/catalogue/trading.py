"""What the bot trades, what it costs and how it comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.events import CostBooked, FillBooked, OrderRejected, TradeClosed
from botobs.performance.closed import UNNAMED

from .row import BPS, CONFIDENCE, MILLISECONDS, UNKNOWN, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXECUTION", "MODEL", "TRADES"]

_NOT_PAID: Final = ("funding_accrued", "funding_reversed")  # the payment itself is counted, and once


def _closed(event: TradeClosed) -> bool:
    """Whether this is when the trade was closed: what a late fill makes of it afterwards is counted no second time."""
    return event.revision == 1 and not event.undone


def _source(event: TradeClosed) -> str:
    return event.record.get("entry_signal_source") or UNKNOWN


def _trade(event: TradeClosed) -> Measured:
    if not _closed(event):
        return None
    return 1, (event.symbol, _source(event), event.record.get("side") or UNKNOWN)


def _trade_pnl(event: TradeClosed) -> Measured:
    if not _closed(event):
        return None
    return event.record.get("net_pnl_bps"), (event.symbol, _source(event))


def _prediction_error(event: TradeClosed) -> Measured:
    return (event.record.get("prediction_error_bps"), (event.symbol,)) if _closed(event) else None


def _strategy_trade(event: TradeClosed) -> Measured:
    return (1, (event.record.get("strategy_id") or UNNAMED,)) if _closed(event) else None


def _latency(event: FillBooked) -> Measured:
    if event.fill_kind != "live":  # what was imported tells nothing about this bot's way to the exchange
        return None
    return event.latency_ms, (event.symbol, event.order_type or UNKNOWN)


def _slippage(event: FillBooked) -> Measured:
    return None if event.fill_kind != "live" else (event.slippage_bps, (event.symbol, event.side))


def _rejection(event: OrderRejected) -> Measured:
    return 1, (event.symbol, event.code)


def _cost(part: str) -> Callable[[CostBooked], Measured]:
    def cost(event: CostBooked) -> Measured:
        if event.cause in _NOT_PAID:
            return None
        return getattr(event, part), (event.symbol,)

    return cost


def _cost_row(name: str, description: str, part: str, why_later: str = "") -> Row:
    return Row(
        name, "histogram", "{bps}", description, ("symbol",), BPS,
        source="event", event=CostBooked, measure=_cost(part), why_later=why_later,
    )  # fmt: skip


TRADES: Final = (
    Row(
        "bot_trades_total", "counter", "{trade}", "Closed trades; one that is undone later stays counted.",
        ("symbol", "source", "side"), source="event", event=TradeClosed, measure=_trade,
    ),
    Row(
        "bot_trade_pnl_bps", "histogram", "{bps}",
        "Net PnL of closed trades, in basis points of what was entered with.",
        ("symbol", "source"), BPS, source="event", event=TradeClosed, measure=_trade_pnl,
    ),
    Row(
        "bot_prediction_error_bps", "histogram", "{bps}",
        "Predicted move less the move that came, of closed trades; positive is less than was hoped for.",
        ("symbol",), BPS, source="event", event=TradeClosed, measure=_prediction_error,
    ),
    Row(
        "bot_strategy_trades_total", "counter", "{trade}", "Closed trades, by strategy.", ("strategy",),
        source="event", event=TradeClosed, measure=_strategy_trade,
    ),
)  # fmt: skip

EXECUTION: Final = (
    Row(
        "bot_execution_latency_ms", "histogram", "ms", "From sending an order to its fill.", ("symbol", "order_type"),
        MILLISECONDS, source="event", event=FillBooked, measure=_latency,
    ),
    Row(
        "bot_slippage_bps", "histogram", "{bps}", "Fill price against the decision's; positive is worse.",
        ("symbol", "side"), BPS, source="event", event=FillBooked, measure=_slippage,
    ),
    Row(
        "bot_order_rejections_total", "counter", "{order}", "Orders that the exchange refused, by its code.",
        ("symbol", "reason"), source="event", event=OrderRejected, measure=_rejection,
    ),
    _cost_row("bot_cost_total_bps", "What fills and funding cost, of the value traded.", "total_bps"),
    _cost_row("bot_cost_fees_bps", "Fees of fills, of the value traded.", "fee_bps"),
    _cost_row(
        "bot_cost_impact_bps",
        "Market impact of fills beyond the best price, by the book at the decision, of the value traded.",
        "impact_bps",
    ),
    Row(
        "bot_book_spread_bps", "gauge", "{bps}", "From the best bid to the best ask, by the last recorded book.",
        ("symbol",), source="reading",
    ),
    Row(
        "bot_book_imbalance", "gauge", "1",
        "What the bids have more than the asks within the best levels, of all, by the last recorded book.",
        ("symbol",), source="reading",
    ),
)  # fmt: skip

MODEL: Final = (
    Row(
        "bot_signal_strength", "gauge", "1", "The latest strength of a signal.", ("symbol", "source"),
        source="signals",
    ),
    Row(
        "bot_model_confidence", "histogram", "1", "How sure the model was.", ("symbol",), CONFIDENCE,
        source="signals",
    ),
    Row(
        "bot_feature_importance", "gauge", "1",
        "A feature's part of what all features added to predictions; of each model the ten largest.",
        ("model", "feature"), source="reading",
    ),
    Row(
        "bot_signal_half_life_seconds", "gauge", "s",
        "How long it takes until half of the move that follows a decision has come.", ("symbol", "source"),
        source="reading",
    ),
    Row(
        "bot_calibration_in_band_rate", "gauge", "1", "How often the outcome lay in the predicted band.", ("symbol",),
        source="reading",
    ),
    Row(
        "bot_counterfactual_pnl_bps", "gauge", "{bps}", "What following a source would have come to, after costs.",
        ("symbol", "source"), source="reading",
    ),
    Row(
        "bot_veto_saved_bps", "gauge", "{bps}", "What refusals saved, less what they cost.", ("by",), source="reading",
    ),
)  # fmt: skip
