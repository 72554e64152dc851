"""`replay`: what limits and alert rules would have done with what was recorded."""

from __future__ import annotations

import json
import random
import re
import shlex
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest

import botobs
from botobs.config import load
from botobs.safety.replay import replay
from botobs.streams.reader import StreamReader
from botobs.testing import Clock
from botobs.triggers import (
    ConsecutiveLosses,
    SameBarRoundTrip,
    DailyLoss,
    Drawdown,
    EquityBelow,
    Rejections,
)
from tests.cli.world import ROOT, ask, ask_json, botobs_process, fills, snapshot, trade

START = "2026-03-01T09:00:00Z"


class Month:
    """A bot on a clock of its own."""

    def __init__(self, **settings):
        self.clock = Clock(START)
        self.obs = botobs.start(
            "trend-bot", data_dir="data", mode="backtest", clock=self.clock,
            **{"starting_equity": 10_000, **settings},
        )  # fmt: skip
        self.count = 0

    def fill(self, side, price, qty=1, **more):
        self.count += 1
        report = self.obs.fill(
            symbol="BTC-USD", side=side, price=price, qty=qty, fee=0, fee_asset="USD", fill_id=str(self.count), **more
        )
        assert report.booked, report

    def mark(self, *prices, every=60):
        for price in prices:
            self.clock.advance(every)
            self.obs.mark("BTC-USD", price)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.obs.shutdown()


@pytest.fixture
def fall():
    """Equity from 10,000 over 10,100 to 8,900, and back to 9,500."""
    with Month() as month:
        month.fill("buy", 5_000)
        month.mark(5_100, 4_700, 4_200, 3_900, 4_400, 4_500)


def written(kind="trip"):
    return [one for one in StreamReader("data").read("kill_switch") if one.get("event") == kind]


def test_what_would_have_tripped_when_and_what_equity_did_afterwards(capsys, fall):
    Path("tight.toml").write_text("equity_floor = 9300\n")
    before = snapshot()
    status, said = ask_json(capsys, "replay", "--data-dir", "data", "--config", "tight.toml")
    assert status == 0
    assert snapshot() == before
    assert said["limits"] == ["EquityBelow(9300)", "Rejections(10, 600)"]
    (trip,) = said["trips"]
    assert (trip["ts"], trip["state"], trip["trigger"]) == (
        "2026-03-01T09:03:00.000000Z",
        "halted",
        "EquityBelow(9300)",
    )
    assert (trip["equity"], trip["again"]) == ("9200", False)
    assert trip["after"] == {
        "lowest": "8900",
        "lowest_ts": "2026-03-01T09:04:00.000000Z",
        "end": "9500",
        "change": "300",
    }
    assert trip["inputs"] == {"equity": "9200", "limit": "9300", "counted_from": "10100"}
    assert [(one["level"], one["title"]) for one in said["alerts"]][:2] == [
        ("critical", "Kill switch: halted"), ("warning", "Equity 8.9% below its peak"),
    ]  # fmt: skip


def test_for_people(capsys, fall):
    status, out, err = ask(capsys, "replay", "--limit", "Drawdown(0.10)", "--limit", "DailyLoss(2000)")
    assert (status, err) == (0, "")
    assert "limits: Drawdown(0.1), DailyLoss(2000)" in out
    assert "the kill switch would have tripped: once" in out
    assert "2026-03-01 09:04:00  halted  Drawdown(0.1)  8,900.00" in out


def test_the_page_shows_what_it_prints(capsys, fall):
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    command, shown = re.search(r"^```text\n\$ botobs (replay .*)\n((?s:.*?))^```$", page, re.MULTILINE).groups()
    assert ask(capsys, *shlex.split(command)) == (0, shown, "")


def test_nothing_would_have_happened(capsys, fall):
    Path("botobs.toml").write_text("equity_floor = 5000\nalert_drawdown = 0.5\n")
    status, said = ask_json(capsys, "replay")
    assert (status, said["trips"], said["alerts"], said["warnings"]) == (0, [], [], [])
    assert "never" in ask(capsys, "replay")[1]


