"""Trades that somebody else kept, booked as if they had been reported: an exchange's history, old telemetry."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from botobs.accounting.account import Booking
from botobs.accounting.book import Book, Entry
from botobs.accounting.entries import FillEntry, stamp
from botobs.accounting.exchange.fills import Bad
from botobs.accounting.known import Places, is_as_told, meet
from botobs.accounting.numbers import ZERO, exact, text
from botobs.accounting.routes import Route, name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from botobs.accounting.account import Account
    from botobs.accounting.exchange.fills import ExchangeFill

__all__ = ["ImportReport", "Problem", "import_fills"]

_MOST_PROBLEMS = 1_000
_STEP = 500  # fills between two words about the progress


@attrs.frozen(kw_only=True)
class Problem:
    """A row that was not booked.

    Attributes:
        line: Where it stands in the file.
        what: `refused` or `conflict`.
        reason: Why.
    """

    line: int
    what: str
    reason: str


@attrs.define(kw_only=True)
class ImportReport:
    """What became of the rows of a file.

    Attributes:
        new: Fills that were booked.
        duplicates: Fills that the ledger has already; nothing was done.
        conflicts: Fills that the ledger has with other content; not booked.
        refused: Rows that ought to be fills and cannot be understood; not booked.
        skipped: Rows that are no fills: funding, sums, comments.
        start: The earliest of the new fills (RFC 3339).
        end: The latest of them.
        durable: Whether everything new is on the disk, as durable as configured.
        problems: Conflicts and refusals, the first 1,000.
        notes: What else a reader should know.
    """

    new: int = 0
    duplicates: int = 0
    conflicts: int = 0
    refused: int = 0
    skipped: int = 0
    start: str | None = None
    end: str | None = None
    durable: bool = True
    problems: list[Problem] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything that looks like a fill is in the ledger."""
        return not self.conflicts and not self.refused and self.durable

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"ok": self.ok, **attrs.asdict(self)}


def import_fills(
    account: Account,
    rows: Iterable[ExchangeFill | Bad],
    *,
    progress: Callable[[int, int], object] | None = None,
) -> ImportReport:
    """Book the fills of a statement, in the order of time, as kind `import`.

    Doing it again changes nothing: what the ledger has is known by its ids. A fill without an id gets one made of
    what it says, so the same row is the same fill again; equal rows in one file are fills of their own.

    A row that names no venue or account takes those of the only position that the ledger has in its market, and its
    symbol the spelling used there; then `meet` finds those that the ledger has under other ids. So a history and the
    bot's own fills are booked once.

    Args:
        account: Whose. Nobody else books meanwhile.
        rows: What `read_trades` gives.
        progress: Is told how many of how many fills are done.
    """
    report = ImportReport()
    found = _rows(account, rows, report)
    last: int | None = None
    with account.bulk():
        for done, (line, entry, more_fees, known) in enumerate(found, 1):
            booking = Booking(duplicate=True) if known else account.fill(entry)
            if booking.ticket is not None:
                last = booking.ticket
                report.new += 1
                report.start = report.start or entry.ts
                report.end = entry.ts
            elif booking.duplicate or (booking.conflict and _is_coarser(booking)):
                report.duplicates += 1
            else:
                report.conflicts += booking.conflict
                report.refused += not booking.conflict
                _note(
                    report,
                    line,
                    "conflict" if booking.conflict else "refused",
                    (booking.reason or "not booked").removeprefix("conflict: "),
                )
            if more_fees and booking.ticket is not None:
                _note_fees(report, line, more_fees)
            if progress is not None and (done % _STEP == 0 or done == len(found)):
                progress(done, len(found))
    if last is not None:
        report.durable = account.ledger.settle_line(last)  # one sync for all of them
    return report


class _Row(NamedTuple):
    """A fill as it will be booked.

    Attributes:
        known: The ledger has it, without an id that would tell so.
    """

    line: int
    entry: FillEntry
    fees: tuple[Any, ...]
    known: bool = False


