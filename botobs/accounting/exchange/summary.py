"""Compare the totals with a bare summary, such as exchanges' summary endpoints give."""

from __future__ import annotations

import csv
import decimal
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Final

import attrs

from botobs.accounting.exchange import cells
from botobs.accounting.exchange.comparison import Comparison, Row
from botobs.accounting.exchange.fields import REQUIRED, columns_of, normal
from botobs.accounting.exchange.fills import Bad
from botobs.accounting.exchange.objects import DECODER, trades_in
from botobs.accounting.exchange.source import Source
from botobs.accounting.exchange.trades import Trades, open_trades
from botobs.accounting.exchange.trades import reading as reading_of
from botobs.accounting.numbers import ROUGH, ZERO, exact, number
from botobs.accounting.numbers import text as written
from botobs.errors import BotobsError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["Summary", "compare_summary", "read_statement", "read_summary"]

# a name in a summary: what of our totals it may be, the likeliest first
_MEANINGS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("realizedpnl", "realisedpnl", "realizedprofit", "realisedprofit", "cumrealisedpnl",
                     "cumrealizedpnl", "totalrealizedpnl", "totalrealisedpnl", "closedpnl", "totalclosedpnl"),
                    ("gross_pnl", "realized_pnl", "gross_less_fees")),
    **dict.fromkeys(("grosspnl", "grosspl"), ("gross_pnl",)),
    **dict.fromkeys(("netprofit", "netpnl", "netpl", "net", "profit", "totalnetprofit", "netrealizedpnl",
                     "netrealisedpnl", "pnl", "totalprofit"), ("realized_pnl", "gross_less_fees", "total_pnl")),
    **dict.fromkeys(("unrealizedpnl", "unrealisedpnl", "unrealizedprofit", "unrealisedprofit", "totalunrealizedprofit",
                     "totalunrealizedpnl", "upl"), ("unrealized_pnl",)),
    **dict.fromkeys(("totalpnl", "totalpl"), ("total_pnl",)),
    **dict.fromkeys(("commission", "commissions", "fee", "fees", "totalfee", "totalfees", "tradingfee", "tradingfees",
                     "totalcommission", "execfee", "cumexecfee", "feespaid", "totalfeespaid"), ("fees",)),
    **dict.fromkeys(("funding", "fundingfee", "fundingfees", "totalfunding", "fundingpnl", "fundingpayment",
                     "fundingpayments", "netfunding"), ("funding",)),
    **dict.fromkeys(("volume", "turnover", "totalvolume", "quotevolume", "tradingvolume", "tradevolume", "cumquote",
                     "totalturnover", "notional"), ("volume",)),
    "makervolume": ("maker_volume",),
    "takervolume": ("taker_volume",),
    **dict.fromkeys(("equity", "totalequity", "accountequity", "marginbalance", "totalmarginbalance"), ("equity",)),
    **dict.fromkeys(("walletbalance", "totalwalletbalance", "balance"), ("wallet",)),
    **dict.fromkeys(("fills", "fillcount", "executions", "tradecount", "totaltrades", "tradescount"), ("fills",)),
    "cashflow": ("cash_flow",),
    "peakequity": ("peak_equity",),
    "maxdrawdown": ("max_drawdown",),
}  # fmt: skip
_EXACTLY = ("gross_pnl", "realized_pnl", "unrealized_pnl", "total_pnl", "fees", "funding", "volume", "maker_volume",
            "taker_volume", "equity", "peak_equity", "max_drawdown", "drawdown", "cash_flow", "fills")  # fmt: skip
