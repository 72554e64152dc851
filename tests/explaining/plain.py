"""What an explanation means, written down plainly: exact fractions, each fill dealt out by hand.

Nothing is shared with the engine but the meaning. `market` is reckoned from what the market did, not as a rest.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction


@dataclasses.dataclass(frozen=True)
class Order:
    decision: str | None = None
    sent: str | None = None
    pred: str | None = None
    bid: str | None = None
    ask: str | None = None


@dataclasses.dataclass(frozen=True)
class Fill:
    at: int
    side: str
    qty: str
    price: str
    fee: str = "0"
    maker: bool = False
    order: Order | None = None


@dataclasses.dataclass
class Trade:
    long: bool
    legs: list = dataclasses.field(default_factory=list)  # whether it adds, signed quantity, fill
    fees: Fraction = Fraction(0)
    held: Fraction = Fraction(0)


def trades(fills):
    """Round trips in their order, an open one at the end."""
    found, now = [], None
    for fill in sorted(fills, key=lambda fill: fill.at):
        qty = Fraction(fill.qty) * (1 if fill.side == "buy" else -1)
        fee = Fraction(fill.fee)
        if now is not None and (now.held > 0) != (qty > 0):
            closing = qty if abs(qty) <= abs(now.held) else -now.held
            now.legs.append((False, closing, fill))
            now.fees += fee * closing / qty
            now.held += closing
            if now.held:
                continue
            now, fee, qty = None, fee * (qty - closing) / qty, qty - closing
            if not qty:
                continue
        if now is None:
            now = Trade(long=qty > 0)
            found.append(now)
        now.legs.append((True, qty, fill))
        now.fees += fee
        now.held += qty
    return found


@dataclasses.dataclass
class Market:
    multiplier: Fraction = Fraction(1)
    inverse: bool = False

    def worth(self, qty, price):
        return -qty * self.multiplier / Fraction(price) if self.inverse else qty * self.multiplier * Fraction(price)


def steps(trade, market):
    """Every step of a closed trade before fees and funding; what nobody can say is `None`."""
    found = dict.fromkeys(
        ("predicted", "entry_delay", "entry_spread", "entry_impact", "exit_delay", "exit_spread", "exit_impact")
    )
    moved = Fraction(0)

    def put(name, amount):
        found[name] = (found[name] or Fraction(0)) + amount

    for adds, qty, fill in trade.legs:
        side, order = "entry" if adds else "exit", fill.order or Order()
        at = Fraction(fill.price if order.decision is None else order.decision)
        moved -= market.worth(qty, at)
        if adds and order.pred is not None:
            value = abs(market.worth(qty, at))
            put("predicted", value * Fraction(order.pred) / 10_000 * (1 if trade.long else -1))
        if order.decision is None:
            continue
        if order.sent is not None:
            put(f"{side}_delay", market.worth(qty, at) - market.worth(qty, order.sent))
            at = Fraction(order.sent)
        if order.bid is not None:
            touch = Fraction(order.ask if (qty > 0) != fill.maker else order.bid) - Fraction(order.decision)
            wide = Fraction(order.ask) - Fraction(order.bid)
            # towards the ask it is never less than nothing, towards the bid never more
            touch = max(0, min(touch, wide)) if (qty > 0) != fill.maker else min(0, max(touch, -wide))
            put(f"{side}_spread", market.worth(qty, at) - market.worth(qty, at + touch))
            at += touch
        put(f"{side}_impact", market.worth(qty, at) - market.worth(qty, fill.price))
    found["market"] = moved - (found["predicted"] or 0)
    return found
