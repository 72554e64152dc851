"""Lines of the ledger: how what was booked is written down, and what tells one from another."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zlib import crc32

from botobs.accounting.entries import FillEntry
from botobs.accounting.ledger import FillIndex
from botobs.accounting.numbers import text
from botobs.accounting.trade import Change
from botobs.quick import UNFIT, quick
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botobs.accounting.instruments import Instrument
    from botobs.accounting.valuation import BookKey

__all__ = [
    "DUE",
    "NO_FEE",
    "PAID",
    "content",
    "content_of",
    "differences",
    "due_key",
    "funding_known_as",
    "identity_of",
    "is_elsewhere",
    "is_meant",
    "payment_known_as",
    "position_known_as",
    "said_of_fill",
    "some",
    "terms_of",
]


#: No asset can be called so: under it a book counts, as fees it cannot value, the fills that came without one.
NO_FEE = " "
#: What the index says of a funding time: it was accrued, or a payment came without that.
DUE, PAID = 0, 1
_NOTHING: dict[str, Any] = {}
_TIMED = ',"timed":true'


def identity_of(line: Mapping[str, Any]) -> bytes:
    """The key of a fill in the index, as its route has it (`Route.identity`)."""
    get = line.get
    return FillIndex.key(
        get("venue", ""), get("account", ""), line["symbol"], line["side"], get("order_id", ""), line["fill_id"]
    )


def content_of(line: Mapping[str, Any]) -> int:
    """A checksum of what a fill says; the same report again has the same."""
    ts = f" {line['ts']}" if "timed" in line else ""
    paid = f" {line['fee']} {line.get('fee_asset')}" if "fee" in line and "fee_from" not in line else ""
    return crc32(f"{line['size']} {line['price']}{paid}{ts}".encode("utf-8", "surrogatepass"))


def content(size: str, price: str, fee: str | None, asset: str | None, ts: str | None) -> int:
    """As `content_of`: of the numbers as they are written, and of the time if the bot told it."""
    paid = "" if fee is None else f" {fee} {asset}"
    return crc32(
        (f"{size} {price}{paid}" if ts is None else f"{size} {price}{paid} {ts}").encode("utf-8", "surrogatepass")
    )


def said_of_fill(  # noqa: PLR0917 - keywords would cost
    opening: str,
    entry: FillEntry,
    size: str,
    price: str,
    fees: str,
    change: Change | None,
    ending: str,
    voided_by: int | None = None,
) -> bytes:
    """What the line of a fill says: JSON without its braces.

    Args:
        opening: What stands in every line.
        entry: The fill.
        size: Its quantity as it is written,
        price: and its price.
        fees: What is said of the fee; it begins with a comma, if there is anything.
        change: What the fill did to its book; `None`: nothing, as it was taken back.
        ending: What is said of the books after it, as `fees`.
        voided_by: The void that had waited for it.
    """
    route, _, _, ts, timed, received, _, order_id, fill_id, trace_id, more = entry
    ids, named = f"{order_id}{fill_id}", _NOTHING
    if (
        order_id is not None and fill_id is not None
        and ids.isascii() and ids.isprintable() and '"' not in ids and "\\" not in ids
    ):  # fmt: skip
        ids = f',"order_id":"{order_id}","fill_id":"{fill_id}"'
    else:  # these have to be quoted
        ids = ""
        named = some({"order_id": order_id, "fill_id": fill_id})
    if trace_id is not None:
        named = {**named, "trace_id": trace_id}
    if more:
        named = {**named, "more": more}
    if voided_by is not None:
        named = {**named, "voided_by": voided_by}
    booked = ""
    if change is not None:  # numbers are written by `str`, which takes half the time of `text`
        delta, inventory, _, _, _, trade_id, next_id, _, late, _, _ = change
        booked = f',"quote_delta":"{delta!s}","inventory":"{inventory!s}","trade_id":"{trade_id}"'
        if late or next_id is not None or trade_id is None or "E" in booked:
            booked = _told(change)
    line = (
        f'"type":"fill","ts":"{ts}","received":"{received}",{opening},{route.said}{ids},"size":"{size}"'
        f',"price":"{price}"{fees}{_TIMED if timed else ""}{booked}{ending}'
    ).encode()
    return b"%b,%b" % (line, dumps(named)[1:-1]) if named else line


def _told(change: Change) -> str:
    """What a line says of what its fill did."""
    said: dict[str, Any] = {
        "quote_delta": text(change.quote_delta), "inventory": text(change.inventory), "trade_id": change.trade_id,
    }  # fmt: skip
    if change.next_trade_id is not None:
        said["next_trade_id"] = change.next_trade_id
    if change.late:
        said["late"] = True
    return f",{dumps(said)[1:-1].decode()}"


def payment_known_as(line: Mapping[str, Any]) -> tuple[tuple[bytes, int], ...]:
    """Keys and checksum of a funding payment, the one that says most first; none: nothing tells it from others.

    Without an id, the payments of two sides or venues at one time are two: each is known by what it says of its place,
    and, for a report that says less, without that.
    """
    get = line.get
    if "accrued" in line or (get("funding_id") is None and "timed" not in line):
        return ()
    named = get("funding_id") is not None
    name = f"id {line['funding_id']}" if named else get("paid_ts", line["ts"])
    check = crc32(_number(get("whole", line["amount"])).encode())
    bare = FillIndex.key("funding", get("of_account"), line["symbol"], name), check
    place = get("of_venue"), get("of_side")
    if named or place == (None, None):
        return (bare,)
    return (FillIndex.key("funding", get("of_account"), line["symbol"], name, *place), check), bare


def is_elsewhere(line: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two payments without an id are of different venues or sides, as far as both say."""
    return "funding_id" not in line and any(
        line.get(name) is not None and other.get(name) is not None and line[name] != other[name]
        for name in ("of_venue", "of_side")
    )


