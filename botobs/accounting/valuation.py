"""What the account is worth now: kept in step with every fill and every mark, never summed up anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botobs.accounting.numbers import ZERO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from botobs.accounting.book import Book
    from botobs.accounting.marks import Currencies, Marks

__all__ = ["BookKey", "Valuation", "is_blank", "unmarked"]

#: account, venue, symbol, position side, and whether it is a hedger's simulation.
BookKey = tuple[str | None, str | None, str, str | None, bool]


class Valuation:
    """Total PnL at the marks.

    Args:
        currency: What a symbol settles in that names nothing, and what several currencies are converted to.
    """

    def __init__(self, currency: str, currencies: Currencies, marks: Marks) -> None:
        self.currency = currency
        self._currencies = currencies
        self._marks = marks
        self._flows: dict[str, Decimal] = {}  # cash and funding, by settlement currency
        self._worth: dict[BookKey, Decimal] = {}  # of the open positions
        self._worths: dict[str, Decimal] = {}  # the same, by settlement currency
        self._held: dict[str, dict[BookKey, Book]] = {}  # open positions, by symbol
        self._books: dict[tuple[str | None, str], dict[BookKey, Book]] = {}  # all, by venue and symbol
        self._live: dict[BookKey, str] = {}  # the currencies of the books in which there is anything
        self._single = True

    def settles(self, book: Book) -> str:
        """The currency that the PnL of `book` comes in."""
        return book.instrument.settle or self.currency

    def changed(self, key: BookKey, book: Book, before: Decimal) -> None:
        """`book` was changed; its cash and funding were `before`."""
        if key[4]:
            return  # a simulation is worth nothing
        currency = book.instrument.settle or self.currency
        flows = self._flows
        if currency not in flows:
            flows[currency] = self._worths[currency] = ZERO
        if is_blank(book) is (key in self._live):
            self._count(key, currency)
        flows[currency] += book.cash + book.funding - before
        held = self._held.get(key[2])
        if book.inventory:
            if held is None:
                held = self._held[key[2]] = {}
            held[key] = book
        elif held is not None and held.pop(key, None) is not None and not held:
            del self._held[key[2]]
        near = self._books.setdefault(key[1:3], {})
        near[key] = book  # before it is valued: its fill may be the symbol's last, or theirs may
        self._value(key, book, currency)
        if len(near) > 1 and self._marks.get(key[1], key[2]) is None:  # its price is theirs too
            for other, its in near.items():
                if other != key and its.inventory:
                    self._value(other, its, its.instrument.settle or self.currency)

    def _count(self, key: BookKey, currency: str) -> None:
        """There is something in a book in which there was nothing, or the other way round."""
        if self._live.pop(key, None) is None:
            self._live[key] = currency
        self._single = len({self._currencies.counts_as(name) for name in self._live.values()}) <= 1

    def rebuild(self, books: Mapping[BookKey, Book]) -> None:
        """Begin anew with `books`."""
        for kept in (self._flows, self._worth, self._worths, self._held, self._books, self._live):
            kept.clear()
        self._single = True
        for key, book in books.items():
            self.changed(key, book, ZERO)

    def marked(self, symbol: str) -> bool:
        """The mark of `symbol` changed; whether anything held is worth more or less."""
        held = self._held.get(symbol)
        if held is None:
            return not self._single  # it may be what a currency is converted by
        for key, book in held.items():
            self._value(key, book, book.instrument.settle or self.currency)
        return True

    def holds(self, symbol: str) -> bool:
        """Whether there is an open position."""
        return symbol in self._held or not self._single

    def open_books(self) -> list[tuple[BookKey, Book]]:
        """The books with a position."""
        return [item for held in self._held.values() for item in held.items()]

    def mark(self, key: BookKey, book: Book) -> Decimal | None:
        """The price at which the position of `book` is valued."""
        found = self._marks.get(key[1], key[2])
        return unmarked(book, self._books.get(key[1:3], {})) if found is None else found

    def pnl(self) -> Decimal:
        """Total PnL since the beginning, in the account's currency; what cannot be converted is left out."""
        if self._single:
            total = ZERO
            for currency, flow in self._flows.items():
                total += flow + self._worths[currency]
            return total
        total = ZERO
        for currency, flow in self._flows.items():
            rate = self._marks.rate(currency, self.currency)
            if rate is not None:
                total += (flow + self._worths[currency]) * rate
        return total

    def _value(self, key: BookKey, book: Book, currency: str) -> None:
        worth = ZERO
        if book.inventory:
            price = self._marks.get(key[1], key[2])
            if price is None:
                price = unmarked(book, self._books.get(key[1:3], {}))
            if price is not None:
                worth = book.instrument.worth(book.inventory, price)
        before = self._worth.get(key)
        self._worth[key] = worth
        self._worths[currency] += worth if before is None else worth - before


def is_blank(book: Book) -> bool:
    """Whether nothing was booked in it, or nothing is left of it."""
    return not (book.fills or book.inventory or book.funding)


def unmarked(book: Book, near: Mapping[BookKey, Book]) -> Decimal | None:
    """The price of what was never marked: of the symbol's last fill, whosever it was; else what `book` paid."""
    if len(near) <= 1:
        return book.avg_price if book.last_price is None else book.last_price
    last = max((found for other in (*near.values(), book) if (found := other.last_fill) is not None), default=None)
    return book.avg_price if last is None else last[1]
