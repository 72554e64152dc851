"""The facts around a trade from the streams of a data directory, of any process, while it writes or after.

Only archives of the trade's time are opened, and of their lines only those read in which a name stands that is looked
for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.clock import epoch_ns, rfc3339
from botobs.explaining.facts import OrderSaid, Quote, Seen, price, quote_of, real
from botobs.money.settled import revision_of
from botobs.streams.encode import dumps
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from botobs.explaining.facts import Fill

__all__ = ["Streams"]

_S: Final = 1_000_000_000
_SOON_S: Final = 900  # most orders were announced so long before their first fill
_KEPT_S: Final = 7 * 86_400  # and none is known for longer
_NEAR_S: Final = 5.0  # a book is of a decision if it was seen so shortly before
_TURN_S: Final = 600  # a signal of the same turn is not farther away
_MOST: Final = 8  # with more names than that, it is quicker to read every line
_RECENT: Final = 300  # records among which the trade is that was closed last

Record = dict[str, Any]


class Streams:
    """Reads them.

    Args:
        data_dir: Where the bot keeps its data.
    """

    why = "no record of it is left"
    no_prediction = "the order had no pred_bps, nor had its signal"

    def __init__(self, data_dir: Path) -> None:
        self._reader = StreamReader(data_dir)

    def orders(self, trade_id: str, fills: Sequence[Fill]) -> dict[int, OrderSaid]:  # noqa: ARG002 - fills name them
        """What was said of the order of each fill, by the fill's number."""
        named = {fill.order_id for fill in fills if fill.order_id is not None}
        told: dict[str, list[Record]] = {name: [] for name in named}
        if named:
            times = [epoch_ns(fill.received) for fill in fills]
            begin, end = min(times) - _SOON_S * _S, max(times) + _S
            self._announced(told, begin, end)
            missing = {name for name, records in told.items() if all(one["event"] != "order" for one in records)}
            if missing:
                older: dict[str, list[Record]] = {name: [] for name in missing}
                self._announced(older, begin - _KEPT_S * _S, begin)
                for name, records in older.items():
                    told[name] = records + told[name]
        return {fill.seq: _said(fill, told.get(fill.order_id or "", [])) for fill in fills}

    def _announced(self, told: dict[str, list[Record]], begin: int, end: int) -> None:
        for record in self._read("execution", begin, end, "order_id", told):
            if record.get("order_id") in told and record.get("event") in ("order", "sent", "fill"):
                told[record["order_id"]].append(record)

    def seen(self, orders: Sequence[OrderSaid], symbol: str, venue: str | None) -> dict[str, Seen]:
        """What was seen when those orders were decided, by the order's name."""
        by_name = {one.order_id: one for one in orders if one.order_id is not None and one.decided_ts is not None}
        if not by_name:
            return {}
        times = [epoch_ns(one.decided_ts) for one in by_name.values()]
        begin, end = min(times) - _S, max(times) + 60 * _S
        found: dict[str, Seen] = {}
        for record in self._read("decisions", begin, end, "order_id", by_name):
            name = record.get("order_id")
            # an order may have been announced again, and its name may have been another one's before
            if name in by_name and name not in found and str(record.get("ts")) >= str(by_name[name].decided_ts):
                found[name] = Seen(
                    quote=quote_of(record), features=_numbers(record.get("features")), regime=record.get("regime")
                )
        self._books(by_name, found, symbol, venue)
        return found

    def _books(self, by_name: Mapping[str, OrderSaid], found: dict[str, Seen], symbol: str, venue: str | None) -> None:
        """The order books seen at the decisions: those that name the order, else the last one shortly before."""
        moments = {name: epoch_ns(one.decided_ts) for name, one in by_name.items()}
        begin, end = min(moments.values()) - round(_NEAR_S * _S), max(moments.values()) + 60 * _S
        own: dict[str, Record] = {}
        near: dict[str, Record] = {}
        for record in self._read("order_book", begin, end, "symbol", [symbol]):
            if record.get("symbol") != symbol or (venue is not None and record.get("venue") not in (None, venue)):
                continue
            if record.get("order_id") in by_name:
                own[record["order_id"]] = record
                continue
            at = _ns(record.get("ts"))
            for name, moment in moments.items():
                if at is not None and 0 <= moment - at <= _NEAR_S * _S:
                    near[name] = record
        for name, one in by_name.items():
            book, known = own.get(name, {}), found.get(name, Seen())
            found[name] = attrs.evolve(
                known,
                quote=quote_of(book, one.decision_px) or known.quote or quote_of(near.get(name), one.decision_px),
                impact_bps=_number(book.get("impact_bps")),
            )

    def turns(self, orders: Sequence[OrderSaid], symbol: str) -> dict[str, list[Mapping[str, Any]]]:
        """The signals of the turns in which those orders were decided, by trace."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        times: list[int] = []
        for order in orders:
            if order.trace_id is not None and order.decided_ts is not None:
                found[order.trace_id] = []
                times.append(epoch_ns(order.decided_ts))
        if times:
            begin, end = min(times) - _TURN_S * _S, max(times) + _TURN_S * _S
            for record in self._read("signals", begin, end, "trace_id", found):
                if record.get("trace_id") in found and record.get("symbol") == symbol:
                    found[record["trace_id"]].append(record)
        return found

    def record(self, trade_id: str, since: str | None) -> Mapping[str, Any] | None:
        """The trade's record in its latest revision; `since`: it was not written before."""
        begin = None if since is None else epoch_ns(since) - _S
        found: Record | None = None
        for record in self._read("trade_lifecycle", begin, None, "trade_id", [trade_id]):
            if record.get("trade_id") == trade_id and (found is None or revision_of(record) >= revision_of(found)):
                found = record
        return None if found is None or found.get("undone") else found

    def names(self, beginning: str) -> Iterable[str]:
        """The closed trades whose name begins so."""
        known: dict[str, Record] = {}
        needle = b'"trade_id":' + dumps(beginning)[:-1]
        for record in self._reader.read("trade_lifecycle", having=(needle,)):
            name = record.get("trade_id")
            if isinstance(name, str) and name.startswith(beginning):
                known[name] = record
        return [name for name, record in known.items() if not record.get("undone")]

    def last(self) -> str | None:
        """The trade that was closed last."""
        known: dict[str, Record] = {}
        for record in self._reader.latest("trade_lifecycle", _RECENT):
            known[str(record.get("trade_id"))] = record
        closed = [record for record in known.values() if not record.get("undone")]
        newest = max(closed, key=lambda record: str(record.get("exit_ts")), default=None)
        return None if newest is None else str(newest["trade_id"])

    def _read(
        self, stream: str, begin: int | None, end: int | None, key: str, values: Collection[str]
    ) -> Iterator[Record]:
        few = len(values) <= _MOST
        having = [b'"%b":%b' % (key.encode(), dumps(value)) for value in values] if few else []
        start = None if begin is None else rfc3339(max(begin, 0))
        return self._reader.read(stream, start, None if end is None else rfc3339(max(end, 0)), having=having)


