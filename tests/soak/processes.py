"""Bots in processes of their own, and what they left on the disk."""

from __future__ import annotations

import gzip
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import asyncio, json, os, signal, sys, threading, time
import botobs
data_dir = sys.argv[1]
def say(**what):
    os.write(1, json.dumps(what).encode() + b"\\n")
def work(n, first=0, obs=botobs):
    for i in range(first, first + n):
        with obs.tick("BTC", bar_id=i) as tick:
            with obs.decision():
                pass
            tick.signal(model=i)
"""


def environment(**more: str) -> dict[str, str]:
    """A bot's environment: this one's without settings of botobs and OpenTelemetry."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOTOBS_", "OTEL_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "GRPC_VERBOSITY": "NONE", **more}


class Bot:
    """A running script: what it says comes line by line, as JSON."""

    def __init__(self, script: str, *args: object, prelude: str = PRELUDE, **env: str) -> None:
        # without a buffer of its own: what is not read yet is still in the pipe, and `ended` finds it
        self.process = subprocess.Popen(
            # what a fork of many threads may do is what is tested
            [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", prelude + script, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**env),
        )
        self.said: list[dict] = []
        self.errors = b""
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._listen, self._complain)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return self.errors.decode(errors="replace")

    def _listen(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _complain(self) -> None:
        self.errors = self.process.stderr.read()

    def hear(self, timeout_s: float = 30.0) -> dict | None:
        """The next thing it says; `None` when it has ended."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"it said nothing for {timeout_s} s, after {self.said}") from None
        if line is None:
            self._lines.put(None)
            return None
        self.said.append(json.loads(line))
        return self.said[-1]

    def tell(self, line: str = "") -> None:
        """A line for its standard input."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; its exit status."""
        try:
            code = self.process.wait(timeout_s)
            while self.hear(timeout_s) is not None:  # a child of its may still hold the pipe
                pass
        except (subprocess.TimeoutExpired, TimeoutError) as error:
            self.kill()
            raise TimeoutError(f"it did not end within {timeout_s} s; it said {self.said}\n{self.stderr}") from error
        self._close()
        return code

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for thread in self._threads:
            thread.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except OSError:
                pass

    def __enter__(self) -> Bot:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._close()


def run(script: str, *args: object, timeout_s: float = 30.0, **env: str) -> Bot:
    """Run a script to its end."""
    bot = Bot(script, *args, **env)
    with bot:
        bot.end(timeout_s)
    return bot


def records(data_dir: Path, stream: str) -> list[dict]:
    """Every record of a stream, archives first; each line has to be whole and JSON."""
    logs = Path(data_dir) / "logs"
    archived = sorted((logs / "archive").glob(f"{stream}-[0-9]*.jsonl*"), key=_turn)
    gone = {path.with_suffix("") for path in archived if path.suffix == ".gz"}
    found: list[dict] = []
    for path in [*(path for path in archived if path not in gone), logs / f"{stream}.jsonl"]:
        if path.name.endswith(".tmp") or not path.exists():
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert not data or data.endswith(b"\n"), f"{path} ends in a torn line: {data[-80:]!r}"
        found += [whole(line) for line in data.splitlines()]
    return found


def _turn(path: Path) -> tuple[str, int]:
    stamp, _, turn = path.name.partition(".jsonl")[0].partition("Z")
    return stamp, int(turn.strip("-") or 0)


def whole(line: bytes) -> dict:
    """A line of a stream as strict JSON: no NaN, no lone surrogates, a mapping with its envelope."""
    record = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    assert isinstance(record, dict), line[:200]
    missing = {"ts", "schema", "bot", "run_id"} - set(record)
    assert not missing, (missing, line[:200])
    return record


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def run_json(data_dir: Path) -> dict:
    """How the latest run stands."""
    return json.loads((Path(data_dir) / "state" / "run.json").read_text())
