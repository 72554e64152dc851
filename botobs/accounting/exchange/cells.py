"""Single cells of a statement: numbers with units and thousands, times in every spelling, sides and roles."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from botobs.accounting.entries import stamp
from botobs.accounting.numbers import EXACT, number
from botobs.accounting.routes import Refused
from botobs.accounting.sides import side as side_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

__all__ = ["amount", "decimal_mark", "flag", "identifier", "present", "role", "side", "time"]

_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOTHING = frozenset({"", "-", "--", "—", "n/a", "na", "nan", "null", "none", "nil", "undefined"})
_SIGNS = "$€£¥₿₮₺₹₩₽"
_GLUED = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:[{_SIGNS}]|(?P<before>[A-Za-z][A-Za-z.]{{0,15}})\s*)?\s*"
    r"(?P<digits>[+-]?[\d.,'\u2019 ]*\d[.,]?(?:[eE][+-]?\d+)?)"
    rf"\s*(?:[{_SIGNS}]|(?P<after>[A-Za-z][A-Za-z0-9.]{{0,15}}))?(?P<minus>-?)",
    re.ASCII,
)
_GROUPED = {
    mark: re.compile(rf"[+-]?\d{{1,3}}(?:[{group}'\u2019 ]\d{{3}})+(?:{re.escape(mark)}\d*)?", re.ASCII)
    for mark, group in ((".", ","), (",", "."))
}
_CORE = re.compile(r"\d[\d.,'\u2019 ]*", re.ASCII)
_NUMBER_S = 100_000_000  # an epoch below this is before 1973: rather a spreadsheet's day number
_MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905
_CLOCK = r"(?P<clock>\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?"
_SHAPES = (
    re.compile(rf"(?P<y>\d{{4}})[-/.](?P<m>\d{{1,2}})[-/.](?P<d>\d{{1,2}})(?:[T, ]+{_CLOCK})?{_ZONE}", re.ASCII),
    re.compile(rf"{_CLOCK}\s+(?P<y>\d{{4}})[-/](?P<m>\d{{1,2}})[-/](?P<d>\d{{1,2}}){_ZONE}", re.ASCII),
    re.compile(
        rf"(?P<d>\d{{1,2}})[- .]+(?P<m>[A-Za-z]{{3,9}})[- .,]+(?P<y>\d{{4}})(?:[T, ]+{_CLOCK})?{_ZONE}", re.ASCII
    ),
    re.compile(rf"(?P<m>[A-Za-z]{{3,9}})[- .]+(?P<d>\d{{1,2}})[, ]+(?P<y>\d{{4}})(?:[T, ]+{_CLOCK})?{_ZONE}", re.ASCII),
)  # fmt: skip
_EITHER = re.compile(
    rf"(?P<a>\d{{1,2}})(?P<by>[/.-])(?P<b>\d{{1,2}})(?P=by)(?P<y>\d{{4}})(?:[T, ]+{_CLOCK})?{_ZONE}", re.ASCII
)
_COMPACT = re.compile(r"(?:19|20)\d{6}(?:\d{6})?", re.ASCII)
_MANGLED = re.compile(r"\d[.,]\d*E\+?\d+", re.ASCII)
_AS_TEXT = re.compile(r"=\"(.*)\"", re.DOTALL)
_ROLES = {
    "maker": "maker", "m": "maker", "make": "maker", "add": "maker", "added": "maker", "passive": "maker",
    "taker": "taker", "t": "taker", "take": "taker", "remove": "taker", "removed": "taker", "aggressive": "taker",
}  # fmt: skip
_BUYS, _SELLS = {"buy", "bought", "bid", "purchase"}, {"sell", "sold", "ask", "sale"}
_WORDS = re.compile("[a-z]+")


def present(value: Any) -> bool:
    """Whether a cell says anything."""
    if type(value) is str:
        return bool(value) and value.strip().lower() not in _NOTHING
    return value is not None


def decimal_mark(cells: Iterable[str]) -> str:
    """Whether the numbers of one row have a decimal point or a decimal comma; one row has one style.

    Example:
        >>> decimal_mark(["1,234.50"]), decimal_mark(["0,5", "12"]), decimal_mark(["43,250", "0.5"])
        ('.', ',', '.')

    Raises:
        Refused: It cannot be told, as with a lone `1,234`, or both are used.
    """
    found = {_evidence(cell) for cell in cells}
    if {".", ","} <= found:
        raise Refused("numbers with a decimal point and with a decimal comma in one row")
    if "." in found or not found & {",", "?"}:
        return "."
    if "," in found:
        return ","
    raise Refused("a number such as 1,234 may be 1234 or 1.234; say decimal='.' or decimal=','")


def _evidence(cell: str) -> str | None:
    core = _CORE.search(cell.replace("\u00a0", " ").replace("\u202f", " "))
    shown = core[0].rstrip("'\u2019 .,") if core is not None else ""
    points, commas = shown.count("."), shown.count(",")
    if points and commas:
        return "." if shown.rfind(".") > shown.rfind(",") else ","
    if commas > 1 or points > 1:
        return "." if commas else ","
    if not points and not commas:
        return None
    before, _, after = shown.partition("," if commas else ".")
    if len(after) == 3 and len(before) <= 3 and not before.startswith("0"):
        return "?" if commas else None
    return "," if commas else "."


def amount(cell: Any, *, mark: str = ".", assets: Iterable[str] = ()) -> tuple[Decimal, str | None]:
    """A number and the unit glued to it, if there is one.

    Args:
        cell: The text.
        mark: The decimal mark, `.` or `,`.
        assets: Names of units to expect; they may begin with digits, as `1INCH` does.

    Example:
        >>> amount("0.5BTC"), amount("$1,234.50"), amount("(12.5)"), amount("-1e-7")
        ((Decimal('0.5'), 'BTC'), (Decimal('1234.50'), None), (Decimal('-12.5'), None), (Decimal('-1E-7'), None))

    Raises:
        ValueError: It is no number.
    """
    said = cell if type(cell) is str else str(cell)
    if _PLAIN.fullmatch(said) and (mark == "." or "." not in said):
        return number(said), None
    text = said.replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ").strip()
    negative = text.startswith("(") and text.endswith(")")
    if negative:
        text = text[1:-1].strip()
    unit: str | None = None
    for asset in assets:
        if asset and text.upper().endswith(asset) and text[: -len(asset)].rstrip()[-1:].isdigit():
            unit, text = asset, text[: -len(asset)].rstrip()
            break
    match = _GLUED.fullmatch(text) if len(text) <= 400 else None
    if match is None:
        raise ValueError(f"not a number: {said[:60]!r}")
    after = match["after"]
    found = number(_digits(match["digits"].strip(), mark, said))
    if match["sign"] == "-" or match["minus"] or negative:
        found = found.copy_negate()  # unlike the minus, never rounded
    unit = unit or after or match["before"]
    return found, unit.upper() if unit else None


def _digits(digits: str, mark: str, said: str) -> str:
    if _GROUPED[mark].fullmatch(digits):
        for group in ",'\u2019 " if mark == "." else ".'\u2019 ":
            digits = digits.replace(group, "")
    digits = digits.replace(",", ".") if mark == "," and "." not in digits else digits
    if not _PLAIN.fullmatch(digits):
        raise ValueError(f"not a number: {said[:60]!r}")
    return digits


def time(cell: Any, *, zone: dt.tzinfo = dt.UTC, day_first: bool | None = None) -> str:
    """A time as RFC 3339 text in UTC with microseconds; finer digits are cut.

    Args:
        cell: A date and time, or an epoch number in s, ms, µs or ns.
        zone: Where a time without a zone was read off a clock.
        day_first: Whether `03/04/2026` is the 3rd of April; `None`: such a date is refused.

    Example:
        >>> time("2026-01-02 03:04:05"), time("1767323045.123456"), time("Jan 2, 2026 3:04 PM")
        ('2026-01-02T03:04:05.000000Z', '2026-01-02T03:04:05.123456Z', '2026-01-02T15:04:00.000000Z')

    Raises:
        Refused: It is no time, or it cannot be told which.
    """
    said = str(cell).strip()
    if not said:
        raise Refused("no ts")
    try:
        if _PLAIN.fullmatch(said):
            return stamp(_epoch(said, zone))
        try:
            moment = dt.datetime.fromisoformat(said)
        except ValueError:
            moment = _shaped(said, day_first)
        return stamp(_ns(moment, zone))
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"ts is no time: {said[:60]!r}") from error


def _epoch(said: str, zone: dt.tzinfo) -> int:
    if _COMPACT.fullmatch(said):
        return _ns(dt.datetime.strptime(said.ljust(14, "0"), "%Y%m%d%H%M%S"), zone)  # noqa: DTZ007  # zone is added
    found = number(said)
    if found < _NUMBER_S:
        raise ValueError("too small")
    power = 9 if found < 10**11 else 6 if found < 10**14 else 3 if found < 10**17 else 0
    return int(EXACT.scaleb(found, power))


def _ns(moment: dt.datetime, zone: dt.tzinfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    delta = moment.astimezone(dt.UTC) - _START
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


_START = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _shaped(said: str, day_first: bool | None) -> dt.datetime:
    for shape in _SHAPES:
        match = shape.fullmatch(said)
        if match is not None:
            month = match["m"]
            return _moment(match, match["y"], _MONTHS[month[:3].lower()] if month.isalpha() else month, match["d"])
    match = _EITHER.fullmatch(said)
    if match is None:
        raise ValueError("no shape fits")
    if day_first is None and match["by"] != ".":  # with points between, the day stands first everywhere
        raise Refused(
            f"ts {said[:60]!r}: day or month first? say --day-first or --month-first (day_first=True or False)"
        )
    a, b = match["a"], match["b"]
    return _moment(match, match["y"], a if day_first is False else b, b if day_first is False else a)


def _moment(match: re.Match[str], year: str, month: str | int, day: str) -> dt.datetime:
    hour, minute, second = [*(match["clock"] or "0:0").replace(",", ".").split(":"), "0"][:3]
    hours = int(hour)
    if match["half"]:
        if not 1 <= hours <= 12:
            raise ValueError("no such hour")
        hours = hours % 12 + (12 if match["half"][0] in "Pp" else 0)
    whole, _, part = second.partition(".")
    zone = match["zone"]
    tz = None
    if zone:
        tz = dt.UTC if zone[0] not in "+-" else dt.datetime.strptime(zone, "%z").tzinfo
    micro = int(part.ljust(6, "0")[:6]) if part else 0
    return dt.datetime(int(year), int(month), int(day), hours, int(minute), int(whole), micro, tzinfo=tz)


def side(cell: Any) -> str:
    """`buy` or `sell`, also of `Market Buy`, `close short` and `SOLD`.

    Raises:
        ValueError: It is neither.
    """
    try:
        return side_of(cell)
    except ValueError:
        words = set(_WORDS.findall(str(cell).lower()[:64]))
        buys, sells = bool(words & _BUYS), bool(words & _SELLS)
        if not buys and not sells and len(words & {"long", "short"}) == 1 and len(words & {"open", "close"}) == 1:
            buys = ("long" in words) == ("open" in words)
            sells = not buys
        if buys == sells:
            raise
        return "buy" if buys else "sell"


def role(cell: Any) -> str | None:
    """`maker` or `taker`; `None`: it is neither."""
    return _ROLES.get(str(cell).strip().lower())


def flag(cell: Any) -> bool | None:
    """What a yes-or-no column says."""
    if isinstance(cell, bool):
        return cell
    return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}.get(
        str(cell).strip().lower()
    )


def identifier(cell: Any) -> str | None:
    """An id as text; `None` for what is none, and for `1.23E+17`: a spreadsheet has cut its digits off."""
    if isinstance(cell, bool | dict | list) or not present(cell):
        return None
    said = str(cell).strip()
    told = _AS_TEXT.fullmatch(said)
    said = told[1].strip() if told is not None else said
    if not said or _MANGLED.fullmatch(said):
        return None
    return said[:256]
