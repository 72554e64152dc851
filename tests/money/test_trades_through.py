"""The life of trades, through a whole observer: one record for each, whatever comes late or is taken back."""

from __future__ import annotations

import shutil
from decimal import Decimal

import pytest

import botobs
from botobs.cli import main
from botobs.streams.reader import StreamReader
from botobs.testing import Clock
from tests.money.copied import copy_of

S = "BTCUSDT"


def records(data_dir):
    """Each trade as its last record has it."""
    found = {}
    for record in StreamReader(data_dir).read("trade_lifecycle"):
        assert record["revision"] > found.get(record["trade_id"], {"revision": 0})["revision"]
        found[record["trade_id"]] = record
    return found


@pytest.fixture
def bot(tmp_path):
    class Bot:
        def __init__(self):
            self.clock, self.data_dir, self.copies = Clock("2026-01-02T10:00:00Z"), tmp_path / "data", 0
            self.begin()

        def begin(self, **settings):
            self.obs = botobs.start(
                "bot",
                data_dir=self.data_dir,
                clock=self.clock,
                durability="os",
                starting_equity=1000,
                **{"strict": True, **settings},
            )

        def restart(self):
            self.obs.shutdown(10)
            self.begin()

        def crash(self, *without):
            """Start on a copy of what is on disk; `without` these files."""
            self.copies += 1
            after = tmp_path / f"copy-{self.copies}"
            copy_of(self.data_dir, after)
            self.obs.shutdown(10)
            for path in without:
                (after / path).unlink(missing_ok=True)
            self.data_dir = after
            self.begin()

        def fill(self, side, qty, price, fill_id=None, ts=None, **more):
            self.clock.advance(1)
            report = self.obs.fill(symbol=S, side=side, qty=qty, price=price, fill_id=fill_id, ts=ts, fee=0, **more)
            assert report.booked, report
            return report

        def known(self):
            self.obs.flush(10)
            return records(self.data_dir)

    made = Bot()
    yield made
    made.obs.shutdown(10)


def test_an_order_with_stop_and_target_partial_exits_and_costs(bot):
    obs = bot.obs
    entry = obs.order(
        S,
        "buy",
        2,
        decision_px=100,
        strategy="ma",
        source="model",
        pred_bps=50,
        strength=0.9,
        stop_px=98,
        target_px=106,
    )
    obs.fill(entry, price="100.1", qty=1, fee="0.1", fill_id="1")
    obs.fill(entry, price="100.3", qty=1, fee="0.1", fill_id="2")
    bot.clock.advance(30)
    obs.mark(S, 104)
    obs.mark(S, 99)
    obs.funding(S, "-0.5", funding_id="f")
    leave = obs.order(S, "sell", 2, decision_px=103, reason="take_profit", strength=0.4, strategy="ma")
    bot.clock.advance(30)
    first = obs.fill(leave, price="102.9", qty="0.5", fee="0.05", fill_id="3")
    assert first.gross_pnl == Decimal("1.35") and not bot.known()
    obs.fill(leave, price="103", qty="1.5", fee="0.15", fill_id="4")
    (record,) = bot.known().values()
    assert record["trade_id"] == first.trade_id == "t1" and record["revision"] == 1
    assert Decimal(record["realized_pnl_usd"]) == Decimal("5.55")
    assert Decimal(record["fees_usd"]) == Decimal("0.4") and Decimal(record["funding_usd"]) == Decimal("-0.5")
    assert Decimal(record["costs_total_usd"]) == Decimal("0.9") and Decimal(record["net_pnl_usd"]) == Decimal("4.65")
    assert record["strategy_id"] == "ma" and record["exit_reason"] == "take_profit" and record["fills"] == 4
    assert record["risk_reward_ratio"] == pytest.approx(abs(106 - 100.2) / abs(100.2 - 98))
    assert record["signal_decay"] == pytest.approx(0.5) and record["duration_seconds"] == 60
    assert record["slippage_entry_bps"] == pytest.approx(20) and record["slippage_exit_bps"] > 0
    assert record["mfe_bps"] == pytest.approx((104 - 100.2) / 100.2 * 1e4)
    assert record["mae_bps"] == pytest.approx((100.2 - 99) / 100.2 * 1e4)


