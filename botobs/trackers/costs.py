"""What fills and funding cost: the records of the `costs` stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from botobs.accounting.numbers import EXACT, ZERO, divide
from botobs.events import CostBooked, FundingCost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from botobs.accounting.instruments import Instrument
    from botobs.trackers.slippage import Slippage

__all__ = ["Lot", "bps_of", "cost_of_fill", "cost_of_funding"]

Lot: TypeAlias = "tuple[Decimal, Decimal | None, int | None]"
"""Signed quantity, entry price, and the line of the ledger that opened it."""

_MOST_LOTS = 50


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
    impact_bps: float | None = None,
) -> CostBooked:
    """What a fill cost; call it under `EXACT`.

    `fee` is its value in the settlement currency; `None`: it could not be valued, and then there is no total. Without
    `slippage` (no decision is known) the total is the fee alone. `impact_bps` is a part of the slippage: it was
    estimated from the order book at the decision, and is in no sum.
    """
    notional = abs(instrument.worth(qty, price))
    slip = None if slippage is None else slippage.money
    total = None if fee is None else fee if slip is None else EXACT.add(fee, slip)
    fee_bps = bps_of(fee, notional)
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
        impact_bps=impact_bps,
        total=total,
        total_bps=None if fee_bps is None else fee_bps + (slip_bps or 0.0),
    )


def cost_of_funding(
    *,
    ts_ns: int,
    symbol: str,
    amount: Decimal,
    cause: str = "funding",
    notional: Decimal | None = None,
    lots: Sequence[Lot] | None = None,
    **more: Any,
) -> FundingCost:
    """What funding cost: `amount` is positive when it was received, its cost then negative.

    The bps are of `notional`: what the position was worth, if known. Each of the `lots` bears as much as its quantity
    is of all; of what cannot be divided evenly, the last one bears the rest.
    """
    cost = amount.copy_negate() if amount else ZERO
    size = None if notional is None else abs(notional)
    return FundingCost(
        ts_ns=ts_ns,
        symbol=symbol,
        cause=cause,
        notional=size,
        funding_cost_usd=cost,
        total=cost,
        total_bps=bps_of(cost, size),
        lots=None if lots is None else _shares(cost, lots),
        **more,
    )


def _shares(cost: Decimal, lots: Sequence[Lot]) -> list[dict[str, Any]]:
    whole, left = ZERO, cost
    for qty, _, _ in lots:
        whole = EXACT.add(whole, qty)
    if not whole:
        return []
    shown = list(lots[:_MOST_LOTS])
    if len(lots) > _MOST_LOTS:  # a record has an end: the newest ones together
        rest = ZERO
        for qty, _, _ in lots[_MOST_LOTS - 1 :]:
            rest = EXACT.add(rest, qty)
        shown[-1] = (rest, None, None)
    found: list[dict[str, Any]] = []
    for qty, price, seq in shown:
        part = left if len(found) == len(shown) - 1 else divide(EXACT.multiply(cost, qty), whole)
        left = EXACT.subtract(left, part)
        found.append({"qty": qty, "entry_px": price, "seq": seq, "cost": part})
    return found


def bps_of(cost: Decimal | None, notional: Decimal | None) -> float | None:
    """A cost, or a result, in bps of a value; `None`: there is none, or it is out of all measure."""
    if cost is None or not notional:
        return None
    found = float(divide(cost, notional)) * 1e4
    return found if math.isfinite(found) else None
