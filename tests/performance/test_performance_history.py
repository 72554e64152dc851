"""Whatever closes, changes and is undone, in whatever order, with restarts in between: the same as counted at once."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.events.money import TradeClosed
from botobs.faults import Faults
from botobs.performance import Performance
from botobs.performance import keeper as keeper_module
from botobs.streams.encode import dumps

_spec = importlib.util.spec_from_file_location("plain", Path(__file__).with_name("plain.py"))
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

ZONE = "Europe/Berlin"
MORE = int(os.environ.get("SOAK_FACTOR", "1"))  # `make soak` asks for more examples
EXAMPLES = 25 * MORE
BEGIN = dt.datetime(2026, 10, 24, 18, tzinfo=dt.UTC)  # the clocks are set back in the night


def at(minutes):
    return f"{BEGIN + dt.timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.%fZ}"


def record(no, minutes, gross, *, fees="0.5", funding="0", strategy="bma", rr=None, revision=1, undone=False):
    gross, fees, funding = Decimal(gross), Decimal(fees), Decimal(funding)
    return {
        "trade_id": f"t{no}", "symbol": "BTCUSDT", "strategy_id": strategy, "exit_ts": at(minutes), "ts": at(minutes),
        "realized_pnl_usd": gross, "fees_usd": fees, "funding_usd": funding, "costs_total_usd": fees - funding,
        "net_pnl_usd": gross - fees + funding, "risk_reward_ratio": rr, "revision": revision, "undone": undone,
    }  # fmt: skip


def event(row):
    return TradeClosed(ts_ns=0, trade_id=row["trade_id"], record=row, revision=row["revision"], undone=row["undone"])


class Bot:
    """What writes the stream and tells performance, as the observer does."""

    def __init__(self, path, **options):
        self.path = Path(path)
        (self.path / "logs").mkdir(parents=True, exist_ok=True)
        (self.path / "state").mkdir(exist_ok=True)
        self.options = {"timezone": ZONE, "background": False, "faults": Faults(strict=True), **options}
        self.performance = Performance(self.path, **self.options)
        self.rows = []

    def write(self, row):
        self.rows.append(row)
        with (self.path / "logs" / "trade_lifecycle.jsonl").open("ab") as file:
            file.write(dumps(row) + b"\n")

    def close(self, row):
        self.write(row)
        self.performance.on_event(event(row))

    def restart(self, *, clean=True):
        if clean:
            assert self.performance.close(time.monotonic() + 5)
        self.performance = Performance(self.path, **self.options)

    @property
    def trades(self):
        return plain.latest(self.rows)


def check(performance, rows, *, window=3):
    trades = plain.latest(rows)
    names = sorted({trade["strategy_id"] for trade in trades})
    assert performance.strategies() == names
    for strategy in (None, *names):
        own = [trade for trade in trades if strategy in (None, trade["strategy_id"])]
        plain.assert_says(performance.summary("all", strategy), own)
        plain.assert_says(performance.summary(None, strategy), own[-window:])
        plain.assert_says(performance.summary(7, strategy), own[-7:])
        middle = at(1_500)
        plain.assert_says(performance.summary(middle, strategy), [one for one in own if one["exit_ts"] >= middle])
        plain.assert_says(
            performance.summary(at(400), strategy, end=middle),
            [one for one in own if at(400) <= one["exit_ts"] < middle],
        )
        for kind in ("day", "week", "month"):
            expected = plain.sessions(own, kind, ZONE)
            found = performance.sessions(kind, strategy)
            assert [one.session.key for one in found] == list(expected)
            before = 1_000
            for one, members in zip(found, expected.values(), strict=True):
                plain.assert_says(one, members)
                assert one.session.start <= one.start <= one.end < one.session.end
                assert one.peak_equity == before + one.peak_pnl
                before += one.net


money = st.decimals(-50, 50, places=2)
TRADE = st.tuples(
    st.integers(0, 4_000), money, st.sampled_from(["0", "0.25", "-0.1"]), st.sampled_from(["0", "0.01"]),
    st.sampled_from(["bma", "grid", "../x"]), st.sampled_from([None, 1.5, 2.0]),
)  # fmt: skip


@st.composite
def happenings(draw):
    rows = []
    for no in range(1, draw(st.integers(1, 25)) + 1):
        for revision in range(1, draw(st.sampled_from([1, 1, 1, 2, 3])) + 1):
            minutes, gross, fees, funding, strategy, rr = draw(TRADE)
            undone = revision > 1 and draw(st.booleans())
            rows.append(
                record(
                    no,
                    minutes,
                    gross,
                    fees=fees,
                    funding=funding,
                    strategy=strategy,
                    rr=rr,
                    revision=revision,
                    undone=undone,
                )
            )
    order = draw(st.sampled_from(["by exit", "any"]))
    rows = sorted(rows, key=lambda row: row["exit_ts"]) if order == "by exit" else draw(st.permutations(rows))
    turns = {}  # the revisions of one trade come one after the other, whatever else comes in between
    for row in sorted(rows, key=lambda row: row["revision"]):
        turns.setdefault(row["trade_id"], []).append(row)
    rows = [turns[row["trade_id"]].pop(0) for row in rows]
    restarts = draw(st.sets(st.tuples(st.integers(0, len(rows)), st.booleans()), max_size=3))
    twice = draw(st.sets(st.integers(0, len(rows) - 1), max_size=3))
    return rows, dict(restarts), twice


@settings(max_examples=EXAMPLES, deadline=None)
@given(happenings(), st.sampled_from([2, 5, 50]), st.sampled_from([0, 4_096]))
def test_any_sequence_is_what_counting_anew_gives(case, keep, heard):
    rows, restarts, twice = case
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("botobs.performance.history.LEAST_HEARD", heard)
        bot = Bot(folder, keep=keep, rolling_window=3, starting_equity=Decimal(1_000))
        for place, row in enumerate(rows):
            if place in restarts:
                bot.restart(clean=restarts[place])
            bot.close(row)
            if place in twice:
                bot.performance.on_event(event(row))
        check(bot.performance, rows)
        loaded = Performance.load(folder, timezone=ZONE, rolling_window=3, starting_equity=Decimal(1_000))
        check(loaded, rows)
        bot.restart()
        check(bot.performance, rows)
        again = Performance(None, timezone=ZONE, rolling_window=3, starting_equity=Decimal(1_000), keep=keep)
        assert again.rebuild(rows) == len(plain.latest(rows))
        assert again.summary("all") == bot.performance.summary("all")


def test_in_order_nothing_is_read_again(tmp_path, monkeypatch):
    bot = Bot(tmp_path, keep=10)
    monkeypatch.setattr(keeper_module.Keeper, "_stream", lambda _: pytest.fail("the stream was read"))
    for no in range(1, 200):
        bot.close(record(no, no, no % 7 - 3))
    bot.performance.summary("all")
    bot.performance.summary(10)
    bot.performance.sessions("day")
    bot.performance.by_strategy()
    bot.restart()
    assert bot.performance.summary("all").trades == 199
    plain.assert_says(bot.performance.summary(10), bot.trades[-10:])


def test_a_restart_reads_only_the_tail(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper_module, "_TAIL", 128)
    bot = Bot(tmp_path, keep=500)
    for no in range(1, 1_001):
        bot.close(record(no, no, no % 7 - 3))
    bot.performance.flush(time.monotonic() + 5)
    bot.write(record(1_001, 1_001, 5))  # the bot died before it was told
    read = []
    plainly = keeper_module.Keeper.read_record
    monkeypatch.setattr(keeper_module.Keeper, "read_record", lambda me, row: read.append(1) or plainly(me, row))
    bot.restart(clean=False)
    assert bot.performance.summary("all").trades == 1_001
    assert len(read) == 128


def test_a_long_tail_is_read_to_where_it_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper_module, "_TAIL", 128)
    bot = Bot(tmp_path, keep=500)
    for no in range(1, 301):
        bot.close(record(no, no, no % 7 - 3))
    bot.performance.flush(time.monotonic() + 5)
    for no in range(301, 601):
        bot.write(record(no, no, 1))
    bot.restart(clean=False)
    plain.assert_says(bot.performance.summary("all"), bot.trades)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "gone"])
def test_a_damaged_checkpoint_is_made_again(tmp_path, damage):
    bot = Bot(tmp_path, keep=4)
    for no in range(1, 30):
        bot.close(record(no, no * 90, no % 7 - 3))
    bot.performance.close(time.monotonic() + 5)
    path = tmp_path / "state" / "performance.json"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    damaged = {"cut": data[:-20], "flip": bytes(flipped), "empty": b"", "other": b"[]\n[]", "gone": None}[damage]
    path.unlink() if damaged is None else path.write_bytes(damaged)
    bot.restart(clean=False)
    plain.assert_says(bot.performance.summary("all"), bot.trades)


def test_another_timezone_has_other_days(tmp_path):
    bot = Bot(tmp_path, keep=4)
    for no in range(1, 30):
        bot.close(record(no, no * 90, no % 7 - 3))
    bot.performance.close(time.monotonic() + 5)
    tokyo = Performance.load(tmp_path, timezone="Asia/Tokyo")
    assert [one.session.key for one in tokyo.sessions("day")] == list(plain.sessions(bot.trades, "day", "Asia/Tokyo"))


def test_reading_changes_nothing(tmp_path):
    bot = Bot(tmp_path, keep=4)
    for no in range(1, 30):
        bot.close(record(no, no * 90, no % 7 - 3))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    loaded = Performance.load(tmp_path, timezone=ZONE)
    assert loaded.summary("all").trades == 29
    loaded.rebuild()
    loaded.chore()
    loaded.close(time.monotonic() + 5)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_old_change_is_counted_in_the_background(tmp_path):
    bot = Bot(tmp_path, keep=4, background=True)
    for no in range(1, 30):
        bot.close(record(no, no * 90, 1))
    bot.close(record(3, 3 * 90, 100, revision=2))
    bot.close(record(30, 30 * 90, 1))
    deadline = time.monotonic() + 20
    while bot.performance.rebuilding and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    assert not bot.performance.rebuilding
    plain.assert_says(bot.performance.summary("all"), bot.trades)
    assert bot.performance.summary("all").gross == 129
    assert bot.performance.close(time.monotonic() + 5)


def test_while_it_is_counted_anew_the_summary_says_so(tmp_path, monkeypatch):
    bot = Bot(tmp_path, keep=4, background=True)
    for no in range(1, 30):
        bot.close(record(no, no * 90, 1))
    gate = threading.Event()
    stream = keeper_module.Keeper._stream

    def slow(me):
        if me is bot.performance._keeper:
            gate.wait(10)
        return stream(me)

    monkeypatch.setattr(keeper_module.Keeper, "_stream", slow)
    bot.close(record(3, 3 * 90, 100, revision=2))
    assert "counted anew" in bot.performance.summary("all").reasons["trades"]
    bot.close(record(31, 31 * 90, 1))
    bot.close(record(2, 2 * 90, 7, revision=2))  # one more, meanwhile
    assert bot.performance.flush(time.monotonic() + 5)  # the checkpoint knows that it is not right
    crashed = Performance.load(tmp_path, timezone=ZONE)
    gate.set()
    plain.assert_says(crashed.summary("all"), bot.trades)
    deadline = time.monotonic() + 20
    while bot.performance.rebuilding and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    plain.assert_says(bot.performance.summary("all"), bot.trades)
    assert "trades" not in bot.performance.summary("all").reasons
    assert bot.performance.close(time.monotonic() + 5)


def test_without_the_old_stream_the_figures_are_not_lost(tmp_path):
    bot = Bot(tmp_path, keep=4)
    for no in range(1, 30):
        bot.close(record(no, no * 90, 1))
    (tmp_path / "logs" / "trade_lifecycle.jsonl").unlink()  # somebody tidied up
    bot.close(record(3, 3 * 90, 100, revision=2))
    assert bot.performance.summary("all").trades == 29
    assert bot.performance.summary("all").gross == 29
    assert bot.options["faults"].drops["performance"] == 1
    bot.close(record(30, 30 * 90, 1))
    assert bot.performance.summary("all").trades == 30


def test_more_strategies_than_have_names_are_other(tmp_path, monkeypatch):
    monkeypatch.setattr("botobs.performance.history.MOST_STRATEGIES", 3)
    bot = Bot(tmp_path, keep=4)
    for no in range(1, 31):
        bot.close(record(no, no * 90, 1, strategy=f"s{no % 6}"))
    for performance in (bot.performance, Performance.load(tmp_path, timezone=ZONE)):
        assert {name: one.trades for name, one in performance.by_strategy().items()} == {
            "other": 15, "s1": 5, "s2": 5, "s3": 5,
        }  # fmt: skip
        assert performance.summary(12, "other").trades == 12
        assert performance.summary("all").trades == 30


def test_sessions_and_what_is_remembered_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("botobs.performance.history._MOST_SESSIONS", {"day": 5, "week": 2, "month": 2})
    monkeypatch.setattr("botobs.performance.history.LEAST_HEARD", 0)
    bot = Bot(tmp_path, keep=4, rolling_window=3, starting_equity=Decimal(100))
    for no in range(1, 41):
        bot.close(record(no, no * 1_440, 1, fees=0))
    history = bot.performance._keeper.history
    assert len(history.kept) == len(history.held) == 4
    assert len(history.heard) <= 8
    days = bot.performance.sessions("day")
    assert [one.session.key for one in days] == list(plain.sessions(bot.trades, "day", ZONE))[-5:]
    assert [one.peak_equity for one in days] == [136, 137, 138, 139, 140]  # of all that came before, too
    assert bot.performance.summary("all").trades == 40


def test_the_last_trade_costs_what_the_first_did():
    performance = Performance(None, keep=512, rolling_window=20)
    took = []
    blocks = 12 * min(MORE, 8)
    for block in range(blocks):
        events = [
            event(record(no, no // 10, no % 7 - 3, strategy=f"s{no % 5}"))
            for no in range(block * 1_000, block * 1_000 + 1_000)
        ]
        begun = time.thread_time_ns()
        for one in events:
            performance.on_event(one)
        took.append(time.thread_time_ns() - begun)
    assert min(took[-3:]) < 2.5 * min(took[1:4])  # the first was cheaper: nothing was settled


def test_state_grows_with_days_and_not_with_trades(tmp_path, monkeypatch):
    monkeypatch.setattr("botobs.performance.history.LEAST_HEARD", 0)
    bot = Bot(tmp_path, keep=64)
    sizes = []
    for no in range(1, 2_001):
        bot.performance.on_event(event(record(no, no // 10, no % 7 - 3)))
        if no in (1_000, 2_000):
            bot.performance.flush(time.monotonic() + 5)
            sizes.append((tmp_path / "state" / "performance.json").stat().st_size)
    assert sizes[1] < 1.1 * sizes[0]


def test_records_from_the_disk_are_understood_as_they_are(tmp_path):
    bot = Bot(tmp_path)
    rows = [orjson.loads(dumps(record(no, no, "0.1"))) for no in range(1, 5)]
    bot.performance.rebuild(iter(rows))
    assert bot.performance.summary("all").gross == Decimal("0.4")