def test_a_flip_closes_one_and_opens_the_other_with_the_fee_split(bot):
    bot.obs.fill(symbol=S, side="buy", qty=1, price=100, fee="0.1")
    report = bot.obs.fill(symbol=S, side="sell", qty=4, price=110, fee="0.4")
    assert report.trade_id == "t1" and report.position == -3
    bot.obs.fill(symbol=S, side="buy", qty=3, price=105, fee="0.3")
    found = bot.known()
    assert set(found) == {"t1", "t2"}
    assert Decimal(found["t1"]["fees_usd"]) == Decimal("0.2") and Decimal(found["t2"]["fees_usd"]) == Decimal("0.6")
    assert Decimal(found["t2"]["realized_pnl_usd"]) == 15
    totals = bot.obs.totals()
    assert sum(Decimal(one["fees_usd"]) for one in found.values()) == totals.fees


def test_a_late_fill_revises_and_a_void_undoes(bot):
    bot.fill("buy", 1, 100, "1", ts="2026-01-02T09:00:00Z")
    bot.fill("sell", 1, 110, "2", ts="2026-01-02T09:10:00Z")
    assert Decimal(bot.known()["t1"]["realized_pnl_usd"]) == 10
    late = bot.fill("buy", 1, 90, "3", ts="2026-01-02T09:05:00Z")
    assert late.late
    assert bot.known()["t1"].get("undone")  # two were bought and one was sold: it is open again
    bot.fill("sell", 1, 110, "4", ts="2026-01-02T09:20:00Z")
    found = bot.known()["t1"]
    assert not found.get("undone") and Decimal(found["realized_pnl_usd"]) == 30 and found["fills"] == 4
    assert bot.obs.void("3", "busted").booked
    found = bot.known()
    assert Decimal(found["t1"]["realized_pnl_usd"]) == 10 and found["t1"]["exit_ts"].startswith("2026-01-02T09:10")
    bot.restart()
    assert bot.known() == found
    assert bot.obs.void("4", "busted").booked
    assert bot.obs.void("2", "busted").booked
    assert bot.known()["t1"].get("undone")


@pytest.mark.parametrize("how", ["restart", "crash", "bare crash"])
def test_an_open_trade_goes_on_after_a_restart(bot, how):
    entry = bot.obs.order(S, "buy", 1, decision_px=100, strategy="ma", stop_px=95, target_px=120)
    bot.clock.advance(1)
    opened = bot.obs.fill(entry, price=101, qty=1, fee=0, fill_id="1")
    bot.obs.mark(S, 130)
    bot.obs.flush(10)
    if how == "restart":
        bot.restart()
    else:
        bot.crash(*(() if how == "crash" else ("state/account.json", "state/live.json")))
    assert [trade.trade_id for trade in bot.obs.trades.open] == [opened.trade_id]
    bot.clock.advance(60)
    bot.fill("sell", 1, 111, "2")
    (record,) = bot.known().values()
    assert Decimal(record["net_pnl_usd"]) == 10 and record["strategy_id"] == "ma" and record["duration_seconds"] == 61
    if how == "restart":
        assert record["mfe_bps"] == pytest.approx(29 / 101 * 1e4)


