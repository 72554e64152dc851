"""`botobs backup` and `botobs restore`: to a folder, and to a real server that speaks S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import botobs
from botobs.cli import main
from tests.servers import s3
from tests.soak.processes import Bot, environment


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def used(tmp_path):
    with botobs.start("trend-bot", data_dir=tmp_path / "data", durability="os", starting_equity=10_000) as obs:
        for n in range(3):
            obs.fill(symbol="BTC", side="buy", qty=1, price=100 + n, fee=1, fill_id=n)
    return tmp_path / "data"


def ask(capsys, *words):
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def ask_json(capsys, *words):
    status, out, err = ask(capsys, *words, "--json")
    assert err == ""
    return status, json.loads(out)


def test_the_whole_way_in_a_folder(used, capsys, tmp_path):
    status, said = ask_json(capsys, "backup", "place")
    assert status == 0
    assert {name: said[name] for name in ("bot", "lines", "dropped", "notes")} == {
        "bot": "trend-bot", "lines": 3, "dropped": 0, "notes": []
    }  # fmt: skip
    status, out, err = ask(capsys, "backup", "place", "--keep", 1)
    assert (status, err) == (0, "")
    assert "0 new objects, 0 bytes sent and read back" in out and "1 older backup taken away" in out
    status, out, err = ask(capsys, "backup", "list", "place")
    assert (status, err) == (0, "") and ": 1 backup\n" in out and "trend-bot" in out
    status, listed = ask_json(capsys, "backup", "list", "place")
    assert status == 0 and [each["lines"] for each in listed["backups"]] == [3]
    status, out, err = ask(capsys, "backup", "check", "place")
    assert (status, err) == (0, "") and "every piece is there, and as it was written" in out
    status, said = ask_json(capsys, "restore", "place", "--data-dir", "new")
    assert (status, said["ledger_ok"], said["problem"], said["at"]) == (0, True, None, listed["backups"][0]["at"])
    assert ask(capsys, "restore", "place", "--data-dir", "third", "--at", said["at"])[0] == 0
    totals = [ask_json(capsys, "dump", "--data-dir", name)[1] for name in ("data", "new", "third")]
    for each in totals:
        each.pop("window")
        each["positions"][0].pop("age_s", None)
    assert totals[0] == totals[1] == totals[2] and totals[0]["fills"] == 3
    assert ask(capsys, "verify", "--data-dir", "new")[0] == 0
    # what is wrong, in one line each
    piece = next((tmp_path / "place" / "objects").rglob("*.gz"))
    piece.write_bytes(b"")
    mistakes = [
        (("restore", "place", "--data-dir", "new"), 1, "new is not empty; a backup is restored into an empty"),
        (("restore", "place", "--data-dir", "fourth"), 1, "is missing or damaged"),
        (("restore", "nowhere", "--data-dir", "fourth"), 1, "there is no backup at"),
        (("restore", "place", "--data-dir", "fourth", "--at", "2020-01-01"), 1, "no backup from that time or before"),
        (("restore", "--data-dir", "fourth"), 2, "where? It takes a folder or a URL"),
        (("restore", "a", "b", "--data-dir", "fourth"), 2, "there is nothing to be done with 'b'"),
        (("backup", "--at", "2026-01-01", "place"), 2, "--at goes with 'check'"),
        (("backup", "zz://me:hush@x/y"), 2, "zz://x/y is no place that fsspec knows"),
        (("backup", "data/here"), 2, "is in the data directory itself"),
        (("backup", "place", "--data-dir", "none"), 1, "none is not there"),
        (("backup", "list", "nowhere"), 1, "there is no backup at"),
        (("backup", "place", "--keep", "0"), 2, "--keep: '0' will not do"),
    ]
    for words, expected, says in mistakes:
        status, out, err = ask(capsys, *words)
        assert (status, out) == (expected, ""), words
        assert says in err and err.count("\n") == 1 and err.startswith(f"botobs {words[0]}: ") and "hush" not in err
    status, said = ask_json(capsys, "backup", "check", "place")
    assert (status, said["ok"], len(said["problems"])) == (1, False, 1)
    assert ask(capsys, "backup", "place", "--thorough")[0] == ask(capsys, "backup", "check", "place")[0] == 0
    assert not (tmp_path / "fourth").exists() and not list(tmp_path.glob(".botobs*"))
    os.environ["BOTOBS_BACKUP_URL"] = "place"
    try:
        assert ask(capsys, "backup")[0] == ask(capsys, "backup", "check")[0] == 0
    finally:
        del os.environ["BOTOBS_BACKUP_URL"]


def test_progress_is_shown_on_a_terminal_only(used, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    status, out, err = ask(capsys, "backup", "place")
    assert status == 0 and "\x1b" not in out and "backing up" in err
    assert "backing up" not in ask(capsys, "backup", "place", "--json")[2]


S3_WAY = """
import gzip, sys, warnings
warnings.simplefilter("error")
from botobs.cli import main
url = "s3://bucket/bots/trend"
def do(*words):
    sys.stdout.flush()
    print(main([*words]), flush=True)
