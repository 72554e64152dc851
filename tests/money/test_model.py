"""The whole money path against the plain reference: whatever is reported, in any order, over restarts and crashes."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.money.world import MARKETS, World

EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", "15"))
TIMES = [f"2026-01-10T{hour:02d}:{minute:02d}:00.000000Z" for hour in (3, 7, 10, 11) for minute in (0, 20, 59)]
times = st.one_of(st.none(), st.sampled_from(TIMES))
sizes = st.sampled_from(["1", "2", "3", "0.5", "0.1", "7", "0.00000001", "1e3"])
prices = st.sampled_from(["100", "101.5", "99", "0.07", "33333.333", "250"])
fees = st.sampled_from([(None, None), ("0.1", None), ("-0.05", None), ("0.01", "base"), ("0.002", "BNB"), ("1", "USDC"), ("0.3", "XYZ")])
symbols = st.sampled_from(list(MARKETS))
ids = st.sampled_from([None, "1", "2", "10", "9", "a", "b", "é", "x1", "x2", "x3", "77", "78"])
places = st.sampled_from([(None, None, None), (None, None, None), ("main", "binance", None), (None, None, "long"), (None, None, "short")])
BASE = {"BTCUSDT": "BTC", "DOGE/USDT": "DOGE", "ESZ5": None, "XBTUSD": "XBT"}


def drop_all(state):
    for path in state.iterdir():
        if path.name != "ledger.head" and path.is_file():
            path.unlink()


def spoil(name):
    def damage(state):
        path = state / name
        if path.exists():
            data = bytearray(path.read_bytes())
            if data:
                data[len(data) // 2] ^= 0x15
                path.write_bytes(bytes(data[: max(len(data) - 3, 1)]))

    return damage


DAMAGES = [None, drop_all, *(spoil(name) for name in ("account.json", "live.json", "fills.index", "books.jsonl"))]


class Life(RuleBasedStateMachine):
    """A bot's life."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="botobs-model-"))
        self.world = None

    @initialize(basis=st.sampled_from(["average", "fifo"]))
    def begin(self, basis):
        self.world = World(self.folder, cost_basis=basis)
        for symbol in ("BTCUSDT", "XBTUSD"):
            self.world.mark(symbol, "100")

    @rule(symbol=symbols, side=st.sampled_from(["buy", "sell"]), qty=sizes, price=prices, ts=times, fee=fees, fill_id=ids,
          order_id=st.sampled_from([None, "o1"]), role=st.sampled_from([None, "maker", "taker"]), place=places,
          kind=st.sampled_from(["live", "live", "live", "hedger_sim", "import"]))  # fmt: skip
    def fill(self, symbol, side, qty, price, ts, fee, fill_id, order_id, role, place, kind):
        amount, asset = fee
        if asset == "base":
            asset = BASE[symbol]
        account, venue, position_side = place
        self.world.fill(
            symbol, side, qty, price, ts=ts, fee=amount, asset=asset, fill_id=fill_id, order_id=order_id, role=role,
            account=account, venue=venue, position_side=position_side, kind=kind,
        )  # fmt: skip

    @rule(fill_id=ids.filter(bool), symbol=st.one_of(st.none(), symbols), order_id=st.sampled_from([None, None, "o1"]))
    def void(self, fill_id, symbol, order_id):
        self.world.void(fill_id, symbol=symbol, order_id=order_id)

    @rule(symbol=symbols, amount=st.sampled_from(["-1.5", "2", "0.25"]), ts=times,
          funding_id=st.sampled_from([None, None, "f1", "f2"]), place=places)  # fmt: skip
    def funding(self, symbol, amount, ts, funding_id, place):
        account, venue, position_side = place
        self.world.funding(
            symbol, amount, ts=ts, funding_id=funding_id, account=account, venue=venue, position_side=position_side
        )

    @rule(symbol=symbols, qty=st.sampled_from(["5", "-2"]), price=prices, place=places, ts=times)
    def position(self, symbol, qty, price, place, ts):
        account, venue, position_side = place
        self.world.position(symbol, qty, price, account=account, venue=venue, position_side=position_side, ts=ts)

    @rule(amount=st.sampled_from(["500", "-200.5"]))
    def transfer(self, amount):
        self.world.transfer(amount)

    @rule(symbol=st.sampled_from([*MARKETS, "BNBUSDT"]), price=prices)
    def mark(self, symbol, price):
        self.world.mark(symbol, price)

    @rule(seconds=st.sampled_from([1, 61, 4000]))
    def wait(self, seconds):
        self.world.clock.advance(seconds)

    @rule()
    def restart(self):
        self.world.restart()

    @rule(damage=st.sampled_from(DAMAGES))
    def crash(self, damage):
        self.world.crash(damage)

    @rule()
    def save(self):
        self.world.obs._money.save(last=True)

    @rule(since=st.sampled_from([TIMES[2], TIMES[4], TIMES[9], "2026-01-10T11:30:00.000000Z"]))
    def look_back(self, since):
        self.world.check(windows=[since])

    @precondition(lambda self: self.world is not None)
    @rule()
    def look_from_outside(self):
        self.world.check_opened()

    @invariant()
    def agrees(self):
        if self.world is not None:
            self.world.check()

    def teardown(self):
        if self.world is not None:
            try:
                self.world.check_ledger()
            finally:
                self.world.end()
        shutil.rmtree(self.folder, ignore_errors=True)


Life.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=25, deadline=None, database=None, derandomize=EXAMPLES <= 15,
    suppress_health_check=list(HealthCheck), print_blob=False,
)  # fmt: skip
TestLife = Life.TestCase
