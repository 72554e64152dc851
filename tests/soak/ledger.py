"""kill -9 while threads add to the ledger: no line that was acknowledged is lost, and the chain is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import orjson

from botobs.accounting.ledger import Ledger

ROOT = Path(__file__).parents[2]
WRITER = """
import os, random, sys, threading
from pathlib import Path
from botobs.accounting.ledger import Ledger
from botobs.clock import rfc3339
root, seed, durability, rotate_bytes = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
ledger = Ledger(root, durability=durability, rotate_bytes=rotate_bytes)
if len(ledger.repairs):
    os.write(1, b"repaired\\n")
def work(number):
    dice, count = random.Random(seed * 10 + number), 0
    while True:
        count += 1
        mine = f"{seed}-{number}-{count}"
        fields = {"type": "fill", "ts": rfc3339(1_767_323_045 * 10**9 + dice.randrange(10**13)), "mine": mine}
        fields["pad"] = "x" * dice.randrange(400)
        with ledger.lock:
            ticket = ledger.add(fields)
        if ledger.settle(ticket):
            os.write(1, b"%d %b\\n" % (ticket.seq, mine.encode()))
for number in range(4):
    threading.Thread(target=work, args=(number,)).start()
"""


def ledger_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """Kill a writer so often, at any moment; look at what it left, and let the next one go on from there."""
    dice = random.Random(seed)
    found = Counter()
    told: list[tuple[str, str]] = []
    home, acknowledged = folder, {}
    for turn in range(rounds):
        if turn % 10 == 0:
            home, acknowledged = folder / str(turn), {}
            home.mkdir(parents=True)
        fresh = _run_and_kill(home, dice, found)
        assert not fresh.keys() & acknowledged.keys(), "a number was given twice"
        acknowledged |= fresh
        _tear(home, dice, found)

        before = Ledger(home, read_only=True).verify()  # nobody has repaired anything as yet
        assert before.ok, str(before)
        ledger = Ledger(home, on_trouble=lambda *what: told.append(what))
        after = ledger.verify()
        assert after.ok and not told, (str(after), told)
        lines = {seq: orjson.loads(line)["mine"] for seq, line in ledger.lines()}
        assert list(lines) == list(range(1, after.lines + 1)) and ledger.next_seq == after.lines + 1
        assert len(set(lines.values())) == len(lines), "a line was written twice"
        lost = [seq for seq, mine in acknowledged.items() if lines.get(seq) != mine]
        assert not lost, f"acknowledged and lost: {lost[:5]}"
        found["repairs"] += len(ledger.repairs)
        found["files"] = max(found["files"], after.files)
        assert ledger.close(_soon())
    return {
        "kills": rounds,
        "acknowledged": found["acknowledged"],
        "lost": 0,
        "torn": found["torn"],
        "files": found["files"],
    }


def _run_and_kill(home: Path, dice: random.Random, found: Counter) -> dict[int, str]:
    durability = dice.choice(("fsync", "fsync", "os"))
    command = [
        sys.executable,
        "-c",
        WRITER,
        str(home),
        str(dice.randrange(10**9)),
        durability,
        str(dice.choice((2_000, 30_000))),
    ]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT)))
    acknowledged = {}
    try:
        for _ in range(dice.randrange(1, 150)):
            _take(writer.stdout.readline(), acknowledged)
        threading.Event().wait(dice.random() * 0.01)
    finally:
        writer.kill()
        rest = writer.stdout.read()
        writer.stdout.close()
        writer.wait()
    for line in rest.splitlines(keepends=True):
        _take(line, acknowledged)
    found["acknowledged"] += len(acknowledged)
    return acknowledged


def _take(said: bytes, acknowledged: dict[int, str]) -> None:
    """Note what was acknowledged; the last word may be half a one."""
    if said.endswith(b"\n") and said != b"repaired\n":
        seq, mine = said.split()
        acknowledged[int(seq)] = mine.decode()


def _tear(home: Path, dice: random.Random, found: Counter) -> None:
    """What the machine's own crash adds: half a line, or a block of zeros, behind what was acknowledged."""
    live = home / "metrics" / "fills.jsonl"
    if live.exists() and dice.random() < 0.5:
        found["torn"] += 1
        with live.open("ab") as file:
            file.write(dice.choice((b'{"seq":', b"\0" * 100, b'{"seq":99999,"type":"fill","ts":"20', b'"\xff\xfe')))


def _soon() -> float:
    import time

    return time.monotonic() + 20
