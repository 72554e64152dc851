"""Real servers with the shipped configuration: only addresses and intervals are others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ROOT / "botobs" / "dashboards" / "files"


def until(condition, seconds=30.0):
    """Wait until it is true, and say what it came to."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


class Process:
    """A program that is ended by its own id, and whose log says where it listens."""

    def __init__(self, *words, **more) -> None:
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        self._log: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         text=True, **more)  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def said(self, pattern, seconds=15.0):
        """What the pattern's group is in the first line it finds."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._search(pattern), seconds)
        assert found, "".join(self._log)
        return found

    def tell(self, word):
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def stop(self):
        self.end()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(5)
        self._process.stdout.close()

    def end(self):
        """Ask it to end."""
        self._process.stdin.close()
        self._process.terminate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _search(self, pattern):
        return next((found[1] for line in self._log if (found := re.search(pattern, line))), None)

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._log.append(line)
                self._changed.notify_all()


class Bot(Process):
    def __init__(self, data_dir, endpoint) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("BOTOBS_", "OTEL_", "SLACK_"))
        }
        env = {**kept, "PYTHONPATH": str(ROOT), "BOTOBS_OTLP_ENDPOINT": endpoint}
        super().__init__(sys.executable, str(Path(__file__).with_name("bot.py")), str(data_dir), env=env)
        self.address = self.said(r"http://(\S+)")

    def end(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # its cue


class Alertmanager(Process):
    """With the shipped routes; Slack is at `webhook`."""

    def __init__(self, folder, webhook) -> None:
        (folder / "webhook").write_text(webhook)
        shipped = (FILES / "alertmanager/alertmanager.yml").read_text()
        (folder / "alertmanager.yml").write_text(shipped.replace("/run/slack_webhook_url", str(folder / "webhook")))
        super().__init__(
            "prometheus-alertmanager", "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=",
            f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alertmanager'}",
        )  # fmt: skip
        self.address = self.said(r"Listening on.*address=(127\.0\.0\.1:\d+)")


class Prometheus(Process):
    """With the shipped configuration and rules, hurried up."""

    def __init__(self, folder, target, alertmanager, *, interval="200ms") -> None:
        shutil.copytree(FILES / "prometheus", folder / "prometheus", dirs_exist_ok=True)
        for path in (folder / "prometheus").rglob("*.yml"):
            text = path.read_text().replace("127.0.0.1:9464", target).replace("127.0.0.1:9093", alertmanager)
            text = re.sub(
                r"(scrape_interval|evaluation_interval|^    interval): \S+",
                rf"\1: {interval}",
                text,
                flags=re.MULTILINE,
            )
            path.write_text(text.replace("global:", f"global:\n  scrape_timeout: {interval}"))
        super().__init__(
            "prometheus", "--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage",
            f"--config.file={folder / 'prometheus/prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        )  # fmt: skip
        self._url = "http://" + self.said(r"Listening on.*address=(127\.0\.0\.1:\d+)")
        self.said(r"(Server is ready)")

    def ask(self, what, **words):
        """What its API answers."""
        body = urllib.parse.urlencode(words).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{what}", body, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{what} {words}: {error.read().decode()}") from None

    def get(self, what):
        with urllib.request.urlopen(f"{self._url}/api/v1/{what}", timeout=10) as answer:
            return json.load(answer)["data"]

    def now(self, expr, at=None):
        """Series with a value at a time."""
        found = self.ask("query", query=expr, **({} if at is None else {"time": at}))
        if found["resultType"] == "scalar":
            return [found["result"]]
        return [each for each in found["result"] if each["value"][1] != "NaN"]

    def over(self, expr, start, end):
        """Series with values in a time."""
        found = self.ask("query_range", query=expr, start=start, end=end, step="0.1")["result"]
        return [each for each in found if any(value != "NaN" for _, value in each["values"])]
