"""Which trade is meant: by its name, the beginning of it, `last`, or an order or a fill of it."""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.accounting.replay import key_of
from botobs.clock import epoch_ns
from botobs.errors import BotobsError
from botobs.explaining.living import Lived, holders, live
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botobs.accounting.books import Books
    from botobs.explaining.facts import Facts

__all__ = ["Found", "UnknownTradeError", "find"]

_NAMED: Final = re.compile(r"t([1-9][0-9]{0,17})")
_SHOWN: Final = 5
_FAR_NS: Final = 60_000_000_000
_NEAR: Final = 500  # the latest trades, among which a near name is looked for

Found = tuple[str, "Lived | None", "Mapping[str, Any] | None"]


class UnknownTradeError(BotobsError):
    """No trade, or not only one, is called so.

    Attributes:
        near: The trades that may be meant.
    """

    def __init__(self, said: str, near: tuple[str, ...] = ()) -> None:
        shown = ", ".join(near[:_SHOWN]) + (", …" if len(near) > _SHOWN else "")
        super().__init__(f"{said}: {shown}" if near else said)
        self.near = near


def find(books: Books, facts: Facts, name: str) -> Found:
    """The trade that is meant: its name, as the ledger has it (`None`: it was told by hand), and its record.

    Raises:
        UnknownTradeError: None is, or more than one may be.
    """
    if name == "last":
        name = _last(books, facts)
    found = _called(books, facts, name)
    if found is not None:
        return found
    meant = _holding(books, name) or _beginning(books, facts, name)
    if len(meant) == 1:
        found = _called(books, facts, meant[0])
        if found is not None:
            return found
    if meant:
        raise UnknownTradeError(f"{_shown(name)} may be one of several trades", meant)
    raise UnknownTradeError(*_unlike(books, facts, name))


def _last(books: Books, facts: Facts) -> str:
    newest = facts.last()
    if newest is not None:
        return newest
    still = sorted(_open(books), key=lambda name: int(name[1:]))
    if not still:
        raise UnknownTradeError("there are no trades yet")
    return still[-1]


def _open(books: Books) -> list[str]:
    """The trades that are open in the books."""
    names = (book.trade_id for key, book in list(books.books.items()) if not key[4])
    return [name for name in names if name is not None]


def _called(books: Books, facts: Facts, name: str) -> Found | None:
    """The trade of exactly that name."""
    seq = _NAMED.fullmatch(name)
    line = books.ledger.find(int(seq[1])) if seq is not None else None
    if line is None or line.get("type") not in ("fill", "position"):
        record = None if seq is not None else facts.record(name, None)
        return None if record is None else (name, None, record)
    key, opened = key_of(line), line["ts"]
    if key not in books.books:
        return None
    record = facts.record(name, _written_after(line))
    closed = None if record is None else record.get("exit_ts")
    lived = None if closed is None else live(books, key, name, opened, closed)
    if lived is None or lived.trip.closed_ts is None:  # no record tells when it was over
        lived = live(books, key, name, opened)
    return None if lived is None else (name, lived, record)


def _written_after(line: Mapping[str, Any]) -> str | None:
    """Since when the record of a trade that this line opened may have been written; `None`: that cannot be told.

    The record is dated by the exchange's time. Where that is far from the bot's, as when a day is told again, records
    are in no order.
    """
    with contextlib.suppress(KeyError, TypeError, ValueError):
        told, came = epoch_ns(line["ts"]), epoch_ns(line["received"])
        if abs(told - came) <= _FAR_NS:
            return str(min(line["ts"], line["received"]))
    return None


def _holding(books: Books, name: str) -> tuple[str, ...]:
    """The trades that an order or a fill of that name belongs to."""
    said = dumps(name)
    needles = (b'"order_id":' + said, b'"fill_id":' + said)
    ends: dict[Any, list[dict[str, Any]]] = {}
    for line in _lines(books, needles):
        if line.get("type") == "fill" and name in (line.get("order_id"), line.get("fill_id")):
            known = ends.setdefault(key_of(line), [line, line])
            # one order is on one side: between its first and its last fill no third trade can lie
            known[0] = min(known[0], line, key=_when)
            known[1] = max(known[1], line, key=_when)
    found: dict[str, None] = {}
    for key, both in ends.items():
        for line in both:
            if line["seq"] not in books.voided and key in books.books:
                found.update(dict.fromkeys(holders(books, key, line["seq"], line["ts"])))
    return tuple(found)


def _when(line: Mapping[str, Any]) -> tuple[str, int]:
    return line["ts"], line["seq"]


def _lines(books: Books, needles: tuple[bytes, ...]) -> Iterator[dict[str, Any]]:
    for _, raw in books.ledger.lines():
        if any(needle in raw for needle in needles):
            with contextlib.suppress(ValueError):
                yield orjson.loads(raw)


def _beginning(books: Books, facts: Facts, name: str) -> tuple[str, ...]:
    """The trades whose names begin so."""
    if not name:
        return ()
    still = [trade for trade in _open(books) if trade.startswith(name)]
    return tuple(dict.fromkeys([*facts.names(name), *still]))


def _unlike(books: Books, facts: Facts, name: str) -> tuple[str, tuple[str, ...]]:
    """Why no trade is meant, and which ones are near."""
    seq = _NAMED.fullmatch(name)
    line = books.ledger.find(int(seq[1])) if seq is not None else None
    if seq is not None and line is not None:
        if line["seq"] in books.voided:
            return f"there is no trade {_shown(name)}: the fill that opened it was taken back", ()
        if line.get("type") == "fill" and key_of(line) in books.books:
            held = holders(books, key_of(line), line["seq"], line["ts"])
            if held:
                return f"there is no trade {_shown(name)}; that line of the ledger belongs to", held
    known = list(dict.fromkeys([*facts.names(""), *_open(books)]))[-_NEAR:]
    near = difflib.get_close_matches(name, known, _SHOWN, 0.5)
    if near:
        return f"there is no trade, order or fill {_shown(name)}; the nearest are", tuple(near)
    return f"there is no trade, order or fill {_shown(name)}", ()


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
