"""`reset`: everything is put aside, nothing is deleted, and nobody is surprised."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import botobs
from botobs.cli import main
from tests.cli.world import ask, ask_json, fills, snapshot, trade


def archives():
    return sorted(Path("data").glob("archive-*"))


def test_everything_is_put_aside_and_a_bot_begins_anew(capsys):
    trade(starting_equity=1000)
    Path("data/notes.txt").write_text("mine")
    before = snapshot()
    status, out, err = ask(capsys, "reset", "--yes")
    assert (status, err) == (0, "")
    (archive,) = archives()
    assert re.fullmatch(r"archive-\d{8}T\d{6}Z", archive.name)
    assert str(archive) in out
    moved = {name.replace(str(archive), "data"): content for name, content in snapshot(archive).items()}
    left = {name: content for name, content in before.items() if name not in ("data/state/lock", "data/notes.txt")}
    assert moved == left
    assert Path("data/notes.txt").read_text() == "mine"
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        assert obs.previous_run is None
        assert obs.totals().fills == 0
        assert obs.performance.summary("all").trades == 0
        assert obs.fill(**fills(1)[0]).booked
    assert ask_json(capsys, "dump")[1]["ledger"] == {"lines": 1, "damaged": []}
    assert ask_json(capsys, "dump", "--data-dir", str(archive))[1]["fills"] == 12
    assert ask(capsys, "verify", "--data-dir", str(archive))[0] == 0


def test_twice_in_a_second_makes_two_archives(capsys):
    for _ in range(2):
        trade(said=fills(2))
        assert ask(capsys, "reset", "--yes")[0] == 0
    assert len(archives()) == 2


def test_nothing_to_put_aside(capsys):
    trade(said=fills(2))
    ask(capsys, "reset", "--yes")
    status, out, err = ask(capsys, "reset", "--yes")
    assert (status, out) == (1, "")
    assert "there is nothing to put aside in data" in err
    assert len(archives()) == 1


def test_a_running_bot_is_left_alone(capsys):
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        obs.fill(**fills(1)[0])
        status, out, err = ask(capsys, "reset", "--yes")
        assert (status, out) == (2, "")
        assert "bot 'trend-bot'" in err
        assert obs.fill(**fills(2)[1]).booked
    assert archives() == []
    assert ask_json(capsys, "dump")[1]["fills"] == 2


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_asks_first(capsys, monkeypatch):
    trade()
    before = snapshot()
    for answer in ("n\n", "\n", "", "what\n"):
        monkeypatch.setattr(sys, "stdin", _Terminal(answer))
        status, out, err = ask(capsys, "reset")
        assert (status, out) == (1, "")
        assert "a ledger of 12 lines" in err
        assert err.endswith("[y/N] botobs reset: nothing was changed\n")
        assert snapshot() == before
    monkeypatch.setattr(sys, "stdin", _Terminal("yes\n"))
    assert ask(capsys, "reset")[0] == 0
    assert len(archives()) == 1


def test_nobody_to_be_asked(capsys, monkeypatch):
    trade()
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        status, out, err = ask(capsys, "reset")
        assert (status, out) == (2, "")
        assert "--yes" in err
    monkeypatch.setattr(sys, "stdin", _Terminal("y\n"))
    assert main(["reset", "--json"]) == 2
    assert archives() == []


def test_for_programs(capsys):
    trade()
    status, found = ask_json(capsys, "reset", "--yes")
    assert status == 0
    assert found == {"archive": str(archives()[0]), "moved": ["metrics", "logs", "state"]}