_INCOMES = {"realizedpnl": "realizedPnl", "commission": "commission", "fundingfee": "funding"}
_WRAPPERS = ("result", "data", "list", "summary", "totals")
_CENTS = frozenset({"USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "EUR", "GBP", "CHF", "AUD", "CAD", "NZD"})
_MOST_PLACES = 12  # what has more is a sum of floats
_ROUNDINGS = (decimal.ROUND_HALF_EVEN, decimal.ROUND_HALF_UP, decimal.ROUND_DOWN)


@attrs.frozen(kw_only=True)
class Summary:
    """A bare summary of totals.

    Attributes:
        values: What it says, under the names it uses.
        ignored: Names in it that are no totals known here, or say nothing.
        bad: Totals that are known here, with a number that cannot be read.
    """

    values: Mapping[str, Decimal]
    ignored: Sequence[str] = ()
    bad: Sequence[Bad] = ()


def read_summary(given: str | os.PathLike[str] | IO[bytes] | IO[str]) -> Summary:
    """Read a summary: a JSON object of totals, a list of incomes by type, or CSV of names and values.

    Raises:
        BotobsError: It cannot be read, or there is no total in it.
    """
    source = Source(given)
    try:
        found = _summary(source)
        name = source.name
    finally:
        source.close()
    if found is None:
        raise BotobsError(
            f"{name} is no summary of totals; it takes names such as realizedPnl, commission, funding, volume, "
            "netProfit with numbers, as a JSON object or as CSV of key,value"
        )
    return found


def read_statement(
    given: str | os.PathLike[str] | IO[bytes] | IO[str], *, format: str | None = None, **options: Any  # noqa: A002
) -> Trades | Summary:  # fmt: skip
    """Read whatever it is: trades, or a summary of totals; the options are those of `read_trades`.

    Raises:
        BotobsError: It is neither.
    """
    how = reading_of(**options)
    source = Source(given)
    if format is None and source.short:
        found = _summary(source, keep=True)
        if found is not None:
            source.close()
            return found
    return open_trades(source, how, format)


def _summary(source: Source, *, keep: bool = False) -> Summary | None:
    text = source.head if source.short or keep else source.text().read(1 << 28)
    said = text.strip().lstrip("\ufeff")
    if said[:1] in ("{", "["):
        try:
            value = DECODER.decode(said)
        except (ValueError, RecursionError):
            return None
        return _of_object(value)
    return _of_table(said)


def _of_object(value: Any, depth: int = 0) -> Summary | None:
    if isinstance(value, list):
        if value and all(isinstance(each, dict) and "incomeType" in each for each in value):
            return _of_incomes(value)
        return _of_object(value[0], depth + 1) if len(value) == 1 and depth < 5 else None
    if not isinstance(value, dict):
        return None
    found = _of_pairs([(str(key), each) for key, each in value.items() if not isinstance(each, dict | list)])
    if found is not None and trades_in(value) is None:
        return found
    for key in _WRAPPERS:
        inner = value.get(key)
        if depth < 5 and isinstance(inner, dict | list):
            found = _of_object(inner, depth + 1)
            if found is not None:
                return found
    return None


@exact
def _of_incomes(incomes: list[dict[str, Any]]) -> Summary | None:
    """Incomes by type, each signed as it changed the balance."""
    sums: dict[str, Decimal] = {}
    ignored: dict[str, None] = {}
    for income in incomes:
        name = _INCOMES.get(normal(str(income["incomeType"])))
        try:
            amount = number(income.get("income"))
        except ValueError:
            name = None
        if name is None:
            ignored[str(income["incomeType"])] = None
            continue
        sums[name] = sums.get(name, ZERO) + (-amount if name == "commission" else amount)
    return Summary(values=sums, ignored=tuple(ignored)) if sums else None


def _of_table(said: str) -> Summary | None:
    head = said.partition("\n")[0]
    delimiter = max(",;\t=", key=head.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(said.splitlines(), delimiter=delimiter) if row]
    except csv.Error:
        return None
    if rows and sum(field in REQUIRED for field in columns_of(rows[0], {})) >= 3:
        return None  # trades
    if len(rows) == 2 and len(rows[0]) > 2 and len(rows[0]) == len(rows[1]):
        return _of_pairs(list(zip(*rows, strict=True)))
    return _of_pairs([(row[0], row[1]) for row in rows]) if rows and all(len(row) == 2 for row in rows) else None


def _of_pairs(pairs: Sequence[Sequence[Any]]) -> Summary | None:
    values: dict[str, Decimal] = {}
    ignored: list[str] = []
    bad: list[Bad] = []
    for line, (name, cell) in enumerate(pairs, 1):
        text = "" if isinstance(cell, bool | dict | list) or cell is None else str(cell)
        if not (normal(name) in _MEANINGS or name in _EXACTLY) or not any(map(str.isdigit, text)):
            ignored.append(name)
            continue
        try:
            values[name], _ = cells.amount(text, mark=cells.decimal_mark([text]))
        except ValueError as error:
            bad.append(Bad.of(line, f"{name}: {error}", text))
    return Summary(values=values, ignored=tuple(ignored), bad=tuple(bad)) if values or bad else None


@exact
def compare_summary(
    totals: Any,
    summary: Summary | Mapping[str, Any],
    *,
    tolerance: Decimal | str | None = None,
    currency: str | None = None,
    fee_sign: int | None = None,
) -> Comparison:
    """Compare totals with a summary.

    A value agrees if ours, rounded or cut to the digits the summary gives, is the same; to the cent at least, in a coin
    to eight digits. `realizedPnl` may be before costs or after; the note of a row says as what it agreed. Fees are
    positive when paid; where the summary's own numbers show that it counts them the other way round, they are turned.

    Args:
        totals: `Totals`, or a mapping with its names (amounts may be text, as in `dump --json`).
        summary: As `read_summary` gives it, or a mapping.
        tolerance: By how much values may be off, instead.
        currency: What the totals are in; by default what they say, else a currency with cents.
        fee_sign: -1 if the summary has paid fees negative, 1 if positive; else told from its own numbers.

    Example:
        >>> found = compare_summary({"gross_pnl": "12.3042", "fees": "0.4", "realized_pnl": "11.9042"},
        ...     {"realizedPnl": "12.30", "commission": "0.4", "netProfit": "11.91"})
        >>> found.ok, [(row.name, row.ok) for row in found.rows]
        (False, [('realizedPnl', True), ('commission', True), ('netProfit', False)])

    Raises:
        BotobsError: There is nothing to compare.
    """
    if not isinstance(summary, Summary):
        read = _of_pairs([(str(name), value) for name, value in summary.items()])
        if read is None:
            raise BotobsError("the summary has no total that is known here, such as realizedPnl, commission, volume")
        summary = read
    own = _own(totals)
    currency = currency or _get(totals, "currency")
    cents = currency is None or str(currency).upper() in _CENTS
    allowed = None if tolerance is None else number(tolerance)
    turned = fee_sign == -1 or (fee_sign is None and _turned(summary.values))
    found = Comparison()
    for name, theirs in summary.values.items():
        meanings = (name,) if name in _EXACTLY else _MEANINGS[normal(name)]
        value = -theirs if turned and meanings == ("fees",) else theirs
        found.rows.append(_row(name, meanings, own, value, allowed, places=2 if cents else 8))
    waiting = number(_get(totals, "accrued_funding") or ZERO)
    if waiting:
        found.notes.append(f"{written(waiting)} of funding is accrued and was not reported: it is left out")
    if turned:
        found.notes.append("the summary counts fees that were paid as negative")
    found.bad.extend(summary.bad)
    found.bad_count = found.harmful = len(summary.bad)
    if summary.ignored:
        found.notes.append(f"not compared: {', '.join(map(str, summary.ignored[:40]))}")
    return found


def _get(totals: Any, name: str) -> Any:
    return totals.get(name) if hasattr(totals, "get") else getattr(totals, name, None)


def _own(totals: Any) -> dict[str, Decimal]:
    own: dict[str, Decimal] = {}
    for name in _EXACTLY:
        value = _get(totals, name)
        if value is not None:
            own[name] = number(value)
    waiting = number(_get(totals, "accrued_funding") or ZERO)
    if waiting:  # the exchange knows of payments only
        for name in ("funding", "realized_pnl", "total_pnl", "equity"):
            if name in own:
                own[name] -= waiting
    if "gross_pnl" in own and "fees" in own:
        own["gross_less_fees"] = own["gross_pnl"] - own["fees"]
    if "equity" in own and "unrealized_pnl" in own:
        own["wallet"] = own["equity"] - own["unrealized_pnl"]
    return own


def _turned(values: Mapping[str, Decimal]) -> bool:
    """Whether the summary's net is its gross plus its fees, and not less its fees."""
    by = {_MEANINGS.get(normal(name), (name,))[0]: value for name, value in reversed(list(values.items()))}
    gross, net, fees = by.get("gross_pnl"), by.get("realized_pnl"), by.get("fees")
    if gross is None or net is None or not fees:
        return False
    funding = by.get("funding", ZERO)
    near = Decimal("0.02")
    paid = min(abs(gross - fees + more - net) for more in (funding, ZERO))
    return bool(paid > near and min(abs(gross + fees + more - net) for more in (funding, ZERO)) <= near)


def _row(
    name: str,
    meanings: Sequence[str],
    own: Mapping[str, Decimal],
    theirs: Decimal,
    allowed: Decimal | None,
    *,
    places: int,
) -> Row:
    known = [meaning for meaning in meanings if meaning in own]
    if not known:
        return Row(
            name=name, of=meanings[0], ours=None, theirs=theirs, difference=None, explained={}, unexplained=None,
            note="undefined on our side",
        )  # fmt: skip
    equal = [meaning for meaning in known if _agrees(own[meaning], theirs, allowed, places)]
    meaning = (equal or known)[0]
    apart = own[meaning] - theirs
    note = f"as {meaning}" if len(meanings) > 1 else None
    if not equal and meaning == "fees" and _agrees(own["fees"], -theirs, allowed, places):
        note = "equal with the sign turned: fee_sign=-1 if the summary has paid fees negative"
    return Row(
        name=name, of=meaning, ours=own[meaning], theirs=theirs, difference=apart,
        explained={"rounding": apart} if equal and apart else {}, unexplained=ZERO if equal else apart, note=note,
    )  # fmt: skip


def _agrees(ours: Decimal, theirs: Decimal, allowed: Decimal | None, places: int) -> bool:
    if allowed is not None:
        return abs(ours - theirs) <= allowed
    digits = min(max(places, -int(theirs.as_tuple().exponent)), _MOST_PLACES)
    unit = Decimal(1).scaleb(-digits)
    with decimal.localcontext(ROUGH):
        said = theirs.quantize(unit, decimal.ROUND_HALF_EVEN)
        return any(ours.quantize(unit, rounding) == said for rounding in _ROUNDINGS)
