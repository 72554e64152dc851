"""All books of one bot, their worth at the marks, the curve of it, and the ledger that they are kept in."""

from __future__ import annotations

from decimal import getcontext, setcontext
from typing import TYPE_CHECKING, Any

from botobs.accounting.book import Book
from botobs.accounting.curve import Curve
from botobs.accounting.instruments import Instruments
from botobs.accounting.ledger import FillIndex
from botobs.accounting.lines import terms_of
from botobs.accounting.marks import Marks
from botobs.accounting.numbers import EXACT, ZERO, exact, text
from botobs.accounting.replay import entries_of
from botobs.accounting.snapshots import Snapshots
from botobs.accounting.valuation import Valuation
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from pathlib import Path

    from botobs.accounting.booking import Terms
    from botobs.accounting.instruments import Instrument
    from botobs.accounting.ledger import Ledger
    from botobs.accounting.valuation import BookKey

__all__ = ["Books"]


class Books:
    """The state of an account, and what prices do to it.

    Args:
        ledger: Where every line goes; its lock is the account's.
        terms: How to count.
        wall: Tells the time, in nanoseconds since 1970.
        snapshots: The file of hourly snapshots; `None`: memory.
        writing: Whether this process writes; the command line only reads.
    """

    def __init__(
        self,
        ledger: Ledger,
        terms: Terms,
        wall: Callable[[], int],
        *,
        snapshots: Path | None = None,
        writing: bool = True,
    ) -> None:
        self.ledger = ledger
        self.lock = ledger.lock
        self.terms = terms
        self.wall = wall
        self._head = {"schema": "v1", "bot": terms.bot, "run_id": terms.run_id}
        self.instruments = Instruments()
        self.marks = Marks(self.instruments, terms.currencies)
        self.valuation = Valuation(terms.currency, terms.currencies, self.marks)
        self.curve = Curve(
            terms.starting_equity, tz=terms.timezone, bucket=terms.sharpe_bucket, days_per_year=terms.days_per_year
        )
        self.writing = writing
        self.snapshots = Snapshots(snapshots, writing=writing)
        self._peak = ZERO, "0"  # the curve's, and as text
        self._opening = dumps(self._head)[1:-1].decode()  # what stands in every line
        self.busy = False  # an entry is half booked
        self._bulk: set[BookKey] | None = None  # the books in which much that is old is being booked
        self.forget()

    def forget(self) -> None:
        """Be as before the first line."""
        self.index = FillIndex()
        self.books: dict[BookKey, Book] = {}
        self.voided: dict[int, int] = {}  # a fill's seq -> the void's
        self.waiting: list[dict[str, Any]] = []  # voids whose fill has not come
        self.transfers = ZERO
        self.moves: list[tuple[str, Decimal]] = []  # each transfer: when, and its value
        self.applied = 0  # the last seq in the books

    # -- prices ------------------------------------------------------------------------------------------------------

    def mark(self, symbol: str, price: Decimal, venue: str | None = None, now_ns: int | None = None) -> bool:
        """Take a price; whether it changed what the account is worth."""
        before = getcontext()
        setcontext(EXACT)  # as `exact` does it, without a call
        try:
            with self.lock:
                self.marks.set(venue, symbol, price)
                if not self.valuation.marked(symbol):
                    return False
                self.curve.feed(self.wall() if now_ns is None else now_ns, self._worth())
                return True
        finally:
            setcontext(before)

    @exact
    def tell(self, instrument: Instrument, venue: str | None = None) -> str | None:
        """Learn how a symbol settles; why not, if that cannot be any more."""
        with self.lock:
            if self.instruments.known.get((venue, instrument.symbol)) == instrument:
                return None
            unlike: list[BookKey] = []
            for key, book in self.books.items():
                if (
                    key[2] == instrument.symbol
                    and venue in (None, key[1])
                    and terms_of(book.instrument) != terms_of(instrument)
                ):
                    if book.fills or book.inventory:
                        return f"{instrument.symbol} has fills under other terms: {terms_of(book.instrument)}"
                    unlike.append(key)
            self.instruments.tell(venue, instrument)
            for key in unlike:  # no fill was booked in them; funding may have been, and it counts on
                told = self.instruments.get(key[1], key[2])
                entries = entries_of(self, key)
                self.books[key] = Book.rebuilt(told, self.terms.cost_basis, entries, position_side=key[3])
                self.snapshots.touched.add(key)
            if unlike:
                self.valuation.rebuild(self.books)
            self.marks.told(instrument.symbol)
            return None

    # -- inside ------------------------------------------------------------------------------------------------------

    def book(self, key: BookKey) -> Book:
        """The book of a position, made if there is none."""
        book = self.books.get(key)
        if book is None:
            book = Book(self.instruments.get(key[1], key[2]), self.terms.cost_basis, key[3])
            self.books[key] = book
        return book

    @property
    def equity(self) -> Decimal | None:
        """What the account is worth now; `None` where nobody said what it began with."""
        if self.terms.starting_equity is None:
            return None
        with self.lock:
            return exact(self._worth)()

    def _worth(self) -> Decimal:
        valuation, start = self.valuation, self.terms.starting_equity
        worth = valuation.total if valuation.single else valuation.pnl()
        if self.transfers:
            worth += self.transfers
        return worth if start is None else worth + start

    def _resolved(self, account: str | None, venue: str | None, symbol: str, side: str | None) -> BookKey:
        """The position that is meant where the bot named it only in part."""
        key = (account, venue, symbol, side, False)
        if key in self.books:
            return key
        near = [
            (known, book)
            for known, book in self.books.items()
            if known[2] == symbol and not known[4] and account in (None, known[0]) and venue in (None, known[1])
            and side in (None, known[3])
        ]  # fmt: skip
        still = [known for known, book in near if book.inventory]
        if len(still) == 1:
            return still[0]
        return near[0][0] if len(near) == 1 else key

    def ending(self, key: BookKey | None, book: Book | None, now_ns: int) -> str:
        """Value the book and feed the curve; what a line says of both, so that it can be composed from nothing."""
        marked = told = ""
        if key is not None and book is not None:
            marks = self.marks
            mark = None if marks.noted or key[1] is None else marks.prices.get(key[1:3])
            if mark is None:
                mark = marks.get(key[1], key[2])
            self.valuation.changed(key, book, mark)
            if mark is not None:
                marked = str(mark)
                if "E" in marked:
                    marked = text(mark)
                marked = f',"mark":"{marked}"'
            if self.instruments.known and self.instruments.declared(key[1], key[2]):
                told = f',"instrument":{dumps(terms_of(book.instrument)).decode()}'
        curve, valuation, start = self.curve, self.valuation, self.terms.starting_equity
        worth = valuation.total if valuation.single else valuation.pnl()
        if self.transfers:
            worth += self.transfers
        if start is None:
            curve.feed(now_ns, worth)
            return f"{marked}{told}"
        worth += start
        curve.feed(now_ns, worth)
        peak = curve.peak
        if peak is not self._peak[0]:  # it stays for long
            self._peak = peak, text(peak)
        equity = str(worth)
        if "E" in equity:
            equity = text(worth)
        return f'{marked}{told},"equity":"{equity}","peak":"{self._peak[1]}"'

    def _add(self, line: Mapping[str, Any], key: BookKey | None, book: Book | None) -> int:
        """Append a line, with its ending; its number."""
        now = self.wall()
        said = dumps(line)[1:-1] + self.ending(key, book, now).encode()
        self.applied = self.ledger.add_said(said, line["ts"], now)
        return self.applied
