"""The reckoning: from the edge that was predicted, step by step, to what a trade came to.

Every fill is followed from the price at which its order was decided, over the price at which that left and the spread
that it had to cross, to the price that it got. Each of these is a difference of two worths (`Instrument.worth`), so
one formula serves long and short, multipliers and inverse contracts. What the market did between the decisions is the
rest up to the net result. So the steps add up to that whatever is known, and to the last digit: where a division does
not come out even, as in the coin of inverse contracts, its remainder is in the market's step.

Runs under `numbers.EXACT`, which raises rather than round.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from botobs.accounting.numbers import ZERO, divide, exact, text
from botobs.explaining.parts import Part
from botobs.trackers.costs import bps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from botobs.accounting.instruments import Instrument

__all__ = ["Decided", "Leg", "Result", "waterfall"]

_BPS: Final = Decimal("0.0001")
_STEPS: Final = ("delay", "spread", "impact")


class Leg(NamedTuple):
    """What one fill did to one trade; of a fill that flips, the part that belongs to this one.

    Attributes:
        seq: Its number in the ledger.
        ts: When it happened.
        adds: It belongs to the entry; else to the exit.
        qty: The signed quantity, after fees in the base.
        worth: What that was worth at the fill's price, signed, as the books have it.
        price: The fill's price.
    """

    seq: int
    ts: str
    adds: bool
    qty: Decimal
    worth: Decimal
    price: Decimal


@attrs.frozen(kw_only=True)
class Decided:
    """What the bot said when it decided to trade, for one fill.

    Attributes:
        decision_px: The price that it was decided at.
        sent_px: The price when the order left.
        pred_bps: The move that was predicted, positive for up.
        bid: The best bid at the decision; `ask`: the best ask.
        makes: It rested in the book, and earned the spread instead of paying it.
        reasons: Why something is not known, by field; `quote` for bid and ask.
    """

    decision_px: Decimal | None = None
    sent_px: Decimal | None = None
    pred_bps: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    makes: bool = False
    reasons: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Result:
    """What a trade came to, as the books have it.

    Attributes:
        long: Whether it is one.
        fees: Paid.
        funding: Received less paid.
        net: Gross - fees + funding, with what is unrealized.
        value: The value at entry, which bps are of.
        unrealized: What closing the rest would bring; `None`: the trade is closed.
        held: The share of the entry that is still held.
        accrued: The part of `funding` that is due and was not reported yet.
        loose: Why `fees` may not be all.
    """

    long: bool
    fees: Decimal
    funding: Decimal
    net: Decimal
    value: Decimal
    unrealized: Decimal | None = None
    held: tuple[Decimal, Decimal] = (ZERO, Decimal(1))
    accrued: Decimal = ZERO
    loose: str | None = None


@attrs.define
class _Sum:
    """A step that is being added up."""

    amount: Decimal = ZERO
    told: int = 0
    legs: int = 0
    why: str | None = None

    def add(self, amount: Decimal | None, why: str | None) -> None:
        self.legs += 1
        if amount is None:
            self.why = self.why or why
        else:
            self.told += 1
            self.amount += amount

    def part(self, name: str, result: Result, nothing: str) -> Part:
        if not self.told:
            return Part(name, None, None, known=False, reason=self.why or nothing)
        whole = self.told == self.legs
        why = None if whole else f"of {self.told} of {self.legs} fills; of the others: {self.why}"
        return Part(name, self.amount, bps_of(self.amount, result.value), known=whole, reason=why)


@exact
def waterfall(
    legs: Iterable[Leg], decided: Mapping[int, Decided], instrument: Instrument, result: Result
) -> tuple[Part, ...]:
    """The steps, in their order; the amounts of those that are known add up to `result.net` exactly.

    Args:
        legs: The trade's fills.
        decided: What is known of each one's decision, by its number in the ledger.
        instrument: How the symbol settles.
        result: What the trade came to.

    Example:
        >>> from botobs.accounting.instruments import guess
        >>> D = Decimal
        >>> legs = [Leg(1, "", True, D(2), D(202), D(101)), Leg(2, "", False, D(-2), D(-208), D(104))]
        >>> known = {1: Decided(decision_px=D(100), pred_bps=D(150)), 2: Decided(decision_px=D(105))}
        >>> result = Result(long=True, fees=D(1), funding=D(0), net=D(5), value=D(202))
        >>> steps = waterfall(legs, known, guess("BTCUSD"), result)
        >>> [(step.name, str(step.amount)) for step in steps if step.amount]
        [('predicted', '3.0000'), ('market', '7.0000'), ('entry_impact', '-2'), ('exit_impact', '-2'), ('fees', '-1')]
    """
    sums = {f"{side}_{step}": _Sum() for side in ("entry", "exit") for step in _STEPS}
    predicted = _Sum()
    nobody = Decided()
    for leg in legs:
        said = decided.get(leg.seq, nobody)
        side = "entry" if leg.adds else "exit"
        for step, amount, why in _steps(leg, said, instrument):
            sums[f"{side}_{step}"].add(amount, why)
        if leg.adds:
            predicted.add(_predicted(leg, said, instrument, result), said.reasons.get("pred_bps"))
    due = f"{text(result.accrued)} of it is due and was not reported yet" if result.accrued else None
    told = [
        predicted.part("predicted", result, "nothing was predicted; it is in market"),
        *(sums[f"{side}_{step}"].part(f"{side}_{step}", result, _NOTHING[side])
          for side in ("entry", "exit") for step in _STEPS),
        Part("fees", -result.fees, bps_of(-result.fees, result.value), known=result.loose is None, reason=result.loose),
        Part("funding", result.funding, bps_of(result.funding, result.value), known=not result.accrued, reason=due),
    ]  # fmt: skip
    if result.unrealized is not None:
        told.insert(1, _open(predicted, [sums[f"entry_{step}"] for step in _STEPS], result))
    market = result.net
    for part in told:
        if part.amount is not None:
            market -= part.amount
    told.insert(1, Part("market", market, bps_of(market, result.value)))
    return tuple(told)


_NOTHING: Final = {"entry": "no fill opened it", "exit": "nothing was closed"}
_UNDECIDED: Final = "no price of the decision is known; it is in market"
_UNSENT: Final = "the price when the order left was not told; it is in impact"
_UNQUOTED: Final = "no bid and ask of the decision are known; it is in impact"


def _steps(leg: Leg, said: Decided, instrument: Instrument) -> Iterator[tuple[str, Decimal | None, str | None]]:
    """What each step from the decision to the fill brought."""
    start = said.decision_px
    if start is None:
        why = said.reasons.get("decision_px", _UNDECIDED)
        yield from ((step, None, why) for step in _STEPS)
        return
    worth, qty = instrument.worth, leg.qty
    at = start if said.sent_px is None else said.sent_px
    decided_worth = worth(qty, start)
    left_worth = decided_worth if said.sent_px is None else worth(qty, at)
    if said.sent_px is None:
        yield "delay", None, said.reasons.get("sent_px", _UNSENT)
    else:
        yield "delay", decided_worth - left_worth, None
    across = _across(start, said, buys=qty > 0)
    if across is None or at + across <= 0:
        yield "spread", None, said.reasons.get("quote", _UNQUOTED)
        touch_worth = left_worth
    else:
        touch_worth = worth(qty, at + across)
        yield "spread", left_worth - touch_worth, None
    yield "impact", touch_worth - leg.worth, None


def _across(start: Decimal, said: Decided, *, buys: bool) -> Decimal | None:
    """From the price of the decision to the side of the quote that it was filled at: never more than the spread."""
    bid, ask = said.bid, said.ask
    if bid is None or ask is None or not ZERO < bid <= ask:
        return None
    spread = ask - bid
    if buys is not said.makes:  # up to the ask: a buy that takes, a sale that makes
        return min(max(ask - start, ZERO), spread)
    return max(min(bid - start, ZERO), -spread)


def _predicted(leg: Leg, said: Decided, instrument: Instrument, result: Result) -> Decimal | None:
    """What the predicted move would have brought, of the value at the decision."""
    if said.pred_bps is None:
        return None
    value = leg.worth if said.decision_px is None else instrument.worth(leg.qty, said.decision_px)
    edge = abs(value) * said.pred_bps * _BPS
    return edge if result.long else -edge


def _open(predicted: _Sum, costs: Sequence[_Sum], result: Result) -> Part:
    """What the market did to what is still held since its decision, less its share of what was predicted.

    The costs of its entry stand in steps of their own: its share of them is taken out here, in proportion to quantity.
    """
    assert result.unrealized is not None
    held, whole = result.held
    aside = predicted.amount + sum((cost.amount for cost in costs), ZERO)
    share = aside if held == whole else divide(aside * held, whole)
    amount = result.unrealized - share
    return Part("open", amount, bps_of(amount, result.value))
