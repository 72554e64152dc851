"""What the tests of alerts share."""

from __future__ import annotations

import random
import threading
import time

from botobs.alerts import Alerts
from botobs.faults import Faults
from botobs.testing import Clock

WAIT_S = 10.0


class Lines(list):
    """The lines of `alerts.jsonl`, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, line) -> None:
        with self._changed:
            self.append(line)
            self._changed.notify_all()

    def fates(self, title=None):
        return [line["fate"] for line in list(self) if title is None or line["title"] == title]

    def wait(self, fate, count=1, title=None):
        with self._changed:
            found = self._changed.wait_for(lambda: self.fates(title).count(fate) >= count, WAIT_S)
        assert found, f"no {count} × {fate}: {list(self)}"
        return [line for line in list(self) if line["fate"] == fate and title in (None, line["title"])]


class Fan:
    """Subscriptions as the bus has them."""

    def __init__(self) -> None:
        self.subscribed = []

    def subscribe(self, event_type, fn):
        self.subscribed.append((event_type, fn))

    def publish(self, event):
        for event_type, fn in self.subscribed:
            if isinstance(event, event_type):
                fn(event)


class Parlour:
    """Alerts with all that belongs to them; without threads unless it says so."""

    def __init__(self, threaded=False, clock=None, **more) -> None:
        self.clock = clock or Clock()
        self.lines = Lines()
        self.faults = more.pop("faults", None) or Faults()
        self.fan = Fan()
        self.alerts = Alerts(
            write=self.lines, faults=self.faults, clock=self.clock, subscribe=self.fan.subscribe, bot="mybot",
            run_id=more.pop("run_id", "run1"), threaded=threaded, chance=random.Random(7), **more,
        )  # fmt: skip
        self.got = []

    def listen(self):
        self.alerts.to(self.got.append)
        return self

    def later(self, by) -> None:
        self.clock.advance(by)
        self.alerts.poll()

    def flush(self, timeout_s=WAIT_S) -> bool:
        return self.alerts.flush(time.monotonic() + timeout_s)

    def close(self, timeout_s=WAIT_S) -> bool:
        return self.alerts.close(time.monotonic() + timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.alerts.close(time.monotonic() + 0.1)

    @property
    def titles(self):
        return [alert.title for alert in self.got]


def until(condition, timeout_s=WAIT_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.005)
