"""Disks that fill and empty, collectors that come and go, signals, starts and ends without end, memory."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import botobs
from tests.servers.otlp import OtlpReceiver
from tests.soak.processes import Bot, records, run, run_json

FULL = """
import random, resource
rounds, dice = int(sys.argv[2]), random.Random(int(sys.argv[3]))
obs = botobs.start("bot", data_dir=data_dir, queue_size=2000)
said, slowest = 0, 0.0
def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for _ in range(rounds):
    size = max((os.path.getsize(p) for p in (data_dir + "/logs/signals.jsonl",) if os.path.exists(p)), default=0)
    limit(size + dice.randrange(1, 60_000))
    begun = time.perf_counter()
    count = dice.randrange(100, 4000)
    work(count, said); said += count
    slowest = max(slowest, (time.perf_counter() - begun) / count)
    obs.flush(dice.random() * 0.05)
    limit(resource.RLIM_INFINITY)
    report = obs.flush(10)
    assert report.records.pending == 0, str(report)
    work(1, said); said += 1
    assert obs.flush(10)
last = obs.shutdown(10)
say(said=said, delivered=last.records.delivered, dropped=last.records.dropped, counted=sum(obs.faults.drops.values()), slowest_us=slowest * 1e6,
    failures=obs.faults.errors.get("streams.write", 0))
"""


def full_disk_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """The disk is full in the middle of anything, then has room again."""
    bot = run(FULL, folder, rounds, seed, timeout_s=60 + rounds * 3)
    assert (bot.process.returncode, bot.stderr) == (0, ""), bot.stderr
    said = bot.said[-1]
    found = [record["model"] for record in records(folder, "signals")]
    assert found == sorted(set(found))
    assert len(found) + said["dropped"] == said["said"]
    assert said["delivered"] == len(found) + 2
    assert said["counted"] == said["dropped"]
    return {"rounds": rounds, "writes that failed": said["failures"], "torn lines": 0, "records written": len(found),
            "dropped and counted": said["dropped"], "slowest round, µs per tick": round(said["slowest_us"], 1)}  # fmt: skip


SMALL = """
obs = botobs.start("bot", data_dir=data_dir, queue_size=2000)
begun = time.perf_counter()
work(20_000)
took = time.perf_counter() - begun
report = obs.flush(1)
os.unlink(data_dir + "/ballast")
again = obs.flush(5)
last = obs.shutdown(5)
say(took=took, full=report.records.pending, freed=again.records.pending, delivered=last.records.delivered, dropped=last.records.dropped,
    counted=sum(obs.faults.drops.values()))
