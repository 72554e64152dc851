"""Listeners, targets, windows, bad records, and what is kept where: from the outside."""

from __future__ import annotations

import datetime as dt
import math
import multiprocessing
import os
import threading
import time
from decimal import Decimal

import orjson
import pytest

from botobs import BotobsError
from botobs.errors import ConfigError
from botobs.events import to_record
from botobs.events.money import TargetMissed, TradeClosed, TradeOpened
from botobs.faults import Faults
from botobs.performance import Performance, Summary, TargetAlert, TargetResolved, Targets, Window
from botobs.performance import store
from botobs.streams.encode import dumps

BEGIN = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


def closed(no, gross, *, minutes=None, strategy="bma", revision=1, undone=False, **more):
    ts = f"{BEGIN + dt.timedelta(minutes=no if minutes is None else minutes):%Y-%m-%dT%H:%M:%S.%fZ}"
    record = {
        "exit_ts": ts,
        "strategy_id": strategy,
        "realized_pnl_usd": Decimal(gross),
        "fees_usd": Decimal(0),
        **more,
    }
    return TradeClosed(ts_ns=7, trade_id=f"t{no}", record=record, revision=revision, undone=undone)


def told(performance, *grosses, first=1, strategy="bma"):
    for no, gross in enumerate(grosses, first):
        performance.on_event(closed(no, gross, strategy=strategy))


# --- listeners


def test_listeners_hear_of_trades_whatever_the_others_do():
    faults = Faults()
    performance = Performance(None, faults=faults)
    heard, opened = [], []

    def broken(_):
        raise RuntimeError("mine")

    performance.on_close(broken)
    performance.on_open(broken)
    end = performance.on_close(heard.append)
    performance.on_open(opened.append)
    opening = TradeOpened(ts_ns=1, trade_id="t1", side="long", symbol="BTC")
    performance.on_event(opening)
    told(performance, 5)
    performance.on_event(closed(1, 6, revision=2))
    performance.on_event(closed(1, 6, revision=2))  # no news
    end()
    told(performance, 5, first=2)
    assert opened == [opening]
    assert [(one["trade_id"], one["realized_pnl_usd"], one["revision"]) for one in heard] == [
        ("t1", 5, 1),
        ("t1", 6, 2),
    ]
    assert faults.errors == {"performance.on_close": 3, "performance.on_open": 1}
    with pytest.raises(TypeError):
        performance.on_close("no function")


def test_a_hanging_listener_is_left_alone_and_then_out(monkeypatch):
    faults = Faults()
    performance = Performance(None, faults=faults)
    monkeypatch.setattr(performance._closed, "_limit_s", 0.02)
    gate, heard = threading.Event(), []
    performance.on_close(lambda _: gate.wait(30))
    performance.on_close(heard.append)
    told(performance, 1, 2, 3)
    gate.set()
    assert len(heard) == 3
    assert faults.errors["performance.on_close"] == 1
    assert faults.drops["performance.on_close"] == 2


def test_a_listener_may_ask():
    performance = Performance(None, faults=Faults(strict=True))
    answers = []
    performance.on_close(lambda _: answers.append(performance.summary("all").trades))
    told(performance, 1, 2)
    assert answers == [1, 2]


# --- bad records


@pytest.mark.parametrize(
    "broken",
    [
        {"exit_ts": "yesterday"}, {"exit_ts": None}, {"exit_ts": 1e300}, {"exit_ts": "0001-01-01T00:00:00.000000Z"},
        {"exit_ts": "9999-12-31T23:59:59.999999Z"}, {"realized_pnl_usd": "NaN"}, {"realized_pnl_usd": None},
        {"realized_pnl_usd": object()}, {"realized_pnl_usd": True}, {"fees_usd": math.inf}, {"exit_ts": ["x"]},
    ],
)  # fmt: skip
def test_a_record_that_says_too_little_is_counted_as_an_error(broken):
    faults = Faults()
    performance = Performance(None, faults=faults)
    performance.on_event(closed(1, 1, **broken))
    performance.on_event(TradeClosed(ts_ns=1, trade_id="t9", record=None))
    performance.on_event("no event")
    assert faults.errors == {"performance": 2}
    told(performance, 1, first=2)
    assert performance.summary("all").trades == 1


