"""Round trips, from flat to flat, and what one entry in a book changed about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from botobs.accounting.numbers import exact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from botobs.accounting.instruments import Instrument

__all__ = ["Accrual", "Change", "RoundTrip", "difference"]


class RoundTrip(NamedTuple):
    """A position from flat to flat, or so far.

    Quantities are those that moved the position, after fees in the base. Where a remainder within the dust was
    carried in, selling it counts here: `exit_qty` then exceeds `entry_qty`, and `gross` has what it brought.

    Attributes:
        trade_id: `t` and the sequence number of the entry that opened it.
        side: `long` or `short`.
        opened_ts: Time of the opening entry.
        closed_ts: Time of the closing entry; `None` while open.
        entry_qty: Everything that added to the position.
        entry_worth: What it was worth, in the settlement currency, never negative.
        exit_qty: Everything that took from the position.
        exit_worth: What it was worth, in the settlement currency, never negative.
        gross: What closing brought, before costs.
        fees: Fees, in the settlement currency; of a fill that flips, the closing or the opening part.
        funding: Funding while it was open; positive: received.
        fills: How many fills; one that flips counts for both trades.
        first_seq: Sequence number of the opening entry.
        last_seq: Sequence number of the latest fill.
        max_qty: The largest position held.
        instrument: How the symbol settles.
    """

    trade_id: str
    side: str
    opened_ts: str
    closed_ts: str | None
    entry_qty: Decimal
    entry_worth: Decimal
    exit_qty: Decimal
    exit_worth: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    fills: int
    first_seq: int
    last_seq: int
    max_qty: Decimal
    instrument: Instrument

    @property
    def entry_px(self) -> Decimal | None:
        """The average entry price, harmonic for inverse contracts."""
        return _price(self.instrument, self.entry_qty, self.entry_worth)

    @property
    def exit_px(self) -> Decimal | None:
        """The average exit price, harmonic for inverse contracts; `None` before the first exit."""
        return _price(self.instrument, self.exit_qty, self.exit_worth)

    @property
    def net(self) -> Decimal:
        """Gross, less fees, with funding."""
        return _net(self.gross, self.fees, self.funding)


class Accrual(NamedTuple):
    """Funding that was due and that nobody has reported yet.

    Attributes:
        seq: Its number in the ledger.
        ts: The funding time.
        qty: The signed quantity held then, as far as is known today.
        rate: The last one told before.
        mark: The price then.
        amount: What follows: positive is received.
        trade_id: The trade that was open; `None`: none was.
    """

    seq: int
    ts: str
    qty: Decimal
    rate: Decimal
    mark: Decimal
    amount: Decimal
    trade_id: str | None


class Change(NamedTuple):
    """What one entry did to its book.

    Attributes:
        quote_delta: What changed hands, of the net quantity, without the fee; of an entry removed, taken back.
        inventory: The signed quantity after this entry, in the order of time; after a removal, now.
        gross: What this entry's closing brought; of a removal, how much the book's gross changed.
        fees: The fee's value; of a removal, how much the book's fees changed.
        closed_qty: How much it closed, never negative.
        trade_id: The trade it belongs to, the closed one where it flips; `None` when no trade was touched.
        next_trade_id: The trade that a flip opened.
        closed: Trades that are closed now and were not.
        late: Whether it came behind others of a later time, or took an entry out.
        revised: Trades that were closed before, with other figures now.
        undone: Identifiers of trades that were closed before and are not now.
    """

    quote_delta: Decimal
    inventory: Decimal
    gross: Decimal
    fees: Decimal
    closed_qty: Decimal
    trade_id: str | None
    next_trade_id: str | None
    closed: tuple[RoundTrip, ...]
    late: bool = False
    revised: tuple[RoundTrip, ...] = ()
    undone: tuple[str, ...] = ()


def difference(
    before: Iterable[RoundTrip], after: Iterable[RoundTrip]
) -> tuple[tuple[RoundTrip, ...], tuple[RoundTrip, ...], tuple[str, ...]]:
    """How the closed trades `after` differ from those `before`: newly closed, revised, undone.

    For a book rebuilt from the ledger, as a `Change` says it of one that mended itself.
    """
    was = {trip.trade_id: trip for trip in before}
    now = {trip.trade_id: trip for trip in after}
    closed = tuple(trip for key, trip in now.items() if key not in was)
    revised = tuple(trip for key, trip in now.items() if key in was and was[key] != trip)
    return closed, revised, tuple(key for key in was if key not in now)


# a trip is read by the bot, under whatever context the bot has set for itself


@exact
def _price(instrument: Instrument, qty: Decimal, worth: Decimal) -> Decimal | None:
    return instrument.price_of(qty, -worth if instrument.inverse else worth)


@exact
def _net(gross: Decimal, fees: Decimal, funding: Decimal) -> Decimal:
    return gross - fees + funding
