"""`import-json` and `import-csv`: everything once, whatever comes twice, late or wrong; and what follows from it."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import botobs
from botobs.accounting.account import Account, Terms
from botobs.accounting.exchange import Bad, ExchangeFill, read_trades
from botobs.accounting.importing import import_fills
from botobs.accounting.ledger import Ledger
from botobs.accounting.summing import totals
from botobs.cli import main
from botobs.money.migrating import migrate
from botobs.money.settled import settle_trades
from botobs.streams.reader import StreamReader
from tests.cli.world import ROOT, T0, ask, ask_json, botobs_process, ccxt, fills, snapshot, trade, write_csv, write_json

D = Decimal
_SAME = (
    "gross_pnl",
    "fees",
    "realized_pnl",
    "unrealized_pnl",
    "total_pnl",
    "cash_flow",
    "volume",
    "fills",
    "inventory",
)


def same(found, other):
    return {name: found[name] for name in _SAME} == {name: other[name] for name in _SAME}


def sums(data_dir="data", **more):
    from botobs.accounting.opened import open_account

    found = open_account(Path(data_dir)).totals(**more)
    return {name: getattr(found, name) for name in _SAME}


def trades(data_dir="data"):
    """Every recorded trade in its last revision, without its id."""
    found = {}
    for record in StreamReader(data_dir).read("trade_lifecycle"):
        found[record["trade_id"]] = record
    return sorted(
        (one["entry_ts"], one["exit_ts"], D(one["net_pnl_usd"]), D(one["fees_usd"]), D(one["entry_qty"]))
        for one in found.values() if not one.get("undone")
    )  # fmt: skip


def test_what_is_imported_is_as_if_the_bot_had_reported_it(capsys):
    trade("lived", starting_equity=1000)
    write_json("h.json", ccxt(fills()))
    status, found = ask_json(capsys, "import-json", "h.json", "--venue", "binance")
    assert (status, found["new"], found["duplicates"], found["trades"]["added"]) == (0, 12, 0, 4)
    assert sums() == sums("lived")
    assert trades() == trades("lived")
    assert ask(capsys, "verify")[0] == 0
    assert {line["kind"] for line in Ledger(Path("data"), read_only=True).between()} == {"import"}
    assert ask_json(capsys, "performance")[1]["trades"] == 4


@pytest.mark.parametrize("command", ["import-json", "import-csv"])
def test_twice_changes_nothing(command, capsys):
    file = write_json("h", ccxt(fills())) if command == "import-json" else write_csv("h", fills())
    assert ask(capsys, command, file)[0] == 0
    before = snapshot("data/metrics"), trades(), ask_json(capsys, "dump")[1]["total_pnl"]
    status, found = ask_json(capsys, command, file)
    assert (status, found["new"], found["duplicates"], found["trades"]["added"]) == (0, 0, 12, 0)
    assert (snapshot("data/metrics"), trades(), ask_json(capsys, "dump")[1]["total_pnl"]) == before
    status, out, _ = ask(capsys, command, file)
    assert "0 new fills" in out
    assert "already in the ledger  12" in out


def test_rows_without_ids_come_once_too(capsys):
    said = [{name: value for name, value in one.items() if name not in ("order_id", "fill_id")} for one in fills()]
    said.append(said[0])  # an equal row is a fill of its own
    write_csv("a.csv", said)
    assert ask_json(capsys, "import-csv", "a.csv")[1]["new"] == 13
    write_csv("b.csv", said[4:] + [{**said[0], "ts": T0 // 1_000_000 + 10**9}])
    found = ask_json(capsys, "import-csv", "b.csv")[1]
    assert (found["new"], found["duplicates"]) == (1, 9)


def test_columns_are_told(capsys):
    names = {"ts": "When", "symbol": "What", "side": "B/S", "qty": "Lots", "price": "At", "fee": "Cost"}
    write_csv("old.csv", fills(), names)
    mapping = "ts=When,symbol=What,side=B/S,qty=Lots,price=At,fee=Cost"
    status, found = ask_json(capsys, "import-csv", "old.csv", "--map", mapping)
    assert (status, found["new"]) == (0, 12)
    status, out, err = ask(capsys, "import-csv", "old.csv")
    assert (status, out) == (2, "")
    assert "--map" in err


def test_json_lines_gzipped(capsys):
    with gzip.open("h.jsonl.gz", "wb") as file:
        file.write(b"\n".join(orjson.dumps(one) for one in ccxt(fills())))
    assert ask_json(capsys, "import-json", "h.jsonl.gz")[1]["new"] == 12


def test_fees_come_from_the_table_when_missing(capsys):
    Path("botobs.toml").write_text("[fees]\nmaker_bps = 10\ntaker_bps = 20\n")
    said = ccxt(fills(3))
    for one in said:
        del one["fee"]
    write_json("h.json", said)
    assert ask(capsys, "import-json", "h.json")[0] == 0
    # 100 and 101 bought as maker, 2 * 102 sold as taker
    assert D(ask_json(capsys, "dump")[1]["fees"]) == D("0.1") + D("0.101") + D("0.408")


def test_conflicts_and_refusals_are_named_and_booked_nowhere(capsys):
    write_json("h.json", ccxt(fills()))
    ask(capsys, "import-json", "h.json")
    said = ccxt(fills(14))
    said[3]["price"] = 555.0
    said[5]["amount"] = "many"
    del said[12]["side"]
    write_json("h.json", said)
    status, found = ask_json(capsys, "import-json", "h.json")
    assert status == 1
    assert (found["new"], found["duplicates"], found["conflicts"], found["refused"]) == (1, 10, 1, 2)
    assert [(one["line"], one["what"]) for one in found["problems"]] == [
        (6, "refused"),
        (13, "refused"),
        (4, "conflict"),
    ]
    assert "price 103.0 is booked, 555.0 was reported" in found["problems"][2]["reason"]
    status, out, err = ask(capsys, "import-json", "h.json")
    assert (status, err) == (1, "")
    assert "line 4, conflict: price 103.0 is booked" in out
    assert sums()["fills"] == 13


def test_a_file_and_a_bot_meet(capsys):
    """The file names no venue, spells the market otherwise, and tells whole seconds: they are the bot's own fills."""
    said = [{**one, "ts": one["ts"] + 250} for one in fills()]
    trade(said=said)
    history = ccxt(fills(15))
    for one in history:
        one["symbol"] = "BTCUSDT"
        one["timestamp"] = one["timestamp"] // 1000 * 1000
    write_json("h.json", history)
    status, found = ask_json(capsys, "import-json", "h.json")
    assert (status, found["new"], found["duplicates"], found["conflicts"]) == (0, 3, 12, 0)
    assert found["notes"] == ["BTCUSDT is taken for BTC/USDT at binance, which the ledger has already"]