def test_without_limits_it_says_so(capsys, fall):
    status, out, _ = ask(capsys, "replay")
    assert status == 0
    assert "note: there are no limits" in out


LIMITS = {
    "EquityBelow(9400)": lambda: EquityBelow(9400),
    "Drawdown(0.06)": lambda: Drawdown("0.06"),
    "DailyLoss(350)": lambda: DailyLoss(350),
    "Drawdown(0.04, target='reduce_only')": lambda: Drawdown("0.04", target="reduce_only"),
    "ConsecutiveLosses(3)": lambda: ConsecutiveLosses(3),
    "SameBarRoundTrip(confirm=2)": lambda: SameBarRoundTrip(confirm=2),
    "Rejections(4, '5m')": lambda: Rejections(4, "5m"),
}


@pytest.mark.parametrize("seed", range(8))
def test_it_trips_and_warns_as_the_bot_itself_did(capsys, seed):
    """The same limits on what a bot recorded say what they said to the bot."""
    dice = random.Random(seed)
    chosen = dice.sample(list(LIMITS), 3)
    chosen = [
        text for at, text in enumerate(chosen) if text.split("(")[0] not in {t.split("(")[0] for t in chosen[:at]}
    ]
    with Month(kill_switch=[LIMITS[text]() for text in chosen], alert_drawdown=0.03) as month:
        price, held = 5_000.0, 0
        for bar in range(150):
            month.clock.advance(dice.choice((30, 60, 600, 4_000)))
            price *= 1 + dice.gauss(0, 0.012)
            month.obs.mark("BTC-USD", round(price, 2))
            act = dice.random()
            with month.obs.tick("BTC-USD", bar_id=bar // 2):
                if act < 0.3:
                    month.fill("sell" if held else "buy", round(price, 2))
                    held = 1 - held
                elif act < 0.4:
                    order = month.obs.order("BTC-USD", "buy", 1, decision_px=price)
                    month.obs.reject(order, "51008", "no money")
                elif act < 0.43:
                    month.obs.transfer(dice.choice((500, -400)))
                    month.obs.mark("BTC-USD", round(price, 2) + 0.01)
                elif act < 0.46 and month.obs.kill_switch.state != "active":
                    month.clock.advance(1)
                    month.obs.kill_switch.reset("anna", "go on")
            month.clock.advance(1)
        assert month.obs.faults.errors == {}
    words = [word for text in chosen for word in ("--limit", text)]
    Path("botobs.toml").write_text("alert_drawdown = 0.03\n")
    status, said = ask_json(capsys, "replay", *words)
    assert status == 0
    assert said["notes"] == []
    trips = [(one["ts"], one["trigger"], one["state"], bool(one.get("again"))) for one in written()]
    assert [(one["ts"], one["trigger"], one["state"], one["again"]) for one in said["trips"]] == trips
    warned = [(one["ts"], one["trigger"], one["why"]) for one in written("warning")]
    assert [(one["ts"], one["trigger"], one["why"]) for one in said["warnings"]] == warned
    told = {
        one["alert_id"]: (one["alert_ts"], one["title"], bool(one.get("recovery")))
        for one in StreamReader("data").read("alerts") if one["fate"] not in ("held", "digested") and one["key"] != "equity-drawdown"
    }  # fmt: skip
    # a backtest notices the end of an hour later than it dates it
    heard = [one for one in said["alerts"] if one["key"] != "equity-drawdown"]
    assert sorted((one["ts"], one["title"], one["recovery"]) for one in heard) == sorted(told.values())


def test_round_trips(capsys):
    with Month() as month:
        for bar, (side, price) in enumerate(
            [("buy", 100), ("sell", 99), ("sell", 98), ("buy", 99), ("buy", 90), ("sell", 80)]
        ):
            month.clock.advance(60)
            with month.obs.tick("BTC-USD", bar_id=min(bar, 4)):
                month.fill(side, price)
    said = ask_json(capsys, "replay", "--limit", "ConsecutiveLosses(3)")[1]
    assert [(one["ts"], one["inputs"]) for one in said["trips"]] == [
        ("2026-03-01T09:06:00.000000Z", {"losses": 3, "limit": 3})
    ]
    said = ask_json(capsys, "replay", "--limit", "SameBarRoundTrip")[1]
    assert [(one["ts"], one["inputs"]) for one in said["trips"]] == [
        ("2026-03-01T09:06:00.000000Z", {"symbol": "BTC-USD", "bar_id": "4", "opened_in": "4"})
    ]
    assert "BTC-USD opened and closed on one bar" in [one["title"] for one in said["alerts"]]


def test_money_moved_in_or_out_is_neither_a_loss_nor_a_gain_afterwards(capsys):
    with Month() as month:
        month.fill("buy", 5_000)
        month.mark(4_800, 4_400)
        month.clock.advance(60)
        month.obs.transfer(-3_000)
        month.mark(4_300, 4_600)
    (trip,) = ask_json(capsys, "replay", "--limit", "Drawdown(0.05)")[1]["trips"]
    assert (trip["equity"], trip["ts"]) == ("9400", "2026-03-01T09:02:00.000000Z")
    assert trip["after"] == {
        "lowest": "9300",
        "lowest_ts": "2026-03-01T09:04:00.000000Z",
        "end": "9600",
        "change": "200",
    }


def test_what_equity_did_between_two_points_of_the_curve_counts(capsys):
    with Month() as month:
        month.fill("buy", 5_000)
        month.mark(5_001)
        month.mark(5_900, 4_000, 5_000, every=0.1)
        month.mark(5_000, every=10)
    assert len(list(StreamReader("data").read("equity_curve"))) < 5
    (trip,) = ask_json(capsys, "replay", "--limit", "Drawdown(0.15)")[1]["trips"]
    assert (trip["inputs"]["counted_from"], trip["inputs"]["equity"]) == ("10900", "9000")
    assert ask_json(capsys, "replay", "--limit", "Drawdown(0.18)")[1]["trips"] == []


def test_one_bad_point_is_seen_once(capsys):
    with Month() as month:
        month.fill("buy", 5_000)
        month.mark(5_100, 4_000, 5_000)
        month.clock.advance(60)
        month.fill("sell", 4_500)
        month.mark(1)
    assert ask_json(capsys, "replay", "--limit", "Drawdown(0.05, confirm=2)")[1]["trips"] == []
    assert len(ask_json(capsys, "replay", "--limit", "Drawdown(0.05)")[1]["trips"]) == 2


def test_feeds_are_silent_on_recorded_time(capsys):
    with Month() as month:
        month.obs.watch("ws", "30s")
        month.obs.watch("rest", "30s")
        for second in range(400):
            month.clock.advance(1)
            month.obs.heartbeat("rest")
            if not 100 <= second < 220:
                month.obs.heartbeat("ws")
            month.obs.flush()
            month.obs.health(ok=True)
    status, said = ask_json(capsys, "replay", "--limit", "Stale('ws', '100s')", "--limit", "Stale('rest', '31s')")
    assert status == 0
    (trip,) = said["trips"]
    assert trip["trigger"] == "Stale(ws, 100)"
    assert "2026-03-01T09:03:19" <= trip["ts"] <= "2026-03-01T09:03:32"
    assert [one["recovery"] for one in said["alerts"] if one["key"] == "feed-stale-ws"] == [False, True]
    assert ask_json(capsys, "replay", "--limit", "Stale('ws', '130s')")[1]["trips"] == []


def test_alerts_of_the_bot_itself_are_held_back_as_the_settings_say(capsys):
    with Month() as month:
        for _ in range(5):
            month.clock.advance(900)
            month.obs.alerts.send("warning", "Spread is wide", key="spread")
        month.clock.advance(60)
        month.obs.alerts.resolve("spread")
    for cooldown, times in (("1h", 2), ("10m", 5), ("1d", 1)):
        Path("botobs.toml").write_text(f'alert_cooldown = "{cooldown}"\n')
        said = ask_json(capsys, "replay")[1]
        told = [one["title"] for one in said["alerts"] if not one["recovery"]]
        assert (told, said["held"]) == (["Spread is wide"] * times, 5 - times)
        assert [one["recovery"] for one in said["alerts"]][-1] is True


def test_a_window_of_time(capsys, fall):
    said = ask_json(capsys, "replay", "--limit", "Drawdown(0.10)", "--since", "2026-03-01T09:04:30Z")[1]
    assert said["from"] == "2026-03-01T09:05:00.000000Z"
    assert [one["ts"] for one in said["trips"]] == []  # 9,400 of 10,100: the fall to 8,900 was before
    said = ask_json(capsys, "replay", "--limit", "Drawdown(0.10)", "--until", "2026-03-01T09:04:00Z")[1]
    assert said["trips"] == []
    status, out, err = ask(capsys, "replay", "--since", "2027-01-01")
    assert (status, out) == (1, "")
    assert "nothing was recorded" in err


def test_a_bot_that_knew_no_starting_equity(capsys):
    with Month(starting_equity=None) as month:
        month.fill("buy", 5_000)
        month.mark(4_900, 4_000)
    said = ask_json(capsys, "replay", "--limit", "EquityBelow(9500)")[1]
    assert said["trips"] == []
    assert any("no starting_equity" in note for note in said["notes"])
    Path("botobs.toml").write_text("starting_equity = 10000\n")
    (trip,) = ask_json(capsys, "replay", "--limit", "EquityBelow(9500)")[1]["trips"]
    assert (trip["equity"], trip["ts"]) == ("9000", "2026-03-01T09:02:00.000000Z")


def test_beside_a_running_bot_and_over_several_runs(capsys):
    for run in range(2):
        trade(said=fills(3, first=3 * run), starting_equity=1_000)
    with botobs.start("trend-bot", data_dir="data", starting_equity=1_000) as obs:
        obs.fill(symbol="A", side="buy", qty=1, price=100, fee=300, fee_asset="USD")
        obs.flush()
        before = snapshot()
        status, said = ask_json(capsys, "replay", "--limit", "EquityBelow(900)")
        assert {name: each for name, each in snapshot().items() if "fills" in name} == {
            name: each for name, each in before.items() if "fills" in name
        }
    assert status == 0
    assert {one["trigger"] for one in said["trips"]} == {"EquityBelow(900)"}


def test_damaged_records_end_nothing(capsys, fall):
    for name, bad in (
        ("equity_curve", '{"ts":"2026-03-01T09:02:30Z","equity":"NaN","segment":{"first":1}}'),
        ("equity_curve", '{"equity":"1"}'),
        ("trade_lifecycle", '{"ts":"2026-03-01T09:02:30Z","exit_bar_id":1}'),
        ("connections", '{"ts":"2026-03-01T09:02:30Z","event":"stale"}'),
        ("health", '{"ts":"2026-03-01T09:02:30Z","equity":{}}'),
        ("kill_switch", '{"ts":"9999-12-31T09:02:30Z","event":"reset"}'),
        ("trade_lifecycle", "garbage"),
    ):
        with open(f"data/logs/{name}.jsonl", "a") as file:
            file.write(bad + "\n")
    status, said = ask_json(capsys, "replay", "--limit", "EquityBelow(9300)")
    assert status == 0
    assert [one["trigger"] for one in said["trips"]] == ["EquityBelow(9300)"]
    assert any("could not be read: 2" in note for note in said["notes"])
    assert any("trade_lifecycle that made no sense" in note for note in said["notes"])


def test_words_that_will_not_do(capsys, fall):
    for limit, told in (
        ("Drawdwn(0.1)", "those that can be replayed"),
        ("__import__('os')", "those that can be replayed"),
        ("Drawdown(__import__('os').getpid())", "will not do"),
        ("Drawdown(2)", "a fraction between 0 and 1"),
        ("Drawdown()", "will not do"),
        ("Drawdown(0.1, target='off')", "halted"),
        ("Drawdown(", "it takes a limit"),
        ("When(print)", "those that can be replayed"),
        ("", "it takes a limit"),
        ("(" * 5_000, "will not do"),
    ):
        status, out, err = ask(capsys, "replay", "--limit", limit)
        assert (status, out) == (2, ""), limit
        assert told in err
    status, _, err = ask(capsys, "replay", "--config", "nowhere.toml")
    assert status == 2
    assert "nowhere.toml" in err
    status, _, err = ask(capsys, "replay", "--data-dir", "nowhere")
    assert status == 1
    assert "nowhere is not there" in err
    Path("empty").mkdir()
    assert ask(capsys, "replay", "--data-dir", "empty")[0] == 1
    Path("bad.toml").write_text("equity_floor = -1\n")
    assert ask(capsys, "replay", "--config", "bad.toml")[0] == 2


def test_the_data_directory_of_the_configuration(capsys, fall):
    Path("elsewhere").mkdir()
    Path("data").rename("elsewhere/data")
    Path("other.toml").write_text('data_dir = "elsewhere/data"\nequity_floor = 9300\n')
    assert len(ask_json(capsys, "replay", "--config", "other.toml")[1]["trips"]) == 1
    done = botobs_process("replay", "--config", "other.toml", "--json", cwd=Path.cwd())
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["trips"]) == 1


