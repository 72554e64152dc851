"""What the bot held when something happened to a price, and what it did around that time."""

from __future__ import annotations

import itertools
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from botobs.accounting.numbers import EXACT, ZERO, exact, number
from botobs.events.money import FillBooked, OrderAnnounced, TradeClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.account import Account
    from botobs.events.base import Event

__all__ = ["Done", "Held", "holdings", "narrowed"]

Held: TypeAlias = dict[str, dict[str, Any]]
# its number, when, the symbol, what, and how much
_Done: TypeAlias = tuple[int, int, str, str, Any]

_MOST: Final = 5_000
_SHOWN: Final = 50  # symbols in one record


def holdings(account: Account) -> Held | None:
    """What is held of each symbol, over all venues and accounts; `None`: the account is busy, and nobody waits."""
    lock: Any = account.lock
    if not lock.acquire(blocking=False):
        return None
    try:
        return _held(account)
    finally:
        lock.release()


@exact
def _held(account: Account) -> Held:
    found: Held = {}
    for key, book in account.valuation.open_books():
        if key[4]:  # a simulation
            continue
        mark, side = account.valuation.mark(key, book), "long" if book.inventory > 0 else "short"
        pnl = None if mark is None else book.unrealized(mark)
        before = found.get(key[2])
        if before is None:
            found[key[2]] = {"qty": book.inventory, "side": side, "unrealized_pnl": pnl}
            continue
        before["qty"] += book.inventory
        before["side"] = side if before["side"] == side else "both"
        before["unrealized_pnl"] = None if None in (pnl, before["unrealized_pnl"]) else before["unrealized_pnl"] + pnl
    return found


def narrowed(found: Mapping[str, dict[str, Any]] | None, symbol: str | None) -> Held | None:
    """Of one symbol only; `None` instead of one: of all, as far as a record holds them."""
    if found is None:
        return None
    if symbol is not None:
        return {symbol: found[symbol]} if symbol in found else {}
    return dict(list(found.items())[:_SHOWN])


class Done:
    """The latest orders, fills and closed trades.

    `take` is called on the bot's own thread for an order, and costs it a look-up; the rest is the background's.

    Attributes:
        last: The number of the last one.
        traded: Symbols that were traded, until somebody takes them.
    """

    def __init__(self) -> None:
        self._log: deque[_Done] = deque(maxlen=_MOST)
        self._numbers = itertools.count(1)
        self.last = 0
        self._known: dict[str, None] = {}
        self.traded: deque[str] = deque(maxlen=1_000)

    def take(self, event: Event) -> None:
        """Something was done."""
        symbol = event.symbol
        if symbol is None:
            return
        if isinstance(event, OrderAnnounced):
            self._put(event.ts_ns, symbol, "orders", None)
        elif isinstance(event, FillBooked):
            if event.fill_kind != "live":
                return
            self._put(event.ts_ns, symbol, "bought" if event.side == "buy" else "sold", event.qty)
        elif isinstance(event, TradeClosed):
            if event.revision == 1 and not event.undone:
                self._put(event.ts_ns, symbol, "closed", event.record.get("net_pnl_usd"))
            return
        if symbol not in self._known:
            if len(self._known) > _MOST:
                self._known.clear()
            self._known[symbol] = None
            self.traded.append(symbol)

    def _put(self, at: int, symbol: str, what: str, value: Any) -> None:
        self.last = done = next(self._numbers)
        self._log.append((done, at, symbol, what, value))

    def before(self, now: int, window: int, symbol: str | None = None) -> Held:
        """What was done in the `window` up to `now`, of each symbol; of the latest 5,000 things."""
        found: list[_Done] = []
        for one in reversed(self._log.copy()):
            if one[1] <= now - window:
                break
            found.append(one)
        return _sums(found, symbol)

    def since(self, last: int, symbol: str | None = None) -> Held:
        """What was done after the one of that number."""
        if last >= self.last:
            return {}
        found: list[_Done] = []
        for one in reversed(self._log.copy()):
            if one[0] <= last:
                break
            found.append(one)
        return _sums(found, symbol)


def _sums(done: list[_Done], symbol: str | None) -> Held:
    """The newest comes first; what is found is told in the order in which it began."""
    found: Held = {}
    for _, _, named, what, value in reversed(done):
        if symbol is not None and named != symbol:
            continue
        did = found.get(named)
        if did is None:
            if len(found) >= _SHOWN:
                continue
            did = found[named] = {
                "orders": 0, "fills": 0, "bought": ZERO, "sold": ZERO, "closed": 0, "net_pnl": None,
            }  # fmt: skip
        _add(did, what, value)
    return found


def _add(did: dict[str, Any], what: str, value: Any) -> None:
    if what == "orders":
        did["orders"] += 1
    elif what == "closed":
        did["closed"] += 1
        try:
            did["net_pnl"] = EXACT.add(did["net_pnl"] or ZERO, number(value))
        except ValueError:  # a trade whose result nobody knows
            return
    else:
        did["fills"] += 1
        did[what] = EXACT.add(did[what], value if isinstance(value, Decimal) else number(value))
