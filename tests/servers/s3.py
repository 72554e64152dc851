"""A real server that speaks S3 (moto's), in a process of its own, for the tests that need one."""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import time

CAN_RUN = all(importlib.util.find_spec(name) for name in ("moto", "flask", "flask_cors", "py_partiql_parser", "s3fs"))


class S3Server:
    """A server on a free port, and what a client's environment has to say to find it."""

    def __init__(self) -> None:
        for _ in range(5):
            self.port = _free_port()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._answers():
                return
            self.process.wait()  # somebody else was quicker
        raise RuntimeError("the S3 server does not start")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """What it answers, past every client."""
        with_server = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            with_server.request(
                method,
                path,
                body,
                {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"},
            )
            answer = with_server.getresponse()
            said = answer.read()
            assert answer.status < 300, (answer.status, said)
            return said
        finally:
            with_server.close()

    def _answers(self) -> bool:
        until = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < until, "the S3 server does not answer"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return True
            except OSError:
                time.sleep(0.01)
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
