"""kill -9 under load: what `flush` acknowledged is there, every line parses, the next start mends and says so."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from tests.soak.processes import Bot, records, run_json

STREAMS = ("signals", "orders_seen", "notes")
BOT = """
import random
first, seed, durability = json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
dice = random.Random(seed)
obs = botobs.start("bot", data_dir=data_dir, rotate_bytes=30_000, durability=durability)
previous = obs.previous_run
runs = [json.loads(line) for line in open(data_dir + "/logs/runs.jsonl")] if os.path.exists(data_dir + "/logs/runs.jsonl") else []
say(unclean=None if previous is None else previous.unclean, pid=None if previous is None else previous.pid, run_id=obs.run_id)
while True:
    for _ in range(dice.randrange(1, 200)):
        with botobs.tick("BTC") as tick:
            with botobs.decision(): pass
            if dice.random() < 0.8:
                tick.signal(n=first["signals"], pad="x" * dice.randrange(200)); first["signals"] += 1
        name = dice.choice(("orders_seen", "notes"))
        obs.event(name, n=first[name], pad="é" * dice.randrange(200)); first[name] += 1
    if dice.random() < 0.7:
        report = obs.flush(10)
        if report: say(ack=first)
"""


def crash_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """Kill a bot so often, at any moment; then look at what it left."""
    dice, pause = random.Random(seed), threading.Event()
    acknowledged = torn = archives = 0
    said = {"unclean": 0, "repairs": 0}
    home = folder
    for turn in range(rounds):
        if turn % 10 == 0:
            home = folder / str(turn)
            home.mkdir(parents=True)
            first, expected, killed = dict.fromkeys(STREAMS, 0), {}, None
            tears: dict[str, int] = {}
        with Bot(BOT, home, _json(first), dice.randrange(10**9), dice.choice(("fsync", "os"))) as bot:
            hello = bot.hear()
            assert hello["unclean"] is (None if killed is None else False), hello  # the start that mended ended well
            for _ in range(dice.randrange(1, 12)):
                expected = bot.hear()["ack"]
            pause.wait(dice.random() * 0.03)
            bot.kill()
            while (last := bot.hear()) is not None:  # said before it died
                expected = last.get("ack", expected)
            killed = bot.pid
        assert not run_json(home)["clean"]
        # what the machine's own crash adds: half a line, or a block of zeros, behind what was acknowledged
        if dice.random() < 0.5:
            torn += 1
            stream = dice.choice(STREAMS)
            tears[stream] = tears.get(stream, 0) + 1
            with (home / "logs" / f"{stream}.jsonl").open("ab") as file:
                file.write(dice.choice((b'{"ts":"2026-01-05T00:00:00Z","n":', b"\0" * 100, b'{"half', b'"\xff\xfe')))
        first = _mended(home, expected, killed)
        acknowledged += sum(expected.values())
        if turn % 10 == 9 or turn == rounds - 1:
            archives += len(list((home / "logs" / "archive").glob("*.gz")))
            runs = records(home, "runs")
            said["unclean"] += sum(record["event"] == "unclean_end" for record in runs)
            said["repairs"] += sum(record["event"] == "tail_repaired" for record in runs)
            assert said["unclean"] == turn + 1
            assert said["repairs"] >= torn
    return {"rounds": rounds, "acknowledged records lost": 0, "records acknowledged": acknowledged, "torn tails": torn,
            "repairs reported": said["repairs"], "unclean ends reported": said["unclean"], "archives": archives}  # fmt: skip


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def _mended(home: Path, expected: dict, killed: int | None) -> dict:
    """Start once more, in this process: it mends. Then every line has to parse; where each stream goes on."""
    import botobs

    with botobs.start("bot", data_dir=home, rotate_bytes=30_000) as obs:
        assert obs.previous_run.unclean and obs.previous_run.pid == killed
    follows = {}
    for stream in STREAMS:
        numbers = [record["n"] for record in records(home, stream)]
        assert numbers == sorted(set(numbers)), f"{stream}: a record came twice or out of order"
        missing = set(range(expected.get(stream, 0))) - set(numbers)
        holes = missing - _known_holes.setdefault((str(home), stream), set())
        assert not holes, f"{stream}: {len(holes)} acknowledged records are gone, such as {min(holes)}"
        follows[stream] = max(numbers, default=-1) + 1
        # what was never acknowledged may be gone; the next round counts on from what is there
        _known_holes[str(home), stream] |= set(range(follows[stream])) - set(numbers)
    return follows


_known_holes: dict[tuple[str, str], set[int]] = {}
