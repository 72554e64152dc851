"""Forked children: they neither hang nor touch what is their parent's."""

from __future__ import annotations

import os
import signal
import urllib.request

import pytest

import botobs
from tests.servers.otlp import OtlpReceiver
from tests.soak.forks import FAMILY, busy_forks
from tests.soak.processes import Bot, records, run, run_json

FORKS = {
    "plain": "pid = os.fork()\nif not pid:\n    CHILD",
    "in a tick": "with botobs.tick('BTC') as tick:\n  tick.signal(model='in')\n  pid = os.fork()\n  if not pid:\n    tick.signal(model='child'); CHILD",
    "in a stage": "with botobs.tick('BTC') as tick:\n  with botobs.decision() as s:\n    s.get_span_context()\n    pid = os.fork()\n"
    "    if not pid:\n      tick.signal(model='child'); CHILD\n  tick.signal(model='in')",
    "in a stage outside": "with botobs.stage('s') as s:\n  s.get_span_context()\n  pid = os.fork()\n  if not pid:\n    CHILD",
}
EXITS = {
    "returns": "verbs('child')",  # goes on to the end of the script
    "sys.exit": "verbs('child'); sys.exit(0)",
    "os._exit": "verbs('child'); os._exit(0)",
    "shutdown": "verbs('child'); obs.shutdown(); botobs.shutdown(); obs.__exit__(None, None, None); sys.exit(0)",
    "execs": "verbs('child'); os.execv(sys.executable, [sys.executable, '-c', ''])",
}


@pytest.mark.parametrize("keep", ["tail", "all"])
@pytest.mark.parametrize("where", FORKS)
def test_a_child_neither_hangs_nor_writes_into_its_parents_files(tmp_path, where, keep):
    script = FAMILY + "me = os.getpid()\nverbs('parent')\n"
    for child in EXITS.values():
        script += (
            FORKS[where].replace("CHILD", child)
            + "\nif os.getpid() == me: say(child=wait_for(pid))\nelse: sys.exit(0)\n"
        )
    script += "verbs('parent')\nimport urllib.request\n"
    script += (
        "say(health=urllib.request.urlopen(obs.endpoint.url + '/health').status)\nsay(report=bool(obs.shutdown(10)))"
    )
    with OtlpReceiver(keep=False) as receiver:
        bot = run(script, tmp_path, receiver.endpoint, keep)
        spans = receiver.stats()["spans"]
    assert bot.said == [*[{"child": 0}] * len(EXITS), {"health": 200}, {"report": True}], (bot.said, bot.stderr)
    assert (bot.process.returncode, bot.stderr) == (0, "")
    said = [record["model"] for record in records(tmp_path / "parent", "signals")]
    assert said == ["parent"] * 2 + ["in"] * (len(EXITS) * (where in ("in a tick", "in a stage"))) + ["parent"] * 2
    assert [record["who"] for record in records(tmp_path / "parent", "notes")] == ["parent"] * 4
    runs = records(tmp_path / "parent", "runs")
    assert [(record["event"], record["pid"]) for record in runs if record["pid"] != 1] == [
        ("run_started", bot.pid),
        ("run_ended", bot.pid),
    ]
    assert run_json(tmp_path / "parent")["clean"]
    if keep == "all":  # 2 × (tick, decision, feature, gen + a tick), and the ticks and stages that were forked in
        inner = {"plain": 0, "in a tick": 1, "in a stage": 2, "in a stage outside": 1}[where]
        assert spans == 2 * 5 + inner * len(EXITS)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_child_may_observe_on_its_own(tmp_path, protocol):
    script = (
        FAMILY
        + """
verbs("parent")
pid = os.fork()
if not pid:
    try: botobs.start("child", data_dir=data_dir + "/parent")
    except botobs.ConfigError as error: say(refused=str(error))
    own = botobs.start("child", data_dir=data_dir + "/child", prometheus_port=0, otlp_endpoint=sys.argv[2], keep_traces="all")
    work(10)
    verbs("child")
    say(report=bool(own.flush(10)), port=own.endpoint.up, sigterm=signal.getsignal(15) is not signal.SIG_DFL)
    sys.exit(0)
say(child=wait_for(pid))
verbs("parent")
say(parent=bool(obs.shutdown(10)))
"""
    )
    with OtlpReceiver(protocol, keep=False) as receiver:
        bot = run(script, tmp_path, receiver.endpoint, "all", GRPC_ENABLE_FORK_SUPPORT="1")
        spans = receiver.stats()["spans"]
    assert bot.process.returncode == 0, bot.stderr
    refused, report, child, parent = bot.said
    assert f"process {bot.pid} " in refused["refused"]
    assert report == {"report": True, "port": True, "sigterm": True}
    assert (child, parent) == ({"child": 0}, {"parent": True}), bot.stderr
    assert [record["model"] for record in records(tmp_path / "child", "signals")] == [*range(10), "child"]
    assert {record["who"] for record in records(tmp_path / "child", "notes")} == {"child"}
    assert [record["model"] for record in records(tmp_path / "parent", "signals")] == ["parent"] * 4
    assert records(tmp_path / "child", "runs")[-1]["how"] == "exit"
    assert run_json(tmp_path / "child")["clean"] and run_json(tmp_path / "parent")["clean"]
    assert spans == 2 * 5 + 20 + 4


