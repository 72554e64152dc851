"""What happens to money: orders, fills, costs, trades, equity. Quantities and prices are `Decimal`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

__all__ = [
    "BarClosed",
    "CostBooked",
    "EquitySampled",
    "FillBooked",
    "FillConflict",
    "FillRefused",
    "FundingAccrued",
    "FundingBooked",
    "FundingCost",
    "LedgerResumed",
    "LedgerTrouble",
    "OrderAnnounced",
    "OrderCancelled",
    "OrderRejected",
    "OrderSent",
    "PositionAged",
    "TargetMissed",
    "TradeClosed",
    "TradeOpened",
    "TransferBooked",
    "VoidBooked",
]


@attrs.frozen(kw_only=True)
class _OfOrder(Event):
    importance: ClassVar[Importance] = Importance.HIGH

    order_id: str | None = None
    venue: str | None = None
    account: str | None = None


@attrs.frozen(kw_only=True)
class OrderAnnounced(_OfOrder):
    """The bot decided to trade."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "order"
    at_once: ClassVar[bool] = True

    side: str | None
    qty: Decimal | None
    order_type: str | None = "market"
    decision_px: Decimal | None = None
    limit_px: Decimal | None = None
    strategy: str | None = None
    source: str | None = None
    pred_bps: float | None = None
    strength: float | None = None
    reason: str | None = None
    stop_px: Decimal | None = None
    target_px: Decimal | None = None
    reduces: bool | None = None
    plan_id: str | None = None
    action: str | None = None
    more: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class OrderSent(_OfOrder):
    """An order left for the exchange."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "sent"

    px: Decimal | None = None


@attrs.frozen(kw_only=True)
class OrderCancelled(_OfOrder):
    """An order was withdrawn."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "cancel"

    reason: str | None = None


@attrs.frozen(kw_only=True)
class OrderRejected(_OfOrder):
    """The exchange refused an order."""

    stream: ClassVar[str | None] = "rejections"

    code: str
    message: str
    side: str | None = None
    qty: Decimal | None = None
    order_type: str | None = None
    limit_px: Decimal | None = None
    strategy: str | None = None
    market: Mapping[str, Any] | None = None
    spread_bps: float | None = None
    attempt: int = 1
    max_retries: int = 1
    error: str | None = None


@attrs.frozen(kw_only=True)
class FillBooked(_OfOrder):
    """A fill is in the ledger.

    Attributes:
        seq: Its number there.
        qty: What was filled, positive.
        fee: As reported; `fee_value` is its value in the settlement currency, `None` if it could not be valued.
        slippage_bps: Worse than decided is positive; `delay_bps` and `execution_bps` are its parts.
        gross_pnl: What this fill closed, before costs.
        position: The signed quantity after it.
        fill_ts: When the exchange says it happened (RFC 3339).
    """

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "fill"

    seq: int
    side: str
    qty: Decimal
    price: Decimal
    fill_id: str | None = None
    trade_id: str | None = None
    position_side: str | None = None
    strategy: str | None = None
    source: str | None = None
    order_type: str | None = None
    role: str | None = None
    fill_kind: str = "live"
    fee: Decimal | None = None
    fee_asset: str | None = None
    fee_value: Decimal | None = None
    decision_px: Decimal | None = None
    slippage_bps: float | None = None
    slippage: Decimal | None = None
    delay_bps: float | None = None
    execution_bps: float | None = None
    latency_ms: float | None = None
    gross_pnl: Decimal | None = None
    position: Decimal | None = None
    durable: bool = True
    late: bool = False
    fill_ts: str | None = None
    more: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class CostBooked(_OfOrder):
    """What a fill or a funding payment cost.

    Attributes:
        notional: The value traded, in the settlement currency.
        slip_bps: Slippage against the decision; never `None` when the decision is known.
        impact_bps: The part of it that the order's size was to cost, by the order book at the decision; `None`: the
            bot told of none.
    """

    stream: ClassVar[str | None] = "costs"
    whole: ClassVar[bool] = True

    cause: str
    trade_id: str | None = None
    fill_id: str | None = None
    side: str | None = None
    strategy: str | None = None
    notional: Decimal | None = None
    fee: Decimal | None = None
    fee_bps: float | None = None
    slip: Decimal | None = None
    slip_bps: float | None = None
    impact_bps: float | None = None
    funding_cost_usd: Decimal | None = None
    total: Decimal | None = None
    total_bps: float | None = None


@attrs.frozen(kw_only=True)
class FundingCost(CostBooked):
    """What funding cost. Of all records together, `funding_cost_usd` is what the totals say, with the other sign.

    The `cause` is `funding` (paid), `funding_accrued` (due and not reported yet), or `funding_reversed`: what was
    accrued before under the same `funding_id` does not count any more, as it was paid, or became another amount.

    Attributes:
        funding_id: The exchange's id of the payment, or what the funding time is called until it is paid.
        funding_ts: When it was due (RFC 3339).
        rate: The rate.
        mark: The price then.
        qty: The signed quantity held then.
        lots: What that was made of, the oldest first: `qty`, `entry_px`, `seq` (the line of the ledger that opened it,
            where that is known) and `cost`, its part of `funding_cost_usd`.
        settles: Of a payment: the `funding_id` of what was accrued for it.
        seq: The line of the ledger.
    """

    funding_id: str | None = None
    funding_ts: str | None = None
    rate: Decimal | None = None
    mark: Decimal | None = None
    qty: Decimal | None = None
    position_side: str | None = None
    lots: Sequence[Mapping[str, Any]] | None = None
    settles: str | None = None
    seq: int | None = None