@pytest.mark.parametrize("back", [30, 7_200])
def test_a_clock_that_was_set_back(capsys, back):
    with Month() as month:
        month.fill("buy", 5_000)
        month.mark(5_100)
    path = Path("data/logs/equity_curve.jsonl")
    record = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        for second, equity in ((60, 9_900), (60 - back, 9_000), (61 - back, 9_500)):
            hour, rest = divmod(9 * 3600 + 60 + second, 3600)
            said = {
                **record,
                "ts": f"2026-03-01T{hour:02}:{rest // 60:02}:{rest % 60:02}.000000Z",
                "equity": str(equity),
            }
            file.write(json.dumps({**said, "segment": None}) + "\n")
    (trip,) = ask_json(capsys, "replay", "--limit", "Drawdown(0.10)")[1]["trips"]
    assert (trip["equity"], trip["after"]["end"]) == ("9000", "9500")


def test_many_records_take_little_room(fall):
    """A month is read as it goes, not held."""
    line = Path("data/logs/equity_curve.jsonl").read_text().splitlines()[-1]
    record = json.loads(line)
    with open("data/logs/equity_curve.jsonl", "a") as file:
        for second in range(5_000):
            record["ts"] = f"2026-03-02T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000000Z"
            file.write(json.dumps(record) + "\n")
    settings = load("b", {"data_dir": "data"}, env={}, cwd=None)
    tracemalloc.start()
    found = replay(Path("data"), settings, limits=[Drawdown("0.5")])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.records["equity_curve"] > 5_000
    assert peak < 4_000_000
    assert isinstance(found.record()["alerts"], list)
    assert Decimal(found.record()["alerts"][0]["equity"]) > 0


def test_what_there_is_nothing_of_is_named(capsys):
    trade()
    status, out, err = ask(capsys, "replay", "--since", "2999-01-01")
    assert (status, out) == (1, "")
    assert err == "botobs replay: nothing was recorded in data from 2999-01-01T00:00:00.000000Z to now\n"
    status, out, err = ask(capsys, "replay", "--config", "nowhere.toml")
    assert (status, out, err) == (2, "", "botobs replay: --config: there is no file nowhere.toml\n")