"""


def small_disk(folder: Path, _rounds: int, _seed: int) -> dict:
    """A file system of 512 KB fills up and is given room again, where mounting is permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "botobs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        return {"not tried": "mounting is not permitted here"}
    try:
        (folder / "ballast").write_bytes(b"x" * 200_000)
        bot = run(SMALL, folder)
        assert (bot.process.returncode, bot.stderr) == (0, ""), bot.stderr
        said = bot.said[-1]
        found = [record["model"] for record in records(folder, "signals")]
        assert said["full"] > 0 and found == sorted(set(found))
        assert len(found) + said["dropped"] + 2 >= 20_002
        assert said["counted"] == said["dropped"] and said["delivered"] + said["dropped"] == 20_002
        return {"records written": len(found), "dropped and counted": said["dropped"], "torn lines": 0,
                "µs per tick": round(said["took"] / 20_000 * 1e6, 1)}  # fmt: skip
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def collector_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """The collector refuses, hangs, answers 503 and comes back; each span is delivered once or counted as dropped."""
    dice, ticks, slowest = random.Random(seed), 0, 0.0
    for protocol in ("http", "grpc"):
        with OtlpReceiver(protocol, keep=False) as receiver:
            obs = botobs.start("bot", data_dir=folder / protocol, otlp_endpoint=receiver.endpoint, keep_traces="all")
            mine = 0
            for _ in range(max(rounds // 2, 1)):
                receiver.mode(dice.choice(("refuse", "hang", "503", "429")), retry_after_s=0.01)
                count = dice.randrange(10, 500)
                begun = time.perf_counter()
                for _ in range(count):
                    with botobs.tick("BTC"), botobs.decision():
                        pass
                slowest = max(slowest, (time.perf_counter() - begun) / count)
                mine += count
                patience = dice.random() * 0.1
                begun = time.monotonic()
                obs.flush(patience)
                assert time.monotonic() - begun < patience + 1.0
                receiver.mode("ok")
                report = obs.flush(30)
                assert report.spans.pending == 0, str(report)
            report = obs.shutdown(30)
            assert report.spans.delivered + report.spans.dropped == 2 * mine
            assert report.spans.dropped == obs.faults.drops.get("spans", 0)
            assert receiver.stats()["spans"] == report.spans.delivered
            assert report.spans.dropped == 0
            ticks += mine
    return {
        "rounds": rounds,
        "spans delivered": 2 * ticks,
        "lost": 0,
        "slowest round, µs per tick": round(slowest * 1e6, 1),
    }


TERMINATED = """
obs = botobs.start("bot", data_dir=data_dir, otlp_endpoint=sys.argv[2])
n = 0
while True:
    work(20, n); n += 20
    say(n=n)
    if n % 100 == 0: obs.flush(0.05)
"""


def sigterm_rounds(folder: Path, rounds: int, seed: int) -> dict:
    """SIGTERM at any moment, sometimes twice: everything said before is on the disk, and the process dies of it."""
    dice, pause, slowest, total = random.Random(seed), threading.Event(), 0.0, 0
    with OtlpReceiver(keep=False) as receiver:
        for turn in range(rounds):
            receiver.mode(dice.choice(("ok", "503", "hang", "refuse")))
            home = folder / str(turn)
            home.mkdir(parents=True)
            with Bot(
                "import botobs.lifecycle; botobs.lifecycle.EXIT_TIMEOUT_S = 1.0\n" + TERMINATED, home, receiver.endpoint
            ) as bot:
                for _ in range(dice.randrange(1, 30)):
                    bot.hear()
                pause.wait(dice.random() * 0.02)
                begun = time.monotonic()
                bot.signal(signal.SIGTERM)
                if dice.random() < 0.5:
                    pause.wait(dice.random() * 0.05)
                    bot.signal(signal.SIGTERM)
                assert bot.end(20) == -signal.SIGTERM, bot.stderr
                slowest = max(slowest, time.monotonic() - begun)
            assert bot.stderr == ""
            found = [record["model"] for record in records(home, "signals")]
            assert found[: bot.said[-1]["n"]] == list(range(bot.said[-1]["n"])), "said before, and gone"
            assert found == list(range(len(found)))
            assert run_json(home)["clean"]
            total += len(found)
    return {"rounds": rounds, "records": total, "lost": 0, "slowest end, s": round(slowest, 2)}


STARTS = """
import gc
endpoint, rounds = sys.argv[3], int(sys.argv[2])
def turn():
    with botobs.start("bot", data_dir=data_dir, prometheus_port=0, otlp_endpoint=endpoint) as obs:
        for _ in range(20):
            with botobs.tick("BTC") as tick:
                tick.signal(model=1)
        assert obs.flush(10)
def descriptors(): return len(os.listdir("/proc/self/fd"))
def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
for _ in range(min(rounds, 20)): turn()
threads, fds, rss = set(threading.enumerate()), descriptors(), resident()
for _ in range(rounds): turn()
say(grown=resident() - rss, fds=descriptors() - fds,
    left=[thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith("botobs")])
"""


def endless_starts(folder: Path, rounds: int, _seed: int) -> dict:
    """Start, work, end, again and again in one process."""
    with OtlpReceiver(keep=False) as receiver:
        bot = run(STARTS, folder, rounds, receiver.endpoint, timeout_s=60 + rounds, MALLOC_ARENA_MAX="1")
    assert (bot.process.returncode, bot.stderr) == (0, ""), bot.stderr
    said = bot.said[-1]
    grown = said["grown"] / 2**20
    assert not said["left"], said
    assert said["fds"] <= 4, said  # gRPC's own come and go
    # gRPC and the allocator settle within the first hundred; what is lost per start is measured exactly in test_lifecycle
    assert grown < 16 + rounds * 0.01, f"{grown:.1f} MB"
    return {"rounds": rounds, "threads left": 0, "descriptors left": 0, "MB grown": round(grown, 1)}


MEMORY = """
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
obs = botobs.start("bot", data_dir=data_dir, otlp_endpoint=sys.argv[3], prometheus_port=0)
stages = int(sys.argv[2])
def some(n):
    for i in range(n):
        with botobs.tick("BTC", bar_id=i) as tick:
            with botobs.feature(): pass
            with botobs.model(): pass
            with botobs.decision(): pass
            with botobs.risk(): pass
            with botobs.execution(): pass
            if not i % 10: tick.signal(model=i)
some(20_000)
obs.flush(10)
start = resident()
begun = time.perf_counter()
most = 0
for _ in range(20):
    some(stages // 100)
    most = max(most, resident())
took = time.perf_counter() - begun
obs.flush(10)
say(start=start, most=most, end=resident(), took=took, dropped=sum(obs.faults.drops.values()))
"""


def stage_memory(folder: Path, stages: int, _seed: int) -> dict:
    """The memory of so many stages."""
    with OtlpReceiver(keep=False) as receiver:
        bot = run(MEMORY, folder, stages, receiver.endpoint, timeout_s=60 + stages / 20_000)
    assert (bot.process.returncode, bot.stderr) == (0, ""), bot.stderr
    said = bot.said[-1]
    grown = (said["end"] - said["start"]) / 2**20
    assert grown < 20, f"{grown:.1f} MB"
    return {"stages": stages, "MB above the start": round(grown, 1), "at most": round((said["most"] - said["start"]) / 2**20, 1),
            "records dropped at full speed": said["dropped"], "µs per stage": round(said["took"] / stages * 1e6, 2)}  # fmt: skip
