"""kill -9 of the metric pack at any moment: what it saved in the end is what one undisturbed run makes."""

from __future__ import annotations

import json
import random
from signal import SIGTERM
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from botobs.metricpack import Builder, Raw
from botobs.metricpack.sqlite import current_file
from tests.soak.processes import environment

ACTIONS = ("PARTIAL_25", "PARTIAL_50", "FULL_CLOSE")


def stream(count, seed, symbols=20):
    """Trades with duplicates, exits before entries, and lines that nobody can read."""
    dice, found = random.Random(seed), []
    for n in range(count):
        reduces = dice.random() < 0.6
        said = {
            "symbol": f"S{dice.randrange(symbols)}USDT", "side": dice.choice(("buy", "sell")),
            "qty": dice.choice(("1", "0.5", "2")), "price": str(dice.randrange(90, 110)), "fee": "0.013",
            "executed": dice.random() < 0.95, "reduceOnly": reduces, "plan_id": f"p{n}", "order_id": f"o{n}",
            "action": dice.choice(ACTIONS) if reduces else "ENTRY", "ts": 1_767_323_045 + n,
        }  # fmt: skip
        if dice.random() < 0.02:
            del said["price"]
        found.append(said)
        if dice.random() < 0.05:
            found.append(dice.choice(found[-50:]))
    return found


def undisturbed(events):
    """The state that one run saves, without what names the stream."""
    builder = Builder()
    for said in events:
        builder.take(Raw("", said))
    return plain({key: value for key, value in builder.changes().values.items() if value is not None})


def plain(state):
    """Without the positions of what was kept aside, which the plain stream does not have."""
    kept = {key: value for key, value in state.items() if not key.startswith("u/") and key != "source"}
    return kept | {key: json.loads(value)["reason"] for key, value in state.items() if key.startswith("u/")}


def saved(path):
    """What is in the file, and its position."""
    with closing(sqlite3.connect(current_file(path), timeout=10)) as db:
        db.execute("BEGIN")
        return dict(db.execute("SELECT key, value FROM state")), db.execute("SELECT position FROM place").fetchone()[0]


def position(path):
    try:
        return saved(path)[1]
    except sqlite3.Error:  # it is not made yet
        return None


class Pack:
    """A process of the pack that reads a file."""

    def __init__(self, events, *words, batch=100, takeover="0.3"):
        command = [sys.executable, "-m", "botobs", "metricpack", "--events", str(events), "--port", "0",
                   "--takeover", takeover, *words]  # fmt: skip
        self.process = subprocess.Popen(
            command, cwd=events.parent, env=environment(METRICPACK_BATCH=str(batch)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.state = events.with_name(f"{events.name}.metricpack.sqlite")
        self._url = None

    @property
    def url(self):
        if self._url is None:
            line = self.process.stdout.readline()
            assert line.startswith("metrics: http://"), (line, self.process.stderr.read())
            self._url = line.split()[1].removesuffix("/metrics")
        return self._url

    def health(self):
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:  # 503 says how it is, too
            with refused:
                return json.load(refused)

    def page(self):
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, number=SIGTERM):
        """End it; its status and what it complained of."""
        self.process.send_signal(number)
        _, complained = self.process.communicate(timeout=30)
        return self.process.returncode, complained

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def wait_for(condition, what="it", timeout_s=30.0):
    """Until a condition holds; its value."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        found = condition()
        if found:
            return found
        pause.wait(0.01)
    raise TimeoutError(f"{what} did not happen within {timeout_s} s")


def write(path, events):
    with path.open("a") as file:
        file.writelines(json.dumps(said) + "\n" for said in events)


def pack_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """Kill the pack so often while events come in; then let it finish, and compare every byte."""
    dice = random.Random(seed)
    folder.mkdir(parents=True)
    path = folder / "events.jsonl"
    events = stream(300 * (rounds + 1), seed)
    part = len(events) // (rounds + 1)
    write(path, events[:part])
    hit = 0
    for turn in range(1, rounds + 1):
        before = position(folder / "events.jsonl.metricpack.sqlite")
        with Pack(path, batch=dice.choice((5, 20, 100))) as pack:
            write(path, events[part * turn : part * (turn + 1)])
            wait_for(lambda: position(pack.state) != before, "a commit")
            threading.Event().wait(dice.random() * 0.03)
            hit += pack.process.poll() is None
            pack.process.kill()
    write(path, events[part * (rounds + 1) :])
    done = subprocess.run(
        [sys.executable, "-m", "botobs", "metricpack", "--events", str(path), "--once", "--json", "--takeover", "0.3"],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state, _ = saved(folder / "events.jsonl.metricpack.sqlite")
    assert plain(state) == undisturbed(events)
    assert json.loads(done.stdout)["events"] == len(events)
    assert hit == rounds
    return {"kills": rounds, "events": len(events), "figures that differ": 0}
