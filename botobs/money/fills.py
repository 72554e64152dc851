"""Fills: read, booked, answered; and what follows from one, told to everybody behind it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botobs.accounting.booking import Booking
from botobs.accounting.entries import read_fill
from botobs.accounting.numbers import ZERO, exact
from botobs.accounting.routes import Refused, name, shown
from botobs.events import FillBooked, FillConflict, FillRefused
from botobs.money.report import SAID, FillReport, Place
from botobs.money.tail import Work
from botobs.quick import UNFIT, maker, quick
from botobs.trackers.costs import cost_of_fill
from botobs.trackers.given import order_key
from botobs.trackers.life import FillContext
from botobs.trackers.slippage import slipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.book import Book
    from botobs.accounting.entries import FillEntry
    from botobs.accounting.sampling import CurveSampler
    from botobs.accounting.trade import Change
    from botobs.events import CostBooked, Event
    from botobs.faults import Faults
    from botobs.money.funding import Funding
    from botobs.money.tail import Tail
    from botobs.trackers.orders import Order, Orders
    from botobs.trackers.slippage import Slippage, SlippageTracker
    from botobs.trackers.trades import TradeTracker

__all__ = ["FillDesk", "Filled"]

_NO_SLIP = (None, None, None)
_report = maker(FillReport)


class Filled(Work):
    """A fill that was booked, on its way to everybody else."""

    __slots__ = (
        "book", "change", "desk", "durable", "entry", "fee", "fee_value", "now", "order", "place", "seq", "trade",
    )  # fmt: skip
    seq: int
    change: Change
    book: Book

    def __init__(  # noqa: PLR0917 - keywords would cost
        self, desk: FillDesk, entry: FillEntry, booking: Booking, order: Order | None, place: Place, now: int
    ) -> None:
        self.ready = self.durable = False
        self.desk = desk
        self.entry = entry
        (  # all of its fields in their order: to ask for them by name takes longer
            self.seq, _, self.change, self.book, self.fee, self.fee_value, _, _, _, _, _, _, _, self.trade, _, _, _,
        ) = booking  # type: ignore[assignment]  # fmt: skip
        self.order = order
        self.place = place
        self.now = now

    def run(self) -> None:
        """Tell everybody."""
        self.desk.follow(self)


_work: Callable[..., Filled] = Filled
if quick is not None:
    with suppress(*UNFIT):
        quick.know_work(Filled, Booking)
        _work = quick.work


class FillDesk:
    """Books fills.

    Args:
        account: The books.
        orders: The orders that fills belong to.
        slippage: Measures fills against decisions.
        trades: Keeps round trips.
        publish: Takes events.
        set_aside: Takes what cannot be booked, as a record for `refused`; whether it is on disk.
        faults: Counts.
        wall: Tells the time.
        tail: Has done what follows from a report.
        before: Called before a fill may change what the account is worth,
        sampler: unless this one says that there is no need.
        moved: Called when the account's worth may have changed.
    """

    def __init__(
        self,
        account: Account,
        orders: Orders,
        slippage: SlippageTracker,
        trades: TradeTracker,
        *,
        publish: Callable[[Event], object],
        set_aside: Callable[[dict[str, Any]], bool],
        faults: Faults,
        wall: Callable[[], int],
        before: Callable[[int], object],
        sampler: CurveSampler,
        moved: Callable[[int | None], object],
        tail: Tail,
    ) -> None:
        self.account = account
        self.orders = orders
        self._order = orders.get
        self.slippage = slippage
        self.trades = trades
        self.counts: Counter[str] = Counter()
        self.followed = 0  # the last line of the ledger that the trades know of
        self._publish = publish
        self._set_aside = set_aside
        self._faults = faults
        self._wall = wall
        self._before = before
        self._sampler = sampler
        self._moved = moved
        # of what opens or closes a trade, before the verb returns
        self.told: Callable[[str, Any, Change], object] | None = None
        # how far an order's average price was to be beyond the best one, by the book of its decision: order, role
        self.impact_of: Callable[[str | None, str | None], float | None] | None = None
        self.funds: Funding | None = None  # what came for a funding time that is over is said there
        self._tail = tail

    def book(  # noqa: C901, PLR0912 - one straight path: calls cost
        self, order_id: Any, said: tuple[Any, ...], place: Place, more: Mapping[str, Any] | None
    ) -> FillReport | Filled:
        """Book a fill; what it came to, or what `filled` needs to finish it once it is durable."""
        now = self._wall()
        (
            price, qty, symbol, side, fee, fee_asset, role, fill_id, ts, venue, account, position_side, kind, strategy,
        ) = said  # fmt: skip
        order = None if order_id is None else self._order(order_id)
        try:
            if order is not None:  # what a fill does not say, its order does
                key: str | None = order.order_id
                if symbol is None:
                    symbol = order.symbol
                if side is None:
                    side = order.side
                if venue is None:
                    venue = order.venue
                if account is None:
                    account = order.account
                if strategy is None:
                    strategy = order.strategy
            else:
                key = order_key(order_id)
                if symbol is None:
                    known = "names no order" if key is None else f"order {key!r} is not known"
                    raise Refused(f"the fill names no symbol, and {known}")
            words = (symbol, side, fee_asset, role, venue, account, position_side, strategy, kind)
            entry = read_fill(words, price, qty, fee, fill_id, ts, now, key, place.trace_id, more)
        except Refused as refused:
            told = dict(zip(SAID, said, strict=True)) | {"symbol": symbol, "side": side, "venue": venue}
            told |= {"account": account, "strategy": strategy}
            return self._refused("fill", str(refused), {"order_id": order_id, **told, **(more or {})}, key)
        if role is not None and entry.route.role is None and name(role) is not None:
            self._faults.say("fill", "role", f"fill: unknown role: {shown(role)}; maker or taker; it counts as neither")
        books = self.account
        calm = self._sampler
        if not calm.since <= now < calm.until:
            self._before(now)
        with books.lock:
            booking = books.fill_locked(entry, now)
            change = booking.change
            if change is not None:
                done = _work(self, entry, booking, order, place, now)
                self._tail.hold(done)  # under the lock: what follows keeps the order of the books
        if change is None:
            return self._not_booked(entry, booking)
        _, _, _, _, _, trade_id, next_id, closed, late, _, _ = change
        if (  # who may have to stop the bot does not wait for a disk; what is in the middle of a trade, nobody minds
            closed or trade_id == f"t{booking.seq}" or late or next_id is not None
        ) and self.told is not None and entry.route.counts:  # fmt: skip
            self.told(entry.route.symbol, place.bar_id, change)
        self._moved(now)
        return done

    def filled(self, work: Filled) -> FillReport:
        """Wait for the disk, and answer."""
        order, slip = work.order, None
        route, qty, price, _, _, _, _, order_id, fill_id, _, _ = work.entry
        try:
            work.durable = durable = self.account.ledger.settle_line(work.seq)
            if order is not None:
                slip = slipped(order, work.book.instrument, price, qty, route.side)
        finally:
            work.ready = True
        _, position, gross, _, _, trade_id, _, _, late, _, _ = work.change
        self.counts["booked"] += 1
        if late:
            self.counts["late"] += 1
        self._tail.may_follow()
        bps, money, _ = _NO_SLIP if slip is None else slip
        return _report((  # all of its fields in their order
            True, durable, False, False, late, None if durable else self._why_not(), fill_id, order_id, trade_id, bps,
            money, gross, position,
        ))  # fmt: skip

    def _why_not(self) -> str:
        """Why a line that was booked is not durable."""
        if self.account.ledger.root is None:
            return "there is no ledger on disk"
        return "it could not be written; it is in memory and will be written"

    @exact
    def follow(self, done: Filled) -> None:
        """What the fill was in the eyes of its order and of its trade; tell everybody."""
        entry, order, place = done.entry, done.order, done.place
        self.followed = done.seq
        route = entry.route
        if not route.counts:
            return
        slip = None
        if order is not None:
            slip = self.slippage.filled(
                order, entry.price, entry.qty, route.side, instrument=done.book.instrument, fee=done.fee_value,
                latency_ms=self.slippage.latency_ms(order, done.now), now_ns=done.now,
            )  # fmt: skip
        context = FillContext(
            symbol=route.symbol, side=route.side, qty=entry.qty, price=entry.price, ts=entry.ts, seq=done.seq,
            fill_id=entry.fill_id, venue=route.venue, account=route.account, position_side=route.position_side,
            strategy=route.strategy, slippage_bps=None if slip is None else slip.bps, trace_id=entry.trace_id,
            bar_id=place.bar_id,
        )  # fmt: skip
        if self.funds is not None:
            if entry.ts < self.funds.times.newest.get(route.symbol, ""):
                self.funds.late(route.symbol, entry.ts)
            self.funds.looked = done.seq
        events = self.trades.booked(context, done.change, order, done.trade)
        self._publish(_fill_event(done, slip))
        impact = None if self.impact_of is None else self.impact_of(entry.order_id, route.role)
        self._publish(_cost_event(done, slip, impact))
        for event in events:
            self._publish(event)

    def _not_booked(self, entry: FillEntry, booking: Booking) -> FillReport:
        """A duplicate, a conflict, or a fill that a void had waited for."""
        durable = booking.ticket is not None and self.account.ledger.settle_line(booking.ticket)
        if booking.ticket is None and not booking.duplicate and not booking.conflict:
            return self._refused("fill", booking.reason or "", entry.told(), entry.order_id)
        if booking.duplicate:
            self.counts["duplicate"] += 1
        elif booking.conflict:
            self.counts["conflict"] += 1
            self._set_aside({
                "what": "fill", "reason": booking.reason, "conflict": True, "seq": booking.seq,
                "said": entry.told(),
            })  # fmt: skip
            self._publish(
                FillConflict(
                    ts_ns=self._wall(), symbol=entry.route.symbol, order_id=entry.order_id, venue=entry.route.venue,
                    account=entry.route.account, fill_id=entry.fill_id, seq=booking.seq, differs=booking.differs,
                )
            )  # fmt: skip
            self._faults.say("ledger", "conflict", f"fill {entry.fill_id} of {entry.route.symbol}: {booking.reason}")
        return FillReport(
            duplicate=booking.duplicate, conflict=booking.conflict, durable=durable, reason=booking.reason,
            fill_id=entry.fill_id, order_id=entry.order_id,
        )  # fmt: skip

    def _refused(self, what: str, reason: str, said: Mapping[str, Any], order_id: str | None) -> FillReport:
        self.counts["refused"] += 1
        kept = self._set_aside({"what": what, "reason": reason, "said": dict(said)})
        symbol = name(said.get("symbol"))
        self._publish(FillRefused(ts_ns=self._wall(), symbol=symbol, order_id=order_id, reason=reason, what=what))
        self._faults.say("ledger", f"refused {what}", f"a {what} was not booked: {reason}")
        return FillReport(durable=kept, reason=reason, order_id=order_id, fill_id=name(said.get("fill_id")))


def _fill_event(done: Filled, slip: Slippage | None) -> FillBooked:
    entry, order, now, change = done.entry, done.order, done.now, done.change
    route = entry.route
    known = order is not None
    sent = None if order is None else order.sent_ns
    return FillBooked(
        ts_ns=now, symbol=route.symbol, bar_id=done.place.bar_id, trace_id=entry.trace_id, order_id=entry.order_id,
        venue=route.venue, account=route.account, seq=done.seq, side=route.side, qty=entry.qty, price=entry.price,
        fill_id=entry.fill_id, trade_id=change.trade_id, position_side=route.position_side, strategy=route.strategy,
        source=order.source if order is not None else None, order_type=order.order_type if order is not None else None,
        role=route.role, fill_kind=route.kind, fee=done.fee, fee_asset=route.fee_asset,
        fee_value=done.fee_value, decision_px=order.decision_px if order is not None else None,
        slippage_bps=None if slip is None else slip.bps, slippage=None if slip is None else slip.money,
        delay_bps=None if slip is None else slip.delay_bps,
        execution_bps=None if slip is None else slip.execution_bps,
        latency_ms=None if not known or sent is None or now < sent else round((now - sent) / 1e6, 3),
        gross_pnl=change.gross, position=change.inventory, durable=done.durable, late=change.late,
        fill_ts=entry.ts, more=entry.more,
    )  # fmt: skip


def _cost_event(done: Filled, slip: Slippage | None, impact: float | None) -> CostBooked:
    entry, change = done.entry, done.change
    route = entry.route
    return cost_of_fill(
        ts_ns=done.now, symbol=route.symbol, side=route.side, qty=entry.qty, price=entry.price,
        instrument=done.book.instrument, slippage=slip,
        fee=done.fee_value if entry.fee is not None or done.fee else ZERO, order_id=entry.order_id,
        fill_id=entry.fill_id, trade_id=change.trade_id, trace_id=entry.trace_id,
        bar_id=done.place.bar_id, venue=route.venue, account=route.account, strategy=route.strategy,
        impact_bps=impact,
    )  # fmt: skip
