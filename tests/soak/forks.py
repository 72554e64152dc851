"""Forks in the middle of everything."""

from __future__ import annotations

from pathlib import Path

from tests.servers.otlp import OtlpReceiver
from tests.soak.processes import records, run, run_json

FAMILY = """
import multiprocessing

@botobs.feature
def feature(x): return x
@botobs.stage("gen")
def generator():
    yield 1
    yield 2

def verbs(who):
    with botobs.tick("BTC", bar_id=1) as tick:
        with botobs.decision() as stage:
            stage.set_attribute("who", who)
            feature(1); list(generator())
            stage.get_span_context()
        tick.signal(model=who)
        tick.keep()
    obs.event("notes", who=who); botobs.event("notes", who=who)
    with obs.tick("BTC") as tick: tick.signal(model=who)
    obs.bus.publish(botobs.events.RunEnded(ts_ns=1, pid=1))
    obs.flush(1); botobs.flush(1)

def wait_for(pid, limit_s=10):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found: return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

obs = botobs.start("bot", data_dir=data_dir + "/parent", prometheus_port=0, otlp_endpoint=sys.argv[2] or None,
                   keep_traces=sys.argv[3] if sys.argv[3:] else "tail")
obs.bus.subscribe(botobs.events.RunEnded, lambda event: None)
"""

BUSY = (
    FAMILY
    + """
over = threading.Event()
def busy():
    while not over.is_set():
        work(5)
        obs.event("busy", a=1)
        obs.flush(0.01)
        obs.faults.error("somewhere", ValueError("x"))
def child():
    obs.faults.error("somewhere", ValueError("x"))
    verbs("child")
    obs.shutdown(1)
    os._exit(0)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
ends = []
for _ in range(int(sys.argv[4])):
    pid = os.fork()
    if not pid: child()
    ends.append(wait_for(pid))
over.set()
for thread in threads: thread.join()
say(ends=sorted(set(map(str, ends))), report=bool(obs.shutdown(10)))
"""
)


def busy_forks(folder: Path, rounds: int) -> dict:
    """Fork so often while three threads tick, flush and fail; no child may hang or write."""
    with OtlpReceiver(keep=False) as receiver:
        bot = run(BUSY, folder, receiver.endpoint, "all", rounds, timeout_s=60 + rounds)
    assert (bot.process.returncode, bot.stderr) == (0, ""), bot.stderr
    assert bot.said == [{"ends": ["0"], "report": True}], bot.said
    mine = records(folder / "parent", "signals")
    assert not [record for record in mine if record["model"] == "child"]
    assert [record["event"] for record in records(folder / "parent", "runs")] == ["run_started", "run_ended"]
    assert run_json(folder / "parent")["clean"]
    return {"children": rounds, "hung": 0, "records of the parent": len(mine)}
