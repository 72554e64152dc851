"""What insight takes: the same loop with nothing to learn from, and with everything."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING

from tests.servers.otlp import ReceiverProcess

from .child import ready, run_apart
from .figures import Result, median, table
from .workload import SYMBOL, signals

if TYPE_CHECKING:
    from pathlib import Path

_PACE = 1_000
_TOGETHER = 200
_WARM_UP = 1_000
_LIMIT = 1.5
_BAR_EVERY = 200  # turns: at this pace five bars a second, where a bot has one a minute
_TRADE_EVERY = 500
_LEVELS = 20


def run(*, quick: bool) -> Result:
    """Both in turn, each in a process of its own, against a receiver in another one."""
    turns, rounds = (5_000, 1) if quick else (15_000, 5)
    result = Result(
        "insight",
        f"processor time per turn: 5 stages, a 20-field record, a trade every {_TRADE_EVERY} turns; "
        f"{rounds} x {turns:,} at {_PACE:,}/s",
    )
    variants = ["spine", "insight"]
    found: dict[str, list[dict]] = {variant: [] for variant in variants}
    for n in range(rounds):
        for variant in variants[:: 1 if n % 2 else -1]:
            with ReceiverProcess(max_seconds=200) as receiver:
                found[variant].append(
                    run_apart("insight", variant, most_s=180, endpoint=receiver.endpoint, turns=turns)
                )
    for variant in variants:
        said = ", ".join(f"{each['cpu_us']:.1f}" for each in found[variant])
        result.add(f"{variant}, per turn", median(each["cpu_us"] for each in found[variant]), " µs", note=said)
    parts = [ours["cpu_us"] / alone["cpu_us"] for ours, alone in zip(found["insight"], found["spine"], strict=True)]
    result.add("all of insight / the spine alone", median(parts), "x", limit=_LIMIT)
    streams = found["insight"][-1]["streams"]
    rows = [[stream, f"{count:,}"] for stream, count in sorted(streams.items())]
    result.text = table(["stream, with insight", "records"], rows)
    if not quick:  # before 30 bars there is no regime
        whole = all(streams.get(stream) for stream in _STREAMS) and found["insight"][-1]["markouts"] > 0
        result.add("streams of insight that have records", 100.0 * whole, " %", limit=100, at_least=True)
    dropped = sum(each["lost"] for answers in found.values() for each in answers)
    result.add("records lost, errors", dropped, limit=0)
    return result


_STREAMS = (
    "calibration", "counterfactual", "decisions", "explanations", "order_book", "price_events", "regime_transition",
)  # fmt: skip


def measure(variant: str, *, directory: Path, endpoint: str, turns: int) -> dict:
    import botobs

    obs = botobs.start(
        "bench", data_dir=directory, otlp_endpoint=endpoint, prometheus_port=0, starting_equity=100_000,
        durability="os",
    )  # fmt: skip
    turn = _turn(botobs, obs, everything=variant == "insight")
    for i in range(_WARM_UP):
        turn(i)
    obs.flush(30)
    ready(obs.endpoint.port)
    begun, cpu = time.perf_counter(), time.process_time()
    for first in range(_WARM_UP, turns, _TOGETHER):
        wait = begun + (first - _WARM_UP) / _PACE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        for i in range(first, first + _TOGETHER):
            turn(i)
    obs.flush(60)
    spent = time.process_time() - cpu
    lost = sum(obs.faults.drops.values()) + sum(obs.faults.errors.values())
    streams, markouts = {}, sum(point.n for point in obs.edge.markouts(SYMBOL).points) if variant == "insight" else 0
    obs.shutdown(10)
    for path in (directory / "logs").glob("*.jsonl"):
        streams[path.stem] = path.read_bytes().count(b"\n")
    return {"cpu_us": spent / (turns - _WARM_UP) * 1e6, "lost": lost, "streams": streams, "markouts": markouts}


def _turn(botobs, obs, *, everything: bool):
    tick, feature, decision, risk, execution = (
        botobs.tick, botobs.feature, botobs.decision, botobs.risk, botobs.execution,
    )  # fmt: skip
    rng = random.Random(7)
    said = [{key: value for key, value in each.items() if key != "pred_bps"} for each in signals()]
    prices = _prices(rng)
    weights = [rng.gauss(0, 0.01) for _ in range(10)]
    rows = [list(each["features"].values()) for each in said]

    def predict(row):
        return sum(weight * value for weight, value in zip(weights, row, strict=True))

    def contributions(row):
        return [weight * value for weight, value in zip(weights, row, strict=True)]

    if everything:
        predict = botobs.explain_model(predict, name="lgbm", explainer=contributions)
    else:
        predict = botobs.model("lgbm")(predict)
    sides = itertools.cycle(("buy", "sell"))
    seen: list[float] = []

    def turn(i):
        price = next(prices)
        with tick(SYMBOL, bar_id=i, bid=price - 0.5, ask=price + 0.5) as this:
            with feature():
                pass
            pred = predict(rows[i % len(rows)])
            with decision():
                pass
            with risk():
                pass
            levels = _book(price)  # a bot has it anyway
            if everything:
                obs.book(SYMBOL, *levels)
                this.signal(
                    **said[i % len(said)], pred_bps=pred,
                    candidates={"pros": "buy", "amateurs": "sell", "model_bma": pred},
                )  # fmt: skip
            else:
                this.signal(**said[i % len(said)], predicted=pred, others=_OTHERS)
            if i % _TRADE_EVERY == 0:
                side = next(sides)
                with execution():
                    order = obs.order(SYMBOL, side, 1, decision_px=price, **(_why(pred) if everything else {}))
                    obs.sent(order)
                obs.fill(order, price=price, qty=1, fee=0.05, role="taker", fill_id=f"f{i}")
            else:
                with execution():
                    pass
        seen.append(price)
        if i % _BAR_EVERY == _BAR_EVERY - 1:
            bar = (seen[0], max(seen), min(seen), seen[-1], 1.0)
            seen.clear()
            if everything:
                obs.bar(SYMBOL, *bar)
                obs.feature_values(said[i % len(said)]["features"])
                obs.funding_rate(SYMBOL, 0.0001, time.time() + 3600)

    return turn


_OTHERS = {"pros": "buy", "amateurs": "sell"}  # as long a record, which nobody learns from


def _why(pred: float) -> dict:
    return {"source": "model_bma", "pred_bps": pred}


def _prices(rng: random.Random):
    """A market that trends for a while, and then does not."""
    price = 20_000.0
    for n in itertools.count():
        drift = 2.0 if n // 8_000 % 2 == 0 else 0.0
        price += drift * 0.05 + rng.gauss(0, 1.0)
        yield round(price, 2)


def _book(price: float):
    bids = [[price - 0.5 - n, 1.0 + n] for n in range(_LEVELS)]
    asks = [[price + 0.5 + n, 1.0 + n] for n in range(_LEVELS)]
    return bids, asks
