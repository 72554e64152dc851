"""The examples run, and leave what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(name, cwd, *words):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOTOBS_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *words],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ledger(data):
    return [line for file in sorted((data / "metrics").rglob("fills*.jsonl")) for line in lines(file)]


@pytest.mark.parametrize(
    ("name", "length", "symbols", "turns"),
    [
        ("asyncio_bot", "0.5", {"BTC-USD", "ETH-USD"}, 20),
        ("threaded_bot", "0.4", {"BTC-USD", "ETH-USD", "SOL-USD"}, 60),
        ("backtest", "3000", {"BTC-USD"}, None),
    ],
)
def test_an_example_runs(name, length, symbols, turns, tmp_path):
    done = run(f"{name}.py", tmp_path, length)
    assert done.stderr == ""
    assert "records delivered" in done.stdout
    assert "dropped" not in done.stdout
    data = tmp_path / "data" / name.replace("_", "-")
    signals = lines(data / "logs" / "signals.jsonl")
    assert {record["symbol"] for record in signals} == symbols
    assert turns is None or len(signals) == turns
    assert json.loads((data / "state/run.json").read_text())["clean"] is True
    fills = ledger(data)
    assert fills
    assert re.search(rf"^fills +{len(fills)}$", done.stdout, re.MULTILINE)
    assert {line["symbol"] for line in fills} <= symbols
    if name != "backtest":  # its clock stands still within a bar
        assert any(record["latency"]["total_latency_ms"] > 0 for record in signals)


def test_a_backtest_leaves_the_same_records_each_time(tmp_path):
    found = []
    for place in (tmp_path / "a", tmp_path / "b"):
        place.mkdir()
        told = run("backtest.py", place, "2000").stdout
        data = place / "data/backtest"
        found.append({str(file.relative_to(data)): file.read_bytes() for file in data.rglob("*.jsonl")})
        found[-1]["told"] = told.partition("records delivered")[0].rpartition("\n")[0]
    assert found[0] == found[1]
    assert {"logs/signals.jsonl", "logs/trade_lifecycle.jsonl", "metrics/fills.jsonl"} <= found[0].keys()
    assert len(ledger(data)) > 10


def test_every_example_is_tested_and_short():
    files = sorted(EXAMPLES.glob("*.py"))
    assert [file.stem for file in files] == ["asyncio_bot", "backtest", "threaded_bot"]
    for file in files:
        assert len(file.read_text().splitlines()) < 75
