"""A bot on asyncio, a task per symbol; its records are in data/asyncio-bot. Takes a number of seconds."""

import asyncio
import random
import sys
from collections import deque

import botobs

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0


@botobs.feature
def features(prices: deque[float]) -> dict[str, float]:
    mean = sum(prices) / len(prices)
    return {"price": prices[-1], "gap_bps": (prices[-1] / mean - 1) * 1e4}


@botobs.model("gap")
async def predict(x: dict[str, float]) -> float:
    return -0.5 * x["gap_bps"]


@botobs.execution
async def send(symbol: str, side: str, price: float) -> float:
    await asyncio.sleep(random.uniform(0.001, 0.005))  # the exchange, if there were one
    if random.random() < 0.1:
        raise ConnectionError(f"{symbol}: no answer to the {side}")
    return price * (1.0001 if side == "buy" else 0.9999)


async def order(symbol: str, side: str, price: float, pred_bps: float) -> None:
    order_id = botobs.order(symbol, side, 1, decision_px=price, strategy="gap", pred_bps=pred_bps)
    botobs.sent(order_id)
    try:
        got = await send(symbol, side, price)
    except ConnectionError as error:  # its trace is kept; the bot goes on
        botobs.reject(order_id, "NO_ANSWER", str(error), error=error)
    else:
        await botobs.afill(
            order_id, price=got, qty=1, fee=got * 0.0001, role="taker"
        )  # the disk never holds up the loop


async def trade(symbol: str) -> None:
    prices = deque([100.0], maxlen=50)
    for bar_id in range(round(SECONDS * 20)):
        await asyncio.sleep(0.05)
        prices.append(prices[-1] * random.gauss(1, 0.001))
        with botobs.tick(symbol, bar_id=bar_id, price=prices[-1]) as tick:
            x = features(prices)
            pred_bps = await predict(x)
            with botobs.decision():
                side = "buy" if pred_bps > 5 else "sell" if pred_bps < -5 else None
            tick.signal(features=x, decision={"side": side}, source="gap", pred_bps=pred_bps)
            if side:
                await order(symbol, side, prices[-1], pred_bps)


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        for symbol in ("BTC-USD", "ETH-USD"):
            group.create_task(trade(symbol))


with botobs.start("asyncio-bot", data_dir="data/asyncio-bot", starting_equity=10_000, prometheus_port=0) as obs:
    asyncio.run(main())
    for name, value in obs.totals().to_dict().items():
        print(f"{name:18} {value}")
    for row in obs.slippage.stats("side"):
        print(f"{row.key}: {row.fills} fills, slippage {row.mean_bps:.2f} bps, {row.rejections} orders refused")
    print(obs.flush())