@pytest.mark.parametrize("name", ["", None, "\ud800", "x" * 10_000, "../..", "a/b", "日本", 7, "all", "other", "\0"])
def test_strategies_may_be_called_anything(tmp_path, name):
    performance = Performance(tmp_path / "data", faults=Faults(strict=True))
    performance.on_event(closed(1, 1, strategy=name))
    (called,) = performance.strategies()
    assert performance.summary("all", called).trades == 1
    assert performance.close(time.monotonic() + 5)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"logs", "state"}
    again = Performance(tmp_path / "data", faults=Faults(strict=True))
    assert again.strategies() == [called]
    saved = Performance.summaries(tmp_path / "data" / "logs" / "performance", "day", called)
    assert [(one.strategy, one.trades) for one in saved] == [(called, 1)]


def test_money_in_extremes_stays_exact(tmp_path):
    performance = Performance(tmp_path, faults=Faults(strict=True), keep=2, rolling_window=2)
    tiny, huge = Decimal("1E-200"), Decimal("1E+200")
    for no in range(6):
        performance.on_event(closed(2 * no, huge))
        performance.on_event(closed(2 * no + 1, tiny))
    performance.flush(time.monotonic() + 5)
    again = Performance(tmp_path, faults=Faults(strict=True), keep=2, rolling_window=2)
    assert again.summary("all").net == performance.summary("all").net
    assert performance.summary("all").net == performance.summary("all").gross
    assert str(performance.summary("all").net).count("6") == 2


def test_what_is_missing_follows_from_the_rest():
    performance = Performance(None)
    rows = [
        {"trade_id": "t1", "exit_ts": 1_795_219_200, "net_pnl_usd": "10", "costs_total_usd": "1", "funding_usd": "0.5"},
        {"trade_id": "t2", "exit_ts": 1_795_219_201, "realized_pnl_usd": "11", "net_pnl_usd": "10"},
        {"trade_id": "t3", "exit_ts": 1_795_219_202, "realized_pnl_usd": 11, "costs_total_usd": 1.5},
        {"trade_id": "t4", "ts": "2026-11-21T00:00:03Z", "net_pnl_usd": 10},
        {"trade_id": "t5", "exit_ts": 1_795_219_204, "net_pnl_usd": 10, "kind": "hedger_sim"},
        {"trade_id": "t6"}, {}, {"trade_id": None, "net_pnl_usd": 1},
    ]  # fmt: skip
    assert performance.rebuild(rows) == 4
    summary = performance.summary("all")
    assert (summary.gross, summary.commissions, summary.funding) == (Decimal(43), Decimal("4.0"), Decimal("0.5"))
    assert summary.net == Decimal("39.5")
    assert summary.strategy is None
    assert performance.strategies() == ["unnamed"]


# --- windows


def test_windows_say_which_trades():
    now = int(BEGIN.timestamp()) * 10**9
    parse = lambda window, **more: Window.parse(window, now_ns=now, rolling=20, **more)
    assert parse(None).last == parse("20").last == parse(20).last == 20
    assert parse("all") == Window(label="all")
    assert parse("7d").since == parse(dt.timedelta(days=7)).since == "2026-10-26T00:00:00.000000Z"
    assert parse("1h30m").since == "2026-11-01T22:30:00.000000Z"
    assert parse(BEGIN).since == parse("2026-11-02T00:00:00Z").since == "2026-11-02T00:00:00.000000Z"
    assert parse("1d", end=BEGIN).since == "2026-11-01T00:00:00.000000Z"
    assert parse(5, end="2026-11-02").until == "2026-11-02T00:00:00.000000Z"


