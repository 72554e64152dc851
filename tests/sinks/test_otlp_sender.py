import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from botobs.faults import Faults
from botobs.sinks.otlp.sender import SpanSender
from botobs.sinks.otlp.target import resolve
from botobs.sinks.otlp.transport import connect
from tests.servers.otlp import OtlpReceiver, ReceiverProcess
from tests.sinks.otlp_spans import ENVELOPE, chunk_of
from tests.slack import SLACK_S, undisturbed_s

PROTOCOLS = ("http", "grpc")
TRICKS = ("refuse", "hang", "503", "429")


def soon(seconds=10.0):
    return time.monotonic() + seconds


def until(condition, seconds=10.0):
    """Wait for `condition`; its last value."""
    end, pause = soon(seconds), threading.Event()
    while not (value := condition()) and time.monotonic() < end:
        pause.wait(0.005)
    return value


@contextmanager
def sender_to(receiver, faults=None, **settings):
    target = resolve("traces", receiver.endpoint, {})
    sender = SpanSender(ENVELOPE, connect(target, "traces"), faults or Faults(), **settings)
    try:
        yield sender
    finally:
        sender.close(soon(0.1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_span_arrives_in_order_and_in_batches(protocol):
    with OtlpReceiver(protocol) as receiver, sender_to(receiver, batch_spans=100, delay_s=60) as sender:
        for tick in range(100):
            sender.put(6, chunk_of(6, tick * 6))
        assert sender.flush(soon())
        counts = sender.counts
        assert (counts.delivered, counts.pending, counts.dropped) == (600, 0, 0)
        requests = [r["resource_spans"][0]["scope_spans"][0]["spans"] for r in receiver.contents()["traces"]]
        assert [span["name"] for spans in requests for span in spans] == [f"span {n}" for n in range(600)]
        assert max(map(len, requests)) <= 100
        assert len(requests) <= 8


def test_a_tick_larger_than_a_batch_travels_alone():
    with OtlpReceiver() as receiver, sender_to(receiver, batch_spans=10, delay_s=60) as sender:
        for count in (3, 25, 3):
            sender.put(count, chunk_of(count))
        assert sender.flush(soon())
        requests = [r["resource_spans"][0]["scope_spans"][0]["spans"] for r in receiver.contents()["traces"]]
        assert [len(spans) for spans in requests] == [3, 25, 3]


def test_many_bytes_are_split_below_what_grpc_servers_take():
    with OtlpReceiver("grpc") as receiver, sender_to(receiver, delay_s=60) as sender:
        from opentelemetry.proto.trace.v1.trace_pb2 import Span

        from botobs.sinks.otlp.envelope import SPAN_TAG, varint

        raw = Span(name="x" * 1_000_000).SerializeToString()
        for _ in range(8):
            sender.put(1, SPAN_TAG + varint(len(raw)) + raw)
        assert sender.flush(soon())
        assert receiver.stats()["spans"] == 8


def test_leaves_by_itself_after_the_delay():
    with OtlpReceiver() as receiver, sender_to(receiver, delay_s=0.05) as sender:
        sender.put(2, chunk_of(2))
        assert receiver.wait("spans", 2) == 2
        assert until(lambda: sender.counts.pending == 0)


def test_pressure_wakes_the_sender_before_the_delay():
    with (
        OtlpReceiver() as receiver,
        sender_to(receiver, queue_spans=400, batch_spans=50, delay_s=60) as sender,
    ):
        for _ in range(99):
            sender.put(1, chunk_of(1))
        assert sender.counts.pending == 99
        sender.put(1, chunk_of(1))  # a quarter of the queue
        assert receiver.wait("spans", 100) == 100


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trick", TRICKS)
def test_deadlines_hold_and_what_is_left_is_counted(protocol, trick):
    faults = Faults()
    with OtlpReceiver(protocol, mode="ok") as receiver:
        receiver.mode(trick, retry_after_s=30)
        sender = SpanSender(ENVELOPE, connect(resolve("traces", receiver.endpoint, {}), "traces"), faults, delay_s=60)
        sender.put(6, chunk_of(6))
        for _ in range(2):
            before = time.monotonic()
            assert not sender.flush(before + 0.1)
            assert time.monotonic() - before < 0.1 + SLACK_S
        assert sender.counts.pending == 6
        before = time.monotonic()
        assert not sender.close(before + 0.1)
        assert time.monotonic() - before < 0.1 + SLACK_S
        counts = sender.counts
        assert (counts.delivered, counts.pending, counts.dropped) == (0, 0, 6)
        assert faults.drops == {"spans": 6}
        sender.put(4, chunk_of(4))  # too late: counted, not lost from sight
        assert (sender.counts.pending, sender.counts.dropped) == (0, 10)
        assert until(lambda: not sender._thread.is_alive())
        assert sender.flush(soon(1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trick", TRICKS)
def test_sending_resumes_when_the_collector_is_back(protocol, trick):
    with OtlpReceiver(protocol) as receiver, sender_to(receiver, delay_s=60, timeout_s=0.3) as sender:
        receiver.mode(trick, retry_after_s=0.1)
        sender.put(6, chunk_of(6))
        assert not sender.flush(soon(0.15))
        assert until(lambda: sender.trouble)
        receiver.mode("ok")
        sender.put(6, chunk_of(6, 6))
        assert sender.flush(soon())
        assert sender.counts.delivered == 12
        assert sender.trouble is None


def test_a_batch_is_tried_again_without_anybody_asking():
    with OtlpReceiver(mode="429") as receiver, sender_to(receiver, delay_s=0.01) as sender:
        receiver.mode("429", retry_after_s=0.0)
        sender.put(3, chunk_of(3))
        assert receiver.wait("tries", 1) == 1
        receiver.mode("ok")
        assert receiver.wait("spans", 3) == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_killed_receiver_blocks_nothing_and_is_found_again(protocol):
    with ReceiverProcess(protocol) as first, sender_to(first, delay_s=60, queue_spans=600) as sender:
        sender.put(6, chunk_of(6))
        assert sender.flush(soon())
        assert first.stats()["spans"] == 6
        first.kill()
        slowest = 0
        for tick in range(2_000):
            before = undisturbed_s()
            sender.put(6, chunk_of(6, tick))
            slowest = max(slowest, undisturbed_s() - before)
        assert slowest < 0.4
        before = time.monotonic()
        assert not sender.flush(before + 0.1)
        assert time.monotonic() - before < 0.1 + SLACK_S
        counts = sender.counts
        assert counts.delivered + counts.pending + counts.dropped == 12_006
        assert counts.dropped > 0
        with ReceiverProcess(protocol, port=first.port) as second:
            assert sender.flush(soon())
            counts = sender.counts
            assert counts.pending == 0
            assert second.stats()["spans"] == counts.delivered - 6
            assert counts.delivered + counts.dropped == 12_006


def test_overflow_drops_the_oldest_and_counts_them():
    faults = Faults()
    with (
        OtlpReceiver(mode="refuse", port=0) as receiver,
        sender_to(receiver, faults, queue_spans=64, batch_spans=64, delay_s=60) as sender,
    ):
        for tick in range(200):
            sender.put(1, chunk_of(1, tick))
        assert sender.counts.pending <= 64 + 64
        receiver.mode("ok")
        assert sender.flush(soon())
        counts = sender.counts
        assert counts.delivered + counts.dropped == 200
        assert faults.drops == {"spans": counts.dropped}
        arrived = [
            int(span["name"].split()[1])
            for request in receiver.contents()["traces"]
            for span in request["resource_spans"][0]["scope_spans"][0]["spans"]
        ]
        assert arrived == sorted(arrived)
        assert set(range(200 - 60, 200)) <= set(arrived)


def test_refused_and_rejected_spans_are_counted():
    faults = Faults()
    with OtlpReceiver() as receiver, sender_to(receiver, faults, delay_s=60) as sender:
        receiver.mode("400")
        sender.put(5, chunk_of(5))
        assert not sender.flush(soon())
        assert (sender.counts.delivered, sender.counts.dropped) == (0, 5)
        assert "400" in sender.trouble
        receiver.mode("partial")
        sender.put(5, chunk_of(5))
        assert not sender.flush(soon())
        assert (sender.counts.delivered, sender.counts.dropped) == (4, 6)
        assert "one too many" in sender.trouble
        receiver.mode("ok")
        sender.put(5, chunk_of(5))
        assert sender.flush(soon())
        assert faults.drops == {"spans": 6}


def test_threads_at_once_lose_nothing():
    with OtlpReceiver() as receiver, sender_to(receiver, delay_s=0.01, batch_spans=500) as sender:
        chunk = chunk_of(3)

        def work():
            for _ in range(2_000):
                sender.put(3, chunk)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sender.flush(soon())
        assert sender.counts.delivered == receiver.stats()["spans"] == 24_000


def test_flush_waits_only_for_what_was_there(monkeypatch):
    with OtlpReceiver() as receiver, sender_to(receiver, delay_s=60, batch_spans=10) as sender:
        stop = threading.Event()
        chunk = chunk_of(2)

        def busy():
            while not stop.wait(0.0001):
                sender.put(2, chunk)

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            assert sender.flush(soon())
        finally:
            stop.set()
            thread.join()


def test_a_defect_in_sending_stops_nothing():
    class Broken:
        tries = 0

        def send(self, payload, timeout_s):
            self.tries += 1
            raise UnicodeError("a defect")

        def close(self):
            pass

        abandon = close

    faults, broken = Faults(), Broken()
    sender = SpanSender(ENVELOPE, broken, faults, batch_spans=1, delay_s=60)
    sender.put(1, chunk_of(1))
    sender.put(1, chunk_of(1))
    assert not sender.flush(soon())
    assert (broken.tries, faults.drops, faults.errors) == (2, {"spans": 2}, {"otlp": 2})
    assert sender.close(soon(1))


def test_the_log_says_it_once_and_without_secrets(caplog):
    caplog.set_level(logging.DEBUG)
    with OtlpReceiver() as receiver:
        receiver.mode("503")
        endpoint = receiver.endpoint.replace("//", "//bot:s3cret@")
        target = resolve("traces", endpoint, {"OTEL_EXPORTER_OTLP_HEADERS": "key=s3cret"})
        sender = SpanSender(ENVELOPE, connect(target, "traces"), Faults(), delay_s=60)
        sender.put(1, chunk_of(1))
        assert not sender.flush(soon(0.3))
        assert receiver.stats()["tries"] >= 3
        sender.close(soon(0))
    assert len([record for record in caplog.records if "spans wait" in record.message]) == 1
    assert "s3cret" not in caplog.text
    assert str(receiver.port) in caplog.text


def test_sends_are_not_traced_by_instrumentation():
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value

    seen = []

    class Spy:
        def send(self, payload, timeout_s):
            seen.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY))
            return 0, ""

        def close(self):
            pass

        abandon = close

    sender = SpanSender(ENVELOPE, Spy(), Faults(), delay_s=60)
    sender.put(1, chunk_of(1))
    assert sender.close(soon())
    assert seen == [True]
    assert get_value(_SUPPRESS_INSTRUMENTATION_KEY) is None


def test_abandon_forgets_everything():
    with OtlpReceiver() as receiver, sender_to(receiver, delay_s=60) as sender:
        sender.put(1, chunk_of(1))
        sender.abandon()
        for _ in range(100):
            sender.put(1_000, b"")
        assert not sender._queue
        assert receiver.stats()["tries"] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_hanging_collector_does_not_hold_up_the_exit(protocol):
    code = """
import sys
from botobs.faults import Faults
from botobs.sinks.otlp.sender import SpanSender
from botobs.sinks.otlp.target import resolve
from botobs.sinks.otlp.transport import connect
from tests.sinks.otlp_spans import ENVELOPE, chunk_of
import time
target = resolve("traces", sys.argv[1], {})
sender = SpanSender(ENVELOPE, connect(target, "traces"), Faults(), timeout_s=60)
sender.put(1, chunk_of(1))
print(sender.flush(time.monotonic() + 0.3), flush=True)
"""
    with OtlpReceiver(protocol, mode="hang") as receiver:
        process = subprocess.Popen(
            [sys.executable, "-c", code, receiver.endpoint],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout.readline() == "False\n"
            said = time.monotonic()
            assert process.wait(50) == 0
            assert time.monotonic() - said < 20
            assert process.stderr.read() == ""
