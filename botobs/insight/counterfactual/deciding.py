"""What the bot's own threads say of decisions and refusals, taken there and left to the background.

Of one market the next decision is taken when the horizon of the one before is over: those in between tell nearly the
same story. One that an order came of is taken always. So the usual signal with candidates costs a look into a
dictionary.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.accounting.numbers import ZERO, exact, number
from botobs.accounting.routes import known_name, name
from botobs.accounting.sides import side
from botobs.events.money import FillBooked, OrderAnnounced, OrderCancelled, TradeClosed, TradeOpened
from botobs.events.switch import KillSwitchRefused
from botobs.insight.counterfactual.candidates import chosen_among, direction, read
from botobs.insight.counterfactual.running import Decision, Refusal
from botobs.insight.names import plain
from botobs.insight.taking import newest
from botobs.money.tail import Work
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from botobs.bus import Bus
    from botobs.faults import Faults
    from botobs.insight.counterfactual.tracker import Counterfactual
    from botobs.money.room import Money
    from botobs.stages.engine import Engine
    from botobs.stages.tick import Tick
    from botobs.trackers.order import Order
    from botobs.trackers.orders import Orders

__all__ = ["Deciding", "alive_in"]

_FOR_EVER: Final = 1 << 62
_NOTHING_NS: Final = 1_000_000_000  # how long nobody looks again where there was no price
_PACE_NS: Final = 10_000_000  # refusals of one stage, where no order is named, are looked at so often
_FRESH_NS: Final = 10_000_000_000  # for so long an order's decision price is the market's
_MOST: Final = 4_000
_MOST_TICKS: Final = 256
_WITH: Final = b'"candidates":'
_LONGEST: Final = 200


class Deciding:
    """Takes decisions from signals and orders, and refusals from guards and risk stages.

    Args:
        tracker: Gets them.
        money: Whose marks, orders and positions.
        engine: Whose ticks.
        wall: Nanoseconds since 1970.
        faults: Counts.
    """

    def __init__(
        self, tracker: Counterfactual, money: Money, engine: Engine, *, wall: Callable[[], int], faults: Faults
    ) -> None:
        self._tracker, self._engine, self._faults = tracker, engine, faults
        self._account, self._orders, self._tail = money.account, money.orders, money.tail
        self._now, self._wall = engine.now, wall
        self._until: dict[Any, int] = {}  # by symbol: steady time before which no further decision is taken
        self._bars: dict[str, int] = {}  # bars that have to finish first
        self._taken: OrderedDict[int, Decision] = OrderedDict()  # by trace
        self._paced: dict[tuple[Any, ...], int] = {}

    def listen(self, bus: Bus) -> None:
        """Hear of orders, fills, trades and refusals."""
        tracker = self._tracker
        listeners: tuple[tuple[type[Any], Callable[[Any], object]], ...] = (
            (OrderAnnounced, self.order), (OrderCancelled, self.cancelled), (KillSwitchRefused, self.refused),
            (FillBooked, tracker.filled), (TradeOpened, tracker.opened), (TradeClosed, tracker.closed),
        )  # fmt: skip
        for event, hear in listeners:
            bus.subscribe(event, hear, immediate=True, _trusted=True)

    def begin(self) -> None:
        """The run begins: hear of signals with candidates and of risk stages, too."""
        self._engine.on_candidates, self._engine.on_veto = self.signal, self.vetoed

    # -- decisions ---------------------------------------------------------------------------------------------------

    def signal(self, tick: Tick, source: Any, decision: Any, candidates: Any) -> None:
        """A signal has candidates. On the hot path."""
        try:
            if self._now() < self._until[tick.symbol] and (tick.why is None or "order" not in tick.why):
                return
        except Exception:  # noqa: S110  # the first of its kind, or one without a hash
            pass
        try:
            self._take(tick, source, decision, candidates, self._opening(tick))
        except Exception as error:
            self._faults.error("counterfactual", error)

    def order(self, event: OrderAnnounced) -> None:
        """An order was announced: if its tick signalled candidates, it came of that decision."""
        tick = current_tick()
        if tick.signals is None or tick.engine is not self._engine or event.order_id is None or event.reduces:
            return
        try:
            if event.symbol != name(tick.symbol):
                return
            known = self._taken.get(tick.trace_id)
            if known is not None:
                self._tail.put(Work(self._tracker.ordered, (known, event.order_id, _sign(event.side))))
                return
            said = next((said for said in _signals(tick) if "candidates" in said), None)
            if said is not None:
                order = self._orders.get(event.order_id)
                orders = [] if order is None else [order]
                self._take(tick, said.get("source"), said.get("decision"), said["candidates"], orders)
        except Exception as error:
            self._faults.error("counterfactual", error)

    def finished(self, symbol: str) -> None:
        """A bar was told; on the bot's thread, before anything that follows from it."""
        left = self._bars.get(symbol)
        if left is None:
            return
        if left > 1:
            self._bars[symbol] = left - 1
        else:
            self._bars.pop(symbol, None)
            self._until.pop(symbol, None)

    def _take(self, tick: Tick, source: Any, decision: Any, candidates: Any, orders: list[Order]) -> None:
        symbol, now = tick.symbol, self._now()
        if len(self._until) > _MOST:
            self.forget()
        named = known_name(symbol) if type(symbol) is str else name(symbol)
        if named is None or (now < self._until.get(named, 0) and not orders):
            return
        found, odd = read(candidates)
        if odd:
            self._tracker.misread(odd)
        way = direction(decision) if decision is not None else None
        known, chosen = chosen_among(found, plain(source), way)
        mark = self._mark(named)
        price = mark if mark is not None else next((_price(one) for one in orders if one.decision_px), None)
        if price is None or not found:
            self._until[named] = now + _NOTHING_NS
            return
        over = self._tracker.horizon
        if over.bars:
            self._until[named] = _FOR_EVER
            self._bars[named] = over.bars
        else:
            self._until[named] = now + over.ns - over.ns // 10  # a loop of the same pace may be a little early
        ordered = next((sign for one in orders if (sign := _sign(one.side)) is not None), None)
        made = Decision(
            symbol=named, price=price, since=self._wall(), candidates=tuple(known), chosen=chosen,
            way=way if ordered is None else ordered, orders={one.order_id for one in orders},
            bar_id=tick.bar_id, trace_id=tick.id if tick.keeps else None,
        )  # fmt: skip
        self._taken[tick.own_trace_id()] = made
        if len(self._taken) > _MOST_TICKS:
            self._taken.popitem(last=False)
        self._tail.put(Work(self._tracker.decided, (made,)))

    def _opening(self, tick: Tick) -> list[Order]:
        """Orders of this tick that may open a trade."""
        return [one for one in self._ordered(tick) if not one.reduces and one.symbol == name(tick.symbol)]

    def _ordered(self, tick: Tick) -> list[Order]:
        """The orders that were announced in this tick."""
        said = None if tick.why is None else tick.why.get("order")
        ids: Iterable[str] = [said] if type(said) is str else list(said or ())
        return [order for key in ids if (order := self._orders.get(key)) is not None]

    # -- refusals ----------------------------------------------------------------------------------------------------

    def refused(self, event: KillSwitchRefused) -> None:
        """A guard did not let something through."""
        try:
            by = "stale data" if event.reason.startswith("stale data") else "kill switch"
            order = event.order if event.order_id is None else self._orders.get(event.order_id) or event.order
            self._stop(current_tick(), by, event.stage or "check", event.reason, order, reduces=event.reduces)
        except Exception as error:
            self._faults.error("counterfactual", error)

    def vetoed(self, tick: Tick, stage: Any, reason: Any, order: Any = None) -> None:
        """A risk stage ended with an error, or said that it does not let something through."""
        try:
            told = order
            if order is not None and not isinstance(order, dict):
                told = self._orders.get(order) or {"order_id": name(order)}
            self._stop(tick, "risk", plain(stage), _why(reason), told)
        except Exception as error:
            self._faults.error("counterfactual", error)

    def cancelled(self, event: OrderCancelled) -> None:
        """An order was withdrawn; for a reason of risk, before any of it was filled, it was refused."""
        reason = event.reason
        if reason is None or event.order_id is None or not reason.lower().startswith(("risk", "veto")):
            return
        try:
            order = self._orders.get(event.order_id)
            if order is not None and not order.filled_qty:
                self._stop(current_tick(), "cancel", None, reason, order)
        except Exception as error:
            self._faults.error("counterfactual", error)

    def _stop(self, tick: Tick, by: str, stage: str | None, reason: str, order: Any, *, reduces: bool = False) -> None:
        """What was stopped: the order that is named, else the orders of the tick, else what it signalled."""
        inside = tick.engine is self._engine
        stopped = [order] if order is not None else []
        if not stopped and inside:
            stopped = [one for one in self._ordered(tick) if not (one.filled_qty or one.sent_ns or one.cancelled_ns)]
        if not stopped:
            if self._too_soon(by, stage, tick.symbol if inside else None):
                return
            said = next((one for one in _signals(tick) if one.get("decision") is not None), {}) if inside else {}
            sign = direction(said.get("decision")) if said else None
            stopped = [{"symbol": tick.symbol, "side": sign}] if sign else []
        made = [self._refusal(tick if inside else None, by, stage, reason, one, reduces) for one in stopped]
        works = [Work(self._tracker.stopped, (one,)) for one in made if one is not None]
        decision = self._taken.get(tick.trace_id) if inside else None
        if decision is not None:
            self._tail.put(Work(self._tracker.held_back, (decision,)))
        for work in works or [Work(self._tracker.unknown, (by, stage, reason))]:
            self._tail.put(work)

    def _too_soon(self, *site: Any) -> bool:
        now = self._now()
        if len(self._paced) > _MOST:
            self._paced.clear()
        key = tuple(map(plain, site))
        if now < self._paced.get(key, 0):
            return True
        self._paced[key] = now + _PACE_NS
        return False

    def _refusal(  # noqa: PLR0917 - one place asks
        self, tick: Tick | None, by: str, stage: str | None, reason: str, order: Any, reduces: bool
    ) -> Refusal | None:
        """One of them; `None`: nobody said what it was, or what its market's price is."""
        get = _getter(order)
        symbol = name(get("symbol")) or (None if tick is None else name(tick.symbol))
        sign = _sign(get("side"))
        if symbol is None or sign is None:
            return None
        now, mark, decided = self._wall(), self._mark(symbol), _price(order)
        told = get("announced_ns")
        fresh = decided is not None and told is not None and now - told < _FRESH_NS
        price = decided if fresh or mark is None else mark
        if price is None:
            return None
        qty = _amount(get("qty"))
        smaller = bool(reduces or get("reduces")) or self._would_reduce(symbol, sign, qty)
        return Refusal(
            symbol=symbol, price=price, since=now, mark=mark, sign=sign, by=by, stage=stage, reason=reason[:_LONGEST],
            qty=qty, worth=None if qty is None else self._worth(get("venue"), symbol, qty, price),
            order_id=name(get("order_id")), reduces=smaller, strategy=name(get("strategy")),
            bar_id=None if tick is None else tick.bar_id,
            trace_id=tick.id if tick is not None and tick.keeps else None,
        )  # fmt: skip

    @exact
    def _would_reduce(self, symbol: str, sign: int, qty: Decimal | None) -> bool:
        """Whether that would make what is held smaller, as far as can be told without waiting."""
        account = self._account
        if qty is None or not account.valuation.holds(symbol) or not account.lock.acquire(blocking=False):
            return False
        try:
            held = sum([book.inventory for key, book in account.valuation.open_books() if key[2] == symbol], ZERO)
        finally:
            account.lock.release()
        return bool(held) and (held > 0) != (sign > 0) and qty <= abs(held)

    @exact
    def _worth(self, venue: Any, symbol: str, qty: Decimal, price: float) -> Decimal | None:
        try:
            return abs(self._account.instruments.get(name(venue), symbol).worth(qty, number(price)))
        except Exception:  # beyond what can be reckoned
            return None

    # -- prices ------------------------------------------------------------------------------------------------------

    def _mark(self, symbol: str) -> float | None:
        """The newest price, without waiting for anybody."""
        found = newest(self._account, symbol)
        return None if found is None else float(found)

    def forget(self) -> None:
        """Take the next decision of each market, whatever runs."""
        self._until.clear()
        self._bars.clear()


