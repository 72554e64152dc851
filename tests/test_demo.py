"""The demo, as its user runs it: real processes, real signals, real terminals, a real scrape."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from botobs.accounting.totals import Totals
from botobs.cli.arguments import COMMANDS
from botobs.demo.bot import Bot
from botobs.demo.exchange import SYMBOLS, Exchange, RejectedError
from botobs.demo.readings import Latency
from botobs.demo.timeline import Queue, Timeline
from botobs.streams.reader import StreamReader
from tests.slack import SLACK_S

ROOT = Path(__file__).parents[1]
# started from a shell's background, a process ignores Ctrl-C: make it listen, as at a terminal
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from botobs.cli import main; sys.exit(main())"
)


def environment(**more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOTOBS_", "OTEL_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(*words):
    return [sys.executable, "-W", "error", "-c", MAIN, "demo", *map(str, words)]


def demo(*words, cwd, **env):
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def start(tmp_path):
    """A demo that runs while the test does something."""
    running = []

    def begin(*words, stdout=subprocess.PIPE, **env):
        process = subprocess.Popen(
            command(*words),
            cwd=tmp_path,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        with process:
            process.kill()


def metrics_url(process):
    """The address that the demo says it serves."""
    for line in process.stdout:
        if line.startswith("  metrics"):
            return line.split()[1]
    raise AssertionError(process.stderr.read())


# -- what it leaves -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs at the same time with the same seed, as JSON."""
    places = [tmp_path_factory.mktemp("demo") for _ in range(2)]
    words = command("--seconds=2", "--seed=3", "--port=0", "--json")
    running = [
        subprocess.Popen(words, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for place in places
    ]
    told = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [err for _, err in told] == [b"", b""]
    return [(place, out) for place, (out, _) in zip(places, told, strict=True)]


TIMES = {
    "ts", "latency", "latency_ms", "fill_ts", "entry_ts", "exit_ts", "received", "predicted_ts", "bar_ts", "decided_ts",
    "book_ts", "age_ms",
}  # fmt: skip


def without_times(record):
    left = {key: value for key, value in record.items() if key not in TIMES}
    left.pop("hash", None)  # of the whole line, its times too
    if "pid" in left:  # the stream of runs tells which process it was, and how long
        left = {key: value for key, value in left.items() if key not in {"pid", "ran_s"}}
    return left


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_is_one_object_that_agrees_with_the_files(pair):
    for place, out in pair:
        told = json.loads(out)
        assert out.count(b"\n") == 1
        on_disk = {file.stem: file.read_bytes().count(b"\n") for file in (place / "data/logs").glob("*.jsonl")}
        assert told["records"] == on_disk
        assert (told["seconds"], told["seed"], told["bars"]) == (2.0, 3, 80)
        assert on_disk["signals"] == told["bars"]
        events = Counter(record["event"] for record in lines(place / "data/logs/execution.jsonl"))
        assert events["order"] == told["orders"] == 2
        assert events["fill"] == told["fills"] == on_disk["costs"] == told["totals"]["fills"] == 4
        assert on_disk.get("rejections", 0) == told["rejections"]
        counts = {stage: found["n"] for stage, found in told["latency_ms"].items()}
        assert counts == {
            "feature": 80, "model": 80, "decision": 80, "risk": 80, "execution": events["order"], "whole_tick": 80,
        }  # fmt: skip
        assert (told["records_lost"], told["dropped"], told["internal_errors"]) == (0, {}, {})
        assert told["stopped_by"] is None
        assert told["data_dir"] == "data"
        assert told["url"].startswith("http://127.0.0.1:")


def test_its_numbers_are_those_of_the_nouns_and_the_statement_says_the_same(pair):
    place, out = pair[0]
    told = json.loads(out)
    totals, (trade,) = told["totals"], lines(place / "data/logs/trade_lifecycle.jsonl")
    assert totals.keys() == Totals().to_dict().keys()
    assert totals["realized_pnl"] == trade["net_pnl_usd"] == told["trades"]["net"] == told["strategies"]["trend"]["net"]
    assert (told["trades"]["trades"], told["positions"]) == (1, [])
    assert told["statement"]["ok"] is True
    assert told["statement"]["fills"]["matched"] == 4
    assert {row["total"]: row["ours"] for row in told["statement"]["totals"]}["equity"] == totals["equity"]
    assert [row["key"] for row in told["slippage"]] == ["ETH-USD"]
    fills = lines(place / "data/metrics/fills.jsonl")
    assert {line["role"] for line in fills} == {"maker", "taker"}
    assert any(Decimal(line["fee"]) < 0 for line in fills)  # a rebate
    assert (trade["entry_pred_bps"], trade["risk_reward_ratio"] > 1.9) == (-3.066, True)


def test_it_takes_the_time_that_it_was_given(pair):
    for _, out in pair:
        assert 1.95 < json.loads(out)["ran_s"] < 2 + SLACK_S


def test_the_same_seed_leaves_the_same_records(pair):
    found, told = [], []
    for place, _ in pair:
        reader = StreamReader(place / "data")
        streams = set(reader.streams()) - {"equity_curve"}  # its points are times: once a second, if equity moved
        found.append({name: [without_times(each) for each in reader.read(name)] for name in streams})
        # prices are looked at once a second, too: what is seen then depends on the time
        found[-1]["price_events"] = [each for each in found[-1]["price_events"] if each["event"] == "bar"]
        found[-1]["order_book"] = [each for each in found[-1]["order_book"] if each.get("decision")]
        # what a decision would have brought is looked up in the prices of its time, and which one it was is the same
        told.append({each["trace_id"]: (each["bar_id"], each["chosen"]) for each in found[-1].pop("counterfactual")})
        # orders are written at once, fills and regimes follow from the background
        found[-1]["execution"].sort(key=lambda each: (each["order_id"], each["event"], each.get("fill_id") or ""))
        found[-1].pop("decisions", None)  # the demo's have nothing but the regime to tell, once that is known
        found[-1]["ledger"] = [without_times(each) for each in lines(place / "data/metrics/fills.jsonl")]
    assert found[0] == found[1]
    assert told[0].items() & told[1].items() and all(
        told[0][each] == told[1][each] for each in told[0].keys() & told[1]
    )
    assert len(found[0]["signals"]) == 80
    assert {record["run_id"] for stream in found[0].values() for record in stream} == {"demo-3"}
    assert [line["order_id"] for line in found[0]["ledger"]] == ["demo-3-00001"] * 3 + ["demo-3-00002"]
    traces = [record["trace_id"] for record in found[0]["signals"]]
    assert len(set(traces)) == 80
    assert {record["trace_id"] for record in found[0]["execution"]} <= set(traces)


def test_another_seed_leaves_other_records():
    assert _played(1.0, 3) != _played(1.0, 4)


def test_simulated_numbers_do_not_depend_on_time():
    assert _played(2.0, 7) == _played(2.0, 7)


def _played(seconds, seed):
    """A run that waits for nothing, and that nobody observes."""

    async def play():
        timeline = Timeline()
        timeline.hurry()
        exchange = Exchange(timeline, seconds, seed)
        submit, refused = exchange.submit, []

        async def counted(order):
            try:
                return await submit(order)
            except RejectedError as error:
                refused.append(error.code)
                raise

        exchange.submit = counted
        bot = Bot(exchange)
        bot.catch_up()
        await timeline.run(*(bot.trade(symbol) for symbol in SYMBOLS), bot.take_funding())
        assert exchange.bars == round(seconds * 40)
        fills = [attrs.evolve(fill, ts=0) for fill in exchange.statement.fills]
        return fills, [payment.amount for payment in exchange.statement.payments], exchange.totals(), refused

    return asyncio.run(play())


def test_a_long_run_has_everything_a_bot_meets():
    fills, payments, totals, refused = _played(60.0, 7)
    orders = Counter(fill.order_id for fill in fills)
    assert 30 < len(orders) < 600
    assert 0 < len(refused) < len(orders) / 5
    assert set(orders.values()) == {1, 2, 3}
    assert {fill.role for fill in fills} == {"maker", "taker"}
    assert payments
    assert totals["equity"] == 10_000 + totals["total_pnl"]


# -- the account goes on ------------------------------------------------------------------------------------------------


def again(place, *words):
    return demo("--seconds=0.3", "--port=0", "--json", *words, cwd=place)


def test_a_second_run_goes_on_with_the_same_account(tmp_path):
    first = json.loads(demo("--seconds=1", "--seed=3", "--port=0", "--json", cwd=tmp_path).stdout)
    assert [(held["symbol"], held["qty"]) for held in first["positions"]] == [("ETH-USD", "-0.20")]
    done = again(tmp_path, "--seed=3")
    second = json.loads(done.stdout)
    assert (done.returncode, done.stderr, second["run_id"]) == (0, "", "demo-3.2")
    assert second["statement"]["ok"] is True
    assert second["totals"]["fills"] >= first["totals"]["fills"] == 3
    assert json.loads(again(tmp_path).stdout)["run_id"] == "demo-7.3"


def test_what_a_killed_bot_did_not_report_is_reported_by_the_next(tmp_path):
    demo("--seconds=1", "--seed=3", "--port=0", "--json", cwd=tmp_path)
    trades = tmp_path / "data/exchange/trades.jsonl"
    last = {**lines(trades)[-1], "id": "4", "order": "demo-3-00009"}  # the bot was killed before this was reported
    trades.write_text(trades.read_text() + json.dumps(last))  # and the machine before the line was whole
    told = json.loads(again(tmp_path).stdout)
    assert told["statement"]["ok"] is True
    assert told["totals"]["fills"] >= 4
    assert all(json.loads(line) for line in trades.read_text().splitlines())


def test_a_killed_bot_loses_neither_fill_nor_trade(start, tmp_path):
    process = start("--seconds=600", "--seed=3", "--port=0", stdout=subprocess.DEVNULL)
    ledger, deadline = tmp_path / "data/metrics/fills.jsonl", time.monotonic() + 20
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 4:  # in and out again
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    process.kill()
    process.wait(timeout=20)
    told = json.loads(again(tmp_path).stdout)
    assert told["statement"]["ok"] is True
    assert (told["totals"]["fills"], told["trades"]["trades"]) == (4, 1)
    assert told["totals"]["realized_pnl"] == told["trades"]["net"] == "0.33971498"


def test_a_statement_that_says_otherwise_is_told(tmp_path):
    demo("--seconds=1", "--seed=3", "--port=0", cwd=tmp_path)
    trades = tmp_path / "data/exchange/trades.jsonl"
    trades.write_text(trades.read_text().replace('"cost": "', '"cost": "1', 1).replace('"1-', '"-1'))
    done = again(tmp_path)
    told = json.loads(done.stdout)["statement"]
    assert (done.returncode, told["ok"], len(told["fills"]["differing"])) == (1, False, 1)
    told = demo("--seconds=0.1", "--port=0", cwd=tmp_path)
    assert told.returncode == 1
    assert "The exchange's own statement DOES NOT AGREE:" in told.stdout


def test_signals_hold_all_five_stages_and_ten_features(pair):
    place, _ = pair[0]
    signals = list(StreamReader(place / "data").read("signals"))
    sums = dict.fromkeys(signals[0]["latency"], 0.0)
    for record in signals:
        assert len(record["features"]) >= 10
        assert {"model", "decision", "source", "pred_bps", "strength", "confidence"} <= record.keys()
        for key, took in record["latency"].items():
            sums[key] += took
    assert all(took > 0 for took in sums.values()), sums


# -- while it runs ------------------------------------------------------------------------------------------------------


def test_metrics_are_served_while_it_runs_and_ctrl_c_ends_it_in_good_order(start, tmp_path):
    process = start("--seconds=600", "--port=0")
    url = metrics_url(process)
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(url, timeout=20) as answer:
            page = answer.read().decode()
        found = re.search(r'bot_stage_duration_seconds_count\{[^}]*stage="execution"[^}]*\} ([0-9.]+)', page)
        if found and float(found[1]) > 0:
            break
        assert time.monotonic() < deadline, "no order was measured"
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    assert "ended early by Ctrl-C" in out
    assert "agrees to the cent" in out
    assert "Look at it" in out
    run = json.loads((tmp_path / "data/state/run.json").read_text())
    assert (run["bot"], run["clean"]) == ("demo-bot", True)


def test_sigterm_ends_it_in_good_order_too(start):
    process = start("--seconds=600", "--port=0")
    metrics_url(process)
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, "")
    assert "ended early by SIGTERM" in out


