"""A real observer and the plain reference beside it: whatever is reported goes to both, and both have to agree."""

from __future__ import annotations

import decimal
import time
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import attrs

import botobs
from botobs.accounting.numbers import EXACT
from botobs.accounting.opened import open_account
from botobs.testing import Clock
from tests.accounting.reference import Reference, near, order
from tests.money.copied import copy_of

START = Decimal(10_000)
NOW = "2026-01-10T12:00:00Z"
#: symbol -> what the bot tells of it, and what it settles in
MARKETS = {
    "BTCUSDT": (None, "USDT"),
    "DOGE/USDT": ({"dust": "0.5"}, "USDT"),
    "ESZ5": ({"multiplier": 50, "quote": "USD"}, "USD"),
    "XBTUSD": ({"inverse": True, "base": "XBT", "quote": "USD", "multiplier": 10}, "XBT"),
}
BASES = {"BTCUSDT": "BTC", "DOGE/USDT": "DOGE", "ESZ5": "ESZ5", "XBTUSD": "XBT"}
LIKE_USD = {"USDT": "USD", "USD": "USD", "USDC": "USD"}


def exactly(fn):
    """Run with exact arithmetic, for whoever adds the figures of totals."""
    with decimal.localcontext(EXACT):
        return fn()


def running(data_dir, clock, **settings):
    obs = botobs.start(
        "bot",
        data_dir=data_dir,
        clock=clock,
        **{"durability": "os", "strict": True, "starting_equity": START, **settings},
    )
    for symbol, (told, _) in MARKETS.items():
        if told is not None:
            obs.instrument(symbol, **told)
    return obs


