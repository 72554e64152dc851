"""The records of closed trades, made to agree with the ledger.

A trade is recorded when it closes. Where fills came into the ledger without the bot (an import), or the process ended
between the two, records are missing or say something else: here all trades are composed from the ledger, and what the
stream does not have, or has otherwise, is written as a new record or a new revision.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import orjson

from botobs.accounting.book import Book, Entry
from botobs.accounting.numbers import exact
from botobs.accounting.replay import entry_of, key_of
from botobs.clock import epoch_ns
from botobs.events import TradeClosed
from botobs.trackers.life import FillContext, Place
from botobs.trackers.trades import TradeTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.valuation import BookKey
    from botobs.money.room import Money

__all__ = ["Settled", "agree", "revised", "revision_of", "settle", "settle_trades", "undone"]

_MONEY = ("realized_pnl_usd", "fees_usd", "funding_usd", "entry_qty", "exit_qty")
_TIMES = ("entry_ts", "exit_ts")


@attrs.define
class Settled:
    """What was written.

    Attributes:
        added: Trades that had no record.
        revised: Trades whose record said something else.
        undone: Recorded trades that the ledger does not have any more.
        trades: Closed trades in the ledger.
    """

    added: int = 0
    revised: int = 0
    undone: int = 0
    trades: int = 0


class _Said(NamedTuple):
    """An entry, with what its line says beside it."""

    entry: Entry
    line: dict[str, Any]


def settle(
    money: Money,
    records: Iterable[Mapping[str, Any]],
    publish: Callable[[TradeClosed], object],
    *,
    judge: bool = True,
) -> Settled:
    """As `settle_trades`, and the tracker knows which trades are open, and the revisions of those that are closed."""

    def told(event: TradeClosed) -> None:
        publish(event)
        money.trades.recorded(event.trade_id, event.revision)

    done = settle_trades(money.account, records, told, judge=judge)
    money.desk.followed = money.account.applied
    money.trades.agree(
        {
            Place(key[2], key[1], key[0], key[3]): book.trade
            for key, book in money.account.books.items()
            if book.trade is not None and not key[4]
        }
    )
    return done


@exact
def settle_trades(
    account: Account,
    records: Iterable[Mapping[str, Any]],
    publish: Callable[[TradeClosed], object],
    *,
    judge: bool = True,
) -> Settled:
    """Publish what is missing in `records` (all of `trade_lifecycle`), or differs there from the ledger.

    Args:
        account: Whose ledger.
        records: Every record of a closed trade.
        publish: Takes the events.
        judge: Whether to revise and undo what is recorded; not where the ledger itself is damaged.
    """
    known = _latest(records)
    done, kept, seen = Settled(), set[str](), set[int]()
    for key, said in _by_book(account, seen).items():
        for event in _lived(account, key, said):
            done.trades += 1
            kept.add(event.trade_id)
            before = known.get(event.trade_id)
            if before is None:
                done.added += 1
                publish(event)
            elif judge and not agree(before, event.record):
                done.revised += 1
                publish(revised(event, before))
    for trade_id, before in known.items() if judge else ():
        # one whose opening line is lost is not judged: that is for `verify`
        if trade_id not in kept and not before.get("undone") and int(trade_id[1:]) in seen:
            done.undone += 1
            publish(undone(trade_id, before))
    return done


def revision_of(record: Mapping[str, Any]) -> int:
    """Which revision of its trade a record is; the highest one counts."""
    said = record.get("revision")
    return said if type(said) is int and said > 0 else 1


def _latest(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Each trade of the engine's in its latest revision; those told by hand are none of the ledger's."""
    found: dict[str, Mapping[str, Any]] = {}
    for record in records:
        name = record.get("trade_id")
        if isinstance(name, str) and name[:1] == "t" and name[1:].isascii() and name[1:].isdigit():
            before = found.get(name)
            if before is None or revision_of(record) > revision_of(before):
                found[name] = record
    return found


def _by_book(account: Account, seen: set[int]) -> dict[BookKey, list[_Said]]:
    books: dict[BookKey, list[_Said]] = defaultdict(list)
    paid: set[int] = set()  # what was accrued, and is paid
    for seq, raw in account.ledger.lines():
        try:
            line = orjson.loads(raw)
        except ValueError:  # `verify` names it
            continue
        seen.add(seq)
        paid.add(line.get("settles", 0))
        if line["type"] in ("fill", "funding", "position") and seq not in account.voided:
            key = key_of(line)
            if not key[4]:
                books[key].append(_Said(entry_of(line), line))
    for key, said in books.items():
        said = books[key] = [one for one in said if one.entry.seq not in paid]  # noqa: PLW2901 - without those
        said.sort(key=lambda one: Book.order(one.entry))
    return books


def _lived(account: Account, key: BookKey, said: list[_Said]) -> Iterator[TradeClosed]:
    """The trades of one position, closed one after the other."""
    book = Book(account.book(key).instrument, account.terms.cost_basis, key[3])
    tracker = TradeTracker(instruments=account.instruments, most_closed=1)
    place = Place(key[2], key[1], key[0], key[3])
    for entry, line in said:
        change = book.put(entry)
        if line["type"] == "fill":
            fill = FillContext(
                symbol=key[2], side=line["side"], qty=Decimal(line["size"]), price=entry.price or Decimal(0),
                ts=entry.ts, seq=entry.seq, fill_id=entry.fill_id, venue=key[1], account=key[0],
                position_side=key[3], strategy=line.get("strategy"), trace_id=line.get("trace_id"),
            )  # fmt: skip
            yield from (event for event in tracker.booked(fill, change) if isinstance(event, TradeClosed))
        elif line["type"] == "position" and book.trade is not None:
            tracker.adopt(place, book.trade)


def agree(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a record says of the money and the times what the ledger says."""
    if recorded.get("undone"):
        return False
    try:
        money = all(Decimal(str(recorded[name])) == found[name] for name in _MONEY)
    except (KeyError, ArithmeticError):
        return False
    return money and all(recorded.get(name) == found[name] for name in _TIMES)


def revised(event: TradeClosed, before: Mapping[str, Any]) -> TradeClosed:
    """The next revision; what only the bot knew (why, and what the prices did) is kept."""
    revision = revision_of(before) + 1
    record = {name: before.get(name) if value is None else value for name, value in event.record.items()}
    record["revision"] = revision
    if record.get("exit_reason") == "unknown" and before.get("exit_reason"):
        record["exit_reason"] = before["exit_reason"]
    return attrs.evolve(event, record=record, revision=revision)


def undone(trade_id: str, before: Mapping[str, Any]) -> TradeClosed:
    """The next revision of a trade that is none any more."""
    revision = revision_of(before) + 1
    record = {"trade_id": trade_id, "symbol": before.get("symbol"), "undone": True, "revision": revision}
    try:
        ended = epoch_ns(before.get("exit_ts") or before.get("ts"))
    except (ValueError, TypeError, OverflowError):
        ended = 0
    return TradeClosed(
        ts_ns=ended, symbol=before.get("symbol"), trade_id=trade_id, record=record, revision=revision,
        undone=True,
    )  # fmt: skip
