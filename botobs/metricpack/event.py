"""What an entry of a stream says: an execution, or why it says none. Pure, and it never raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

from botobs.accounting.numbers import ZERO, number
from botobs.accounting.sides import Side
from botobs.accounting.sides import side as side_of
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from botobs.metricpack.names import Names

__all__ = ["Execution", "Kind", "Unreadable", "loads", "parse", "symbol_of"]

Kind: TypeAlias = Literal["fill", "funding", "position", "void"]

_LONGEST: Final = 200
_NOTHING: Final = frozenset({None, "", "null", "None", "none", "nil", "NaN", "nan"})
_TRUE: Final = frozenset({"true", "1", "yes", "y", "t", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "n", "f", "off"})
_LEGS: Final = {"long": "long", "short": "short", "both": None, "net": None}
_FEES: Final = ("quote", "base", "unpriced")
_LAST_NS: Final = 2**63
_ONE: Final = Decimal(1)
_EXITS: Final = ("PARTIAL", "FULL_CLOSE", "CLOSE", "EXIT", "REDUCE")


class Unreadable(NamedTuple):
    """An entry that says no execution.

    Attributes:
        reason: Why, short and without what it said.
    """

    reason: str


class Execution(NamedTuple):
    """One execution, as far as the pack needs it.

    Attributes:
        kind: `fill`; `funding`, with the amount as `price`; `position`: what was held before, at its average price;
            `void`: a fill was taken back.
        symbol: The symbol, as the stream spells it.
        side: `buy` or `sell`; `None` only where it reduces: then it is the side that does.
        qty: What was filled, above 0.
        price: At which price.
        fee: The fee, rebates negative.
        fee_in: How it counts: `quote`, `base` or `unpriced`.
        reduces: Whether it can only reduce.
        action: What the plan calls it, in capitals; `None`: it has no name.
        ts_ns: When.
        executed: Whether anything happened at all; if not, only the ids mean something.
        identity: What tells it from others; `None`: nothing does.
        place: Whose position it is, beside the symbol: bot, venue, account, `long` or `short` in hedge mode.
        fill_id: The fill's own id, by which it may be taken back.
        multiplier: Units of the base per contract.
        inverse: Whether it settles in the base.
    """

    kind: Kind
    symbol: str
    side: Side | None
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_in: str
    reduces: bool
    action: str | None
    ts_ns: int
    executed: bool
    identity: str | None
    place: tuple[str, str, str, str]
    fill_id: str | None = None
    multiplier: Decimal = _ONE
    inverse: bool = False


def symbol_of(raw: Any, names: Names) -> str | None:
    """The symbol that stands in the entry itself, looked at and no more; `None`: it has to be read. Never raises."""
    try:
        for name in names.symbol:
            value = raw.get(name)
            if value is None:
                value = raw.get(name.encode())
            if value is not None:
                return None if value in _NOTHING else _name(value.decode() if type(value) is bytes else value)
    except Exception:  # whatever a stream may hold
        return None
    return None


class _NoEvent(Exception):  # noqa: N818 - becomes an `Unreadable`
    pass


def parse(raw: Mapping[Any, Any], names: Names, at_ns: int = 0) -> Execution | Unreadable:
    """What an entry says.

    Args:
        raw: Its fields: text, bytes, or what JSON has.
        names: How they are called.
        at_ns: When it came into the stream: its time, if it says none itself.

    Example:
        >>> from botobs.metricpack.names import Names
        >>> said = {"symbol": "BTCUSDT", "side": "BUY", "qty": "0.5", "price": 64000, "executed": "1", "ts": 1767323045}
        >>> parse(said, Names()).qty
        Decimal('0.5')
        >>> parse({"symbol": "BTCUSDT"}, Names())
        Unreadable(reason='executed is missing')
    """
    try:
        return _read(_gathered(raw, names), at_ns)
    except _NoEvent as error:
        return Unreadable(str(error))
    except Exception as error:  # whatever a stream may hold: a mapping that raises, text beyond any limit
        return Unreadable(f"it cannot be read: {type(error).__name__}")


def _read(said: Mapping[str, Any], at_ns: int) -> Execution:
    get = said.get
    word = _word(get("kind"))
    kind: Kind = word if word in ("funding", "position", "void") else "fill"  # type: ignore[assignment]
    symbol = _name(get("symbol")) or _refuse("symbol is missing")
    action = _called(get("action"))
    place = _place(said)
    fill_id = _name(get("fill_id"))
    identity = _identity(said, (*place, symbol), action, fill_id)
    if kind == "void" or not _truth("executed", get("executed")):
        return Execution(
            kind, symbol, None, ZERO, ZERO, ZERO, "quote", False, action, at_ns, False, identity, place, fill_id  # noqa: FBT003
        )  # fmt: skip
    reduces = _reduces(get("reduces"), action)
    side = _side(get("side"), needed=kind == "fill" and not reduces)
    price = _number("price", get("price"), above=None if kind == "funding" else ZERO)
    qty = ZERO if kind == "funding" else _number("qty", get("qty"), above=None if kind == "position" else ZERO)
    if kind == "position":
        side, qty = ("buy", qty) if qty > 0 else ("sell", -qty)
        if not qty:
            _refuse("qty is 0")
    fee, fee_in = _fee(said, symbol)
    multiplier, inverse = get("multiplier"), get("inverse")
    return Execution(
        kind, symbol, side, qty, price, fee, fee_in, reduces, action, _time(get("ts"), at_ns), True, identity, place,  # noqa: FBT003
        fill_id, _ONE if multiplier is None else _number("multiplier", multiplier, above=ZERO),
        False if inverse is None else _truth("inverse", inverse),
    )  # fmt: skip


# --- fields


def _gathered(raw: Mapping[Any, Any], names: Names) -> Mapping[str, Any]:
    """What the entry says of each field: itself, in a JSON field, and one level below; what stands further out wins."""
    if not isinstance(raw, Mapping):
        _refuse("it is no set of fields")
    said = _layer(raw, names.index)
    inner = said.pop("json", None)
    if inner is not None:
        whole = _object(inner)
        if whole is not None:
            said = {**_layer(whole, names.index), **said}
            said.pop("json", None)
    below = said.get("within")
    if below is not None:
        more = _object(below)
        if more is not None:
            said = {**_layer(more, names.index), **said}
    return said


def _layer(fields: Mapping[Any, Any], index: Mapping[str, tuple[tuple[str, int], ...]]) -> dict[str, Any]:
    """The fields of one level by what they mean: of several names the first in its row that says anything."""
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for key, value in fields.items():
        meant = index.get(key.decode() if type(key) is bytes else key)
        if meant is None or value is None:
            continue
        if type(value) is bytes:
            value = value.decode()  # noqa: PLW2901 - the same, readable
        if type(value) is str and value in _NOTHING:
            continue
        for field, rank in meant:
            # exchanges say an average price of 0 where they have none: another name has its turn
            place = rank + 100 if field == "price" and str(value).strip("0.+- ") == "" else rank
            if place < ranks.get(field, 1_000):
                ranks[field], found[field] = place, value
    return found


def _object(value: Any) -> dict[str, Any] | None:
    """The object that a field holds or says in JSON; `None`: it is none."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytearray):
        value = value.decode()
    if not isinstance(value, str) or value.lstrip()[:1] != "{":
        return None
    return loads(value)


