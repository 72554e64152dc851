"""The whole money path against the plain reference: whatever is reported, in any order, over restarts and crashes."""

from __future__ import annotations

import os
import random

import pytest

from tests.money.world import MARKETS, World

LIVES = int(os.environ.get("SOAK_LIVES", "12"))
FIRST = int(os.environ.get("SOAK_SEED", "0"))
STEPS = 45
TIMES = [f"2026-01-10T{hour:02d}:{minute:02d}:00.000000Z" for hour in (3, 7, 10, 11) for minute in (0, 20, 59)]
SIZES = ["1", "2", "3", "0.5", "0.1", "7", "0.00000001", "1e3"]
PRICES = ["100", "101.5", "99", "0.07", "33333.333", "250"]
FEES = [(None, None), ("0.1", None), ("-0.05", None), ("0.01", "base"), ("0.002", "BNB"), ("1", "USDC"), ("0.3", "XYZ")]
IDS = [None, None, "1", "2", "10", "9", "a", "b", "é", "x1", "x2", "x3", "77", "78"]
PLACES = [*[(None, None, None)] * 4, ("main", "binance", None), (None, None, "long"), (None, None, "short")]
BASE = {"BTCUSDT": "BTC", "DOGE/USDT": "DOGE", "ESZ5": None, "XBTUSD": "XBT"}


def drop_all(state):
    for path in state.iterdir():
        if path.name != "ledger.head" and path.is_file():
            path.unlink()


def spoil(name):
    def damage(state):
        path = state / name
        data = bytearray(path.read_bytes() if path.exists() else b"")
        if data:
            data[len(data) // 2] ^= 0x15
            path.write_bytes(bytes(data[: max(len(data) - 3, 1)]))

    return damage


DAMAGES = {
    "nothing": None,
    "all of it": drop_all,
    **{name: spoil(name) for name in ("account.json", "live.json", "fills.index", "books.jsonl")},
}


class Life:
    """A bot's life, as chance wants it."""

    def __init__(self, world, seed, times=TIMES):
        self.world, self.dice, self.log, self.times = world, random.Random(seed), [], [None, None, *times]

    def step(self):
        one = self.dice.choice
        what = self.dice.choices(
            ("fill", "void", "funding", "position", "transfer", "mark", "wait", "restart", "crash", "save", "back", "out"),
            (60, 10, 6, 4, 2, 10, 4, 2, 4, 3, 5, 3),
        )[0]  # fmt: skip
        account, venue, position_side = one(PLACES)
        place = {"account": account, "venue": venue, "position_side": position_side}
        symbol = one(list(MARKETS))
        if what == "fill":
            amount, asset = one(FEES)
            self.do(
                "fill", symbol, one(["buy", "sell"]), one(SIZES), one(PRICES), ts=one(self.times), fee=amount,
                asset=BASE[symbol] if asset == "base" else asset, fill_id=one(IDS), order_id=one([None, None, "o1"]),
                role=one([None, "maker", "taker"]), kind=one(["live", "live", "live", "hedger_sim", "import"]), **place,
            )  # fmt: skip
        elif what == "void":
            self.do("void", one(IDS[2:]), symbol=one([None, symbol]), order_id=one([None, None, "o1"]))
        elif what == "funding":
            self.do(
                "funding",
                symbol,
                one(["-1.5", "2", "0.25"]),
                ts=one(self.times),
                funding_id=one([None, None, "f1"]),
                **place,
            )
        elif what == "position":
            self.do("position", symbol, one(["5", "-2"]), one(PRICES), ts=one(self.times), **place)
        elif what == "transfer":
            self.do("transfer", one(["500", "-200.5"]))
        elif what == "mark":
            self.do("mark", one([*MARKETS, "BNBUSDT"]), one(PRICES))
        elif what == "wait":
            seconds = one([1, 61, 4000])
            self.log.append(("wait", seconds))
            self.world.clock.advance(seconds)
        elif what == "restart":
            self.do("restart")
        elif what == "crash":
            damage = one(list(DAMAGES))
            self.log.append(("crash", damage))
            self.world.crash(DAMAGES[damage])
        elif what == "save":
            self.log.append(("save",))
            self.world.obs._money.save(last=True)
        elif what == "back":
            self.log.append(("back",))
            self.world.check(windows=[one([TIMES[2], TIMES[4], TIMES[9], "2026-01-10T11:30:00.000000Z"])])
        else:
            self.do("check_opened")
        self.world.check()

    def do(self, name, *args, **more):
        self.log.append((name, args, more))
        getattr(self.world, name)(*args, **more)


def live(folder, seed, steps, **settings):
    world = World(folder, **settings)
    life = Life(world, seed)
    try:
        for symbol in ("BTCUSDT", "XBTUSD") if seed % 3 else ():
            world.mark(symbol, "100")
        for _ in range(steps):
            life.step()
        world.check(windows=[TIMES[2], TIMES[4]])
        world.check_ledger()
    except BaseException:
        print(f"seed {seed}:", *life.log, sep="\n  ")
        raise
    finally:
        world.end()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + LIVES))
def test_a_life_comes_to_what_the_reference_says(tmp_path, seed):
    live(tmp_path, seed, STEPS, cost_basis=("average", "fifo")[seed % 2])


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 2))
def test_a_long_life_in_which_things_come_too_late_to_be_remembered(tmp_path, seed):
    """More entries than a book remembers, in few books, most of them late."""
    times = [f"2026-01-10T0{hour}:{minute:02d}:00.000000Z" for hour in range(10) for minute in range(60)]
    world = World(tmp_path, cost_basis=("average", "fifo")[seed % 2])
    life = Life(world, seed, times)
    dice = random.Random(seed)
    try:
        for number in range(260):
            symbol = "BTCUSDT" if number % 9 else "XBTUSD"
            ts = times[dice.randrange(len(times))] if number % 2 else times[number * 2]
            life.do(
                "fill", symbol, dice.choice(["buy", "sell"]), dice.choice(SIZES), dice.choice(PRICES), ts=ts, fee="0.01",
                fill_id=f"n{number}",
            )  # fmt: skip
            if number % 20 == 19:
                life.do("void", f"n{dice.randrange(number)}")
            if number % 60 == 59:
                dice.choice([world.restart, world.crash, lambda: world.crash(drop_all)])()
            if number % 20 == 9:
                world.check(windows=[dice.choice(times)])
        world.check_ledger()
    except BaseException:
        print(f"seed {seed}:", *life.log, sep="\n  ")
        raise
    finally:
        world.end()
