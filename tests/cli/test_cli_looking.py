"""`dump`, `window`, `verify`, `performance`, `export`: what they say is what the bot says, and they change nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import botobs
from tests.cli.world import MINUTE, ROOT, T0, ask, ask_json, botobs_process, fills, snapshot, somebody_elses, trade

D = Decimal
_LOOKING = (
    ["dump"], ["window", "--last", "6h"], ["window", "--since", "2026-01-01"], ["verify"], ["performance"],
    ["performance", "--window", "2"], ["export"], ["export", "--what", "trades"], ["export", "--what", "equity"],
)  # fmt: skip


def test_dump_says_what_the_bot_says(capsys):
    told = trade(starting_equity=1000, more=[lambda obs: obs.fill("x", symbol="ETH/USDT", side="buy", qty=3, price=50),
                                             lambda obs: obs.mark("ETH/USDT", 55)])  # fmt: skip
    with botobs.start("trend-bot", data_dir="data", starting_equity=1000) as obs:
        told = obs.totals().to_dict()
        held = obs.positions
        status, found = ask_json(capsys, "dump")
    assert status == 0
    found["window"] = told["window"] = None  # the one asked a moment later
    assert {name: found[name] for name in told} == told
    assert (
        [(one["symbol"], D(one["qty"]), D(one["mark"])) for one in found["positions"]]
        == [(one.symbol, one.qty, one.mark) for one in held]
        == [("ETH/USDT", D(3), D(55))]
    )
    assert found["ledger"] == {"lines": 13, "damaged": []}
    status, out, err = ask(capsys, "dump")
    assert (status, err) == (0, "")
    for words in ("gross PnL", "max drawdown", "1 open position", "ETH/USDT", "1 fill came without a fee"):
        assert words in out


def test_dump_says_why_a_figure_is_missing(capsys):
    trade()
    _, out, _ = ask(capsys, "dump")
    assert re.search(r"equity +-  no starting_equity was given", out)
    assert "no open positions" in out


def test_kinds(capsys):
    trade(said=[*fills(3), {**fills(1, first=50)[0], "kind": "hedger_sim"}])
    assert ask_json(capsys, "dump")[1]["fills"] == 3
    status, found = ask_json(capsys, "dump", "--kinds", "hedger_sim")
    assert (status, found["fills"]) == (0, 1)
    assert [one["kind"] for one in found["positions"]] == ["hedger_sim"]
    assert ask_json(capsys, "dump", "--kinds", "live,hedger_sim")[1]["fills"] == 4


def test_window(capsys):
    trade()
    since = f"@{(T0 + 6 * MINUTE) // 10**9}"[1:]
    status, found = ask_json(capsys, "window", "--since", since)
    assert (status, found["fills"]) == (0, 6)
    assert found["window"]["from"] == "2026-01-02T03:10:05.000000Z"
    status, out, _ = ask(capsys, "window", "--since", since)
    assert status == 0
    assert "from 2026-01-02 03:10:05 to" in out
    assert ask_json(capsys, "window", "--last", "1h")[1]["fills"] == 0


@pytest.mark.parametrize("words", _LOOKING, ids=" ".join)
def test_looking_changes_nothing(words, capsys):
    trade()
    before = snapshot()
    assert ask(capsys, *words)[0] == 0
    assert snapshot() == before


@pytest.mark.parametrize("words", _LOOKING, ids=" ".join)
def test_looking_works_while_a_bot_runs(words, capsys):
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        for one in fills(3):
            obs.fill(**one)
        obs.flush()
        assert ask(capsys, *words)[0] == 0


def test_the_data_dir_of_botobs_toml_is_looked_at(capsys):
    trade("elsewhere")
    Path("botobs.toml").write_text('data_dir = "elsewhere"\n')
    assert ask_json(capsys, "dump")[1]["fills"] == 12


def test_a_ledger_without_state_counts_as_the_settings_say(capsys):
    trade(starting_equity=500)
    for name in ("account.json", "live.json"):
        Path("data/state", name).unlink()
    Path("botobs.toml").write_text("starting_equity = 700\n")
    found = ask_json(capsys, "dump")[1]
    assert D(found["equity"]) == D(700) + D(found["total_pnl"])


# --- verify


def test_verify_says_what_was_checked(capsys):
    trade()
    assert ask(capsys, "verify") == (
        0,
        "data: 12 lines in 1 file checked, each with its hash\nwhole: seq 1 to 12, none lost, changed or reordered\n",
        "",
    )


@pytest.mark.parametrize(
    ("tamper", "line", "seq", "says"),
    [
        (lambda lines: lines[:4] + [lines[4].replace(b'"1"', b'"9"', 1)] + lines[5:], 5, 5, "line changed"),
        (lambda lines: lines[:4] + lines[5:], 5, 5, "seq 5 missing"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5, 6, "out of order"),
        (lambda lines: lines[:-1], 12, 12, "last lines missing"),
        (lambda lines: lines[1:], 1, 1, "seq 1 missing"),
    ],
)
def test_verify_names_the_first_line_that_is_wrong(tamper, line, seq, says, capsys):
    trade()
    ledger = Path("data/metrics/fills.jsonl")
    ledger.write_bytes(b"".join(tamper(ledger.read_bytes().splitlines(keepends=True))))
    status, out, err = ask(capsys, "verify")
    assert (status, err) == (1, "")
    assert says in out
    assert re.search(rf"file +data/metrics/fills.jsonl\n +line +{line}\n +seq +{seq}\n", out)
    status, found = ask_json(capsys, "verify")
    assert (status, found["ok"], found["line_no"], found["seq"]) == (1, False, line, seq)


def test_verify_knows_of_a_ledger_that_is_gone(capsys):
    trade()
    Path("data/metrics/fills.jsonl").unlink()
    status, out, _ = ask(capsys, "verify")
    assert status == 1
    assert "last lines missing: the head knows seq 12" in out


# --- performance


def strategies(obs):
    for number, (name, up) in enumerate([("mean", 1), ("mean", -1), ("trend", 3)]):
        order = obs.order(f"S{number}", "buy", 1, decision_px=100, strategy=name)
        obs.fill(order, qty=1, price=100, fee=0, ts=T0 // 10**9 + 86_400 * number)
        obs.fill(
            symbol=f"S{number}", side="sell", qty=1, price=100 + up, fee="0.5", ts=T0 // 10**9 + 86_400 * number + 60
        )


def test_performance_of_a_directory_without_a_bot_or_of_somebody_else_is_no_summary_of_nothing(capsys):
    Path("empty").mkdir()
    assert ask(capsys, "--data-dir", "empty", "performance") == (
        1, "", "botobs performance: no bot has run in empty; --data-dir says where the bot writes\n"
    )  # fmt: skip
    with somebody_elses("logs") as data:
        status, out, err = ask(capsys, "--data-dir", str(data), "performance")
        assert (status, out) == (1, "") and err == f"botobs performance: {data}/logs: Permission denied\n"


def test_performance(capsys):
    trade(said=[], more=[strategies])
    status, found = ask_json(capsys, "performance")
    assert (status, found["trades"], found["net"], found["wins"]) == (0, 3, "1.5", 2)
    assert {name: one["trades"] for name, one in found["strategies"].items()} == {"mean": 2, "trend": 1}
    assert ask_json(capsys, "performance", "--strategy", "mean")[1]["net"] == "-1.0"
    assert ask_json(capsys, "performance", "--window", "1")[1]["net"] == "2.5"
    assert ask_json(capsys, "performance", "--start", "2026-01-03", "--end", "2026-01-04")[1]["trades"] == 1
    assert ask_json(capsys, "performance", "--end", "2026-01-04")[1]["trades"] == 2
    assert ask_json(capsys, "performance", "--window", "1d")[1]["trades"] == 0
    _, out, _ = ask(capsys, "performance")
    for words in ("win rate", "profit factor", "by strategy", "trend", "by day (UTC)", "2026-01-04"):
        assert words in out
    status, out, err = ask(capsys, "performance", "--strategy", "nobody")
    assert (status, out) == (1, "")
    assert "there are of mean, trend" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--window", "soon"], "--window: 'soon' will not do"),
        (["--window", "0"], "--window: '0' will not do"),
        (["--window", "5", "--start", "2026-01-01"], "--window and --start both say where it begins"),
        (["--export", "f.xls"], "'f.xls' will not do for --export"),
    ],
)
def test_performance_tells_mistakes(words, says, capsys):
    trade()
    status, out, err = ask(capsys, "performance", *words)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_performance_exports_every_session(capsys):
    trade(said=[], more=[strategies])
    assert ask(capsys, "performance", "--export", "p.csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO(Path("p.csv").read_text())))
    days = [(row["strategy"], row["window"], row["net"]) for row in rows if row["kind"] == "day"]
    assert days == [("all", "2026-01-02", "0.5"), ("all", "2026-01-03", "-1.5"), ("all", "2026-01-04", "2.5"),
                    ("mean", "2026-01-02", "0.5"), ("mean", "2026-01-03", "-1.5"), ("trend", "2026-01-04", "2.5")]  # fmt: skip
    assert ask(capsys, "performance", "--export", "p.json")[0] == 0
    assert [row["net"] for row in json.loads(Path("p.json").read_text()) if row["kind"] == "window"][0] == "1.5"


# --- export


def test_export_is_the_ledger(capsys):
    trade()
    status, out, _ = ask(capsys, "export")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["seq"] for row in rows] == [str(number) for number in range(1, 13)]
    assert rows[0]["price"] == "100"
    middle = ["--since", "2026-01-02T03:06:05Z", "--until", "2026-01-02T03:08:05Z"]
    rows = list(csv.DictReader(io.StringIO(ask(capsys, "export", *middle)[1], newline="")))
    assert [row["seq"] for row in rows] == ["3", "4"]
    status, out, err = ask(capsys, "export", "-o", "f.csv")
    assert (status, out, err) == (0, "", "f.csv: 12 rows\n")
    assert Path("f.csv").read_bytes().count(b"\r\n") == 13
    assert not list(Path().glob("*.part"))


def test_export_holds_no_formula(capsys):
    evil = ['=HYPERLINK("http://x")', "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "'=1", "＝1"]
    trade(
        said=[
            {**one, "order_id": text, "symbol": text.strip()} for one, text in zip(fills(len(evil)), evil, strict=True)
        ]
    )
    for words in (["export"], ["export", "--what", "trades"], ["performance", "--export", "p.csv"]):
        out = (
            ask(capsys, *words)[1] if words[0] == "export" else Path("p.csv").read_text() if ask(capsys, *words) else ""
        )
        for row in csv.reader(io.StringIO(out, newline="")):
            for cell in row:
                assert not re.match(r"[\s'\"]*[=+@＝]", cell.removeprefix("'")) or cell.startswith("'"), cell
                assert not re.match(r"-(?!\d+(\.\d+)?$)", cell), cell


def test_export_of_trades_has_the_last_revision(capsys):
    trade()
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        assert obs.funding("BTC/USDT", "-3", ts=T0 // 10**9 + 30, venue="binance").late
    rows = list(csv.DictReader(io.StringIO(ask(capsys, "export", "--what", "trades")[1], newline="")))
    assert [row["revision"] for row in rows] == ["2", "1", "1", "1"]
    assert len(rows) == len({row["trade_id"] for row in rows})
    found = ask_json(capsys, "performance")[1]
    assert (len(rows), sum(D(row["net_pnl_usd"]) for row in rows)) == (found["trades"], D(found["net"]))


@pytest.mark.parametrize("what", ["fills", "trades", "equity"])
def test_parquet(what, capsys):
    pytest.importorskip("pyarrow", reason="comes with an extra")
    import pyarrow.parquet as pq

    trade(starting_equity=1000)
    status, out, err = ask(capsys, "export", "--format", "parquet", "--what", what, "-o", "f.parquet")
    assert (status, out) == (0, "")
    table = pq.read_table("f.parquet")
    assert f": {table.num_rows} row" in err
    rows = table.to_pylist()
    if what == "fills":
        assert [row["seq"] for row in rows] == [*range(1, 13)]
    if what == "trades":
        assert [D(row["net_pnl_usd"]) for row in rows] == [
            D(row["net_pnl_usd"]) for row in csv.DictReader(io.StringIO(ask(capsys, "export", "--what", "trades")[1]))
        ]
        assert rows[0]["exit_ts"].tzinfo is not None
    assert rows


def test_export_tells_mistakes(capsys):
    trade()
    status, out, err = ask(capsys, "export", "--format", "parquet")
    assert (status, out, err) == (2, "", "botobs export: Parquet needs a file to go to: -o FILE\n")
    status, out, err = ask(capsys, "export", "-o", "no/where.csv")
    assert (status, out, err) == (2, "", "botobs export: no/where.csv cannot be written: no is no directory\n")
    Path("folder").mkdir()
    for form in ("csv", "parquet"):
        assert ask(capsys, "export", "--format", form, "-o", "folder")[2] == (
            "botobs export: folder is no file; it takes the name of one\n"
        )


def test_what_is_no_file_is_written_to_and_never_replaced(capsys):
    trade()
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ask(capsys, "export", "-o", "pipe")[0] == 0
        assert os.read(reader, 4) == b"seq,"
        assert ask(capsys, "export", "--format", "parquet", "-o", "pipe")[0] == 2
    finally:
        os.close(reader)
    assert Path("pipe").is_fifo()
    assert list(Path().glob("*.part")) == []


# --- how it looks


def on_a_terminal(words, columns, **env):
    """What a command prints on a terminal of so many columns."""
    here, there = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTOBS_", "OTEL_", "NO_COLOR"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "botobs", *words],
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm", **env},
        stdin=subprocess.DEVNULL, stdout=there, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(there)
    said = b""
    while True:
        try:
            part = os.read(here, 65_536)
        except OSError:
            break
        if not part:
            break
        said += part
    _, told = process.communicate(timeout=60)
    os.close(here)
    assert (process.returncode, told) == (0, b"")
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_nothing_is_cut_on_a_terminal(columns):
    wide = "123456789012345678.12345678"
    trade(
        starting_equity=1000, more=[lambda obs: obs.fill(symbol="ETH/USDT", side="buy", qty=wide, price=3, venue="x")]
    )
    said = on_a_terminal(["dump"], columns)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "\x1b[31m" in said  # a loss is red
    assert "123,456,789,012,345,678.12345678" in re.sub(r"\s", "", plain)
    assert max(map(len, plain.splitlines())) <= columns
    assert "…" not in plain
    assert on_a_terminal(["performance"], columns).count("\n") > 15


def test_no_color_is_plain():
    trade()
    assert "\x1b" not in on_a_terminal(["dump"], 80, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(["dump"], 80, TERM="dumb")


def test_a_pipe_gets_plain_text_and_may_close(tmp_path):
    trade(said=fills(3000))
    done = botobs_process("dump", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "botobs", "export"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writes, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writes)
    assert os.read(reads, 4) == b"seq,"
    os.close(reads)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (141, b"")


def test_a_window_that_has_not_begun_is_no_answer(capsys):
    trade()
    status, out, err = ask(capsys, "window", "--since", "2999-01-01")
    assert (status, out) == (2, "")
    assert re.fullmatch(r"botobs window: --since: 2999-01-01T00:00:00.000000Z is not yet; it is 2[-0-9T:.]+Z\n", err)


@pytest.mark.parametrize("words", [["export", "-o"], ["performance", "--export"]])
def test_a_file_that_cannot_be_made_is_called_as_it_was(words, capsys):
    trade()
    status, out, err = ask(capsys, *words, "/proc/f.csv")
    assert (status, out) == (1, "")
    assert err == f"botobs {words[0]}: /proc/f.csv: No such file or directory\n"


@pytest.mark.parametrize("kept", [True, False], ids=["with figures", "without"])
def test_trades_that_cannot_be_read_are_no_answer(kept, capsys):
    trade()
    if not kept:
        Path("data/state/performance.json").unlink()
    stream = Path("data/logs/trade_lifecycle.jsonl")
    stream.unlink()
    stream.mkdir()  # nobody can read that, whatever he may
    status, out, err = ask(capsys, "performance")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"botobs performance: .*: Is a directory\n", err)
