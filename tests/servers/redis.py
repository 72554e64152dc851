"""A real `redis-server` on a free port with a directory of its own, for the tests that need one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

SERVER = shutil.which("redis-server")


class RedisServer:
    """A Redis server that can be killed, stopped, continued and started again.

    Args:
        folder: Where it keeps its files.
        *options: More of its options, such as `--maxmemory 3mb`, in one or several texts.
    """

    def __init__(self, folder, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = [word for option in options for word in option.split()]
        self.port = _free_port()
        self.password = None
        self.process = None
        self.start()

    @property
    def url(self) -> str:
        who = "" if self.password is None else f":{self.password}@"
        return f"redis://{who}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        for _ in range(5):
            command = [
                SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0",
                "--repl-diskless-load", "on-empty-db", *self.options,
            ]  # fmt: skip
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers():
                return
            self.process.wait()
            self.port = _free_port()  # somebody else was quicker
        raise RuntimeError("redis-server does not start")

    def _answers(self) -> bool:
        until = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < until, "redis-server does not answer"
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as asked:
                    asked.sendall(b"PING\r\n")
                    if asked.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                        return True
            time.sleep(0.005)
        return False

    def kill(self) -> None:
        """End it at once, as the machine's out-of-memory killer would."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def close(self) -> None:
        self.go_on()
        self.kill()

    def client(self):
        """A client of redis-py, to be closed."""
        import redis

        return redis.Redis(port=self.port, password=self.password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(condition, seconds=20.0):
    """Wait until `condition()` holds; what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
