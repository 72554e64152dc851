"""Lines of the ledger: how what was booked is written down, and what tells one from another."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botobs.accounting.ledger import FillIndex
from botobs.accounting.numbers import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.entries import FillEntry
    from botobs.accounting.instruments import Instrument

__all__ = [
    "NO_FEE",
    "content_of",
    "differences",
    "fill_line",
    "identity_of",
    "is_meant",
    "known_as",
    "position_known_as",
    "some",
    "terms_of",
]


#: No asset can be called so: under it a book counts, as fees it cannot value, the fills that came without one.
NO_FEE = " "


def identity_of(line: Mapping[str, Any]) -> bytes:
    """The key of a fill in the index: venue, account, symbol, order, fill and side."""
    get = line.get
    return FillIndex.key(
        get("venue", ""), get("account", ""), line["symbol"], get("order_id", ""), line["fill_id"], line["side"]
    )


def content_of(line: Mapping[str, Any]) -> int:
    """A checksum of what a fill says; the same report again has the same."""
    fee, ts = "", f" {line['ts']}" if "timed" in line else ""
    if "fee" in line and "fee_from" not in line:
        fee = f" {line['fee']} {line.get('fee_asset')}"
    said = f"{line['size']} {line['price']}{fee}{ts}"
    return zlib.crc32(said.encode("utf-8", "surrogatepass"))


def known_as(line: Mapping[str, Any], kind: str) -> tuple[bytes, int] | None:
    """Key and checksum of a funding payment or of a position taken over; `None`: nothing tells it from others."""
    get = line.get
    if kind == "position":
        return position_known_as(line)
    if get("funding_id") is None and "timed" not in line:
        return None
    name = line["ts"] if get("funding_id") is None else f"id {line['funding_id']}"
    key = FillIndex.key("funding", get("of_account"), line["symbol"], name)
    return key, zlib.crc32(_number(line["amount"]).encode())


def position_known_as(line: Mapping[str, Any]) -> tuple[bytes, int]:
    """Key and checksum of a position taken over."""
    get = line.get
    key = FillIndex.key("position", get("venue"), get("account"), line["symbol"], get("position_side"))
    return key, zlib.crc32(f"{_number(line['qty'])} {_number(line['avg_px'])}".encode())


def fill_line(entry: FillEntry, head: Mapping[str, Any]) -> dict[str, Any]:  # noqa: C901 - one straight path
    """The fill as the ledger keeps it, without what the books have to say."""
    line: dict[str, Any] = {
        "type": "fill", "ts": entry.ts, "received": entry.received, **head, "symbol": entry.symbol, "side": entry.side,
    }  # fmt: skip
    if entry.role is not None:
        line["role"] = entry.role
    line["size"], line["price"] = text(entry.qty), text(entry.price)
    if entry.fee is not None:
        line["fee"] = text(entry.fee)
    if entry.fee_asset is not None:
        line["fee_asset"] = entry.fee_asset
    if entry.order_id is not None:
        line["order_id"] = entry.order_id
    if entry.fill_id is not None:
        line["fill_id"] = entry.fill_id
    if entry.account is not None:
        line["account"] = entry.account
    if entry.venue is not None:
        line["venue"] = entry.venue
    if entry.position_side is not None:
        line["position_side"] = entry.position_side
    if entry.strategy is not None:
        line["strategy"] = entry.strategy
    line["kind"] = entry.kind
    if entry.trace_id is not None:
        line["trace_id"] = entry.trace_id
    if entry.timed:
        line["timed"] = True
    if entry.more:
        line["more"] = entry.more
    return line


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
    if "fee" not in found and entry.fee_asset and line.get("fee_asset", entry.fee_asset) != entry.fee_asset:
        found["fee_asset"] = (line["fee_asset"], entry.fee_asset)
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