def test_where_two_places_may_be_meant_nothing_is_guessed(capsys):
    trade(said=[*fills(3), *({**one, "venue": "kraken"} for one in fills(3))])
    write_json("h.json", ccxt(fills(3)))
    found = ask_json(capsys, "import-json", "h.json")[1]
    assert found["new"] == 3
    assert "--venue" in found["notes"][0]
    assert ask_json(capsys, "import-json", "h.json", "--venue", "kraken")[1]["duplicates"] == 3


def test_fees_in_two_assets_are_kept(capsys):
    said = ccxt(fills(1))
    said[0]["fees"] = [{"cost": 0.1, "currency": "USDT"}, {"cost": 0.002, "currency": "BNB"}]
    del said[0]["fee"]
    write_json("h.json", said)
    found = ask_json(capsys, "import-json", "h.json")[1]
    line = Ledger(Path("data"), read_only=True).latest(1)[0]
    assert line["fee"] == "0.1"
    assert line["more"]["extra_fees"] == [["0.002", "BNB"]]
    assert "0.002 BNB" in found["notes"][0]


def test_older_than_everything_that_is_booked(capsys):
    """The second half first: books are put right, trades revised, and all is as in one go."""
    whole = fills(600)
    write_json("whole.json", ccxt(whole))
    ask(capsys, "import-json", "whole.json", "--data-dir", "other")
    for name, part in (("last.json", whole[301:]), ("first.json", whole[:301])):  # 301: in the middle of a trade
        write_json(name, ccxt(part))
        status, found = ask_json(capsys, "import-json", name)
        assert status == 0
    assert found["trades"]["added"] > 0
    assert found["trades"]["undone"] > 0
    assert sums() == sums("other")
    assert trades() == trades("other")
    assert ask(capsys, "verify")[0] == 0
    mine, other = ask_json(capsys, "performance")[1], ask_json(capsys, "performance", "--data-dir", "other")[1]
    for each in (mine, other):
        each.pop("reasons")
    assert mine == other