def alive_in(orders: Orders) -> Callable[[str], bool]:
    """Tells of an order whether it may still be filled."""

    def alive(order_id: str) -> bool:
        order = orders.get(order_id)
        return order is not None and not order.done

    return alive


def _signals(tick: Tick) -> list[dict[str, Any]]:
    """What the tick signalled, the latest first; read back from its lines, which lack their end until it is over."""
    lines = tick.signals or ()
    return [said for line in reversed(lines) if type(said := orjson.loads(line + b"}")) is dict]


def _sign(said: Any) -> int | None:
    """1 for a buy, -1 for a sale."""
    if type(said) is int:
        return said if said in (1, -1) else None
    try:
        return 1 if side(said) == "buy" else -1
    except Exception:  # an order without a side
        return None


def _getter(order: Any) -> Callable[[str], Any]:
    """What an order says, whether it is one of ours or what the bot told of it."""
    return order.get if isinstance(order, dict) else lambda key: getattr(order, key, None)


def _price(order: Any) -> float | None:
    """The price at which an order was decided."""
    get = _getter(order)
    for key in ("decision_px", "price", "limit_px"):
        found = _amount(get(key))
        if found is not None:
            return float(found)
    return None


def _amount(said: Any) -> Decimal | None:
    try:
        found = None if said is None else number(said)
    except Exception:  # whatever the bot's number may be
        return None
    return found if found is not None and found > 0 else None


def _why(reason: Any) -> str:
    """A reason as text; of an error its kind and what it says."""
    if isinstance(reason, BaseException):
        said = plain(reason)
        return f"{type(reason).__name__}: {said}" if said else type(reason).__name__
    return plain(reason) or "no reason"