def test_a_collector_that_is_not_there_delays_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        port = silent.getsockname()[1]
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        done = demo("--seconds=0.5", "--port=0", "--json", cwd=tmp_path, **env)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert told["ran_s"] < 3.0
    assert told["records_lost"] == 0
    assert told["spans"]["sent"] == 0


def test_a_port_in_use_is_said_and_another_one_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo("--seconds=0.2", "--port", port, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == f"botobs demo: port {port} is in use, so metrics are on a free one\n"
    url = json.loads(done.stdout)["url"]
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(f":{port}")


# -- whose directory ----------------------------------------------------------------------------------------------------


def test_a_directory_of_another_bot_is_left_alone(tmp_path):
    code = "import botobs; botobs.start('real-bot', data_dir='data').shutdown()"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True, timeout=60)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = demo("--seconds=1", "--port=0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "botobs: data_dir = 'data' belongs to the bot 'real-bot'; the demo takes one of its own"
    )
    assert done.stderr.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("stray", ["logs/signals.jsonl", "metrics/fills.jsonl"])
def test_a_directory_with_records_of_nobody_is_left_alone(stray, tmp_path):
    path = tmp_path / "data" / stray
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    done = demo("--seconds=1", "--port=0", cwd=tmp_path)
    assert done.returncode == 2
    assert "records of a run that is not known" in done.stderr
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "data", path.parent, path])


