"""One book: a position with a memory, so that what comes late or is taken back counts as if it had come in order."""

from __future__ import annotations

import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from botobs.accounting.instruments import Instrument
from botobs.accounting.lots import Lots
from botobs.accounting.numbers import ZERO
from botobs.accounting.position import SUMS, TRADE, Position
from botobs.accounting.trade import Accrual, Change, RoundTrip, difference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botobs.accounting.lots import Mark

__all__ = ["FIRST", "Book", "Entry", "Row", "TooOld"]

#: In the place of a fill's identifier: before everything else of its time. No exchange has such a one.
FIRST = "\0first"
_EVERY = 32  # entries between two savepoints
_KEPT = 3  # savepoints
_NO_FILLS = frozenset({"accrued", "funding", "position"})

_sums = operator.attrgetter(*SUMS)
_seq = operator.itemgetter(1)  # of a row
_TRADE = tuple((name, name.lstrip("_")) for name in TRADE)  # as it is here, and as it is told
Row: TypeAlias = "tuple[str, int, str | None, str, Decimal, Decimal, Decimal, str | None, str | None]"
_Key: TypeAlias = "tuple[str, str | None, int]"


class Entry(NamedTuple):
    """Anything that goes into a book.

    Attributes:
        ts: Exchange time, as `clock.rfc3339` writes it.
        seq: Sequence number in the ledger.
        fill_id: The exchange's identifier of a fill; `FIRST` of what is due at a funding time.
        kind: How the fee of a fill counts: `quote`, `base` or `unpriced`; or `funding`, `accrued` or `position`.
        qty: Signed quantity; of funding the amount; of accrued funding the rate.
        price: Price; the average price of an opening position; the mark at a funding time.
        fee: The fee: its value in the settlement currency, or the amount of the base or of `asset`.
        role: `maker` or `taker`.
        asset: What an unpriced fee is in.
    """

    ts: str
    seq: int
    fill_id: str | None
    kind: str
    qty: Decimal
    price: Decimal = ZERO
    fee: Decimal = ZERO
    role: str | None = None
    asset: str | None = None


class TooOld(Exception):  # noqa: N818 - the caller's signal to rebuild, no error of anybody
    """What it concerns is from before what the book remembers; rebuild it from the ledger."""


class _Savepoint(NamedTuple):
    at: int  # how many of the kept entries came before it
    closed: int  # how many of the kept trades were closed before it
    values: tuple[Any, ...]
    lots: Mark | None


