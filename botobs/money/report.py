"""What a verb that books something answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["NOWHERE", "SAID", "FillReport", "Place"]

#: What the verb `fill` is given beside the order's id, in the order in which `FillDesk.book` takes it.
SAID = (
    "price", "qty", "symbol", "side", "fee", "fee_asset", "role", "fill_id", "ts", "venue", "account",
    "position_side", "kind", "strategy",
)  # fmt: skip


class Place(NamedTuple):
    """Where in the bot's loop something was reported.

    Attributes:
        bar_id: The running tick's bar.
        trace_id: Its trace, if it is kept.
    """

    bar_id: Any = None
    trace_id: str | None = None


NOWHERE = Place()


class FillReport(NamedTuple):
    """What became of a fill, a void, a funding payment, a position or a transfer.

    True where it counts: `if not obs.fill(...): ...`.

    Attributes:
        booked: It is in the books now, and in the ledger.
        durable: It survives a crash, as `durability` says; False: it is in memory, and written as soon as that works.
        duplicate: It had been reported before, and was not counted again.
        conflict: It had been reported before with other content; this report was set aside.
        late: It happened before something that was booked already.
        reason: Why it was not booked, or what is odd about it.
        trade_id: The round trip it belongs to.
        slippage_bps: Worse than decided is positive; `None` where the decision is not known.
        slippage: The same in money.
        gross_pnl: What it closed, before costs.
        position: The signed quantity after it.
    """

    booked: bool = False
    durable: bool = False
    duplicate: bool = False
    conflict: bool = False
    late: bool = False
    reason: str | None = None
    fill_id: str | None = None
    order_id: str | None = None
    trade_id: str | None = None
    slippage_bps: float | None = None
    slippage: Decimal | None = None
    gross_pnl: Decimal | None = None
    position: Decimal | None = None

    def __bool__(self) -> bool:
        return self.booked or self.duplicate
