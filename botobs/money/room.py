"""The money room: the ledger and the account, the trackers around them, and what keeps them over a restart."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.account import Account, Terms
from botobs.accounting.checkpoint import Checkpoint, restore
from botobs.accounting.exchange.fees import FeeTable
from botobs.accounting.instruments import guess
from botobs.accounting.ledger import Ledger
from botobs.accounting.marks import Currencies
from botobs.accounting.numbers import exact
from botobs.accounting.opened import history_of
from botobs.accounting.routes import name, shown
from botobs.accounting.samples import Samples, sample_of
from botobs.accounting.sampling import CurveSampler
from botobs.accounting.summing import totals
from botobs.events import (
    EquitySampled,
    LedgerResumed,
    LedgerTrouble,
    OrderAnnounced,
    OrderCancelled,
    OrderSent,
)
from botobs.money.desk import Desk, Place
from botobs.money.funding import Funding
from botobs.money.prices import Prices
from botobs.money.recovery import catch_up
from botobs.money.tail import Tail
from botobs.trackers.given import flag, positive
from botobs.trackers.life import Place as Held
from botobs.trackers.misspelt import misspelt
from botobs.trackers.orders import Orders
from botobs.trackers.rejections import Rejections
from botobs.trackers.slippage import SlippageTracker
from botobs.trackers.trades import TradeTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from botobs.accounting.totals import Totals
    from botobs.clock import Clock
    from botobs.config import Settings
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.money.fills import Filled
    from botobs.money.report import FillReport
    from botobs.streams.disk import Disk
    from botobs.trackers.order import Order

__all__ = ["Money"]

_S = 1_000_000_000
_SAVE_NS = 30 * _S
_AGE_NS = 10 * _S
_ORDERS_BACK = 5_000  # records of `execution` that are read for the orders of an earlier run


class Money:
    """Everything about money that one observer has.

    Args:
        settings: What it runs with.
        data_dir: Where it is kept; `None`: in memory only.
        clock: The observer's.
        disk: The way to the operating system.
        faults: Counts.
        publish: Takes events.
        set_aside: Takes what cannot be booked; whether it is on disk.
        redact: Takes secrets out of what the bot said beside the known fields.
        history: Reads records of a stream: `history(stream, start_ns, end_ns)`, and `latest(stream, n)`.
        run_id: This run.
    """

    def __init__(
        self,
        settings: Settings,
        data_dir: Path | None,
        *,
        clock: Clock,
        disk: Disk,
        faults: Faults,
        publish: Callable[[Event], object],
        set_aside: Callable[[dict[str, Any]], bool],
        redact: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        history: Any,
        run_id: str,
    ) -> None:
        self._settings, self._clock, self._faults = settings, clock, faults
        self._publish, self.set_aside, self._redact = publish, set_aside, redact
        self._troubles: list[Event] = []
        root = data_dir if settings.ledger else None
        self._folder = None if root is None else root / "state"
        self.ledger = Ledger(
            root, durability=settings.durability, rotate_bytes=settings.rotate_bytes,
            rotate_ns=int(settings.rotate_days * 86_400 * _S), clock=clock, disk=disk, faults=faults,
            on_trouble=self._trouble,
        )  # fmt: skip
        self.account = Account(
            self.ledger, terms_of(settings, run_id), clock.time_ns,
            snapshots=None if self._folder is None else self._folder / "books.jsonl",
        )  # fmt: skip
        self.orders = Orders(now=clock.time_ns, run=settings.bot if settings.mode == "backtest" else None)
        self.slippage = SlippageTracker(self.orders, instrument=self.account.instruments.get)
        self.rejections = Rejections(clock.perf_ns)
        self.trades = TradeTracker(
            clock=clock, publish=publish, instruments=self.account.instruments, trade_of=self._trade_of
        )
        self.samples = Samples(None if history is None else history_of(history))
        self._sampler = CurveSampler(self.account.curve.calendar)
        self.tail = Tail(faults, inline=settings.mode == "backtest")
        self.desk = Desk(
            self.account, self.orders, self.slippage, self.trades, publish=publish, set_aside=set_aside, faults=faults,
            wall=clock.time_ns, before=self.pass_by, sampler=self._sampler, moved=self.moved, tail=self.tail,
        )  # fmt: skip
        self.prices = Prices(
            self.account,
            self.trades,
            before=self.pass_by,
            sampler=self._sampler,
            moved=self.moved,
            tail=self.tail,
            faults=faults,
            wall=clock.time_ns,
            publish=publish,
        )
        self.funding = Funding(
            self.account, self.desk, self.tail, sampler=self._sampler, publish=publish, faults=faults, clock=clock,
            folder=self._folder, moved=self.moved, enabled=settings.accrue_funding,
        )  # fmt: skip
        self.desk.funds = self.funding
        self.on_equity: Callable[[], object] | None = None  # the account is worth something else now
        self.on_reject: Callable[[str | None, Any], object] | None = None  # the exchange refused an order
        self.on_time: Callable[[], object] | None = None  # a second has passed, in a backtest
        self._checkpoint: Checkpoint | None = None
        self._saved_ns = self._aged_ns = self._kept_ns = self._moved_ns = 0
        self._backtest = settings.mode == "backtest"  # nobody calls now and then: time passes when the bot's clock does
        self._waiters: ThreadPoolExecutor | None = None
        self._making = threading.Lock()
        self._history = history

    def begin(self) -> None:
        """Take over what earlier runs left."""
        restored = restore(self.account, self._folder, self.samples)
        for seq in restored.composed.damaged[:1]:
            self._trouble("damaged", f"line {seq} of the ledger cannot be read; `botobs verify` says more")
        for problem in self.trades.restore(restored.extra.get("trades") or {}):
            self._faults.say("trades", "restore", problem)
        if self._history is not None:
            with contextlib.suppress(OSError):
                self.orders.restore(self._history.latest("execution", _ORDERS_BACK))
            if not restored.composed.damaged:  # no record of a trade is judged by a ledger that lacks a line
                catch_up(self.account, restored, self.trades, self.orders, self._history, self._publish)
        self.desk.followed = self.account.applied
        self.trades.agree(
            {
                Held(key[2], key[1], key[0], key[3]): book.trade
                for key, book in self.account.books.items()
                if book.trade is not None and not key[4]
            }
        )
        if self._folder is not None:
            self._checkpoint = Checkpoint(self.account, self._folder)
        clean = bool(restored.extra.get("ended")) and restored.since == self.account.applied
        self.funding.begin(self._history, clean=clean)
        self._tell()

    # -- orders ------------------------------------------------------------------------------------------------------

    def order(
        self,
        symbol: Any,
        side: Any,
        qty: Any,
        *,
        decision_px: Any,
        order_id: Any,
        place: Place,
        details: dict[str, Any],
        more: Mapping[str, Any],
    ) -> str:
        """Know an order, and write it down before its fill can come."""
        if more:
            more = self.context("order", more, {"decision_px": decision_px, "order_id": order_id, **details})
        now = self._clock.time_ns()
        order, problems = self.orders.announce(
            symbol, side, qty, decision_px=decision_px, order_id=order_id, now_ns=now, bar_id=place.bar_id,
            trace_id=place.trace_id, more=more or None, **details,
        )  # fmt: skip
        for problem in problems:
            self._faults.say("order", problem.partition(":")[0], f"order {order.order_id}: {problem}")
        self._publish(_announced(order, now))
        return order.order_id

    def sent(self, order_id: Any, px: Any, place: Place) -> None:
        """An order left."""
        now = self._clock.time_ns()
        order, problems = self.orders.sent(order_id, px, now_ns=now)
        for problem in problems:
            self._faults.say("sent", problem.partition(":")[0], f"sent {shown(order_id)}: {problem}")
        if order is None:
            self._faults.say("sent", "unknown", f"sent: order {shown(order_id)} is not known")
        else:
            self._publish(
                OrderSent(
                    ts_ns=now, symbol=order.symbol, order_id=order.order_id, venue=order.venue, account=order.account,
                    px=order.sent_px, bar_id=place.bar_id, trace_id=place.trace_id,
                )
            )  # fmt: skip

    def cancel(self, order_id: Any, reason: Any, place: Place) -> None:
        """An order was withdrawn."""
        now = self._clock.time_ns()
        order = self.orders.cancel(order_id, reason, now_ns=now)
        if order is None:
            self._faults.say("cancel", "unknown", f"cancel: order {shown(order_id)} is not known")
            return
        self._publish(
            OrderCancelled(
                ts_ns=now, symbol=order.symbol, order_id=order.order_id, venue=order.venue, account=order.account,
                reason=order.cancelled, bar_id=place.bar_id, trace_id=place.trace_id,
            )
        )  # fmt: skip

    def reject(self, order_id: Any, code: Any, message: Any, place: Place, **said: Any) -> None:
        """The exchange refused an order."""
        now = self._clock.time_ns()
        order = self.orders.get(order_id)
        event, problems = self.rejections.reject(
            order_id, code, message, order=order, ts_ns=now, bar_id=place.bar_id, trace_id=place.trace_id, **said
        )
        if order is not None:
            self.orders.refused(order, event.attempt, event.max_retries, now)
        self.slippage.rejected(order, now_ns=now)
        for problem in problems:
            self._faults.say("reject", problem.partition(":")[0], f"reject {shown(order_id)}: {problem}")
        self._publish(event)
        if self.on_reject is not None:
            self.on_reject(event.symbol, event.code)

    # -- what else the verbs need ------------------------------------------------------------------------------------

    def instrument(self, symbol: Any, *, venue: Any, **told: Any) -> None:
        """How a symbol settles."""
        problems: list[str] = []
        named = name(symbol)
        multiplier = positive("multiplier", told["multiplier"], problems)
        dust = positive("dust", told["dust"], problems, zero=True)
        inverse = flag("inverse", told["inverse"], problems)
        if named is None or multiplier is None or dust is None or inverse is None:
            what = "; ".join(problems) or ("symbol: none" if named is None else "nothing that can be read")
            self._faults.say("instrument", "wrong", f"instrument {shown(symbol)} is not taken: {what}")
            return
        found = guess(
            named, multiplier=Decimal(1) if multiplier == 1 else multiplier, inverse=inverse,
            base=name(told["base"]), quote=name(told["quote"]), dust=dust,
        )  # fmt: skip
        problem = self.account.tell(found, None if venue is None else name(venue))
        if problem is not None:
            self._faults.say("instrument", named, problem)

    def context(self, verb: str, more: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the bot said beside the known fields, without secrets; a misspelt name is warned about."""
        for meant in misspelt(more, [field for field, value in said.items() if value is None]):
            self._faults.say(verb, meant, f"{verb} does not know {meant}; it is kept as context")
        return self._redact(more)

    def naive(self, verb: str) -> None:
        """A time without a timezone is taken as UTC; said once a minute."""
        self._faults.say(verb, "naive", f"{verb}: a datetime without a timezone is taken as UTC")

    def later(self, work: Filled) -> Future[FillReport]:
        """Finish a fill on a thread that may wait for the disk."""
        with self._making:
            if self._waiters is None:
                self._waiters = ThreadPoolExecutor(1, thread_name_prefix="botobs-afill")
            try:
                return self._waiters.submit(self.desk.filled, work)
            except RuntimeError:  # the interpreter is ending: it is booked, and can be finished here
                done: Future[FillReport] = Future()
                done.set_result(self.desk.filled(work))
                return done

    def totals(self, window: Any = "all", *, kinds: Collection[str] | None = None) -> Totals:
        """What a window came to."""
        self.turn(self._clock.time_ns())
        return totals(self.account, window, samples=self.samples, kinds=kinds)

    def turn(self, now: int) -> None:
        """Before anything is asked: write what was true, and book what is due."""
        self.pass_by(now)
        self.funding.cross(now)

    def pass_by(self, now: int) -> None:
        """Before anything changes: write what was true, a change that had to wait or an hour's turn."""
        why = self._sampler.overdue(now)
        if why is not None and self._sampler.pending:
            self._sample("change", self._moved_ns)
            why = self._sampler.overdue(now)
        if why is not None:
            self._sample(why)
        if now >= self.funding.times.due_ns:
            (self.funding.cross if self._backtest else self.funding.note)(now)

    def moved(self, now_ns: int | None = None) -> None:
        """The account is worth something else now: who watches it is told, and a sample is written if one is due."""
        now = self._clock.time_ns() if now_ns is None else now_ns
        if self._backtest and not 0 <= now - self._kept_ns < _S:
            self.housekeep()
        self._moved_ns = now
        if self.on_equity is not None:
            self.on_equity()
        why = self._sampler.due(now, self.account.curve.equity)
        if why is not None:
            self._sample(why)

    # -- now and then ------------------------------------------------------------------------------------------------

    def housekeep(self) -> None:
        """What has to be done though nothing happens: every second or so."""
        for _piece in self.pieces():
            pass

    def pieces(self) -> Iterator[None]:
        """The same, piece by piece."""
        now = self._kept_ns = self._clock.time_ns()
        self.ledger.retry()
        self._tell()
        why = self._sampler.overdue(now)
        if why is not None:
            self._sample(why)
        yield
        self.funding.chore()
        yield
        if now - self._aged_ns >= _AGE_NS or now < self._aged_ns:
            self._aged_ns = now
            self.orders.expire()
            for aged in self.trades.aged(now, self._settings.max_position_age):
                self._publish(aged)
        if self._backtest:
            if self.on_time is not None:
                self.on_time()
            return
        self.save()

    def save(self, *, last: bool = False) -> None:
        """Keep the account for the next start."""
        if self._checkpoint is None:
            return
        now = self._clock.time_ns()
        try:
            if last or now - self._saved_ns >= _SAVE_NS or now < self._saved_ns:
                self._saved_ns = now
                with self.tail.still():
                    followed = {"trades": self.trades.state(), "followed": self.desk.followed, "ended": last}
                self._checkpoint.save(followed, last=last)
            self._checkpoint.touch()
        except OSError as error:  # the ledger has it all; the next start takes longer
            self._faults.say("checkpoint", type(error).__name__, f"the account's state could not be kept: {error}")

    @exact
    def _sample(self, why: str, at: int | None = None) -> None:
        """Write a point of the curve, dated `at`; at the turn of an hour the point is dated there."""
        account = self.account
        with account.lock:
            if account.busy:
                return
            now = self._clock.time_ns()
            moment = now if at is None else at
            if why == "hour":  # what the account was worth at its turn
                moment = account.curve.calendar.bucket(now, "hour")[0]
            record = sample_of(account, why)
            self._sampler.taken(moment, account.curve.equity)
            self.samples.add(moment, record)
        self._publish(EquitySampled(ts_ns=moment, record=record))

    def _trade_of(self, place: Held) -> Any:
        book = self.account.books.get((place.account, place.venue, place.symbol, place.position_side, False))
        return None if book is None else book.trade

    def _trouble(self, kind: str, message: str) -> None:
        """The ledger is in trouble, or out of it; it may be told under the lock, so the event waits."""
        now = self._clock.time_ns()
        if kind == "resumed":
            self._troubles.append(LedgerResumed(ts_ns=now))
        else:
            self._troubles.append(LedgerTrouble(ts_ns=now, what=kind, message=message))
        self._faults.say("ledger", kind, message)

    def _tell(self) -> None:
        while self._troubles:
            event = self._troubles.pop(0)
            if isinstance(event, LedgerTrouble):  # how many lines wait by now: when it began, there was none
                event = attrs.evolve(event, pending=self.ledger.pending)
            self._publish(event)

    # -- as a part of the observer -----------------------------------------------------------------------------------

    def flush(self, deadline: float) -> bool:
        """Write what waits."""
        done = self.ledger.flush(deadline)
        self.tail.settle()
        self._follow_funding()
        self._tell()
        return done

    def _follow_funding(self) -> None:
        self.funding.compare()
        self.tail.settle()
        self.funding.save(at_once=True)

    def close(self, deadline: float) -> bool:
        """Write what waits, keep the account, and end."""
        with self._making:
            waiters, self._waiters = self._waiters, None
        if waiters is not None:
            waiters.shutdown(wait=True)
        self.tail.settle()
        self._follow_funding()
        self.save(last=True)
        done = self.ledger.close(deadline)
        self._tell()
        return done

    def abandon(self) -> None:
        """In a forked child: forget everything."""
        self.ledger.abandon()
        self.account.lock, self.account.busy = self.ledger.lock, False
        self.tail.abandon()
        self.funding.abandon()
        self.prices.abandon()
        self.trades.abandon()
        self.orders.abandon()
        self.rejections.abandon()
        self._waiters, self._making, self._checkpoint = None, threading.Lock(), None


