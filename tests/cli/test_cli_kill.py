"""`kill`: from outside the bot, whether it runs or not."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

import botobs
from botobs.errors import TradingHalted
from botobs.safety import outside
from tests.cli.world import ROOT, ask, ask_json, botobs_process, fills, snapshot, somebody_elses, trade
from tests.soak.processes import Bot

BOT = """
obs = botobs.start("trend-bot", data_dir=data_dir, durability="os")
obs.kill_switch.on_trip(lambda trip: say(called=trip.reason, drill=trip.drill))
if len(sys.argv) > 2:
    obs.kill_switch.on_trip(lambda trip: 1 / 0)
say(ready=True)
for line in sys.stdin:
    if line.strip() == "check":
        try:
            obs.kill_switch.check()
            say(allowed=True)
        except botobs.TradingHalted as error:
            say(allowed=False, why=str(error))
    else:
        obs.shutdown()
        break
"""


@pytest.fixture
def bot():
    with Bot(BOT, "data") as running:
        assert running.hear() == {"ready": True}
        yield running
        if running.process.poll() is None:
            running.tell("end")
            assert running.end() == 0


def allowed(bot):
    bot.tell("check")
    return bot.hear()["allowed"]


def seconds(said, record):
    return (datetime.fromisoformat(record["ts"]) - datetime.fromisoformat(said["since"])).total_seconds()


def records():
    return [json.loads(line) for line in Path("data/logs/kill_switch.jsonl").read_text().splitlines()]


# -- a bot that runs


def test_trip_and_reset_reach_the_running_bot_within_a_second(capsys, bot):
    best = []
    for turn in range(3):
        assert allowed(bot)
        status, said = ask_json(capsys, "kill", "trip", "--reason", f"fat finger {turn}", "--by", "anna")
        assert (status, said["state"], said["seen"], said["changed"]) == (0, "halted", True, True)
        assert bot.hear() == {"called": f"fat finger {turn}", "drill": False}
        assert not allowed(bot)
        best.append(seconds(said, [one for one in records() if one["event"] == "trip"][-1]))
        status, said = ask_json(capsys, "kill", "reset", "--by", "anna", "--reason", "looked at it")
        assert (status, said["state"], said["previous"], said["seen"]) == (0, "active", "halted", True)
        best.append(seconds(said, [one for one in records() if one["event"] == "reset"][-1]))
    assert sorted(best)[1] < 1.0, best
    (trip, *_) = [one for one in records() if one["event"] == "trip"]
    assert (trip["source"], trip["by"], trip["reason"]) == ("outside", "anna", "fat finger 0")


def test_status_says_what_the_bot_says(capsys, bot):
    assert ask_json(capsys, "kill", "status")[1] | {"since": ""} == {
        "state": "active", "reason": None, "since": "", "running": True,
    }  # fmt: skip
    ask(capsys, "kill", "trip", "--reason", "x", "--target", "reduce_only")
    status, said = ask_json(capsys, "kill", "status")
    assert (status, said["state"], said["reason"], said["running"]) == (0, "reduce_only", "x", True)
    status, out, err = ask(capsys, "kill", "status")
    assert (status, err) == (0, "")
    assert out.startswith("data: reduce_only since 20")
    assert "reason  x" in out and "bot     runs" in out  # noqa: PT018


def test_a_status_that_is_not_active_says_how_to_arm_it(capsys):
    trade("my data", said=fills(2))
    assert "to arm" not in ask(capsys, "--data-dir", "my data", "kill", "status")[1]
    _, out, _ = ask(capsys, "--data-dir", "my data", "kill", "trip", "--reason", "x")
    (line,) = [line for line in out.splitlines() if "to arm" in line]
    words = shlex.split(line.removeprefix("  to arm  botobs "))
    assert ask(capsys, *words)[0] == 0 and ask(capsys, *words, "--data-dir", "my data")[0] == 0
    assert outside.standing(Path("my data/state")).state == "active"


def test_what_could_not_be_done_says_that_nothing_was(capsys):
    with somebody_elses("state") as data:
        for words in (("trip", "--reason", "r"), ("reset", "--by", "me", "--reason", "r")):
            status, out, err = ask(capsys, "--data-dir", str(data), "kill", *words)
            assert (status, out) == (1, "")
            assert err.startswith(f"botobs kill {words[0]}: NOTHING WAS DONE: ") and ".tmp" not in err
            assert err.endswith("Permission denied; it takes the bot's own user\n")


def test_a_drill_calls_everybody_and_changes_nothing(capsys, bot):
    before = outside.standing(Path("data/state"))
    status, said = ask_json(capsys, "kill", "drill")
    assert (status, said["ok"], said["durable"]) == (0, True, True)
    assert bot.hear() == {"called": "drill from outside", "drill": True}
    assert [one["outcome"] for one in said["callbacks"]] == ["done"]
    assert outside.standing(Path("data/state")) == before
    assert allowed(bot)
    status, out, _ = ask(capsys, "kill", "drill")
    assert "the drill went well" in out
    assert bot.hear()["drill"]


def test_a_drill_that_fails_is_a_check_that_failed(capsys):
    with Bot(BOT, "data", "broken") as running:
        running.hear()
        status, out, _ = ask(capsys, "kill", "drill")
        assert status == 1
        assert "the drill FAILED" in out
        assert "ZeroDivisionError" in out
        running.hear()
        running.tell("end")
        assert running.end() == 0


def test_a_process_of_its_own_from_elsewhere(tmp_path, bot):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = botobs_process("--data-dir", str(tmp_path / "data"), "kill", "trip", "--reason", "r", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "the running bot has seen it" in done.stdout
    done = botobs_process("kill", "status", "--json", "--data-dir", str(tmp_path / "data"), cwd=elsewhere)
    assert json.loads(done.stdout)["state"] == "halted"
    assert bot.hear()["called"] == "r"


def test_a_bot_that_does_not_answer_is_told_of(capsys, monkeypatch):
    """Somebody holds the lock and looks at nothing."""
    trade(said=fills(2))
    monkeypatch.setattr("botobs.cli.kill._HEARD_S", 0.05)
    lock = os.open("data/state/lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        status, out, err = ask(capsys, "kill", "trip", "--reason", "r")
    finally:
        os.close(lock)
    assert status == 1
    assert err.endswith("the running bot has not answered within 0 s\n")
    assert ask_json(capsys, "kill", "status")[1]["state"] == "halted"


def test_an_answer_that_a_full_disk_keeps_back_is_told_of(capsys, monkeypatch):
    """The state is written in place; the record by which a bot answers needs room."""
    trade(said=fills(2))
    monkeypatch.setattr("botobs.cli.kill._HEARD_S", 0.05)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_blocks=512))
    lock = os.open("data/state/lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        status, _, err = ask(capsys, "kill", "trip", "--reason", "r")
    finally:
        os.close(lock)
    assert status == 1
    assert err.endswith("the disk is full and its answer needs room, so its log or /health has to tell\n")


# -- no bot runs


def test_the_next_bot_starts_as_it_was_left(capsys):
    trade(said=fills(2))
    status, out, err = ask(capsys, "kill", "trip", "--reason", "maintenance")
    assert (status, err) == (0, "")
    assert "no bot runs there now; the next one starts halted" in out
    with botobs.start("trend-bot", data_dir="data") as obs:
        with pytest.raises(TradingHalted, match="maintenance"):
            obs.kill_switch.check()
    assert ask(capsys, "kill", "reset", "--by", "anna", "--reason", "done")[0] == 0
    with botobs.start("trend-bot", data_dir="data") as obs:
        obs.kill_switch.check()


def test_what_the_bot_tripped_itself_is_shown(capsys):
    with botobs.start("trend-bot", data_dir="data", starting_equity=10_000, equity_floor=9_999) as obs:
        obs.fill(symbol="A", side="buy", qty=1, price=100, fee=2, fee_asset="USD")
        assert obs.kill_switch.state == "halted"
        told = obs.kill_switch.status()
    status, said = ask_json(capsys, "kill", "status")
    assert (status, said) == (0, {**told, "running": False})
    out = ask(capsys, "kill", "status")[1]
    assert "EquityBelow(9999)" in out
    assert "equity: 9998" in out


def test_a_trip_twice_changes_nothing(capsys):
    trade(said=fills(2))
    ask(capsys, "kill", "trip", "--reason", "first")
    before = snapshot()
    status, said = ask_json(capsys, "kill", "trip", "--reason", "second")
    assert (status, said["reason"], said["changed"]) == (0, "first", False)
    assert "nothing was changed: it is halted already: first" in ask(capsys, "kill", "trip")[1]
    assert snapshot() == before


def test_a_reset_of_what_is_active_changes_nothing(capsys):
    trade(said=fills(2))
    before = snapshot()
    status, said = ask_json(capsys, "kill", "reset", "--by", "a", "--reason", "r")
    assert (status, said["state"], said["changed"]) == (0, "active", False)
    assert snapshot() == before


def test_status_for_scripts(capsys):
    trade(said=fills(2))
    assert ask(capsys, "kill", "status", "--check")[0] == 0
    ask(capsys, "kill", "trip", "--reason", "r", "--target", "reduce_only")
    assert ask(capsys, "kill", "status", "--check")[0] == 1
    assert ask(capsys, "kill", "status")[0] == 0


def test_status_and_drill_write_nothing(capsys):
    trade(said=fills(2))
    before = snapshot()
    ask(capsys, "kill", "status")
    status, out, err = ask(capsys, "kill", "drill")
    assert (status, out) == (1, "")
    assert "no bot runs in data: there is nobody to drill" in err
    assert snapshot() == before


def test_damage_is_halted_and_a_reset_mends_it(capsys):
    trade(said=fills(2))
    Path("data/state/kill_switch.json").write_bytes(b"garbage")
    said = ask_json(capsys, "kill", "status")[1]
    assert said["state"] == "halted"
    assert "damaged" in said["reason"]
    assert ask(capsys, "kill", "reset", "--by", "anna", "--reason", "restored")[0] == 0
    assert ask_json(capsys, "kill", "status")[1]["state"] == "active"


def test_a_directory_where_no_bot_ran_yet(capsys):
    Path("data").mkdir()
    for words in (("status",), ("reset", "--by", "a", "--reason", "r"), ("drill",)):
        status, out, err = ask(capsys, "kill", *words)
        assert (status, out) == (1, "")
        assert "no bot has run in data" in err
    assert ask(capsys, "kill", "trip", "--reason", "not yet")[0] == 0
    with botobs.start("trend-bot", data_dir="data") as obs:
        assert obs.kill_switch.state == "halted"
        assert obs.kill_switch.reason == "not yet"


def test_words_that_will_not_do(capsys):
    trade(said=fills(2))
    before = snapshot()
    for words, told in (
        ((), "which action? It takes status or trip or reset or drill"),
        (("stop",), "invalid choice: 'stop'"),
        (("reset", "--by", "a"), "--reason"),
        (("reset", "--reason", "a"), "--by"),
        (("reset", "--reason", " ", "--by", "a"), "a reset needs a reason"),
        (("trip", "--reason", ""), "a trip needs a reason"),
        (("trip", "--target", "activ"), "halted or reduce_only"),
        (("status", "--reason", "x"), "there is no option --reason"),
    ):
        status, out, err = ask(capsys, "kill", *words)
        assert (status, out) == (2, ""), words
        assert told in err
    status, _, err = ask(capsys, "kill", "status", "--data-dir", "nowhere")
    assert status == 1
    assert "nowhere is not there" in err
    assert ask(capsys, "kill", "trip", "--reason", "r", "--data-dir", "nowhere")[0] == 1
    assert not Path("nowhere").exists()
    assert snapshot() == before


def test_the_page_shows_what_it_prints(capsys):
    trade(said=fills(2))
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    (block,) = re.findall(r"^```text\n(\$ botobs kill.*?)^```$", page, re.MULTILINE | re.DOTALL)
    printed = []
    for line in block.splitlines():
        if line.startswith("$ "):
            status, out, err = ask(capsys, *shlex.split(line)[2:])
            assert status == ("drill" in line)
            printed += [line, *(out + err).splitlines()]
    steady = [re.sub(r"since [\d :-]+ UTC$", "since NOW", line) for line in block.splitlines()]
    assert [re.sub(r"since [\d :-]+ UTC$", "since NOW", line) for line in printed] == steady


def test_text_from_outside_moves_no_cursor(capsys):
    trade(said=fills(2))
    assert ask(capsys, "kill", "trip", "--reason", "a\x1b[2J\nb", "--by", "x\x07")[0] == 0
    out = ask(capsys, "kill", "status")[1]
    assert all(char.isprintable() or char == "\n" for char in out)
    assert len(out.splitlines()) == 5