@pytest.mark.parametrize("end", ["shuts down", "is killed"])
def test_a_child_that_outlives_its_parent_holds_neither_port_nor_directory(tmp_path, end):
    script = (
        FAMILY
        + """
port = obs.endpoint.port
obs.flush()
pid = os.fork()
if not pid:
    verbs("child")
    say(child=os.getpid(), port=port)
    time.sleep(60)
    os._exit(0)
sys.stdin.readline()
obs.shutdown(5)
say(over=1)
sys.stdin.readline()
"""
    )
    home = tmp_path / "parent"
    with Bot(script, tmp_path, "") as bot:
        said = bot.hear()
        try:
            assert urllib.request.urlopen(f"http://127.0.0.1:{said['port']}/health").status == 200
            if end == "is killed":
                bot.process.kill()
                bot.process.wait()
            else:
                bot.tell()
                assert bot.hear() == {"over": 1}
            with pytest.raises(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{said['port']}/health", timeout=2)
            with botobs.start("bot", data_dir=home, prometheus_port=said["port"]) as obs:
                assert obs.endpoint.up, obs.endpoint.state
                assert obs.previous_run.unclean == (end == "is killed")
        finally:
            os.kill(said["child"], signal.SIGKILL)
    assert not (home / "logs" / "notes.jsonl").exists()


def test_a_sigterm_to_the_child_ends_the_child_alone(tmp_path):
    script = (
        FAMILY
        + """
verbs("parent")
pid = os.fork()
if not pid:
    say(default=signal.getsignal(15) is signal.SIG_DFL)
    os.kill(os.getpid(), 15)
    time.sleep(9)
say(child=wait_for(pid))
verbs("parent")
"""
    )
    bot = run(script, tmp_path, "")
    assert bot.said == [{"default": True}, {"child": -15}]
    assert [record["model"] for record in records(tmp_path / "parent", "signals")] == ["parent"] * 4
    assert run_json(tmp_path / "parent")["clean"]


def test_a_sigterm_that_meets_a_child_at_its_birth_leaves_the_parents_records_alone(tmp_path):
    """Before the child has forgotten them, what waits in the parent's queues waits in its copies too."""
    script = """
import signal
parent = os.getpid()
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))  # runs before the hooks of `start`
obs = botobs.start("bot", data_dir=data_dir + "/parent", prometheus_port=None)
obs.event("notes", n=1)
for n in range(2, 5):
    obs.event("notes", n=n)
    pid = os.fork()
    if not pid: os._exit(1)
    say(child=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    bot = run(script, tmp_path)
    assert bot.said == [{"child": -15}] * 3, bot.stderr
    assert [record["n"] for record in records(tmp_path / "parent", "notes")] == [1, 2, 3, 4]
    assert run_json(tmp_path / "parent")["clean"]


def test_a_pool_of_forked_workers(tmp_path):
    script = (
        FAMILY
        + """
def job(n):
    verbs("child")
    with botobs.tick("BTC") as tick: tick.signal(model="child")
    return n * n
verbs("parent")
with botobs.tick("BTC") as tick:
    with multiprocessing.get_context("fork").Pool(2) as pool: say(sum=sum(pool.map(job, range(50))))
    tick.signal(model="parent")
with multiprocessing.get_context("fork").Pool(2) as pool: say(sum=sum(pool.map(job, range(50))))
verbs("parent")
"""
    )
    with OtlpReceiver(keep=False) as receiver:
        bot = run(script, tmp_path, receiver.endpoint, "all")
        assert receiver.stats()["spans"] == 11
    assert (bot.process.returncode, bot.stderr) == (0, "")
    assert bot.said == [{"sum": 40425}] * 2
    assert [record["model"] for record in records(tmp_path / "parent", "signals")] == ["parent"] * 5
    assert [record["who"] for record in records(tmp_path / "parent", "notes")] == ["parent"] * 4
    assert run_json(tmp_path / "parent")["clean"]


def test_forks_while_everything_is_busy(tmp_path):
    """Threads hold every lock there is at some fork or other: no child may wait for one of them."""
    assert busy_forks(tmp_path, 15)["children"] == 15