def test_a_directory_whose_owner_cannot_be_read_is_left_alone(tmp_path):
    (tmp_path / "data/state").mkdir(parents=True)
    (tmp_path / "data/state/run.json").write_text('{"bot": "re')
    done = demo("--seconds=1", "--port=0", cwd=tmp_path)
    assert done.returncode == 2
    assert "belongs to a bot that is not known" in done.stderr


def test_a_directory_in_use_is_told_with_its_holder(start, tmp_path):
    first = start("--seconds=600", "--port=0")
    metrics_url(first)
    second = demo("--seconds=1", "--port=0", cwd=tmp_path)
    assert second.returncode == 2
    assert f"is held by process {first.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    first.kill()
    first.wait(timeout=20)
    third = demo("--seconds=0.1", "--port=0", "--json", cwd=tmp_path)
    assert third.returncode == 0
    assert third.stderr == f"botobs demo: the run before (demo-7, pid {first.pid}) did not end cleanly\n"
    records = json.loads(third.stdout)["records"]
    assert (records["runs"], records["signals"]) == (3, 4)  # its own, and none of the first's


# -- what it shows ------------------------------------------------------------------------------------------------------


def test_plain_output_is_narrow_and_without_escape_codes(tmp_path):
    out = demo("--seconds=2", "--port=0", cwd=tmp_path, COLUMNS="60", FORCE_COLOR="1").stdout
    assert "\x1b" not in out
    assert out.isascii()
    told = [line for line in out.splitlines() if not line.startswith("  jq") and "python -c" not in line]
    assert max(map(len, told)) <= 64
    assert "agrees to the cent" in out
    assert re.search(r"^Account  equity +\d+\.\d\d  USD$", out, re.MULTILINE)
    head = told.index("time  bars orders fills trades   equity     PnL  slip p99 ms")
    assert re.fullmatch(r"  [12]s +\d\d .* +(-|\d+\.\d+)", told[head + 1])