def test_a_bot_goes_on_where_an_import_ended(capsys):
    write_json("h.json", ccxt(fills(11)))
    ask(capsys, "import-json", "h.json", "--venue", "binance")
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        assert [trade.symbol for trade in obs.trades.open] == ["BTC/USDT"]
        assert obs.fill(venue="binance", **fills(11)[10]).duplicate
        assert obs.fill(venue="binance", **fills(12)[11]).booked
        obs.flush()
    trade("lived")
    assert sums() == sums("lived")
    assert trades() == trades("lived")


def test_a_running_bot_is_left_alone(capsys):
    write_json("h.json", ccxt(fills()))
    with botobs.start("trend-bot", data_dir="data"):
        status, out, err = ask(capsys, "import-json", "h.json")
    assert (status, out) == (2, "")
    assert "is held by process" in err
    assert "trend-bot" in err
    assert err.count("\n") == 1


def test_terms_of_the_bot_are_kept(capsys):
    trade(starting_equity=1000, timezone="Europe/Berlin", cost_basis="fifo")
    write_json("h.json", ccxt(fills(3, symbol="ETH/USDT", first=100)))
    ask(capsys, "import-json", "h.json")
    found = ask_json(capsys, "dump")[1]
    assert D(found["equity"]) == 1000 + D(found["total_pnl"])
    state = json.loads(Path("data/state/account.json").read_text())["state"]
    assert (state["cost_basis"], state["terms"]["timezone"]) == ("fifo", "Europe/Berlin")


def test_a_crash_before_an_import_is_still_told_after_it(capsys, tmp_path):
    code = "import botobs, os; obs = botobs.start('trend-bot', data_dir='data'); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False)
    before = Path("data/state/run.json").read_bytes()
    write_json("h.json", ccxt(fills(3)))
    assert ask(capsys, "import-json", "h.json")[0] == 0
    assert Path("data/state/run.json").read_bytes() == before
    with botobs.start("trend-bot", data_dir="data") as obs:
        assert obs.previous_run.unclean
        assert obs.previous_run.bot == "trend-bot"


@pytest.mark.parametrize(
    "content", ["", "{", "[", "[]", "{}", "null", '{"a": 1}', "[1, 2]", "\0\0", "a;b\n1;2\n", '"x"']
)
@pytest.mark.parametrize("command", ["import-json", "import-csv"])
def test_a_file_that_is_none(command, content, capsys):
    Path("f").write_text(content)
    status, _, err = ask(capsys, command, "f")
    assert status in (0, 1, 2)
    assert err.count("\n") <= 1
    assert "Traceback" not in err
    if status == 2:
        assert not Path("data").exists()


