"""What the demo says, as plain lines: fit for a narrow terminal, a pipe and a log."""

from __future__ import annotations

import json
import shlex
import signal
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.accounting.totals import plain
from botobs.demo import sums
from botobs.demo.exchange import BARS_PER_SECOND, SYMBOLS
from botobs.demo.statement import TRADES

if TYPE_CHECKING:
    from botobs.demo.readings import Reading
    from botobs.demo.session import Outcome, Scene

__all__ = ["HEAD", "board", "closing", "facts", "opening", "row"]

#: Over the lines of `row`.
HEAD: Final = "time  bars orders fills trades   equity     PnL  slip p99 ms"

_ABOUT: Final = {
    "calibration": "predictions, and what came",
    "costs": "fees, slippage and funding",
    "counterfactual": "what else would have made",
    "decisions": "what was known at each order",
    "edge": "prices after decisions",
    "equity_curve": "equity as it went, to plot",
    "execution": "orders sent, filled, withdrawn",
    "order_book": "order books, at each decision too",
    "price_events": "bars, levels, spikes, gaps",
    "regime_transition": "changes of a market's regime",
    "rejections": "what was refused; the market then",
    "runs": "when botobs started and ended",
    "signals": "what the bot saw and chose; latency",
    "trade_lifecycle": "each round trip, entry to exit",
}

_SIGNALS: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


def opening(scene: Scene) -> list[str]:
    """Before the bot starts."""
    plan = scene.plan
    rate = BARS_PER_SECOND * len(SYMBOLS)
    lines = [
        "botobs demo: a bot on a simulated exchange",
        f"  trades    {' and '.join(SYMBOLS)}, {rate} bars a second",
        f"  runs      {plan.seconds:g} s with seed {plan.seed}; Ctrl-C ends it sooner",
        f"  records   {scene.data_dir}",
    ]
    if scene.url is not None:
        lines.append(f"  metrics   {scene.url}/metrics")
    return lines + [f"  note      {note}" for note in scene.notes]


def row(reading: Reading) -> str:
    """How it stands, in a line of 60 columns."""
    standing, tick = reading.standing, reading.latency.get("whole tick")
    slip = standing.slippage_bps
    return (
        f"{reading.ran_s:3.0f}s {reading.bars:5} {standing.orders:6} {standing.fills:5} {standing.trades.trades:6} "
        f"{sums.cents(standing.totals.equity):>8} {sums.cents(standing.totals.total_pnl):>7} "
        f"{'-' if slip is None else f'{slip:.2f}':>5} {'-' if tick is None else _ms(tick.p99):>6}"
    )


def board(scene: Scene, reading: Reading) -> list[str]:
    """How it stands, to be drawn over the last one."""
    return [
        f"{reading.ran_s:.0f} s of {scene.plan.seconds:g} s: {_counts(reading)}",
        "",
        *_money(reading),
        *_latency(reading),
        "",
        f"{reading.written} records on disk, {_lost(reading)} lost; {_kept(reading)}",
    ]


def closing(outcome: Outcome) -> list[str]:
    """At the end: what happened, where it stands, where to look next."""
    reading, scene = outcome.reading, outcome.scene
    how = "" if outcome.stopped_by is None else f", ended early by {_SIGNALS[outcome.stopped_by]}"
    lines = [
        f"{reading.ran_s:.1f} s{how}: {_counts(reading)}",
        "",
        *_money(reading),
        *sums.compared(outcome.agreement),
        *([] if outcome.trouble is None else [f"  {outcome.trouble}"]),
        "",
        *_latency(reading),
        "",
        f"Written by this run: {sum(outcome.records.values())} records, {outcome.lost} lost",
    ]
    width = max((len(stream) for stream in outcome.records), default=0)
    for stream, count in outcome.records.items():
        lines.append(f"  {count:6}  {stream:{width}}  {_ABOUT.get(stream, '')}".rstrip())
    lines += [
        f"  in {scene.data_dir}/logs/<stream>.jsonl",
        f"  the ledger: {scene.data_dir}/metrics/fills.jsonl",
        "",
    ]
    sent = outcome.report.spans
    lines.append(f"Worth keeping: {_kept(reading)}")
    if scene.sends:
        waiting = f", {sent.pending} not taken by the collector in time" if sent.pending else ""
        lines.append(f"  {sent.delivered} spans sent{waiting}, {sent.dropped} dropped")
        if outcome.collector is not None:
            lines.append(f"  the collector: {outcome.collector}")
    else:
        lines.append("  not sent: no collector is set (see Next)")
    for where, count in reading.internal_errors.items():
        lines.append(f"  {count} errors inside botobs, at {where}")
    return [*lines, "", *_look(outcome), "", *_next(outcome)]


