"""What a scrape of a large bot takes, and what it costs to measure a trade and a tick; beside prometheus_client."""

from __future__ import annotations

import contextlib
import tempfile
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.parser import text_string_to_metric_families

import botobs
from botobs.events import TradeClosed
from botobs.sinks.metrics.catalogue.row import BPS, CONFIDENCE
from botobs.stages.cells import BOUNDS_NS

from .figures import Result, median

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SYMBOLS = 50
_STAGES = ("feature", "model", "decision", "risk", "execution")
_OPEN = "application/openmetrics-text;version=1.0.0"
_BATCH = 500


def run(*, quick: bool) -> Result:
    """Both pages of one bot in turn with prometheus_client's of the same series; then batches of events in turn."""
    result = Result("scrape", f"a page of {_SYMBOLS} symbols and all metrics; a trade and a tick measured")
    rounds = 15 if quick else 60
    with _bot() as obs:
        _page(result, obs, rounds)
        _trade(result, obs, rounds)
        _tick(result, obs, rounds)
    return result


@contextlib.contextmanager
def _bot() -> Iterator[botobs.Observer]:
    """A bot that has done everything with every symbol."""
    with (
        tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory,
        # nobody scrapes the port: `render` is called, so that no socket is part of what is measured
        botobs.start("bench", data_dir=directory, starting_equity=1_000_000, prometheus_port=0, durability="os") as obs,
    ):
        for n in range(_SYMBOLS):
            _live(obs, f"SYM{n}-USD", n)
        obs.flush()
        yield obs


def _live(obs: botobs.Observer, symbol: str, n: int) -> None:
    for side, px in (("buy", 100), ("sell", 101 - n % 3), ("buy", 100)):
        with obs.tick(symbol, bar_id=n, price=px) as tick:
            for stage in _STAGES[:-1]:
                with getattr(obs, stage)():
                    pass
            tick.signal(source="momentum", strength=0.5, confidence=0.6)
            order = obs.order(symbol, side, 1, decision_px=px, strategy=f"s{n % 5}", source="momentum", pred_bps=3.0)
            with obs.execution(order=order):
                obs.sent(order)
        obs.fill(order, symbol=symbol, side=side, qty=1, price=px * 1.0002, fee="0.01")
    obs.reject(obs.order(symbol, "buy", 1, decision_px=100), "INSUFFICIENT_FUND", "not enough")
    obs.heartbeat(symbol)
    obs.funding_rate(symbol, 0.0001)
    obs.feature_value(f"rsi-{symbol}", 50.0)


def _page(result: Result, obs: botobs.Observer, rounds: int) -> None:
    render = obs._metrics.render
    text = render()[0].decode()
    registry, series = _same(text)
    ways = {
        "page": render, "prometheus_client": lambda: generate_latest(registry),
        "OpenMetrics": lambda: render(_OPEN), "prometheus_client, OpenMetrics": lambda: generate_open(registry),
    }  # fmt: skip
    found = _in_turn(ways, rounds)
    for ours, theirs in (("page", "prometheus_client"), ("OpenMetrics", "prometheus_client, OpenMetrics")):
        took, took_by = found[ours], found[theirs]
        result.add(f"{ours}: processor time", took[0] * 1e3, " ms", note=f"{series:,} lines")
        result.add(f"{ours}: until it is there", took[1] * 1e3, " ms", note="it rests on its way, for the bot")
        result.add(theirs, took_by[0] * 1e3, " ms")
        result.add(f"{ours} / {theirs}", took[0] / took_by[0], " x", limit=1.5)
        result.add(f"{ours} / {theirs}, with rests", took[1] / took_by[1], " x")


