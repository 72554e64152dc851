"""What a bot says of its money, made clean: an entry for the books, or the reason why it cannot be one."""

from __future__ import annotations

import datetime as dt
import functools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import attrs

from botobs.accounting.numbers import ZERO, number
from botobs.accounting.sides import side as side_of
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "KINDS", "FillEntry", "Refused", "known_name", "moment", "name", "price_or_none", "read_fill", "shown", "stamp",
]  # fmt: skip

KINDS = ("live", "hedger_sim", "import")
_ROLES = {"maker": "maker", "taker": "taker", "m": "maker", "t": "taker", "make": "maker", "take": "taker"}
_POSITION_SIDES = {"long": "long", "short": "short", "both": None, "net": None, "": None}
_LONGEST = 256
_S = 1_000_000_000
_MOST_SECONDS = 64
_seconds: dict[int, str] = {}  # the next moment is most often in the same second as one of the last


class Refused(ValueError):  # noqa: N818 - not an error of the program: what was said cannot be booked
    """What was reported cannot be booked; the text says why."""


@attrs.define(slots=True)
class FillEntry:
    """A fill that can be booked.

    Attributes:
        ts: When the exchange says it happened (RFC 3339, microseconds).
        timed: Whether the bot gave that time itself.
        more: What else the bot said of it.
    """

    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    ts: str
    timed: bool
    received: str
    fee: Decimal | None = None
    fee_asset: str | None = None
    role: str | None = None
    order_id: str | None = None
    fill_id: str | None = None
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    strategy: str | None = None
    kind: str = "live"
    trace_id: str | None = None
    more: Mapping[str, Any] | None = None

    @property
    def signed(self) -> Decimal:
        """The quantity, negative for a sale."""
        return self.qty if self.side == "buy" else -self.qty


def read_fill(
    said: Mapping[str, Any],
    *,
    now_ns: int,
    order_id: str | None = None,
    trace_id: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> FillEntry:
    """Make an entry of what the bot said.

    Args:
        said: What the verb `fill` was given, by the names of its parameters; perhaps `strategy`.
        now_ns: When.
        order_id: The order's id, as `order_key` has it.
        trace_id: The trace it belongs to.
        more: What else was said.

    Raises:
        Refused: It cannot be booked.
    """
    words = (
        said["symbol"], said["side"], said["fee_asset"], said["role"], said["venue"], said["account"],
        said["position_side"], said.get("strategy"), said["kind"],
    )  # fmt: skip
    try:
        known = _known_words(*words)
    except Refused:
        raise
    except Exception:  # whatever cannot be looked up
        known = _words(*words)
    symbol, side, fee_asset, role, venue, account, position_side, strategy, kind = known
    price, qty, fee = said["price"], said["qty"], said["fee"]
    try:
        price, qty, fee = number(price), number(qty), None if fee is None else number(fee)
        usable = price > ZERO and qty > ZERO
    except Exception:
        usable = False
    if not usable:  # one of these says what is wrong
        qty, price = _positive("qty", said["qty"]), _positive("price", said["price"])
        fee = None if said["fee"] is None else _finite("fee", said["fee"])
    received, ts, fill_id = stamp(now_ns), said["ts"], said["fill_id"]
    return FillEntry(  # in the order of its fields: keywords would take three times as long
        symbol, side, qty, price, received if ts is None else moment("ts", ts), ts is not None, received, fee,
        fee_asset, role, order_id, None if fill_id is None else name(fill_id), venue, account, position_side, strategy,
        kind, trace_id, more or None,
    )  # fmt: skip


_Words: TypeAlias = "tuple[str, str, str | None, str | None, str | None, str | None, str | None, str | None, str]"


def _words(  # noqa: PLR0917 - keywords would cost
    symbol: Any, side: Any, fee_asset: Any, role: Any, venue: Any, account: Any, position_side: Any, strategy: Any,
    kind: Any,
) -> _Words:  # fmt: skip
    """All that a fill says in words."""
    return (
        name(symbol) or _refuse("no symbol: neither the fill nor a known order names one"),
        _side(side),
        name(fee_asset),
        None if role is None else _ROLES.get(_low(role)),
        name(venue),
        name(account),
        None if position_side is None else _position_side(position_side),
        name(strategy),
        _kind(kind),
    )


@functools.lru_cache(maxsize=4_096, typed=True)  # a bot has but a few, and says them with every fill
def _known_words(*said: Any) -> _Words:
    """As `_words`.

    Raises:
        TypeError: They are not all plain text; what else there is may say something else next time.
    """
    if not all(word is None or type(word) is str for word in said):
        raise TypeError
    return _words(*said)


def _refuse(reason: str) -> NoReturn:
    raise Refused(reason)


def _side(value: Any) -> str:
    if type(value) is str and value in ("buy", "sell"):
        return value
    if value is None:
        _refuse("no side: neither the fill nor a known order names one")
    try:
        return side_of(value)
    except Exception as error:
        raise Refused(f"unknown side: {shown(value)}") from error


def _finite(what: str, value: Any) -> Decimal:
    try:
        return number(value)
    except Exception as error:
        raise Refused(f"{what}: {error if type(error) is ValueError else 'not a number'}") from error


def _positive(what: str, value: Any) -> Decimal:
    if value is None:
        _refuse(f"no {what}")
    try:
        found = number(value)
    except Exception:
        found = _finite(what, value)  # says what is wrong
    return found if found > 0 else _refuse(f"{what} is not above 0: {shown(value)}")


def _kind(value: Any) -> str:
    said = "live" if value is None else _low(value)
    return said if said in KINDS else _refuse(f"unknown kind: {shown(value)}; known are {', '.join(KINDS)}")


def _position_side(value: Any) -> str | None:
    said = _low(value)
    if said not in _POSITION_SIDES:
        _refuse(f"unknown position_side: {shown(value)}; long or short")
    return _POSITION_SIDES[said]


def _low(value: Any) -> str:
    return (name(value) or "").lower()


def name(value: Any) -> str | None:
    """A name or an id as text, however the bot holds it; `None` if there is nothing in it."""
    if type(value) is not str:
        if value is None:
            return None
        try:
            value = "".join((str(getattr(value, "value", value)),))
        except Exception:  # a value that cannot be shown names nothing
            return None
    value = value.strip()[:_LONGEST]
    if not value.isascii():  # what no file can hold is written as its escape, here and wherever it is compared
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value or None


known_name = functools.lru_cache(maxsize=4_096)(name)  # of plain text that is said again and again


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
        if type(value) is int and 10**11 <= value < 10**14:  # milliseconds, as most exchanges have it
            return stamp(value * 1_000_000)
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
    second = ns // _S
    prefix = _seconds.get(second) or _to_the_second(second)
    return f"{prefix}.{(ns - second * _S) // 1000:06d}Z"


def _to_the_second(second: int) -> str:
    try:
        found = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:19]
    except (OverflowError, OSError) as error:
        raise ValueError("beyond the calendar") from error
    if len(_seconds) >= _MOST_SECONDS:
        _seconds.clear()
    _seconds[second] = found
    return found


def shown(value: Any) -> str:
    """`value` for a message: short, and whatever it is."""
    try:
        said = repr(value)
    except Exception:
        said = type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}..."