def commands_shown(out):
    lines = out[out.index("Look at it") :].splitlines()
    return [line.strip() for line in lines if line.startswith(("  jq", "  python", "  botobs"))]


def test_the_commands_it_shows_work_on_what_it_wrote(tmp_path):
    out = demo("--seconds=2", "--seed=3", "--port=0", "--data-dir=my data", cwd=tmp_path).stdout
    shown = commands_shown(out)
    assert [line.split()[0] for line in shown] == ["jq", "python", "jq", "botobs", "jq", *["botobs"] * 4]
    assert all("my data" in line for line in shown)
    for line in shown:
        words = shlex.split(line)
        if words[0] == "botobs" and words[1] in COMMANDS:
            told = subprocess.run([*command()[:-1], *words[1:]], cwd=tmp_path, env=environment(), capture_output=True)
            assert told.returncode == 0, told
        if line.startswith("jq") and shutil.which("jq"):
            answer = subprocess.check_output(line, shell=True, cwd=tmp_path, text=True)
            assert json.loads(answer if "-s" in line else answer.splitlines()[0])
        elif line.startswith("python") and _has("pandas"):
            line = line.replace("python", sys.executable, 1)
            assert "total_latency_ms" in subprocess.check_output(line, shell=True, cwd=tmp_path, text=True)


