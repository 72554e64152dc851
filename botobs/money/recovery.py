"""After a crash: fills that reached the ledger, and trades that did not hear of them.

The ledger is written before a verb returns; the record of a trade follows a moment later. A process that ends in
between leaves trades without a record, or with one that is out of date. At the next start the trades are told what the
ledger has beyond what they know, and what the stream of records lacks is written.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.numbers import exact
from botobs.accounting.replay import key_of
from botobs.events import TradeClosed
from botobs.money.settled import agree, revised, revision_of, undone
from botobs.trackers.life import FillContext, Place
from botobs.trackers.slippage import slipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.checkpoint import Restored
    from botobs.accounting.compose import Played
    from botobs.accounting.valuation import BookKey
    from botobs.events import Event
    from botobs.trackers.orders import Orders
    from botobs.trackers.trades import TradeTracker

__all__ = ["catch_up"]

_RECORDS_BACK = 6_000


@exact
def catch_up(  # noqa: PLR0917 - each is another part of the room
    account: Account,
    restored: Restored,
    trades: TradeTracker,
    orders: Orders,
    history: Any,
    publish: Callable[[Event], object],
) -> None:
    """Tell the trades what they do not know, and publish the records that are missing.

    Args:
        account: Composed to the end of its ledger.
        restored: What its composition found.
        trades: As the checkpoint had them.
        orders: The orders of the earlier run.
        history: Reads records.
        publish: Takes what is missing.
    """
    events = list(_told(account, restored, trades, orders))
    last = {event.trade_id: event for event in events if isinstance(event, TradeClosed)}
    if not last and not restored.composed.last:
        return
    try:
        known = _recorded(history, last.keys())
    except OSError:  # it is in the log; a record that begins at the first revision again would contradict those there
        return
    for trade_id, event in last.items():
        before = known.get(trade_id)
        if event.undone:
            if before is not None and not before.get("undone"):
                known[trade_id] = _published(undone(trade_id, before), publish)
        elif before is None:
            publish(event)
        elif not agree(before, event.record):
            known[trade_id] = _published(revised(event, before), publish)
    for trade_id, record in known.items():
        if trade_id in last or revision_of(record) > 1:
            trades.recorded(trade_id, revision_of(record))


def _recorded(history: Any, wanted: KeysView[str]) -> dict[str, Mapping[str, Any]]:
    """Each trade in its highest revision: the latest ones, and those of `wanted` however old they are."""
    records = history.latest("trade_lifecycle", _RECORDS_BACK)
    known = _highest(records)
    if len(records) >= _RECORDS_BACK and (older := wanted - known.keys()):
        known |= _highest(history.read("trade_lifecycle", having=[b'"%s"' % one.encode() for one in older]))
    return known


def _highest(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for record in records:
        name = record.get("trade_id")
        if isinstance(name, str) and revision_of(record) >= revision_of(found.get(name, {})):
            found[name] = record
    return found


def _published(event: TradeClosed, publish: Callable[[Event], object]) -> Mapping[str, Any]:
    publish(event)
    return event.record


def _told(account: Account, restored: Restored, trades: TradeTracker, orders: Orders) -> Iterable[Event]:
    since = restored.since
    compared: set[BookKey] = set()
    if since is not None:
        # what the books of the checkpoint had, and its trades had not heard of yet
        followed = min(restored.extra.get("followed") or 0, since)
        compared = restored.composed.relived | _moved(account, followed, since)
        for key in compared:
            if not key[4]:
                change = account.compared(key, followed)
                yield from trades.changed(_place(key), change, account.books[key].trade)
    for played in restored.composed.last:
        if played[0] not in compared and not played[0][4]:
            yield from _followed(account, played, trades, orders)


def _moved(account: Account, since: int, until: int) -> set[BookKey]:
    """The positions that lines after `since` up to `until` moved."""
    found: set[BookKey] = set()
    for _, raw in account.ledger.lines(since + 1, until) if since < until else ():
        with contextlib.suppress(ValueError, KeyError):
            line = orjson.loads(raw)
            if line["type"] in ("fill", "funding") or "voids" in line:
                found.add(key_of(line))
    return found & account.books.keys()


def _followed(account: Account, played: Played, trades: TradeTracker, orders: Orders) -> Iterable[Event]:
    key, line, change, trade = played
    kind = line["type"]
    if kind == "void":
        return trades.voided(_place(key), line["voids"], change, trade, ts=line["ts"])
    if kind == "funding":
        return trades.changed(_place(key), change, trade, ts=line["ts"])
    if kind == "position":
        if trade is not None:
            trades.adopt(_place(key), trade)
        return []
    order = orders.get(line.get("order_id"))
    qty, price, slip = Decimal(line["size"]), Decimal(line["price"]), None
    if order is not None:
        slip = slipped(order, account.book(key).instrument, price, qty, line["side"])
    context = FillContext(
        symbol=key[2], side=line["side"], qty=qty, price=price, ts=line["ts"], seq=line["seq"],
        fill_id=line.get("fill_id"), venue=key[1], account=key[0], position_side=key[3],
        strategy=line.get("strategy"), slippage_bps=None if slip is None else slip[0], trace_id=line.get("trace_id"),
    )  # fmt: skip
    return trades.booked(context, change, order, trade)


def _place(key: BookKey) -> Place:
    return Place(key[2], key[1], key[0], key[3])
