"""A fill as an exchange tells it, made of the cells of a row or the values of a JSON object."""

from __future__ import annotations

import datetime as dt
import re
import sys
import zoneinfo
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.exchange import cells
from botobs.accounting.instruments import guess
from botobs.accounting.numbers import EXACT
from botobs.accounting.routes import Refused
from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["Bad", "ExchangeFill", "Reading", "build", "refuse_other", "zone_of"]

_CLOCK_ONLY = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?(\s*[AaPp][Mm])?")
_POSITION_SIDES = {"long": "long", "short": "short"}
_OTHER_LINES = frozenset({"funding", "position", "transfer"})  # types of our own ledger that are no fills
_SHOWN = 500


@attrs.define(slots=True, kw_only=True)
class ExchangeFill:
    """One execution on an exchange's statement.

    Attributes:
        ts: When it happened: RFC 3339, UTC, microseconds.
        qty: How much, always positive.
        fee: What it cost, positive when paid; `None` if the statement does not say.
        fee_asset: What the fee was paid in; `None` if the statement does not say.
        extra_fees: Further fees of the same fill in other assets, as pairs of amount and asset.
        line: Where it stands in the statement: the line, or the how manieth trade of a JSON array.
    """

    ts: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal | None = None
    fee_asset: str | None = None
    order_id: str | None = None
    fill_id: str | None = None
    role: str | None = None
    account: str | None = None
    venue: str | None = None
    position_side: str | None = None
    extra_fees: tuple[tuple[Decimal, str | None], ...] = ()
    line: int = 0

    @property
    def signed(self) -> Decimal:
        """The quantity, negative for a sale."""
        return self.qty if self.side == "buy" else self.qty.copy_negate()


@attrs.frozen(kw_only=True)
class Bad:
    """A part of a statement that is no fill, or of a summary that is no total.

    Attributes:
        line: Where it stands.
        reason: What is wrong with it.
        raw: What it says, at most 500 characters of it.
        harmless: It does not even look like a fill: a row of totals, a comment, a funding line.
    """

    line: int
    reason: str
    raw: str
    harmless: bool = False

    @classmethod
    def of(cls, line: int, reason: str, raw: str, *, harmless: bool = False) -> Bad:
        """Make one, its text cut to size."""
        return cls(
            line=line,
            reason=reason[:_SHOWN],
            raw=raw if len(raw) <= _SHOWN else raw[: _SHOWN - 1] + "…",
            harmless=harmless,
        )


@attrs.frozen(kw_only=True)
class Reading:
    """How to understand a statement; see `read_trades`."""

    mapping: Mapping[str, str] = attrs.field(factory=dict)
    symbol: str | None = None
    venue: str | None = None
    account: str | None = None
    zone: dt.tzinfo = dt.UTC
    decimal: str | None = None
    day_first: bool | None = None
    fee_sign: int = 1


def zone_of(name: str | dt.tzinfo | None) -> dt.tzinfo:
    """The timezone of times that name none; UTC if nobody says.

    Raises:
        BotobsError: There is no such timezone.
    """
    if isinstance(name, dt.tzinfo):
        return name
    if name is None or name.upper() == "UTC":
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except Exception:
        raise BotobsError(f"there is no timezone {name!r}; it takes a name such as Europe/Berlin or UTC") from None


def build(values: Mapping[str, Any], line: int, how: Reading, times: list[Any] | None = None) -> ExchangeFill:
    """Make a fill of what stands in the fields.

    Args:
        values: Field to cell; `fees` may hold a list of pairs of amount and asset instead of `fee`.
        line: Where it stands.
        how: How to understand it.
        times: All cells that may tell the time, best first; else `values["ts"]`.

    Raises:
        Refused: It is no fill; the reason.
    """
    get = values.get
    symbol = _symbol(get("symbol"), get("base"), get("quote")) or how.symbol
    if symbol is None:
        raise Refused("no symbol; if the whole statement is of one, say which with symbol=")
    side = _side(get("side"), get("is_buyer"))
    fees = get("fees")
    qty_cell, price_cell = _numeric("qty", get("qty")), _numeric("price", get("price"))
    fee_cells = [fee for fee, _ in fees] if fees is not None else [get("fee")]
    fee_cells = [cell if cells.present(cell) else None for cell in fee_cells]
    mark = how.decimal or "."
    if how.decimal is None:
        numeric = [cell for cell in (qty_cell, price_cell, *fee_cells) if type(cell) is str]
        if any("," in cell or cell.count(".") > 1 for cell in numeric):
            mark = cells.decimal_mark(numeric)
    names = _assets(symbol)
    qty, price = _positive("qty", qty_cell, mark, names, side), _positive("price", price_cell, mark, names, "buy")
    paid = _fees(fee_cells, [asset for _, asset in fees] if fees is not None else [get("fee_asset")], mark, names, how)
    role = get("role")
    venue, account = get("venue"), get("account")
    return ExchangeFill(
        ts=_time(times if times is not None else [get("ts")], how),
        symbol=symbol,
        side=side,
        qty=qty,
        price=price,
        fee=paid[0][0] if paid else None,
        fee_asset=paid[0][1] if paid else None,
        order_id=cells.identifier(get("order_id")),
        fill_id=cells.identifier(get("fill_id")),
        role=cells.role(role) if role is not None else _role(get("is_maker")),
        account=_name(account) or how.account,
        venue=_name(venue) or how.venue,
        position_side=_POSITION_SIDES.get(str(get("position_side") or "").strip().lower()),
        extra_fees=tuple(paid[1:]),
        line=line,
    )