def test_in_a_process_of_its_own(tmp_path):
    write_json("h.json", ccxt(fills()))
    done = botobs_process("import-json", "h.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "h.json: 12 new fills, from 2026-01-02 03:04:05 to 2026-01-02 03:15:05 UTC"


def test_nothing_listens_and_nothing_is_sent(capsys, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    Path("botobs.toml").write_text("prometheus_port = 1\nmigrate_csv = 'nowhere.csv'\n")
    write_json("h.json", ccxt(fills()))
    begun = time.monotonic()
    assert ask(capsys, "import-json", "h.json")[0] == 0
    assert time.monotonic() - begun < 5


def test_killed_in_the_middle_the_next_time_does_the_rest(tmp_path, capsys):
    write_json("h.json", ccxt(fills(6_000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "botobs", "import-json", "h.json"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ledger = Path("data/metrics/fills.jsonl")
    while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > 100_000):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ask(capsys, "verify")[0] == 0
    found = ask_json(capsys, "import-json", "h.json")[1]
    assert found["new"] + found["duplicates"] == 6_000
    assert sums()["fills"] == 6_000
    assert len(trades()) == 2_000
    assert ask_json(capsys, "performance")[1]["trades"] == 2_000


# --- the parts


def account(**terms):
    return Account(Ledger(None), Terms(**terms), lambda: T0 + 10**15)


def rows(said):
    return [
        ExchangeFill(
            ts=f"2026-01-02T03:{one['ts'] // 60_000 % 60:02d}:00.000000Z", symbol=one["symbol"], side=one["side"],
            qty=D(one["qty"]), price=D(one["price"]), fee=D(one["fee"]), fee_asset="USDT", fill_id=one["fill_id"],
            order_id=one["order_id"], line=number,
        )
        for number, one in enumerate(said, 1)
    ]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_parts_in_any_order_come_to_the_same(rnd: random.Random, parts):
    said = rows(fills(rnd.randrange(1, 60)) + fills(rnd.randrange(0, 20), symbol="ETH/USDT", first=500))
    whole, pieces = account(), account()
    assert import_fills(whole, said).new == len(said)
    rnd.shuffle(said)
    new = 0
    for part in range(parts):
        some = said[part::parts] + [one for one in said if rnd.random() < 0.3]
        report = import_fills(pieces, some)
        new += report.new
        assert not report.conflicts + report.refused
    assert new == len(said)
    for name in _SAME:
        assert getattr(totals(pieces), name) == getattr(totals(whole), name), name
    records = {each: [] for each in ("whole", "pieces")}
    for each, of in (("whole", whole), ("pieces", pieces)):
        settle_trades(of, [], lambda event, to=records[each]: to.append(event.record))
    told = [
        sorted((str(one["entry_ts"]), one["exit_ts"], one["net_pnl_usd"], one["fees_usd"]) for one in records[each])
        for each in records
    ]
    assert told[0] == told[1]


def test_settling_twice_finds_nothing():
    book = account()
    import_fills(book, rows(fills(30)))
    records = []
    first = settle_trades(book, [], lambda event: records.append(event.record))
    assert (first.added, first.trades) == (10, 10)
    as_read = [orjson.loads(orjson.dumps(one, default=str)) for one in records]
    again = settle_trades(book, as_read, lambda event: pytest.fail("nothing to say"))
    assert (again.added, again.revised, again.undone, again.trades) == (0, 0, 0, 10)


def test_settling_revises_and_undoes_with_what_only_the_bot_knew():
    book = account()
    import_fills(book, rows(fills(6)))
    records = []
    settle_trades(book, [], lambda event: records.append(orjson.loads(orjson.dumps(event.record, default=str))))
    records[0] |= {"fees_usd": "9", "exit_reason": "stop", "entry_pred_bps": 7.5, "revision": 3}
    records.append({**records[0], "trade_id": "t2", "revision": 1})  # no trade begins there
    records.append({**records[0], "trade_id": "t999", "revision": 1})  # its line is not in the ledger: not judged
    records.append({**records[0], "trade_id": "h5-BTC", "revision": 1})  # told by hand
    said = []
    done = settle_trades(book, records, said.append)
    assert (done.added, done.revised, done.undone) == (0, 1, 1)
    revised, undone = said
    assert (revised.trade_id, revised.revision, revised.record["revision"]) == ("t1", 4, 4)
    assert revised.record["fees_usd"] == D("0.75")
    assert (revised.record["exit_reason"], revised.record["entry_pred_bps"]) == ("stop", 7.5)
    assert (undone.trade_id, undone.undone, undone.revision) == ("t2", True, 2)


def test_a_row_that_is_none_is_counted():
    report = import_fills(
        account(),
        [Bad(line=1, reason="no side", raw="x"), Bad(line=2, reason="total", raw="y", harmless=True)],
    )
    assert (report.new, report.refused, report.skipped, report.ok) == (0, 1, 1, False)


# --- the first start


def test_a_first_start_takes_over_old_telemetry():
    write_csv("old.csv", [*fills(), {**fills(1)[0], "side": "sideways", "fill_id": "z"}])
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        money, said = obs._money, []
        report = migrate(money, Path("old.csv"), publish=said.append, relieve=obs.flush, faults=obs.faults)
        assert (report.new, report.refused, len(said)) == (12, 1, 4)
        assert obs.totals().fills == 12
        assert migrate(money, Path("old.csv"), publish=said.append, relieve=obs.flush, faults=obs.faults) is None
        obs.flush()
    assert [one["said"]["line"] for one in StreamReader("data").read("refused")] == [14]
    with botobs.start("trend-bot", data_dir="data", durability="os") as obs:
        assert migrate(obs._money, Path("gone.csv"), publish=said.append, relieve=obs.flush, faults=obs.faults) is None


def test_a_first_start_without_its_file():
    with (
        botobs.start("trend-bot", data_dir="data", durability="os") as obs,
        pytest.raises(botobs.ConfigError, match=r"migrate_csv = 'gone.csv' is wrong: gone.csv cannot be read"),
    ):
        migrate(obs._money, Path("gone.csv"), publish=print, relieve=obs.flush, faults=obs.faults)


# --- the ledger and the trades drifted apart


def test_backfill_writes_the_records_that_are_missing(capsys):
    trade()
    stream = Path("data/logs/trade_lifecycle.jsonl")
    lines = stream.read_bytes().splitlines(keepends=True)
    stream.write_bytes(lines[1])
    for name in ("performance.json",):
        (Path("data/state") / name).unlink(missing_ok=True)
    assert ask_json(capsys, "performance")[1]["trades"] == 1
    status, out, err = ask(capsys, "performance", "--backfill")
    assert status == 0
    assert "4 trades counted anew (3 had no record" in err
    assert "4 closed trades" in out
    trade("lived")
    assert trades() == trades("lived")
    assert "(0 had no record" in ask(capsys, "performance", "--backfill")[2]
    assert list(Path("data/logs/performance/summaries/day").glob("*.json"))


def test_backfill_needs_a_ledger(capsys):
    Path("data").mkdir()
    status, _, err = ask(capsys, "performance", "--backfill")
    assert status == 1
    assert "there is no ledger" in err
    assert list(Path("data").iterdir()) == []


def test_reading_names_the_sort_of_file(capsys):
    write_csv("h", fills())
    assert ask(capsys, "import-json", "h")[2] == "botobs import-json: that is CSV: botobs import-csv reads it\n"
    write_json("h", ccxt(fills()))
    assert ask(capsys, "import-csv", "h")[2] == "botobs import-csv: that is JSON: botobs import-json reads it\n"
    assert not Path("data").exists()
    assert main(["import-csv", "nowhere"]) == 2
    with pytest.raises(botobs.BotobsError):
        read_trades("nowhere")


# --- a ledger that is damaged


def damaged():
    trade()
    ledger = Path("data/metrics/fills.jsonl")
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:4], b'{"seq":5, no line any more\n', *lines[5:]]))
    Path("data/state/account.json").unlink()


