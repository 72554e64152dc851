"""Which fills of a file the ledger has already, though it may call them otherwise."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import orjson

from botobs.accounting.exchange.markets import market
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from botobs.accounting.account import Account
    from botobs.accounting.entries import FillEntry

__all__ = ["Places", "is_as_told", "meet"]

_NEAR_NS = 2_000_000_000


class Places:
    """Where the account holds which market, before anything is imported.

    Attributes:
        notes: What was taken for what.
    """

    def __init__(self, account: Account) -> None:
        self.notes: list[str] = []
        self._exact = {key[:3] for key in account.books}
        self._of_market: dict[str, set[tuple[str | None, str | None, str]]] = {}
        for key in self._exact:
            self._of_market.setdefault(market(key[2]), set()).add(key)
        self._told: set[tuple[str | None, ...]] = set()

    def place(self, entry: FillEntry) -> FillEntry:
        """The entry with the venue, account and spelling that the ledger has, where only one can be meant."""
        route = entry.route
        said = (route.account, route.venue, route.symbol)
        if said in self._exact:
            return entry
        fitting = [
            key for key in self._of_market.get(market(route.symbol), ())
            if route.account in (None, key[0]) and route.venue in (None, key[1])
        ]  # fmt: skip
        if fitting and said not in self._told:
            self._told.add(said)
            places = "; ".join(sorted(map(_named, fitting)))
            self.notes.append(
                f"{_named(said)} is taken for {places}, which the ledger has already" if len(fitting) == 1
                else f"{_named(said)} is new; the ledger has {places}: say which with --venue, --account or --symbol"
            )  # fmt: skip
        return entry._replace(route=route.elsewhere(*fitting[0])) if len(fitting) == 1 else entry


def _named(key: tuple[str | None, str | None, str]) -> str:
    account, venue, symbol = key
    return f"{symbol}{f' at {venue}' if venue else ''}{f', account {account}' if account else ''}"


class _Line(NamedTuple):
    """A fill of the ledger, as far as it is compared."""

    seq: int
    ts: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    order_id: str | None
    fill_id: str | None
    account: str | None
    venue: str | None


def meet(account: Account, entries: list[FillEntry]) -> set[int]:
    """Give entries the ids that the ledger has for them; which of them it has without an id.

    The same fill may have been told with its order's id and without, or without any id. One line is one fill: each is
    met once. What only looks like another fill, with an id of its own, is left as it is.

    - The fill's id is the same, and one of the two names no order: the same.
    - The fill's id, quantity and price are the same, the times within two seconds: the same, though the bot called
      the order otherwise than the exchange.
    - One of the two has no fill id; quantity and price are the same, and the time as exactly as the file tells it:
      the same.
    """
    if not account.applied or not entries:
        return set()
    by_id, by_content = _candidates(account, entries)
    met: set[int] = set()  # lines
    for at, lines in sorted(by_id.items()):
        line = _same(entries[at], [line for line in lines if line.seq not in met])
        if line is not None:
            met.add(line.seq)
            by_content.pop(at, None)
            entries[at] = _adopted(entries[at], line)
    known: set[int] = set()
    for at, lines in sorted(by_content.items()):
        free = [line for line in lines if line.seq not in met]
        if free and _is_one_place(free):
            met.add(free[0].seq)
            entries[at] = _adopted(entries[at], free[0])
            if free[0].fill_id is None:
                known.add(at)
    return known


_Candidates = dict[int, list[_Line]]


def _candidates(account: Account, entries: Sequence[FillEntry]) -> tuple[_Candidates, _Candidates]:
    """For each entry the lines with its fill's id, and those with its content where one of the two has no id."""
    ids: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    contents: dict[tuple[str, str, Decimal, Decimal], list[int]] = defaultdict(list)
    nameless: dict[tuple[str, str, Decimal, Decimal], list[int]] = defaultdict(list)  # those without a fill id
    for at, entry in enumerate(entries):
        name = market(entry.route.symbol)
        content = name, entry.route.side, entry.qty, entry.price
        contents[content].append(at)
        if entry.fill_id is not None:
            ids[name, entry.route.side, entry.fill_id].append(at)
        else:
            nameless[content].append(at)
    by_id: _Candidates = defaultdict(list)
    by_content: _Candidates = defaultdict(list)
    for line in _lines(account):
        name = market(line.symbol)
        for at in () if line.fill_id is None else ids.get((name, line.side, line.fill_id), ()):
            if _fits(entries[at], line):
                by_id[at].append(line)
        fitting = contents if _told_id(line) is None else nameless
        for at in fitting.get((name, line.side, line.qty, line.price), ()):
            if _fits(entries[at], line) and is_as_told(entries[at].ts, line.ts):
                by_content[at].append(line)
    return by_id, by_content


def _lines(account: Account) -> Iterator[_Line]:
    for seq, raw in account.ledger.lines():
        if b'"type":"fill"' not in raw:
            continue
        try:
            line = orjson.loads(raw)
            if line["type"] == "fill" and line.get("kind") != "hedger_sim":
                get = line.get
                yield _Line(
                    seq, line["ts"], line["symbol"], line["side"], Decimal(line["size"]), Decimal(line["price"]),
                    get("order_id"), get("fill_id"), get("account"), get("venue"),
                )  # fmt: skip
        except (ValueError, KeyError, TypeError, ArithmeticError):  # damaged: `verify` names it
            continue


def _told_id(line: _Line) -> str | None:
    """The id that somebody gave a fill; those that an import made up are none."""
    return None if line.fill_id is not None and line.fill_id.startswith("row-") else line.fill_id


def _fits(entry: FillEntry, line: _Line) -> bool:
    route = entry.route
    return route.venue in (None, line.venue) and route.account in (None, line.account)


def _same(entry: FillEntry, lines: list[_Line]) -> _Line | None:
    """The line with the same fill id that is the same fill."""
    place = entry.route.account, entry.route.venue
    equal = [line for line in lines if line.order_id == entry.order_id]
    exact = next((line for line in equal if (line.account, line.venue) == place), None)
    if exact is not None or not _is_one_place(equal or lines):
        return exact
    if equal:
        return equal[0]
    lines.sort(key=lambda line: not _alike(entry, line))
    return next((line for line in lines if None in (line.order_id, entry.order_id) or _alike(entry, line)), None)


def _is_one_place(lines: list[_Line]) -> bool:
    """Whether all are of one account and venue: else nobody can say which is meant."""
    return len({(line.account, line.venue) for line in lines}) <= 1


def _alike(entry: FillEntry, line: _Line) -> bool:
    near = abs(epoch_ns(entry.ts) - epoch_ns(line.ts)) <= _NEAR_NS
    return near and (entry.qty, entry.price) == (line.qty, line.price)


def _adopted(entry: FillEntry, line: _Line) -> FillEntry:
    route = entry.route.elsewhere(line.account, line.venue, line.symbol)
    return entry._replace(route=route, order_id=line.order_id, fill_id=line.fill_id)


def is_as_told(new: str, old: str) -> bool:
    """Whether `new` is the time `old`, told as exactly or less so: in whole seconds, or in milliseconds."""
    return new == old or (
        old[:19] == new[:19] and (new.endswith(".000000Z") or (new.endswith("000Z") and old[:23] == new[:23]))
    )