def _same(text: str) -> tuple[CollectorRegistry, int]:
    """prometheus_client's own metrics with the same names, labels and buckets."""
    registry, lines = CollectorRegistry(), 0
    for family in text_string_to_metric_families(text):
        lines += len(family.samples)
        sets: dict[tuple, list] = {}
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            sets.setdefault(tuple(labels.items()), []).append(sample)
        names = [key for key, _ in next(iter(sets))]
        more: dict = {}
        make = {"counter": Counter, "histogram": Histogram}.get(family.type, Gauge)
        if make is Histogram:
            first = next(iter(sets.values()))
            more["buckets"] = [float(sample.labels["le"]) for sample in first if "le" in sample.labels]
        metric = make(family.name, family.documentation, names, registry=registry, **more)
        for key, samples in sets.items():
            one = metric.labels(*(value for _, value in key)) if names else metric
            if make is Histogram:
                one.observe(more["buckets"][len(more["buckets"]) // 2])
            elif make is Counter:
                one.inc(samples[0].value)
            else:
                one.set(samples[0].value)
    return registry, lines


def _in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """The least processor and wall time of each, in seconds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            cpu, wall = time.thread_time(), time.perf_counter()
            way()
            found[name].append((time.thread_time() - cpu, time.perf_counter() - wall))
    return {name: (min(cpu for cpu, _ in took), median([wall for _, wall in took])) for name, took in found.items()}


def _trade(result: Result, obs: botobs.Observer, rounds: int) -> None:
    board = obs._metrics.board
    record = {
        "net_pnl_bps": 12.5, "prediction_error_bps": -3.0, "entry_signal_source": "momentum", "side": "long",
        "strategy_id": "s1",
    }  # fmt: skip
    event = TradeClosed(ts_ns=1, symbol="SYM1-USD", trade_id="t1", trace_id="ab" * 16, record=record)
    registry = CollectorRegistry()
    trades = Counter("trades", "T", ["symbol", "source", "side"], registry=registry)
    pnl = Histogram("pnl", "P", ["symbol", "source"], buckets=BPS, registry=registry)
    error = Histogram("error", "E", ["symbol"], buckets=BPS, registry=registry)
    strategies = Counter("strategies", "S", ["strategy"], registry=registry)

    def by_hand() -> None:
        trades.labels("SYM1-USD", "momentum", "long").inc()
        pnl.labels("SYM1-USD", "momentum").observe(12.5, {"trace_id": "ab" * 16})
        error.labels("SYM1-USD").observe(-3.0, {"trace_id": "ab" * 16})
        strategies.labels("s1").inc()

    def measured() -> None:
        board.take(event)
        board.measure(1_000_000)

    found = _batches({"take": lambda: board.take(event), "all": measured, "by hand": by_hand}, rounds, board.settle)
    result.add("a closed trade: on the bot's thread", found["take"], " µs", note="left for the background")
    result.add("a closed trade: measured", found["all"], " µs", note="two counters, two histograms with exemplars")
    result.add("the same by hand with prometheus_client", found["by hand"], " µs", note="on the bot's thread")


def _tick(result: Result, obs: botobs.Observer, rounds: int) -> None:
    signals, cells = obs._metrics.signals, [obs._cells.of("SYM1-USD", b'"SYM1-USD"')[name] for name in _STAGES]
    registry = CollectorRegistry()
    strength = Gauge("strength", "S", ["symbol", "source"], registry=registry)
    confidence = Histogram("confidence", "C", ["symbol"], buckets=CONFIDENCE, registry=registry)
    stages = Histogram(
        "stages", "S", ["stage", "symbol"], buckets=[bound / 1e9 for bound in BOUNDS_NS], registry=registry
    )

    def signal() -> None:
        signals.strength("SYM1-USD", "momentum", 0.5)
        signals.confidence("SYM1-USD", 0.6)

    def measured() -> None:
        for cell in cells:
            cell.counts[bisect_left(BOUNDS_NS, 21_000)] += 1
            cell.total_ns += 21_000
        signal()

    def by_hand() -> None:
        for stage in _STAGES:
            stages.labels(stage, "SYM1-USD").observe(0.000021)
        strength.labels("SYM1-USD", "momentum").set(0.5)
        confidence.labels("SYM1-USD").observe(0.6)

    found = _batches({"signal": signal, "all": measured, "by hand": by_hand}, rounds, lambda: None)
    result.add("a signal: strength and confidence", found["signal"], " µs", note="beyond the tick and its record")
    result.add("a tick: five stages and a signal", found["all"], " µs", note="what their metrics cost")
    result.add("the same by hand with prometheus_client ", found["by hand"], " µs")


def _batches(ways: dict[str, Callable[[], object]], rounds: int, between: Callable[[], object]) -> dict[str, float]:
    """The least time of one call of each, in µs, over batches in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            for _ in range(_BATCH):
                way()
            found[name].append((time.perf_counter() - begun) / _BATCH * 1e6)
            between()
    return {name: min(took) for name, took in found.items()}
