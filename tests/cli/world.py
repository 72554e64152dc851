"""Data directories with something in them, made as a bot makes them, and exchanges' files to go with them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import botobs
from botobs.cli import main

ROOT = Path(__file__).parents[2]
T0 = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z
MINUTE = 60_000_000_000


def fills(count=12, *, symbol="BTC/USDT", first=0):
    """Round trips of three fills: two buys, one sale of both."""
    found = []
    for number in range(first, first + count):
        sale = number % 3 == 2
        found.append(
            {
                "symbol": symbol, "side": "sell" if sale else "buy", "qty": "2" if sale else "1",
                "price": str(100 + number % 7), "fee": "0.25", "fee_asset": "USDT", "role": "taker" if sale else "maker",
                "order_id": f"o{number}", "fill_id": str(1000 + number), "ts": (T0 + number * MINUTE) // 1_000_000,
            }
        )  # fmt: skip
    return found


def trade(data_dir="data", said=None, *, more=(), **settings):
    """Run a bot that reports fills; its totals at the end."""
    with botobs.start("trend-bot", data_dir=data_dir, durability="os", **settings) as obs:
        for one in fills() if said is None else said:
            report = obs.fill(venue="binance", **one) if "venue" not in one else obs.fill(**one)
            assert report.booked, report
        for act in more:
            act(obs)
        return obs.totals()


def ccxt(said):
    """The same as an exchange's history gives them."""
    return [
        {
            "id": one["fill_id"], "order": one["order_id"], "timestamp": one["ts"], "symbol": one["symbol"],
            "side": one["side"], "price": float(one["price"]), "amount": float(one["qty"]),
            "takerOrMaker": one["role"], "fee": {"cost": float(one["fee"]), "currency": one["fee_asset"]},
        }
        for one in said
    ]  # fmt: skip


def write_json(path, said):
    Path(path).write_text(json.dumps(said))
    return str(path)


def write_csv(path, said, names=None):
    names = names or {name: name for name in ("ts", "symbol", "side", "qty", "price", "fee", "fee_asset", "order_id",
                                              "fill_id", "role")}  # fmt: skip
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names.values())
        rows.writerows([one.get(name, "") for name in names] for one in said)
    return str(path)


@contextlib.contextmanager
def somebody_elses(folder):
    """A data directory of which one folder is closed to whoever asks; pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        data = Path(place, "data")
        for name in ("state", "logs", "metrics"):
            (data / name).mkdir(parents=True)
        (data / folder).chmod(0 if os.getuid() else 0o700)
        Path(place).chmod(0o755)
        if not os.getuid():
            os.seteuid(65534)
        try:
            yield data
        finally:
            os.seteuid(os.getuid())
            (data / folder).chmod(0o700)


def ask(capsys, *words):
    """Run a command here: its status, and what it says."""
    status = main(list(words))
    told = capsys.readouterr()
    return status, told.out, told.err


def ask_json(capsys, *words):
    status, out, err = ask(capsys, *words, "--json")
    assert err == "", err
    return status, json.loads(out)


def botobs_process(*words, cwd, **more):
    """Run a command in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTOBS_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-m", "botobs", *words],
        cwd=cwd, env={**kept, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, timeout=60, **({"stdout": subprocess.PIPE} | more),
    )  # fmt: skip


def snapshot(folder="data"):
    """Every file with what is in it."""
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
