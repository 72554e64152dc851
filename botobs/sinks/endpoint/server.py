"""The HTTP endpoint: `/metrics` for Prometheus, `/health` for whoever watches the bot.

A server of our own in place of `http.server`, whose time limits start again with each byte a client sends:
here a whole request has one deadline, connections are few, and one that only waits gives way to one that
asks.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from .door import Door, beyond_loopback
from .pages import Pages
from .wire import LONGEST_HEAD, Answer, RefusedError, linger, parse, refusal, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botobs.faults import Faults

    from .tls import Tls
    from .wire import Request

__all__ = ["Endpoint"]


_ADVICE = (
    "set prometheus_token (BOTOBS_PROMETHEUS_TOKEN), and prometheus_tls_cert for HTTPS, or leave prometheus_host at "
    "127.0.0.1"
)


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
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # beneath TLS: its own thread is in there


class Endpoint:
    """Serves metrics and health as soon as it is made; if its port is taken, once `retry` finds it free.

    Args:
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free one.
        render_metrics: Gives the page and its content type for an `Accept` header.
        health: Gives what `/health` shows; a `status` other than `ok` answers 503.
        faults: Where to say what went wrong.
        token: What a client has to bring (`Authorization: Bearer …`); `None`: nothing.
        cert: PEM file with a certificate and its chain: HTTPS; `None`: HTTP.
        key: PEM file with its private key; `None`: it stands in `cert`.
        most_connections: How many clients may be connected at once.
        request_s: How long a request may take to arrive.
        idle_s: How long a connection may wait for its next request.
        answer_s: How long a client may take to read its answer.
        renewed_s: How often it is looked whether the certificate was renewed.
        advice: How to close it to other machines, for the warning that it is open.

    Attributes:
        door: Who may ask, and how often somebody was turned away.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        render_metrics: Callable[[str], tuple[bytes, str]],
        health: Callable[[], Mapping[str, Any]],
        faults: Faults,
        *,
        token: str | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        most_connections: int = 16,
        request_s: float = 5.0,
        idle_s: float = 90.0,
        answer_s: float = 10.0,
        renewed_s: float = 1.0,
        advice: str = _ADVICE,
    ) -> None:
        self.host = host
        self.state = "down"
        self._wanted_port = port
        self._faults = faults
        self._advice = advice
        self.door = Door(token, faults)
        self._pages = Pages(render_metrics, health, self.door)
        self._tls: Tls | None = None
        if cert is not None or key is not None:
            from .tls import Tls  # noqa: PLC0415  # most bots serve their own machine, without it

            self._tls = Tls(cert, key, faults, look_every_s=renewed_s)
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

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}: {self.state}>"

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
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}"

    def retry(self) -> bool:
        """Try to listen, if it does not yet; whether it listens now."""
        if self._closed.is_set() or self.up:
            return self.up
        reached_at = ""
        try:
            # names are looked up outside the lock: that may take long, and `close` has a deadline
            found = socket.getaddrinfo(
                self.host or None, self._wanted_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            with self._lock:
                if not self._closed.is_set() and not self.up:
                    self._listen(*found[0])
                    reached_at = str(found[0][4][0])
        except Exception as error:
            self._say_down(error)
        if reached_at and self.door.open and beyond_loopback(reached_at):
            self._faults.say(
                "endpoint", "open",
                f"other machines can read /metrics and /health at {self.url}, which show positions and PnL to anybody: "
                f"{self._advice}",
            )  # fmt: skip
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
                if self._tls is None:  # a handshake would hold up everybody
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
            if self._tls is not None and not self._shake_hands(connection, self._tls):
                return
            while self._serve_one(connection) and not self._closed.is_set():
                pass
        except OSError:
            pass  # the client went away, was too slow, or was hung up on
        finally:
            self._forget(connection)

    def _shake_hands(self, connection: _Connection, tls: Tls) -> bool:
        """Begin TLS, on the client's own thread; whether it came about."""

        def wrapped(speaking: socket.socket) -> None:
            connection.socket = speaking

        try:
            tls.shake_hands(connection.socket, self._request_s, wrapped)
        except OSError:
            self.door.turned_away("handshake")
            return False
        return True

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
            answer = self._pages.answer(request)
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
        if self._tls is not None:
            self._tls.abandon()
        for owned in (listener, *(wakers or ()), *clients):
            if owned is not None:
                with contextlib.suppress(OSError):
                    owned.close()