@pytest.mark.parametrize(
    "window",
    ["bogus", "", "-3", 0, -1, True, 1.5, [], object(), "0d", "9" * 40, 10**12, math.nan, dt.timedelta(0), "x" * 9_000],
)
def test_a_window_that_is_none_gives_a_summary_that_says_so(window, caplog):
    performance = Performance(None, faults=Faults(strict=True))
    told(performance, 1)
    summary = performance.summary(window)
    assert summary.trades == 0
    assert "it takes a number of trades" in summary.reasons["window"]
    assert "it takes a number of trades" in caplog.text
    with pytest.raises(ValueError, match="it takes"):
        Window.parse(window, now_ns=0)
    assert "it takes a time" in performance.summary("all", end="bogus").reasons["window"]
    assert performance.sessions("year") == []


def test_an_empty_performance_has_reasons():
    summary = Performance(None).summary()
    undefined = {key for key, value in summary.to_dict().items() if value is None}
    assert undefined - {"strategy", "session", "start", "end"} <= set(summary.reasons)
    assert summary.reasons["win_rate"] == "no trades"


def test_peak_equity_stands_on_what_was_there_before():
    performance = Performance(None, starting_equity=Decimal(100))
    told(performance, 10, -30, 50)
    assert performance.summary("all").peak_equity == 130
    assert performance.summary("all").max_drawdown == 30
    assert performance.summary(2).peak_equity == 130
    assert performance.summary(2).max_drawdown == 30  # from the equity before the first of them
    lost = Performance(None, starting_equity=Decimal(100))
    told(lost, -5)
    assert lost.summary("all").max_drawdown == 5
    assert lost.summary("all").peak_equity == 100


# --- targets


def test_targets_are_read_from_a_table():
    table = {
        "win_rate": 0.45, "net": 0, "window": 30, "min_trades": 10, "max_drawdown": "500",
        "bma": {"profit_factor": 1.2, "window": 5}, "net profit": 3, "winrate": 1,
    }  # fmt: skip
    targets = Targets.parse(table)
    assert {one.key: (one.value, one.window, one.min_trades) for one in targets.all} == {
        "win_rate all": (0.45, 30, 10), "net all": (0, 30, 10), "max_drawdown all": (500, 30, 10),
        "profit_factor strategy:bma": (1.2, 5, 5),
    }  # fmt: skip
    assert len(targets.warnings) == 2
    assert "targets.winrate" in targets.warnings[1]
    assert "did you mean win_rate?" in targets.warnings[1]
    assert Targets.parse(None).all == ()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"win_rate": "high"}, "targets.win_rate = 'high'"), ({"win_rate": 45}, "targets.win_rate = 45"),
        ({"net": math.nan}, "targets.net = nan"), ({"net": True}, "targets.net = True"),
        ({"max_drawdown": -1}, "targets.max_drawdown = -1"), ({"window": 0}, "targets.window = 0"),
        ({"window": 2.5}, "targets.window = 2.5"), ({"min_trades": 21}, "targets.min_trades = 21"),
        ({"bma": {"net": []}}, "targets.bma.net = []"), ({"bma": {"net": {}}}, "targets.bma.net = {}"),
        ([], "targets = []"), ("x", "targets = 'x'"), ({"net": None}, "targets.net = None"),
    ],
)  # fmt: skip
def test_a_wrong_target_is_named_at_the_start(table, named):
    with pytest.raises(ConfigError) as caught:
        Targets.parse(table)
    assert str(caught.value).startswith(f"{named} is wrong; it takes")


