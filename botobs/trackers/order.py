"""One order, from the decision to its last fill."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from botobs.accounting.numbers import EXACT, ZERO, divide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["Order", "SoFar", "bps_above", "order_bps"]

# of the fills of an order: quantity, sum of quantity times (price - decision), the same of earlier decisions, relative
# to them, the decision, and 1 or -1 for the side
SoFar: TypeAlias = "tuple[Decimal, Decimal, Decimal, Decimal | None, int]"


class Order:
    """What is known of one order.

    Attributes:
        announced_ns: When it was announced; `sent_ns`: when it left for the exchange, at `sent_px` if that was told.
        filled_qty: How much the ledger has of it, for `filled_notional` (the sum of quantity times price).
        slip_qty: How much of it slippage has been reckoned for; the bps of that are `order_bps()`.
        rejected: How often it was refused; `attempt` of `max_retries` was the last one.
        restored: It is from an earlier run.
    """

    __slots__ = (
        "account", "action", "announced_ns", "bar_id", "cancelled", "cancelled_ns", "counted", "counted_by",
        "decision_f", "decision_px", "delay_bps", "filled_notional", "filled_qty", "limit_px", "more",
        "order_id", "order_type", "plan_id", "pred_bps", "qty", "reason", "reduces", "rejected", "restored",
        "sent_ns", "sent_px", "side", "slip_before", "slip_qty", "slip_sum", "source", "spent", "stop_px",
        "strategy", "strength", "symbol", "target_px", "touched_ns", "trace_id", "venue",
    )  # fmt: skip

    def __init__(self, order_id: str, now_ns: int | None) -> None:
        self.order_id = order_id
        self.symbol: str | None = None
        self.side: str | None = None
        self.qty: Decimal | None = None
        self.decision_px: Decimal | None = None
        self.decision_f = 0.0
        self.order_type: str | None = None
        self.limit_px: Decimal | None = None
        self.strategy: str | None = None
        self.source: str | None = None
        self.pred_bps: float | None = None
        self.strength: float | None = None
        self.reason: str | None = None
        self.stop_px: Decimal | None = None
        self.target_px: Decimal | None = None
        self.reduces: bool | None = None
        self.plan_id: str | None = None
        self.action: str | None = None
        self.venue: str | None = None
        self.account: str | None = None
        self.bar_id: str | int | None = None
        self.trace_id: str | None = None
        self.more: Mapping[str, Any] | None = None
        self.announced_ns = now_ns
        self.touched_ns = now_ns or 0
        self.sent_ns: int | None = None
        self.sent_px: Decimal | None = None
        self.delay_bps: float | None = None  # from the decision to `sent_px`; positive: the market went up
        self.cancelled: str | None = None
        self.cancelled_ns: int | None = None
        self.filled_qty = ZERO
        self.filled_notional = ZERO
        self.slip_qty = ZERO
        self.slip_sum = ZERO  # of quantity times (price - decision), for the decision as it is now
        self.slip_before = ZERO  # of quantity times relative slippage, for decisions that were amended since
        self.counted_by: str | None = None  # who reports its slippage: the verb `fill`, or the bot by hand
        self.counted = False  # it is in the statistics as an order that was answered
        self.rejected = 0
        self.spent = False  # its last attempt was refused
        self.restored = False

    @property
    def done(self) -> bool:
        """Nothing more is expected of it."""
        if self.cancelled_ns is not None or self.spent:
            return True
        return self.qty is not None and (self.filled_qty >= self.qty or self.slip_qty >= self.qty)

    def decide(self, decision_px: Decimal) -> None:
        """The decision is (now) at `decision_px`; what was filled before stays measured against the one before."""
        if self.decision_px is not None and self.decision_px != decision_px and self.slip_sum:
            self.slip_before = EXACT.add(self.slip_before, divide(self.slip_sum, self.decision_px))
            self.slip_sum = ZERO
        self.decision_px = decision_px
        self.decision_f = float(decision_px)
        self.depart(self.sent_px)

    def depart(self, sent_px: Decimal | None) -> None:
        """It left for the exchange (perhaps) when the market was at `sent_px`."""
        self.sent_px, self.delay_bps = sent_px, None
        if sent_px is not None and self.decision_px is not None:
            found = bps_above(EXACT.subtract(sent_px, self.decision_px), self.decision_px, self.decision_f)
            self.delay_bps = found if math.isfinite(found) else None

    def slip(self, qty: Decimal, price: Decimal, found: tuple[float, Decimal, Decimal] | None = None) -> None:
        """Add a fill (negative: one that was taken back) to what the order has slipped; under `EXACT`."""
        decision = self.decision_px
        if decision is not None:
            self.slip_qty = self.slip_qty + qty if self.slip_qty else qty
            self.slip_sum += found[2] if found is not None else qty * (price - decision)

    def so_far(self, sign: int) -> SoFar:
        """What has slipped by now, to reckon `order_bps` from."""
        return self.slip_qty, self.slip_sum, self.slip_before, self.decision_px, sign

    def order_bps(self) -> float | None:
        """The quantity-weighted slippage of all fills so far; positive is worse."""
        return None if self.side is None else order_bps(self.so_far(1 if self.side == "buy" else -1))

    def __repr__(self) -> str:
        return f"<Order {self.order_id} {self.side} {self.qty} {self.symbol}>"


def bps_above(difference: Decimal, decision: Decimal, decision_f: float) -> float:
    """`difference` in bps of `decision`, which is `decision_f` as a float; possibly infinite."""
    found = float(difference)
    if 1e-290 < decision_f < 1e290 and -1e290 < found < 1e290:
        return found / decision_f * 1e4
    return float(divide(difference, decision).scaleb(4, EXACT))


def order_bps(so_far: SoFar) -> float | None:
    """The quantity-weighted mean of the slippage of fills, from exact sums; `None`: no decision, or no fill."""
    qty, total, before, decision, sign = so_far
    if not qty or decision is None:
        return None
    whole = divide(total, EXACT.multiply(decision, qty))
    if before:
        whole = EXACT.add(whole, divide(before, qty))
    found = float(whole.scaleb(4, EXACT)) * sign
    return found if math.isfinite(found) else None
