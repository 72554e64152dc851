"""A whole bot against a real collector in another process: what arrives, and what a collector's death costs."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
import urllib.request

import pytest

import botobs
from tests.servers.otlp import ReceiverProcess
from tests.slack import SLACK_S, undisturbed_s

S = "BTC-USD"


def records(folder, stream):
    path = folder / "logs" / f"{stream}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def value(said):
    """An attribute's value as Python has it."""
    ((kind, found),) = said.items()
    if kind == "array_value":
        return [value(each) for each in found.get("values", [])]
    return int(found) if kind == "int_value" else found


def named(attributes):
    return {pair["key"]: value(pair["value"]) for pair in attributes}


def hexed(text):
    return base64.b64decode(text).hex()


def spans_of(contents):
    """Every span that arrived, with its ids as records have them; and the resources that sent them."""
    spans, resources = [], []
    for request in contents["traces"]:
        for resource in request["resource_spans"]:
            resources.append(named(resource["resource"]["attributes"]))
            for scope in resource["scope_spans"]:
                assert scope["scope"] == {"name": "botobs", "version": botobs.__version__}
                for span in scope["spans"]:
                    found = {**span, "attributes": named(span.get("attributes", []))}
                    for name in ("trace_id", "span_id", "parent_span_id"):
                        found[name] = hexed(span.get(name, ""))
                    spans.append(found)
    return spans, resources


def metrics_of(contents):
    """Every metric by name as it arrived last; and the resources."""
    found, resources = {}, []
    for request in contents["metrics"]:
        for resource in request["resource_metrics"]:
            resources.append(named(resource["resource"]["attributes"]))
            for scope in resource["scope_metrics"]:
                found.update({metric["name"]: metric for metric in scope["metrics"]})
    return found, resources


@botobs.feature
def features(n):
    return {"n": n}


@botobs.model("lgbm")
def predict(x):
    return x["n"] / 10


@botobs.execution
def send(order_id):
    return order_id