def test_a_target_is_missed_once_and_resolved_once(tmp_path):
    events = []
    targets = Targets.parse({"win_rate": 0.5, "window": 4, "bma": {"profit_factor": 1.5}})
    options = {"targets": targets, "publish": events.append, "faults": Faults(strict=True)}
    performance = Performance(tmp_path, **options)
    told(performance, -1, -1, -1)
    assert events == []  # too few to judge
    told(performance, -1, -1, -1, first=4)
    assert [(type(one), one.metric, one.scope, one.value) for one in events] == [
        (TargetAlert, "win_rate", "all", 0.0), (TargetAlert, "profit_factor", "strategy:bma", 0.0),
    ]  # fmt: skip
    assert performance.close(time.monotonic() + 5)
    again = Performance(tmp_path, **options)  # what was missed before is no news after a restart
    told(again, -1, 5, first=7)
    assert len(events) == 3
    told(again, 5, 5, 5, first=9)
    assert [(type(one), one.metric, one.n, one.resolved) for one in events[2:]] == [
        (TargetResolved, "profit_factor", 4, True), (TargetResolved, "win_rate", 4, True),
    ]  # fmt: skip
    record = to_record(events[0])
    assert record == {
        "event": "target_missed", "metric": "win_rate", "scope": "all", "window": "last 4 trades", "value": 0.0,
        "target": 0.5, "n": 4, "resolved": False,
    }  # fmt: skip
    assert to_record(events[-1])["event"] == "target_resolved"
    assert all(isinstance(one, TargetMissed) and one.stream == "performance_alerts" for one in events)


def test_without_losses_the_profit_factor_is_reached():
    events = []
    performance = Performance(None, targets=Targets.parse({"profit_factor": 2, "window": 2}), publish=events.append)
    told(performance, -1, -1, 1, 1)
    assert [one.resolved for one in events] == [False, True]
    assert events[1].value == math.inf
    assert orjson.loads(dumps(to_record(events[1])))["value"] is None


def test_limits_are_missed_from_above():
    events = []
    performance = Performance(
        None, targets=Targets.parse({"max_drawdown": 10, "window": 3, "min_trades": 1}), publish=events.append
    )
    told(performance, 5, -10, -1)
    assert [(one.metric, one.value, one.target) for one in events] == [("max_drawdown", 11.0, 10.0)]


def test_a_failing_publish_is_counted():
    faults = Faults()
    performance = Performance(
        None, faults=faults, targets=Targets.parse({"net": 0, "window": 1}), publish=lambda _: 1 / 0
    )
    told(performance, -1, -1)
    assert faults.errors == {"performance": 1}
    assert performance.summary("all").trades == 2


# --- saved summaries


def test_summaries_are_saved_and_loaded(tmp_path):
    performance = Performance(tmp_path / "data", bot="demo", starting_equity=Decimal(100))
    for no in range(1, 5):
        performance.on_event(closed(no, no - 2, minutes=no * 1_000, strategy=f"s{no % 2}"))
    wrote = performance.save()
    folder = tmp_path / "data" / "logs" / "performance"
    assert wrote == sum(1 for path in folder.rglob("*.json"))
    day = orjson.loads((folder / "summaries" / "day" / "2026-11-02.json").read_bytes())
    assert day["summary"] == performance.sessions("day")[0].to_dict()
    assert (day["bot"], day["timezone"], day["schema"]) == ("demo", "UTC", "v1")
    assert isinstance(day["summary"]["net"], str)
    for strategy in ("s0", "s1"):
        assert Performance.summaries(folder, "day", strategy) == performance.sessions("day", strategy)
        assert Performance.summaries(folder, "all", strategy) == [performance.summary("all", strategy)]
    assert set(map(str, Performance.summaries(folder, "week"))) >= set(map(str, performance.sessions("week")))
    assert len(Performance.summaries(folder)) == wrote - 1 + 3
    assert performance.save() == 0  # nothing changed
    performance.on_event(closed(9, 1, minutes=4_001, strategy="s0"))
    assert performance.save() == 7  # one day, week and month, of all and of one; and the latest


