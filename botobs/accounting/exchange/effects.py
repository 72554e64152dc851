"""What a fill does to the totals, amount by amount; every formula is the instrument's own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from botobs.accounting.exchange.markets import asset
from botobs.accounting.numbers import ZERO, divide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from botobs.accounting.exchange.fills import ExchangeFill
    from botobs.accounting.instruments import Instrument

__all__ = ["OWN", "Effect", "Sums", "add", "difference", "effect", "fees_of"]

OWN = "account"  # the currency of a symbol that tells none: the account's own

Effect = dict[tuple[str, str], "Decimal"]
Sums = defaultdict[tuple[str, str], "Decimal"]


def fees_of(fill: ExchangeFill, instrument: Instrument) -> dict[str, Decimal]:
    """The fees of a fill by asset; one that names no asset is in the settlement currency."""
    found: dict[str, Decimal] = {}
    for paid, name in ((fill.fee, fill.fee_asset), *fill.extra_fees):
        if paid:
            key = asset(name) or asset(instrument.settle) or OWN
            found[key] = found.get(key, ZERO) + paid
    return found


def effect(fill: ExchangeFill, market: str, instrument: Instrument, mark: Decimal, *, fees: bool) -> Effect:
    """What a fill adds to the totals of its market, currency and fee assets.

    Args:
        fill: The fill.
        market: The name its quantity and volume go under.
        instrument: How it settles.
        mark: The price at which what it leaves open is valued.
        fees: Whether its fees count.
    """
    settle = asset(instrument.settle) or OWN
    base = None if instrument.inverse else asset(instrument.base)
    worth = instrument.worth(fill.signed, fill.price)
    cash, quantity = -worth, fill.signed
    out: Effect = {("volume", market): abs(worth)}
    for name, paid in fees_of(fill, instrument).items() if fees else ():
        out["fees", name] = paid
        if name == settle:
            cash -= paid
        elif name == base:
            quantity -= paid if instrument.multiplier == 1 else divide(paid, instrument.multiplier)
    out["quantity", market] = quantity
    out["cash", settle] = cash
    out["pnl", settle] = cash + instrument.worth(quantity, mark)
    return out


def difference(ours: Effect, theirs: Effect) -> Effect:
    """What ours is above theirs, without what is equal."""
    found = {key: ours.get(key, ZERO) - theirs.get(key, ZERO) for key in ours.keys() | theirs.keys()}
    return {key: found[key] for key in sorted(found) if found[key]}


def add(sums: Sums, more: Mapping[tuple[str, str], Decimal], *, less: bool = False) -> None:
    """Add an effect to sums, or take it away."""
    for key, value in more.items():
        sums[key] += -value if less else value
