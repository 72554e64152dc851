"""What the account counts by, and what it answers to whoever books something."""

from __future__ import annotations

import decimal
import functools
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

import attrs

from botobs.accounting.marks import Currencies
from botobs.accounting.numbers import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.accounting.book import Book
    from botobs.accounting.books import Books
    from botobs.accounting.exchange.fees import FeeTable
    from botobs.accounting.trade import Accrual, Change, RoundTrip
    from botobs.accounting.valuation import BookKey

__all__ = ["BUSY", "Booking", "Terms", "alone"]


@attrs.frozen(kw_only=True)
class Terms:
    """How the account counts.

    Attributes:
        starting_equity: What it was worth before the first fill.
        currency: What totals of several currencies are converted to, and what a symbol settles in that names none.
        currencies: Which currencies count as one.
        fees: What a fill without a fee is taken to have cost.
    """

    starting_equity: Decimal | None = None
    currency: str = "USD"
    currencies: Currencies = attrs.field(factory=Currencies)
    cost_basis: str = "average"
    fees: FeeTable | None = None
    timezone: str = "UTC"
    sharpe_bucket: Literal["day", "hour"] = "day"
    days_per_year: float = 365.0
    bot: str = "bot"
    run_id: str = ""


class Booking(NamedTuple):
    """What became of an entry.

    Attributes:
        seq: Its number in the ledger.
        ticket: The number of the line that was written, to be settled outside the lock.
        fee_value: What the fee was worth in the settlement currency; `None`: nobody can say.
        waiting: A void whose fill has not come; or the fill that a void had waited for.
        trade: The book's open trade after it, where that may be another than before (late, void).
        accrual: Of funding: what was accrued, or what this settles, as it was then.
        key: Of funding: whose it is.
        also: Of a payment for several positions: what it did to the others.
        removed: The line of the fill that a void takes back.
        differs: What a conflicting report says otherwise: field -> (booked, reported).
    """

    seq: int | None = None
    ticket: int | None = None
    change: Change | None = None
    book: Book | None = None
    fee: Decimal | None = None
    fee_value: Decimal | None = None
    line: Mapping[str, Any] | None = None
    duplicate: bool = False
    conflict: bool = False
    waiting: bool = False
    reason: str | None = None
    differs: Mapping[str, Any] | None = None
    removed: Mapping[str, Any] | None = None
    trade: RoundTrip | None = None
    accrual: Accrual | None = None
    key: BookKey | None = None
    also: tuple[Booking, ...] = ()


#: Of what a signal handler reports in the middle of an entry that its own thread is booking.
BUSY = Booking(reason="it was reported in the middle of another report, from a signal handler")

B = TypeVar("B", bound="Books")
P = ParamSpec("P")


def alone(fn: Callable[Concatenate[B, P], Booking]) -> Callable[Concatenate[B, P], Booking]:
    """Book under the lock and with exact numbers, one at a time.

    The lock is re-entrant, so a signal handler may come in the middle of an entry that its own thread is booking:
    what it reports then is not booked, and its caller sets it aside.
    """

    @functools.wraps(fn)
    def run(self: B, /, *args: P.args, **kwargs: P.kwargs) -> Booking:
        before = decimal.getcontext()
        decimal.setcontext(EXACT)
        try:
            with self.lock:
                if self.busy:
                    return BUSY
                self.busy = True
                try:
                    return fn(self, *args, **kwargs)
                finally:
                    self.busy = False
        finally:
            decimal.setcontext(before)

    return run