def loads(line: str | bytes) -> dict[str, Any] | None:
    """The object that a line of JSON holds, decimals with all their digits; `None`: it holds another value.

    Raises:
        ValueError, RecursionError: It is no JSON.
    """
    found = _DECODER.decode(line.decode() if isinstance(line, bytes) else line)
    return found if isinstance(found, dict) else None


def _decimal(said: str) -> Decimal | str:
    return Decimal(said) if len(said) < _LONGEST else said


def _no_constant(_: str) -> None:
    return None  # NaN and the infinities say nothing


_DECODER: Final = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_constant)


# --- values


def _refuse(reason: str) -> NoReturn:
    raise _NoEvent(reason)


def _word(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _name(value: Any) -> str | None:
    """An id or a name as text, short, and such as every file can hold."""
    if type(value) is str and value.isalnum() and value.isascii() and len(value) <= _LONGEST:
        return value  # mostly
    if value is None or isinstance(value, (Mapping, list, tuple, set)):
        return None
    text = (value if type(value) is str else str(getattr(value, "value", value))).strip()[:_LONGEST]
    if not text.isprintable() or not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return text or None


def _called(value: Any) -> str | None:
    """An action: in capitals, in one word."""
    found = _name(value)
    return None if found is None else found.upper().replace(" ", "_").replace("-", "_")


def _truth(what: str, value: Any) -> bool:
    if value is None:
        _refuse(f"{what} is missing")
    if value is True or value is False:
        return bool(value)
    word = str(value).strip().lower()[:8] if isinstance(value, (str, int, float, Decimal)) else ""
    if word in _TRUE or word == "1.0":
        return True
    if word in _FALSE or word == "0.0":
        return False
    _refuse(f"{what} is neither true nor false")


def _reduces(value: Any, action: str | None) -> bool:
    """What the event says; where it says nothing, the action's name tells."""
    if value is not None:
        return _truth("reduceOnly", value)
    return action is not None and action.startswith(_EXITS)


def _side(value: Any, *, needed: bool) -> Side | None:
    if value is None:
        return _refuse("side is missing") if needed else None
    try:
        return side_of(value)
    except ValueError:
        _refuse("side is neither buy nor sell")


def _number(what: str, value: Any, *, above: Decimal | None) -> Decimal:
    if value is None:
        _refuse(f"{what} is missing")
    try:
        found = number(value.strip() if type(value) is str else value)
    except ValueError:
        _refuse(f"{what} is no number")
    if above is not None and found <= above:
        _refuse(f"{what} is not above 0")
    return found


def _fee(said: Mapping[str, Any], symbol: str) -> tuple[Decimal, str]:
    value = said.get("fee")
    if value is None:
        return ZERO, "quote"
    fee = _number("fee", value, above=None)
    told = _word(said.get("fee_in"))
    if told in _FEES:
        return fee, told
    asset = _name(said.get("fee_asset"))
    if asset is None or not fee:
        return fee, "quote"
    return fee, _kind_of_fee(asset.upper(), symbol)


def _kind_of_fee(asset: str, symbol: str) -> str:
    from botobs.accounting.instruments import guess  # noqa: PLC0415 - few events name an asset

    known = guess(symbol)
    if known.quote is None or asset == known.quote.upper():
        return "quote"
    return "base" if known.base is not None and asset == known.base.upper() else "unpriced"


def _time(value: Any, at_ns: int) -> int:
    if value is None:
        return at_ns or _refuse("time is missing")
    try:
        found = epoch_ns(_as_time(value))
    except Exception:
        _refuse("time is none")
    return found if 0 < found < _LAST_NS else _refuse("time is beyond any market")


def _as_time(value: Any) -> Any:
    if type(value) is str:
        text = value.strip()
        bare = text.lstrip("-+")
        if bare.isdigit() and bare.isascii():
            return int(text) if len(text) < 30 else None
        if bare.replace(".", "", 1).isdigit() and len(text) < 40:
            return Decimal(text)
        return text
    return value


def _place(said: Mapping[str, Any]) -> tuple[str, str, str, str]:
    get = said.get
    leg = get("position_side")
    word = _word(leg)
    if leg is not None and word not in _LEGS:
        _refuse("positionSide is neither long nor short")
    return (
        _name(get("bot")) or "", _name(get("venue")) or "", _name(get("account")) or "",
        (_LEGS[word] if word else None) or "",
    )  # fmt: skip


def _identity(said: Mapping[str, Any], place: tuple[str, ...], action: str | None, fill: str | None) -> str | None:
    """Which plan's order's exit it is; `None`: neither plan, order nor fill has an id."""
    plan, order = _name(said.get("plan_id")), _name(said.get("order_id"))
    if plan is None and order is None and fill is None:
        return None
    parts = "\0".join((*place, plan or "", order or "", action or "", fill or ""))
    return blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