def lose(data_dir, stream):
    (data_dir / "logs" / f"{stream}.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("saved", ["before", "between", "after", "never", "gone"])
def test_a_trade_whose_closing_fill_reached_the_ledger_gets_its_record_at_the_next_start(bot, saved):
    save = bot.obs._money.save
    if saved == "before":
        save(last=True)
    entry = bot.obs.order(S, "buy", 1, decision_px=100, strategy="ma")
    bot.obs.fill(entry, price=101, qty=1, fee="0.1", fill_id="1")
    if saved == "between":
        bot.obs.trades  # noqa: B018 - has what waits done
        save(last=True)
    bot.fill("sell", 1, 111, "2")
    if saved == "after":
        with bot.obs._money.tail.still():  # the trades have not heard of it
            bot.fill("buy", 1, 100, "3")
            bot.fill("sell", 1, 90, "4")
            save(last=True)
            copy_of(bot.data_dir, bot.data_dir.parent / "frozen")
    else:
        bot.obs.flush(10)
        copy_of(bot.data_dir, bot.data_dir.parent / "frozen")
    bot.obs.shutdown(10)
    bot.data_dir = bot.data_dir.parent / "frozen"
    lose(bot.data_dir, "trade_lifecycle")
    if saved == "gone":
        for path in ("account.json", "live.json"):
            (bot.data_dir / "state" / path).unlink(missing_ok=True)
    bot.begin()
    found = bot.known()
    if saved == "after":
        # the checkpoint's trades knew of the first two fills at most
        assert Decimal(found["t3"]["net_pnl_usd"]) == -10
        return
    assert Decimal(found["t1"]["net_pnl_usd"]) == Decimal("9.9") and found["t1"]["revision"] == 1
    assert found["t1"]["strategy_id"] == "ma"
    # and once only
    bot.restart()
    bot.crash()
    assert bot.known() == found
    assert [one["trade_id"] for one in bot.obs.trades.closed()] == ["t1"]


def test_a_revision_whose_record_was_lost_is_written_at_the_next_start(bot):
    bot.fill("buy", 1, 100, "1", ts="2026-01-02T09:00:00Z")
    bot.fill("sell", 1, 110, "2", ts="2026-01-02T09:10:00Z")
    bot.fill("buy", 1, 100, "3", ts="2026-01-02T09:20:00Z")
    bot.fill("sell", 1, 120, "4", ts="2026-01-02T09:30:00Z")
    bot.obs.flush(10)
    bot.obs._money.save(last=True)
    kept = (bot.data_dir / "logs" / "trade_lifecycle.jsonl").read_bytes()
    assert bot.fill("buy", 1, 90, "5", ts="2026-01-02T09:00:01Z").late
    assert bot.fill("sell", 1, 95, "6", ts="2026-01-02T09:09:00Z").late
    assert bot.obs.void("4", "busted").booked
    bot.obs.flush(10)
    bot.crash()
    bot.obs.shutdown(10)
    here = records(bot.data_dir)
    again = bot.data_dir.parent / "again"
    copy_of(bot.data_dir, again)
    (again / "logs" / "trade_lifecycle.jsonl").write_bytes(kept)
    shutil.rmtree(again / "state")
    copy_of(bot.data_dir / "state", again / "state")
    for path in ("account.json", "live.json"):
        (again / "state" / path).unlink()
    bot.data_dir = again
    bot.begin()
    found = bot.known()
    assert {key: one.get("undone") for key, one in found.items()} == {
        key: one.get("undone") for key, one in here.items()
    }
    assert found["t1"]["realized_pnl_usd"] == here["t1"]["realized_pnl_usd"]


def _closed_twice_and_crashed(bot):
    """A trade in its second revision, and a checkpoint that has not heard of it."""
    bot.fill("buy", 1, 100, "1", ts="2026-01-02T09:00:00Z")
    bot.obs.flush(10)
    bot.obs._money.save(last=True)
    kept = {path: (bot.data_dir / path).read_bytes() for path in ("state/account.json", "state/live.json")}
    bot.fill("sell", 1, 110, "2", ts="2026-01-02T09:10:00Z")
    bot.obs.funding(S, -1, ts="2026-01-02T09:04:00Z")
    assert bot.known()["t1"]["revision"] == 2
    after = bot.data_dir.parent / "after"
    copy_of(bot.data_dir, after)
    bot.obs.shutdown(10)
    for path, content in kept.items():
        (after / path).write_bytes(content)
    bot.data_dir = after


def test_what_cannot_be_read_is_not_recorded_anew(bot, caplog):
    _closed_twice_and_crashed(bot)
    records_file = bot.data_dir / "logs" / "trade_lifecycle.jsonl"
    before = records_file.read_bytes()
    archived = bot.data_dir / "logs" / "archive" / "trade_lifecycle-20260101T000000.000000Z.jsonl.gz"
    archived.mkdir(parents=True)  # nothing that can be read
    bot.begin(strict=False)
    bot.obs.flush(10)
    assert records_file.read_bytes() == before  # a first revision would contradict the second
    assert "the records of trade_lifecycle cannot be read" in caplog.text and "--backfill" in caplog.text
    archived.rmdir()


@pytest.mark.parametrize("far", [False, True])
def test_a_record_is_found_however_many_came_after_it(bot, monkeypatch, far):
    _closed_twice_and_crashed(bot)
    records_file = bot.data_dir / "logs" / "trade_lifecycle.jsonl"
    if far:
        monkeypatch.setattr("botobs.money.recovery._RECORDS_BACK", 3)
        with records_file.open("a", encoding="utf-8") as file:
            file.writelines(f'{{"trade_id":"byhand-{n}"}}\n' for n in range(4))
    before = records_file.read_bytes()
    bot.begin()
    bot.obs.flush(10)
    assert records_file.read_bytes() == before
    bot.obs.funding(S, -2, ts="2026-01-02T09:05:00Z")
    bot.obs.flush(10)
    [last] = [one for one in StreamReader(bot.data_dir).read("trade_lifecycle") if one["trade_id"] == "t1"][-1:]
    assert (last["revision"], Decimal(last["net_pnl_usd"])) == (3, 7)


@pytest.mark.parametrize("again", ["crash", "restart"])
def test_revisions_go_on_after_a_crash_that_took_the_checkpoint(bot, again, monkeypatch):
    monkeypatch.setattr("botobs.accounting.compose._LAST", 1)  # a long ledger: trades hear of its end only
    bot.fill("buy", 1, 100, "1", ts="2026-01-02T09:00:00Z")
    bot.fill("sell", 1, 110, "2", ts="2026-01-02T09:10:00Z")
    bot.fill("buy", 1, 90, "3", ts="2026-01-02T09:05:00Z")  # it is open again
    bot.fill("sell", 1, 110, "4", ts="2026-01-02T09:20:00Z")
    bot.obs.void("3", "busted")
    bot.obs.void("4", "busted")
    revision = bot.known()["t1"]["revision"]
    bot.crash("state/account.json")
    if again == "restart":
        bot.restart()
    bot.obs.funding(S, -1, ts="2026-01-02T09:04:00Z")
    found, shown = bot.known()["t1"], bot.obs.trades.closed()[-1]  # which sees that revisions go up
    assert found["revision"] == shown["revision"] > revision
    assert Decimal(found["net_pnl_usd"]) == shown["net_pnl_usd"] == bot.obs.totals().realized_pnl


def test_revisions_go_on_after_an_import(bot, tmp_path):
    bot.fill("buy", 1, 100, "1", ts="2026-01-02T09:00:00Z")
    bot.fill("sell", 2, 110, "2", ts="2026-01-02T09:10:00Z")
    bot.obs.shutdown(10)
    file = tmp_path / "some.csv"
    file.write_text(f"ts,symbol,side,qty,price,fill_id\n2026-01-02T09:01:00Z,{S},buy,1,90,3\n", "utf-8")
    assert main(["--data-dir", str(bot.data_dir), "import-csv", str(file)]) == 0
    bot.begin()
    bot.obs.funding(S, 5, ts="2026-01-02T09:05:00Z")
    found, shown = bot.known()["t1"], bot.obs.trades.closed()[-1]
    assert Decimal(found["net_pnl_usd"]) == shown["net_pnl_usd"] == bot.obs.totals().realized_pnl
    assert found["revision"] == shown["revision"] == 3


def test_a_position_that_is_held_too_long_is_reported_once(tmp_path):
    clock = Clock("2026-01-02T10:00:00Z")
    aged = []
    more = {"data_dir": tmp_path, "clock": clock, "durability": "os", "strict": True, "max_position_age": "1h"}
    obs = botobs.start("bot", **more)
    obs.bus.subscribe(botobs.events.PositionAged, aged.append, immediate=True)
    obs.fill(symbol=S, side="buy", qty=1, price=100)
    assert [trade.trade_id for trade in obs.trades.open] == ["t1"]
    for _ in range(5):
        clock.advance(900)
        obs._money.housekeep()
    assert len(aged) == 1 and aged[0].age_s == pytest.approx(4500, abs=900) and aged[0].trade_id == "t1"
    obs.shutdown(10)
    obs = botobs.start("bot", **more)
    obs.bus.subscribe(botobs.events.PositionAged, aged.append, immediate=True)
    clock.advance(9000)
    obs._money.housekeep()
    assert len(aged) == 1
    assert obs.trades.open[0].age_s == obs.positions[0].age_s == 13_500
    obs.shutdown(10)
