"""A bot that does everything: every metric of the catalogue is shown, the same on all ways out, and set by nobody."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

import botobs
from botobs.events import FillBooked, OrderAnnounced, TradeClosed
from botobs.observer import Observer
from botobs.parts import Parts
from botobs.sinks.metrics import CATALOGUE
from botobs.testing import Capture
from tests.servers.otlp import OtlpReceiver

OPEN = "application/openmetrics-text;version=1.0.0"
LATER = set()
# shown in a live bot only: its page has a port, and its drainer a cost; a half-life takes many decisions
NOT_HERE = {"botobs_prometheus_up", "bot_signal_half_life_seconds"}
TIMED = {"botobs_overhead_ratio"}  # shown after a second, which the bot may or may not have taken
SYMBOL = "BTC-USD"


def trade(obs, clock, entry, leave, *, qty=1, strategy="trend", symbol=SYMBOL):
    """One round trip, each side within a turn of the loop."""
    for side, px in (("buy", entry), ("sell", leave)):
        with obs.tick(symbol, bar_id=int(clock.time_ns() // 10**9), price=px) as tick:
            with obs.model("lgbm"):
                clock.advance(0.003)
            tick.signal(source="momentum", strength=0.7, confidence=0.62)
            obs.book(symbol, [[px - 0.01, 0.5], [px - 0.02, 9]], [[px + 0.01, 0.5], [px + 0.02, 9]])
            order = obs.order(symbol, side, qty, decision_px=px, strategy=strategy, source="momentum", pred_bps=12.0)
            with obs.execution(order=order):
                obs.sent(order)
                clock.advance(0.04)
        obs.fill(order, symbol=symbol, side=side, qty=qty, price=px * (1.0005 if side == "buy" else 0.9995), fee="0.05")
        clock.advance(60)


def everything(obs, clock):
    """All that a bot can say of itself."""
    for day in range(3):
        trade(obs, clock, 100, 104 - day)
        trade(obs, clock, 100, 97)
        clock.advance("24h")
        obs.equity_curve()  # time has passed
    with obs.tick("ADA-USD", price=2.0) as tick, obs.risk() as risk:
        tick.signal(candidates={"pros": "buy"}, source="pros", decision={"dir": "buy"})
        risk.veto("too large")
    obs.bar("ADA-USD", 2.02, 2.02, 2.02, 2.02)
    trade(obs, clock, 50, 51, strategy=None, symbol="ETH-USD")
    obs.fill(symbol="SOL-USD", side="sell", qty=3, price=20, fee=0)
    refused = obs.order(SYMBOL, "buy", 1, decision_px=100)
    obs.reject(refused, "INSUFFICIENT_FUND", "not enough")
    obs.heartbeat("ws")
    obs.watch("orders", after="1h")
    obs.funding_rate(SYMBOL, 0.0001)
    obs.feature_value("rsi", 55.0)
    obs.explainability.learn("lgbm", {"rsi": 3.0, "trend": -1.0})
    clock.advance(90)
    for close in (99.5, 100.5):  # over a round level
        obs.bar("DOGE-USD", close, close, close, close)
    obs.book(SYMBOL, [[99.5, 3], [99, 1]], [[100.5, 1], [101, 1]])
    obs.kill_switch.trip("enough")
    with pytest.raises(botobs.TradingHalted):
        obs.kill_switch.check()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The bot's run, and what each way out had to say at its end."""
    reader = InMemoryMetricReader()
    with OtlpReceiver() as receiver, Capture(tmp_path_factory.mktemp("bot")) as capture:
        obs = capture.start(
            starting_equity=10_000,
            otlp_endpoint=receiver.endpoint,
            meter_provider=MeterProvider([reader], shutdown_on_exit=False),
            bot_version="7.1",
            currency="USD",
        )
        everything(obs, capture.clock)
        sink = obs._metrics
        found = {"plain": capture.metrics_page}
        found["open"] = sink.render(OPEN)[0].decode()
        assert obs.flush().delivered
        found["otlp"] = receiver.contents()["metrics"]
        found["theirs"] = {
            metric.name: metric
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        found["events"], found["errors"], found["dropped"] = capture.events, capture.errors, capture.dropped
        return found


def samples(page, parse=parse_plain):
    return {
        (sample.name, *sorted(sample.labels.items())): sample for family in parse(page) for sample in family.samples
    }


def test_every_row_of_the_catalogue_is_shown_or_told_to_come_later(ran):
    names = {family.name for family in parse_plain(ran["plain"])}
    missing = {row.name for row in CATALOGUE if row.name.removesuffix("_total") not in names}
    assert missing - TIMED == LATER | NOT_HERE
    assert {row.name for row in CATALOGUE if row.why_later} == LATER
    assert not ran["errors"]
    assert not ran["dropped"]


def test_labels_are_those_of_the_catalogue(ran):
    for family in parse_plain(ran["plain"]):
        row = next((row for row in CATALOGUE if row.name.removesuffix("_total") == family.name), None)
        for sample in family.samples if row is not None else ():
            assert tuple(label for label in sample.labels if label != "le") == row.labels


def test_the_figures_are_those_of_the_run(ran):
    shown = {key: sample.value for key, sample in samples(ran["plain"]).items()}

    def value(name, **labels):
        return shown[(name, *sorted(labels.items()))]

    trades = [event for event in ran["events"] if isinstance(event, TradeClosed)]
    fills = [event for event in ran["events"] if isinstance(event, FillBooked)]
    assert (len(trades), len(fills)) == (7, 15)
    assert value("bot_trades_total", symbol=SYMBOL, source="momentum", side="long") == 6
    assert value("bot_strategy_trades_total", strategy="trend") == 6
    assert value("bot_strategy_trades_total", strategy="unnamed") == 1
    of_symbol = [trade.record["net_pnl_bps"] for trade in trades if trade.symbol == SYMBOL]
    assert value("bot_trade_pnl_bps_count", symbol=SYMBOL, source="momentum") == 6
    assert value("bot_trade_pnl_bps_sum", symbol=SYMBOL, source="momentum") == pytest.approx(sum(of_symbol))
    below = sum(bps <= -250 for bps in of_symbol)
    assert value("bot_trade_pnl_bps_bucket", symbol=SYMBOL, source="momentum", le="-250.0") == below > 0
    assert value("bot_slippage_bps_sum", symbol=SYMBOL, side="buy") == pytest.approx(6 * 5.0)
    assert value("bot_execution_latency_ms_sum", symbol=SYMBOL, order_type="market") == pytest.approx(12 * 40)
    assert value("bot_cost_impact_bps_count", symbol=SYMBOL) == 12
    assert value("bot_cost_impact_bps_sum", symbol=SYMBOL) == pytest.approx(12 * 0.5, rel=0.05)  # half of it at 1 bp
    assert value("bot_book_spread_bps", symbol=SYMBOL) == pytest.approx(100)
    assert value("bot_book_imbalance", symbol=SYMBOL) == pytest.approx(2 / 6)
    assert value("bot_feature_importance", model="lgbm", feature="rsi") == 0.75
    assert value("bot_price_events_total", symbol="DOGE-USD", kind="level") == 1
    cost = value("bot_counterfactual_pnl_bps", symbol="ADA-USD", source="pros")
    assert cost == pytest.approx(-value("bot_veto_saved_bps", by="risk"))
    assert 50 < cost < 100  # 100 bps, less what the bot's trades cost
    assert value("bot_order_rejections_total", symbol=SYMBOL, reason="INSUFFICIENT_FUND") == 1
    assert value("bot_position_size", symbol="SOL-USD") == -3
    assert value("bot_position_size", symbol=SYMBOL) == 0  # it was held once
    assert value("bot_position_age_seconds", symbol="SOL-USD") == pytest.approx(90)
    assert ("bot_position_age_seconds", ("symbol", SYMBOL)) not in shown
    assert value("bot_signal_strength", symbol=SYMBOL, source="momentum") == 0.7
    assert value("bot_model_confidence_count", symbol=SYMBOL) == 12
    assert value("bot_ws_staleness_ms", symbol="ws") == 90_000
    assert value("bot_funding_stale", symbol=SYMBOL) == 0
    assert value("bot_tick_age_seconds") == pytest.approx(150)
    assert value("bot_kill_switch_state") == 2
    assert value("bot_kill_switch_trips_total", trigger="bot") == 1
    assert value("bot_kill_switch_refusals_total", stage="check") == 1
    assert value("bot_session_trades", session="day") == 1
    assert value("bot_session_trades", session="month") == 7
    equity = value("bot_equity_value", symbol="all", bot_version="7.1")
    assert equity == value("metrics_equity", window="all")
    assert value("bot_drawdown_current", symbol="all") == pytest.approx(value("metrics_drawdown_pct", window="all"))
    assert value("metrics_fills", window="all") == 15
    net = value("bot_strategy_net_pnl", strategy="trend") + value("bot_strategy_net_pnl", strategy="unnamed")
    assert net == pytest.approx(sum(float(trade.record["net_pnl_usd"]) for trade in trades))
    assert value("botobs_label_limit") == 200
    assert value("botobs_label_values", label="symbol") >= 5


def test_openmetrics_says_the_same_and_which_trace(ran):
    plain, opened = samples(ran["plain"]), samples(ran["open"], parse_open)
    # only sums and counts of what may be negative are left out there
    left_out = {key[0] for key in plain.keys() - opened.keys()}
    assert left_out == {
        f"{row.name}_{end}" for row in CATALOGUE if row.below_zero and row.name not in LATER for end in ("count", "sum")
    }
    moving = ("botobs_queue_depth", *TIMED)
    assert all(sample.value == plain[key].value for key, sample in opened.items() if key[0] not in moving)
    told = {key[0].removesuffix("_bucket") for key, sample in opened.items() if sample.exemplar}
    assert told >= {"bot_stage_duration_seconds", "bot_execution_latency_ms", "bot_slippage_bps", "bot_trade_pnl_bps"}
    traces = {event.trace_id for event in ran["events"] if isinstance(event, OrderAnnounced)} - {None}
    for sample in opened.values():
        if sample.exemplar and sample.name == "bot_slippage_bps_bucket":
            assert sample.exemplar.labels["trace_id"] in traces


def number_of(point):
    return float(point.get("as_double", point.get("as_int", 0)))


def attributes_of(point):
    return tuple(sorted((each["key"], each["value"]["string_value"]) for each in point.get("attributes", ())))


def test_a_real_receiver_is_told_the_same_with_units(ran):
    plain = samples(ran["plain"])
    sent = {
        metric["name"]: metric
        for resource in ran["otlp"][-1]["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    rows = {row.name: row for row in CATALOGUE}
    assert sent.keys() - TIMED == rows.keys() - LATER - NOT_HERE - TIMED
    for name, metric in sent.items():
        row = rows[name]
        assert (metric["unit"], metric["description"]) == (row.unit, row.description)
        kind = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}[row.kind]
        for point in metric[kind]["data_points"]:
            own = attributes_of(point)
            if kind == "histogram":
                assert int(point["count"]) == plain[(name + "_count", *own)].value
                assert ("sum" in point) != row.below_zero
                bounds = tuple(point["explicit_bounds"])
                assert not row.boundaries or bounds == row.boundaries
            elif name not in {"botobs_queue_depth", *TIMED}:
                assert number_of(point) == pytest.approx(plain[(name, *own)].value)
        if kind == "sum":
            assert metric["sum"]["is_monotonic"]
    told = {name for name, metric in sent.items() for point in metric.get("histogram", {}).get("data_points", ())
            if any(each.get("trace_id") for each in point.get("exemplars", ()))}  # fmt: skip
    assert told >= {"bot_stage_duration_seconds", "bot_execution_latency_ms", "bot_slippage_bps", "bot_trade_pnl_bps"}


def test_a_provider_of_the_users_own_is_told_the_same(ran):
    plain = samples(ran["plain"])
    assert ran["theirs"].keys() - TIMED == {row.name for row in CATALOGUE} - LATER - NOT_HERE - TIMED
    for name, metric in ran["theirs"].items():
        for point in metric.data.data_points:
            own = tuple(sorted(point.attributes.items()))
            if hasattr(point, "bucket_counts"):
                assert point.count == plain[(name + "_count", *own)].value
                assert point.sum == pytest.approx(plain[(name + "_sum", *own)].value, abs=1e-6)
            elif name not in {"botobs_queue_depth", *TIMED}:
                assert point.value == pytest.approx(plain[(name, *own)].value)


def test_promtool_finds_nothing_but_the_units_in_names_that_are_fixed(ran):
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("BOTOBS_REAL_SERVERS") == "1":
            pytest.fail("promtool is not installed, and BOTOBS_REAL_SERVERS=1 asks for it")
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=ran["plain"].encode(), capture_output=True, timeout=30, check=False
    )
    found = set(re.findall(r"^(\S+) (.+)$", (done.stdout + done.stderr).decode(), re.MULTILINE))
    assert found == {
        ("bot_execution_latency_ms", "metric names should not contain abbreviated units"),
        ("bot_ws_staleness_ms", "metric names should not contain abbreviated units"),
    }


def test_what_is_undefined_has_no_series(tmp_path):
    with Capture(tmp_path) as capture:
        capture.start()  # no starting_equity, no tick, no trade
        names = {key[0] for key in samples(capture.metrics_page)}
        for absent in (
            "bot_equity_value", "bot_drawdown_current", "bot_tick_age_seconds", "bot_position_size",
            "bot_strategy_win_rate", "bot_session_win_rate", "metrics_sharpe", "bot_trades_total",
        ):  # fmt: skip
            assert absent not in names
        assert capture.metric("bot_session_trades", session="day") == 0
        assert capture.metric("bot_kill_switch_trips_total", trigger="bot") == 0


def test_a_room_that_fails_leaves_its_metrics_out(tmp_path, monkeypatch):
    with Capture(tmp_path) as capture:
        obs = capture.start(strict=False, starting_equity=100)
        monkeypatch.setattr(type(obs._safety), "staleness", property(lambda _: 1 / 0), raising=False)
        shown = {key[0] for key in samples(capture.metrics_page)}
        assert "bot_stale_features" not in shown
        assert {"bot_equity_value", "bot_silent", "bot_kill_switch_state"} <= shown
        assert capture.metric("botobs_internal_errors_total", where="metrics.reading") >= 1


def test_an_account_that_hangs_does_not_make_the_page_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("botobs.measuring.account._WAIT_S", 0.01)
    held, done = threading.Event(), threading.Event()
    with Capture(tmp_path) as capture:
        obs = capture.start(strict=False, starting_equity=100)

        def hold():  # as a disk that does not answer
            with obs._money.account.lock:
                held.set()
                done.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(20)
        shown = {key[0] for key in samples(obs._metrics.render()[0].decode())}
        done.set()
        thread.join()
        assert not {"bot_equity_value", "metrics_equity"} & shown
        assert {"botobs_ledger_pending", "bot_kill_switch_state"} <= shown
        assert capture.metric("bot_equity_value", symbol="all") == 100


def test_sessions_and_totals_move_on_with_the_clock(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start(starting_equity=1_000)
        trade(obs, capture.clock, 100, 101)
        assert capture.metric("bot_session_trades", session="day") == 1
        assert capture.metric("bot_position_size", symbol=SYMBOL) == 0  # opened and closed between two scrapes
        assert capture.metric("metrics_fills", window="6h") == 2
        trade(obs, capture.clock, 100, 101)
        assert capture.metric("bot_session_trades", session="day") == 2  # at once: a trade has closed
        capture.clock.advance("32d")
        assert capture.metric("bot_session_trades", session="day") == 0
        assert capture.metric("bot_session_trades", session="month") == 0
        assert capture.metric("bot_strategy_trades_total", strategy="trend") == 2
        assert capture.metric("metrics_fills", window="6h") == 0
        assert capture.metric("metrics_fills", window="all") == 4


def test_a_backtest_measures_too(tmp_path):
    reader = InMemoryMetricReader()
    with Capture(tmp_path) as capture:
        obs = capture.start(
            mode="backtest", starting_equity=1_000, meter_provider=MeterProvider([reader], shutdown_on_exit=False)
        )
        for _ in range(20):
            trade(obs, capture.clock, 100, 101)
        assert capture.metric("bot_trades_total", symbol=SYMBOL) == 20
        obs.flush()
        found = {
            metric.name: metric.data.data_points[0]
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert found["bot_trade_pnl_bps"].count == 20
        assert found["bot_trades_total"].value == 20


def exemplars(capture):
    """Trace ids of the stage durations that have one, by stage and bucket."""
    page = capture._running[-1][0]._metrics.render(OPEN)[0].decode()
    return {
        (sample.labels["stage"], sample.labels["le"]): sample.exemplar.labels["trace_id"]
        for family in parse_open(page)
        for sample in family.samples
        if sample.exemplar and sample.name == "bot_stage_duration_seconds_bucket"
    }


def turn(obs, clock, took, fails=False):
    """One turn with one stage; its trace id."""
    with obs.tick("X") as tick, contextlib.suppress(KeyError), obs.model("lgbm"):
        clock.advance(took)
        if fails:
            raise KeyError
    return tick.id


def test_durations_point_to_traces_that_were_kept(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start(keep_traces="tail")
        first = turn(obs, capture.clock, 0.003)  # the first is a sample
        for _ in range(20):
            turn(obs, capture.clock, 0.0008)  # usual ones are not kept
        failed = turn(obs, capture.clock, 0.0009, fails=True)
        assert exemplars(capture) == {
            ("tick", "0.005"): first, ("lgbm", "0.005"): first, ("tick", "0.001"): failed, ("lgbm", "0.001"): failed,
        }  # fmt: skip
        kept = {span.trace_id for span in capture.spans}
        assert {first, failed} <= kept


def test_where_all_traces_are_kept_one_a_second_is_enough(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start(keep_traces="all")
        first = turn(obs, capture.clock, 0.003)
        turn(obs, capture.clock, 0.003)
        slow = turn(obs, capture.clock, 0.4)  # another bucket
        assert set(exemplars(capture).values()) == {first, slow}
        capture.clock.advance(1)
        latest = turn(obs, capture.clock, 0.003)
        assert exemplars(capture)["tick", "0.005"] == latest
    with Capture(tmp_path / "none") as capture:
        turn(capture.start(keep_traces="none"), capture.clock, 0.003)
        assert exemplars(capture) == {}


def test_signals_cost_nothing_where_nobody_looks(tmp_path):
    with Observer.start("quiet", {"data_dir": tmp_path, "prometheus_port": None}, Parts(bare=True)) as obs:
        engine = obs._own
        assert engine.on_strength is engine.on_confidence is engine.on_kept is None
        with obs.tick("X") as tick:
            tick.signal(strength=0.5, confidence=0.5)
        assert not obs.report().records.dropped
