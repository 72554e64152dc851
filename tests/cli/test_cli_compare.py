"""`compare`: what differs is named, what is named explains the totals, and the exit status says whether all is well."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.world import ask, ask_json, ccxt, fills, trade, write_csv, write_json


@pytest.mark.parametrize("make", [lambda said: write_csv("s.csv", said), lambda said: write_json("s.json", ccxt(said))])
def test_a_statement_that_agrees(make, capsys):
    trade()
    status, out, err = ask(capsys, "compare", make(fills()))
    assert (status, err) == (0, "")
    assert "12 of 12 fills agree; the ledger has 12 there" in out
    assert out.endswith("\nnothing is left over\n")


def test_what_the_bot_exported_agrees(capsys):
    trade()
    assert ask(capsys, "export", "-o", "f.csv")[0] == 0
    assert ask(capsys, "compare", "f.csv")[0] == 0


def differing():
    """One fill missing here, one extra, one with another price, one with another fee, one that is no fill."""
    said = fills(14)[1:]
    said[3]["price"] = "555"
    said[5]["fee"] = "0.26"
    said.append({**said[-1], "side": "sideways"})
    return write_csv("s.csv", said)


def test_differences_are_named_and_explained(capsys):
    trade(said=fills(13))
    status, found = ask_json(capsys, "compare", differing(), "--since", "2026-01-01")
    assert (status, found["ok"], found["matched"]) == (1, False, 10)
    assert [one["fill_id"] for one in found["missing"]] == ["1013"]
    assert [one["fill_id"] for one in found["extra"]] == ["1000"]
    assert [(one["ours"]["fill_id"], [each["field"] for each in one["fields"]]) for one in found["differing"]] == [
        ("1004", ["price"]), ("1006", ["fee"]),
    ]  # fmt: skip
    assert found["bad_count"] == 1
    assert all(row["unexplained"] == "0" for row in found["totals"])
    assert any(row["difference"] != "0" for row in found["totals"])
    status, out, _ = ask(capsys, "compare", differing(), "--since", "2026-01-01")
    assert status == 1
    for words in (
        "missing in the ledger: 1 fill", "extra in the ledger: 1 fill", "told differently: 2 fills",
        "1 row of the statement could not be read", "missing -", "unknown side: 'sideways'",
        "LEFT OVER: fills: 1 missing, 1 extra, 2 differing; 1 row unreadable\n",
    ):  # fmt: skip
        assert words in out, words


def test_span_market_and_completeness(capsys):
    trade(said=[*fills(12), *fills(3, symbol="ETH/USDT", first=40)])
    write_csv("s.csv", fills(9)[3:])
    assert ask(capsys, "compare", "s.csv")[0] == 0  # from its first fill to its last
    assert ask(capsys, "compare", "s.csv", "--whole")[0] == 1
    assert ask_json(capsys, "compare", "s.csv", "--since", "2026-01-02")[1]["extra"].__len__() == 3
    assert ask_json(capsys, "compare", "s.csv", "--until", "2026-01-02T03:08:30Z")[1]["theirs"] == 2
    assert ask_json(capsys, "compare", "s.csv", "--only", "ETHUSDT")[1]["ours"] == 0


def test_without_ids_and_with_tolerance(capsys):
    trade()
    said = [{**one, "fill_id": f"x{one['fill_id']}", "order_id": "", "ts": one["ts"] + 5_000} for one in fills()]
    said[0]["fee"] = "0.251"
    write_csv("s.csv", said)
    assert ask(capsys, "compare", "s.csv", "--no-ids")[0] == 1
    assert ask(capsys, "compare", "s.csv", "--no-ids", "--seconds", "6")[0] == 1
    assert ask(capsys, "compare", "s.csv", "--no-ids", "--seconds", "6", "--tolerance", "0.001")[0] == 0


def test_columns_are_told(capsys):
    trade()
    names = {
        "ts": "When",
        "symbol": "What",
        "side": "B/S",
        "qty": "Lots",
        "price": "At",
        "fee": "Cost",
        "fill_id": "No",
    }
    write_csv("s.csv", fills(), names)
    mapping = ["--map", "ts=When,symbol=What,side=B/S", "--map", "qty=Lots,price=At,fee=Cost,fill_id=No"]
    assert ask(capsys, "compare", "s.csv", *mapping)[0] == 0


def test_accounts(capsys):
    trade(said=[*({**one, "account": "a"} for one in fills(3)), *({**one, "account": "b"} for one in fills(6)[3:])])
    write_csv("s.csv", fills(3))
    assert ask(capsys, "compare", "s.csv", "--whole")[0] == 1
    assert ask(capsys, "compare", "s.csv", "--whole", "--account", "a")[0] == 0


def test_fees_with_the_other_sign(capsys):
    trade()
    write_csv("s.csv", [{**one, "fee": f"-{one['fee']}"} for one in fills()])
    assert ask(capsys, "compare", "s.csv")[0] == 1
    assert ask(capsys, "compare", "s.csv", "--fees-negative")[0] == 0


def test_a_bare_summary(capsys):
    told = trade()
    summary = {"realizedPnl": str(told.gross_pnl), "commission": str(told.fees), "volume": str(told.volume), "uid": "x"}
    Path("s.json").write_text(json.dumps(summary))
    status, out, _ = ask(capsys, "compare", "s.json")
    assert status == 0
    assert "a summary of totals" in out
    Path("bad.json").write_text(json.dumps({**summary, "realizedPnl": "1.2.3"}))
    bad_status, bad_out, _ = ask(capsys, "compare", "bad.json")
    assert bad_status == 1 and "could not be read" in bad_out and "realizedPnl: " in bad_out
    assert "note: not compared: uid" in out
    Path("s.json").write_text(json.dumps({**summary, "commission": "77"}))
    status, out, _ = ask(capsys, "compare", "s.json")
    assert status == 1
    assert re.search(r"commission +fees +3.00 +77.00 +-74.00 +-74.00", out)
    assert out.endswith("LEFT OVER: 1 total unexplained\n")
    assert ask(capsys, "compare", "s.json", "--tolerance", "74")[0] == 0
    status, _, err = ask(capsys, "compare", "s.json", "--until", "2026-02-01")
    assert status == 2
    assert "--until" in err


def test_many_differences_are_cut_short_and_shown_with_all(capsys):
    trade(said=fills(3))
    write_csv("s.csv", fills(60))
    _, out, _ = ask(capsys, "compare", "s.csv")
    assert "and 37 more; --all shows them, --json has them" in out
    _, longer, _ = ask(capsys, "compare", "s.csv", "--all")
    assert longer.count("\n") == out.count("\n") + 36


def test_a_statement_that_is_none(capsys):
    trade()
    Path("s.csv").write_text("hello\n")
    status, out, err = ask(capsys, "compare", "s.csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--map" in err


def test_text_of_a_file_does_not_move_the_cursor(capsys):
    trade()
    said = fills(2, symbol="BTC/USDT")
    said[0] |= {"fill_id": "\x1b[2Jx", "order_id": "\x07"}
    write_csv("s.csv", said)
    out = ask(capsys, "compare", "s.csv")[1]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