def refuse_other(kind: Any) -> None:
    """Refuse a line of our own ledger that is no fill.

    Raises:
        Refused: It is one.
    """
    said = str(kind).strip().lower()
    if said in _OTHER_LINES:
        raise Refused(f"a {said} line, no fill")
    if said == "void":
        raise Refused("a void: the fill it removes must not be booked")


def _symbol(symbol: Any, base: Any, quote: Any) -> str | None:
    found = _name(symbol)
    if found is None and cells.present(base) and cells.present(quote):
        found = f"{str(base).strip()}/{str(quote).strip()}"
    return found


def _name(cell: Any) -> str | None:
    if not cells.present(cell) or isinstance(cell, dict | list | bool):
        return None
    said = str(cell).strip()[:256]
    return sys.intern(said) or None


def _side(cell: Any, is_buyer: Any) -> str:
    if cells.present(cell) and not isinstance(cell, dict | list):
        try:
            return sys.intern(cells.side(cell))
        except ValueError:
            raise Refused(f"unknown side: {str(cell)[:60]!r}; it takes buy or sell") from None
    buyer = cells.flag(is_buyer)
    if buyer is None:
        raise Refused("no side")
    return "buy" if buyer else "sell"


def _role(is_maker: Any) -> str | None:
    maker = None if is_maker is None else cells.flag(is_maker)
    return None if maker is None else "maker" if maker else "taker"


def _numeric(what: str, cell: Any) -> str:
    if not cells.present(cell):
        raise Refused(f"no {what}")
    if isinstance(cell, bool | dict | list):
        raise Refused(f"{what} is no number: {str(cell)[:60]}")
    return str(cell)


def _positive(what: str, cell: str, mark: str, names: tuple[str, ...], side: str) -> Decimal:
    try:
        found, _ = cells.amount(cell, mark=mark, assets=names)
    except ValueError as error:
        raise Refused(f"{what}: {error}") from None
    if found < 0 and what == "qty" and side == "sell":  # some sign what was sold
        found = found.copy_negate()
    if found <= 0:
        raise Refused(f"{what} is not above 0: {cell[:60]!r}")
    return found


def _fees(
    amounts: list[Any], assets: list[Any], mark: str, names: tuple[str, ...], how: Reading
) -> list[tuple[Decimal, str | None]]:
    """The fees by asset, in the order they are told; several in one asset are added up."""
    found: dict[str | None, Decimal] = {}
    for cell, asset in zip(amounts, assets, strict=True):
        if cell is None:
            continue
        if isinstance(cell, bool | dict | list):
            raise Refused(f"fee is no number: {str(cell)[:60]}")
        try:
            paid, unit = cells.amount(cell, mark=mark, assets=names)
        except ValueError as error:
            raise Refused(f"fee: {error}") from None
        unit = _name(asset) or (sys.intern(unit) if unit else None)
        paid = paid.copy_negate() if how.fee_sign < 0 and paid else paid
        found[unit] = EXACT.add(found[unit], paid) if unit in found else paid
    return [(paid, asset) for asset, paid in found.items()]


def _time(times: list[Any], how: Reading) -> str:
    told = [str(cell) for cell in times if cells.present(cell) and not isinstance(cell, bool | dict | list)]
    if not told:
        raise Refused("no ts")
    if len(told) > 1 and _CLOCK_ONLY.fullmatch(told[0].strip()):  # date and time of day in two columns
        return cells.time(f"{told[1].strip()} {told[0].strip()}", zone=how.zone, day_first=how.day_first)
    return cells.time(told[0], zone=how.zone, day_first=how.day_first)


_known: dict[str, tuple[str, ...]] = {}


def _assets(symbol: str) -> tuple[str, ...]:
    """The names a unit may have, the longer first."""
    found = _known.get(symbol)
    if found is None:
        told = guess(symbol)
        found = tuple(sorted((name for name in (told.base, told.quote) if name), key=len, reverse=True))
        if len(_known) < 10_000:
            _known[symbol] = found
    return found
