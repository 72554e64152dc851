"""What the account is worth now: kept in step with every fill and every mark, never summed up anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botobs.accounting.numbers import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from botobs.accounting.book import Book
    from botobs.accounting.marks import Currencies, Marks

__all__ = ["BookKey", "Valuation", "is_blank", "unmarked"]

#: account, venue, symbol, position side, and whether it is a hedger's simulation.
BookKey = tuple[str | None, str | None, str, str | None, bool]


class _Stand:
    """One book, as it was when it was valued last."""

    __slots__ = ("book", "currency", "flow", "held", "key", "live", "near", "pnl")

    def __init__(self, key: BookKey, book: Book, currency: str, near: dict[BookKey, Book]) -> None:
        self.key = key
        self.book = book
        self.currency = currency  # that it settles in
        self.near = near  # all books of its venue and symbol
        self.flow = ZERO  # cash and funding
        self.pnl = ZERO  # the same, with what is held at its price
        self.live = False  # whether there is anything in it
        self.held = False  # whether there is a position


class Valuation:
    """Total PnL at the marks.

    Args:
        currency: What a symbol settles in that names nothing, and what several currencies are converted to.

    Attributes:
        single: All currencies in which there is anything count as one.
        total: While that is so, the PnL of all books.
    """

    def __init__(self, currency: str, currencies: Currencies, marks: Marks) -> None:
        self.currency = currency
        self._currencies = currencies
        self._marks = marks
        self._stands: dict[BookKey, _Stand] = {}
        self._sums: dict[str, Decimal] = {}  # of their PnL, by settlement currency, while it is not so
        self._held: dict[str, dict[BookKey, _Stand]] = {}  # those with a position, by symbol
        self._books: dict[tuple[str | None, str], dict[BookKey, Book]] = {}  # all, by venue and symbol
        self.total = ZERO  # of them all, which means something while
        self.single = True  # all currencies in which there is anything count as one

    def settles(self, book: Book) -> str:
        """The currency that the PnL of `book` comes in."""
        return book.instrument.settle or self.currency

    def changed(self, key: BookKey, book: Book, mark: Decimal | None) -> None:
        """`book` was changed; `mark` is the one at its venue."""
        if key[4]:
            return  # a simulation is worth nothing
        stand = self._stands.get(key)
        if stand is None or stand.book is not book:
            stand = self._enter(key, book)
        held = bool(book.inventory)
        if held is not stand.held:
            self._hold(stand, held)
        if not (stand.live and book.fills) and is_blank(book) is stand.live:
            self._count(stand)
        stand.flow = pnl = book.turn - book.fees + book.funding
        if mark is not None and held and book.plain:  # as `_value` does it
            pnl += book.inventory * mark
            if self.single:
                self.total += pnl - stand.pnl
            else:
                self._sums[stand.currency] += pnl - stand.pnl
            stand.pnl = pnl
            return
        near = stand.near
        if mark is not None or len(near) <= 1:
            self._value(stand, mark)
            return
        price = _last_price(near.values())  # of the symbol's last fill there: looked up once, as it is theirs too
        self._value(stand, price)
        for other in near:
            if other != key and self._stands[other].held:
                self._value(self._stands[other], price)

    def _enter(self, key: BookKey, book: Book) -> _Stand:
        """Know a book from here on; it may be another one for a position that was known."""
        currency = self.settles(book)
        self._sums.setdefault(currency, ZERO)
        near = self._books.setdefault((key[1], key[2]), {})
        near[key] = book
        stand = self._stands.get(key)
        if stand is None:
            stand = self._stands[key] = _Stand(key, book, currency, near)
        stand.book = book
        return stand

    def _hold(self, stand: _Stand, held: bool) -> None:
        """A position was opened or closed."""
        stand.held, symbol = held, stand.key[2]
        if held:
            self._held.setdefault(symbol, {})[stand.key] = stand
            return
        there = self._held[symbol]
        del there[stand.key]
        if not there:
            del self._held[symbol]

    def _count(self, stand: _Stand) -> None:
        """There is something in a book in which there was nothing, or the other way round."""
        stand.live = not stand.live
        live = {self._currencies.counts_as(stand.currency) for stand in self._stands.values() if stand.live}
        single = len(live) <= 1
        if single is not self.single:
            self.single = single
            self._sums = dict.fromkeys((each.currency for each in self._stands.values()), ZERO)
            for each in self._stands.values():
                self._sums[each.currency] += each.pnl
            self.total = sum(self._sums.values(), ZERO)

    def rebuild(self, books: Mapping[BookKey, Book]) -> None:
        """Begin anew with `books`."""
        for kept in (self._stands, self._sums, self._held, self._books):
            kept.clear()
        self.total, self.single = ZERO, True
        for key, book in books.items():
            self.changed(key, book, self._marks.get(key[1], key[2]))

    def marked(self, symbol: str) -> bool:
        """The mark of `symbol` changed; whether anything held is worth more or less."""
        held = self._held.get(symbol)
        if held is None:
            return not self.single  # it may be what a currency is converted by
        for key, stand in held.items():
            self._value(stand, self._marks.get(key[1], symbol))
        return True

    def holds(self, symbol: str) -> bool:
        """Whether there is an open position."""
        return symbol in self._held or not self.single

    def held(self, symbol: str) -> list[BookKey]:
        """Whose positions in `symbol` are open."""
        return list(self._held.get(symbol, ()))

    def open_books(self) -> list[tuple[BookKey, Book]]:
        """The books with a position."""
        return [(key, stand.book) for held in self._held.values() for key, stand in held.items()]

    def mark(self, key: BookKey, book: Book) -> Decimal | None:
        """The price at which the position of `book` is valued."""
        found = self._marks.get(key[1], key[2])
        return unmarked(book, self._books.get(key[1:3], {})) if found is None else found

    def pnl(self) -> Decimal:
        """Total PnL since the beginning, in the account's currency; what cannot be converted is left out."""
        if self.single:
            return self.total
        total = ZERO
        for currency, pnl in self._sums.items():
            rate = self._marks.rate(currency, self.currency)
            if rate is not None:
                total += pnl * rate
        return total

    def _value(self, stand: _Stand, mark: Decimal | None) -> None:
        """What a book has brought, with what it holds at its mark."""
        pnl = stand.flow
        if stand.held:
            book = stand.book
            price = unmarked(book, stand.near) if mark is None else mark
            if price is not None:
                pnl += book.inventory * price if book.plain else book.instrument.worth(book.inventory, price)
        if self.single:
            self.total += pnl - stand.pnl
        else:
            self._sums[stand.currency] += pnl - stand.pnl
        stand.pnl = pnl


def is_blank(book: Book) -> bool:
    """Whether nothing was booked in it, or nothing is left of it."""
    return not (book.fills or book.inventory or book.funding)


def unmarked(book: Book, near: Mapping[BookKey, Book]) -> Decimal | None:
    """The price of what was never marked: of the symbol's last fill, whosever it was; else what `book` paid."""
    if len(near) <= 1:
        return book.avg_price if book.last_price is None else book.last_price
    price = _last_price((*near.values(), book))
    return book.avg_price if price is None else price


def _last_price(books: Iterable[Book]) -> Decimal | None:
    """The price of the last fill in any of them; `None` before the first."""
    last = max((found for book in books if (found := book.last_fill) is not None), default=None)
    return None if last is None else last[1]