def _said(fill: Fill, records: Sequence[Record]) -> OrderSaid:
    """What had been said of its order by the time of a fill."""
    own = next((one for one in records if one["event"] == "fill" and one.get("seq") == fill.seq), None)
    moment = fill.received if own is None else own["ts"]
    before = [one for one in records if one["event"] != "fill" and one["ts"] <= moment]
    order = next((one for one in reversed(before) if one["event"] == "order"), None)
    if order is None:
        return OrderSaid(
            order_id=fill.order_id, found=own is not None and "decision_px" in own, trace_id=fill.trace_id,
            decision_px=None if own is None else price(own.get("decision_px")),
        )  # fmt: skip
    # a name may have been another run's before
    began = next(one for one in before if one["event"] == "order" and one.get("run_id") == order.get("run_id"))
    sent = next((one for one in reversed(before) if one["event"] == "sent" and one["ts"] >= began["ts"]), None)
    # the fill's own record knows which decision it was measured by, though the order was amended since
    decision = price((order if own is None else own).get("decision_px"))
    quote: Quote | None = quote_of(order.get("more"), decision)
    return OrderSaid(
        order_id=fill.order_id, decision_px=decision, sent_px=None if sent is None else price(sent.get("px")),
        decided_ts=began["ts"], sent_ts=None if sent is None else sent["ts"], pred_bps=real(order.get("pred_bps")),
        order_type=order.get("order_type"), strategy=order.get("strategy"), source=order.get("source"),
        reason=order.get("reason"), trace_id=order.get("trace_id") or fill.trace_id, bar_id=order.get("bar_id"),
        bid=None if quote is None else quote.bid, ask=None if quote is None else quote.ask,
    )  # fmt: skip


def _numbers(value: Any) -> dict[str, float] | None:
    if not isinstance(value, dict):
        return None
    return {str(name): age for name, said in value.items() if (age := _number(said)) is not None}


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _ns(value: Any) -> int | None:
    try:
        return epoch_ns(value)
    except (TypeError, ValueError, OverflowError):
        return None
