"""The HTTP endpoint: `/metrics` for Prometheus, `/health` for whoever watches the bot.

A server of our own in place of `http.server`, whose time limits start again with each byte a client sends:
here a whole request has one deadline, connections are few, and one that only waits gives way to one that
asks.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from .wire import JSON, LONGEST_HEAD, Answer, RefusedError, linger, parse, refusal, send, takes_gzip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.faults import Faults

    from .wire import Request

__all__ = ["Endpoint"]

_INDEX: Final = b"botobs\n\n/metrics  for Prometheus\n/health   JSON, 200 or 503\n"
_WORTH_ZIPPING: Final = 1024


@attrs.define(eq=False)
class _Connection:
    """A client: `waiting_since` is `None` while it is being answered."""

    socket: socket.socket
    waiting_since: float | None
    thread: threading.Thread | None = None
    rest: bytes = b""

    def hang_up(self) -> None:
        """End it from another thread, which wakes its own."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Endpoint:
    """Serves metrics and health as soon as it is made; if its port is taken, once `retry` finds it free.

    Args:
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free one.
        render_metrics: Gives the page and its content type for an `Accept` header.
        health: Gives what `/health` shows; a `status` other than `ok` answers 503.
        faults: Where to say what went wrong.
        most_connections: How many clients may be connected at once.
        request_s: How long a request may take to arrive.
        idle_s: How long a connection may wait for its next request.
        answer_s: How long a client may take to read its answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        render_metrics: Callable[[str], tuple[bytes, str]],
        health: Callable[[], Mapping[str, Any]],
        faults: Faults,
        *,
        most_connections: int = 16,
        request_s: float = 5.0,
        idle_s: float = 90.0,
        answer_s: float = 10.0,
    ) -> None:
        self.host = host
        self.state = "down"
        self._wanted_port = port
        self._render_metrics = render_metrics
        self._health = health
        self._faults = faults
        self._most = most_connections
        self._request_s = request_s
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self._wakers: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[_Connection] = set()
        self.retry()

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def port(self) -> int:
        """The port it listens on, or would."""
        listener = self._listener
        return self._wanted_port if listener is None else int(listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def retry(self) -> bool:
        """Try to listen, if it does not yet; whether it listens now."""
        if self._closed.is_set() or self.up:
            return self.up
        try:
            # names are looked up outside the lock: that may take long, and `close` has a deadline
            found = socket.getaddrinfo(
                self.host or None, self._wanted_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            with self._lock:
                if not self._closed.is_set() and not self.up:
                    self._listen(*found[0])
        except Exception as error:
            self._say_down(error)
        return self.up

    def _listen(self, family: int, kind: int, protocol: int, _: str, address: Any) -> None:
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # the lookup folds a port above 65535 into another; bound as given it is refused
            listener.bind((address[0], self._wanted_port, *address[2:]))
            listener.listen(64)
            listener.settimeout(0)
            wakers = socket.socketpair()
            undo.callback(wakers[0].close)
            undo.callback(wakers[1].close)
            self._thread = threading.Thread(
                target=self._accept_all, args=(listener, wakers[0]), name="botobs-http", daemon=True
            )
            self._thread.start()
            undo.pop_all()
        self._listener, self._wakers, self.state = listener, wakers, "up"

    def _say_down(self, error: Exception) -> None:
        state = self._why(error)
        if state != self.state:  # said once, not at every retry; `state` tells on
            self.state = state
            self._faults.say("endpoint", state, f"{state}: no metrics and no health are served for now")

    def _why(self, error: Exception) -> str:
        place = f"port {self._wanted_port} on {self.host or 'all addresses'}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return f"{place} is in use"
        return f"{place} cannot be opened: {error}"

    # the threads

    def _accept_all(self, listener: socket.socket, waker: socket.socket) -> None:
        poll = select.poll()  # no selector: epoll would be shared with a forked child
        poll.register(waker, select.POLLIN)
        poll.register(listener, select.POLLIN)
        while not self._closed.is_set():
            try:
                poll.poll()
                if not self._closed.is_set():
                    self._accept(listener)
            except Exception as error:  # out of file descriptors or threads: come back in a second
                if self._closed.is_set():
                    return
                with contextlib.suppress(Exception):  # strict mode raises; the server goes on
                    self._faults.error("endpoint.accept", error)
                select.select([waker], [], [], 1.0)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client left before its turn
        client.settimeout(self._request_s)
        connection = _Connection(client, time.monotonic())
        with self._lock:
            room = len(self._connections) < self._most or self._make_room()
            if room:
                self._connections.add(connection)
        try:
            if not room:
                send(client, Answer(503, b"too many connections\n"), keep=False)
                client.close()
                return
            connection.thread = threading.Thread(
                target=self._serve, args=(connection,), name="botobs-http-client", daemon=True
            )
            connection.thread.start()
        except BaseException:
            self._forget(connection)
            raise

    def _make_room(self) -> bool:
        """Hang up on the connection that has waited longest; whether there was one."""
        waiting = [(c.waiting_since, id(c), c) for c in self._connections if c.waiting_since is not None]
        if not waiting:
            return False
        longest = min(waiting)[2]
        self._connections.discard(longest)  # its thread ends by itself
        longest.hang_up()
        return True

    def _forget(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.socket.close()

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self._serve_one(connection) and not self._closed.is_set():
                pass
        except OSError:
            pass  # the client went away, was too slow, or was hung up on
        finally:
            self._forget(connection)

    def _serve_one(self, connection: _Connection) -> bool:
        """Read one request and answer it; whether another may follow."""
        client = connection.socket
        connection.waiting_since = time.monotonic()
        try:
            request = self._read(connection)
        except RefusedError as refused:
            send(client, refusal(refused.status), keep=False)
            linger(client)
            return False
        if request is None:
            return False
        connection.waiting_since = None
        client.settimeout(self._answer_s)
        keep = request.clean and not self._closed.is_set()
        bare = request.method == "HEAD"
        try:
            answer = self._answer(request)
        except Exception as error:
            try:  # first counted, then told; the client hears of it in strict mode too
                self._faults.error(f"endpoint{request.path.replace('/', '.')}", error)
            finally:
                send(client, Answer(500, b"internal error\n"), keep=keep, bare=bare)
            return keep
        send(client, answer, keep=keep, bare=bare)
        if not keep:
            linger(client)
        return keep

    def _read(self, connection: _Connection) -> Request | None:
        """The next request; `None` when there is none.

        Raises:
            RefusedError: It is none that this server understands.
        """
        client, head = connection.socket, connection.rest
        until = time.monotonic() + self._request_s if head else None
        client.settimeout(self._request_s if head else self._idle_s)
        while b"\r\n\r\n" not in head:
            if len(head) > LONGEST_HEAD:
                raise RefusedError(431)
            piece = client.recv(4096)
            if not piece:
                return None
            head += piece
            until = until or time.monotonic() + self._request_s
            if (left := until - time.monotonic()) <= 0:
                return None
            client.settimeout(left)
        head, connection.rest = head.split(b"\r\n\r\n", 1)
        return parse(head.decode("latin-1"))

    # the answers

    def _answer(self, request: Request) -> Answer:
        if request.path not in {"/", "/metrics", "/health"}:
            return Answer(404, b"not found; there are /metrics and /health\n")
        if request.method not in {"GET", "HEAD"}:
            return Answer(405, b"only GET and HEAD\n")
        if request.path == "/":
            return Answer(200, _INDEX)
        if request.path == "/health":
            return self._tell_health()
        page, content_type = self._render_metrics(request.headers.get("accept", ""))
        if len(page) >= _WORTH_ZIPPING and takes_gzip(request.headers.get("accept-encoding", "")):
            # level 1: the tenth of the time for a few bytes more; zlib lets the bot run meanwhile
            return Answer(200, gzip.compress(page, compresslevel=1, mtime=0), content_type, zipped=True)
        return Answer(200, page, content_type)

    def _tell_health(self) -> Answer:
        health = dict(self._health())
        try:
            body = orjson.dumps(health, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # a huge number, or text that is no UTF-8: json writes what orjson refuses
            body = json.dumps(health, default=str).encode()
        body += b"\n"
        return Answer(200 if health.get("status") == "ok" else 503, body, JSON)

    # the end

    def close(self, deadline: float) -> bool:
        """Stop: running answers may end until `deadline` (of `time.monotonic`), then connections are cut.

        Returns:
            Whether every thread has ended.
        """
        with self._lock:
            self._closed.set()
            self.state = "closed"
            listener, self._listener = self._listener, None
            wakers, self._wakers = self._wakers, None
            connections = list(self._connections)
        if wakers is not None:
            with contextlib.suppress(OSError):
                wakers[1].send(b"\0")
        for connection in connections:
            if connection.waiting_since is not None:
                connection.hang_up()
        threads = [self._thread, *(connection.thread for connection in connections)]
        for thread in threads:
            if thread is not None and thread.ident is not None:
                thread.join(max(deadline - time.monotonic(), 0))
        for connection in list(self._connections):
            connection.hang_up()
        for owned in (listener, *(wakers or ())):
            if owned is not None:
                owned.close()
        return not any(thread is not None and thread.is_alive() for thread in threads)

    def abandon(self) -> None:
        """Close a child process's copies of the sockets; the parent's go on. Takes no lock."""
        self._closed = threading.Event()
        self._closed.set()
        self.state = "abandoned"
        listener, self._listener = self._listener, None
        wakers, self._wakers = self._wakers, None
        clients = [connection.socket for connection in self._connections.copy()]
        self._connections = set()
        self._lock = threading.Lock()  # a thread that is not here may hold the old one
        for owned in (listener, *(wakers or ()), *clients):
            if owned is not None:
                with contextlib.suppress(OSError):
                    owned.close()