class World:
    """Both, and everything that was said so far."""

    def __init__(self, folder, **settings):
        self.folder, self.settings, self.runs = folder, settings, 0
        self.clock = Clock(NOW)
        self.reference = Reference(settings.get("cost_basis", "average"))
        self.said = {}  # identity -> (content, seq)
        self.fills = {}  # seq -> the line as far as voids ask for it
        self.waiting = []
        self.voided = set()
        self.missing = set()  # seqs of fills without a fee
        self.marks = {}
        self.held = {}
        self.fundings = {}
        self.data_dir = folder / "0"
        self.obs = running(self.data_dir, self.clock, **settings)
        self.peak = START

    # --- what happens

    def instrument_of(self, book):
        told = MARKETS[book[2]][0] or {}
        self.reference.instrument(
            book,
            multiplier=told.get("multiplier", 1),
            inverse=told.get("inverse", False),
            dust=Fraction(told.get("dust", 0)),
        )

    def fee_value(self, symbol, fee, asset, price):
        """What kind of fee it is, what the reference wants to know of it, and its value."""
        settles = MARKETS[symbol][1]
        if fee is None:
            return "quote", Fraction(0)
        fee = Fraction(Decimal(fee))
        if asset is None or asset == settles:
            return "quote", fee
        if asset == BASES[symbol]:
            return "base", fee
        if LIKE_USD.get(asset, asset) == LIKE_USD.get(settles, settles):
            return "quote", fee
        rate = self.marks.get("BNBUSDT") if asset == "BNB" and settles in LIKE_USD else None
        if asset == "BTC" and settles in LIKE_USD:
            rate = self.marks.get("BTCUSDT")
        return ("unpriced", fee) if rate is None else ("quote", fee * Fraction(rate))

    def fill(self, symbol, side, qty, price, *, ts=None, fee=None, asset=None, fill_id=None, order_id=None, role=None,
             account=None, venue=None, position_side=None, kind="live"):  # fmt: skip
        seq = len(self.obs.ledger) + 1
        report = self.obs.fill(
            order_id, symbol=symbol, side=side, qty=qty, price=price, ts=ts, fee=fee, fee_asset=asset, fill_id=fill_id,
            role=role, account=account, venue=venue, position_side=position_side, kind=kind,
        )  # fmt: skip
        identity = (venue, account, symbol, order_id, fill_id, side)
        content = (Decimal(qty), Decimal(price), None if fee is None else Decimal(fee), asset, ts)
        if fill_id is not None and identity in self.said:
            known, _ = self.said[identity]
            same = all(
                a == b or (i > 1 and None in (a, b)) for i, (a, b) in enumerate(zip(known, content, strict=True))
            )
            if known[2] is None or content[2] is None:  # without a fee nothing is said of its asset either
                same = known[:2] == content[:2] and (known[4] == content[4] or None in (known[4], content[4]))
            assert report.duplicate is same and report.conflict is not same and not report.booked, (
                known,
                content,
                report,
            )
            assert len(self.obs.ledger) == seq - 1
            return report
        assert report.durable, report
        book = (account, venue, symbol, position_side, kind == "hedger_sim")
        self.instrument_of(book)
        where, value = self.fee_value(symbol, fee, asset, price)
        signed = Fraction(Decimal(qty)) * (1 if side == "buy" else -1)
        at = self.stamp(ts)
        self.reference.fill(
            book, at, seq, fill_id, signed, Fraction(Decimal(price)), value, role, fee_kind=where, fee_asset=asset
        )
        if fill_id is not None:
            self.said[identity] = (content, seq)
        self.fills[seq] = {"fill_id": fill_id, "order_id": order_id, "symbol": symbol, "account": account, "book": book}
        if fee is None:
            self.missing.add(seq)
        void = next((one for one in self.waiting if means(one, self.fills[seq])), None)
        if void is not None:
            self.waiting.remove(void)
            self.take_back(seq)
            assert not report.booked and report.reason and not report.duplicate, report
            return report
        assert report.booked, report
        played = self.reference.book(book)
        did = played.per_entry[seq]
        assert near(report.position, did["inventory"], did["inventory"]), (report, did)
        assert near(report.gross_pnl, did["gross"], abs(did["gross"]) + abs(signed) * 1000), (report, did)
        newest = max((self.reference.in_order(book)), key=order)
        assert report.late is (newest["seq"] != seq), (report, newest)
        return report

    def void(self, fill_id, *, order_id=None, symbol=None, account=None):
        asked = {"fill_id": fill_id, "order_id": order_id, "symbol": symbol, "account": account}
        before = len(self.obs.ledger)
        report = self.obs.void(fill_id, "busted", order_id=order_id, symbol=symbol, account=account)
        found = [seq for seq, fill in self.fills.items() if means(asked, fill)]
        left = [seq for seq in found if seq not in self.voided]
        if left and len(found) > 1:
            assert not report.booked and not report.duplicate and "ambiguous" in report.reason, report
        elif found and not left:
            assert report.duplicate and not report.booked, report
        elif not found and asked in self.waiting:
            assert report.duplicate and not report.booked, report
        else:
            assert report.booked and report.durable, report
            if left:
                self.take_back(left[0])
            else:
                self.waiting.append(asked)
            return report
        assert len(self.obs.ledger) == before
        return report

    def take_back(self, seq):
        self.voided.add(seq)
        self.missing.discard(seq)
        self.reference.void(seq)

    def funding(self, symbol, amount, *, ts=None, funding_id=None, account=None, venue=None, position_side=None):
        report = self.obs.funding(
            symbol, amount, ts=ts, funding_id=funding_id, account=account, venue=venue, position_side=position_side
        )
        identity = (account, symbol, funding_id or ts) if funding_id or ts else None
        if identity in self.fundings:
            same = self.fundings[identity] == Decimal(amount)
            assert report.duplicate is same and report.conflict is not same and not report.booked, report
            return report
        assert report.booked and report.durable, report
        line = self.obs.ledger.latest(1)[0]
        book = (line.get("account"), line.get("venue"), symbol, line.get("position_side"), False)
        self.instrument_of(book)
        self.reference.fund(book, self.stamp(ts), line["seq"], Fraction(Decimal(amount)))
        if identity is not None:
            self.fundings[identity] = Decimal(amount)
        return report

    def position(self, symbol, qty, price, *, account=None, venue=None, position_side=None, ts=None):
        book = (account, venue, symbol, position_side, False)
        report = self.obs.position(symbol, qty, price, account=account, venue=venue, position_side=position_side, ts=ts)
        if book in self.held:
            same = self.held[book] == (Decimal(qty), Decimal(price))
            assert report.duplicate is same and not report.booked, report
        elif self.reference.book(book).fills:
            assert not report.booked and not report.duplicate and report.reason
        else:
            assert report.booked and report.durable
            self.held[book] = (Decimal(qty), Decimal(price))
            self.instrument_of(book)
            self.reference.hold(
                book, self.stamp(ts), len(self.obs.ledger), Fraction(Decimal(qty)), Fraction(Decimal(price))
            )
        return report

    def transfer(self, amount):
        assert self.obs.transfer(amount).booked
        self.reference.transfer(self.stamp(None), Fraction(Decimal(amount)))

    def mark(self, symbol, price):
        self.obs.mark(symbol, price)
        self.marks[symbol] = Decimal(price)

    def stamp(self, ts):
        return ts if ts is not None else self.clock_text()

    def clock_text(self):
        from botobs.clock import rfc3339

        return rfc3339(self.clock.time_ns())

    # --- ends and beginnings

    def restart(self):
        assert self.obs.shutdown(10).delivered
        self.obs = running(self.data_dir, self.clock, **self.settings)

    def crash(self, damage=None):
        """Start again on what is on disk at this moment."""
        self.runs += 1
        after = self.folder / str(self.runs)
        copy_of(self.data_dir, after)
        self.obs.shutdown(10)
        if damage is not None:
            damage(after / "state")
        self.data_dir = after
        self.obs = running(after, self.clock, **self.settings)
        for symbol, price in self.marks.items():  # prices come again
            self.obs.mark(symbol, price)

    def end(self):
        self.obs.shutdown(10)

    # --- what has to be true

    def mark_of(self, key):
        """The mark, else the price of the symbol's last fill there, whosever it was."""
        if key[2] in self.marks:
            return self.marks[key[2]]
        fills = [
            entry
            for entry in self.reference.entries
            if entry["kind"] == "fill" and entry["seq"] not in self.voided
            and entry["book"][1:3] == key[1:3] and not entry["book"][4]
        ]  # fmt: skip
        return max(fills, key=order)["price"] if fills else None

    def check(self, obs=None, windows=()):
        obs = obs or self.obs
        found = obs.totals()
        books = {key: book for key, book in self.reference.books().items() if not key[4]}
        self.check_currencies(found, books)
        assert found.transfers == sum(
            (Decimal(str(a.numerator)) / a.denominator for _, a in self.reference.transfers), Decimal(0)
        )
        counted = len({seq for seq in self.missing if not self.fills[seq]["book"][4]})
        assert ("fees" in found.reasons) is (counted > 0), (found.reasons, counted)
        if counted:
            assert found.reasons["fees"].startswith(f"{counted} "), (found.reasons, counted)
        inventory = defaultdict(Fraction)
        for key, book in books.items():
            inventory[key[2]] += book.inventory
        shown = {symbol: qty for symbol, qty in inventory.items() if qty}
        assert set(shown) == set(found.inventory)
        assert all(near(found.inventory[symbol], qty, qty) for symbol, qty in shown.items())
        unpriced = defaultdict(Fraction)
        for book in books.values():
            for asset, amount in book.unpriced.items():
                unpriced[asset] += amount
        assert {k: Fraction(v) for k, v in found.unpriced_fees.items() if v} == {k: v for k, v in unpriced.items() if v}
        assert found.realized_pnl == exactly(lambda: found.gross_pnl - found.fees + found.funding)
        assert found.total_pnl == exactly(lambda: found.realized_pnl + found.unrealized_pnl)
        if obs is self.obs or hasattr(obs, "positions"):
            self.check_positions(obs, books)
            self.check_identity(obs, found, books)
        for since in windows:
            self.check_window(obs, since)
        return found

    def sums(self, keys, marks=None, books=None):
        played = self.reference.books() if books is None else books
        flows = defaultdict(Fraction)
        for key in keys:
            book = played[key]
            for name in (
                "gross",
                "fees",
                "funding",
                "realized",
                "cash_flow",
                "volume",
                "maker_volume",
                "taker_volume",
                "fills",
            ):
                flows[name] += getattr(book, name)
            if book.inventory:
                mark = self.mark_of(key)
                flows["unrealized"] += 0 if mark is None else book.unrealized(Fraction(mark))
        return flows

    def check_currencies(self, found, books):
        by = defaultdict(list)
        for key in books:
            by[MARKETS[key[2]][1]].append(key)
        scale = 10**9
        for currency, keys in by.items():
            want = self.sums(keys, books=books)
            if not any(want.values()):
                continue
            got = found.by_currency[currency]
            for name, key in (("gross", "gross_pnl"), ("fees", "fees"), ("funding", "funding"), ("realized", "realized_pnl"),
                              ("unrealized", "unrealized_pnl"), ("cash_flow", "cash_flow"), ("volume", "volume"),
                              ("maker_volume", "maker_volume"), ("taker_volume", "taker_volume"), ("fills", "fills")):  # fmt: skip
                assert near(got[key], want[name], scale), (currency, key, got[key], float(want[name]))

    def check_positions(self, obs, books):
        positions = {(p.account, p.venue, p.symbol, p.position_side): p for p in obs.positions}
        assert set(positions) == {key[:4] for key, book in books.items() if book.inventory}
        for key, book in books.items():
            if book.inventory:
                shown = positions[key[:4]]
                assert near(shown.qty, book.inventory, book.inventory)
                if book.trade is not None and shown.trade_id is not None:
                    assert shown.trade_id == book.trade.trade_id

    def check_identity(self, obs, found, books):
        """total = cash + funding + what is held at its mark, exactly, in every currency."""

        def held():
            worth = defaultdict(Decimal)
            for p in obs.positions:
                assert p.value is not None
                worth[p.currency] += p.value
            return worth

        worth = exactly(held)
        for currency, got in found.by_currency.items():
            total = exactly(lambda got=got, currency=currency: got["cash_flow"] + got["funding"] + worth[currency])
            if currency == "XBT":  # a position's value is rounded once to 34 digits
                assert abs(total - got["total_pnl"]) < Decimal("1e-25")
            assert total == got["total_pnl"], (currency, total, got["total_pnl"])
        groups = {LIKE_USD.get(currency, currency) for currency in found.by_currency}
        if len(groups) <= 1:
            total = exactly(lambda: sum((one["total_pnl"] for one in found.by_currency.values()), Decimal(0)))
            assert found.total_pnl == total
        elif "XBTUSD" in self.marks:
            rate = self.marks["XBTUSD"]
            total = exactly(
                lambda: sum(
                    (
                        one["total_pnl"] * (rate if currency == "XBT" else 1)
                        for currency, one in found.by_currency.items()
                    ),
                    Decimal(0),
                )
            )
            assert found.total_pnl == total
        else:
            assert "by_currency.XBT" in found.reasons
        assert found.equity == exactly(lambda: START + found.transfers + found.total_pnl)
        assert obs.equity == found.equity

    def check_window(self, obs, since):
        got = obs.totals(since)
        keys = [key for key in self.reference.books() if not key[4]]
        now = self.sums(keys)
        past = Reference(self.reference.cost_basis)
        past.markets, past.voided = self.reference.markets, self.reference.voided
        past.entries = [entry for entry in self.reference.entries if entry["ts"] < since]
        then = self.sums([key for key in past.books() if not key[4]], books=past.books())
        assert got.fills == now["fills"] - then["fills"], (since, got.fills, now["fills"], then["fills"])
        if (
            len({LIKE_USD[MARKETS[key[2]][1]] for key in keys if MARKETS[key[2]][1] in LIKE_USD})
            == 1
            == len({LIKE_USD.get(MARKETS[key[2]][1]) for key in keys})
        ):
            for name, key in (("gross", "gross_pnl"), ("fees", "fees"), ("funding", "funding"), ("cash_flow", "cash_flow"),
                              ("volume", "volume"), ("taker_volume", "taker_volume")):  # fmt: skip
                assert near(getattr(got, key), now[name] - then[name], 10**9), (since, key)

    def check_opened(self):
        """Whoever looks from outside sees the same."""
        self.obs.flush(5)
        self.obs._money.save(last=True)
        here, there = self.obs.totals(), open_account(self.data_dir, wall=self.clock.time_ns).totals()
        for name in (field.name for field in attrs.fields(type(here))):
            assert getattr(here, name) == getattr(there, name), (name, getattr(here, name), getattr(there, name))

    def check_ledger(self):
        assert self.obs.ledger.verify().ok, str(self.obs.ledger.verify())
        assert not self.obs.faults.errors


def means(asked, fill):
    return fill["fill_id"] == asked["fill_id"] and all(
        asked[name] is None or asked[name] == fill[name] for name in ("order_id", "symbol", "account")
    )


def until(condition, seconds=30.0):
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
