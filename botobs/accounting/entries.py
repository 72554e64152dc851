"""What a bot says of its money, made clean: an entry for the books, or the reason why it cannot be one."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from botobs.accounting.numbers import number
from botobs.accounting.routes import WORDS, Refused, known_route, name, refuse, route_of, shown
from botobs.clock import epoch_ns
from botobs.quick import UNFIT, maker, quick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.routes import Route, Words

__all__ = ["FillEntry", "moment", "price_or_none", "read_fill", "stamp"]

_S = 1_000_000_000
_MILLI = tuple(f"{n:03d}" for n in range(1000))  # to look it up takes a third of the time of a width in a format
_MOST_SECONDS = 64
_SHORT = 40  # a number of no more characters, and within these bounds, needs no second look
_LEAST, _MOST = Decimal("1e-40"), Decimal("1e40")
_seconds: dict[int, str] = {}  # the next moment is most often in the same second as one of the last


class FillEntry(NamedTuple):
    """A fill that can be booked.

    Attributes:
        route: What it says in words.
        qty: How much, positive.
        price: At what price.
        ts: When the exchange says it happened (RFC 3339, microseconds).
        timed: Whether the bot gave that time itself.
        received: When it was reported.
        fee: What was said of the fee.
        order_id: The order's id, as `order_key` has it.
        fill_id: The exchange's id of it.
        trace_id: The trace it belongs to.
        more: What else the bot said of it.
    """

    route: Route
    qty: Decimal
    price: Decimal
    ts: str
    timed: bool
    received: str
    fee: Decimal | None = None
    order_id: str | None = None
    fill_id: str | None = None
    trace_id: str | None = None
    more: Mapping[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """All that it says."""
        fields = self._asdict()
        route = fields.pop("route")
        fields.update((word, getattr(route, word)) for word in WORDS)
        return {field: value for field, value in fields.items() if value is not None}


_entry = maker(FillEntry)


def read_fill(  # noqa: PLR0917 - keywords would cost
    words: Words,
    price: Any,
    qty: Any,
    fee: Any,
    fill_id: Any,
    ts: Any,
    now_ns: int,
    order_id: str | None = None,
    trace_id: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> FillEntry:
    """Make an entry of what the bot said with the verb `fill`.

    Args:
        words: What it said in words.
        price: At what price.
        qty: How much.
        fee: The fee, if it was said.
        fill_id: The exchange's id, if there is one.
        ts: When it happened, if that was said.
        now_ns: When it was reported.
        order_id: The order's id, as `order_key` has it.
        trace_id: The trace it belongs to.
        more: What else was said.

    Raises:
        Refused: It cannot be booked.
    """
    try:
        route = known_route(*words)
    except Refused:
        raise
    except Exception:  # whatever cannot be looked up
        route = route_of(words)
    try:
        cost = Decimal(price) if type(price) is str and len(price) <= _SHORT else number(price)
        size = Decimal(qty) if type(qty) is str and len(qty) <= _SHORT else number(qty)
        if fee is None:
            paid = None
        elif type(fee) is str and len(fee) <= _SHORT and "e" not in fee and "E" not in fee:
            paid = Decimal(fee)
            if not paid.is_finite():
                paid = number(fee)
        else:
            paid = number(fee)
        usable = _LEAST < cost < _MOST and _LEAST < size < _MOST
    except Exception:
        usable = False
    if not usable:  # one of these says what is wrong
        size, cost = _positive("qty", qty), _positive("price", price)
        paid = None if fee is None else _finite("fee", fee)
    received = when = stamp(now_ns)
    if type(ts) is int and 10**11 <= ts < 10**14:  # milliseconds, as most exchanges have it
        when = f"{_seconds.get(ts // 1000) or _to_the_second(ts // 1000)}.{_MILLI[ts % 1000]}000Z"
    elif ts is not None:
        when = moment("ts", ts)
    return _entry((  # all of its fields in their order
        route, size, cost, when, ts is not None, received, paid, order_id,
        fill_id if fill_id is None or (type(fill_id) is str and fill_id.isalnum() and fill_id.isascii()
                                       and len(fill_id) <= _SHORT) else name(fill_id),
        trace_id, more or None,
    ))  # fmt: skip


def _finite(what: str, value: Any) -> Decimal:
    try:
        return number(value)
    except Exception as error:
        raise Refused(f"{what}: {error if type(error) is ValueError else 'not a number'}") from error


def _positive(what: str, value: Any) -> Decimal:
    if value is None:
        refuse(f"no {what}")
    try:
        found = number(value)
    except Exception:
        found = _finite(what, value)  # says what is wrong
    return found if found > 0 else refuse(f"{what} is not above 0: {shown(value)}")


def price_or_none(value: Any) -> Decimal | None:
    """A positive, finite price, or `None`."""
    try:
        found = number(value)
    except Exception:
        return None
    return found if found > 0 else None


def moment(what: str, value: Any) -> str:
    """A time as text (RFC 3339, UTC, microseconds), of anything that tells one.

    Raises:
        Refused: It tells none.
    """
    try:
        time = _as_time(value)
        ns = epoch_ns(time)
        # a float of seconds is no exacter than that
        return stamp((ns + 500) // 1000 * 1000 if isinstance(time, (float, Decimal)) else ns)
    except Exception as error:
        raise Refused(f"{what} is no time: {shown(value)}") from error


def _as_time(value: Any) -> Any:
    if type(value) is str and value.strip().lstrip("-").replace(".", "", 1).isdigit():
        return float(value) if "." in value else int(value)
    return value


def stamp(ns: int) -> str:
    """`ns` since 1970 as RFC 3339 in UTC with microseconds.

    Example:
        >>> stamp(1_767_323_045_000_001_999)
        '2026-01-02T03:04:05.000001Z'

    Raises:
        ValueError: It is before the year 1 or after 9999.
    """
    prefix = _seconds.get(ns // _S) or _to_the_second(ns // _S)
    micros = ns % _S // 1000
    return f"{prefix}.{_MILLI[micros // 1000]}{_MILLI[micros % 1000]}Z"


def _to_the_second(second: int) -> str:
    try:
        found = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:19]
    except (OverflowError, OSError) as error:
        raise ValueError("beyond the calendar") from error
    if len(_seconds) >= _MOST_SECONDS:
        _seconds.clear()
    _seconds[second] = found
    return found


if quick is not None:
    with suppress(*UNFIT):
        quick.know_fills(FillEntry, Decimal, known_route, _to_the_second, name, read_fill)
        read_fill = quick.read_fill