@attrs.frozen(kw_only=True)
class FillRefused(_OfOrder):
    """A fill was wrong and was set aside; what the bot said is in `metrics/refused.jsonl`."""

    reason: str
    what: str = "fill"


@attrs.frozen(kw_only=True)
class FillConflict(_OfOrder):
    """A fill came a second time with other content; it was set aside."""

    kind: ClassVar[str | None] = "fill_conflict"
    importance: ClassVar[Importance] = Importance.CRITICAL

    fill_id: str | None = None
    level: str = "critical"
    seq: int | None = None
    differs: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class VoidBooked(_OfOrder):
    """The exchange took a fill back."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "void"

    fill_id: str
    reason: str | None = None
    seq: int | None = None
    waiting: bool = False


@attrs.frozen(kw_only=True)
class FundingBooked(_OfOrder):
    """Funding was paid (negative) or received.

    Attributes:
        settles: What was accrued for it, by its `funding_id`; from here on it counts no more.
        accrued: How much that was.
    """

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "funding"

    amount: Decimal
    rate: float | None = None
    funding_id: str | None = None
    position_side: str | None = None
    trade_id: str | None = None
    settles: str | None = None
    accrued: Decimal | None = None


@attrs.frozen(kw_only=True)
class FundingAccrued(_OfOrder):
    """A funding time came while a position was held: from here on what is due counts, though nobody has reported it.

    Attributes:
        amount: What is due: positive will be received.
        rate: The last one told before.
        mark: The price then.
        qty: The signed quantity held then.
        funding_id: What it is called until it is paid.
        funding_ts: The funding time (RFC 3339).
    """

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "funding_accrued"

    amount: Decimal
    rate: Decimal
    mark: Decimal
    qty: Decimal
    funding_id: str
    funding_ts: str
    position_side: str | None = None
    trade_id: str | None = None


@attrs.frozen(kw_only=True)
class TransferBooked(_OfOrder):
    """Money moved in (positive) or out."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "transfer"

    amount: Decimal
    currency: str | None = None


@attrs.frozen(kw_only=True)
class BarClosed(Event):
    """The bot reported a finished bar.

    Attributes:
        bar_ts: Its end, as the bot said (RFC 3339); `None`: the bot said nothing, `ts` is when it came.
    """

    stream: ClassVar[str | None] = "price_events"
    kind: ClassVar[str | None] = "bar"
    importance: ClassVar[Importance] = Importance.LOW

    bar_ts: str | None = None
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Any = None


@attrs.frozen(kw_only=True)
class TradeOpened(_OfOrder):
    """A position was opened from flat."""

    trade_id: str
    side: str
    strategy: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    position_side: str | None = None


@attrs.frozen(kw_only=True)
class TradeClosed(_OfOrder):
    """A round trip ended, or one that had ended became another through a late fill or a void.

    Attributes:
        record: The trade's lifecycle, all fields.
        revision: 1 when it closed; more each time it changed afterwards. The highest one counts.
        undone: It is not a closed trade any more.
    """

    stream: ClassVar[str | None] = "trade_lifecycle"
    importance: ClassVar[Importance] = Importance.CRITICAL
    flat: ClassVar[str | None] = "record"

    trade_id: str = attrs.field(metadata={"key": None})
    record: Mapping[str, Any] = attrs.field(metadata={"key": None})
    revision: int = 1
    undone: bool = False


@attrs.frozen(kw_only=True)
class EquitySampled(Event):
    """A point of the equity curve.

    Attributes:
        record: Equity, peak, drawdown, PnL and positions, and what the curve did since the point before.
    """

    stream: ClassVar[str | None] = "equity_curve"
    importance: ClassVar[Importance] = Importance.HIGH
    flat: ClassVar[str | None] = "record"

    record: Mapping[str, Any] = attrs.field(metadata={"key": None})


@attrs.frozen(kw_only=True)
class LedgerTrouble(Event):
    """The ledger could not be written, or is not what it was."""

    kind: ClassVar[str | None] = "ledger_trouble"
    importance: ClassVar[Importance] = Importance.CRITICAL

    level: str = "critical"
    what: str
    message: str
    pending: int = 0


@attrs.frozen(kw_only=True)
class LedgerResumed(Event):
    """The ledger can be written again, and what waited has been."""

    kind: ClassVar[str | None] = "ledger_resumed"
    importance: ClassVar[Importance] = Importance.CRITICAL

    level: str = "info"


@attrs.frozen(kw_only=True)
class PositionAged(_OfOrder):
    """A position has been held longer than `max_position_age`."""

    stream: ClassVar[str | None] = "execution"
    kind: ClassVar[str | None] = "position_aged"

    trade_id: str
    position_side: str | None = None
    qty: Decimal | None = None
    age_s: float = 0.0
    limit_s: float = 0.0


@attrs.frozen(kw_only=True)
class TargetMissed(Event):
    """A performance window fell below its target; an AlertEvent in `logs/performance/`.

    Attributes:
        metric: Which figure.
        scope: Whose: `all`, or `strategy:NAME`.
        window: Over what, such as `last 20 trades`.
    """

    importance: ClassVar[Importance] = Importance.HIGH

    metric: str
    scope: str
    window: str
    value: float
    target: float
    n: int
    resolved: bool = False
