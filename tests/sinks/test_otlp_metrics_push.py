import logging
import time
from contextlib import contextmanager

import pytest
from botobs.faults import Faults
from botobs.sinks.otlp.metrics_push import MetricsPush, PushReader, metric_exporter
from botobs.sinks.otlp.target import resolve
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData
from tests.slack import SLACK_S
from tests.servers.otlp import OtlpReceiver

PROTOCOLS = ("http", "grpc")


def soon(seconds=10.0):
    return time.monotonic() + seconds


@contextmanager
def pushing(receiver, faults=None, env=None, transform=None, **settings):
    exporter = metric_exporter(resolve("metrics", receiver.endpoint, env or {}), timeout_s=1.0)
    reader = PushReader(exporter, transform)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    push = MetricsPush(reader, exporter, faults or Faults(), **settings)
    try:
        yield push, provider.get_meter("test")
    finally:
        push.close(soon(0.1))
        provider.shutdown()


def metrics_of(request):
    return {m["name"]: m for m in request["resource_metrics"][0]["scope_metrics"][0]["metrics"]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flush_sends_what_is_now(protocol):
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=v", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with OtlpReceiver(protocol) as receiver, pushing(receiver, env=env, interval_s=600) as (push, meter):
        counter = meter.create_counter("orders")
        for total in (2, 4):
            counter.add(2)
            assert push.flush(soon())
            sent = metrics_of(receiver.contents()["metrics"][-1])["orders"]["sum"]
            assert sent["data_points"][0]["as_int"] == str(total)
        assert receiver.stats()["headers"]["x-key"] == "v"
        assert push.counts.delivered == 2


def test_sends_by_itself_every_interval():
    with OtlpReceiver() as receiver, pushing(receiver, interval_s=0.05) as (_, meter):
        meter.create_counter("orders").add(1)
        assert receiver.wait("requests", 3) >= 3


def test_the_temporality_preference_of_the_environment_is_kept(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    with OtlpReceiver() as receiver, pushing(receiver, interval_s=600) as (push, meter):
        counter = meter.create_counter("orders")
        for _ in range(2):
            counter.add(2)
            assert push.flush(soon())
        sums = [metrics_of(request)["orders"]["sum"] for request in receiver.contents()["metrics"]]
        assert [s["data_points"][0]["as_int"] for s in sums] == ["2", "2"]
        assert sums[0]["aggregation_temporality"] == "AGGREGATION_TEMPORALITY_DELTA"


def test_the_transform_changes_what_is_sent():
    def only_first(data):
        scope = data.resource_metrics[0].scope_metrics[0]
        scope.metrics[:] = scope.metrics[:1]
        return data

    with OtlpReceiver() as receiver, pushing(receiver, transform=only_first, interval_s=600) as (push, meter):
        meter.create_counter("a").add(1)
        meter.create_counter("b").add(1)
        assert push.flush(soon())
        assert list(metrics_of(receiver.contents()["metrics"][0])) == ["a"]


def test_the_transform_is_asked_even_when_the_sdk_has_nothing():
    asked = []

    def transform(data):
        asked.append(data)
        return data

    with OtlpReceiver() as receiver, pushing(receiver, transform=transform, interval_s=600) as (push, _):
        assert push.flush(soon())
        assert receiver.stats()["requests"] == 0
    assert isinstance(asked[0], MetricsData)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trick", ["refuse", "hang", "503"])
def test_deadlines_hold_quietly(protocol, trick, caplog):
    caplog.set_level(logging.DEBUG)
    faults = Faults()
    with OtlpReceiver(protocol) as receiver, pushing(receiver, faults, interval_s=600) as (push, meter):
        meter.create_counter("orders").add(1)
        receiver.mode(trick)
        before = time.monotonic()
        assert not push.flush(before + 0.1)
        assert time.monotonic() - before < 0.1 + SLACK_S
        before = time.monotonic()
        assert not push.close(before + 0.1)
        assert time.monotonic() - before < 0.1 + SLACK_S
        assert push.counts.pending == 0
        assert push.counts.dropped == faults.drops["metrics"] >= 1
    assert {record.name.split(".")[0] for record in caplog.records if record.levelno >= logging.WARNING} <= {"botobs"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sending_resumes(protocol):
    with OtlpReceiver(protocol) as receiver, pushing(receiver, interval_s=600) as (push, meter):
        counter = meter.create_counter("orders")
        counter.add(1)
        receiver.mode("400")
        assert not push.flush(soon())
        assert push.trouble
        receiver.mode("ok")
        counter.add(1)
        assert push.flush(soon())
        assert push.trouble is None
        sent = metrics_of(receiver.contents()["metrics"][-1])["orders"]["sum"]
        assert sent["data_points"][0]["as_int"] == "2"


def test_other_threads_may_still_log(caplog):
    with OtlpReceiver() as receiver, pushing(receiver, interval_s=600):
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").warning("somebody else's")
    assert "somebody else's" in caplog.text


def test_a_failing_callback_is_counted():
    faults = Faults()

    def boom(_):
        raise RuntimeError("boom")

    with OtlpReceiver() as receiver, pushing(receiver, faults, transform=boom, interval_s=600) as (push, _):
        assert not push.flush(soon())
        assert faults.errors == {"otlp-metrics": 1}
        assert not push.flush(soon())
