"""Backups of a bot at work, killed at any moment: what is restored is a prefix of what the bot wrote, and adds up."""

from __future__ import annotations

import random
import threading
from decimal import Decimal
from pathlib import Path

import botobs
from botobs.accounting.ledger import Ledger
from botobs.accounting.opened import open_account
from botobs.backup import check, make, open_shelf, restore
from botobs.clock import SystemClock
from tests.soak.processes import Bot, records

_AT_ONE_BOT = 5
BOT = """
import random
dice = random.Random(int(sys.argv[2]))
obs = botobs.start("bot", data_dir=data_dir, rotate_bytes=60_000, durability="os", starting_equity=10_000)
n = k = 0
say(ready=True)
while True:
    for _ in range(10):
        with botobs.tick("BTC", price=100 + n % 7) as tick:
            tick.signal(n=k, pad="x" * dice.randrange(100)); k += 1
        obs.event("notes", n=k, pad="y" * dice.randrange(300))
    side = "sell" if n % 3 == 2 else "buy"
    order = obs.order("BTC", side, 2 if side == "sell" else 1, decision_px=100, order_id=f"o{n}")
    obs.fill(order, price=100 + n % 7, qty=2 if side == "sell" else 1, fee="0.25", fill_id=str(n)); n += 1
    time.sleep(0.01)
    if n % 10 == 0: say(fills=n)
"""
BACKER = """
import pathlib, random
from botobs.backup import make, open_shelf
from botobs.clock import SystemClock
root = pathlib.Path(data_dir)
shelf = open_shelf(sys.argv[2], root)
say(ready=True)
while True:
    made = make(root, shelf, clock=SystemClock(), keep=int(sys.argv[3]) or None)
    say(lines=made.manifest.lines, sent=made.sent)
"""


def backup_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """Back up a bot at work so often, kill that at any moment, and restore what is there."""
    dice, pause = random.Random(seed), threading.Event()
    figures = {"backups killed": 0, "made whole": 0, "restored": 0, "torn or uneven": 0}
    for first in range(0, rounds, _AT_ONE_BOT):
        _rounds(folder / str(first), min(_AT_ONE_BOT, rounds - first), dice, pause, figures)
    return figures


def _rounds(folder: Path, rounds: int, dice: random.Random, pause: threading.Event, figures: dict) -> None:
    """The same at one bot."""
    root, place = folder / "data", folder / "place"
    root.mkdir(parents=True)
    shelf = open_shelf(str(place), root)
    with Bot(BOT, root, dice.randrange(10**9)) as bot:
        while "fills" not in bot.hear():
            pass
        for turn in range(rounds):
            with Bot(BACKER, root, place, dice.choice((0, 1, 3))) as backer:
                backer.hear()
                told = 0
                for _ in range(dice.randrange(3)):
                    told = backer.hear()["lines"]
                pause.wait(dice.random() * 0.05)
                backer.kill()
                while (last := backer.hear()) is not None:  # said before it was killed
                    told = last["lines"]
            figures["backups killed"] += 1
            if turn % 2 == 0 or not told:  # one goes on with what was left
                told = make(root, shelf, clock=SystemClock()).manifest.lines
                figures["made whole"] += 1
            manifest, problems = check(shelf)
            assert not problems, problems
            done = restore(shelf, folder / f"restored-{turn}")
            assert done.ledger.ok, done.ledger
            assert done.ledger.last_seq == manifest.lines >= told, (done.ledger, told)
            figures["restored"] += 1
        bot.kill()
    for turn in range(rounds):
        is_prefix(folder / f"restored-{turn}", root)


def is_prefix(copy: Path, root: Path) -> None:
    """Whether a restored directory is what the bot had written at one moment, no line lost or twice."""
    mine, theirs = _ledger(copy), _ledger(root)
    assert mine and theirs[: len(mine)] == mine
    assert adds_up(open_account(copy).totals(), mine)
    signals = [record["n"] for record in records(copy, "signals")]
    assert signals == list(range(len(signals)))
    notes = [record["n"] for record in records(copy, "notes")]
    assert notes == list(range(1, len(notes) + 1))
    known = {line["fill_id"] for line in mine}
    told = {record["fill_id"] for record in records(copy, "costs")}
    assert told <= known, "a stream knows of a fill that the ledger lacks"
    with botobs.start("bot", data_dir=copy, durability="os", starting_equity=10_000) as obs:  # and a bot goes on there
        assert adds_up(obs.totals(), mine)
        report = obs.fill(symbol="BTC", side="buy", qty=1, price=100, fee="0.25", fill_id=f"after {len(mine)}")
        assert report.booked and obs.ledger.verify().ok
    closed = {record["trade_id"] for record in records(copy, "trade_lifecycle")}
    assert len(closed) == sum(line["side"] == "sell" for line in mine), "a trade has no record"


def adds_up(totals, lines: list[dict]) -> bool:
    """Whether totals are those of the lines, by a plain sum."""
    volume = sum(Decimal(line["size"]) * Decimal(line["price"]) for line in lines)
    held = sum(Decimal(line["size"]) * (1 if line["side"] == "buy" else -1) for line in lines)
    return (
        totals.fills == len(lines)
        and totals.volume == volume
        and totals.fees == sum(Decimal(line["fee"]) for line in lines)
        and totals.inventory.get("BTC", 0) == held
    )


def _ledger(root: Path) -> list[dict]:
    ledger = Ledger(root, read_only=True)
    return ledger.latest(ledger.next_seq)
