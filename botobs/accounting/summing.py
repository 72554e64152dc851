"""All the figures of a window, from the books, the marks and the lived curve."""

from __future__ import annotations

import itertools
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.entries import stamp
from botobs.accounting.lines import NO_FEE
from botobs.accounting.numbers import ZERO, exact
from botobs.accounting.samples import Sample, Samples, lived
from botobs.accounting.totals import Flows, Totals
from botobs.accounting.valuation import is_blank, unmarked
from botobs.accounting.windows import books_at, since
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.book import Book
    from botobs.accounting.curve import Curve
    from botobs.accounting.valuation import BookKey

__all__ = ["totals"]

_NO_START = "no starting_equity was given"


@exact
def totals(
    account: Account, window: Any = "all", *, samples: Samples | None = None, kinds: Collection[str] | None = None
) -> Totals:
    """What a window came to.

    Args:
        account: Whose.
        window: `all`, a duration such as `6h`, or a time.
        samples: The written curve; without it a window has no marks from before it, and no drawdown.
        kinds: Which fills count; `None`: all but a hedger's simulation.

    Raises:
        ValueError: It is no window, or no such kind.
    """
    chosen = _kinds(kinds)
    with account.lock:
        now = account.wall()
        start = since(window, now)
        flows = _flows(account, account.books, chosen, _marks_now(account, account.books))
        unpriced = _unpriced(account.books, chosen)
        if start is None:
            return _joined(account, flows, account.curve, start=start, now=now, chosen=chosen, unpriced=unpriced)
        upto, voided = account.applied, frozenset(account.voided)
        segment = account.curve.segment
    # the past is read without the lock: a fill must not wait for it
    past = books_at(account, start, upto, voided)
    sample = None if samples is None else samples.before(epoch_ns(start))
    marks = _marks_then(past, {} if sample is None else sample.marks)
    earlier = _flows(account, past, chosen, marks)
    flows = {name: found.less(earlier.get(name, Flows())) for name, found in flows.items()}
    was = _unpriced(past, chosen)
    unpriced = {asset: left for asset, amount in unpriced.items() if (left := amount - was.get(asset, ZERO))}
    curve = account.curve
    if samples is not None:
        curve = _curve_of(account, samples, sample, segment.first, epoch_ns(start), now)
        curve.absorb(now, segment)
    with account.lock:
        return _joined(account, flows, curve, start=start, now=now, chosen=chosen, unpriced=unpriced)


def _kinds(kinds: Collection[str] | None) -> tuple[bool, ...]:
    """Which books count: the account's own, a hedger's simulation, or both."""
    if kinds is None:
        return (False,)
    asked = {kinds} if isinstance(kinds, str) else set(kinds)
    if not asked or asked - {"live", "import", "hedger_sim"}:
        raise ValueError(f"kinds are live, import and hedger_sim, not {sorted(asked)}")
    own = (False,) if asked & {"live", "import"} else ()
    return (*own, True) if "hedger_sim" in asked else own


def _marks_now(account: Account, books: Mapping[BookKey, Book]) -> dict[BookKey, Decimal | None]:
    return {key: account.valuation.mark(key, book) for key, book in books.items()}


def _marks_then(
    books: Mapping[BookKey, Book], marks: Mapping[tuple[str | None, str], Decimal]
) -> dict[BookKey, Decimal | None]:
    """The marks that held positions had then: as written down, else the last fill's price before."""
    near: dict[tuple[str | None, str], dict[BookKey, Book]] = defaultdict(dict)
    for key, book in books.items():
        if not key[4]:
            near[key[1], key[2]][key] = book
    found = {}
    for key, book in books.items():
        mark = marks.get((key[1], key[2]), marks.get((None, key[2])))
        found[key] = unmarked(book, near[key[1], key[2]]) if mark is None else mark
    return found


def _flows(
    account: Account, books: Mapping[BookKey, Book], chosen: tuple[bool, ...], marks: Mapping[BookKey, Decimal | None]
) -> dict[str, Flows]:
    """The sums by settlement currency."""
    by_currency: dict[str, list[tuple[Book, Decimal | None]]] = defaultdict(list)
    for key, book in books.items():
        if key[4] in chosen and not is_blank(book):
            by_currency[account.valuation.settles(book)].append((book, marks[key] if book.inventory else None))
    return {name: Flows.of(found) for name, found in by_currency.items()}


