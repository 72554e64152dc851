"""What an explanation consists of: the steps from the predicted edge to the net result, and what lay behind them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.accounting.numbers import EXACT, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LABELS", "Behind", "Explained", "Part"]

#: The steps in their order, and what people call them. `open` is there while something is held.
LABELS: Final = {
    "predicted": "predicted edge",
    "market": "market, less predicted",
    "open": "still open, less predicted",
    "entry_delay": "entry: decision delay",
    "entry_spread": "entry: spread",
    "entry_impact": "entry: impact, slippage",
    "exit_delay": "exit: decision delay",
    "exit_spread": "exit: spread",
    "exit_impact": "exit: impact, slippage",
    "fees": "fees",
    "funding": "funding",
}


@attrs.frozen
class Part:
    """One step of the way to the net result.

    Attributes:
        name: Which; one of `LABELS`.
        amount: What it brought (positive) or cost, in the settlement currency; `None`: nobody can say, and it is in
            the step that `reason` names.
        bps: The same, of the value at entry.
        known: Whether all of it is told here.
        reason: Why not.
    """

    name: str
    amount: Decimal | None
    bps: float | None
    known: bool = True
    reason: str | None = None

    @property
    def label(self) -> str:
        """What people call it."""
        return LABELS[self.name]


@attrs.frozen(kw_only=True)
class Behind:
    """What lay behind the order that opened a trade, or behind the one that took from it last.

    Attributes:
        order_id: The order; `None`: the fill named none.
        orders: How many orders there were on this side; fills without one count as one.
        fills: How many fills.
        decided_ts: When it was announced; `sent_ts`: when it left; `filled_ts`: when its first fill was reported.
        decision_px: The price that it was decided at; `sent_px`: the price when it left.
        bid: The best bid at the decision, and `ask` the best ask.
        impact_bps: What the order book seen then made one expect of the order's impact.
        decision_to_sent_ms: From the decision to the exchange's door.
        sent_to_fill_ms: From there to the first fill.
        decision_to_fill_ms: Both together.
        latency: Milliseconds of the stages of the turn in which it was decided, by kind, with `total_latency_ms`.
        features: How old each feature was at the decision, in seconds, the oldest first.
        regime: The market's regime at the decision.
        reasons: Why something is not known.
    """

    order_id: str | None
    orders: int
    fills: int
    order_type: str | None = None
    strategy: str | None = None
    source: str | None = None
    reason: str | None = None
    pred_bps: Decimal | None = None
    decision_px: Decimal | None = None
    sent_px: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    impact_bps: float | None = None
    decided_ts: str | None = None
    sent_ts: str | None = None
    filled_ts: str | None = None
    decision_to_sent_ms: float | None = None
    sent_to_fill_ms: float | None = None
    decision_to_fill_ms: float | None = None
    trace_id: str | None = None
    bar_id: str | int | None = None
    latency: Mapping[str, float] | None = None
    features: Mapping[str, float] | None = None
    regime: str | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: decimals as strings."""
        return {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(type(self))}


@attrs.frozen(kw_only=True)
class Explained:
    """Where the result of one trade came from. `str()` of it is a table.

    Attributes:
        trade_id: Which trade.
        status: `closed`; or `open`: it is explained as if it were closed at `mark` now.
        currency: The settlement currency, which all amounts are in.
        entry_value: The value at entry, which `bps` are of.
        held: What is still held, without a sign.
        gross: What closing brought, before costs; `unrealized`: what closing the rest at `mark` would bring.
        fees: Paid, rebates negative; `funding`: received less paid.
        net: The result: gross - fees + funding, with what is unrealized. The amounts of `parts` add up to it exactly.
        parts: The steps.
        entry: What lay behind the entry; `exit`: behind the exit, if there was one.
        mfe_bps: How far the price went for the trade; `mae_bps`: against it.
        exit_reason: Why it was closed.
        reasons: Why something is not known.
    """

    trade_id: str
    symbol: str
    side: str
    status: str
    currency: str
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    strategy: str | None = None
    opened_ts: str
    closed_ts: str | None = None
    duration_s: float | None = None
    fills: int
    entry_qty: Decimal
    entry_px: Decimal | None
    entry_value: Decimal
    exit_qty: Decimal
    exit_px: Decimal | None
    held: Decimal = Decimal(0)
    mark: Decimal | None = None
    gross: Decimal
    fees: Decimal
    funding: Decimal
    unrealized: Decimal | None = None
    net: Decimal
    net_bps: float | None
    parts: tuple[Part, ...]
    entry: Behind | None = None
    exit: Behind | None = None
    mfe_bps: float | None = None
    mae_bps: float | None = None
    exit_reason: str | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def latency(self) -> dict[str, Mapping[str, float] | None]:
        """The stages behind the entry and the exit: milliseconds by kind."""
        return {name: None if side is None else side.latency for name, side in self._sides()}

    @property
    def features(self) -> Mapping[str, float] | None:
        """How old each feature was when the entry was decided, in seconds; `None`: not known."""
        return None if self.entry is None else self.entry.features

    @property
    def regime(self) -> str | None:
        """The market's regime when the entry was decided."""
        return None if self.entry is None else self.entry.regime

    @property
    def total(self) -> Decimal:
        """The amounts of all steps together, no digit rounded: `net`."""
        found = Decimal(0)
        for part in self.parts:
            if part.amount is not None:
                found = EXACT.add(found, part.amount)
        return found

    def part(self, name: str) -> Part:
        """The step of that name.

        Raises:
            KeyError: There is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: decimals as strings."""
        said = {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(type(self))}
        said["parts"] = [
            {"name": part.name, "label": part.label, "amount": _plain(part.amount), "bps": part.bps,
             "known": part.known, "reason": part.reason}
            for part in self.parts
        ]  # fmt: skip
        for name, side in self._sides():
            said[name] = None if side is None else side.to_dict()
        return said

    def __str__(self) -> str:
        from botobs.explaining.table import table  # noqa: PLC0415 - the table reads these classes

        return "\n".join(table(self))

    def _sides(self) -> Iterator[tuple[str, Behind | None]]:
        yield "entry", self.entry
        yield "exit", self.exit


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text(value)
    return dict(value) if isinstance(value, dict) else value
