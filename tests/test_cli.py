"""The command line: what it answers to mistakes, and that nothing about its surroundings upsets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import botobs
from botobs.cli import main
from botobs.cli.arguments import COMMANDS

ROOT = Path(__file__).parents[1]


def run(*words, cwd, stdout=subprocess.PIPE, **env):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTOBS_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-m", "botobs", *words],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


@pytest.fixture(autouse=True)
def _somewhere_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"botobs {botobs.__version__}\n"


def test_entry_point():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"botobs": f"{main.__module__}:{main.__name__}"}


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
@pytest.mark.parametrize("columns", [60, 120])
def test_help_fits_the_terminal(words, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "--data-dir" in out
    assert words[0] in out or words == ["--help"]
    assert max(map(len, out.splitlines())) <= columns


def test_alone_it_prints_help(capsys):
    assert main([]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("usage: botobs")
    assert all(f"\n    {name} " in told.out for name in COMMANDS)
    assert told.err == ""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in COMMANDS
        if name not in ("demo", "compare", "import-json", "import-csv", "alerts", "dashboards", "restore", "metricpack")
    ],
)
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_a_place_without_data_is_told_in_one_line_and_left_alone(name, what, capsys, tmp_path):
    if what == "empty":
        (tmp_path / "data").mkdir()
    elif what == "file":
        (tmp_path / "data").write_text("")
    words = {"window": ["--last", "6h"], "reset": ["--yes"], "kill": ["status"], "backup": ["place"], "explain": ["t1"]}
    more = words.get(name, [])
    status = main([name, *more])
    told = capsys.readouterr()
    assert status == 1
    assert told.out == ""
    assert told.err.startswith(f"botobs {name}: ")
    assert told.err.count("\n") == 1
    assert [*tmp_path.rglob("*")] == ([] if what == "missing" else [tmp_path / "data"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--json", "botobs: which command? 'botobs --help' lists them"),
        ("--data-dir x", "botobs: which command? 'botobs --help' lists them"),
        ("dmeo", "botobs: there is no command 'dmeo'; did you mean demo?"),
        ("zzz --seconds 3", "botobs: there is no command 'zzz'; the commands are " + ", ".join(COMMANDS)),
        ("exprt", "botobs: there is no command 'exprt'; did you mean export?"),
        ("import", "botobs: there is no command 'import'; did you mean import-json?"),
        ("window --last 6x", "botobs window: --last: '6x' will not do; it takes a duration such as 90m, 6h or 7d"),
        ("window --last 6", "botobs window: --last: '6' will not do; it takes a duration such as 90m, 6h or 7d"),
        ("kill", "botobs kill: which action? It takes status or trip or reset or drill"),
        ("alerts", "botobs alerts: which action? It takes test"),
        ("dump --data-dir=", "botobs dump: --data-dir: '' will not do; it takes a directory"),
        (
            "performance --start 2026-01-03 --end 2026-01-02",
            "botobs performance: --end: 2026-01-02T00:00:00.000000Z is before --start, 2026-01-03T00:00:00.000000Z",
        ),
        (
            "export --until 2026-01-02 --since 2026-01-03",
            "botobs export: --until: 2026-01-02T00:00:00.000000Z is before --since, 2026-01-03T00:00:00.000000Z",
        ),
        ("window", "botobs window: one of the arguments --last --since is required"),
        (
            "window --since never",
            "botobs window: --since: 'never' will not do; it takes a time such as 2026-01-31, 2026-01-31T12:00:00Z "
            "or 1767225600",
        ),
        (
            "export --format cvs",
            "botobs export: --format: 'cvs' will not do; it takes csv or parquet; did you mean csv?",
        ),
        ("export --wat trades", "botobs export: there is no option --wat; did you mean --what?"),
        ("compare", "botobs compare: the following arguments are required: FILE"),
        (
            "import-csv f.csv --map tss=Time",
            "botobs import-csv: --map: there is no field 'tss' to map; fields are ts, symbol, base, quote, side, qty, "
            "price, fee, fee_asset, order_id, fill_id, role, account, venue, position_side; did you mean ts?",
        ),
        (
            "dump --kinds lve",
            "botobs dump: --kinds: 'lve' will not do; it takes live, import, hedger_sim; did you mean live?",
        ),
        (
            "compare f --seconds=-1",
            "botobs compare: --seconds: '-1' will not do; it takes a whole number from 0 to 86400",
        ),
        ("compare f --tolerance x", "botobs compare: --tolerance: 'x' will not do; it takes a number, such as 0.01"),
        ("demo --secnds 4", "botobs demo: there is no option --secnds; did you mean --seconds?"),
        ("demo --sec 4", "botobs demo: there is no option --sec; did you mean --seconds?"),
        ("demo --secnds=4", "botobs demo: there is no option --secnds; did you mean --seconds?"),
        ("--dta-dir x demo", "botobs: there is no option --dta-dir; did you mean --data-dir?"),
        ("demo --jsn", "botobs demo: there is no option --jsn; did you mean --json?"),
        ("demo again", "botobs demo: there is nothing to be done with 'again'"),
        ("--data-dir", "botobs: --data-dir: expected one argument"),
        ("demo --seconds", "botobs demo: --seconds: expected one argument"),
        *(
            (
                f"demo --seconds={bad}",
                f"botobs demo: --seconds: '{bad}' will not do; it takes seconds, from 0.1 to 86400",
            )
            for bad in ("0", "-5", "nan", "inf", "1e99", "soon", "")
        ),
        *(
            (
                f"demo --port={bad}",
                f"botobs demo: --port: '{bad}' will not do; it takes a whole number from 0 to 65535",
            )
            for bad in ("65536", "-1", "http", "1.5", "9" * 5000)
        ),
        (
            "demo --seed=-1",
            "botobs demo: --seed: '-1' will not do; it takes a whole number from 0 to 9223372036854775807",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(line, says, capsys, tmp_path):
    assert main(line.split()) == 2
    told = capsys.readouterr()
    assert told.err == says + "\n"
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "botobs.toml").write_text("queue_sze = 5\n")
    assert main(["demo"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("botobs: unknown setting queue_sze")
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_data_dir_that_cannot_be_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--port", "0", "--data-dir", "file"]) == 2
    told = capsys.readouterr()
    assert re.match(r"botobs: data_dir = '.*/file' cannot be used", told.err)
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--data-dir", "here", "--json", "demo"], ["demo", "--json", "--data-dir=here"]])
def test_common_options_stand_before_or_after_the_command(words, tmp_path, capsys):
    (tmp_path / "here").write_text("a file in the way")
    assert main([*words, "--port=0"]) == 2
    assert "/here' cannot be used" in capsys.readouterr().err


def test_a_mistake_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from botobs.cli import main; main(['dmeo']); "
        "print([name for name in ('rich', 'opentelemetry.sdk', 'grpc', 'requests', 'asyncio') if name in sys.modules])"
    )
    out = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    assert out == b"[]\n"


def test_a_closed_pipe_is_quiet_and_ends_the_run_in_order(tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    done = run("demo", "--seconds=9", "--port=0", cwd=tmp_path, stdout=writes)
    os.close(writes)
    assert done.returncode == 141
    assert done.stderr == ""
    assert '"clean":true' in (tmp_path / "data/state/run.json").read_text()


def test_a_pipe_that_closes_on_the_way_is_quiet(tmp_path):
    """As `botobs demo | head -n 1`."""
    reads, writes = os.pipe()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTOBS_", "OTEL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "botobs", "demo", "--seconds=9", "--port=0"],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=writes,
        stderr=subprocess.PIPE,
    )
    os.close(writes)
    assert os.read(reads, 6) == b"botobs"
    os.close(reads)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 141
    assert told == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_cannot_be_written_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        done = run("demo", "--seconds=0.1", "--port=0", cwd=tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "botobs: the output cannot be written: No space left on device\n"


def test_no_output_at_all_is_fine(tmp_path):
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'botobs', *sys.argv[1:]])"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--seconds=0.1", "--port=0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_that_knows_only_ascii(tmp_path):
    done = run(
        "demo", "--seconds=0.1", "--port=0", "--data-dir=dätä 日", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "dätä 日/logs/signals.jsonl").exists()