def due_key(position: BookKey, ts: str) -> bytes:
    """The key of what is due for a position at a funding time."""
    account, venue, symbol, side, _ = position
    return FillIndex.key("accrued", account, venue, symbol, side, ts)


def funding_known_as(line: Mapping[str, Any]) -> Iterator[tuple[bytes, int]]:
    """All keys and checksums of a funding line: those of the payment, and those of the funding time."""
    yield from payment_known_as(line)
    due = line["ts"] if "accrued" in line else line.get("pays")
    if due is not None:
        get = line.get
        position = get("account"), get("venue"), line["symbol"], get("position_side"), False
        yield due_key(position, due), DUE if "accrued" in line else PAID


def position_known_as(line: Mapping[str, Any]) -> tuple[bytes, int]:
    """Key and checksum of a position taken over."""
    get = line.get
    key = FillIndex.key("position", get("venue"), get("account"), line["symbol"], get("position_side"))
    return key, crc32(f"{_number(line['qty'])} {_number(line['avg_px'])}".encode())


def some(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that say nothing."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(value: str) -> str:
    """The same text for the same number, however many noughts were reported."""
    return str(Decimal(value).normalize())


def differences(line: Mapping[str, Any], entry: FillEntry) -> dict[str, tuple[Any, Any]]:
    """What `entry` says otherwise than the line; what only one of them says is no difference."""
    found: dict[str, tuple[Any, Any]] = {}
    for field, new in (("size", entry.qty), ("price", entry.price), ("fee", entry.fee)):
        old = line.get(field)
        if field == "fee" and (new is None or old is None or "fee_from" in line):
            continue
        if old is None or Decimal(old) != new:
            found[field] = (old, None if new is None else text(new))
    asset = entry.route.fee_asset
    if "fee" not in found and asset and line.get("fee_asset", asset) != asset:
        found["fee_asset"] = (line["fee_asset"], asset)
    if entry.timed and line.get("timed") and line["ts"] != entry.ts:
        found["ts"] = (line["ts"], entry.ts)
    return found


def is_meant(line: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether the fill `line` is the one that a void speaks of, as far as that says."""
    return line.get("fill_id") == asked["fill_id"] and all(
        asked.get(name) is None or asked[name] == line.get(name) for name in ("order_id", "symbol", "account")
    )


def terms_of(instrument: Instrument) -> dict[str, Any]:
    """How a symbol settles, as a line has it."""
    return some({
        "multiplier": text(instrument.multiplier), "inverse": instrument.inverse or None, "base": instrument.base,
        "quote": instrument.quote, "dust": text(instrument.dust) if instrument.dust else None,
    })  # fmt: skip


if quick is not None:
    with suppress(*UNFIT):
        quick.know_lines(FillEntry, Change, Decimal, crc32, content, said_of_fill)
        content, said_of_fill = quick.content, quick.said_of_fill
