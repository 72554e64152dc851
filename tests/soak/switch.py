"""Generated days through the kill switch: healthy ones must not halt, bad ones must, whatever the clock and the disk do.

A day is walked through in true time. The bot's clock is wrong at times: set forward or back by up to half a day for
some minutes. It is stopped and killed, values are missing, single ticks are absurd. A plain model knows what is true.
"""

from __future__ import annotations

import datetime as dt
import random
import shutil
import zoneinfo
from decimal import Decimal
from pathlib import Path

from botobs.faults import Faults
from botobs.safety import KillSwitch
from botobs.triggers import (
    ConsecutiveLosses, DailyLoss, Drawdown, EquityBelow, Errors, Rejections, SameBarRoundTrip, Silence, Stale,
)  # fmt: skip

_S, _MINUTE, _DAY = 10**9, 60 * 10**9, 86_400 * 10**9
_START = 1_767_225_600 * _S
_ZONE = "Europe/Berlin"
_FLOOR, _FALL, _LOSS = Decimal(8000), Decimal("0.12"), Decimal(500)
BAD = ("floor", "drawdown", "daily loss", "rejections", "losses", "errors", "same bar", "stale", "silence", "unknown")


class _Clock:
    def __init__(self):
        self.true, self.off = _START, 0

    def time_ns(self):
        return self.true + self.off

    def perf_ns(self):
        return self.true - _START + _S


