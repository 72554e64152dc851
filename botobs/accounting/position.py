"""The arithmetic of one position: what each fill opens, closes and brings.

One formula serves linear contracts, multipliers and inverse contracts: a signed quantity has a worth, the basis of
a position is the sum of the worths of what opened it, and closing brings the worth at the exit over the part of the
basis that it releases. Everything is a sum of worths, so nothing is lost and `gross - basis` is what changed hands.
"""

# ruff: noqa: PLR0917 - positional throughout: keywords would cost a tenth of a fill

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from botobs.accounting.lots import Lots
from botobs.accounting.numbers import ZERO, divide, exact
from botobs.accounting.trade import Accrual, Change, RoundTrip
from botobs.quick import maker

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.book import Row
    from botobs.accounting.instruments import Instrument
    from botobs.accounting.lots import Lot

__all__ = ["COUNTS", "SUMS", "TRADE", "Position"]

_change = maker(Change)
_MOST_ACCRUALS = 128  # a bot that never reports what it paid has more and more of them

SUMS = (
    "inventory", "basis", "gross", "fees", "funding", "accrued", "turn", "maker_volume", "taker_volume", "other_volume",
    "loose_gross", "loose_fees", "loose_funding",
)  # fmt: skip
COUNTS = ("fills", "last_price", "unpriced", "accruals", "forgotten")
# what is told of an open trade; the zeros are the sums as they were before it
TRADE = (
    "trade_id", "_opened_ts", "_first_seq", "_last_seq", "_entry_qty", "_entry_worth", "_max_qty",
    "_inventory0", "_turn0", "_gross0", "_fees0", "_funding0", "_fills0",
)  # fmt: skip
_ALL = (*SUMS, *COUNTS, *TRADE, "_up")
_values = operator.attrgetter(*_ALL)