def _has(module):
    import importlib.util

    return importlib.util.find_spec(module) is not None


def at_a_terminal(term, cwd):
    """What a terminal of 60 columns gets to see."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
    process = subprocess.Popen(
        command("--seconds=1.2", "--port=0"),
        cwd=cwd,
        env=environment(TERM=term),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # how Linux tells the end
            break
        if not some:
            break
        seen += some
    os.close(ours)
    assert process.wait(timeout=20) == 0
    return seen.decode()


def test_a_terminal_gets_a_board_and_its_cursor_back(tmp_path):
    seen = at_a_terminal("xterm-256color", tmp_path)
    assert re.search(r" s of 1\.2 s: \d+ bars, \d+ orders", seen)
    assert "Account  equity    10000.00  USD" in seen
    assert seen.index("\x1b[?25l") < seen.rindex("\x1b[?25h")
    board = seen[seen.index("\x1b[?25l") : seen.rindex("\x1b[?25h")]
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", board))
    assert max(map(len, lines)) <= 60
    assert "Look at it" in seen[seen.rindex("\x1b[?25h") :]


def test_a_dumb_terminal_gets_plain_lines(tmp_path):
    seen = at_a_terminal("dumb", tmp_path)
    assert "\x1b" not in seen
    assert "Latency in ms" in seen
    assert "Look at it" in seen


# -- simulated time -----------------------------------------------------------------------------------------------------


def test_what_happens_next_waits_for_the_tasks_that_woke():
    """However a task yields to the loop, the next happening comes after it waits again."""

    async def play():
        timeline, seen = Timeline(), []

        async def turn(name, every):
            for _ in range(3):
                await timeline.sleep(every)
                for _ in range(5):
                    await asyncio.sleep(0)
                seen.append((name, round(timeline.now, 6)))

        timeline.hurry()
        await timeline.run(turn("a", 0.2), turn("b", 0.3))
        return seen

    assert asyncio.run(play()) == [("a", 0.2), ("b", 0.3), ("a", 0.4), ("b", 0.6), ("a", 0.6), ("b", 0.9)]


def test_a_queue_keeps_what_comes_while_its_taker_is_away():
    async def play():
        timeline, seen = Timeline(), []
        queue = Queue[int](timeline)

        async def take():
            async for thing in queue:
                seen.append((thing, len(queue)))
                await timeline.sleep(0.25)

        for number in range(4):
            timeline.at(number / 10, lambda number=number: queue.put(number))
        timeline.at(0.35, queue.close)
        timeline.at(0.36, lambda: queue.put(99))
        timeline.hurry()
        await timeline.run(take())
        return seen

    assert asyncio.run(play()) == [(0, 0), (1, 1), (2, 1), (3, 0)]


def test_a_task_that_fails_ends_the_run():
    async def play():
        timeline = Timeline()

        async def fail():
            await timeline.sleep(0.1)
            raise RejectedError("X", "no")

        async def wait():
            await timeline.sleep(1e6)

        timeline.hurry()
        await timeline.run(fail(), wait())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(play())
    assert caught.group_contains(RejectedError)


@pytest.mark.parametrize(
    ("values", "p50", "p99"),
    [([5.0], 5.0, 5.0), ([1.0, 2.0], 1.0, 2.0), ([float(n) for n in range(1, 201)], 100.0, 198.0)],
)
def test_quantiles(values, p50, p99):
    found = Latency.of(reversed(values))
    assert found == Latency(len(values), p50, p99, values[-1])


def test_no_quantiles_of_nothing():
    assert Latency.of([]) is None