def trade(obs, n, side, reason=None):
    """A turn that trades; its order's id."""
    price = 100 + n % 7
    with botobs.tick(S, bar_id=n, price=price) as tick:
        x = features(n)
        p = predict(x)
        with botobs.decision():
            pass
        tick.signal(features=x, model=p, decision={"side": side}, source="lgbm", pred_bps=4.0)
        oid = obs.order(S, side, 1, decision_px=price, strategy="trend", reason=reason)
        with botobs.execution(order=oid):
            pass
        obs.fill(oid, price=price, qty=1, fee="0.01", fill_id=f"f{n}")
    return oid


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_everything_arrives_and_a_trade_leads_to_its_trace(tmp_path, protocol):
    with (
        ReceiverProcess(protocol, keep=True) as receiver,
        botobs.start(
            "trend-bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint, bot_version="2026.1",
            starting_equity=10_000, strict=True, prometheus_port=0,
        ) as obs,
    ):  # fmt: skip
        entry, exit_ = trade(obs, 1, "buy"), trade(obs, 2, "sell", "take_profit")
        with botobs.tick(S, bar_id=3):
            oids = [obs.order(S, "buy", 1, decision_px=100) for _ in range(2)]
            send(oids[0])
            obs.reject(oids[1], "418", "no")
        with contextlib.suppress(ZeroDivisionError), botobs.tick(S, bar_id=4), botobs.stage("breaks"):
            raise ZeroDivisionError("odd")
        for n in range(300):
            with botobs.tick(S, bar_id=100 + n):
                features(n)
        report = obs.flush(20)
        assert report.delivered, report
        run_id = obs.run_id
        with urllib.request.urlopen(f"{obs.endpoint.url}/metrics", timeout=20) as answer:
            page = answer.read().decode()
        contents = receiver.contents()
        arrived = receiver.stats()["spans"]
    spans, resources = spans_of(contents)
    assert len(spans) == arrived == report.spans.delivered
    assert len({span["span_id"] for span in spans}) == len(spans)
    roots = [span for span in spans if not span["parent_span_id"]]
    assert len(roots) == sum(report.traces.values())

    metrics, metric_resources = metrics_of(contents)
    for resource in (*resources, *metric_resources):
        assert resource["service.name"] == "trend-bot"
        assert resource["service.version"] == "2026.1"
        assert resource["service.instance.id"] == run_id
        assert resource["telemetry.distro.name"] == "botobs"
    shown = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    assert {"bot_stage_duration_seconds", "botobs_traces_kept_total", "botobs_queue_depth"} <= set(metrics)
    assert {name for name in shown ^ set(metrics) if not name.startswith("metrics_")} <= {"target_info"}
    counted = {
        named(point["attributes"])["stage"]: int(point["count"])
        for point in metrics["bot_stage_duration_seconds"]["histogram"]["data_points"]
    }
    assert counted == {"tick": 304, "feature": 302, "lgbm": 2, "decision": 2, "execution": 3, "breaks": 1}

    (life,) = [one for one in records(tmp_path, "trade_lifecycle") if one.get("exit_trace_id")]
    for trace_id, bar, oid in ((life["entry_trace_id"], 1, entry), (life["exit_trace_id"], 2, exit_)):
        trace = [span for span in spans if span["trace_id"] == trace_id]
        (root,) = [span for span in trace if not span["parent_span_id"]]
        stages = sorted(
            (span for span in trace if span is not root), key=lambda span: int(span["start_time_unix_nano"])
        )
        assert [span["name"] for span in stages] == ["feature", "lgbm", "decision", "execution"]
        assert {span["parent_span_id"] for span in stages} == {root["span_id"]}
        assert root["name"] == "tick"
        about = root["attributes"]
        assert (about["symbol"], about["bar_id"], about["order_id"], about["outcome"]) == (S, bar, oid, "ok")
        assert "order" in about["kept"].split(",")
        assert stages[-1]["attributes"] == {"stage": "execution", "outcome": "ok", "order_id": oid}
        assert [one["trace_id"] for one in records(tmp_path, "signals") if one["bar_id"] == bar] == [trace_id]

    several = next(span["attributes"] for span in roots if span["attributes"]["bar_id"] == 3)
    assert several["order_id"] == oids
    broken = next(span for span in roots if span["attributes"]["bar_id"] == 4)
    inner = next(span for span in spans if span["parent_span_id"] == broken["span_id"])
    for span in (broken, inner):
        assert span["attributes"]["outcome"] == "error"
        assert span["status"]["code"] == "STATUS_CODE_ERROR"
    assert inner["events"][0]["name"] == "exception"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_that_is_killed_blocks_nothing_is_counted_and_gets_what_follows(tmp_path, protocol, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "200")
    slowest = 0.0

    def turns(first, count):
        nonlocal slowest
        for n in range(first, first + count):
            began = undisturbed_s()
            trade(obs, n, "buy" if n % 2 else "sell")
            slowest = max(slowest, undisturbed_s() - began)

    with (
        ReceiverProcess(protocol) as first,
        botobs.start("bot", data_dir=tmp_path, otlp_endpoint=first.endpoint, durability="os") as obs,
    ):
        turns(0, 20)
        assert obs.flush(20).delivered
        before = first.stats()["spans"]
        assert before == 100
        os.kill(first.pid, signal.SIGSTOP)  # it hangs before it dies
        turns(20, 100)
        first.kill()
        turns(120, 100)  # with those before it five times as many spans as may wait
        began = time.monotonic()
        report = obs.flush(0.3)
        assert time.monotonic() - began < 0.3 + SLACK_S
        assert not report.delivered
        lost = obs.faults.drops["spans"]
        assert 600 <= lost == report.spans.dropped < 1000  # as many as wait may be on their way
        page = obs.health_page()
        assert page["otlp"]["trouble"]
        assert page["dropped"]["spans"] == lost
        with ReceiverProcess(protocol, port=first.port) as second:
            turns(220, 20)
            deadline = time.monotonic() + 30
            while (report := obs.flush(5)).spans.pending:
                assert time.monotonic() < deadline, report
            after = second.stats()["spans"]
            lost = obs.faults.drops["spans"]
            assert before + after + lost == 240 * 5 == report.spans.delivered + report.spans.dropped
            assert after >= 100  # all that came after its return, at the least
            assert obs.health_page()["otlp"]["trouble"] == []
            turns(240, 4)
            assert obs.flush(20).delivered
            assert second.stats()["spans"] == after + 20
            obs.shutdown()
    # a verb that waited for the network would wait for a time limit, or for the pause between two attempts
    assert slowest < SLACK_S
    assert len(records(tmp_path, "signals")) == 244
    assert not [where for where in obs.faults.errors if where.startswith("otlp")]
