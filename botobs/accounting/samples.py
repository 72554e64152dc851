"""The written equity curve: what a sample says, and what windows read back from it."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from botobs.accounting.curve import Curve
from botobs.accounting.entries import stamp
from botobs.accounting.numbers import ZERO, text
from botobs.accounting.segments import Segment
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from botobs.accounting.account import Account

__all__ = ["Sample", "Samples", "lived", "sample_of"]

_MOST = 8_192
_HOUR_NS = 3_600 * 10**9
# how far back the last sample before a moment is looked for: one an hour while a bot runs, none while it does not
_BACK_NS = (2 * _HOUR_NS, 50 * _HOUR_NS, 24 * 45 * _HOUR_NS)


class Sample(NamedTuple):
    """A point of the curve, as windows need it.

    Attributes:
        ts_ns: When.
        equity: What the account was worth.
        marks: The prices at which positions were valued, by venue and symbol.
        segment: The stretch since the sample before.
        record: What was written.
    """

    ts_ns: int
    equity: Decimal
    marks: Mapping[tuple[str | None, str], Decimal]
    segment: Segment | None
    record: Mapping[str, Any]

    @property
    def ts(self) -> str:
        """When, as text."""
        return stamp(self.ts_ns)


class Samples:
    """The samples of the run that are at hand, and those on disk before them.

    Args:
        history: Reads records of the stream from one time to another; `None`: there is no disk.
    """

    def __init__(self, history: Any = None) -> None:
        self._history = history
        self._recent: deque[Sample] = deque(maxlen=_MOST)

    def add(self, ts_ns: int, record: Mapping[str, Any]) -> None:
        """Take a sample as it was written."""
        self._recent.append(_read(ts_ns // 1_000 * 1_000, record))  # as it can be read back

    def before(self, ts_ns: int) -> Sample | None:
        """The last sample at or before a moment."""
        if self._recent and self._recent[0].ts_ns <= ts_ns:
            return next((sample for sample in reversed(list(self._recent)) if sample.ts_ns <= ts_ns), None)
        until = ts_ns + 1
        for back in _BACK_NS:
            found: Sample | None = None
            for sample in self._stored(max(ts_ns - back, 0), until):
                found = sample  # the last one is wanted
            if found is not None:
                return found
        return None

    def relive(self, account: Account) -> int:
        """Give an account the curve that was written down, and the last marks; the ledger's line they go up to."""
        last: Sample | None = None

        def seen() -> Iterator[Sample]:
            nonlocal last
            for sample in self.since(-1):
                last = sample
                yield sample

        curve = lived(seen(), account.terms.starting_equity, account)
        if last is None:
            return 0
        account.curve = curve
        for key, price in last.marks.items():
            account.marks.set(*key, price)
        seq = last.record.get("seq")
        return seq if isinstance(seq, int) else 0

    def since(self, ts_ns: int) -> Iterator[Sample]:
        """The samples after a moment, oldest first."""
        recent = list(self._recent)
        if not recent or recent[0].ts_ns > ts_ns:
            yield from self._stored(ts_ns + 1, recent[0].ts_ns if recent else None)
        for sample in recent:
            if sample.ts_ns > ts_ns:
                yield sample

    def _stored(self, start_ns: int, end_ns: int | None) -> Iterator[Sample]:
        if self._history is None:
            return
        for record in self._history(start_ns, end_ns):
            try:
                sample = _read(epoch_ns(record["ts"]), record)
                if sample.ts_ns >= start_ns:
                    yield sample
            except (KeyError, TypeError, ValueError, ArithmeticError):  # no sample of ours
                continue


def sample_of(account: Account, why: str) -> dict[str, Any]:
    """What a sample of the account says now; ends the curve's open segment. Runs under `EXACT` and the lock."""
    curve, valuation = account.curve, account.valuation
    realized, unrealized, value = ZERO, ZERO, ZERO
    positions: dict[str, dict[str, Any]] = {}
    for book in account.books.values():
        realized += book.realized
    for key, book in valuation.open_books():
        mark = valuation.mark(key, book)
        if mark is None:
            continue
        worth = book.instrument.worth(book.inventory, mark)
        unrealized += book.unrealized(mark)
        value += worth
        said = positions.setdefault(
            key[2] if key[1] is None else f"{key[1]}:{key[2]}",
            {"symbol": key[2], "venue": key[1], "qty": ZERO, "value": ZERO, "mark": text(mark)},
        )
        if account.marks.get(key[1], key[2]) is None:  # it is the last fill's price
            said["marked"] = False
        said["qty"] += book.inventory
        said["value"] += worth
    for said in positions.values():
        said["qty"], said["value"] = text(said["qty"]), text(said["value"])
    only = next(iter(positions.values()))["qty"] if len(positions) == 1 else None
    known = account.terms.starting_equity is not None
    return {
        "why": why,
        "seq": account.applied,
        "equity": text(curve.equity) if known else None,
        "pnl": text(valuation.pnl()),
        "realized": text(realized),
        "unrealized": text(unrealized),
        "peak": text(curve.peak) if known else None,
        "drawdown": text(curve.drawdown),
        "drawdown_pct": curve.drawdown_pct,
        "position_qty": only if positions else "0",
        "position_value": text(value),
        "positions": positions,
        "segment": curve.cut().record(),
    }


def _read(ts_ns: int, record: Mapping[str, Any]) -> Sample:
    said = record.get("segment")
    segment = None if said is None else Segment.of_record(said)
    marks = {
        (told.get("venue"), told["symbol"]): Decimal(told["mark"])
        for told in (record.get("positions") or {}).values()
        if told.get("marked", True)
    }
    equity = ZERO if segment is None else segment.end
    return Sample(ts_ns, equity, marks, segment, record)


def lived(samples: Iterable[Sample], first: Decimal | None, account: Account) -> Curve:
    """The curve that the samples make, from `first` on."""
    terms = account.terms
    curve = Curve(first, tz=terms.timezone, bucket=terms.sharpe_bucket, days_per_year=terms.days_per_year)
    for sample in samples:
        if sample.segment is not None:
            curve.absorb(sample.ts_ns, sample.segment)
    return curve