do("backup", url, "--json")
do("backup", url, "--json", "--keep", "1")
do("backup", "check", url, "--json")
do("restore", url, "--data-dir", "new", "--json")
do("verify", "--data-dir", "new", "--json")
import fsspec
place = fsspec.filesystem("s3")
piece = place.find("bucket/bots/trend/objects")[0]
place.pipe_file(piece, b"something else")
do("restore", url, "--data-dir", "third")
place.pipe_file(place.find("bucket/bots/trend/backups")[0], b"torn")
do("restore", url, "--data-dir", "third")
"""


@pytest.mark.skipif(not s3.CAN_RUN, reason="moto, flask or s3fs is not installed")
def test_the_whole_way_to_s3_and_back(used, tmp_path):
    with s3.S3Server() as server:
        server.request("PUT", "/bucket")
        done = subprocess.run(
            [sys.executable, "-c", S3_WAY], env=environment(**server.environment), cwd=tmp_path,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    lines = done.stdout.splitlines()
    said, statuses = (
        [json.loads(line) for line in lines if line.startswith("{")],
        [int(line) for line in lines if line.isdigit()],
    )
    assert statuses == [0, 0, 0, 0, 0, 1, 1], (done.stdout, done.stderr)
    first, second, checked, restored, verified = said
    assert first["new_objects"] > 5 and second["new_objects"] == 0 and second["dropped"] == 1
    assert checked["ok"] and restored["ledger_ok"] and verified["ok"] and verified["lines"] == 3
    assert "is missing or damaged" in done.stderr and "there is no backup at s3://bucket/bots/trend" in done.stderr
    assert "hush-hush" not in done.stderr
    assert "Traceback" not in done.stderr and "Unclosed" not in done.stderr, done.stderr
    assert not (tmp_path / "third").exists()
    for path in (tmp_path / "new").rglob("*.jsonl"):
        assert path.read_bytes() == (used / path.relative_to(tmp_path / "new")).read_bytes()


RESTORER = """
from botobs.cli import main
import botobs.backup.shelf as shelf
get = shelf.Shelf.get
def slow(self, part):
    say(part=part.digest)
    sys.stdin.readline()
    return get(self, part)
shelf.Shelf.get = slow
main(["restore", "place", "--data-dir", data_dir])
"""


def test_a_restore_that_is_killed_leaves_no_data_directory(used, capsys, tmp_path):
    assert ask(capsys, "backup", "place")[0] == 0
    with Bot(RESTORER, "new") as bot:
        bot.hear()
        bot.tell()
        bot.hear()
        bot.signal(signal.SIGKILL)
        bot.process.wait()
    assert not (tmp_path / "new").exists()
    (left,) = tmp_path.glob(".botobs-restore-*")
    assert any(left.rglob("*"))
    assert ask(capsys, "restore", "place", "--data-dir", "new")[0] == 0
    assert not left.exists(), "the next one tidies up"
