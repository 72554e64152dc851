"""How much worse than decided the fills were, and who filled them best.

Positive is worse, for buys and sells alike. Where the price at send time is known, slippage is split into what the
market did before the order left (delay) and what the exchange did with it (execution).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.instruments import Instrument
from botobs.accounting.numbers import EXACT, ZERO, exact
from botobs.accounting.sides import side as side_of
from botobs.trackers.comparison import By, Comparison, SlippageRow
from botobs.trackers.given import positive
from botobs.trackers.order import SoFar, bps_above, order_bps
from botobs.trackers.orders import Order, Orders

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from botobs.trackers.comparison import Key

__all__ = ["Slippage", "SlippageRow", "SlippageTracker", "slipped"]

_minus, _times = EXACT.subtract, EXACT.multiply
_MOST = 1e300
_PALTRY, _VAST = 1e-100, 1e100  # within these, quotients are far from what a float cannot say
_ONE = Instrument("").multiplier


@attrs.frozen
class Slippage:
    """What one fill cost against the decision.

    Attributes:
        bps: Of the decision price; positive is worse.
        money: The same in the settlement currency, exact (in coin for inverse contracts).
        delay_bps: From the decision to the price at send time, if that is known.
        execution_bps: From there to the fill; both add up to `bps`.
    """

    order_id: str
    bps: float
    money: Decimal
    decision_px: Decimal
    fill_px: Decimal
    qty: Decimal
    delay_bps: float | None
    execution_bps: float | None
    so_far: SoFar = attrs.field(repr=False, eq=False)

    @property
    def order_bps(self) -> float | None:
        """The quantity-weighted slippage of all fills of the order so far, this one included."""
        return order_bps(self.so_far)

    @property
    def filled_qty(self) -> Decimal:
        """The quantity of those."""
        return self.so_far[0]


class SlippageTracker:
    """Decision prices, slippage of fills against them, and statistics of it. Safe to use from many threads.

    Without `orders` it keeps its own. Fills count once: those the bot reports with `fill` are counted from there, and
    `calculate_slippage` only tells what the slippage is; otherwise it counts itself.

    Args:
        orders: The orders to look decisions up in.
        instrument: Tells how a symbol at a venue settles; default: linear, multiplier 1.
        recent: How many of the newest fills and refusals are remembered one by one, for windows.
        dollars: Settlement currencies that count as one.

    Example:
        >>> tracker = SlippageTracker()
        >>> tracker.record_decision("o1", 100)
        True
        >>> found = tracker.calculate_slippage("o1", "100.05", "buy", 2)
        >>> round(found.bps, 9), found.money
        (5.0, Decimal('0.10'))
    """

    def __init__(
        self,
        orders: Orders | None = None,
        *,
        instrument: Callable[[str | None, str], Instrument] | None = None,
        now: Callable[[], int] | None = None,
        recent: int = 10_000,
        dollars: frozenset[str] = frozenset({"USD", "USDT", "USDC"}),
    ) -> None:
        self.orders = Orders(now=now) if orders is None else orders
        self.unknown = 0  # fills without a known decision
        self.refused = 0  # calls with a price, quantity or side that is none
        self._now = now or self.orders.now
        self._instrument = instrument or _linear
        self._dollars = dollars
        self._comparison = Comparison(recent)

    def record_decision(
        self,
        order_id: Any,
        decision_px: Any,
        *,
        symbol: Any = None,
        side: Any = None,
        order_type: Any = None,
        venue: Any = None,
        strategy: Any = None,
        sent_px: Any = None,
    ) -> bool:
        """The price at which the bot decided; whether it and the id are usable."""
        order = self.orders.decided(
            order_id, decision_px,
            symbol=symbol, side=side, order_type=order_type, venue=venue, strategy=strategy, sent_px=sent_px,
        )  # fmt: skip
        if order is None:
            with self.orders.lock:
                self.refused += 1
        return order is not None

    def record_sent(self, order_id: Any, px: Any = None) -> bool:
        """The order left for the exchange while the market was at `px`; whether the order is known."""
        return self.orders.sent(order_id, px)[0] is not None

    @exact
    def calculate_slippage(self, order_id: Any, fill_px: Any, side: Any, qty: Any) -> Slippage | None:
        """The slippage of a fill; `None`: no decision is known, or a number is none."""
        order = self.orders.get(order_id)
        if order is None or order.decision_px is None:
            with self.orders.lock:
                self.unknown += 1
            return None
        price, size = positive("fill_px", fill_px, []), positive("qty", qty, [])
        try:
            bought = side_of(order.side if side is None else side)
        except ValueError:
            bought = None
        if price is None or size is None or bought is None:
            with self.orders.lock:
                self.refused += 1
            return None
        return self.filled(order, price, size, bought, by="hand")

    def filled(
        self,
        order: Order,
        price: Decimal,
        qty: Decimal,
        side: str,
        *,
        instrument: Instrument | None = None,
        fee: Decimal | None = None,
        latency_ms: float | None = None,
        now_ns: int | None = None,
        by: str = "fill",
    ) -> Slippage | None:
        """A fill is in the ledger: count it in its order and in the statistics; call it under `EXACT`.

        `None`: the order has no decision price.

        Args:
            order: Whose fill it is.
            price: Of the fill.
            qty: Of the fill, positive.
            side: `buy` or `sell`.
            instrument: How the symbol settles.
            fee: Its value in the settlement currency, if known.
            latency_ms: From sent to filled, if known.
            now_ns: When, in nanoseconds since 1970.
            by: Who reports the fills of this order; the first one to do so counts.
        """
        if instrument is None:
            instrument = self._instrument(order.venue, order.symbol or "")
        moment = self._now() if now_ns is None else now_ns
        sign = 1 if side == "buy" else -1
        orders = self.orders
        with orders.lock:
            if by == "fill":
                order.filled_qty += qty
                order.filled_notional += qty * price
            found = _slipped(order, instrument, price, qty, sign)
            if order.counted_by is None:
                order.counted_by = by
            if order.counted_by == by:
                order.slip(qty, price, found)
                size = float(qty)
                value = _value(instrument, size, price)
                counted = found if size < _MOST and value < _MOST else None  # one such fill would drown all others
                entry = (moment, 1, not order.counted, counted, size, value, fee, latency_ms)
                order.counted = True
                self._comparison.filled(self._key(order, side, instrument), entry)
            orders.touch(order, moment)
            decision = order.decision_px
            if found is None or decision is None:
                self.unknown += 1
                return None
            bps, money, _ = found
            delay = order.delay_bps
            if delay is None:
                return Slippage(order.order_id, bps, money, decision, price, qty, None, None, order.so_far(sign))
            delay *= sign
            return Slippage(order.order_id, bps, money, decision, price, qty, delay, bps - delay, order.so_far(sign))

    def taken_back(
        self,
        order: Order,
        price: Decimal,
        qty: Decimal,
        side: str,
        *,
        instrument: Instrument | None = None,
        fee: Decimal | None = None,
    ) -> None:
        """The exchange took that fill back: as if it had never been counted; call it under `EXACT`."""
        if instrument is None:
            instrument = self._instrument(order.venue, order.symbol or "")
        with self.orders.lock:
            order.filled_qty -= qty
            order.filled_notional -= qty * price
            found = _slipped(order, instrument, price, qty, 1 if side == "buy" else -1)
            if order.counted_by == "fill":
                order.slip(-qty, price, found and (found[0], found[1], -found[2]))
                entry = (self._now(), -1, False, found, float(qty), _value(instrument, float(qty), price), fee, None)
                self._comparison.filled(self._key(order, side, instrument), entry)
            self.orders.touch(order)

    def rejected(self, order: Order | None, *, now_ns: int | None = None) -> None:
        """Count that the exchange refused the order."""
        if order is None:
            return
        with self.orders.lock:
            key = (order.symbol, order.side, order.order_type, order.venue, order.strategy, None)
            moment = self._now() if now_ns is None else now_ns
            self._comparison.refused(key, moment, first=order.rejected <= 1, answered=not order.counted)
            order.counted = True

    def latency_ms(self, order: Order, now_ns: int) -> float | None:
        """Milliseconds from sent to now; `None`: not told when it was sent, or the clock was set back."""
        sent = order.sent_ns
        return None if sent is None or now_ns < sent else (now_ns - sent) / 1e6

    @exact
    def stats(self, by: By = "symbol", window: Any = None) -> list[SlippageRow]:
        """Compare fills by symbol, side, order type, venue or strategy; the one with the most fills comes first.

        Args:
            by: What the fills of a row have in common.
            window: `None` or `"all"`, else how far back: `"6h"`, seconds, a timedelta, or since a datetime.

        Raises:
            ValueError: There is no such comparison or window.
        """
        with self.orders.lock:
            return self._comparison.rows(by, window, self._now())

    def _key(self, order: Order, side: str, instrument: Instrument) -> Key:
        settle = instrument.base if instrument.inverse else instrument.quote
        if settle in self._dollars:
            settle = "USD"
        return (order.symbol or instrument.symbol or None, side, order.order_type, order.venue, order.strategy, settle)


def slipped(
    order: Order, instrument: Instrument, price: Decimal, qty: Decimal, side: str
) -> tuple[float, Decimal, Decimal] | None:
    """Slippage of a fill in bps and in money, for an answer; it counts in no statistic."""
    decision = order.decision_px
    if decision is None:
        return None
    difference, base = _minus(price, decision), order.decision_f
    found = float(difference)
    if instrument.inverse or instrument.multiplier is not _ONE or not (base > _PALTRY and -_VAST < found < _VAST):
        return _slipped_exactly(order, instrument, price, qty, 1 if side == "buy" else -1)
    bps = found / base * 1e4
    product = _times(qty, difference)
    return (bps, product, product) if side == "buy" else (-bps, _minus(ZERO, product), product)


def _slipped(
    order: Order, instrument: Instrument, price: Decimal, qty: Decimal, sign: int
) -> tuple[float, Decimal, Decimal] | None:
    """Slippage in bps, in money, and as quantity times price difference.

    `None`: no decision is known, or it is beyond what a float can tell.
    """
    decision = order.decision_px
    if decision is None:
        return None
    difference = _minus(price, decision)
    bps = bps_above(difference, decision, order.decision_f)
    if not -_MOST < bps < _MOST:
        return None
    product = _times(qty, difference)
    if instrument.inverse:
        money = instrument.worth(qty, price) - instrument.worth(qty, decision)
    else:
        money = product if instrument.multiplier is _ONE else _times(product, instrument.multiplier)
    return (bps, money, product) if sign > 0 else (-bps, _minus(ZERO, money), product)


_slipped_exactly = exact(_slipped)


def _value(instrument: Instrument, qty: float, price: Decimal) -> float:
    """What a fill weighs beside others; not money."""
    factor = 1.0 if instrument.multiplier is _ONE else float(instrument.multiplier)
    try:
        return qty * factor / float(price) if instrument.inverse else qty * factor * float(price)
    except ZeroDivisionError:
        return math.inf


def _linear(_venue: str | None, symbol: str) -> Instrument:
    return Instrument(symbol)
