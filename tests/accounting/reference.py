"""What the numbers mean, written down as slowly and plainly as possible: exact fractions, everything played anew.

Nothing is shared with the engine but the meaning. Entries are reported in any order, voids too, even before what
they take back; whatever is asked, all that counts is sorted and played from the beginning.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from fractions import Fraction


@dataclasses.dataclass
class Market:
    multiplier: Fraction = Fraction(1)
    inverse: bool = False
    dust: Fraction = Fraction(0)

    def worth(self, qty, price):
        """Signed worth in the settlement currency, of fractions."""
        size = qty if self.multiplier == 1 else qty * self.multiplier
        return -size / price if self.inverse else size * price


@dataclasses.dataclass
class Trip:
    side: str
    opened_ts: str
    first_seq: int
    last_seq: int
    closed_ts: str | None = None
    entry_qty: Fraction = Fraction(0)
    entry_worth: Fraction = Fraction(0)
    exit_qty: Fraction = Fraction(0)
    exit_worth: Fraction = Fraction(0)
    gross: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    funding: Fraction = Fraction(0)
    fills: int = 0
    max_qty: Fraction = Fraction(0)

    @property
    def trade_id(self):
        return f"t{self.first_seq}"


@dataclasses.dataclass
class Played:
    """One book after everything."""

    market: Market
    inventory: Fraction = Fraction(0)
    basis: Fraction = Fraction(0)
    gross: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    funding: Fraction = Fraction(0)
    turn: Fraction = Fraction(0)
    volume: Fraction = Fraction(0)
    maker_volume: Fraction = Fraction(0)
    taker_volume: Fraction = Fraction(0)
    fills: int = 0
    unpriced: dict = dataclasses.field(default_factory=lambda: defaultdict(Fraction))
    last_price: Fraction | None = None
    loose_gross: Fraction = Fraction(0)
    loose_fees: Fraction = Fraction(0)
    loose_funding: Fraction = Fraction(0)
    lots: list = dataclasses.field(default_factory=list)  # [unsigned quantity, signed worth]
    trades: list = dataclasses.field(default_factory=list)  # closed
    trade: Trip | None = None
    per_entry: dict = dataclasses.field(default_factory=dict)  # seq -> what that entry did

    @property
    def cash_flow(self):
        return self.turn - self.fees

    @property
    def realized(self):
        return self.gross - self.fees + self.funding

    def unrealized(self, mark=None):
        if not self.inventory:
            return -self.basis
        return self.market.worth(self.inventory, self.last_price if mark is None else Fraction(mark)) - self.basis


@dataclasses.dataclass
class Totals:
    gross: Fraction
    fees: Fraction
    funding: Fraction
    realized: Fraction
    unrealized: Fraction
    total: Fraction
    cash_flow: Fraction
    volume: Fraction
    maker_volume: Fraction
    taker_volume: Fraction
    fills: int
    trades: list
    unpriced: dict
    transfers: Fraction
    equity: Fraction


class Reference:
    """Entries in, in any order; every question plays them all. `book` is whatever tells one book from another."""

    def __init__(self, cost_basis="average"):
        self.cost_basis = cost_basis
        self.markets = {}
        self.entries = []
        self.voided = set()
        self.transfers = []

    # --- what is reported ---

    def instrument(self, book, *, multiplier=1, inverse=False, dust=0):
        self.markets[book] = Market(Fraction(multiplier), inverse, Fraction(dust))

    def fill(self, book, ts, seq, fill_id, qty, price, fee=0, role=None, *, fee_kind="quote", fee_asset=None):
        """`qty` signed; `fee_kind` quote (value in the settlement currency), base (in the base), unpriced."""
        fill = {"qty": Fraction(qty), "price": Fraction(price), "fee": Fraction(fee), "role": role}
        self._add(book, ts, seq, fill_id, "fill", {**fill, "fee_kind": fee_kind, "fee_asset": fee_asset})

    def fund(self, book, ts, seq, amount):
        self._add(book, ts, seq, None, "funding", {"amount": Fraction(amount)})

    def hold(self, book, ts, seq, qty, avg_px):
        self._add(book, ts, seq, None, "position", {"qty": Fraction(qty), "price": Fraction(avg_px)})

    def void(self, seq):
        """Takes back the entry `seq`, be it there already or still to come."""
        self.voided.add(seq)

    def transfer(self, ts, amount):
        self.transfers.append((ts, Fraction(amount)))

    def _add(self, book, ts, seq, fill_id, kind, told):
        self.entries.append({"book": book, "ts": ts, "seq": seq, "fill_id": fill_id, "kind": kind, **told})

    # --- what is asked ---

    def in_order(self, book):
        found = [entry for entry in self.entries if entry["book"] == book and entry["seq"] not in self.voided]
        return sorted(found, key=order)

    def book(self, book):
        played = Played(self.markets.get(book, Market()))
        for entry in self.in_order(book):
            {"fill": self._fill, "funding": self._funding, "position": self._position}[entry["kind"]](played, entry)
        return played

    def books(self):
        return {book: self.book(book) for book in {entry["book"]: None for entry in self.entries}}

    def totals(self, marks=(), *, books=None, starting_equity=0):
        """Sums over `books` (default all) with `marks` {book: price}, the last fill price where there is none."""
        marks = dict(marks)
        played = {key: value for key, value in self.books().items() if books is None or key in books}

        def total(name):
            return sum((getattr(one, name) for one in played.values()), Fraction(0))

        unrealized = sum((one.unrealized(marks.get(key)) for key, one in played.items()), Fraction(0))
        unpriced = defaultdict(Fraction)
        for one in played.values():
            for asset, amount in one.unpriced.items():
                unpriced[asset] += amount
        transfers = sum((amount for _, amount in self.transfers), Fraction(0))
        return Totals(
            gross=total("gross"),
            fees=total("fees"),
            funding=total("funding"),
            realized=total("realized"),
            unrealized=unrealized,
            total=total("realized") + unrealized,
            cash_flow=total("cash_flow"),
            volume=total("volume"),
            maker_volume=total("maker_volume"),
            taker_volume=total("taker_volume"),
            fills=sum(one.fills for one in played.values()),
            trades=[trip for one in played.values() for trip in one.trades],
            unpriced=dict(unpriced),
            transfers=transfers,
            equity=Fraction(starting_equity) + total("realized") + unrealized + transfers,
        )

    # --- how it is played ---

    def _fill(self, played, entry):
        market, qty, price, fee = played.market, entry["qty"], entry["price"], entry["fee"]
        size = abs(market.worth(qty, price))
        net, value = qty, fee
        if entry["fee_kind"] == "base" and not market.inverse:
            net, value = qty - fee / market.multiplier, fee * price
        if entry["fee_kind"] == "unpriced":
            value = Fraction(0)
            played.unpriced[entry["fee_asset"]] += fee
        played.volume += size
        played.maker_volume += size if entry["role"] == "maker" else 0
        played.taker_volume += size if entry["role"] == "taker" else 0
        played.fills += 1
        played.last_price = price
        self._move(played, entry, net, price, value, fills=1)

    def _funding(self, played, entry):
        played.funding += entry["amount"]
        if played.trade is None:
            played.loose_funding += entry["amount"]
        else:
            played.trade.funding += entry["amount"]

    def _position(self, played, entry):
        self._move(played, entry, entry["qty"], entry["price"], Fraction(0), fills=0)

    def _move(self, played, entry, net, price, fee, *, fills):
        market, held = played.market, played.inventory
        closing = min(abs(net), abs(held)) if net * held < 0 else Fraction(0)
        opening = abs(net) - closing
        sign = 1 if net > 0 else -1
        after = held + net

        # which trades it touches: one ends at most, one begins at most
        had = played.trade
        ends = had is not None and closing > 0 and (opening > 0 or abs(after) <= market.dust)
        begins = opening > 0 and abs(after) > market.dust and (had is None or ends)
        new = None
        if begins:
            side = "long" if after > 0 else "short"
            new = Trip(side, entry["ts"], entry["seq"], entry["seq"])

        # the closed part
        gross = Fraction(0)
        if closing:
            worth = market.worth(sign * closing, price)
            gross = -worth - self._release(played, closing)
            played.gross += gross
            if had is None:
                played.loose_gross += gross
            else:
                had.gross += gross
                had.exit_qty += closing
                had.exit_worth += abs(worth)
        # the opened part
        if opening:
            worth = market.worth(sign * opening, price)
            played.lots.append([opening, worth])
            if self.cost_basis == "average":
                played.lots = [[sum(lot[0] for lot in played.lots), sum(lot[1] for lot in played.lots)]]
            into = new if begins else had if not ends else None
            if into is not None:
                into.entry_qty += opening
                into.entry_worth += abs(worth)

        # the fee, in proportion where there are two trades
        played.fees += fee
        if ends and begins:
            had.fees += fee * closing / abs(net)
            new.fees += fee * opening / abs(net)
        elif had is not None:
            had.fees += fee
        elif begins:
            new.fees += fee
        else:
            played.loose_fees += fee

        paid = market.worth(net, price)
        played.turn -= paid
        played.inventory = after
        played.basis = sum((lot[1] for lot in played.lots), Fraction(0))
        for trip in {id(trip): trip for trip in (had, new) if trip is not None}.values():
            trip.fills += fills
            trip.last_seq = entry["seq"]
        if ends:
            had.closed_ts = entry["ts"]
            played.trades.append(had)
        played.trade = new if begins else None if ends else had
        if played.trade is not None:
            played.trade.max_qty = max(played.trade.max_qty, abs(after))
        played.per_entry[entry["seq"]] = {
            "quote_delta": -paid,
            "inventory": after,
            "gross": gross,
            "fees": fee,
            "closed_qty": closing,
        }

    def _release(self, played, qty):
        """Takes `qty` from the front of the lots; what it was worth."""
        released = Fraction(0)
        while qty:
            lot = played.lots[0]
            part = min(qty, lot[0])
            share = lot[1] * part / lot[0]
            released += share
            lot[0] -= part
            lot[1] -= share
            qty -= part
            if not lot[0]:
                played.lots.pop(0)
        return released


def order(entry):
    """By time; then entries without an identifier, then numbers as numbers, then the rest as text; then as numbered."""
    fill_id = entry["fill_id"]
    if fill_id is None:
        rank = (0, 0, "")
    elif fill_id.isascii() and fill_id.isdigit():
        rank = (1, int(fill_id), fill_id)
    else:
        rank = (2, 0, fill_id)
    return entry["ts"], rank, entry["seq"]


def near(engine, plain, scale=0):
    """Whether the engine's decimal is the fraction, but for the 34 digits of a division; `scale`: what was summed."""
    if engine is None or plain is None:
        return engine is plain
    return abs(Fraction(engine) - plain) <= Fraction(1, 10**24) * max(
        abs(plain), abs(Fraction(scale)), Fraction(1, 10**6)
    )
