"""Switches for tests: with a folder, a clock and a list of what they published."""

from __future__ import annotations

from decimal import Decimal as D

from botobs.clock import rfc3339
from botobs.events import to_record
from botobs.faults import Faults
from botobs.safety import KillSwitch
from botobs.streams.encode import dumps
from botobs.testing import Clock

__all__ = ["D", "Room"]


class Room:
    """One data directory, and the switches that live in it one after the other."""

    def __init__(self, folder, clock=None, *, strict=False):
        self.folder = folder / "state"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = clock or Clock()
        self.events = []
        self.faults = Faults(strict=strict)
        self.open = []
        self.orders = {}

    def switch(self, *triggers, begin=True, **more):
        more = {"folder": self.folder, "triggers": triggers, "threaded": True, **more}
        switch = KillSwitch(
            clock=self.clock,
            faults=self.faults,
            publish=self.published,
            order_of=self.orders.get,
            reducing=lambda oid: self.orders[oid].get("reduces"),
            **more,
        )
        switch._watch = None  # tests look when they want
        if begin:
            switch.begin()
        self.open.append(switch)
        return switch

    def published(self, event):
        dumps(to_record(event))
        rfc3339(event.ts_ns)
        self.events.append(event)

    def kinds(self):
        return [event.kind for event in self.events]

    def last(self, kind):
        return [event for event in self.events if event.kind == kind][-1]

    def said(self, kind):
        return [event for event in self.events if event.kind == kind]

    def close(self):
        for switch in self.open:
            switch.close(0.0)