def _curve_of(  # noqa: PLR0917 - private, called once
    account: Account, samples: Samples, before: Sample | None, now_first: Decimal, start_ns: int, now_ns: int
) -> Curve:
    """The curve as it was written down from the window's start: its first peak is the equity there.

    `now_first` is the equity at the beginning of what is not written yet; where nothing was written before the window,
    the curve begins as what was written first did.
    """
    written = (sample for sample in samples.since(start_ns) if sample.ts_ns <= now_ns)
    if before is not None:
        return lived(written, before.equity, account)
    earliest = next(written, None)
    if earliest is None:
        return lived((), now_first, account)
    first = now_first if earliest.segment is None else earliest.segment.first
    return lived(itertools.chain((earliest,), written), first, account)


def _joined(
    account: Account,
    flows: dict[str, Flows],
    curve: Curve,
    *,
    start: str | None,
    now: int,
    chosen: tuple[bool, ...],
    unpriced: dict[str, Decimal],
) -> Totals:
    terms, reasons = account.terms, dict[str, str]()
    counted = {terms.currencies.counts_as(name) for name in flows}
    currency, sum_ = terms.currency, Flows()
    if len(counted) <= 1:
        currency = next(iter(flows)) if len(flows) == 1 else (next(iter(counted)) if counted else terms.currency)
        for found in flows.values():
            sum_.plus(found, Decimal(1))
    else:
        for name, found in flows.items():
            rate = account.marks.rate(name, terms.currency)
            if rate is None:
                reasons[f"by_currency.{name}"] = f"left out: nobody said what {name} is worth in {terms.currency}"
                sum_.fills += found.fills  # a count has no currency
            else:
                sum_.plus(found, rate)
    missing = unpriced.pop(NO_FEE, ZERO)
    if missing:
        reasons["fees"] = (
            f"{missing} {'fill' if missing == 1 else 'fills'} came without a fee and counted as free of one"
        )
    waiting = _unpaid(account, chosen, start)
    if waiting:
        reasons["funding"] = f"{waiting} accrued and not reported yet"
    return Totals(
        **sum_.sums(),
        **_equity(account, curve, reasons),
        inventory=_inventory(account, chosen),
        transfers=sum((value for ts, value in account.moves if start is None or ts >= start), ZERO),
        sharpe=_sharpe(account, start, now, reasons),
        unpriced_fees=unpriced,
        by_currency={name: found.sums() for name, found in flows.items()},
        currency=currency,
        reasons=reasons,
        window=(start, stamp(now)),
    )


def _equity(account: Account, curve: Curve, reasons: dict[str, str]) -> dict[str, Any]:
    known = account.terms.starting_equity is not None
    if not known:
        reasons["equity"] = reasons["peak_equity"] = _NO_START
    reasons.update(curve.reasons())
    return {
        "equity": account.equity,
        "peak_equity": curve.peak if known else None,
        "drawdown": curve.drawdown,
        "drawdown_pct": curve.drawdown_pct if known else None,
        "max_drawdown": curve.max_drawdown,
        "max_drawdown_pct": curve.max_drawdown_pct if known else None,
    }


def _sharpe(account: Account, start: str | None, now: int, reasons: dict[str, str]) -> Any:
    found = account.curve.sharpe(now, None if start is None else epoch_ns(start))
    if account.terms.starting_equity is None:
        found = attrs.evolve(found, mean=None, vol=None, annualized=None, reason=_NO_START)
    if found.reason is not None:
        reasons["sharpe"] = found.reason
    return found


def _inventory(account: Account, chosen: tuple[bool, ...]) -> dict[str, Decimal]:
    held: dict[str, Decimal] = {}
    for key, book in account.books.items():
        if key[4] in chosen and book.inventory:
            held[key[2]] = held.get(key[2], ZERO) + book.inventory
    return {symbol: qty for symbol, qty in held.items() if qty}


def _unpaid(account: Account, chosen: tuple[bool, ...], start: str | None) -> str | None:
    """How many payments are accrued, of funding times in the window; `None`: none is."""
    count, more = 0, False
    for key, book in account.books.items():
        if key[4] not in chosen:
            continue
        listed = sum(start is None or accrual.ts >= start for accrual in book.accruals.values())
        count += listed
        if start is None:
            count += book.forgotten
        elif book.forgotten and listed == len(book.accruals):  # when those before were due, the book does not know
            more = True
    if not count and not more:
        return None
    said = "1 payment is" if count == 1 and not more else f"{count:,} payments are"
    return f"at least {said}" if more else said


def _unpriced(books: Mapping[BookKey, Book], chosen: tuple[bool, ...]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for key, book in books.items():
        if key[4] in chosen:
            for asset, amount in book.unpriced.items():
                found[asset] = found.get(asset, ZERO) + amount
    return found
