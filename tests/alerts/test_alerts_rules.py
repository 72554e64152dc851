"""Which events become alerts."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any, ClassVar

import attrs
import pytest

from botobs.alerts import built_in
from botobs.events import (
    BackupFailed,
    BackupMade,
    EdgeAlarm,
    EdgeCleared,
    EquitySampled,
    Event,
    FillConflict,
    LedgerResumed,
    LedgerTrouble,
    PositionAged,
    Recorded,
    TargetMissed,
    UncleanEnd,
)
from botobs.events.safety import (
    EquityDrawdown,
    FeaturesStale,
    FeedStale,
    FundingStale,
    KillSwitchChanged,
    SameBarRoundTrip,
)
from botobs.events.switch import (
    KeepAliveChanged,
    KeepAliveFailed,
    KillSwitchAnswered,
    KillSwitchDrilled,
    KillSwitchFound,
    KillSwitchReset,
    KillSwitchTripped,
    KillSwitchWarned,
)
from botobs.events.vitals import BotAwake, BotSilent, FeedAlarmed, FeedRecovered
from botobs.faults import Faults
from tests.alerts.parlour import Parlour


def equity(drawdown):
    return EquitySampled(ts_ns=1, record={"equity": Decimal(9400), "peak": Decimal(10000), "drawdown_pct": drawdown})


EDGE = {"what": "edge", "strategy": "bma"}
TARGET = {"metric": "win_rate", "scope": "all", "window": "last 20 trades", "value": 0.3, "target": 0.5, "n": 20}
FAILED = [{"name": "log", "outcome": "done"}, {"name": "flatten", "outcome": "failed", "error": "down"}]
TABLE = [
    (KeepAliveFailed(ts_ns=1, name="cancel_all_after", failures=3, error="timeout"),
     KeepAliveChanged(ts_ns=1, name="cancel_all_after", calling=True, why="it works again"), "critical",
     "keep-alive-cancel_all_after", "Keep-alive cancel_all_after fails"),
    (BotSilent(ts_ns=1, age_s=120.4, limit_s=60), BotAwake(ts_ns=1, age_s=130), "critical", "bot-silent",
     "No decision for 120 s"),
    (KillSwitchTripped(ts_ns=1, state="halted", reason="r"), KillSwitchReset(ts_ns=1, state="active"), "critical",
     "kill-switch", "Kill switch: halted"),
    (FeedAlarmed(ts_ns=1, name="ws", age_s=31), FeedRecovered(ts_ns=1, name="ws", resolved=True), "warning",
     "feed-stale-ws", "Feed ws silent for 31 s"),
    (equity(0.06), equity(0.03), "warning", "equity-drawdown", "Equity 6.0% below its peak"),
    (EquityDrawdown(ts_ns=1, drawdown_pct=0.07), EquityDrawdown(ts_ns=1, drawdown_pct=0.01, resolved=True), "warning",
     "equity-drawdown", "Equity 7.0% below its peak"),
    (FeedStale(ts_ns=1, name="ws", age_s=31.2), FeedStale(ts_ns=1, name="ws", resolved=True), "warning",
     "feed-stale-ws", "Feed ws silent for 31 s"),
    (FeedStale(ts_ns=1, name="ws", age_s=99, escalated=True), None, "critical", "feed-stale-ws", "Feed ws silent for 99 s"),
    (FundingStale(ts_ns=1, symbol="BTC", age_s=3601), FundingStale(ts_ns=1, symbol="BTC", resolved=True), "warning",
     "funding-stale-BTC", "Funding rate of BTC is 3601 s old"),
    (SameBarRoundTrip(ts_ns=1, symbol="BTC", bar_id=7), None, "warning", "same-bar-BTC", "BTC opened and closed on one bar"),
    (FeaturesStale(ts_ns=1, count=6, limit=5, features={"rsi": 301.0}), FeaturesStale(ts_ns=1, count=0, resolved=True),
     "warning", "features-stale", "6 stale features"),
    (KillSwitchChanged(ts_ns=1, state="halted", reason="equity 8990 below 9000"),
     KillSwitchChanged(ts_ns=1, state="active", by="ann"), "critical", "kill-switch", "Kill switch: halted"),
    (KillSwitchAnswered(ts_ns=7, reason="r", callbacks=FAILED, took_ms=1.0), None, "critical", "kill-switch-callbacks-7",
     "Kill switch: a callback failed"),
    (KillSwitchDrilled(ts_ns=5, state="active", callbacks=FAILED, took_ms=1.0, written_ms=1.0, durable=True, drill=True), None,
     "warning", "kill-switch-drill-5", "Kill switch drill failed"),
    (KillSwitchWarned(ts_ns=1, trigger="Drawdown(0.1)", why="near", used=0.834, inputs={"equity": "9166"}), None, "warning",
     "kill-switch-near-Drawdown(0.1)", "Drawdown(0.1): 83% of the way to its limit"),
    (KillSwitchWarned(ts_ns=1, trigger="Drawdown(0.1)", why="unknown", lasting=True), None, "warning",
     "kill-switch-unknown-Drawdown(0.1)", "Drawdown(0.1): what it limits is not known"),
    (KillSwitchChanged(ts_ns=1, state="reduce_only"), None, "warning", "kill-switch", "Kill switch: reduce_only"),
    (KillSwitchChanged(ts_ns=5, state="halted", drill=True), None, "info", "kill-switch-drill-5", "Kill switch drill"),
    (LedgerTrouble(ts_ns=1, what="full", message="no space"), LedgerResumed(ts_ns=1), "critical", "ledger-trouble",
     "Ledger in trouble: full"),
    (FillConflict(ts_ns=1, symbol="BTC", fill_id="f1"), None, "critical", "fill-conflict-f1",
     "Fill f1 came again with other content"),
    (UncleanEnd(ts_ns=1, run_id="r0", pid=12), None, "warning", "unclean-end", "The last run did not end in order"),
    (BackupFailed(ts_ns=1, where="s3://box", error="down"),
     BackupMade(ts_ns=1, where="s3://box", at="2026-01-01T00:00:00Z", lines=1, files=1, bytes=1, sent_bytes=1, took_s=1.0),
     "warning", "backup-failed", "The backup failed"),
    (PositionAged(ts_ns=1, symbol="BTC", trade_id="t1", age_s=7200, limit_s=3600), None, "warning", "position-aged-t1",
     "BTC held for 7200 s"),
    (TargetMissed(ts_ns=1, **TARGET), TargetMissed(ts_ns=1, **TARGET, resolved=True), "warning",
     "target-win_rate-all-last 20 trades", "win_rate of all is 0.3, its target 0.5"),
    (EdgeAlarm(ts_ns=1, **EDGE, value_bps=-3.21, norm_bps=5.0, n=31, since="2026-01-01T00:00:00Z", once_in=1200.0,
               false_alarms=1000.0),
     EdgeCleared(ts_ns=1, **EDGE, why="back", n=60), "warning", "edge-edge-bma", "edge of bma is -3.2 bps, its norm 5.0"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "over", "level", "key", "title"), TABLE, ids=lambda v: type(v).__name__)
def test_the_built_in_rules(event, over, level, key, title):
    with Parlour(faults=Faults(strict=True)).listen() as p:
        p.fan.publish(event)
        assert [(alert.level, alert.key, alert.title) for alert in p.got] == [(level, key, title)]
        assert "?" not in p.got[0].message
        assert p.lines[0]["kind"] in (type(event).__name__, type(event).kind)
        if over is not None:
            p.fan.publish(over)
            assert [alert.recovery for alert in p.got] == [False, True]
        assert not p.faults.errors


def test_a_switch_that_does_not_let_orders_pass_says_since_when_and_what_to_do():
    reset = "until somebody arms it again: botobs kill reset --data-dir DIR --by WHO --reason WHY"
    with Parlour().listen() as p:
        p.fan.publish(KillSwitchTripped(ts_ns=1, state="reduce_only", reason="r", durable=False))
        p.fan.publish(KillSwitchFound(ts_ns=2, state="halted", reason="r", since="2026-01-02T03:04:05Z"))
        assert [alert.message.splitlines() for alert in p.got] == [
            ["r", "The disk did not take it, see the log: the next start may not know of it.",
             f"Only orders that reduce a position pass {reset}"],
            ["r", "So it was found at the start, since 2026-01-02T03:04:05Z.", f"No order passes {reset}"],
        ]  # fmt: skip


def test_every_built_in_rule_was_looked_at():
    published = {type(event) for event, over, *_ in TABLE} | {type(over) for _, over, *_ in TABLE if over is not None}
    for rule in built_in():
        assert any(issubclass(event, rule.event) for event in published), rule.event


def test_a_quiet_market_says_nothing_and_a_limit_is_a_setting():
    with Parlour(drawdown=0.1).listen() as p:
        for drawdown in (None, 0.0, 0.06, "nonsense", 0.099, float("nan")):
            p.fan.publish(equity(drawdown))
        p.fan.publish(KillSwitchChanged(ts_ns=1, state="active"))
        p.fan.publish(FeedStale(ts_ns=1, name="ws", resolved=True))
        p.fan.publish(KillSwitchWarned(ts_ns=1, trigger="Drawdown(0.1)", why="unconfirmed", used=1.0))
        p.fan.publish(KillSwitchWarned(ts_ns=1, trigger="Drawdown(0.1)", why="unknown", inputs={"why": "price"}))
        p.fan.publish(KillSwitchAnswered(ts_ns=7, reason="r", callbacks=FAILED[:1], took_ms=1.0))
        assert not p.got
        p.fan.publish(equity(0.1))
        p.fan.publish(equity(0.099))  # trembles at its limit: not over yet
        assert [alert.recovery for alert in p.got] == [False]
    with Parlour(drawdown=None).listen() as p:
        p.fan.publish(equity(0.9))
        assert not p.got


def test_resuming_does_not_heal_a_damaged_ledger():
    with Parlour().listen() as p:
        p.fan.publish(LedgerTrouble(ts_ns=1, what="damaged", message="line 7"))
        p.fan.publish(LedgerResumed(ts_ns=2))
        assert [alert.recovery for alert in p.got] == [False]


@attrs.frozen(kw_only=True)
class Rebalanced(Event):
    flat: ClassVar[str | None] = "more"
    turnover: float | None = None
    more: Any = None


def test_a_rule_of_the_users_own():
    with Parlour().listen() as p:
        p.alerts.on(
            Rebalanced, when=lambda event: event.turnover > 1, level="critical", title="{symbol} turned over {turnover:.1f}",
            message="why: {why}, {nothing.at[all]}, {turnover:nonsense}", key="turnover-{symbol}", fields=("turnover", "why"),
            until=lambda event: event.turnover == 0,
        )  # fmt: skip
        p.fan.publish(Rebalanced(ts_ns=1, symbol="BTC", turnover=0.5))
        assert not p.got
        p.fan.publish(Rebalanced(ts_ns=1, symbol="BTC", turnover=2.0, more={"why": "{symbol}", "turnover": 9}))
        (alert,) = p.got
        assert (alert.title, alert.key, alert.level, alert.symbol) == (
            "BTC turned over 2.0",
            "turnover-BTC",
            "critical",
            "BTC",
        )
        assert alert.message == "why: {symbol}, -, 2.0"
        assert dict(alert.fields) == {"turnover": 2.0, "why": "{symbol}"}
        p.fan.publish(Rebalanced(ts_ns=1, symbol="BTC", turnover=0))
        assert p.got[1].recovery


def test_a_rule_of_defaults_and_functions():
    with Parlour().listen() as p:
        p.alerts.on(Rebalanced)
        p.alerts.on(
            Recorded, title=lambda event: f"into {event.into}", fields={"m": "{mood}"}, key=lambda event: event.into
        )
        p.fan.publish(Rebalanced(ts_ns=1, turnover=0.1))
        p.fan.publish(Rebalanced(ts_ns=1, turnover=0.2))  # the same rule: held back, whatever its figures
        p.fan.publish(Recorded(ts_ns=1, into="notes", fields={"mood": "calm"}))
        assert p.titles == ["Rebalanced", "into notes"]
        assert dict(p.got[1].fields) == {"m": "calm"}


def test_a_failing_rule_is_counted_and_stops_nobody():
    with Parlour().listen() as p:
        p.alerts.on(Rebalanced, when=lambda event: event.nonsense)
        p.alerts.on(Rebalanced, title=lambda event: 1 / 0)
        p.alerts.on(Rebalanced, title="ok {")
        p.fan.publish(Rebalanced(ts_ns=1))
        assert p.titles == ["ok {"]
        assert p.faults.errors == {"alerts.rule": 2}


def test_a_hanging_rule_is_given_up_and_rests(monkeypatch):
    monkeypatch.setattr("botobs.alerts.judging._LIMIT_S", 0.05)
    stuck, calls = threading.Event(), []

    def when(event):
        calls.append(event)
        stuck.wait(10)

    with Parlour(threaded=True).listen() as p:
        p.alerts.on(Rebalanced, when=when)
        p.alerts.on(Rebalanced, title="other")
        for _ in range(3):
            p.fan.publish(Rebalanced(ts_ns=1))
        assert p.flush()
        assert p.titles == ["other"]
        assert len(calls) == 1
        assert p.faults.errors == {"alerts.rule": 1}
        stuck.set()


def test_what_happened_before_a_function_was_given_is_told_to_it():
    with Parlour() as p:
        p.fan.publish(UncleanEnd(ts_ns=1, run_id="r0"))
        p.alerts.send("info", "said before")
        p.listen()
        assert p.titles == ["The last run did not end in order"]
        p.clock.advance(61)
        late = []
        p.alerts.to(late.append)
        assert not late


@pytest.mark.parametrize("wrong", [None, 3, "x"])
def test_a_wrong_receiver_is_counted(wrong):
    with Parlour() as p:
        p.alerts.to(wrong)
        p.alerts.send("info", "a")
        assert p.faults.errors == {"alerts.to": 1}


def test_an_alert_about_alerts_does_not_feed_itself():
    from botobs.events.alerts import AlertFate

    with Parlour().listen() as p:
        p.alerts.on(Event, level="info")
        p.fan.publish(AlertFate(ts_ns=1, record={"fate": "delivered"}))
        assert not p.got


@pytest.mark.parametrize("ts_ns", [0, -5, 10**30, 1.5, None, "x"])
def test_events_with_times_that_are_none(tmp_path, ts_ns):
    with Parlour(folder=tmp_path).listen() as p:
        p.alerts.on(Rebalanced, level="critical", key="k")
        p.fan.publish(Rebalanced(ts_ns=ts_ns, symbol=object()))
        p.alerts.send("critical", "t", key="k")  # the same key, within the hour
        p.later(3600)
        p.fan.publish(Rebalanced(ts_ns=ts_ns))
        assert "alerts.state" not in p.faults.errors
        if type(ts_ns) is int:
            assert [alert.held for alert in p.got] == [0, 1]
    assert (tmp_path / "alerts.json").exists()