def facts(outcome: Outcome) -> dict[str, Any]:
    """The same for programs."""
    reading, scene, standing = outcome.reading, outcome.scene, outcome.reading.standing
    spans = outcome.report.spans
    return {
        "seconds": scene.plan.seconds,
        "ran_s": round(reading.ran_s, 3),
        "stopped_by": None if outcome.stopped_by is None else outcome.stopped_by.name,
        "seed": scene.plan.seed,
        "run_id": scene.run_id,
        "symbols": list(SYMBOLS),
        "bars": reading.bars,
        "orders": standing.orders,
        "fills": standing.fills,
        "rejections": standing.rejections,
        "totals": standing.totals.to_dict(),
        "positions": plain([attrs.asdict(each) for each in standing.positions]),
        "trades": standing.trades.to_dict(),
        "strategies": {name: each.to_dict() for name, each in standing.strategies.items()},
        "slippage": plain([attrs.asdict(each) for each in standing.slippage]),
        "statement": {**outcome.agreement.plain(), "trouble": outcome.trouble},
        "records": outcome.records,
        "records_lost": outcome.lost,
        "dropped": dict(reading.dropped),
        "internal_errors": dict(reading.internal_errors),
        "traces_kept": dict(reading.traces_kept),
        "spans": {"sent": spans.delivered, "pending": spans.pending, "dropped": spans.dropped},
        "collector": outcome.collector,
        "latency_ms": {
            name.replace(" ", "_"): {"n": each.n, "p50": each.p50, "p99": each.p99, "max": each.max}
            for name, each in reading.latency.items()
        },
        "data_dir": str(scene.data_dir),
        "url": scene.url,
        "notes": list(scene.notes),
    }


def _counts(reading: Reading) -> str:
    standing = reading.standing
    return f"{reading.bars} bars, {standing.orders} orders, {standing.fills} fills, {standing.rejections} refusals"


def _money(reading: Reading) -> list[str]:
    standing = reading.standing
    parts = [sums.account(standing), sums.trades(standing), sums.slippage(standing)]
    return [line for part in parts if part for line in (*part, "")]


def _latency(reading: Reading) -> list[str]:
    lines = [f"{'Latency in ms':15} {'ticks':>6} {'p50':>9} {'p99':>9} {'max':>9}"]
    lines += [
        f"  {name:13} {each.n:6} {_ms(each.p50):>9} {_ms(each.p99):>9} {_ms(each.max):>9}"
        for name, each in reading.latency.items()
    ]
    return lines if reading.latency else [*lines, "  (the first records reach the disk within a second or two)"]


def _kept(reading: Reading) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(reading.traces_kept.items()))
    return f"{sum(reading.traces_kept.values())} traces" + (f" ({reasons})" if reasons else "")


def _lost(reading: Reading) -> int:
    return sum(count for stream, count in reading.dropped.items() if stream not in {"spans", "traces"})


def _look(outcome: Outcome) -> list[str]:
    logs = outcome.scene.data_dir / "logs"
    signals = str(logs / "signals.jsonl")
    lines = ["Look at it"]
    if "signals" in outcome.records:
        slowest = "max_by(.latency.total_latency_ms) | {ts, symbol, bar_id, latency}"
        quantiles = (
            f"import pandas as pd; d = pd.read_json({json.dumps(signals)}, lines=True); "
            'print(pd.json_normalize(d.latency).describe(percentiles=[.5, .99]).T[["50%", "99%", "max"]])'
        )
        lines += [
            "  # the slowest tick, stage by stage",
            f"  jq -s {shlex.quote(slowest)} {shlex.quote(signals)}",
            "  # latency in pandas, where it is installed",
            f"  python -c {shlex.quote(quantiles)}",
        ]
    if "trade_lifecycle" in outcome.records:
        best = "max_by(.net_pnl_usd | tonumber) | {symbol, strategy_id, entry_px, exit_px, exit_reason, net_pnl_usd}"
        lines += [
            "  # the best trade of all",
            f"  jq -s {shlex.quote(best)} {shlex.quote(str(logs / 'trade_lifecycle.jsonl'))}",
            "  # the last one, from what was predicted to what was earned",
            f"  botobs explain last --data-dir {shlex.quote(str(outcome.scene.data_dir))}",
        ]
    if outcome.reading.standing.totals.fills:
        ledger = outcome.scene.data_dir / "metrics" / "fills.jsonl"
        lines += [
            "  # the ledger: fills and funding, and what was held after each",
            f"  jq -c '[.ts, .type, .symbol, .side, .size, .price, .inventory]' {shlex.quote(str(ledger))}",
        ]
    return lines


def _next(outcome: Outcome) -> list[str]:
    place = outcome.scene.data_dir
    where = f"--data-dir {shlex.quote(str(place))}"
    lines = [
        "Next",
        "  # the same numbers from the files: all time, the last hours",
        f"  botobs dump {where}",
        f"  botobs window --last 6h {where}",
        "  # is every line of the ledger there, unchanged and in order?",
        f"  botobs verify {where}",
        "  # fill by fill beside the exchange's statement",
        f"  botobs compare {shlex.quote(str(place / 'exchange' / TRADES))} {where}",
    ]
    url, port = outcome.scene.url, outcome.scene.plan.port
    if url is not None and url.endswith(f":{port}"):  # another port will be another one next time
        lines += [
            "  # while a demo runs, in another terminal",
            f"  curl -s {url}/metrics | grep bot_stage_duration",
        ]
    if not outcome.scene.sends:
        lines += [
            "  # send the kept traces to a collector",
            "  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 botobs demo",
        ]
    return [*lines, "  # your own bot: README.md, and the files in examples/"]


def _ms(value: float) -> str:
    """Milliseconds with about three digits, in at most six characters below 1,000 s."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
