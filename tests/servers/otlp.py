"""A real OTLP receiver, over HTTP or gRPC, that can misbehave in all the ways collectors do.

In this process: `with OtlpReceiver("http") as receiver: ...`. In a process of its own, so that its CPU does not count
as the sender's: `with ReceiverProcess("grpc") as receiver: ...`; both have the same surface. From a shell:
`python -m tests.servers.otlp --protocol http --port 0 --max-seconds 60`, one JSON command a line on stdin, one JSON
answer a line on stdout: `{"do": "stats"}`, `{"do": "mode", "mode": "503"}`, `{"do": "contents"}`, `{"do": "stop"}`.

Modes: ok · refuse (the port is closed) · hang (accepts, never answers) · 503 · 429 (with Retry-After) · 400 · slow
(answers after a while) · partial (rejects one item of each request).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

MODES = ("ok", "refuse", "hang", "503", "429", "400", "slow", "partial")
_REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_SLOW_S = 0.3


def _partial_answer() -> bytes:
    answer = ExportTraceServiceResponse()  # all three signals' answers look like this one on the wire
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "one too many"
    return answer.SerializeToString()


class _Book:
    """What arrived."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self._changed = threading.Condition()
        self._counts = {"requests": 0, "tries": 0, "spans": 0, "metrics": 0, "logs": 0, "bytes": 0}
        self._kept: dict[str, list] = {"traces": [], "metrics": [], "logs": []}
        self._headers: dict[str, str] = {}

    def tried(self, headers) -> None:
        with self._changed:
            self._counts["tries"] += 1
            self._headers = {key.lower(): str(value) for key, value in headers}
            self._changed.notify_all()

    def took(self, signal_: str, payload: bytes) -> None:
        request = _REQUESTS[signal_].FromString(payload)
        if signal_ == "traces":
            what, found = "spans", sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        elif signal_ == "metrics":
            what, found = (
                "metrics",
                sum(len(s.metrics) for r in request.resource_metrics for s in r.scope_metrics),
            )
        else:
            what, found = "logs", sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)
        with self._changed:
            self._counts["requests"] += 1
            self._counts["bytes"] += len(payload)
            self._counts[what] += found
            if self.keep:
                self._kept[signal_].append(request)
            self._changed.notify_all()

    def stats(self) -> dict:
        with self._changed:
            return {**self._counts, "headers": dict(self._headers)}

    def contents(self) -> dict:
        with self._changed:
            kept = {signal_: list(requests) for signal_, requests in self._kept.items()}
        return {
            signal_: [MessageToDict(request, preserving_proto_field_name=True) for request in requests]
            for signal_, requests in kept.items()
        }

    def wait(self, what: str, at_least: int, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._counts[what] >= at_least, timeout_s)
            return self._counts[what]


class OtlpReceiver:
    """A receiver in this process.

    Args:
        protocol: "http" or "grpc".
        port: Where to listen; 0 for any free one.
        keep: Keep the contents for `contents()`, not only the counts.
        mode: How to behave at first.
    """

    def __init__(self, protocol: str = "http", *, port: int = 0, keep: bool = True, mode: str = "ok") -> None:
        self.protocol = protocol
        self.port = port
        self.mode_name = "refuse"
        self.retry_after_s = 1.0
        self._book = _Book(keep)
        self._released = threading.Event()
        self._server = None
        if port == 0:
            self._listen()
        self.mode(mode)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """What `otlp_endpoint` should be."""
        return f"{'grpc' if self.protocol == 'grpc' else 'http'}://127.0.0.1:{self.port}"

    def mode(self, mode: str, retry_after_s: float = 1.0) -> None:
        assert mode in MODES, mode
        self.retry_after_s = retry_after_s
        self.mode_name = mode
        self._released.set()  # requests that hang end without an answer
        self._released = threading.Event()
        if mode == "refuse":
            self._close()
        elif self._server is None:
            self._listen()

    def stats(self) -> dict:
        return self._book.stats()

    def contents(self) -> dict:
        return self._book.contents()

    def wait(self, what: str, at_least: int, timeout_s: float = 10.0) -> int:
        """Wait until so many "spans", "metrics", "logs", "requests" (taken) or "tries" (seen) came; how many."""
        return self._book.wait(what, at_least, timeout_s)

    def stop(self) -> None:
        self.mode("refuse")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- what the servers ask

    def _answer(self, signal_: str, payload, headers) -> tuple[str, bytes]:
        """The mode to answer in, and the answer's body."""
        self._book.tried(headers)
        mode, released = self.mode_name, self._released
        if mode == "hang":
            released.wait()
            return "cut", b""
        if mode in ("503", "429", "400", "refuse"):
            return mode, b""
        if mode == "slow":
            released.wait(_SLOW_S)
        self._book.took(signal_, payload())
        return "ok", _partial_answer() if mode == "partial" else b""

    def _listen(self) -> None:
        self._server = (_Grpc if self.protocol == "grpc" else _Http)(self)
        self.port = self._server.port

    def _close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address, handler):
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def handle_error(self, *_):
        pass  # senders that give up are what this server is for


