"""What a usual day of a usual bot leaves behind, beside what it would with everything written and sent."""

from __future__ import annotations

import collections
import json
import math
import random
import re
from pathlib import Path

import pytest

import botobs
from botobs.sinks.spans import SpanEncoder
from botobs.testing import Clock

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SYMBOLS = {"BTC-USD": (60_000.0, "0.08"), "ETH-USD": (3_000.0, "1.5")}
MINUTES = 24 * 60
FEATURES = ("momentum", "reversal", "spread_bps", "volatility", "imbalance", "volume_z", "funding_z", "hour_sin")


class Day:
    """A simulated day: two symbols, one-minute bars, a trade every quarter of an hour, health every minute.

    Attributes:
        told: How often the bot said how it is.
        points: How often equity changed.
        ticks: How many turns it made.
        orders: How many orders it sent.
        trace_bytes: What the kept traces take on the wire.
    """

    def __init__(self, folder, **settings):
        self.folder = folder
        self.told = self.points = self.ticks = self.orders = self.trace_bytes = self.spans = 0
        self.chance = random.Random(7)
        self.clock = Clock("2026-03-02T00:00:00Z")
        self.held = dict.fromkeys(SYMBOLS, False)
        self.price = {symbol: price for symbol, (price, _) in SYMBOLS.items()}
        self.status = {"ws_connected": True, "ws_reconnects": 0, "request_errors": 0, "cpu": 0.2, "memory_mb": 310.0}
        self.equity = None
        with botobs.start(
            "trend-bot", mode="backtest", data_dir=folder, clock=self.clock, starting_equity=10_000, equity_floor=8_000,
            rotate_days=30, **settings,
        ) as obs:  # fmt: skip
            self.obs = obs
            obs._own.export = SpanEncoder(obs._own, self.sent)  # as they would be sent; a backtest sends nothing
            obs.watch("ws", after="5m")
            for minute in range(MINUTES):
                self.clock.set(1_772_409_600 + 60.0 * minute)
                self.bar(minute)
            self.traces = obs.report().traces
        assert not obs.faults.errors
        assert not obs.faults.drops

    def sent(self, count, chunk):
        self.spans += count
        self.trace_bytes += len(chunk)

    def took(self, usual_ms):
        """Something takes about so long, and now and then much longer."""
        self.clock.advance(usual_ms / 1000 * math.exp(self.chance.gauss(0, 0.35)))

    def bar(self, minute):
        for symbol in SYMBOLS:
            self.price[symbol] *= math.exp(self.chance.gauss(0, 0.0005))
            self.turn(symbol, minute, round(self.price[symbol], 2))
        self.breathe()

    def turn(self, symbol, minute, price):
        obs, chance = self.obs, self.chance
        with obs.tick(symbol, bar_id=minute, price=price) as tick:
            self.ticks += 1
            self.changed()
            with botobs.feature():
                self.took(0.4)
                x = {name: round(chance.gauss(0, 1), 4) for name in FEATURES}
                botobs.feature_values({f"{symbol}.{name}": seen for name, seen in x.items()})
            with botobs.model("lgbm"):
                self.took(1.5)
                p = round(chance.gauss(0, 6), 3)
            with botobs.decision():
                self.took(0.05)
                trades = chance.random() < 1 / 15
                side = None if not trades else "sell" if self.held[symbol] else "buy"
            with botobs.risk():
                self.took(0.1)
            tick.signal(
                features=x, model={"lgbm": p}, decision={"side": side}, source="lgbm", pred_bps=p, strength=abs(p) / 10,
                confidence=0.6,
            )  # fmt: skip
            if side:
                self.trade(symbol, side, price, p)

    def trade(self, symbol, side, price, p):
        obs, chance = self.obs, self.chance
        qty = SYMBOLS[symbol][1]
        oid = obs.order(
            symbol, side, qty, decision_px=price, strategy="trend", source="lgbm", pred_bps=p,
            reason="signal_flip" if side == "sell" else None,
        )  # fmt: skip
        self.orders += 1
        with botobs.execution(order=oid):
            self.took(40)
        if chance.random() < 1 / 50:
            obs.reject(oid, "503", "the exchange is busy")
            self.status["request_errors"] += 1
            return
        slipped = round(price * (1 + chance.gauss(0.5, 1) * (1e-4 if side == "buy" else -1e-4)), 2)
        fee = round(float(qty) * slipped * 0.0003, 6)
        obs.fill(oid, price=str(slipped), qty=qty, fee=str(fee), role="taker", fill_id=f"x{self.orders}")
        self.held[symbol] = side == "buy"
        self.changed()

    def changed(self):
        equity = self.obs.equity
        self.points += equity != self.equity
        self.equity = equity

    def breathe(self):
        """What the bot says of itself once a minute."""
        chance, status = self.chance, self.status
        if not status["ws_connected"]:
            status["ws_connected"] = True
            status["ws_reconnects"] += 1
        elif chance.random() < 5 / MINUTES:
            status["ws_connected"] = False
        self.obs.heartbeat("ws")
        status["cpu"] = round(min(max(status["cpu"] + chance.gauss(0, 0.02), 0.01), 1), 3)
        status["memory_mb"] += 0.01
        self.obs.health(
            **status, positions=sum(self.held.values()), open_orders=0, model_age_s=60, mode="live", position_open=any(self.held.values()),
            calibration_drift=round(abs(chance.gauss(0, 0.015)), 4), lag_ms=round(chance.expovariate(0.05), 2),
        )  # fmt: skip
        self.told += 1

    # -- what it left ------------------------------------------------------------------------------------------------

    def bytes(self, path):
        return (self.folder / path).stat().st_size

    def lines(self, path):
        return len((self.folder / path).read_bytes().splitlines())

    @property
    def streams(self):
        """Lines and bytes of every stream."""
        files = sorted(
            [
                *self.folder.glob("logs/*.jsonl"),
                *self.folder.glob("logs/*/*/*.jsonl"),
                *self.folder.glob("metrics/*.jsonl"),
            ]
        )
        return {str(path.relative_to(self.folder)): (self.lines(path), self.bytes(path)) for path in files}


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return Day(tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return Day(tmp_path_factory.mktemp("everything"), keep_traces="all", health_every=1)


def table(day, everything):
    """The figures, as docs/performance.md has them."""
    found, whole = day.streams, everything.streams
    health, curve = "logs/health.jsonl", "logs/equity_curve.jsonl"
    point = found[curve][1] / found[curve][0]
    kept = sum(day.traces.values())
    rows = [
        ("health records", found[health], whole[health]),
        ("points of the equity curve", found[curve], (day.points, round(day.points * point))),
        ("traces, as OTLP", (kept, day.trace_bytes), (everything.ticks, everything.trace_bytes)),
        ("spans in them", (day.spans, None), (everything.spans, None)),
    ]
    lines = ["| | written or sent | bytes | everything | bytes |", "|---|--:|--:|--:|--:|"]
    for name, (count, size), (most, full) in rows:
        cells = [f"{each:,}" if each is not None else "" for each in (count, size, most, full)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| stream | records | bytes |", "|---|--:|--:|"]
    lines += [f"| `{name}` | {count:,} | {size:,} |" for name, (count, size) in found.items()]
    return "\n".join(lines)


def test_health_is_written_when_there_is_a_reason_and_hardly_ever_without(day, everything):
    assert day.told == everything.told == MINUTES
    written, size = day.streams["logs/health.jsonl"]
    most, full = everything.streams["logs/health.jsonl"]
    assert most == MINUTES
    assert written <= 0.15 * most
    assert size <= 0.15 * full
    records = [json.loads(line) for line in (day.folder / "logs/health.jsonl").read_text().splitlines()]
    assert sum(1 + record["suppressed"] for record in records) >= MINUTES - 60  # what came after the last one is open
    reasons = collections.Counter(reason.partition(":")[0] for record in records for reason in record["reasons"])
    assert {"heartbeat", "equity", "toggle", "counter"} <= set(reasons)
    assert reasons["heartbeat"] == MINUTES / 60


def test_the_traces_of_orders_are_all_kept_and_few_others(day, everything):
    kept = sum(day.traces.values())
    assert sum(everything.traces.values()) == everything.ticks == 2 * MINUTES
    assert day.traces["order"] == day.orders == everything.orders
    assert kept - day.orders <= 0.03 * day.ticks
    assert day.trace_bytes <= 0.2 * everything.trace_bytes
    assert everything.spans == 2 * MINUTES * 5 + everything.orders


def test_every_bar_has_its_signal_and_every_trade_its_records(day):
    lines = {name: count for name, (count, _) in day.streams.items()}
    assert lines["logs/signals.jsonl"] == 2 * MINUTES
    rejected = lines["logs/rejections.jsonl"]
    assert lines["metrics/fills.jsonl"] == day.orders - rejected
    assert 3 <= day.orders / 2 / 24 <= 6  # round trips an hour
    assert lines["logs/equity_curve.jsonl"] < day.points
    assert sum(size for _, size in day.streams.values()) < 10_000_000


def figures(text):
    return {
        (row.partition("|")[0].strip(), nth): int(cell.replace(",", ""))
        for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
        for nth, cell in enumerate(row.split("|"))
        if re.fullmatch(r"\s*[\d,]+\s*", cell)
    }


def test_the_page_has_these_figures(day, everything, record_property):
    now = table(day, everything)
    record_property("volume", now)
    print(now)
    there = figures(PAGE.read_text().partition("## Volume")[2].partition("\n## ")[0])
    assert set(there) == set(figures(now)), f"docs/performance.md should say\n{now}"
    for name, measured in figures(now).items():
        assert there[name] == pytest.approx(measured, rel=0.1, abs=3), f"docs/performance.md should say\n{now}"