class _Life:
    """A bot's life: its switch, and the truth beside it."""

    def __init__(self, folder, dice):
        self.folder, self.dice, self.clock = folder, dice, _Clock()
        self.folder.mkdir(parents=True)
        self.equity = self.peak = Decimal(10_000)
        self.moved = Decimal(0)
        self.since = 0
        self.figures = {"restarts": 0, "clock jumps": 0, "missing values": 0, "absurd ticks": 0, "events": 0}
        self.zone = zoneinfo.ZoneInfo(_ZONE)
        self.switch = None
        self.start()
        self.begun = self.equity
        self.see()

    def start(self):
        self.switch = KillSwitch(
            folder=self.folder, clock=self.clock, faults=Faults(strict=True), publish=self.count, timezone=_ZONE,
            has_fills=True if self.switch is not None else False, threaded=False,
            triggers=[
                EquityBelow(_FLOOR, confirm=2, on_unknown="warn"), Drawdown(_FALL, confirm=2), DailyLoss(_LOSS, confirm=2),
                Drawdown(Decimal("0.9"), confirm=4, on_unknown="halt"), Rejections(10, within="10m"), Errors(20, within="1m"),
                ConsecutiveLosses(5), SameBarRoundTrip(confirm=2), Stale("ws", after="30s", confirm=3), Silence("5m", confirm=2),
            ],
        )  # fmt: skip
        self.switch.begin()

    def count(self, _event):
        self.figures["events"] += 1

    def restart(self):
        self.figures["restarts"] += 1
        if self.dice.random() < 0.3:
            self.switch.close(0.0)  # else it was killed
        else:
            self.switch._latch.close(), self.switch._limits._memory.close()
        self.start()

    def today(self):
        return dt.datetime.fromtimestamp(self.clock.true // _S, self.zone).date()

    def later(self, ns):
        """Time passes; a day begins with the equity that the last one ended with."""
        before = self.today()
        self.clock.true += ns
        if self.today() != before:
            self.begun = self.equity

    def see(self, value=None):
        """The switch is told the equity, often enough to confirm it."""
        for _ in range(2):
            self.peak = max(self.peak, self.equity)
            self.switch.equity(self.equity if value is None else value, self.peak, None, self.moved)
            self.switch.now()

    def noise(self):
        """What happens to every bot: none of it may halt, and none may hide what does."""
        dice, switch = self.dice, self.switch
        what = dice.randrange(8)
        if what == 0:
            self.figures["missing values"] += 1
            for _ in range(dice.randrange(1, 4)):
                switch.equity(
                    dice.choice((None, float("nan"), Decimal("NaN"), "n/a")), self.peak, "missing", self.moved
                )
        elif what == 1:
            self.figures["absurd ticks"] += 1  # one, and the next is right: nothing confirms it
            switch.equity(Decimal(1), self.peak, None, self.moved)
        elif what == 2:
            switch.feeds({"ws": dice.choice((0.1, 12.0, 29.0))})
            switch.silence(dice.uniform(0, 290))
        elif what == 3:
            switch.rejected("BTC", "post_only")
        elif what == 4:
            switch.closed(Decimal(1))
            switch.fill("BTC", str(self.clock.true), opened="open")
        elif what == 5:
            amount = Decimal(dice.randrange(-300, 300))
            if self.equity + amount > _FLOOR + 800:
                self.moved += amount
                self.equity += amount
                self.peak += amount
                self.begun += amount
        elif what == 6:
            switch.failed(ValueError("now and then"))
        if what in (0, 1):
            self.see()

    def day(self, bad=None):
        """A day to its end, good or bad; whether it ended halted."""
        dice, clock = self.dice, self.clock
        day = self.today()
        until = self.clock.true + 16 * 60 * _MINUTE  # something is bad in the middle of the day, and it lasts
        done = False
        while self.today() == day:
            self.later(dice.randrange(2 * _MINUTE, 40 * _MINUTE))
            self.walk()
            if dice.random() < 0.10:
                self.figures["clock jumps"] += 1
                clock.off = dice.randrange(-12 * 60, 12 * 60) * _MINUTE
                self.see()
                self.noise()
                self.later(dice.randrange(1, 8) * _MINUTE)
                self.see()
                clock.off = 0
            elif dice.random() < 0.06:
                self.restart()
            self.see()
            if dice.random() < 0.5:
                self.noise()
            if bad is not None and not done and clock.true > until - 4 * 60 * _MINUTE:
                done = True
                self.spoil(bad)
            if self.switch.state != "active":
                return True
        return False

    def walk(self):
        """Equity moves, and stays clear of every limit: by up to nine tenths of the way there."""
        step = Decimal(self.dice.randrange(-90, 95))
        there = self.equity + step
        clear = max(
            self.begun - _LOSS * 9 / 10,
            self.peak * (1 - _FALL * 9 / 10),
            _FLOOR + (self.peak - _FLOOR) / 10,
        )
        self.equity = there if there > clear else max(self.equity, clear + 1).quantize(Decimal(1)) + 1

    def spoil(self, bad):
        """Something is bad now, half of the time with a kill in the middle of it."""
        dice = self.dice
        kill = dice.random() < 0.5

        def again(times, act):
            at = dice.randrange(times) if kill else -1
            for turn in range(times):
                if turn == at:
                    self.restart()
                act()
                self.clock.true += dice.randrange(1, _S)

        if bad == "floor":
            self.equity = min(_FLOOR - 1, self.equity)
        elif bad == "drawdown":
            self.equity = self.peak * (1 - _FALL) - 1
        elif bad == "daily loss":
            self.equity = self.begun - _LOSS
        if bad in ("floor", "drawdown", "daily loss"):
            again(2, self.see)
        elif bad == "rejections":
            again(10, lambda: self.switch.rejected("BTC", "margin"))
        elif bad == "losses":
            again(5, lambda: self.switch.closed(Decimal(-1)))
        elif bad == "errors":
            again(20, lambda: self.switch.failed(RuntimeError("x")))
        elif bad == "same bar":
            for bar in ("a", "b"):
                self.switch.fill("ETH", bar, opened=bar)
                if kill:
                    self.restart()
                self.switch.fill("ETH", bar, closed=[bar])
        elif bad == "stale":
            for age in (31, 32, 33):
                self.switch.feeds({"ws": age})
        elif bad == "silence":
            for age in (301, 302):
                self.switch.silence(age)
        elif bad == "unknown":
            again(4, lambda: self.switch.equity(None, self.peak, "no feed", self.moved))


def days(folder: Path, rounds: int, seed: int) -> dict:
    """As many healthy days as `rounds`, and as many bad ones, in lives of one to sixty days."""
    dice = random.Random(seed)
    total = {"healthy days": 0, "false halts": 0, "bad days": 0, "missed halts": 0}
    figures: dict[str, int] = {}
    number = 0
    while total["bad days"] < rounds or total["healthy days"] < rounds:
        number += 1
        life = _Life(folder / str(number), dice)
        for _ in range(dice.randrange(3) if number % 10 else 60):
            if total["healthy days"] >= rounds:
                break
            assert not life.day(), f"life {number} of seed {seed}: a healthy day: {life.switch.reason}"
            total["healthy days"] += 1
        if total["bad days"] < rounds:
            bad = BAD[number % len(BAD)]
            assert life.day(bad), f"life {number} of seed {seed}: a bad day, and no halt: {bad}"
            total["bad days"] += 1
            reason = life.switch.reason
            life.restart()
            assert life.switch.state == "halted"
            assert life.switch.reason == reason
        life.switch.close(0.0)
        for name, count in life.figures.items():
            figures[name] = figures.get(name, 0) + count
        shutil.rmtree(life.folder)
    return {**total, **figures}
