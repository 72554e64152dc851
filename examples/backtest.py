"""A backtest: the same bars leave the same records, to the byte, in data/backtest. Takes a number of bars."""

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import botobs

BARS = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000  # a million is fine


class BarClock:
    """The time of the bar at hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def bars(clock: BarClock) -> Iterator[tuple[int, float]]:
    draw, price = random.Random(7), 100.0
    for bar_id in range(BARS):
        clock.at += timedelta(minutes=1)
        price *= draw.gauss(1, 0.001)
        yield bar_id, price


@botobs.feature
def features(price: float, fast: float, slow: float) -> dict[str, float]:
    return {"fast_bps": (price / fast - 1) * 1e4, "slow_bps": (price / slow - 1) * 1e4}


def main() -> None:
    clock = BarClock()
    with botobs.start("backtest", mode="backtest", clock=clock, data_dir="data/backtest", starting_equity=1_000) as obs:
        fast = slow = 100.0
        position = 0
        for bar_id, price in bars(clock):
            with botobs.tick("BTC-USD", bar_id=bar_id, price=price) as tick:
                fast += (price - fast) * 0.1
                slow += (price - slow) * 0.01
                x = features(price, fast, slow)
                with botobs.decision():
                    wanted = (fast > slow) - (fast < slow)
                if wanted != position:
                    tick.signal(features=x, decision={"from": position, "to": wanted}, source="cross")
                    side, qty = "buy" if wanted > position else "sell", abs(wanted - position)
                    order_id = obs.order("BTC-USD", side, qty, decision_px=price, strategy="cross")
                    got = price * (1.0001 if side == "buy" else 0.9999)
                    obs.fill(order_id, price=got, qty=qty, fee=got * qty * 1e-4, role="taker")
                    position = wanted
        for name, value in obs.totals().to_dict().items():
            print(f"{name:18} {value}")
        trades = obs.performance.summary("all")
        print(f"{trades.trades} trades, {trades.wins} won, {trades.expectancy:.4f} each after costs")
        print(obs.flush())


main()