def test_the_flush_saves_what_is_new_only(tmp_path):
    performance = Performance(tmp_path)
    for day in range(30):
        performance.on_event(closed(day, 1, minutes=day * 1_440))
    performance.flush(time.monotonic() + 5)
    performance.on_event(closed(100, 1, minutes=29 * 1_440 + 5))
    again = Performance(tmp_path)
    again.on_event(closed(101, 1, minutes=29 * 1_440 + 6))
    folder = tmp_path / "logs" / "performance"
    for path in folder.rglob("*.json"):
        path.unlink()
    again.flush(time.monotonic() + 5)
    assert len(list(folder.rglob("*.json"))) == 7
    assert not list(folder.rglob("*.tmp"))


def test_damaged_and_strange_objects_are_left_out(tmp_path, caplog):
    performance = Performance(tmp_path)
    told(performance, 1)
    performance.save()
    folder = tmp_path / "logs" / "performance"
    good = Performance.summaries(folder, "day")
    for name, content in {
        "a": b"",
        "b": b"[]",
        "c": b'{"summary": 1}',
        "d": b'{"summary": {"trades": "x"}}',
        "e": b"\xff",
        "f": b'{"summary":{"trades":1,"net":"x"}}',
        "g": b'{"summary":{"trades":1,"sharpe":3}}',
    }.items():
        (folder / "summaries" / "day" / f"{name}.json").write_bytes(content)
    assert Performance.summaries(folder, "day") == good
    assert Performance.summaries(tmp_path / "nothing") == []
    caplog.clear()
    (folder / "latest.json").write_bytes(b"{")
    assert Performance.summaries(folder, "all") == []
    assert "latest.json is damaged" in caplog.text


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    performance = Performance(tmp_path / "data")
    told(performance, 1)
    with pytest.raises(BotobsError, match="could not be saved to"):
        performance.save(tmp_path / "file")
    with pytest.raises(BotobsError, match="no data_dir"):
        Performance(None).save()
    for nowhere in ("", "a\0b", 5):
        with pytest.raises(BotobsError, match="is no place"):
            performance.save(nowhere)
    with pytest.raises(BotobsError, match="another machine"):
        performance.save("file://host/x")


