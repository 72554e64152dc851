"""Funding: what was paid, and what is due and not reported yet.

At a funding time an entry of the kind `accrued` is booked. It says the rate and the mark; what it comes to follows from
what the book holds at that place in the order of time, so that a fill which comes late, or is taken back, changes it as
if it had come in order. The payment that is reported later takes the entry's place: one line of the ledger does both,
and no moment has both or neither.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from botobs.accounting.book import FIRST, Book, Entry
from botobs.accounting.booking import Booking, alone
from botobs.accounting.entries import stamp
from botobs.accounting.filling import Filling
from botobs.accounting.lines import DUE, PAID, due_key, is_elsewhere, payment_known_as, some
from botobs.accounting.numbers import ZERO, exact, text
from botobs.accounting.replay import life_since
from botobs.accounting.trade import Accrual
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.valuation import BookKey

__all__ = ["Accruing", "Near", "accrual_of", "funding_id_of"]

_S = 1_000_000_000
_MOST_NS = 4 * 3_600 * _S
_EARLY_NS = 900 * _S
_USUAL_NS = 8 * 3_600 * _S


@attrs.frozen(kw_only=True)
class Near:
    """How far from a funding time a payment may be told and still be the one for it.

    Attributes:
        every_ns: How long it is from one funding time to the next; `None`: only one is known so far.
        times: The funding times around now, those to come too (RFC 3339).
    """

    every_ns: int | None = None
    times: tuple[str, ...] = ()

    def fits(self, due: str, paid: str) -> int | None:
        """How far a payment of `paid` is from the funding time `due`; `None`: it is for another one.

        It may be told much later, but only a little earlier: as far as clocks are apart.
        """
        apart = epoch_ns(paid) - epoch_ns(due)
        most = _MOST_NS if self.every_ns is None else min(self.every_ns // 2, _MOST_NS)
        return abs(apart) if -min(most, _EARLY_NS) <= apart <= most else None


_NEAR = Near()
_Said: TypeAlias = "tuple[str | None, str | None, str, str | None]"  # account, venue, symbol, side


def funding_id_of(symbol: str, ts: str) -> str:
    """How the funding of one funding time is called until it is paid."""
    return f"accrued:{symbol}:{ts}"


class Accruing(Filling):
    """Books that take funding."""

    @alone
    def accrue(self, key: BookKey, ts: str, rate: Decimal, mark: Decimal) -> Booking:
        """Book what is due at the funding time `ts`: once for each position, and nothing where nothing was held."""
        known = self._dealt(key, ts)
        if known is not None:
            return Booking(seq=known, duplicate=True)
        seq = self.ledger.next_seq
        entry = Entry(ts, seq, FIRST, "accrued", rate, mark)
        held = self._before(key, entry).inventory
        if not held:
            return Booking()
        before = self.book(key).accrued
        change = self.put(key, entry)
        book = self.books[key]
        amount = book.accrued - before
        line = some({
            "type": "funding", "ts": ts, "received": stamp(self.wall()), **self._head, "symbol": key[2],
            "amount": text(amount), "accrued": True, "rate": text(rate), "at_px": text(mark), "qty": text(held),
            "funding_id": funding_id_of(key[2], ts), "account": key[0], "venue": key[1], "position_side": key[3],
            "inventory": text(change.inventory), "trade_id": change.trade_id, "late": change.late or None,
        })  # fmt: skip
        self.index.add(due_key(key, ts), DUE, seq)
        ticket = self._add(line, key, book)
        accrual = Accrual(seq, ts, held, rate, mark, amount, change.trade_id)
        return Booking(
            seq=seq, ticket=ticket, change=change, book=book, line=line, trade=book.trade, accrual=accrual, key=key
        )

    def held_at(self, symbol: str, ts: str) -> dict[BookKey, Decimal]:
        """The positions in `symbol` that were held at a moment, before anything of that time."""
        found: dict[BookKey, Decimal] = {}
        entry = Entry(ts, 0, FIRST, "accrued", ZERO)
        with self.lock:
            for key in [key for key in self.books if key[2] == symbol and not key[4]]:
                held = exact(self._before)(key, entry).inventory
                if held:
                    found[key] = held
        return found

    @alone
    def fund(
        self,
        symbol: str,
        amount: Decimal,
        *,
        ts: str | None,
        rate: Any = None,
        funding_id: str | None = None,
        account: str | None = None,
        venue: str | None = None,
        position_side: str | None = None,
        trace_id: str | None = None,
        near: Near = _NEAR,
    ) -> Booking:
        """Book a funding payment: negative is paid.

        It takes the place of what was accrued for the same funding time. Where that was accrued for several positions
        (in hedge mode, or because the payment does not say whose it is), each has what was accrued for it, and the
        largest one the difference; the answer's `also` are the others.

        Args:
            symbol: For what.
            amount: How much.
            ts: When; `None`: nobody said.
            rate: At what rate.
            funding_id: The exchange's id.
            account: Whose; `None`: not said, as with the others.
            venue: Where.
            position_side: Of which side.
            trace_id: The trace it was reported in.
            near: What is known of the funding times of `symbol`.
        """
        received = stamp(self.wall())
        line = some({
            "type": "funding", "ts": ts or received, "received": received, **self._head, "symbol": symbol,
            "amount": text(amount), "rate": rate, "funding_id": funding_id,
            "timed": True if ts is not None else None, "trace_id": trace_id, "of_account": account,
            "of_venue": venue, "of_side": position_side,
        })  # fmt: skip
        known = payment_known_as(line)
        before = self._reported(line, known)
        if before is not None:
            if before[0] == known[0][1]:
                return Booking(seq=before[1], duplicate=True)
            earlier = self.ledger.find(before[1]) or {}
            old = earlier.get("whole", earlier.get("amount"))
            return Booking(
                seq=before[1], conflict=True, differs={"amount": (old, text(amount))},
                reason=f"conflict: amount {old} is booked, {text(amount)} was reported",
            )  # fmt: skip
        owed = self._owed((account, venue, symbol, position_side), amount, ts, received, near)
        booking = (
            self._settled(line, amount, owed)
            if owed
            else self._paid(line, amount, self._resolved(account, venue, symbol, position_side), near)
        )
        assert booking.seq is not None
        for one in known:
            self.index.add(*one, booking.seq)
        return booking

    def _reported(self, line: Mapping[str, Any], known: tuple[tuple[bytes, int], ...]) -> tuple[int, int] | None:
        """Checksum and number of the line that has this payment already."""
        for key, _ in known:
            found = self.index.get(key)
            if found is not None and not is_elsewhere(line, self.ledger.find(found[1]) or {}):
                return found
        return None

    def _paid(self, line: dict[str, Any], amount: Decimal, key: BookKey, near: Near) -> Booking:
        """Nothing was accrued that this could be the payment for."""
        seq, ts = self.ledger.next_seq, line["ts"]
        fits = [(apart, due) for due in near.times if (apart := near.fits(due, ts)) is not None]
        change = self.put(key, Entry(ts, seq, None, "funding", amount))
        book = self.books[key]
        due = min(fits)[1] if fits else None  # when our clock gets there, or the fill comes, it is paid already
        line = _of_book(line, key) | some({
            "pays": due, "inventory": text(change.inventory), "trade_id": change.trade_id, "late": change.late or None,
        })  # fmt: skip
        if due is not None:
            self.index.add(due_key(key, due), PAID, seq)
        ticket = self._add(line, key, book)
        return Booking(seq=seq, ticket=ticket, change=change, book=book, line=line, trade=book.trade, key=key)

    def _settled(self, line: dict[str, Any], amount: Decimal, owed: list[tuple[BookKey, Accrual]]) -> Booking:
        """Put the payment in the place of what was accrued; one line for each position."""
        shares = [accrual.amount for _, accrual in owed]
        shares[0] += amount - sum(shares, ZERO)
        done: list[Booking] = []
        for (key, accrual), share in zip(owed, shares, strict=True):
            seq = self.ledger.next_seq
            was = self.books[key].accrued
            change = self.swapped(key, accrual.seq, Entry(accrual.ts, seq, FIRST, "funding", share))
            book = self.books[key]
            own = _of_book(line, key)
            if done:  # it has no identity of its own
                own = {name: value for name, value in own.items() if name not in ("funding_id", "timed")}
            own |= some({
                "ts": accrual.ts, "amount": text(share), "settles": accrual.seq,
                "reverses": (self.ledger.find(accrual.seq) or {}).get("amount"), "qty": text(accrual.qty),
                "at_px": text(accrual.mark), "paid_ts": line["ts"] if line["ts"] != accrual.ts else None,
                "whole": text(amount) if len(owed) > 1 and not done else None,
                "part_of": done[0].seq if done else None, "inventory": text(change.inventory),
                "trade_id": change.trade_id, "late": change.late or None,
            })  # fmt: skip
            accrual = accrual._replace(amount=was - book.accrued)  # noqa: PLW2901 - of one that the book had forgotten
            ticket = self._add(own, key, book)
            done.append(
                Booking(
                    seq=seq, ticket=ticket, change=change, book=book, line=own, trade=book.trade, accrual=accrual,
                    key=key,
                )
            )  # fmt: skip
        return done[0]._replace(also=tuple(done[1:]))

    # -- which ones it is for ----------------------------------------------------------------------------------------

    def _owed(
        self, said: _Said, amount: Decimal, ts: str | None, now: str, near: Near
    ) -> list[tuple[BookKey, Accrual]]:
        """What a payment settles: all of one funding time and one account, the largest first."""
        account, venue, symbol, side = said
        keys = [
            key for key in self.books
            if key[2] == symbol and not key[4] and all(
                told is None or own is None or told == own
                for told, own in ((account, key[0]), (venue, key[1]), (side, key[3]))
            )
        ]  # fmt: skip
        found = [(key, accrual) for key in keys for accrual in self.books[key].accruals.values()]
        near_ones: list[tuple[int, str]] = []
        for due in {accrual.ts for _, accrual in found}:
            if ts is not None:
                apart = near.fits(due, ts)
            else:  # the last one, if that is not too long ago
                age = epoch_ns(now) - epoch_ns(due)
                apart = age if age <= (near.every_ns or _USUAL_NS) else None
            if apart is not None:
                near_ones.append((apart, due))
        if not near_ones:
            return [] if ts is None else self._forgotten(keys, ts, near)
        due = min(near_ones)[1]
        of: dict[tuple[str | None, str | None], list[tuple[BookKey, Accrual]]] = defaultdict(list)
        for key, accrual in found:
            if accrual.ts == due:
                of[key[0], key[1]].append((key, accrual))

        def unlike(place: tuple[str | None, str | None]) -> tuple[Any, ...]:
            """How far a place is from what was said; where that leaves several, the amount tells."""
            own = [one for one in of[place] if one[0][3] == side] or of[place]
            vague = sum(told is not None and known is None for told, known in zip((account, venue), place, strict=True))
            apart = abs(sum((one[1].amount for one in own), ZERO) - amount)
            return vague, place != (account, venue), apart, own[0][1].seq

        chosen = of[min(of, key=unlike)]
        exactly = [one for one in chosen if side is not None and one[0][3] == side]
        return sorted(exactly or chosen, key=lambda one: (-abs(one[1].amount), one[1].seq))

    def _forgotten(self, keys: list[BookKey], ts: str, near: Near) -> list[tuple[BookKey, Accrual]]:
        """The same of what is so long ago that only the ledger has it."""
        lost = [key for key in keys if self.books[key].forgotten]
        if not lost:
            return []
        at = epoch_ns(ts)
        found: dict[int, tuple[BookKey, Accrual]] = {}
        for line in self.ledger.between(max(at - _MOST_NS, 0), at + _MOST_NS + 1):
            found.pop(line.get("settles", 0), None)
            if "accrued" in line:
                key = (line.get("account"), line.get("venue"), line["symbol"], line.get("position_side"), False)
                if key in lost and near.fits(line["ts"], ts) is not None:
                    found[line["seq"]] = key, accrual_of(line)
        if not found:
            return []
        nearest = min(found.values(), key=lambda one: near.fits(one[1].ts, ts) or 0)
        return [nearest]

    def _dealt(self, key: BookKey, ts: str) -> int | None:
        """The line in which the funding of a position at `ts` is; `None`: there is none.

        A payment that came before may have said less of whose it is than the position does.
        """
        own = self.index.get(due_key(key, ts))
        if own is not None:
            return own[1]
        for account, venue, side in product({key[0], None}, {key[1], None}, {key[3], None}):
            found = self.index.get(due_key((account, venue, key[2], side, False), ts))
            if found is not None and found[0] == PAID:
                return found[1]
        return None

    # -- as it was ---------------------------------------------------------------------------------------------------

    def _before(self, key: BookKey, entry: Entry) -> Book:
        """A book as it was before `entry`, to look at."""
        found = self.book(key).before(entry)
        return self._lived_before(key, entry) if found is None else found

    def _lived_before(self, key: BookKey, entry: Entry) -> Book:
        book, entries = life_since(self, key, entry.ts)
        mark = Book.order(entry)
        for known in entries:
            if Book.order(known) < mark:
                book.put(known)
        return book

    @exact
    def lots_before(self, key: BookKey, entry: Entry) -> list[tuple[Decimal, Decimal | None, int | None]]:
        """What a position was made of before `entry`: quantity, price, and the line that opened it.

        With average cost it is one lot: the position at its average price.
        """
        with self.lock:
            book = self.book(key).before(entry)
        if book is None:  # the past is read without the lock: a fill must not wait for it
            book = self._lived_before(key, entry)
        if book.cost_basis == "fifo":
            return [(qty, price, seq or None) for qty, _, price, seq in book.lots]
        return [(book.inventory, book.avg_price, None)] if book.inventory else []


def _of_book(line: Mapping[str, Any], key: BookKey) -> dict[str, Any]:
    return {**line, **some({"account": key[0], "venue": key[1], "position_side": key[3]})}


def accrual_of(line: Mapping[str, Any]) -> Accrual:
    """What a line says was accrued, as it was then."""
    return Accrual(
        line["seq"], line["ts"], Decimal(line["qty"]), Decimal(line["rate"]), Decimal(line["at_px"]),
        Decimal(line["amount"]), line.get("trade_id"),
    )  # fmt: skip
