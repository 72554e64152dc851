"""One request and its answer on a socket: whatever comes back, and however it is cut."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botobs.sinks.otlp.wire import Answer, ask, opening
from tests.slack import SLACK_S

START = opening("/v1/traces", "there:4318", {"x": "y"})
OK = b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello"


class Counting(socket.socket):
    calls = 0

    def send(self, *args):
        self.calls += 1
        return super().send(*args)

    def recv(self, *args):
        self.calls += 1
        return super().recv(*args)


@contextmanager
def pair():
    here, there = socket.socketpair()
    counted = Counting(fileno=here.detach())
    counted.settimeout(0)
    with counted, there:
        yield counted, there


def answered(*pieces, body=b"spans", seconds=5.0):
    """What `ask` makes of the pieces; each goes when the one before was taken."""
    with pair() as (sock, there):

        def serve():
            seen = b""
            while not seen.endswith(b"\r\n\r\n" + body):
                seen += there.recv(65_536)
            with contextlib.suppress(OSError):  # it has heard enough
                for piece in pieces:
                    there.sendall(piece)
                there.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            return ask(sock, START, body, time.monotonic() + seconds), sock.calls
        finally:
            sock.close()
            thread.join(20)


def test_the_usual_answer_takes_two_calls():
    answer, calls = answered(OK)
    assert answer == Answer(200, "Fine", b"hello")
    assert calls == 2  # and one wait between them


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:0\r\n\r\n", Answer(200, "OK", b"")),
        (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", Answer(200, "", b"hi")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Answer(200, "Fine", b"hello")),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", Answer(200, "OK", b"hi", None, False)),  # noqa: FBT003
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", Answer(200, "OK", b"hi", None, False)),  # noqa: FBT003
        (b"HTTP/1.1 200 OK\r\n\r\nhi", Answer(200, "OK", b"hi", None, False)),  # noqa: FBT003
        (b"HTTP/1.1 204 None\r\n\r\n", Answer(204, "None", b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Answer(200, "OK", b"hi")),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\n!", Answer(503, "Busy", b"!", "7")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", Answer(200, "OK", b"short")),
        (b"HTTP/1.1 200 OK\r\nX: content-length: 9\r\nContent-Length: 2\r\n\r\nhi", Answer(200, "OK", b"hi")),
    ],
)  # fmt: skip
def test_answers(said, expected):
    assert answered(said)[0] == expected
    assert answered(*(said[n : n + 1] for n in range(len(said))))[0] == expected  # byte by byte


@given(st.lists(st.integers(0, len(OK)), max_size=6))
def test_however_it_is_cut(cuts):
    at = [0, *sorted(cuts), len(OK)]
    assert answered(*(OK[a:b] for a, b in zip(at, at[1:], strict=False)))[0] == Answer(200, "Fine", b"hello")


@given(st.binary(max_size=300))
def test_nonsense_is_no_answer(junk):
    try:
        answer, _ = answered(junk)
    except (http.client.HTTPException, ConnectionError):
        return
    assert junk.startswith(b"HTTP/")
    assert answer.status


def test_a_silent_collector_is_given_up():
    with pair() as (sock, _):
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(sock, START, b"x", before + 0.05)
        assert time.monotonic() - before < 0.05 + SLACK_S


def test_a_collector_that_does_not_read_is_given_up():
    with pair() as (sock, _), pytest.raises(TimeoutError):
        ask(sock, START, b"x" * (16 << 20), time.monotonic() + 0.05)


def test_an_answer_without_end_is_not_read_to_the_end():
    with pytest.raises((http.client.HTTPException, OSError)):
        answered(b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000)
    answer, _ = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999)
    assert (len(answer.body), answer.kept) == (65_536, False)


def test_what_is_said_each_time():
    said = opening("/p", "h", {"Content-Type": "a", "Host": "mine", "Content-Length": "9", "Connection": "close"})
    assert said == (
        b"POST /p HTTP/1.1\r\nhost: mine\r\naccept-encoding: identity\r\ncontent-type: a\r\ncontent-length: "
    )


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a b": "c"}, {"": "c"}, {"a": "\u20ac"}, {"a": "b\0"}])
def test_headers_that_cannot_be_sent(headers):
    with pytest.raises(ValueError, match="header"):
        opening("/", "h", headers)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_over_tls(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    here, there = socket.socketpair()
    body, seen = b"spans" * 400_000, []  # more than the system takes at once

    def serve():
        with context.wrap_socket(there, server_side=True) as served:
            for _ in range(2):
                got = bytearray()
                while not got.endswith(b"\r\n\r\n" + body):
                    got += served.recv(65_536)
                seen.append(len(got))
                served.sendall(OK)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with ssl.create_default_context(cafile=str(cert)).wrap_socket(here, server_hostname="127.0.0.1") as sock:
        sock.settimeout(0)
        for _ in range(2):
            assert ask(sock, START, body, time.monotonic() + 20) == Answer(200, "Fine", b"hello")
    thread.join(20)
    assert len(seen) == 2