def test_backfill_does_not_judge_by_a_damaged_ledger(capsys):
    damaged()
    before = trades()
    status, out, err = ask(capsys, "performance", "--backfill")
    assert (status, out) == (2, "")
    assert "damaged" in err
    assert trades() == before


def test_import_into_a_damaged_ledger_adds_and_judges_nothing(capsys):
    damaged()
    write_json("h.json", ccxt(fills(15)))
    status, found = ask_json(capsys, "import-json", "h.json")
    assert status == 0
    assert found["new"] >= 3
    assert (found["trades"]["revised"], found["trades"]["undone"]) == (0, 0)
    assert "damaged" in found["notes"][-1]


def test_records_that_are_none(capsys):
    trade()
    with open("data/logs/trade_lifecycle.jsonl", "ab") as file:
        file.write(b'{"trade_id":5,"exit_ts":null}\nnot json\n[1]\n')
        file.write(
            b'{"trade_id":"t1","revision":"x","realized_pnl_usd":"NaN"}\n{"trade_id":"t2","exit_ts":7,"revision":-3}\n'
        )
    write_json("h.json", ccxt(fills(15)))
    for words in (
        ["export", "--what", "trades"],
        ["performance"],
        ["import-json", "h.json"],
        ["performance", "--backfill"],
    ):
        assert ask(capsys, *words)[0] == 0, words
    assert ask_json(capsys, "performance")[1]["trades"] == 5


# --- the same fill under other names


@pytest.mark.parametrize(
    "told",
    [
        {"order_id": ""},  # a file without orders' ids
        {"order_id": "exchange"},  # the bot calls its orders otherwise
        {"order_id": "", "fill_id": ""},  # a file without any ids
    ],
)
@pytest.mark.parametrize("lived", [{}, {"order_id": None}, {"fill_id": None}])
def test_a_fill_told_otherwise_is_booked_once(told, lived, capsys):
    if "fill_id" in lived and told == {"order_id": "exchange"}:
        told = {**told, "fill_id": "f"}
    said = [{**one, "ts": one["ts"] + 17} for one in fills()]
    trade(said=[{**one, **lived} for one in said])
    rows = [{**one, **{name: text and f"{text}{at}" for name, text in told.items()}} for at, one in enumerate(said)]
    if told == {"order_id": "exchange"}:
        rows = [{**row, "fill_id": one["fill_id"]} for row, one in zip(rows, said, strict=True)]
    write_csv("h.csv", [*rows, {**fills(13)[12], "fill_id": "new", "order_id": "new"}])
    before = sums()
    for new in (1, 0):
        status, found = ask_json(capsys, "import-csv", "h.csv")
        assert (status, found["new"], found["duplicates"]) == (0, new, 13 - new)
    assert sums()["fills"] == before["fills"] + 1


def test_a_fill_with_an_id_of_its_own_is_another(capsys):
    one = fills(1)[0]
    trade(said=[one])
    write_csv("h.csv", [one, {**one, "fill_id": "other"}, {**one, "fill_id": "third", "order_id": ""}])
    assert ask_json(capsys, "import-csv", "h.csv")[1]["new"] == 2


def test_ids_that_are_unique_in_their_order_only(capsys):
    """Every order's fills are numbered from 1: with the orders' ids they are told apart."""
    said = [{**one, "fill_id": "1"} for one in fills()]
    trade(said=said[:6])
    write_json("h.json", ccxt(said))
    found = ask_json(capsys, "import-json", "h.json")[1]
    assert (found["new"], found["duplicates"]) == (6, 6)


def test_rows_without_ids_meet_one_line_each(capsys):
    one = {**fills(1)[0]}
    trade(said=[one])
    row = {**one, "fill_id": "", "order_id": ""}
    write_csv("h.csv", [row, row, row])
    for new in (2, 0):
        found = ask_json(capsys, "import-csv", "h.csv")[1]
        assert (found["new"], found["duplicates"]) == (new, 3 - new)


def test_other_content_under_the_same_id_is_a_conflict_without_an_order_too(capsys):
    one = fills(1)[0]
    trade(said=[one])
    write_csv("h.csv", [{**one, "order_id": "", "price": "77"}])
    status, found = ask_json(capsys, "import-csv", "h.csv")
    assert (status, found["new"], found["conflicts"]) == (1, 0, 1)


_BROKER = "DateTime,Symbol,Buy/Sell,Quantity,TradePrice,{fee},IBCommissionCurrency,TradeID\n"
_BROKERS = "20260102;100000,AAPL,BUY,100,180.5,-1.05,USD,77\n20260102;110000,AAPL,SELL,-100,181.5,-1.05,USD,78\n"


@pytest.mark.parametrize(
    ("fee", "options", "fees", "note"),
    [
        ("IBCommission", ["--fees-negative"], "2.1", None),
        ("IBCommission", [], "-2.1", "every fee is negative"),
        ("Comm/Fee", ["--fees-negative"], "2.1", None),
        ("Courtage", [], "0", "no fill tells its fee"),
        ("Courtage", ["--map", "fee=Courtage", "--fees-negative"], "2.1", None),
    ],
)
def test_fees_of_a_broker_are_read_or_it_is_said(capsys, fee, options, fees, note):
    Path("broker.csv").write_text(_BROKER.format(fee=fee) + _BROKERS, "utf-8")
    status, found = ask_json(capsys, "import-csv", "broker.csv", *options)
    assert status == 0 and found["new"] == 2
    assert [one for one in found["notes"] if "fee" in one] == found["notes"]
    assert len(found["notes"]) == (note is not None) and (note is None or note in found["notes"][0])
    _, dumped = ask_json(capsys, "dump")
    assert (D(dumped["fees"]), D(dumped["gross_pnl"])) == (D(fees), 100)


@pytest.mark.parametrize(("option", "day"), [("--day-first", "2026-02-01"), ("--month-first", "2026-01-02")])
def test_which_stands_first_day_or_month_can_be_said(capsys, option, day):
    Path("us.csv").write_text("ts,symbol,side,qty,price,fee\n01/02/2026 10:00:00,AAPL,buy,1,100,0\n", "utf-8")
    status, found = ask_json(capsys, "import-csv", "us.csv")
    assert status == 1 and "--day-first or --month-first" in found["problems"][0]["reason"]
    status, found = ask_json(capsys, "import-csv", "us.csv", option)
    assert status == 0 and found["start"] == f"{day}T10:00:00.000000Z"
    assert ask(capsys, "import-csv", "us.csv", "--day-first", "--month-first")[0] == 2
