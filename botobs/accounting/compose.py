"""The books from the ledger: all of it, or what came after a checkpoint."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book, TooOld
from botobs.accounting.instruments import instrument_of
from botobs.accounting.lines import content_of, identity_of, known_as
from botobs.accounting.numbers import ZERO, exact
from botobs.accounting.replay import entries_of, entry_of, key_of
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.valuation import BookKey

__all__ = ["compose"]


@exact
def compose(account: Account) -> int:
    """Bring the account up to the end of its ledger; how many lines that took."""
    with account.lock:
        composer = _Composer(account)
        count = composer.run()
        composer.finish()
        return count


class _Composer:
    """Applies lines in the order in which they were written."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._broken: set[BookKey] = set()  # books in which something came too late: lived again at the end
        self._hour = ""
        self._lived: Mapping[str, Any] | None = None  # the last line that knows the equity

    def run(self) -> int:
        account, count = self._account, 0
        loads, apply, snapshots = orjson.loads, self._apply, account.snapshots
        boundary = snapshots.boundary
        for seq, raw in account.ledger.lines(account.applied + 1):
            line = loads(raw)
            if "ts" in line and line["ts"] >= boundary:
                boundary = snapshots.pass_over(line["ts"], seq - 1, account.books)
            apply(line, seq)
            count += 1
            account.applied = seq
        return count

    def finish(self) -> None:
        account = self._account
        for key in self._broken:
            old = account.book(key)
            account.books[key] = Book.rebuilt(
                old.instrument, old.cost_basis, entries_of(account, key), position_side=key[3]
            )
            account.snapshots.touched.add(key)
        account.valuation.rebuild(account.books)
        if self._lived is not None:
            self._live(self._lived)

    def _apply(self, line: Mapping[str, Any], seq: int) -> None:
        account = self._account
        kind = line["type"]
        if kind == "fill":
            self._fill(line, seq)
        elif kind == "void":
            self._void(line, seq)
        elif kind == "transfer":
            account.transfers += Decimal(line["value"])
            account.curve.transfer(epoch_ns(line["received"]), Decimal(line["value"]))
        elif kind in ("funding", "position"):
            self._remember(line, seq, kind)
            self._put(line)
        if "equity" in line:
            hour = line["received"][:13]
            if hour != self._hour:  # the curve at the turn of each hour: what statistics are made of
                if self._lived is not None:
                    self._live(self._lived)
                self._live(line)
                self._hour = hour
            self._lived = line

    def _fill(self, line: Mapping[str, Any], seq: int) -> None:
        account = self._account
        get = line.get
        if "fill_id" in line:
            account.index.add(identity_of(line), content_of(line), seq)
        if "instrument" in line:
            self._learn(line)
        if "fee" not in line:
            account.fees_missing += 1
        if "voided_by" in line:
            account.voided[seq] = line["voided_by"]
            account.waiting = [void for void in account.waiting if void["seq"] != line["voided_by"]]
            return
        key = (get("account"), get("venue"), line["symbol"], get("position_side"), get("kind") == "hedger_sim")
        if key in self._broken:
            return
        book = account.books.get(key)
        if book is None:
            book = account.book(key)
        fee = get("fee_value") or get("fee")
        where = get("fee_in")
        qty = Decimal(line["size"])
        try:
            if where is None:
                book.fill(
                    line["ts"], seq, get("fill_id"), qty if line["side"] == "buy" else -qty, Decimal(line["price"]),
                    ZERO if fee is None else Decimal(fee), get("role"),
                )  # fmt: skip
            else:
                book.put(entry_of(line))
        except TooOld:
            self._broken.add(key)
        account.snapshots.touched.add(key)

    def _put(self, line: Mapping[str, Any]) -> None:
        if "instrument" in line:
            self._learn(line)
        key = key_of(line)
        if key not in self._broken:
            try:
                self._account.book(key).put(entry_of(line))
            except TooOld:
                self._broken.add(key)
        self._account.snapshots.touched.add(key)

    def _void(self, line: Mapping[str, Any], seq: int) -> None:
        account = self._account
        if "voids" not in line:
            account.waiting.append(dict(line))
            return
        account.voided[line["voids"]] = seq
        key = key_of(line)
        if key not in self._broken:
            try:
                account.book(key).remove(line["voids"])
            except (TooOld, KeyError):
                self._broken.add(key)
        account.snapshots.touched.add(key)

    def _remember(self, line: Mapping[str, Any], seq: int, kind: str) -> None:
        known = known_as(line, kind)
        if known is not None:
            self._account.index.add(*known, seq)

    def _learn(self, line: Mapping[str, Any]) -> None:
        told = {"symbol": line["symbol"], **line["instrument"]}
        self._account.instruments.tell(line.get("venue"), instrument_of(told))

    def _live(self, line: Mapping[str, Any]) -> None:
        """What the account was worth when this line was written, and the peak it had seen by then."""
        moment, equity, peak = epoch_ns(line["received"]), Decimal(line["equity"]), Decimal(line["peak"])
        curve = self._account.curve
        if peak > curve.peak:
            curve.feed(moment, peak)
        curve.feed(moment, equity)
