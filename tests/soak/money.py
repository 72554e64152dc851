"""kill -9 while threads fill: no acknowledged fill is lost, the chain is whole, the totals are the model's."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import orjson

import botobs
from botobs.accounting.opened import open_account
from tests.accounting.reference import Reference, near

ROOT = Path(__file__).parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT")
BOT = """
import os, random, sys, threading
import botobs
folder, seed, durability, rotate = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
obs = botobs.start("bot", data_dir=folder, durability=durability, starting_equity=10_000, rotate_bytes=rotate)
os.write(1, b"up\\n")
def work(number):
    dice, count = random.Random(seed * 10 + number), 0
    while True:
        count += 1
        mine = f"{seed}-{number}-{count}"
        symbol = dice.choice(("BTCUSDT", "ETHUSDT"))
        ts = 1767323045 - dice.randrange(3) * dice.randrange(4000) if dice.random() < 0.3 else None
        report = obs.fill(symbol=symbol, side=dice.choice(("buy", "sell")), qty=dice.choice(("1", "0.5", "2")),
                          price=str(dice.randrange(90, 110)), fee="0.01", fill_id=mine, ts=ts)
        if report.durable:
            os.write(1, b"fill %b\\n" % mine.encode())
        if dice.random() < 0.1:
            obs.mark(symbol, dice.randrange(90, 110))
        if dice.random() < 0.03:
            gone = f"{seed}-{number}-{dice.randrange(1, count + 1)}"
            if obs.void(gone, "busted").durable:
                os.write(1, b"void %b\\n" % gone.encode())
        if dice.random() < 0.005:
            obs._money.save(last=True)
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
threading.Event().wait()
"""


def money_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """Kill a bot so often, at any moment; look at what it left, and let the next one go on from there."""
    dice, found = random.Random(seed), Counter()
    home, fills, voids = folder, set(), set()
    for turn in range(rounds):
        if turn % 10 == 0:
            home, fills, voids = folder / str(turn), set(), set()
            home.mkdir(parents=True)
        _run_and_kill(home, dice, found, fills, voids)
        if dice.random() < 0.2:
            for path in (home / "state").glob(dice.choice(("*.json", "fills.index", "books.jsonl"))):
                path.unlink()
        obs = botobs.start("bot", data_dir=home, starting_equity=10_000)
        assert obs.ledger.verify().ok, str(obs.ledger.verify())
        assert not obs.faults.errors, obs.faults.last_error
        lines = [orjson.loads(line) for _, line in obs._money.ledger.lines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        have = {line["fill_id"] for line in lines if line["type"] == "fill"}
        gone = {line["fill_id"] for line in lines if line["type"] == "void"}
        assert not fills - have and not voids - gone, (sorted(fills - have)[:5], sorted(voids - gone)[:5])
        assert len(have) == sum(line["type"] == "fill" for line in lines), "a fill was booked twice"
        for fill_id in dice.sample(sorted(fills), min(3, len(fills))):
            line = next(line for line in lines if line.get("fill_id") == fill_id and line["type"] == "fill")
            again = obs.fill(
                symbol=line["symbol"],
                side=line["side"],
                qty=line["size"],
                price=line["price"],
                fee="0.01",
                fill_id=fill_id,
            )
            assert again.duplicate, again
        _agrees(obs.totals(), lines)
        assert obs.shutdown(20).delivered
        _agrees(open_account(home).totals(), lines)
        found["lines"] = max(found["lines"], len(lines))
    return {
        "kills": rounds,
        "acknowledged": found["fills"],
        "voids": found["voids"],
        "lost": 0,
        "lines": found["lines"],
    }


def _agrees(totals: botobs.Totals, lines: list[dict]) -> None:
    """The totals are those of the plain model, played from the lines."""
    plain = Reference()
    for line in lines:
        if line["type"] == "fill":
            sign = 1 if line["side"] == "buy" else -1
            plain.fill(
                line["symbol"], line["ts"], line["seq"], line["fill_id"], sign * Fraction(line["size"]), Fraction(line["price"]),
                Fraction(line["fee"]), line.get("role"),
            )  # fmt: skip
        elif "voids" in line:
            plain.void(line["voids"])
    want = plain.totals()
    assert totals.fills == want.fills and totals.fees == Decimal(str(float(want.fees))).quantize(Decimal("0.01"))
    for name, key in (
        ("gross_pnl", "gross"),
        ("cash_flow", "cash_flow"),
        ("volume", "volume"),
        ("realized_pnl", "realized"),
    ):
        assert near(getattr(totals, name), getattr(want, key), 10**6), (
            name,
            getattr(totals, name),
            float(getattr(want, key)),
        )


def _run_and_kill(home: Path, dice: random.Random, found: Counter, fills: set[str], voids: set[str]) -> None:
    command = [
        sys.executable,
        "-c",
        BOT,
        str(home),
        str(dice.randrange(10**9)),
        dice.choice(("fsync", "fsync", "os")),
        str(dice.choice((50_000, 10**7))),
    ]
    bot = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT))
    )
    try:
        said = [bot.stdout.readline() for _ in range(dice.randrange(2, 300))]
        time.sleep(dice.random() * 0.01)
    finally:
        bot.kill()
        said += bot.stdout.read().splitlines(keepends=True)
        bot.stdout.close()
        bot.wait()
    assert said[0] == b"up\n", said[:2]
    for word in said[1:]:
        if word.endswith(b"\n"):  # the last one may be half
            what, mine = word.decode().split()
            (fills if what == "fill" else voids).add(mine)
            found[f"{what}s"] += 1