def _announced(order: Order, now: int) -> OrderAnnounced:
    return OrderAnnounced(
        ts_ns=now, symbol=order.symbol, bar_id=order.bar_id, trace_id=order.trace_id, order_id=order.order_id,
        venue=order.venue, account=order.account, side=order.side, qty=order.qty, order_type=order.order_type,
        decision_px=order.decision_px, limit_px=order.limit_px, strategy=order.strategy, source=order.source,
        pred_bps=order.pred_bps, strength=order.strength, reason=order.reason, stop_px=order.stop_px,
        target_px=order.target_px, reduces=order.reduces, plan_id=order.plan_id, action=order.action, more=order.more,
    )  # fmt: skip


def terms_of(settings: Settings, run_id: str = "") -> Terms:
    """How the account counts, as the settings say."""
    return Terms(
        starting_equity=settings.starting_equity,
        currency=settings.currency,
        currencies=Currencies(settings.tables.get("currencies")),
        cost_basis=settings.cost_basis,
        fees=FeeTable.parse(settings.tables["fees"]) if settings.tables.get("fees") else None,
        timezone=settings.timezone,
        sharpe_bucket=settings.sharpe_bucket,
        days_per_year=settings.days_per_year,
        bot=settings.bot,
        run_id=run_id,
    )