class Position:
    """One position and its sums, entry by entry in the order of time.

    Entries and `unrealized` run under `numbers.EXACT`; the properties see to it themselves, whoever asks.

    Attributes:
        instrument: How the symbol settles.
        cost_basis: `average` or `fifo`.
        position_side: `long` or `short` in hedge mode; quantities are signed all the same.
        settles: The currency that it settles in, if the instrument names one.
        plain: A quantity is worth itself times the price.
        inventory: The signed quantity held.
        basis: What opened it was worth, signed like a worth.
        gross: What closing brought, before costs.
        fees: Fees in the settlement currency, rebates negative.
        funding: Funding, received less paid, with what is accrued.
        accrued: The part of it that was due and has not been reported.
        turn: Sum of the quote deltas: what changed hands, without fees.
        maker_volume: Worth of the whole quantities of maker fills.
        taker_volume: Of taker fills.
        other_volume: Of fills of neither role.
        fills: How many fills.
        last_price: The last fill's price.
        unpriced: Fees that could not be valued, by asset; never changed in place.
        accruals: The last ones of what is accrued, by number, the oldest first; never changed in place.
        forgotten: How many more are accrued, before those.
        trade_id: The open trade; `None` while flat or within the dust.
        loose_gross: What closing a carried dust brought while no trade was open.
        loose_fees: Fees of fills that touched no trade.
        loose_funding: Funding while no trade was open.
    """

    __slots__ = (*_ALL, "_closed", "_dust", "_lots", "cost_basis", "instrument", "plain", "position_side", "settles")

    instrument: Instrument
    inventory: Decimal
    basis: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    accrued: Decimal
    turn: Decimal
    maker_volume: Decimal
    taker_volume: Decimal
    other_volume: Decimal
    loose_gross: Decimal
    loose_fees: Decimal
    loose_funding: Decimal
    fills: int
    last_price: Decimal | None
    unpriced: dict[str, Decimal]
    accruals: dict[int, Accrual]
    forgotten: int
    trade_id: str | None
    _opened_ts: str
    _first_seq: int
    _last_seq: int
    _entry_qty: Decimal
    _entry_worth: Decimal
    _max_qty: Decimal
    _inventory0: Decimal
    _turn0: Decimal
    _gross0: Decimal
    _fees0: Decimal
    _funding0: Decimal
    _fills0: int
    _up: bool | None

    def __init__(self, instrument: Instrument, cost_basis: str = "average", position_side: str | None = None) -> None:
        if cost_basis not in ("average", "fifo"):
            raise ValueError(f"cost_basis is 'average' or 'fifo', not {cost_basis!r}")
        self.instrument = instrument
        self.cost_basis = cost_basis
        self.position_side = position_side
        self._dust = instrument.dust
        self.settles = instrument.settle
        self.plain = not instrument.inverse and instrument.multiplier == 1
        self._lots = Lots() if cost_basis == "fifo" else None
        self._closed: list[RoundTrip] = []
        for name in SUMS:
            setattr(self, name, ZERO)
        self.fills, self.last_price, self.unpriced, self.accruals, self.forgotten = 0, None, {}, {}, 0
        self.trade_id, self._opened_ts, self._first_seq, self._last_seq, self._fills0 = None, "", 0, 0, 0
        self._entry_qty = self._entry_worth = self._max_qty = ZERO
        self._inventory0 = self._turn0 = self._gross0 = self._fees0 = self._funding0 = ZERO
        self._up = None  # whether the inventory is above zero; None: it is zero

    @property
    @exact
    def cash(self) -> Decimal:
        """What changed hands, less fees."""
        return self.turn - self.fees

    @property
    @exact
    def volume(self) -> Decimal:
        """Worth of all that was bought and sold, in the settlement currency."""
        return self.maker_volume + self.taker_volume + self.other_volume

    @property
    @exact
    def realized(self) -> Decimal:
        """Gross, less fees, with funding."""
        return self.gross - self.fees + self.funding

    @property
    @exact
    def avg_price(self) -> Decimal | None:
        """The average price of what is held, harmonic for inverse contracts; `None` when nothing is."""
        return self.instrument.price_of(self.inventory, self.basis)

    @property
    def lots(self) -> tuple[Lot, ...]:
        """The open lots (signed quantity, worth, price, entry), the oldest first; none with average cost."""
        return () if self._lots is None else self._lots.open()

    @property
    def opened_ts(self) -> str | None:
        """When the open trade began."""
        return None if self.trade_id is None else self._opened_ts

    @property
    @exact
    def trade(self) -> RoundTrip | None:
        """The open trade."""
        return None if self.trade_id is None else self._round_trip(self.trade_id, None)

    def unrealized(self, mark: Decimal) -> Decimal:
        """What closing everything at `mark` would bring."""
        return self.instrument.worth(self.inventory, mark) - self.basis

    # --- entries ---

    def _fill(self, row: Row) -> Change:
        ts, seq, _, kind, qty, price, fee, role, asset = row
        worth = qty * price if self.plain else self.instrument.worth(qty, price)
        size = worth if worth > ZERO else -worth
        if kind != "quote":
            qty, worth, fee = self._other_fee(kind, qty, price, fee, asset, worth)
        if role == "taker":
            self.taker_volume += size
        elif role == "maker":
            self.maker_volume += size
        else:
            self.other_volume += size
        self.last_price = price
        self.fills += 1
        return self._move(ts, seq, qty, worth, fee, price, 1)

    def _other_fee(
        self, kind: str, qty: Decimal, price: Decimal, fee: Decimal, asset: str | None, worth: Decimal
    ) -> tuple[Decimal, Decimal, Decimal]:
        """Net quantity, its worth and the fee's value, of a fee that is not in the settlement currency."""
        if kind == "base":
            if self.instrument.inverse:  # settles in the base: the fee is paid in coin and moves no contracts
                return qty, worth, fee
            net = qty - (fee if self.plain else divide(fee, self.instrument.multiplier))
            return net, self.instrument.worth(net, price), fee * price
        if kind != "unpriced":
            raise ValueError(f"a fee is 'quote', 'base' or 'unpriced', not {kind!r}")
        name = asset or "?"
        self.unpriced = {**self.unpriced, name: self.unpriced.get(name, ZERO) + fee}
        return qty, worth, ZERO

    def _fund(self, amount: Decimal) -> Change:
        self.funding += amount
        if self.trade_id is None:
            self.loose_funding += amount
        return _change((ZERO, self.inventory, ZERO, ZERO, ZERO, self.trade_id, None, (), False, (), ()))

    def _accrue(self, row: Row) -> Change:
        """Funding is due for what is held at this moment; whatever comes late changes what that was.

        A rate above zero is paid by who is long, whether the contract is inverse or not.
        """
        ts, seq, _, _, rate, mark, _, _, _ = row
        amount = ZERO
        if self.inventory:
            worth = self.instrument.worth(self.inventory, mark)
            amount = worth * rate if self.instrument.inverse else -worth * rate
        self.accruals = {**self.accruals, seq: Accrual(seq, ts, self.inventory, rate, mark, amount, self.trade_id)}
        if len(self.accruals) > _MOST_ACCRUALS:
            del self.accruals[next(iter(self.accruals))]
            self.forgotten += 1
        self.accrued += amount
        return self._fund(amount)

    def _move(
        self, ts: str, seq: int, qty: Decimal, worth: Decimal, fee: Decimal, price: Decimal, count: int
    ) -> Change:
        """Add `qty`, worth `worth`, to the position; `count`: how many fills that is."""
        up, buys, old = self._up, qty > ZERO, self.inventory
        new = old + qty
        if up is not buys and up is not None:
            if new > ZERO if up else new < ZERO:
                return self._leave(ts, seq, qty, worth, fee, new)
            return self._cross(ts, seq, qty, worth, fee, price, new, count)
        if self.trade_id is not None:
            self._entry_qty += qty
            self._entry_worth += worth
            if (new > self._max_qty) is buys:
                self._max_qty = new
            self._last_seq = seq
        elif abs(new) > self._dust:
            self._open(ts, seq, qty, worth, new, count)
        else:  # so little counts as flat
            self.loose_fees += fee
        if up is None and qty:
            self._up = buys
        self.inventory = new
        self.basis += worth
        self.turn -= worth
        self.fees += fee
        if self._lots is not None and qty:
            self._lots.add(qty, worth, price, seq)
        return _change((-worth, new, ZERO, fee, ZERO, self.trade_id, None, (), False, (), ()))

    def _leave(self, ts: str, seq: int, qty: Decimal, worth: Decimal, fee: Decimal, new: Decimal) -> Change:
        """Close a part of the position."""
        if self._lots is None:
            released = divide(self.basis * qty, self.inventory)  # negative, as what leaves is
        else:
            released = -self._lots.release(-qty, self.instrument)
        gross = released - worth
        self.basis += released
        self.gross += gross
        self.inventory = new
        self.turn -= worth
        self.fees += fee
        trade_id = self.trade_id
        closed: tuple[RoundTrip, ...] = ()
        if trade_id is None:
            self.loose_gross += gross
            self.loose_fees += fee
        else:
            self._last_seq = seq
            if self._dust and abs(new) <= self._dust:
                closed = self._close(trade_id, ts)
        return _change((-worth, new, gross, fee, abs(qty), trade_id, None, closed, False, (), ()))

    def _cross(
        self, ts: str, seq: int, qty: Decimal, worth: Decimal, fee: Decimal, price: Decimal, new: Decimal, count: int
    ) -> Change:
        """Close all of the position, and open the other side with what is left of the fill.

        The fee is split in proportion where one trade ends and another begins; else the trade that is there bears
        all of it, however little dust is on the other side.
        """
        old, trade_id, next_id = self.inventory, self.trade_id, None
        closed: tuple[RoundTrip, ...] = ()
        opens = abs(new) > self._dust
        leaving, leaving_fee = worth, fee
        if new:  # what opens is then the rest, so that both together are the fill however the worths were rounded
            leaving = self.instrument.worth(-old, price)
        if opens:
            leaving_fee = ZERO if trade_id is None else divide(fee * -old, qty)
        gross = -self.basis - leaving
        self.inventory, self.basis, self._up = ZERO, ZERO, None
        self.gross += gross
        self.turn -= leaving
        self.fees += leaving_fee
        if self._lots is not None:
            self._lots.clear()
        if trade_id is None:
            self.loose_gross += gross
            if not opens:
                self.loose_fees += fee
        else:
            self._last_seq = seq
            closed = self._close(trade_id, ts)
        if new:
            opening = worth - leaving
            if opens:
                next_id = self._open(ts, seq, new, opening, new, count)
            self.inventory, self.basis, self._up = new, opening, new > ZERO
            self.turn -= opening
            self.fees += fee - leaving_fee
            if self._lots is not None:
                self._lots.add(new, opening, price, seq)
        if trade_id is None:
            trade_id, next_id = next_id, None
        return _change((-worth, new, gross, fee, abs(old), trade_id, next_id, closed, False, (), ()))

    # --- trades ---

    def _open(self, ts: str, seq: int, qty: Decimal, worth: Decimal, new: Decimal, count: int) -> str:
        """Begin a trade, before the sums have what opens it."""
        self.trade_id = trade_id = f"t{seq}"
        self._opened_ts = ts
        self._first_seq = self._last_seq = seq
        self._entry_qty = qty
        self._entry_worth = worth
        self._max_qty = new
        self._inventory0 = self.inventory
        self._turn0 = self.turn
        self._gross0 = self.gross
        self._fees0 = self.fees
        self._funding0 = self.funding
        self._fills0 = self.fills - count
        return trade_id

    def _close(self, trade_id: str, ts: str) -> tuple[RoundTrip]:
        """End the open trade with the sums as they are."""
        trip = self._round_trip(trade_id, ts)
        self.trade_id = None
        self._closed.append(trip)
        return (trip,)

    def _round_trip(self, trade_id: str, closed_ts: str | None) -> RoundTrip:
        # only what was added is counted as it comes; what left follows from the sums
        exit_qty = self.inventory - self._inventory0 - self._entry_qty
        exit_worth = self._turn0 - self.turn - self._entry_worth
        return RoundTrip(
            trade_id, "long" if self._entry_qty > ZERO else "short", self._opened_ts, closed_ts,
            abs(self._entry_qty), abs(self._entry_worth), abs(exit_qty), abs(exit_worth),
            self.gross - self._gross0, self.fees - self._fees0, self.funding - self._funding0,
            self.fills - self._fills0, self._first_seq, self._last_seq, abs(self._max_qty), self.instrument,
        )  # fmt: skip

    # --- going back ---

    def _snapshot(self) -> tuple[Any, ...]:
        return _values(self)

    def _restore(self, snapshot: tuple[Any, ...]) -> None:
        for name, value in zip(_ALL, snapshot, strict=True):
            setattr(self, name, value)
