"""What fills and funding cost: the records of the `costs` stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from botobs.accounting.numbers import EXACT, ZERO, divide
from botobs.events import CostBooked

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.instruments import Instrument
    from botobs.trackers.slippage import Slippage

__all__ = ["cost_of_fill", "cost_of_funding"]


def cost_of_fill(
    *,
    ts_ns: int,
    symbol: str,
    side: str,
    qty: Decimal,
    price: Decimal,
    instrument: Instrument,
    fee: Decimal | None,
    slippage: Slippage | None,
    order_id: str | None = None,
    fill_id: str | None = None,
    trade_id: str | None = None,
    trace_id: str | None = None,
    bar_id: str | int | None = None,
    venue: str | None = None,
    account: str | None = None,
    strategy: str | None = None,
) -> CostBooked:
    """What a fill cost; call it under `EXACT`.

    `fee` is its value in the settlement currency; `None`: it could not be valued, and then there is no total. Without
    `slippage` (no decision is known) the total is the fee alone.
    """
    notional = abs(instrument.worth(qty, price))
    slip = None if slippage is None else slippage.money
    total = None if fee is None else fee if slip is None else EXACT.add(fee, slip)
    fee_bps = _bps(fee, notional)
    slip_bps = None if slippage is None else slippage.bps
    return CostBooked(
        ts_ns=ts_ns,
        symbol=symbol,
        cause="fill",
        order_id=order_id,
        fill_id=fill_id,
        trade_id=trade_id,
        trace_id=trace_id,
        bar_id=bar_id,
        venue=venue,
        account=account,
        side=side,
        strategy=strategy,
        notional=notional,
        fee=fee,
        fee_bps=fee_bps,
        slip=slip,
        slip_bps=slip_bps,
        total=total,
        total_bps=None if fee_bps is None else fee_bps + (slip_bps or 0.0),
    )


def cost_of_funding(
    *,
    ts_ns: int,
    symbol: str,
    amount: Decimal,
    notional: Decimal | None = None,
    trade_id: str | None = None,
    trace_id: str | None = None,
    venue: str | None = None,
    account: str | None = None,
    strategy: str | None = None,
) -> CostBooked:
    """What a funding payment cost: `amount` is positive when it was received, its cost then negative.

    The bps are of `notional`: what the position was worth, if known.
    """
    cost = amount.copy_negate() if amount else ZERO
    size = None if notional is None else abs(notional)
    return CostBooked(
        ts_ns=ts_ns,
        symbol=symbol,
        cause="funding",
        trade_id=trade_id,
        trace_id=trace_id,
        venue=venue,
        account=account,
        strategy=strategy,
        notional=size,
        funding_cost_usd=cost,
        total=cost,
        total_bps=_bps(cost, size),
    )


def _bps(cost: Decimal | None, notional: Decimal | None) -> float | None:
    if cost is None or not notional:
        return None
    found = float(divide(cost, notional)) * 1e4
    return found if math.isfinite(found) else None
