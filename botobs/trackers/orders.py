"""Every order the bot announced, until its fills have come or it is forgotten.

An order is known by one text (`order_key`). What was wrong about it is named and left out, the order itself stays,
so that its fills find it.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import exact
from botobs.clock import epoch_ns
from botobs.trackers.given import flag, order_key, positive, read_side, real, word
from botobs.trackers.misspelt import misspelt
from botobs.trackers.order import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Order", "Orders", "misspelt", "order_key"]

_KEEP_S = 7 * 86_400.0
_WORDS = ("symbol", "order_type", "strategy", "source", "reason", "plan_id", "action", "venue", "account", "trace_id")
_PRICES = ("qty", "decision_px", "limit_px", "stop_px", "target_px")
_REALS = ("pred_bps", "strength")
_LETTERS = "bcdfghjkmnpqrstvwxz"  # no vowels: an id never spells a word


class Orders:
    """The orders that may still be filled; bounded in number and age.

    Safe to use from many threads. When there are too many, those that are done go first, then those that nothing was
    heard of for longest.

    Args:
        most: How many are kept; a tenth of that of those that are done.
        keep_s: How long one is kept after it was last heard of, in seconds.
        now: Tells the time in nanoseconds since 1970.
        run: What the ids that are made here begin with; by default random letters, other ones in each process.

    Example:
        >>> orders = Orders()
        >>> order, problems = orders.announce("BTCUSDT", "buy", "0.5", decision_px=100)
        >>> orders.get(order.order_id).qty, problems
        (Decimal('0.5'), [])
    """

    def __init__(
        self,
        most: int = 50_000,
        keep_s: float = _KEEP_S,
        now: Callable[[], int] | None = None,
        *,
        run: str | None = None,
    ) -> None:
        self.most = max(1, most)
        self.most_done = max(1, most // 10)  # for late fills, and for those that are taken back
        self.keep_ns = int(keep_s * 1e9)
        self.now = now or time.time_ns
        self.lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here
        self.expired = 0  # how many were forgotten that were not done
        self._run, self._pid = run or _letters(), os.getpid()
        self._count = itertools.count(1)
        self._orders: OrderedDict[str, Order] = OrderedDict()  # the one nothing was heard of for longest comes first
        self._done: OrderedDict[str, None] = OrderedDict()

    def announce(
        self,
        symbol: Any,
        side: Any,
        qty: Any,
        *,
        order_id: Any = None,
        now_ns: int | None = None,
        bar_id: str | int | None = None,
        more: Mapping[str, Any] | None = None,
        reduces: Any = None,
        **details: Any,
    ) -> tuple[Order, list[str]]:
        """The bot decided to trade: the order as it is known from now on, and what was wrong about what was said.

        The same id again amends the order: what is given replaces what was, what was filled stays. For another symbol
        or side, or when the earlier order was another run's and is done, it is a new order.
        """
        moment = self.now() if now_ns is None else now_ns
        told, problems = _read(symbol, side, qty, reduces, details)
        key = order_key(order_id)
        if key is None and order_id is not None:
            problems.append("order_id: no text, one was made")
        with self.lock:
            order = self._place(key, told.get("symbol"), told.get("side"), moment, problems)
            decision_px = told.pop("decision_px", None)
            if decision_px is not None:
                order.decide(decision_px)
            for name, value in told.items():
                setattr(order, name, value)
            order.order_type = order.order_type or "market"
            order.bar_id = order.bar_id if bar_id is None else bar_id
            if more:
                order.more = dict(more)
            self._make_room(moment)
        return order, problems

    def get(self, order_id: Any) -> Order | None:
        """The order by that id, if it is known."""
        found = self._orders.get(order_id) if type(order_id) is str else None
        if found is not None:
            return found
        key = order_key(order_id)
        return None if key is None else self._orders.get(key)

    def decided(self, order_id: Any, decision_px: Any, *, now_ns: int | None = None, **details: Any) -> Order | None:
        """A decision on its own, perhaps for an order that nothing else is known of; `None`: it says nothing."""
        problems: list[str] = []
        price, key = positive("decision_px", decision_px, problems), order_key(order_id)
        if price is None or key is None:
            return None
        moment = self.now() if now_ns is None else now_ns
        sent_px = positive("sent_px", details.get("sent_px"), problems)
        words = [
            (name, found)
            for name in ("symbol", "order_type", "venue", "strategy", "account")
            if (found := word(name, details.get(name), problems)) is not None
        ]
        bought = None if details.get("side") is None else read_side(details["side"], problems)
        with self.lock:
            order = self._place(key, None, None, moment, problems)
            for name, value in words:
                setattr(order, name, value)
            order.side = bought or order.side
            order.decide(price)
            if sent_px is not None:
                order.sent_ns = order.sent_ns or moment
                order.depart(sent_px)
            self._make_room(moment)
        return order

    def sent(self, order_id: Any, px: Any = None, *, now_ns: int | None = None) -> tuple[Order | None, list[str]]:
        """The order left for the exchange. Of several sends (retries) the last one counts."""
        problems: list[str] = []
        price = positive("px", px, problems)
        moment = self.now() if now_ns is None else now_ns
        with self.lock:
            order = self.get(order_id)
            if order is not None:
                order.sent_ns = moment
                order.depart(price)
                order.spent = False
                self.touch(order, moment)
        return order, problems

    def cancel(self, order_id: Any, reason: Any = None, *, now_ns: int | None = None) -> Order | None:
        """The order was withdrawn; fills that come nevertheless still find it."""
        moment = self.now() if now_ns is None else now_ns
        said = word("reason", reason, [])
        with self.lock:
            order = self.get(order_id)
            if order is not None:
                order.cancelled, order.cancelled_ns = said, moment
                self.touch(order, moment)
        return order

    def refused(self, order: Order, attempt: int, max_retries: int, now_ns: int | None = None) -> None:
        """The exchange refused the order, at its `attempt` of `max_retries`."""
        with self.lock:
            order.rejected += 1
            order.spent = attempt >= max_retries
            self.touch(order, self.now() if now_ns is None else now_ns)

    def expire(self) -> int:
        """Forget what nothing was heard of for too long; how many that were."""
        with self.lock:
            before = len(self._orders)
            self._make_room(self.now(), batch=before)
            return before - len(self._orders)

    @exact
    def restore(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Learn the orders of earlier runs from the lines of `execution.jsonl`, oldest first; how many lines served.

        What is known already wins: orders of this run are left alone. A line that says nothing usable is passed over.
        """
        served = 0
        own = {key for key, order in list(self._orders.items()) if not order.restored}
        for record in records:
            try:
                served += self._relive(record, own)
            except Exception:  # noqa: S112  # a line of an earlier version, or a damaged one
                continue
        return served

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._orders)

    def all(self) -> list[Order]:
        """Every order that is known, the one nothing was heard of for longest first."""
        with self.lock:
            return list(self._orders.values())

    def _place(
        self, key: str | None, symbol: str | None, bought: str | None, moment: int, problems: list[str]
    ) -> Order:
        """The order to be told about: the one that is known by `key`, else a new one."""
        known = None if key is None else self._orders.get(key)
        if known is not None:
            other = (symbol is not None and known.symbol not in (None, symbol)) or (
                bought is not None and known.side not in (None, bought)
            )
            if not other and not (known.restored and known.done):
                known.cancelled, known.cancelled_ns, known.spent = None, None, False
                self._done.pop(known.order_id, None)
                self.touch(known, moment)
                return known
            if other and not known.done:
                problems.append(f"order_id: was another order until now: {known!r}")
            self._forget(known.order_id)
        order = Order(key or self._new_id(), moment)
        self._orders[order.order_id] = order
        return order

    def _new_id(self) -> str:
        if self._pid != os.getpid():  # a forked child counts on from the same number
            self._run, self._pid = _letters(), os.getpid()
        while True:
            # letters and digits only, and short: it is a valid client order id at every exchange
            made = f"{self._run}{next(self._count)}"
            if made not in self._orders:
                return made

    def touch(self, order: Order, moment: int | None = None) -> None:
        """Something was heard of the order; under the lock."""
        if moment is not None:
            order.touched_ns = moment
        key, kept = order.order_id, self._orders
        if kept.get(key) is order:
            kept.move_to_end(key)
            if order.done:
                self._done[key] = None
            elif self._done:
                self._done.pop(key, None)

    def _make_room(self, moment: int, batch: int = 4) -> None:
        """A few at each call, so that no call takes long."""
        while len(self._orders) > self.most or len(self._done) > self.most_done:
            if self._done:
                self._forget(next(iter(self._done)))
            else:
                self.expired += 1
                self._forget(next(iter(self._orders)))
        for _ in range(batch):
            oldest = next(iter(self._orders.values()), None)
            if oldest is None or moment - oldest.touched_ns <= self.keep_ns:
                return
            self.expired += not oldest.done
            self._forget(oldest.order_id)

    def _forget(self, key: str) -> None:
        self._orders.pop(key, None)
        self._done.pop(key, None)

    def _relive(self, record: Mapping[str, Any], own: set[str]) -> bool:
        """Do what one line says was done."""
        what, key = record.get("event"), order_key(record.get("order_id"))
        if key is None or key in own:
            return False
        moment = epoch_ns(record["ts"])
        if what == "order":
            order, _ = self.announce(
                record.get("symbol"), record.get("side"), record.get("qty"), order_id=key, now_ns=moment,
                bar_id=record.get("bar_id"), more=record.get("more"), reduces=record.get("reduces"),
                **{name: record.get(name) for name in _DETAILS},
            )  # fmt: skip
            order.restored = True
        elif what == "sent":
            return self.sent(key, record.get("px"), now_ns=moment)[0] is not None
        elif what == "cancel":
            return self.cancel(key, record.get("reason"), now_ns=moment) is not None
        elif what == "fill":
            return self._refill(key, record, moment)
        return what == "order"

    def _refill(self, key: str, record: Mapping[str, Any], moment: int) -> bool:
        qty, price = positive("qty", record.get("qty"), []), positive("price", record.get("price"), [])
        if qty is None or price is None:
            return False
        with self.lock:
            order = self.get(key)
            if order is not None:
                order.filled_qty += qty
                order.filled_notional += qty * price
                order.slip(qty, price)
                order.counted_by, order.counted = "fill", True
                self.touch(order, moment)
        return order is not None


def _read(symbol: Any, side: Any, qty: Any, reduces: Any, details: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What was said of an order, as far as it is usable, and what is wrong with the rest."""
    problems = [f"{name}: not known" for name in details.keys() - _DETAILS]
    given = {**details, "symbol": symbol, "qty": qty, "reduces": reduces}
    told = {}
    for name, read in _READ.items():
        value = given.get(name)
        if value is not None and (found := read(name, value, problems)) is not None:
            told[name] = found
    if "symbol" not in told:
        problems.append("symbol: none")
    if qty is None:
        problems.append("qty: none")
    bought = read_side(side, problems)
    if bought is not None:
        told["side"] = bought
    return told, problems


def _letters() -> str:
    # not for secrets: ids have to be unique, not unguessable
    return "".join(random.Random(os.urandom(16)).choices(_LETTERS, k=9))  # noqa: S311


_READ: dict[str, Callable[[str, Any, list[str]], Any]] = {
    **dict.fromkeys(_WORDS, word),
    **dict.fromkeys(_PRICES, positive),
    **dict.fromkeys(_REALS, real),
    "reduces": flag,
}
_DETAILS = frozenset({*_WORDS, *_PRICES, *_REALS} - {"symbol", "qty"})