def test_file_urls_are_folders(tmp_path):
    performance = Performance(None)
    told(performance, 1)
    performance.save(f"file://{tmp_path}/a%20b")
    assert (tmp_path / "a b" / "latest.json").exists()


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    performance = Performance(None)
    with pytest.raises(BotobsError, match=r"pip install 'botobs\[fsspec\]'") as caught:
        performance.save("s3://key:secret@bucket/x?token=y")
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_any_place_that_fsspec_knows():
    fsspec = pytest.importorskip("fsspec")
    performance = Performance(None)
    told(performance, 1, -2, 3, strategy="../up")
    url = "memory://performance/here"
    assert performance.save(url) == 7
    assert Performance.summaries(url, "day", "../up") == performance.sessions("day", "../up")
    assert len(Performance.summaries(url)) == 8
    assert all(path.startswith("/performance/here/") for path in fsspec.filesystem("memory").find("/"))
    with pytest.raises(BotobsError):
        performance.save("nonsense://x")


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/etc/passwd", "a\\b", "C:x", "x" * 5_000, "\ud800", "~", "CON", "a\0b", "é"]
)
def test_an_escaped_name_stays_where_it_is_put(tmp_path, name):
    part = store.escape(name)
    folder = store.Folder(tmp_path / "root")
    folder.write(f"{part}/{part}.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert list(folder.names(part)) == [f"{part}/{part}.json"]
    assert folder.read(f"{part}/{part}.json") == b"x"
    with pytest.raises(ValueError, match="not the name"):
        folder.write("a/../../b", b"x")


def test_escaped_names_are_as_different_as_the_names():
    names = ["a", "A", "a b", "a%20b", "%", "", "..", "%2E%2E", "~", "%7E", "x" * 200, "x" * 201, "x" * 120]
    assert len({store.escape(name) for name in names}) == len(names)


def test_a_summary_comes_back_as_it_was():
    performance = Performance(None, starting_equity=Decimal("0.1"))
    told(performance, "0.30", "-0.1", "1E-30")
    for summary in (performance.summary("all"), performance.sessions("week")[0], Performance(None).summary()):
        written = orjson.loads(orjson.dumps(summary.to_dict()))
        assert Summary.of_dict(written) == summary
        assert Summary.of_dict(written).to_dict() == written


# --- disks, forks, processes, clocks


def test_a_full_disk_is_counted_and_tried_again(tmp_path, monkeypatch):
    faults = Faults()
    performance = Performance(tmp_path, faults=faults)
    told(performance, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("botobs.performance.checkpoint.atomic_write", full)
        assert performance.flush(time.monotonic() + 5) is False
    assert faults.errors == {"performance.checkpoint": 1}
    assert performance.flush(time.monotonic() + 5) is True
    assert Performance.load(tmp_path).summary("all").trades == 1


def test_the_chore_saves_now_and_then(tmp_path):
    performance = Performance(tmp_path, faults=Faults(strict=True))
    told(performance, 1)
    performance.chore()
    assert not (tmp_path / "state").exists()
    performance._keeper._save_at = performance._save_at = 0.0
    performance.chore()
    assert (tmp_path / "state" / "performance.json").exists()
    assert (tmp_path / "logs" / "performance" / "latest.json").exists()


def test_a_forked_child_writes_nothing(tmp_path):
    performance = Performance(tmp_path)
    told(performance, 1)
    performance.flush(time.monotonic() + 5)
    told(performance, 2, first=2)
    before = (tmp_path / "state" / "performance.json").read_bytes()
    context = multiprocessing.get_context("fork")

    def child():
        performance.abandon()
        performance.on_event(closed(3, 3))
        performance.chore()
        ended = performance.close(time.monotonic() + 1)
        os._exit(0 if ended and performance.summary("all").trades == 3 else 1)

    with performance._lock:  # held by a thread that the child does not have
        process = context.Process(target=child)
        process.start()
    process.join(20)
    assert process.exitcode == 0
    assert (tmp_path / "state" / "performance.json").read_bytes() == before


def test_another_process_agrees_while_the_bot_runs(tmp_path):
    performance = Performance(tmp_path)
    (tmp_path / "logs").mkdir()
    stop, wrong = threading.Event(), []

    def ask():
        while not stop.is_set():
            loaded = Performance.load(tmp_path).summary("all")
            if loaded.net != loaded.trades or loaded.losses:
                wrong.append(loaded)

    asking = threading.Thread(target=ask)
    asking.start()
    with (tmp_path / "logs" / "trade_lifecycle.jsonl").open("ab", buffering=0) as file:
        for no in range(1, 300):
            one = closed(no, 1)
            file.write(dumps({"trade_id": one.trade_id, "revision": 1, **one.record}) + b"\n")
            performance.on_event(one)
            if no % 50 == 0:
                performance.flush(time.monotonic() + 5)
    stop.set()
    asking.join()
    assert not wrong
    assert Performance.load(tmp_path).summary("all") == performance.summary("all")


def test_any_thread_may_ask_and_tell():
    performance = Performance(None, faults=Faults(strict=True), keep=500)
    begin = threading.Barrier(4)

    def tell(base):
        begin.wait()
        for no in range(base, base + 200):
            performance.on_event(closed(no, 1))

    def ask():
        begin.wait()
        for _ in range(100):
            summary = performance.summary("all")
            assert summary.wins == summary.trades
            performance.sessions("day")

    threads = [threading.Thread(target=tell, args=(base,)) for base in (1_000, 1_200)]
    threads += [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert performance.summary("all").trades == 400