class _Http:
    def __init__(self, receiver: OtlpReceiver) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                self.server.connections.add(self.connection)

            def finish(self):
                self.server.connections.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def log_message(self, *_):
                pass

            def do_POST(self):
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                encoding = self.headers.get("content-encoding", "identity")

                def payload():
                    if encoding == "gzip":
                        return zlib.decompress(body, wbits=31)
                    return zlib.decompress(body) if encoding == "deflate" else body

                name = self.path.rpartition("/")[2].partition("?")[0]
                if name not in _REQUESTS:
                    self.send_error(404)
                    return
                mode, answer = receiver._answer(name, payload, self.headers.items())
                if mode in ("cut", "refuse"):
                    self.close_connection = True
                    return
                self.send_response(200 if mode == "ok" else int(mode))
                if mode == "429":
                    self.send_header("retry-after", f"{receiver.retry_after_s:g}")
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self._server = _HttpServer(("127.0.0.1", receiver.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


class _Grpc:
    def __init__(self, receiver: OtlpReceiver) -> None:
        import grpc
        from google.protobuf.duration_pb2 import Duration
        from google.rpc.error_details_pb2 import RetryInfo
        from google.rpc.status_pb2 import Status

        def export(name: str):
            def handle(payload: bytes, context):
                mode, answer = receiver._answer(name, lambda: payload, context.invocation_metadata())
                if mode == "ok":
                    return answer
                if mode == "429":
                    wait = Duration()
                    wait.FromNanoseconds(int(receiver.retry_after_s * 1e9))
                    status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
                    status.details.add().Pack(RetryInfo(retry_delay=wait))
                    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down")
                refused = mode == "400"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT if refused else grpc.StatusCode.UNAVAILABLE, mode)

            return grpc.unary_unary_rpc_method_handler(handle)

        self._pool = ThreadPoolExecutor(16)
        self._server = grpc.server(self._pool, options=(("grpc.so_reuseport", 0),))
        for name, service in (
            ("traces", "opentelemetry.proto.collector.trace.v1.TraceService"),
            ("metrics", "opentelemetry.proto.collector.metrics.v1.MetricsService"),
            ("logs", "opentelemetry.proto.collector.logs.v1.LogsService"),
        ):
            handlers = {"Export": export(name)}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        deadline = time.monotonic() + 5
        while True:  # the old listener of this port may take a moment to go
            try:
                self.port = self._server.add_insecure_port(f"127.0.0.1:{receiver.port}")
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait(5)
        self._pool.shutdown(wait=False)


class ReceiverProcess:
    """A receiver in a process of its own, with the surface of `OtlpReceiver`; it ends with this process."""

    def __init__(
        self,
        protocol: str = "http",
        *,
        port: int = 0,
        keep: bool = False,
        mode: str = "ok",
        max_seconds: float = 300.0,
    ) -> None:
        self.protocol = protocol
        command = [sys.executable, "-m", "tests.servers.otlp", "--protocol", protocol, "--port", str(port)]
        command += ["--mode", mode, "--max-seconds", str(max_seconds), *(["--keep"] if keep else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        self.port = json.loads(self._process.stdout.readline())["port"]

    @property
    def pid(self) -> int:
        return self._process.pid

    url = OtlpReceiver.url
    endpoint = OtlpReceiver.endpoint

    def mode(self, mode: str, retry_after_s: float = 1.0) -> None:
        self._ask(do="mode", mode=mode, retry_after_s=retry_after_s)

    def stats(self) -> dict:
        return self._ask(do="stats")

    def contents(self) -> dict:
        return self._ask(do="contents")

    def wait(self, what: str, at_least: int, timeout_s: float = 10.0) -> int:
        return self._ask(do="wait", what=what, at_least=at_least, timeout_s=timeout_s)["count"]

    def kill(self) -> None:
        """As `kill -9` does."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # its cue to end
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
        self._end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _end(self) -> None:
        self._process.wait(5)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _ask(self, **command) -> dict:
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=("http", "grpc"), default="http")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--keep", action="store_true", help="keep contents, not only counts")
    parser.add_argument("--max-seconds", type=float, default=300.0)
    options = parser.parse_args()
    end = time.monotonic() + options.max_seconds
    receiver = OtlpReceiver(options.protocol, port=options.port, keep=options.keep, mode=options.mode)
    print(json.dumps({"port": receiver.port, "pid": os.getpid(), "url": receiver.url}), flush=True)
    while (left := end - time.monotonic()) > 0:
        if not select.select([sys.stdin], [], [], left)[0]:
            break
        line = sys.stdin.readline()
        if not line:
            break
        command = json.loads(line)
        do = command["do"]
        if do == "stop":
            break
        if do == "mode":
            receiver.mode(command["mode"], command.get("retry_after_s", 1.0))
            answer = {"mode": receiver.mode_name}
        elif do == "wait":
            answer = {"count": receiver.wait(command["what"], command["at_least"], command["timeout_s"])}
        else:
            answer = {"stats": receiver.stats, "contents": receiver.contents}[do]()
        print(json.dumps(answer), flush=True)
    os._exit(0)  # requests that hang must not hold this process up


if __name__ == "__main__":
    main()
