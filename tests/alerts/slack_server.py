"""A real HTTP server that behaves as Slack, well or badly.

`with SlackServer() as slack: ...` answers `200 ok`; `slack.answers("429:2", "500", "ok")` says what the next requests
get, `slack.always("500")` what all do. Answers: ok · 429 · 429:<Retry-After> · 500 · 503 · slow · cut · short ·
redirect · 404 · 400 · 410 · html · drip · api:<error>. The Web API lives at `slack.api_url`, webhooks at `slack.url`.
"""

from __future__ import annotations

import collections
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "/services/T0AB12CD3/B0EF45GH6/sEcReT7890abcdefghijklmn"
TOKEN = "xoxb-123456789012-SeCrEtToKeN0987"
WAIT_S = 10.0


class SlackServer:
    def __init__(self, *, tls: bool = False, folder=None) -> None:
        self.requests: list[dict] = []
        self.paths: list[str] = []
        self.headers: list[dict] = []
        self._changed = threading.Condition()
        self._script: collections.deque[str] = collections.deque()
        self._always = "ok"
        self.released = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                owner._arrived("GET " + self.path, {}, dict(self.headers))
                self._say(200, "ok")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = owner._arrived(self.path, body, dict(self.headers))
                with contextlib.suppress(OSError):
                    self._answer(answer)

            def _answer(self, answer):
                name, _, more = answer.partition(":")
                api = self.path.startswith("/api/")
                if name == "ok":
                    stamp = f"1700000000.{len(owner.requests):06d}"
                    self._say(200, json.dumps({"ok": True, "ts": stamp, "channel": "C1"}) if api else "ok")
                elif name == "429":
                    headers = {"Retry-After": more} if more else {}
                    self._say(429, json.dumps({"ok": False, "error": "ratelimited"}), headers)
                elif name in ("500", "503"):
                    self._say(int(name), "oops <b>not</b> words at https://hooks.slack.com" + SECRET)
                elif name == "slow":
                    owner.released.wait(WAIT_S)
                    self._say(200, "ok")
                elif name == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not owner.released.wait(0.05):
                        self.wfile.write(b"X-Drip: 1\r\n")
                elif name == "cut":
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif name == "short":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")
                    self.close_connection = True
                elif name == "redirect":
                    self._say(302, "", {"Location": "/elsewhere" + SECRET})
                elif name == "html":
                    self._say(200, "<html>Please log in</html>")
                elif name == "api":
                    self._say(200, json.dumps({"ok": False, "error": more}))
                else:
                    words = {"404": "no_service", "400": "invalid_payload", "410": "channel_is_archived"}
                    self._say(int(name), words.get(name, ""))

            def _say(self, status, body, headers=()):
                self.send_response(status)
                for key, value in dict(headers).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*_certificate(folder))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.base = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.base + SECRET
        self.api_url = self.base + "/api/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def _arrived(self, path, body, headers) -> str:
        with self._changed:
            self.requests.append(body)
            self.paths.append(path)
            self.headers.append(headers)
            self._changed.notify_all()
            return self._script.popleft() if self._script else self._always

    def answers(self, *answers: str) -> None:
        self._script.extend(answers)

    def always(self, answer: str) -> None:
        self._always = answer

    def wait(self, count: int, timeout_s: float = WAIT_S) -> list[dict]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s), (
                f"{len(self.requests)} of {count} requests: {self.titles}"
            )
            return list(self.requests)

    @property
    def titles(self) -> list[str]:
        return [request.get("text", "") for request in self.requests]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


def refused_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}{SECRET}"


def can_tls() -> bool:
    return shutil.which("openssl") is not None


def _certificate(folder):
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key
