"""Funding as it becomes due: at each funding time what is held is accrued, until the payment is reported.

The books do the arithmetic (`accounting.accruing`). Here is known when something is due, and what follows is told.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from botobs.accounting.accruing import funding_id_of
from botobs.accounting.entries import stamp
from botobs.datadir import atomic_write
from botobs.events import FundingAccrued
from botobs.money.funding_costs import FundingCosts
from botobs.money.funding_times import Due, FundingTimes, Passed
from botobs.money.tail import Work
from botobs.streams.encode import dumps
from botobs.trackers.life import Place as Held

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path

    from botobs.accounting.account import Account
    from botobs.accounting.accruing import Near
    from botobs.accounting.booking import Booking
    from botobs.accounting.sampling import CurveSampler
    from botobs.accounting.valuation import BookKey
    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.money.desk import Desk
    from botobs.money.tail import Tail
    from botobs.trackers.costs import Lot

__all__ = ["AccruedFunding", "Funding"]

_S: Final = 1_000_000_000
_SAVE_NS: Final = 10 * _S  # of rates; a funding time is kept at the next second
_WAIT_S: Final = 1.0
_MOST_LATE: Final = 1_000
_LINES_BACK: Final = 50_000  # of the ledger, for what came late
_SEALED: Final = b'"state":'


@attrs.frozen(kw_only=True)
class AccruedFunding:
    """Funding that was due, and whose payment was not reported yet.

    Attributes:
        ts: The funding time (RFC 3339).
        qty: The signed quantity held then, as far as is known today.
        rate: The last one told before.
        mark: The price then.
        amount: What is due, in the settlement currency: positive will be received.
        currency: Which one that is.
        funding_id: What it is called until it is paid.
        trade_id: The trade that was open then.
    """

    symbol: str
    ts: str
    qty: Decimal
    rate: Decimal
    mark: Decimal
    amount: Decimal
    currency: str
    funding_id: str
    account: str | None = None
    venue: str | None = None
    position_side: str | None = None
    trade_id: str | None = None


class Funding:
    """Books what is due.

    Args:
        account: Whose.
        desk: Where trades are told.
        tail: Has done what follows.
        sampler: Is told by when it has to be asked, so that a price or a fill is not earlier here than what was due
            before it.
        publish: Takes events.
        faults: Counts.
        clock: Tells the time.
        folder: Where the times are kept; `None`: nowhere.
        moved: Called when the account is worth something else.
        enabled: Whether anything is accrued at all.
    """

    def __init__(
        self,
        account: Account,
        desk: Desk,
        tail: Tail,
        *,
        sampler: CurveSampler,
        publish: Callable[[Event], object],
        faults: Faults,
        clock: Clock,
        folder: Path | None,
        moved: Callable[[int | None], object],
        enabled: bool,
    ) -> None:
        self._account, self._desk, self._tail, self._sampler = account, desk, tail, sampler
        self._publish, self._faults, self._clock, self._moved = publish, faults, clock, moved
        self._path = None if folder is None else folder / "funding.json"
        self._enabled = enabled
        self.times = FundingTimes(lambda cause, message: faults.say("funding", cause, message))
        self.costs = FundingCosts(account, publish, clock.time_ns)
        self._noted: deque[tuple[Due, dict[str | None, Decimal]]] = deque()  # what came, and the prices then by venue
        self._late: set[tuple[str, str]] = set()  # symbol and time of what came for a funding time that is over
        self.looked = 0  # the last line of the ledger that `late` was asked about
        self._dealt = self._saved_dealt = 0  # the same, and what was late is accrued; as it was kept
        self._unsafe = False  # something was booked that may not be on the disk yet
        self._saved = (0, 0)
        self._saved_ns = 0

    def begin(self, history: Any, *, clean: bool) -> None:
        """The account is known: go on, with what became due while nothing ran."""
        state, dealt = self._read()
        self.times.restore(state)
        self._saved, self._saved_dealt = (self.times.changes, self.times.steps), dealt
        self._wanted()
        self.costs.begin(history, clean=clean)
        self.looked = self._account.applied
        if self._enabled:
            self.cross(self._clock.time_ns())
            self._look(dealt)
            self._catch_up()

    # -- what is told ------------------------------------------------------------------------------------------------

    def told(self, symbol: str, rate: Any, next_ns: int | None) -> None:
        """The current rate, and when it is paid next."""
        if not self._enabled:
            return
        now = self._clock.time_ns()
        if now >= self.times.due_ns:
            self.cross(now)
        self.times.told(symbol, rate, next_ns, now)
        self._wanted()

    def near(self, symbol: str) -> Near:
        """What tells for which funding time a payment is."""
        return self.times.near(symbol)

    def late(self, symbol: str, ts: str) -> None:
        """A fill came, or was taken back, of before a funding time that is over."""
        if len(self._late) < _MOST_LATE:
            self._late.add((symbol, ts))

    def _look(self, since: int) -> None:
        """Find what came late and was not seen to: a run was cut short, or fills were imported without the bot."""
        newest, ledger = self.times.newest, self._account.ledger
        for _, raw in ledger.lines(max(since + 1, self.looked - _LINES_BACK)) if newest else ():
            with contextlib.suppress(ValueError, KeyError):
                line = orjson.loads(raw)
                if line["type"] == "void":
                    line = ledger.find(line["voids"]) or {}
                if line["type"] in ("fill", "position") and line["ts"] < newest.get(line["symbol"], ""):
                    self.late(line["symbol"], line["ts"])

    @property
    def open(self) -> tuple[AccruedFunding, ...]:
        """What is accrued and not reported yet, the oldest first."""
        account = self._account
        found: list[AccruedFunding] = []
        with account.lock:
            for key, book in account.books.items():
                currency = account.valuation.settles(book)
                found.extend(
                    AccruedFunding(
                        symbol=key[2], ts=one.ts, qty=one.qty, rate=one.rate, mark=one.mark, amount=one.amount,
                        currency=currency, funding_id=funding_id_of(key[2], one.ts), account=key[0], venue=key[1],
                        position_side=key[3], trade_id=one.trade_id,
                    )
                    for one in book.accruals.values()
                )  # fmt: skip
        return tuple(sorted(found, key=lambda one: (one.ts, one.symbol)))

    # -- what is due -------------------------------------------------------------------------------------------------

    def note(self, now: int) -> None:
        """Note what is due by now, and the prices before another one comes; it is booked within a second.

        For the bot's own threads: with many positions, to book them takes milliseconds.
        """
        marks, held = self._account.marks, self._account.valuation.held
        for due in self.times.take(now):
            venues = {None, *(key[1] for key in held(due.symbol))}
            prices = {venue: price for venue in venues if (price := marks.get(venue, due.symbol)) is not None}
            self._noted.append((due, prices))
        self._wanted()

    def cross(self, now: int) -> None:
        """Book what is due by now. Raises only in strict mode."""
        if now >= self.times.due_ns:
            self.note(now)
        done = False
        while self._noted:
            try:
                due, prices = self._noted.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                done = self._due(due, prices) or done
            except Exception as error:
                self._faults.error("funding", error)
        if done:
            self._moved(now)

    def _wanted(self) -> None:
        self._sampler.wanted_by(self.times.due_ns)

    def _due(self, due: Due, prices: dict[str | None, Decimal]) -> bool:
        """Whether anything was booked."""
        ts = stamp(due.ts_ns)
        held = self._account.held_at(due.symbol, ts)
        if due.rate is None:
            if held:
                self._faults.say(
                    "funding", f"rate {due.symbol}", f"the funding of {due.symbol} at {ts} is not accrued: {due.why}"
                )
            return False
        passed = Passed(ts, due.rate, prices.get(None))
        self.times.passed(due, passed.mark)
        done, busy = self._accrue(due.symbol, passed, held, prices)
        if busy:
            self.times.again(due)
        return done

    def _accrue(
        self, symbol: str, passed: Passed, held: dict[BookKey, Decimal], prices: dict[str | None, Decimal]
    ) -> tuple[bool, bool]:
        """Whether anything was booked, and whether something could not be booked just now."""
        account = self._account
        venues = {key[1] for key in held} - {None}
        if len(venues) > 1:
            self._faults.say(
                "funding", f"venue {symbol}", f"the funding of {symbol} at {passed.ts} is not accrued: it is held at "
                f"{', '.join(sorted(map(str, venues)))}, and nobody said whose rate it is",
            )  # fmt: skip
            return False, False
        done = busy = False
        for key in held:
            with account.lock:
                mark = prices.get(key[1], passed.mark)
                if mark is None:
                    mark = account.valuation.mark(key, account.books[key])
                if mark is None:
                    self._faults.say("funding", f"mark {symbol}", f"the funding of {symbol} at {passed.ts} is not "
                                     "accrued: it has no price")  # fmt: skip
                    continue
                booking = account.accrue(key, passed.ts, passed.rate, mark)
                if booking.ticket is not None:
                    self._unsafe = done = True
                    assert booking.accrual is not None
                    if account.books[key].forgotten:
                        self._faults.say("funding", f"unpaid {symbol}", f"the funding of {symbol} was accrued so often "
                                         "without a payment that `obs.accrued` has the last ones only")  # fmt: skip
                    lots = self.costs.lots_of(key, booking.accrual)
                    self._tail.put(Work(self._follow, (booking, lots, self._clock.time_ns())))
            busy = busy or booking.reason is not None  # beneath a signal handler
        return done, busy

    def _follow(self, booking: Booking, lots: list[Lot], now: int) -> None:
        self._desk.followed = booking.seq or self._desk.followed
        line, key, accrual, change = booking.line or {}, booking.key, booking.accrual, booking.change
        assert key is not None
        assert accrual is not None
        assert change is not None
        account, venue, symbol, side, _ = key
        self._publish(
            FundingAccrued(
                ts_ns=now, symbol=symbol, venue=venue, account=account, position_side=side, amount=accrual.amount,
                rate=accrual.rate, mark=accrual.mark, qty=accrual.qty, funding_id=line["funding_id"],
                funding_ts=accrual.ts, trade_id=accrual.trade_id,
            )
        )  # fmt: skip
        self.costs.tell(key, accrual, now, lots)
        place = Held(symbol, venue, account, side)
        for event in self._desk.trades.changed(place, change, booking.trade, ts=accrual.ts):
            self._publish(event)

    # -- now and then ------------------------------------------------------------------------------------------------

    def chore(self) -> None:
        """Once a second: what is due, what came late, and what has to be kept."""
        if self._enabled:
            self.cross(self._clock.time_ns())
        self.compare()
        self.save()

    def compare(self) -> None:
        """Have the records follow what came late."""
        if self._noted:
            self.cross(self._clock.time_ns())
        self._catch_up()
        if self.costs.behind:
            self._tail.put(Work(self.costs.compare, ()))

    def _catch_up(self) -> None:
        """Accrue what came late."""
        looked = self.looked
        if self._late:
            self._again()
        self._dealt = looked

    def _again(self) -> None:
        """What came late may have been held at a funding time at which nothing seemed to be."""
        late, self._late = self._late, set()
        done = False
        for symbol, ts in late:
            for passed in self.times.since(symbol, ts):
                try:
                    held = self._account.held_at(symbol, passed.ts)
                    done = self._accrue(symbol, passed, held, {})[0] or done
                except Exception as error:
                    self._faults.error("funding", error)
        if done:
            self._moved(None)

    def save(self, *, at_once: bool = False) -> None:
        """Keep the times for the next start, but never a time as over whose lines may be lost."""
        seen = (self.times.changes, self.times.steps)
        more = at_once and self._dealt != self._saved_dealt and bool(self.times.newest)
        if self._path is None or (seen == self._saved and not more):
            return
        now = self._clock.perf_ns()
        if not at_once and seen[0] == self._saved[0] and 0 <= now - self._saved_ns < _SAVE_NS:
            return
        if self._unsafe and not self._account.ledger.flush(time.monotonic() + _WAIT_S):
            return
        self._unsafe, self._saved_ns, dealt = False, now, self._dealt
        try:
            body = dumps(self.times.state())
            atomic_write(self._path, b'{"crc":%d,"dealt":%d,"state":%b}\n' % (zlib.crc32(body), dealt, body))
        except OSError as error:  # what becomes due while nothing runs is not known then
            self._faults.say("funding", type(error).__name__, f"{self._path.name} could not be kept: {error}")
            return
        self._saved, self._saved_dealt = seen, dealt

    def _read(self) -> tuple[Any, int]:
        """The times, and up to which line what was late is accrued."""
        if self._path is None:
            return None, 0
        try:
            data = self._path.read_bytes()
            found = orjson.loads(data)
            if zlib.crc32(data[data.index(_SEALED) + len(_SEALED) : -2]) == found["crc"]:
                return found["state"], int(found.get("dealt", 0))
        except FileNotFoundError:
            return None, 0
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self._faults.say("funding", self._path.name, f"{self._path.name} is damaged: the funding times are not known")
        return None, 0

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        self._path = None
        self.times.abandon()