class Book(Position):
    """The position of one (account, venue, symbol, position side), from entries in any order.

    Entries count in the order of time, ties by fill identifier (those that are numbers first, as numbers; then the
    others, as text; entries without one before both), then by sequence number. The last 64 to 128 entries are
    remembered with savepoints, and what comes late or is removed within them is mended by replaying a few of them.
    A call that raises leaves the book as it was. Pure: no clock, no lock, no files; the caller holds the lock and has
    set `numbers.EXACT`.

    A remainder within the instrument's dust ends a trade and stays in the inventory. The next trade carries it: what
    selling it brings belongs to the trade that is open then, and to `loose_gross` where none is. A fill that only
    moves dust is in no trade, its fee in `loose_fees`. So the trades and the loose sums are together the book's.

    Example:
        >>> from botobs.accounting.instruments import guess
        >>> from botobs.accounting.numbers import exact
        >>> def day():
        ...     book = Book(guess("BTCUSDT"))
        ...     book.fill("2026-03-01T10:00:00.000000Z", 1, "a", Decimal(2), Decimal(100), Decimal("0.2"), "taker")
        ...     change = book.fill("2026-03-01T11:00:00.000000Z", 2, "b", Decimal(-2), Decimal(103), ZERO, "maker")
        ...     return change.gross, change.closed[0].net
        >>> exact(day)()
        (Decimal('6'), Decimal('5.8'))
    """

    __slots__ = ("_due", "_floor", "_newest", "_rows", "_saves", "_sold", "_ts")

    def __init__(self, instrument: Instrument, cost_basis: str = "average", position_side: str | None = None) -> None:
        super().__init__(instrument, cost_basis, position_side)
        self._rows: list[Row] = []
        self._floor: _Key | None = None  # the last entry that is no longer remembered
        self._sold: _Key | None = None  # the last fill among what is no longer remembered
        self._newest: int | None = 0  # the highest number among those; None: not known
        self._saves: list[_Savepoint] = []
        self._ts = ""  # no entry is later; a void may leave it too high, which only costs a second look
        self._save()

    @classmethod
    def rebuilt(
        cls,
        instrument: Instrument,
        cost_basis: str,
        entries: Iterable[Entry],
        *,
        position_side: str | None = None,
        trips: list[RoundTrip] | None = None,
    ) -> Book:
        """The book of all `entries`, sorted by `Book.order`, without the voided ones.

        Args:
            instrument: How the symbol settles.
            cost_basis: `average` or `fifo`.
            entries: What happened, in order.
            position_side: `long` or `short` in hedge mode.
            trips: Gets every trade closed on the way; `difference` says what is new about them.
        """
        book = cls(instrument, cost_basis, position_side)
        for entry in entries:
            change = book.put(entry)
            if trips is not None:
                trips.extend(change.closed)
        return book

    @staticmethod
    def order(entry: Entry) -> tuple[Any, ...]:
        """The key that entries are sorted by."""
        return _order(entry.ts, entry.fill_id, entry.seq)

    # --- entries ---

    def fill(  # noqa: PLR0917 - as the entry lies in the ledger
        self,
        ts: str,
        seq: int,
        fill_id: str | None,
        signed_qty: Decimal,
        price: Decimal,
        fee: Decimal,
        role: str | None,
        fee_kind: str = "quote",
        fee_asset: str | None = None,
    ) -> Change:
        """Book a fill.

        Raises:
            TooOld: It belongs before what is remembered.
        """
        return self.take((ts, seq, fill_id, fee_kind, signed_qty, price, fee, role, fee_asset))

    def take(self, row: Row) -> Change:
        """Book a fill that lies there as the fields of an `Entry`.

        Raises:
            TooOld: It belongs before what is remembered.
        """
        if row[0] <= self._ts and self._is_late(row):
            return self._late(row)
        try:
            change = self._fill(row)
            self._rows.append(row)
        except BaseException:
            self._again()
            raise
        self._ts = row[0]
        if len(self._rows) >= self._due:
            self._save()
            self._forget()
        return change

    def fund(self, ts: str, seq: int, amount: Decimal) -> Change:
        """Book funding, positive when received.

        Raises:
            TooOld: It belongs before what is remembered.
        """
        return self._put((ts, seq, None, "funding", amount, ZERO, ZERO, None, None))

    def hold(self, ts: str, seq: int, qty: Decimal, avg_px: Decimal) -> Change:
        """Book what was held before: it moves the position and is no fill, no volume and no fee.

        Raises:
            TooOld: It belongs before what is remembered.
        """
        return self._put((ts, seq, None, "position", qty, avg_px, ZERO, None, None))

    def put(self, entry: Entry) -> Change:
        """Book an entry of any kind.

        Raises:
            TooOld: It belongs before what is remembered.
        """
        return self._put(entry) if entry.kind in _NO_FILLS else self.take(entry)

    def remove(self, seq: int) -> Change:
        """Take the entry `seq` out, as if it had never been; the change's sums are what that changed.

        Raises:
            TooOld: It is not among what is remembered, and may be older.
            KeyError: There is no such entry: it would be newer than all, or the book remembers everything.
        """
        at = self._place(seq)
        turn, gross, fees = self.turn, self.gross, self.fees
        _, change = self._mend(at, None)
        return change._replace(quote_delta=self.turn - turn, gross=self.gross - gross, fees=self.fees - fees)

    def swap(self, seq: int, entry: Entry) -> Change:
        """Put `entry` in the place of the entry `seq`, which has the same time and is no fill either.

        Raises:
            TooOld: It is not among what is remembered, and may be older.
            KeyError: There is no such entry.
        """
        at = self._place(seq)
        last = at == len(self._rows) - 1
        own, mended = self._mend(at, entry, swap=True)
        return own._replace(late=not last, closed=mended.closed, revised=mended.revised, undone=mended.undone)

    def _place(self, seq: int) -> int:
        for at in range(len(self._rows) - 1, -1, -1):
            if self._rows[at][1] == seq:
                return at
        if self._floor is None or (self._newest is not None and seq > self._newest):
            raise KeyError(seq)
        raise TooOld(f"entry {seq} of {self.instrument.symbol}")

    def before(self, entry: Entry) -> Book | None:
        """The book as it was before `entry`, be that in it or not, to look at; `None`: that is not remembered."""
        key = _order(entry.ts, entry.fill_id, entry.seq)
        if self._floor is not None and key <= _order(*self._floor):
            return None
        at = len(self._rows)
        while at and key <= _order(self._rows[at - 1][0], self._rows[at - 1][2], self._rows[at - 1][1]):
            at -= 1
        save = next(save for save in reversed(self._saves) if save.at <= at)
        other = Book(self.instrument, self.cost_basis, self.position_side)
        other._restore(save.values)
        if self._lots is not None and save.lots is not None:
            other._lots = self._lots.copy()
            other._lots.back(save.lots)
        for row in self._rows[save.at : at]:
            other._apply(row)
        return other

    @property
    def last_fill(self) -> tuple[tuple[Any, ...], Decimal] | None:
        """The last fill's place in the order of time, and its price; `None` before the first."""
        if self.last_price is None:
            return None
        at = self._filled_at()
        return None if at is None else (_order(*at), self.last_price)

    def _filled_at(self) -> _Key | None:
        """When the last fill was."""
        found = next((row for row in reversed(self._rows) if row[3] not in _NO_FILLS), None)
        return self._sold if found is None else (found[0], found[2], found[1])

    # --- state ---

    def state(self) -> dict[str, Any]:
        """The book as plain JSON values, exactly; what it remembers for late entries is not in it."""
        last = self._last()
        return {
            "instrument": _told(self.instrument),
            "cost_basis": self.cost_basis,
            "position_side": self.position_side,
            "last": None if last is None else list(last),
            "last_fill": None if (at := self._filled_at()) is None else list(at),
            "fills": self.fills,
            "last_price": _plain(self.last_price),
            "unpriced": {asset: str(amount) for asset, amount in self.unpriced.items()},
            **dict(zip(SUMS, map(str, _sums(self)), strict=True)),
            "lots": [[str(qty), str(worth), str(price), seq] for qty, worth, price, seq in self.lots],
            "accruals": [[_plain(value) for value in accrual] for accrual in self.accruals.values()],
            "forgotten": self.forgotten,
            "trade": None if self.trade_id is None else {said: _plain(getattr(self, name)) for name, said in _TRADE},
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Book:
        """The book that `state` was taken of; an entry older than its last one is `TooOld` for it.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, ArithmeticError: That is no state.
        """
        told = dict(state["instrument"])
        told |= {"multiplier": Decimal(told["multiplier"]), "dust": Decimal(told["dust"])}
        book = cls(Instrument(**told), state["cost_basis"], state["position_side"])
        for name in SUMS:
            setattr(book, name, Decimal(state[name] if name != "accrued" else state.get(name, 0)))
        book.fills, book.last_price = state["fills"], _number(state["last_price"])
        book.unpriced = {asset: Decimal(amount) for asset, amount in state["unpriced"].items()}
        if book._lots is not None:
            book._lots = Lots(
                (Decimal(qty), Decimal(worth), Decimal(price), *(seq or (0,)))
                for qty, worth, price, *seq in state["lots"]
            )
        book.accruals = {row[0]: _accrual(row) for row in state.get("accruals", ())}
        book.forgotten = state.get("forgotten", 0)
        if state["trade"] is not None:
            for name, said in _TRADE:
                value = state["trade"][said]
                setattr(book, name, value if name in ("trade_id", "_opened_ts") else _number(value))
        book._up = book.inventory > ZERO if book.inventory else None
        if state["last"] is not None:
            ts, fill_id, seq = state["last"]
            book._floor, book._newest, book._ts = (ts, fill_id, seq), None, ts
        at = state["last_fill"]
        book._sold = None if at is None else (at[0], at[1], at[2])
        book._saves.clear()
        book._save()
        return book

    def copy(self) -> Book:
        """A book that goes its own way from here."""
        other = Book(self.instrument, self.cost_basis, self.position_side)
        other._restore(self._snapshot())
        other._rows, other._saves, other._closed = list(self._rows), list(self._saves), list(self._closed)
        other._lots = None if self._lots is None else self._lots.copy()
        other._sold, other._floor = self._sold, self._floor
        other._newest, other._ts, other._due = self._newest, self._ts, self._due
        return other

    # --- what is remembered ---

    def _put(self, row: Row) -> Change:
        if row[0] <= self._ts and self._is_late(row):
            return self._late(row)
        try:
            change = self._apply(row)
            self._rows.append(row)
        except BaseException:
            self._again()
            raise
        self._ts = row[0]
        if len(self._rows) >= self._due:
            self._save()
            self._forget()
        return change

    def _apply(self, row: Row) -> Change:
        kind = row[3]
        if kind == "funding":
            return self._fund(row[4])
        if kind == "accrued":
            return self._accrue(row)
        if kind == "position":
            ts, seq, _, _, qty, price, _, _, _ = row
            return self._move(ts, seq, qty, self.instrument.worth(qty, price), ZERO, price, 0)
        return self._fill(row)

    def _last(self) -> _Key | None:
        if not self._rows:
            return self._floor
        ts, seq, fill_id = self._rows[-1][:3]
        return ts, fill_id, seq

    def _is_late(self, row: Row) -> bool:
        last = self._last()
        return last is not None and _order(row[0], row[2], row[1]) < _order(*last)

    def _late(self, row: Row) -> Change:
        key = _order(row[0], row[2], row[1])
        if self._floor is not None and key < _order(*self._floor):
            raise TooOld(f"{row[0]} of {self.instrument.symbol}")
        rows, at = self._rows, len(self._rows)
        while at and key < _order(rows[at - 1][0], rows[at - 1][2], rows[at - 1][1]):
            at -= 1
        found, mended = self._mend(at, row)
        return found._replace(late=True, closed=mended.closed, revised=mended.revised, undone=mended.undone)

    def _mend(self, at: int, row: Row | None, *, swap: bool = False) -> tuple[Change, Change]:
        """Put `row` in at `at`, or take out what is there, or both (`swap`): the row's own change, and what it did to
        the trades.
        """  # noqa: D205 - one sentence
        save = next(save for save in reversed(self._saves) if save.at <= at)
        was, tail = self._closed[save.closed :], self._rows[save.at :]
        own = at - save.at
        mended_tail = [*tail[:own], *(() if row is None else (row,)), *tail[own + (row is None or swap) :]]
        try:
            changes = self._back(save, mended_tail)
        except BaseException:
            self._back(save, tail)
            raise
        closed, revised, undone = difference(was, self._closed[save.closed :])
        mended = Change(
            ZERO, self.inventory, ZERO, ZERO, ZERO, None, None, closed, late=True, revised=revised, undone=undone
        )
        self._forget()
        return (mended if row is None else changes[own]), mended

    def _back(self, save: _Savepoint, tail: list[Row]) -> list[Change]:
        """Be as at `save`, and apply `tail` from there."""
        while self._saves[-1] is not save:
            self._saves.pop()
        self._restore(save.values)
        if self._lots is not None and save.lots is not None:
            self._lots.back(save.lots)
        del self._rows[save.at :]
        del self._closed[save.closed :]
        self._due = save.at + _EVERY
        changes = []
        for row in tail:
            changes.append(self._apply(row))
            self._rows.append(row)
            if len(self._rows) >= self._due:
                self._save()
        return changes

    def _again(self) -> None:
        """Be as before an entry failed half way."""
        save = self._saves[-1]
        self._back(save, self._rows[save.at :])

    def _save(self) -> None:
        mark = None if self._lots is None else self._lots.mark()
        self._saves.append(_Savepoint(len(self._rows), len(self._closed), self._snapshot(), mark))
        self._due = len(self._rows) + _EVERY

    def _forget(self) -> None:
        """Drop what is before the oldest savepoint worth keeping."""
        surplus = len(self._saves) - _KEPT
        if surplus <= 0:
            return
        first = self._saves[surplus]
        gone = self._rows[: first.at]
        if gone:
            ts, seq, fill_id = gone[-1][:3]
            self._floor = ts, fill_id, seq
            sold = next((row for row in reversed(gone) if row[3] not in _NO_FILLS), None)
            self._sold = self._sold if sold is None else (sold[0], sold[2], sold[1])
            self._newest = max(self._newest or 0, *map(_seq, gone))
        del self._rows[: first.at]
        del self._closed[: first.closed]
        self._saves = [
            _Savepoint(at - first.at, closed - first.closed, values, lots)
            for at, closed, values, lots in self._saves[surplus:]
        ]
        self._due -= first.at
        if self._lots is not None and first.lots is not None:
            self._lots.forget(first.lots)


def _order(ts: str, fill_id: str | None, seq: int) -> tuple[Any, ...]:
    if fill_id is None:
        return ts, 0, 0, "", "", seq
    if fill_id.isascii() and fill_id.isdigit():
        digits = fill_id.lstrip("0")  # compared as a number without making one, however many digits
        return ts, 1, len(digits), digits, fill_id, seq
    if fill_id == FIRST:
        return ts, -1, 0, "", "", seq
    return ts, 2, 0, fill_id, "", seq


def _told(instrument: Instrument) -> dict[str, Any]:
    """The instrument as plain values; every hour has some of them, so they are not looked up by reflection."""
    return {
        "symbol": instrument.symbol, "multiplier": str(instrument.multiplier), "inverse": instrument.inverse,
        "base": instrument.base, "quote": instrument.quote, "dust": str(instrument.dust),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _accrual(row: list[Any]) -> Accrual:
    seq, ts, qty, rate, mark, amount, trade_id = row
    return Accrual(seq, ts, Decimal(qty), Decimal(rate), Decimal(mark), Decimal(amount), trade_id)


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value
