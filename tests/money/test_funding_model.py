"""Funding against a plain reference: rates, crossings, late fills, voids, payments early, late, twice or never."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import attrs
import pytest

import botobs
from botobs.accounting.opened import open_account
from botobs.clock import epoch_ns, rfc3339
from botobs.testing import Clock
from tests.accounting.reference import Reference
from tests.money.copied import copy_of
from tests.money.world import exactly

LIVES = int(os.environ.get("SOAK_LIVES", "3"))
FIRST = int(os.environ.get("SOAK_SEED", "0"))
LINEAR, COIN = "BTCUSDT", "XBTUSD"
HOUR = 3_600 * 10**9
D = Decimal


def funded(obs):
    """What the records of costs say; flushed before."""
    path = obs.data_dir / "logs/costs.jsonl"
    found = Counter()
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        record = json.loads(line)
        if record["funding_cost_usd"] is None:
            continue
        cost = D(record["funding_cost_usd"])
        found[record["symbol"]] += cost
        if record["lots"]:
            assert exactly(lambda record=record: sum(D(lot["cost"]) for lot in record["lots"])) == cost
            assert exactly(lambda record=record: sum(D(lot["qty"]) for lot in record["lots"])) == D(record["qty"])
    return {symbol: cost for symbol, cost in found.items() if cost}


class Life:
    """One symbol's life, told to a bot and to a list."""

    def __init__(self, folder, seed, symbol):
        self.folder, self.dice, self.symbol, self.runs = folder, random.Random(seed), symbol, 0
        self.settings = {"cost_basis": ("average", "fifo")[seed % 2], "durability": "os", "strict": True}
        self.clock = Clock("2026-01-10T06:00:00Z")
        self.next = epoch_ns("2026-01-10T07:00:00Z")
        self.rate = self.mark = None
        self.fills, self.gone = {}, set()  # seq -> what was told; those taken back
        self.crossed, self.paid, self.said = {}, {}, []  # time -> rate and mark; time -> amounts
        self.lines = {}  # time -> where the payment stands in the order of time
        self.log = []
        self.data_dir = folder / "0"
        self.obs = self.run()
        self.tell_mark()

    def run(self):
        obs = botobs.start("bot", data_dir=self.data_dir, clock=self.clock, starting_equity=10_000, **self.settings)
        if self.symbol == COIN:
            obs.instrument(COIN, inverse=True, base="XBT", quote="USD", multiplier=10)
        if self.mark is not None:
            obs.mark(self.symbol, self.mark)
        return obs

    @property
    def now(self):
        return self.clock.time_ns()

    # --- what happens

    def step(self):
        what = self.dice.choices(
            ("fill", "late", "void", "tell_mark", "tell_rate", "wait", "pay", "twice", "restart", "crash"),
            (20, 10, 5, 6, 8, 25, 16, 4, 1, 2),
        )[0]
        getattr(self, what)()
        self.log.append((what, rfc3339(self.now)))
        self.check()

    def book(self, ts):
        seq = len(self.obs.ledger) + 1
        side, qty = self.dice.choice(["buy", "sell"]), self.dice.choice(["1", "2", "0.5", "3"])
        price = self.dice.choice(["100", "101.5", "99"])
        report = self.obs.fill(
            symbol=self.symbol, side=side, qty=qty, price=price, fee="0.1", ts=rfc3339(ts), fill_id=f"f{seq}"
        )
        assert report.booked, report
        found = [seq for seq in range(seq, len(self.obs.ledger) + 1) if self.obs.ledger.find(seq)["type"] == "fill"]
        self.fills[found[0]] = (rfc3339(ts), f"f{seq}", D(qty) * (1 if side == "buy" else -1), D(price))

    def fill(self):
        self.book(self.now)

    def late(self):
        if self.fills:
            self.book(self.now - self.dice.randrange(1, 4 * 3_600) * 10**9)

    def void(self):
        left = sorted(self.fills.keys() - self.gone)
        if left:
            seq = self.dice.choice(left)
            assert self.obs.void(self.fills[seq][1], "busted").booked
            self.gone.add(seq)

    def tell_mark(self):
        self.mark = self.dice.choice(["100", "104", "97.25"])
        self.obs.mark(self.symbol, self.mark)

    def tell_rate(self):
        self.cross()
        self.rate = self.dice.choice(["0.0001", "-0.0003", "0.00025"])
        self.obs.funding_rate(self.symbol, self.rate, rfc3339(self.next))

    def wait(self):
        if self.rate is None:
            self.tell_rate()
        self.clock.advance(self.dice.choice([1, 600, 1_800, 3_000]))
        self.cross()

    def cross(self):
        while self.next <= self.now:
            if self.rate is not None:
                self.crossed[rfc3339(self.next)] = (D(self.rate), D(self.mark))
            self.rate = None
            self.next += HOUR
        self.obs.totals()  # it looks at the clock

    def pay(self):
        """The exchange pays for the last time, or, its clock being ahead of ours, for the next one."""
        early = self.next - self.now <= 5 * 10**9
        due = self.next if early else self.next - HOUR
        ts = rfc3339(due)
        if ts in self.paid:
            return
        seq = len(self.obs.ledger) + 1
        amount = self.dice.choice(["-0.01", "0.02", "0", "-0.035"])
        how = self.dice.choice([{"ts": ts}, {"ts": rfc3339(due + 3 * 10**9)}, {"ts": ts, "funding_id": f"p{seq}"}])
        assert self.obs.funding(self.symbol, amount, **how).booked
        self.paid[ts] = D(amount)
        line = next(line for line in reversed(self.obs.ledger.latest(5)) if line["type"] == "funding")
        self.lines[ts] = (ts, 0) if "settles" in line else (line["ts"], line["seq"])
        self.said.append((amount, how))

    def twice(self):
        if self.said:
            amount, how = self.dice.choice(self.said)
            assert self.obs.funding(self.symbol, amount, **how).duplicate
            assert self.obs.funding(self.symbol, str(D(amount) + 1), **how).conflict

    def restart(self):
        assert self.obs.shutdown(10).delivered
        if self.dice.random() < 0.5:  # what comes due meanwhile
            self.clock.advance(self.dice.choice([600, 1_500]))
        self.obs = self.run()
        self.cross()

    def crash(self):
        """What is on disk at this moment, be it flushed or not."""
        if self.dice.random() < 0.5:
            self.obs.flush(5)
        else:
            self.obs._money.funding.save(at_once=True)  # a second has passed
        self.runs += 1
        after = self.folder / str(self.runs)
        copy_of(self.data_dir, after)
        self.obs.shutdown(10)
        self.data_dir = after
        self.obs = self.run()

    # --- what has to be true

    def held_at(self, ts):
        return sum((qty for seq, (at, _, qty, _) in self.fills.items() if seq not in self.gone and at < ts), D(0))

    def due(self):
        """Time -> amount: paid, or as it follows from what was held."""
        found = dict(self.paid)
        for ts, (rate, mark) in self.crossed.items():
            if ts not in self.paid:
                held = self.held_at(ts)
                worth = Fraction(held) * 10 / Fraction(mark) if self.symbol == COIN else Fraction(held) * Fraction(mark)
                found[ts] = -worth * Fraction(rate)
        return found

    def check(self):
        obs = self.obs
        obs._money.funding.chore()
        obs.flush(5)
        obs._money.funding.chore()
        obs.flush(5)
        totals, due = obs.totals(), self.due()
        waiting = {ts: amount for ts, amount in due.items() if ts not in self.paid}
        near = Fraction(1, 10**30)
        assert abs(Fraction(totals.funding) - sum(map(Fraction, due.values()))) <= near, (totals.funding, due)
        assert abs(Fraction(totals.accrued_funding) - sum(waiting.values())) <= near
        shown = {one.ts: one for one in obs.accrued}
        assert {ts for ts, amount in waiting.items() if amount} <= set(shown) <= set(waiting)
        for ts, one in shown.items():
            assert one.qty == self.held_at(ts) and abs(Fraction(one.amount) - waiting[ts]) <= near
        assert ("funding" in totals.reasons) is bool(shown)
        assert totals.realized_pnl == exactly(lambda: totals.gross_pnl - totals.fees + totals.funding)
        assert totals.equity == exactly(lambda: 10_000 + totals.total_pnl)
        assert exactly(lambda: sum(funded(obs).values(), D(0)) + totals.funding) == 0
        self.check_trades(due)

    def check_trades(self, due):
        reference, key = Reference(self.settings["cost_basis"]), "book"
        reference.instrument(key, inverse=self.symbol == COIN, multiplier=10 if self.symbol == COIN else 1)
        for seq, (ts, fill_id, qty, price) in self.fills.items():
            if seq not in self.gone:
                reference.fill(key, ts, seq, fill_id, qty, price)
        for ts, amount in due.items():
            reference.fund(key, *self.lines.get(ts, (ts, 0)), Fraction(amount))
        played = reference.book(key)
        records = {record["trade_id"]: record for record in self.obs.trades.closed(10_000)}
        wanted = {trip.trade_id: trip.funding for trip in played.trades}
        assert set(records) == set(wanted)
        for trade_id, funding in wanted.items():
            assert abs(Fraction(records[trade_id]["funding_usd"]) - funding) <= Fraction(1, 10**30)

    def end(self):
        obs = self.obs
        assert obs.ledger.verify().ok
        assert not obs.faults.errors
        obs._money.save(last=True)
        there = open_account(self.data_dir, wall=self.clock.time_ns).totals()
        here = obs.totals()
        for field in attrs.fields(type(here)):
            assert getattr(here, field.name) == getattr(there, field.name), field.name
        for since in ("2026-01-10T08:00:00Z", "2026-01-10T10:30:00Z"):
            funding = obs.totals(since).funding
            wanted = sum(Fraction(amount) for ts, amount in self.due().items() if ts >= rfc3339(epoch_ns(since)))
            assert abs(Fraction(funding) - wanted) <= Fraction(1, 10**30)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + LIVES))
def test_funding_is_what_was_held_at_its_time(tmp_path, seed):
    life = Life(tmp_path, seed, COIN if seed % 3 == 2 else LINEAR)
    try:
        for _ in range(30):
            life.step()
        life.end()
    except BaseException:
        print(f"seed {seed}:", *life.log, sep="\n  ")
        raise
    finally:
        life.obs.shutdown(10)
