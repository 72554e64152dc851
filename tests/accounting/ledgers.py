"""Ledgers for tests: small, with an owned clock and a disk that obeys."""

from __future__ import annotations

import errno
import os
import threading
import time

from botobs.accounting.ledger import Ledger
from botobs.clock import rfc3339
from botobs.faults import Faults
from botobs.testing import Clock
from botobs.testing.injector import FaultyDisk

START_NS = 1_767_323_045 * 10**9


class Disk(FaultyDisk):
    """A disk that can also fail to sync, tear lines, refuse to be cut, and hold a sync until it is let go."""

    def __init__(self):
        super().__init__()
        self.syncs = 0
        self.sync_fails = 0
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.in_sync = threading.Event()
        self.cut_fails = False
        self.most = None  # bytes per call

    def write(self, fd, data):
        return super().write(fd, data if self.most is None else bytes(data)[: self.most])

    def truncate(self, fd, size):
        if self.cut_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(fd, size)

    def sync(self, fd):
        self.in_sync.set()
        assert self.may_sync.wait(20)
        self.syncs += 1
        if self.sync_fails:
            self.sync_fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class Bench:
    """Opens ledgers in one data directory."""

    def __init__(self, root):
        self.root = root
        self.clock = Clock()
        self.disk = Disk()
        self.faults = Faults()
        self.told = []
        self.live = root / "metrics" / "fills.jsonl"
        self.folder = root / "metrics" / "archive"
        self.head = root / "state" / "ledger.head"
        self.opened = []

    def open(self, **settings):
        settings = {"rotate_bytes": 1 << 30, "rotate_ns": 10**18, **settings}
        ledger = Ledger(
            self.root,
            clock=self.clock,
            disk=self.disk,
            faults=self.faults,
            on_trouble=lambda kind, message: self.told.append((kind, message)),
            **settings,
        )
        self.opened.append(ledger)
        return ledger

    @property
    def kinds(self):
        return [kind for kind, _ in self.told]

    @property
    def archives(self):
        return sorted(self.folder.glob("fills-*.jsonl"))

    def look(self):
        return Ledger(self.root, read_only=True)

    def close(self):
        self.disk.__init__()
        for ledger in self.opened:
            ledger.close(soon())


def soon():
    return time.monotonic() + 20


def moment(second):
    return rfc3339(START_NS + round(second * 10**9))


def fill(n, **more):
    return {"type": "fill", "ts": moment(n), "received": moment(n), "symbol": "BTCUSDT", "n": n, **more}


def add(ledger, *numbers, settle=True, **more):
    """Add fills; their tickets."""
    tickets = []
    for n in numbers:
        with ledger.lock:
            tickets.append(ledger.add(fill(n, **more)))
    if settle:
        for ticket in tickets:
            ledger.settle(ticket)
    return tickets


def numbers(ledger, *args):
    import orjson

    return [orjson.loads(line)["n"] for _, line in ledger.lines(*args)]
