"""The records of what funding cost: their sum is what the totals say, whatever comes late, early or never."""

from __future__ import annotations

import contextlib
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.accounting.accruing import accrual_of, funding_id_of
from botobs.accounting.book import FIRST, Entry
from botobs.accounting.numbers import EXACT, ZERO, exact, number
from botobs.accounting.replay import entry_of, key_of
from botobs.trackers.costs import cost_of_funding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.booking import Booking
    from botobs.accounting.trade import Accrual
    from botobs.accounting.valuation import BookKey
    from botobs.events import Event, FundingCost
    from botobs.trackers.costs import Lot

__all__ = ["FundingCosts"]

_MOST_TOLD: Final = 20_000
_LINES_BACK: Final = 50_000  # of the ledger: what a run that did not end cleanly may not have told of
_PAYMENTS_BACK: Final = 2_000
_RECORDS_BACK: Final = 10_000


class FundingCosts:
    """Tells what funding cost, and takes back what was told of an accrual that is paid or became another amount.

    All of it is called by the tail, one after the other.

    Args:
        account: Whose.
        publish: Takes the records.
        wall: Tells the time.
    """

    def __init__(self, account: Account, publish: Callable[[Event], object], wall: Callable[[], int]) -> None:
        self._account = account
        self._publish = publish
        self._wall = wall
        self._told: dict[int, tuple[BookKey, Accrual]] = {}  # what stands in the records of what is not paid
        self._seen = 0  # the last line at which they were compared with the books

    @property
    def behind(self) -> bool:
        """Whether something may have changed that the records do not know of."""
        return bool(self._told) and self._account.applied != self._seen

    def begin(self, history: Any, *, clean: bool) -> None:
        """Go on: what the books have accrued stands in the records, if the last run ended cleanly; else it is seen to.

        Args:
            history: Reads records; `None`: there are none.
            clean: Whether all that the last run had to tell was written.
        """
        account = self._account
        for key, book in account.books.items():
            for seq, accrual in book.accruals.items():
                self._told[seq] = key, accrual
        self._seen = account.applied
        if not clean and history is not None and any(book.funding or book.accruals for book in account.books.values()):
            with contextlib.suppress(OSError):
                self._mend(history)

    def lots_of(self, key: BookKey, accrual: Accrual) -> list[Lot]:
        """What was held, as it is known now."""
        return self._account.lots_before(key, Entry(accrual.ts, accrual.seq, FIRST, "accrued", ZERO))

    @exact
    def tell(self, key: BookKey, accrual: Accrual, now: int, lots: list[Lot] | None = None) -> None:
        """Something was accrued."""
        self._told[accrual.seq] = key, accrual
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        lots = self.lots_of(key, accrual) if lots is None else lots
        self._publish(self._of(key, accrual, accrual.amount, now, "funding_accrued", lots=lots, seq=accrual.seq))

    @exact
    def paid(self, booking: Booking, now: int) -> None:
        """A payment was booked; what was accrued for it is over."""
        line, key, settled = booking.line or {}, booking.key, booking.accrual
        assert key is not None
        assert booking.seq is not None
        if settled is not None:
            _, told = self._told.pop(settled.seq, (key, settled))
            self._publish(self._reversed(key, told, now, booking.seq))
        self._publish(self._payment(key, line, booking.seq, settled, now))

    @exact
    def compare(self) -> None:
        """What came late has changed what was held at a funding time: the records follow."""
        account = self._account
        if account.applied == self._seen:
            return
        self._seen = account.applied
        now = self._wall()
        for seq, (key, told) in list(self._told.items()):
            book = account.books.get(key)
            accrual = None if book is None else book.accruals.get(seq)
            if accrual is not None and accrual.amount != told.amount:
                self._publish(self._reversed(key, told, now, seq))
                self.tell(key, accrual, now)

    # -- records -----------------------------------------------------------------------------------------------------

    def _reversed(self, key: BookKey, told: Accrual, now: int, seq: int) -> FundingCost:
        return self._of(key, told, EXACT.minus(told.amount), now, "funding_reversed", seq=seq)

    def _of(
        self, key: BookKey, accrual: Accrual, amount: Decimal, now: int, cause: str, **more: Any
    ) -> FundingCost:  # fmt: skip
        return cost_of_funding(
            ts_ns=now, symbol=key[2], amount=amount, cause=cause, account=key[0], venue=key[1], position_side=key[3],
            trade_id=accrual.trade_id, notional=self._worth(key, accrual), rate=accrual.rate, mark=accrual.mark,
            qty=accrual.qty, funding_id=funding_id_of(key[2], accrual.ts), funding_ts=accrual.ts, **more,
        )  # fmt: skip

    def _payment(
        self, key: BookKey, line: Mapping[str, Any], seq: int, settled: Accrual | None, now: int
    ) -> FundingCost:
        entry = entry_of({**line, "seq": seq})
        lots = self._account.lots_before(key, entry)
        qty = ZERO
        for lot in lots:
            qty = EXACT.add(qty, lot[0])
        rate = None
        with contextlib.suppress(ValueError):
            rate = None if line.get("rate") is None else number(line["rate"])
        return cost_of_funding(
            ts_ns=now, symbol=key[2], amount=Decimal(line["amount"]), account=key[0], venue=key[1],
            position_side=key[3], trade_id=line.get("trade_id"), trace_id=line.get("trace_id"), lots=lots, qty=qty,
            notional=None if settled is None else self._worth(key, settled), rate=rate,
            mark=None if settled is None else settled.mark, funding_id=line.get("funding_id"), funding_ts=line["ts"],
            settles=None if settled is None else funding_id_of(key[2], settled.ts), seq=seq,
        )  # fmt: skip

    def _worth(self, key: BookKey, accrual: Accrual) -> Decimal:
        return self._account.instruments.get(key[1], key[2]).worth(accrual.qty, accrual.mark)

    # -- after a crash -----------------------------------------------------------------------------------------------

    @exact
    def _mend(self, history: Any) -> None:
        """Write what the last run could not: the ledger has it, and the records do not."""
        account = self._account
        back = deque(self._lines(max(account.applied - _LINES_BACK, 1)), maxlen=_PAYMENTS_BACK)
        lines = {line["seq"]: line for line in back}
        if not lines:
            return
        sums, paid, old = _recorded(history.latest("costs", _RECORDS_BACK))
        now = self._wall()
        settled = {line["settles"] for line in lines.values() if "settles" in line}
        for seq, line in lines.items():
            key = key_of(line)
            if "accrued" not in line:
                if seq not in paid and line["received"] > old:
                    due = lines.get(line.get("settles", 0))
                    accrual = None if due is None else accrual_of(due)
                    self._publish(self._payment(key, line, seq, accrual, now))
                continue
            said = sums.get((key, funding_id_of(key[2], line["ts"])), ZERO)
            known = self._told.get(seq)
            if known is not None and said != -known[1].amount:
                if said:
                    self._publish(self._reversed(key, known[1]._replace(amount=-said), now, seq))
                self.tell(*known, now)
            elif said and seq in settled:
                self._publish(self._reversed(key, accrual_of(line)._replace(amount=-said), now, seq))

    def _lines(self, since: int) -> Iterator[dict[str, Any]]:
        for _, raw in self._account.ledger.lines(since):
            if b'"type":"funding"' in raw:
                with contextlib.suppress(ValueError):
                    line = orjson.loads(raw)
                    if line["type"] == "funding":
                        yield line


def _recorded(records: list[Mapping[str, Any]]) -> tuple[dict[Any, Decimal], set[int], str]:
    """What the records say of each funding time that is accrued, which payments they have, and up to when they do not
    say which.
    """  # noqa: D205 - one sentence
    sums: dict[Any, Decimal] = {}
    paid: set[int] = set()
    old = ""
    for record in records:
        get = record.get
        cause = get("cause")
        if cause == "funding" and isinstance(get("seq"), int):
            paid.add(record["seq"])
        elif cause == "funding":  # of a version that did not write it
            old = max(old, str(get("ts")))
        elif cause in ("funding_accrued", "funding_reversed"):
            with contextlib.suppress(KeyError, ValueError):
                key = get("account"), get("venue"), record["symbol"], get("position_side"), False
                name = key, get("funding_id")
                sums[name] = sums.get(name, ZERO) + number(record["funding_cost_usd"])
    return sums, paid, old