@exact
def _rows(account: Account, rows: Iterable[ExchangeFill | Bad], report: ImportReport) -> Sequence[_Row]:
    """Every fill as it will be booked, sorted: then each is the latest of its book as a rule."""
    places = Places(account)
    found = list(_read(account, rows, report, places))
    report.notes.extend(places.notes)
    entries = [row.entry for row in found]
    if (odd := _fees_of(account, entries)) is not None:
        report.notes.append(odd)
    known = meet(account, entries)
    seen: Counter[bytes] = Counter()
    sorted_rows: list[tuple[tuple[Any, ...], _Row]] = []
    for at, row in enumerate(found):
        entry = entries[at]
        if at not in known and entry.fill_id is None:
            entry = entry._replace(fill_id=_id_of(entry, seen))
        key = Book.order(Entry(entry.ts, row.line, entry.fill_id, "quote", ZERO))
        sorted_rows.append((key, row._replace(entry=entry, known=at in known)))
    if seen:
        report.notes.append(f"fills without an id got one made of what they say: {seen.total():,}")
    sorted_rows.sort(key=lambda item: item[0])
    return [row for _, row in sorted_rows]


def _read(account: Account, rows: Iterable[ExchangeFill | Bad], report: ImportReport, places: Places) -> Iterator[_Row]:
    received = stamp(account.wall())
    for row in rows:
        if isinstance(row, Bad):
            report.skipped += row.harmless
            if not row.harmless:
                report.refused += 1
                _note(report, row.line, "refused", row.reason)
            continue
        route = Route(
            name(row.symbol) or row.symbol, row.side, name(row.fee_asset), row.role, name(row.venue), name(row.account),
            row.position_side, kind="import",
        )  # fmt: skip
        entry = FillEntry(
            route=route, qty=row.qty, price=row.price, ts=row.ts, timed=True, received=received, fee=row.fee,
            order_id=name(row.order_id), fill_id=name(row.fill_id),
            more={"extra_fees": [[text(fee), asset] for fee, asset in row.extra_fees]} if row.extra_fees else None,
        )  # fmt: skip
        yield _Row(row.line, places.place(entry), row.extra_fees)


def _fees_of(account: Account, entries: Sequence[FillEntry]) -> str | None:
    """What is odd about the fees of a statement, all together: brokers write what was paid as negative."""
    told = [entry.fee for entry in entries if entry.fee is not None]
    if entries and not told and account.terms.fees is None:
        return "no fill tells its fee, so each counts as free of one; --map fee=COLUMN says where it stands"
    if any(told) and all(fee <= 0 for fee in told):
        return "every fee is negative, which is a rebate; --fees-negative, if that is how what was paid is written"
    return None


def _id_of(entry: FillEntry, seen: Counter[bytes]) -> str:
    """An id for a fill that has none: the same for the same row, whatever file it stands in."""
    route = entry.route
    said = (
        entry.ts, route.symbol, route.side, entry.qty.normalize(), entry.price.normalize(), entry.order_id,
        route.account, route.venue, route.position_side,
    )  # fmt: skip
    body = "\0".join(map(str, said)).encode("utf-8", "surrogatepass")
    row = blake2b(body, digest_size=8).digest()
    seen[row] += 1
    return f"row-{row.hex()}" if seen[row] == 1 else f"row-{row.hex()}-{seen[row]}"


def _is_coarser(booking: Booking) -> bool:
    """Whether a file only tells the time less exactly than the ledger, and all else agrees."""
    differs = booking.differs or {}
    if set(differs) != {"ts"}:
        return False
    old, new = map(str, differs["ts"])
    return is_as_told(new, old)


def _note(report: ImportReport, line: int, what: str, reason: str) -> None:
    if len(report.problems) < _MOST_PROBLEMS:
        report.problems.append(Problem(line=line, what=what, reason=reason))


def _note_fees(report: ImportReport, line: int, fees: tuple[Any, ...]) -> None:
    told = ", ".join(f"{text(fee)} {asset or ''}".strip() for fee, asset in fees)
    if len(report.notes) < _MOST_PROBLEMS:
        report.notes.append(f"line {line}: a fill has one fee; {told} beside it is kept in the line and in no sum")
