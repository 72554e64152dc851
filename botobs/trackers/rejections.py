"""Orders that the exchange refused: the record of each, counts by symbol and code, and how many of late."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import divide, exact, number
from botobs.events import OrderRejected
from botobs.trackers.given import order_key, real, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.trackers.orders import Order

__all__ = ["Rejections", "spread_bps"]

_MOST_CODES = 1_000
_MOST_RECENT = 10_000
_MOST_FIELDS = 100
_LONGEST = 2_000


class Rejections:
    """What exchanges refused. Safe to use from many threads, bounded in memory.

    Args:
        now: A steady counter in nanoseconds, for how many there were of late: setting the clock must not hide any.

    Example:
        >>> rejections = Rejections()
        >>> event, problems = rejections.reject("o1", -2010, "insufficient balance", ts_ns=0)
        >>> event.code, rejections.count(within_s=60)
        ('-2010', 1)
    """

    def __init__(self, now: Callable[[], int] | None = None) -> None:
        self.now = now or time.perf_counter_ns
        self.total = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._recent: deque[tuple[int, str | None, str]] = deque(maxlen=_MOST_RECENT)
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here

    @exact
    def reject(
        self,
        order_id: Any,
        code: Any,
        message: Any,
        *,
        attempt: Any = 1,
        max_retries: Any = 1,
        market: Any = None,
        error: Any = None,
        order: Order | None = None,
        ts_ns: int,
        symbol: Any = None,
        bar_id: str | int | None = None,
        trace_id: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> tuple[OrderRejected, list[str]]:
        """The event of a refusal, with what is known of the order, and what was wrong about what was said.

        The code stays as the exchange has it, as text. Where `market` has bid and ask but no spread, it is reckoned.
        """
        problems: list[str] = []
        said = word("code", code, problems) or (None if error is None else type(error).__name__) or "unknown"
        state = _market(market, more)
        where = word("symbol", symbol, problems) or (None if order is None else order.symbol)
        event = OrderRejected(
            ts_ns=ts_ns,
            symbol=where if where is not None or state is None else word("symbol", state.get("symbol"), []),
            bar_id=bar_id if bar_id is not None or order is None else order.bar_id,
            trace_id=trace_id if trace_id is not None or order is None else order.trace_id,
            order_id=order_key(order_id) if order is None else order.order_id,
            venue=None if order is None else order.venue,
            account=None if order is None else order.account,
            code=said,
            message=_message(message),
            side=None if order is None else order.side,
            qty=None if order is None else order.qty,
            order_type=None if order is None else order.order_type,
            limit_px=None if order is None else order.limit_px,
            strategy=None if order is None else order.strategy,
            market=state,
            spread_bps=None if state is None else spread_bps(state),
            attempt=_at_least_one("attempt", attempt, problems),
            max_retries=_at_least_one("max_retries", max_retries, problems),
            error=None if error is None else _error(error),
        )
        with self._lock:
            self.total += 1
            key = (event.symbol or "", said)
            if key not in self._counts and len(self._counts) >= _MOST_CODES:  # a bot whose codes hold ids or times
                key = ("other", "other")
            self._counts[key] = self._counts.get(key, 0) + 1
            self._recent.append((self.now(), event.symbol, said))
        return event, problems

    def count(self, within_s: float, *, now: int | None = None, symbol: str | None = None) -> int:
        """How many there were in the last `within_s` seconds, at most 10,000; of `symbol` only, if one is named."""
        moment = self.now() if now is None else now
        start = moment - int(within_s * 1e9)
        with self._lock:
            late = itertools.takewhile(lambda entry: entry[0] > start, reversed(self._recent))
            return sum(1 for entry in late if symbol is None or entry[1] == symbol)

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """How many there were by (symbol, code), since the start."""
        with self._lock:
            return dict(self._counts)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()


@exact
def spread_bps(market: Mapping[str, Any]) -> float | None:
    """The spread in bps of the mid price: as told, else from `bid` and `ask`; `None`: neither is there.

    Example:
        >>> spread_bps({"bid": 99, "ask": 101})
        200.0
    """
    told = real("spread_bps", market.get("spread_bps"), [])
    if told is not None:
        return told
    try:
        bid, ask = number(market.get("bid")), number(market.get("ask"))
        if bid <= 0 or ask <= 0:
            return None
        found = float(divide((ask - bid) * 20_000, ask + bid))
    except Exception:  # no numbers, or none that a bot would trade at
        return None
    return found if math.isfinite(found) else None


def _market(given: Any, more: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The state of the market as the bot saw it, copied; what is no mapping is kept all the same."""
    state: dict[str, Any] = {}
    if given is not None:
        try:
            if issubclass(type(given), Mapping):
                for name, value in itertools.islice(given.items(), _MOST_FIELDS):
                    state[name if type(name) is str else str(name)] = value
            else:
                state = {"given": given}
        except Exception:
            state = {"given": given}
    if more:
        state.update(itertools.islice(more.items(), _MOST_FIELDS))
    return state or None


def _message(value: Any) -> str:
    if value is None:
        return ""
    try:
        return str.__str__(str(value))[:_LONGEST]
    except Exception:
        return f"<{type(value).__name__}>"


def _error(value: Any) -> str:
    """An exception as `TypeName: text`; other things as text."""
    if not issubclass(type(value), BaseException):
        return _message(value)
    text = _message(value)
    return f"{type(value).__name__}: {text}" if text else type(value).__name__


def _at_least_one(name: str, value: Any, problems: list[str]) -> int:
    try:
        found = int(number(value))
    except Exception as error:
        problems.append(f"{name}: {error}" if type(error) is ValueError else f"{name}: not a number")
        return 1
    if 1 <= found < 2**31:
        return found
    problems.append(f"{name}: not from 1 on")
    return 1
