"""Which column of a statement, or key of a trade, is which field: told by `--map`, else known by its name."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FIELDS", "REQUIRED", "columns_of", "keys_of", "normal", "parse_mapping"]

# what stands for a field, best first; compared in lower case without anything but letters and digits
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ts": (
        "ts", "timestamp", "time", "datetime", "dateutc", "timeutc", "timestamputc", "date", "executiontime",
        "exectime", "tradetime", "filltime", "filledtime", "transacttime", "createdat", "createdtime",
        "transactiontime", "tradedate", "executedat", "closetime", "when",
    ),
    "symbol": (
        "symbol", "pair", "market", "instrument", "instid", "instrumentid", "instrumentname", "product", "productid",
        "contract", "contracts", "futures", "spotpairs", "tradingpair", "currencypair", "pairs", "ticker", "coinpair",
    ),
    "base": ("base", "baseasset", "basecurrency", "asset", "coin"),
    "quote": ("quote", "quoteasset", "quotecurrency", "spotpricecurrency", "pricecurrency"),
    "side": (
        "side", "direction", "takerside", "buysell", "action", "transactiontype", "type", "tradetype", "operation",
    ),
    "qty": (
        "qty", "quantity", "executedqty", "execqty", "executed", "filledqty", "filledquantity", "fillqty", "fillsz",
        "filled", "size", "sz", "vol", "amount", "executedquantity", "quantitytransacted", "basequantity",
        "tradeamount", "baseamount", "lastqty", "volume",
    ),
    "price": (
        "price", "execprice", "executedprice", "executionprice", "fillpx", "fillprice", "filledprice", "tradeprice",
        "px", "avgprice", "averageprice", "dealprice", "averagetradingprice", "avgtradingprice",
        "priceattransaction", "spotpriceattransaction", "lastprice",
    ),
    "fee": (
        "fee", "fees", "commission", "execfee", "tradingfee", "fillfee", "feepaid", "feeamount", "totalfee",
        "commissionamount", "feesandorspread", "transactionfee", "commissions", "ibcommission", "commfee",
    ),
    "fee_asset": (
        "feeasset", "feecurrency", "feecoin", "feeccy", "feecurrencyid", "commissionasset", "feesasset", "feeunit",
        "pricefeetotalunit", "feetoken", "commissioncurrency", "ibcommissioncurrency",
    ),
    "order_id": (
        "orderid", "order", "ordertxid", "ordid", "orderno", "ordernumber", "orderuid", "oid", "clientorderid",
    ),
    "fill_id": (
        "fillid", "tradeid", "execid", "executionid", "txid", "tradeno", "tradeuid", "tid", "transactionid", "id",
        "dealid", "entryid",
    ),
    "role": ("role", "takerormaker", "makertaker", "makerortaker", "liquidity", "liquidityindicator", "exectype",
             "traderole", "takermaker", "liquiditytype"),
    "account": ("account", "subaccount", "accountid", "accountname"),
    "venue": ("venue", "exchange"),
    "position_side": ("positionside", "posside"),
    "is_buyer": ("isbuyer",),
    "is_maker": ("ismaker", "maker"),
}  # fmt: skip
FIELDS: Final = tuple(name for name in _SYNONYMS if not name.startswith("is_"))
REQUIRED: Final = ("ts", "symbol", "side", "qty", "price")

_ITEM = re.compile(r"[,\s]\s*(?=[A-Za-z_]+\s*=)")
_NOISE = re.compile(r"\([^)]*\)|\[[^\]]*\]|[^a-z0-9]+")


def normal(name: str) -> str:
    """A column's name without case, units in brackets, spaces and signs."""
    return _NOISE.sub("", name.strip().lower())


def parse_mapping(given: str | Iterable[str] | None) -> dict[str, str]:
    """What `--map` says: fields and the columns they stand in.

    Args:
        given: `ts=Time,qty=Executed`, or several such texts.

    Example:
        >>> parse_mapping("ts=Date(UTC),qty=Filled Quantity side=B/S")
        {'ts': 'Date(UTC)', 'qty': 'Filled Quantity', 'side': 'B/S'}

    Raises:
        BotobsError: It names a field that does not exist, or one twice, or no column.
    """
    found: dict[str, str] = {}
    for text in [given] if isinstance(given, str) else given or ():
        for item in _ITEM.split(text.strip().strip(",")):
            field, equals, column = (part.strip().strip("\"'").strip() for part in item.partition("="))
            field = field.lower()
            if field not in FIELDS:
                near = difflib.get_close_matches(field, FIELDS, 1, 0.6) or [
                    name for name, words in _SYNONYMS.items() if normal(field) in words and name in FIELDS
                ]
                hint = f"; did you mean {near[0]}?" if near else ""
                raise BotobsError(f"there is no field {field[:40]!r} to map; fields are {', '.join(FIELDS)}{hint}")
            if not equals or not column:
                raise BotobsError(
                    f"{field} is mapped to no column; it takes FIELD=COLUMN, such as ts=Time,qty=Executed"
                )
            if found.get(field, column) != column:
                raise BotobsError(f"{field} is mapped twice: to {found[field]!r} and to {column!r}")
            found[field] = column
    return found


def columns_of(header: Sequence[str], mapping: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Field to the columns that may hold it, best first.

    Raises:
        BotobsError: The mapping names a column that is not there.
    """
    return {
        field: tuple(header.index(key) for key in keys) for field, keys in keys_of(header, mapping, strict=True).items()
    }


def keys_of(names: Iterable[str], mapping: Mapping[str, str], *, strict: bool = False) -> dict[str, tuple[str, ...]]:
    """Field to the names that may hold it, best first; a mapped one stands alone, and for nothing else.

    Raises:
        BotobsError: `strict`, and the mapping names one that is not there.
    """
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(normal(name), name)
    exact = {name: name for name in names}
    found: dict[str, tuple[str, ...]] = {}
    for field, column in mapping.items():
        said = exact.get(column) or plain.get(normal(column))
        if said is not None:
            found[field] = (said,)
        elif strict:
            raise BotobsError(f"there is no column {column!r} for {field}; columns are {_listed(exact)}")
        else:
            found[field] = (column,)
    taken = {key for keys in found.values() for key in keys}
    for field, words in _SYNONYMS.items():
        if field not in found:
            keys = tuple(plain[word] for word in words if word in plain and plain[word] not in taken)
            if keys:
                # a time may stand in any of its columns; an empty quantity is not to be had from the one beside it
                found[field] = keys if field == "ts" else keys[:1]
    if "quotedelta" in plain and "size" in plain and "qty" not in mapping:
        found["qty"] = (plain["size"],)  # our own ledger, where qty is a position's
    return found


def _listed(names: Iterable[str]) -> str:
    shown = [name for name in names if name.strip()]
    return ", ".join(shown[:40]) + (", …" if len(shown) > 40 else "")
