"""`dashboards export`: what it writes, and what it leaves alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from botobs.dashboards import Stack
from tests.cli.world import ask, ask_json, botobs_process, snapshot


def exported(folder="stack"):
    found = {path.removeprefix(f"{folder}/"): content.decode() for path, content in snapshot(folder).items()}
    found.pop(".botobs-export.json")
    return found


def test_it_writes_everything(capsys):
    status, out, err = ask(capsys, "dashboards", "export", "deep/stack")
    assert (status, err) == (0, "")
    files = Stack().files()
    assert out == f"deep/stack: {len(files)} files written\n  README.md tells how to start it\n"
    assert exported("deep/stack") == files


def test_again_it_writes_what_has_to_change_only(capsys):
    ask(capsys, "dashboards", "export", "stack")
    before = {path: path.stat().st_mtime_ns for path in Path("stack").rglob("*.json") if path.name[0] != "."}
    status, said = ask_json(capsys, "dashboards", "export", "stack")
    assert (status, said["written"], len(said["unchanged"])) == (0, [], len(Stack().files()))
    words = ["--target", "127.0.0.1:9464", "--target", "[::1]:9465"]
    status, said = ask_json(capsys, "dashboards", "export", "stack", *words)
    assert (status, said["written"]) == (0, ["prometheus/prometheus.yml"])
    status, said = ask_json(capsys, "dashboards", "export", "stack", "--namespace", "acme", *words)
    assert (status, "grafana/dashboards/overview.json" in said["written"]) == (0, True)
    assert exported() == Stack("acme", ("127.0.0.1:9464", "[::1]:9465")).files()
    assert before.keys() == {path for path in Path("stack").rglob("*.json") if path.name[0] != "."}


def test_what_somebody_changed_is_left_alone(capsys):
    ask(capsys, "dashboards", "export", "stack")
    Path("stack/prometheus/rules/alerts.yml").write_text("groups: []\n")
    Path("stack/compose.yaml").unlink()
    Path("stack/mine.yml").write_text("mine")
    before = snapshot("stack")
    status, out, err = ask(capsys, "dashboards", "export", "stack", "--namespace", "acme")
    assert (status, out) == (1, "")
    assert err == (
        "botobs dashboards export: stack: prometheus/rules/alerts.yml is not as exported; nothing was written "
        "(--force replaces what is there)\n"
    )
    assert snapshot("stack") == before
    assert ask(capsys, "dashboards", "export", "stack", "--force")[0] == 0
    found = exported()
    assert found.pop("mine.yml") == "mine"
    assert found == Stack().files()


@pytest.mark.parametrize("record", [None, "", "[]", "{", '{"compose.yaml": 3}'])
def test_files_of_which_nothing_is_known_are_somebodys(capsys, record):
    Path("stack").mkdir()
    Path("stack/compose.yaml").write_text("services: {}\n")
    if record is not None:
        Path("stack/.botobs-export.json").write_text(record)
    status, _, err = ask(capsys, "dashboards", "export", "stack")
    assert (status, "compose.yaml is not as exported" in err) == (1, True)
    assert Path("stack/compose.yaml").read_text() == "services: {}\n"


def test_files_can_be_read_by_every_user(capsys):
    """In its container, each program is a user of its own."""
    before = os.umask(0o077)
    try:
        ask(capsys, "dashboards", "export", "stack")
    finally:
        os.umask(before)
    for path in Path("stack").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "botobs dashboards: which action? It takes export"),
        (["exprt", "x"], "botobs dashboards: ACTION: invalid choice: 'exprt' (choose from 'export')"),
        (["export"], "botobs dashboards export: the following arguments are required: DIR"),
        (["export", "file"], "botobs dashboards: file is no directory; it takes one, or the name of one to be made"),
        (["export", "file/in"], "botobs dashboards: file/in is no directory; it takes one, or the name of one to be made"),
        (["export", "/proc/x"], "botobs dashboards: /proc/x cannot be made: No such file or directory"),
        (["export", ""], "botobs dashboards export: DIR: '' will not do; it takes the name of a directory"),
        (
            ["export", "blocked"],
            "botobs dashboards: blocked/grafana/dashboards/botobs.json cannot be written: Not a directory",
        ),
        (
            ["export", "x", "--target", "http://localhost:9464"],
            "botobs dashboards export: --target: 'http://localhost:9464' will not do; it takes a host and a port, such as "
            "127.0.0.1:9464",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(capsys, words, said):
    Path("file").write_text("")
    Path("blocked").mkdir()
    Path("blocked/grafana").write_text("")
    status, out, err = ask(capsys, "dashboards", *words)
    assert (status, out, err) == (2, "", said + "\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_fails_is_told_and_the_next_try_succeeds(capsys, monkeypatch):
    real, left = Path.write_bytes, [3]

    def write(path, data):
        left[0] -= 1
        return real(Path("/dev/full") if left[0] < 0 else path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    status, _, err = ask(capsys, "dashboards", "export", "stack")
    assert (status, "No space left on device" in err) == (1, True)
    monkeypatch.undo()
    assert not list(Path("stack").rglob("*.part"))
    assert ask(capsys, "dashboards", "export", "stack", "--namespace", "bot")[0] == 0
    assert exported() == Stack().files()


def test_as_a_process(tmp_path):
    done = botobs_process("dashboards", "export", "here", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "here" / "README.md").exists()
