import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from botobs.errors import ConfigError
from botobs.sinks.otlp.target import resolve
from botobs.sinks.otlp.transport import HttpTransport, Refused, TryLater, connect
from tests.servers.otlp import OtlpReceiver
from tests.sinks.otlp_spans import request_of
from tests.slack import SLACK_S

PROTOCOLS = ("http", "grpc")


@contextmanager
def sending(endpoint, signal="traces", **env):
    transport = connect(resolve(signal, endpoint, {f"OTEL_EXPORTER_OTLP_{k}": v for k, v in env.items()}), signal)
    try:
        yield transport
    finally:
        transport.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_arrives_with_headers_and_compression(protocol, compression):
    with (
        OtlpReceiver(protocol) as receiver,
        sending(receiver.endpoint, HEADERS="x-key=s%3Dcret", COMPRESSION=compression) as transport,
    ):
        assert transport.send(request_of(40), 5).rejected == 0
        assert transport.send(request_of(2), 5).rejected == 0
        stats = receiver.stats()
        assert (stats["spans"], stats["requests"]) == (42, 2)
        assert stats["headers"]["x-key"] == "s=cret"
        if protocol == "http" and compression != "none":
            assert stats["headers"]["content-encoding"] == compression
        spans = receiver.contents()["traces"][0]["resource_spans"][0]["scope_spans"][0]["spans"]
        assert [span["name"] for span in spans] == [f"span {n}" for n in range(40)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_outcomes(protocol):
    with OtlpReceiver(protocol) as receiver, sending(receiver.endpoint) as transport:
        receiver.mode("400")
        with pytest.raises(Refused):
            transport.send(request_of(1), 5)
        receiver.mode("503")
        with pytest.raises(TryLater) as later:
            transport.send(request_of(1), 5)
        assert later.value.after_s is None
        receiver.mode("429", retry_after_s=7)
        with pytest.raises(TryLater) as later:
            transport.send(request_of(1), 5)
        assert later.value.after_s == 7
        receiver.mode("partial")
        receipt = transport.send(request_of(3), 5)
        assert (receipt.rejected, receipt.message) == (1, "one too many")
        receiver.mode("hang")
        before = time.monotonic()
        with pytest.raises(TryLater):
            transport.send(request_of(1), 0.2)
        assert 0.15 < time.monotonic() - before < 0.2 + SLACK_S
        receiver.mode("refuse")
        with pytest.raises(TryLater):
            transport.send(request_of(1), 5)
        receiver.mode("ok")  # the same port again: the very next attempt gets through
        transport.send(request_of(5), 5)
        assert receiver.stats()["spans"] == 5 + 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_close_ends_a_send_under_way(protocol):
    with OtlpReceiver(protocol, mode="hang") as receiver:
        target = resolve("traces", receiver.endpoint, {})
        transport = connect(target, "traces")
        outcome = []

        def send():
            try:
                outcome.append(transport.send(request_of(1), 60))
            except TryLater as error:
                outcome.append(error)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert receiver.wait("tries", 1) == 1
        transport.close()
        thread.join(20)
        assert not thread.is_alive()
        assert isinstance(outcome[0], TryLater)
        with pytest.raises(TryLater):
            transport.send(request_of(1), 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("signal", "what"), [("metrics", "metrics"), ("logs", "logs")])
def test_each_signal_goes_to_its_own_place(protocol, signal, what):
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    if signal == "metrics":
        request = ExportMetricsServiceRequest()
        request.resource_metrics.add().scope_metrics.add().metrics.add(name="x")
    else:
        request = ExportLogsServiceRequest()
        request.resource_logs.add().scope_logs.add().log_records.add(severity_text="x")
    with OtlpReceiver(protocol) as receiver, sending(receiver.endpoint, signal) as transport:
        transport.send(request.SerializeToString(), 5)
        assert receiver.stats()[what] == 1


class Scripted:
    """Answers each connection with the next prepared bytes; None closes it without a word."""

    def __init__(self, *answers):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for answers in self._answers:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                for answer in answers:
                    head = []
                    while (line := lines.readline()) not in (b"\r\n", b""):
                        head.append(line)
                    length = next((int(x.split(b":")[1]) for x in head if x.lower().startswith(b"content-length")), 0)
                    self.requests.append((head, lines.read(length)))
                    if answer is None:
                        break
                    connection.sendall(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_connection_that_died_while_idle_is_no_failure():
    with Scripted([OK], [OK]) as server, sending(f"http://127.0.0.1:{server.port}") as transport:
        transport.send(b"one", 5)  # the server closes after this answer
        transport.send(b"two", 5)
        assert [body for _, body in server.requests] == [b"one", b"two"]


def test_one_connection_is_kept_alive():
    with Scripted([OK, OK, OK]) as server, sending(f"http://127.0.0.1:{server.port}") as transport:
        for body in (b"1", b"2", b"3"):
            transport.send(body, 5)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n", TryLater),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", TryLater),
        (b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", TryLater),
        (b"rubbish\r\n\r\n", TryLater),
        (b"HTTP/1.1 2", TryLater),
        (b"", TryLater),
        # the status says that it arrived: sending again would make duplicates
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrubbish", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, None),
        (b"HTTP/1.1 204 Fine\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
    ],
)
def test_every_answer_has_an_outcome(answer, outcome):
    with Scripted([answer]) as server, sending(f"http://127.0.0.1:{server.port}") as transport:
        if outcome is None:
            assert transport.send(b"x", 5).rejected == 0
        else:
            with pytest.raises(outcome):
                transport.send(b"x", 5)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("3", 3, 3),
        ("-1", 0, 0),
        ("later", None, None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 1e6, 1e10),
        ("nan", None, None),
    ],
)
def test_retry_after(value, least, most):
    answer = f"HTTP/1.1 503 x\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    with Scripted([answer]) as server, sending(f"http://127.0.0.1:{server.port}") as transport:
        with pytest.raises(TryLater) as later:
            transport.send(b"x", 5)
        if least is None:
            assert later.value.after_s is None
        else:
            assert least <= later.value.after_s <= most


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Scripted([OK]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pw@127.0.0.1:{proxy.port}")
        with sending("http://collector.invalid:4318") as transport:
            transport.send(b"x", 5)
        head = proxy.requests[0][0]
        assert head[0] == b"POST http://collector.invalid:4318/v1/traces HTTP/1.1\r\n"
        assert any(line.lower().startswith(b"proxy-authorization: basic dxnlcjpwdw==") for line in head)
        monkeypatch.setenv("no_proxy", "collector.invalid")
        with sending("http://collector.invalid:4318") as transport, pytest.raises(TryLater):
            transport.send(b"x", 5)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
        with pytest.raises(ConfigError, match="proxy"):
            HttpTransport(resolve("traces", "http://collector.invalid:4318", {}))


def test_bad_certificates_are_config_errors(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("not a certificate")
    target = resolve("traces", "https://c:4318", {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(bad)})
    with pytest.raises(ConfigError, match="PEM"):
        connect(target, "traces")


def test_abandon_leaves_the_parents_connection_alone():
    with OtlpReceiver("http") as receiver, sending(receiver.endpoint) as transport:
        transport.send(request_of(1), 5)
        parents = transport._connection.sock
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                transport.abandon()
                code = 0 if transport._connection.sock.fileno() == -1 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        transport.send(request_of(1), 5)
        assert transport._connection.sock is parents  # a connection cut by the child would have been replaced
        assert receiver.stats()["spans"] == 2


def test_http_speaks_without_loading_grpc_or_requests():
    import subprocess
    import sys

    code = (
        "import sys\nfrom botobs.sinks.otlp.target import resolve\nfrom botobs.sinks.otlp import transport, sender\n"
        "transport.connect(resolve('traces', 'http://127.0.0.1:9', {}), 'traces')\n"
        "print([m for m in ('grpc', 'requests') if m in sys.modules])"
    )
    env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr
