"""The account: every fill, void, funding payment and transfer goes through here, once, in one order.

One lock, the ledger's: whoever books decides, changes the books and appends the line under it. What comes out of a
run, of a cold composition and of a restart is the same because all of them end in the same `Book`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.accruing import Accruing
from botobs.accounting.book import Entry
from botobs.accounting.booking import Booking, Terms, alone
from botobs.accounting.entries import stamp
from botobs.accounting.lines import is_meant, position_known_as, some
from botobs.accounting.numbers import text
from botobs.accounting.replay import key_of
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["Account", "Booking", "Terms"]


class Account(Accruing):
    """The books of one bot; what it is made of is told by `Books`."""

    # -- voids -------------------------------------------------------------------------------------------------------

    @alone
    def void(
        self,
        fill_id: str,
        reason: str,
        *,
        order_id: str | None,
        symbol: str | None,
        account: str | None,
        known: tuple[int, list[dict[str, Any]]] = (0, []),
    ) -> Booking:
        """Remove a fill as if it had never been; one that has not come yet is waited for.

        `known` is what `fills_called` found before the lock was taken: reading it all would hold up fills.
        """
        asked = {"fill_id": fill_id, "order_id": order_id, "symbol": symbol, "account": account}
        lines = [*known[1], *self.fills_called(fill_id, known[0] + 1)[1]]
        found = [line for line in lines if is_meant(line, asked)]
        left = [line for line in found if line["seq"] not in self.voided]
        if left and len(found) > 1:  # be it that one of them was taken back already: which one is meant now?
            named = "; ".join(
                ", ".join(f"{name}={line[name]}" for name in ("symbol", "order_id", "account", "venue", "side")
                          if line.get(name))
                for line in found[:10]
            )  # fmt: skip
            return Booking(reason=f"fill_id {fill_id!r} is ambiguous, {len(found)} fills have it: {named}")
        if found and not left:
            return Booking(seq=self.voided[found[0]["seq"]], duplicate=True)
        if not found and any(all(void.get(k) == v for k, v in asked.items()) for void in self.waiting):
            return Booking(duplicate=True)
        now = stamp(self.wall())
        fields = {"type": "void", "ts": left[0]["ts"] if left else now, "received": now, **self._head, **asked}
        fields["reason"] = reason
        change = book = None
        if left:
            line = left[0]
            fields.update({name: line.get(name) for name in ("order_id", "symbol", "account", "venue", "side")})
            fields.update({name: line.get(name) for name in ("position_side", "kind")})
            fields["voids"] = line["seq"]
            key = key_of(line)
            change = self.remove(key, line["seq"], line["ts"])
            book = self.books[key]
            self.voided[line["seq"]] = self.ledger.next_seq
        fields = {name: value for name, value in fields.items() if value is not None}
        seq = self.ledger.next_seq
        if not left:
            self.waiting.append({**fields, "seq": seq})
        ticket = self._add(fields, None, None)
        return Booking(
            seq=seq,
            ticket=ticket,
            change=change,
            book=book,
            waiting=not left,
            line=fields,
            removed=left[0] if left else None,
            trade=None if book is None else book.trade,
        )

    def fills_called(self, fill_id: str, since_seq: int = 1) -> tuple[int, list[dict[str, Any]]]:
        """Every fill with that id, and up to which line; from the ledger: a void is rare, an index of all ids large."""
        needle, last, found = b'"fill_id":' + dumps(fill_id), since_seq - 1, list[dict[str, Any]]()
        for last, raw in self.ledger.lines(since_seq):  # noqa: B007 - the last one is wanted
            if needle in raw and b'"type":"fill"' in raw:
                with contextlib.suppress(ValueError):
                    found.append(orjson.loads(raw))
        return last, found

    # -- what was held before, transfers -----------------------------------------------------------------------------

    @alone
    def hold(
        self,
        symbol: str,
        qty: Decimal,
        avg_px: Decimal,
        *,
        ts: str | None = None,
        account: str | None = None,
        venue: str | None = None,
        position_side: str | None = None,
    ) -> Booking:
        """Take over what was held before botobs came: once per position, before its first fill."""
        key = (account, venue, symbol, position_side, False)
        book, received = self.book(key), stamp(self.wall())
        line = some({
            "type": "position", "ts": ts or received, "received": received, **self._head, "symbol": symbol,
            "qty": text(qty), "avg_px": text(avg_px), "account": account, "venue": venue,
            "position_side": position_side,
        })  # fmt: skip
        known, crc = position_known_as(line)
        before = self.index.get(known)
        if before is not None and before[0] == crc:
            return Booking(seq=before[1], duplicate=True)
        if before is not None or book.fills:
            return Booking(reason=f"the position in {symbol} is known already: {text(book.inventory)}")
        seq = self.ledger.next_seq
        change = self.put(key, Entry(ts or received, seq, None, "position", qty, avg_px))
        line.update(quote_delta=text(change.quote_delta), inventory=text(change.inventory))
        if change.trade_id is not None:
            line["trade_id"] = change.trade_id
        book = self.books[key]
        self.index.add(known, crc, seq)
        ticket = self._add(line, key, book)
        return Booking(seq=seq, ticket=ticket, change=change, book=book, line=line, trade=book.trade)

    @alone
    def transfer(self, amount: Decimal, *, currency: str | None = None, ts: str | None = None) -> Booking:
        """Money moved in (positive) or out: no profit, no drawdown."""
        rate = self.marks.rate(currency or self.terms.currency, self.terms.currency)
        if rate is None:
            return Booking(reason=f"nobody said what {currency} is worth in {self.terms.currency}")
        received, seq = stamp(self.wall()), self.ledger.next_seq
        line = {
            "type": "transfer", "ts": ts or received, "received": received, **self._head, "amount": text(amount),
            "currency": currency, "value": text(amount * rate),
        }  # fmt: skip
        self._moved(ts or received, amount * rate)
        ticket = self._add(some(line), None, None)
        return Booking(seq=seq, ticket=ticket, line=line)

    def _moved(self, ts: str, value: Decimal) -> None:
        self.transfers += value
        self.moves.append((ts, value))
        self.curve.transfer(self.wall(), value)
