"""`botobs metricpack`: settings from everywhere, one run to the end, and a service that ends in order."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from botobs.cli import main
from tests.cli.world import ask, ask_json, trade
from tests.metricpack.plain import event
from tests.metricpack.test_builder import close
from tests.soak.metricpack import write
from tests.soak.processes import environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nobody_else_s_settings(monkeypatch):
    for name in ("REDIS_HOST", "REDIS_PORT", "APPLY_RESULT_STREAM"):
        monkeypatch.delenv(name, raising=False)


def test_once_over_the_ledger_of_a_bot(capsys):
    totals = trade()
    status, found = ask_json(capsys, "metricpack", "--once")
    assert status == 0
    assert sum(map(float, (each["realized_pnl"] for each in found["actions"]))) == pytest.approx(
        float(totals.realized_pnl)
    )
    assert (found["source"], found["events"], found["trades"], found["open_trades"]) == ("ledger", 12, 4, 0)
    assert Path("data/state/metricpack.sqlite").exists()
    before = Path("data/metrics/fills.jsonl").read_bytes()
    status, out, err = ask(capsys, "metricpack", "--once")
    assert (status, err) == (0, "")
    assert "12 events, 4 closed trades, 0 open" in out
    assert "profit factor" in out
    assert Path("data/metrics/fills.jsonl").read_bytes() == before


def test_settings_come_from_flags_before_the_environment_before_the_file(capsys, monkeypatch):
    write(
        Path("e.jsonl"), [event(), close(), event(symbol="ETHUSDT", order_id="2"), {"x": 1}, close(), event(executed=0)]
    )
    Path("botobs.toml").write_text('[metricpack]\nevents = "e.jsonl"\nsymbols = ["BTCUSDT"]\nlabel_limit = 1\n')
    assert ask_json(capsys, "metricpack", "--once")[1]["ignored"] == {"not_executed": 1, "symbol": 1}
    monkeypatch.setenv("METRICPACK_SYMBOLS", "ethusdt, btcusdt")
    found = ask_json(capsys, "metricpack", "--once", "--from", "beginning")[1]
    assert (found["open_trades"], found["duplicates"], found["unreadable"]) == (1, 1, 1)
    assert (
        ask_json(capsys, "metricpack", "--once", "--from", "beginning", "--symbols", "ETHUSDT")[1]["ignored"]["symbol"]
        == 4
    )
    out = ask(capsys, "metricpack", "--once", "--from", "beginning")[1]
    assert "left out: 1 duplicates, 1 unreadable, 1 not executed" in out


def test_names_dust_and_bars_from_the_file(capsys):
    write(Path("e.jsonl"), [{**event(), "lots": "2"}, {**close(), "lots": "1.9"}])
    Path("bars.csv").write_text(
        "symbol,start,interval,high,low,close\n"
        + "".join(f"BTCUSDT,{1_767_323_045 - 60 * n},1m,{200 - n},{198 - n},{199 - n}\n" for n in range(1, 60))
    )
    Path("botobs.toml").write_text(
        '[metricpack]\nevents = "e.jsonl"\nbars = "bars.csv"\n[metricpack.names]\nqty = "lots"\n[metricpack.dust_of]\nBTCUSDT = "0.1"\n'
    )
    (found,) = ask_json(capsys, "metricpack", "--once")[1]["regimes"]
    assert (found["regime"], found["trades"], found["net"], found["measured"]) == ("trend", 1, "19.0", 1)


@pytest.mark.parametrize(
    ("words", "env", "toml", "said"),
    [
        (["--port", "70000"], {}, "", "port = '70000' (--port) is wrong"),
        (["--from", "start"], {}, "", "start = 'start' (--from) is wrong: there is no such choice; it takes checkpoint"),
        (["--shard", "3/2"], {}, "", "shard = '3/2' (--shard)"),
        (["--mode", "paper"], {}, "", "it takes mainnet or testnet"),
        (["--bars", "nowhere.csv"], {}, "", "bars = nowhere.csv cannot be read"),
        (["--interval", "5x"], {}, "", "interval = '5x' (--interval) is wrong; it takes 1m, 5m, 15m, 1h, …"),
        (["--redis", "http://x"], {}, "", "redis_url = *** (--redis) is wrong"),
        (["--interval", "7m", "--mode", "testnet"], {}, "", "interval = '7m' is wrong"),
        (["--dust", "-1"], {}, "", "dust"),
        ([], {"METRICPACK_PORT": "x"}, "", "environment variable METRICPACK_PORT"),
        ([], {"METRICPACK_PRT": "1"}, "", "unknown environment variable METRICPACK_PRT; did you mean METRICPACK_PORT?"),
        ([], {"REDIS_HOST": "a b"}, "", "environment variable REDIS_HOST"),
        ([], {}, "[metricpack]\nprot = 1", "unknown setting 'prot' in [metricpack]; did you mean port?"),
        ([], {}, "[metricpack.names]\nquantity = 'x'", "there is no field 'quantity'"),
        (["--redis", "redis://me:secret@x:y"], {}, "", "redis_url = *** (--redis"),
        (["--prefx", "a"], {}, "", "there is no option --prefx; did you mean --prefix?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_ends_with_2(capsys, monkeypatch, words, env, toml, said):
    Path("data").mkdir()
    Path("botobs.toml").write_text(toml)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    status, out, err = ask(capsys, "metricpack", "--once", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert "secret" not in err


def test_nothing_to_look_at_ends_with_1(capsys):
    assert ask(capsys, "metricpack", "--once")[0] == 1
    assert ask(capsys, "metricpack", "--once", "--events", "nowhere.jsonl")[0] == 1


def test_a_state_of_another_stream_is_refused_and_so_is_another_part(capsys):
    write(Path("e.jsonl"), [event()])
    assert main(["metricpack", "--events", "e.jsonl", "--once", "--state", "s"]) == 0
    trade()
    capsys.readouterr()
    for words in (["--state", "s"], ["--events", "e.jsonl", "--state", "s", "--shard", "1/2"]):
        status, _, err = ask(capsys, "metricpack", "--once", *words)
        assert status == 2
        assert "--state" in err


def test_the_page_tells_every_setting_and_every_metric():
    from botobs.metricpack.page import table_markdown
    from botobs.metricpack.settings import pack_table_markdown

    page = (ROOT / "docs" / "metric-pack.md").read_text("utf-8")
    assert table_markdown() in page
    assert pack_table_markdown() in page


def test_the_service_s_files_start_it_with_the_names_of_the_environment():
    files = ROOT / "examples" / "metricpack"
    unit, compose = (files / "metricpack.service").read_text(), (files / "compose.yaml").read_text()
    assert "botobs metricpack" in unit
    assert "metricpack" in compose
    for name in ("METRICPACK_PORT", "METRICPACK_SYMBOLS"):
        assert name in (files / "metricpack.env").read_text()
    yaml = pytest.importorskip("yaml")
    assert json.dumps(yaml.safe_load(compose)["services"]["metricpack"]["command"])


def test_a_person_sees_how_far_it_is():
    write(Path("e.jsonl"), [event(order_id=str(n)) for n in range(300)])
    screen, terminal = pty.openpty()
    words = [sys.executable, "-m", "botobs", "metricpack", "--events", "e.jsonl", "--once"]
    env = environment(METRICPACK_BATCH="100", TERM="xterm", COLUMNS="80")
    try:
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=False)
    finally:
        os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed: that was all
        while more := os.read(screen, 65_536):
            seen += more
    os.close(screen)
    assert done.returncode == 0
    assert b"catching up: file e.jsonl" in seen
    assert b"300 events" in done.stdout
