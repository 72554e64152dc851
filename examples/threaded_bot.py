"""A bot on threads, one per symbol; its records are in data/threaded-bot. Takes a number of seconds."""

import queue
import random
import sys
import threading
import time

import botobs

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
LIMIT = 3

Quote = tuple[int, float, float]


def feed(queues: dict[str, queue.Queue[Quote | None]]) -> None:
    prices = dict.fromkeys(SYMBOLS, 100.0)
    for number in range(round(SECONDS * 50)):
        time.sleep(0.02)
        for symbol, waiting in queues.items():
            prices[symbol] *= random.gauss(1, 0.0005)
            bid, ask = prices[symbol] - 0.01, prices[symbol] + 0.01
            botobs.mark(symbol, bid=bid, ask=ask)  # what is held is worth this now, whenever the bot looks at it
            waiting.put((number, bid, ask))
    for waiting in queues.values():
        waiting.put(None)


@botobs.risk
def allowed(position: int, change: int) -> bool:
    return abs(position + change) <= LIMIT


def trade(symbol: str, waiting: queue.Queue[Quote | None]) -> None:
    position, last = 0, 100.0
    while (quote := waiting.get()) is not None:
        number, bid, ask = quote
        with botobs.tick(symbol, bar_id=number, bid=bid, ask=ask) as tick:
            with botobs.feature():
                mid = (bid + ask) / 2
                move_bps, last = (mid / last - 1) * 1e4, mid
            with botobs.decision():
                change = (move_bps > 5) - (move_bps < -5)
            tick.signal(features={"move_bps": move_bps}, decision={"change": change}, position=position)
            if change and allowed(position, change):
                side, price = ("buy", ask) if change > 0 else ("sell", bid)
                order_id = botobs.order(symbol, side, 1, decision_px=mid, strategy="momentum")
                with botobs.execution():
                    position += change  # the exchange, if there were one
                botobs.fill(order_id, price=price, qty=1, fee="0.01", role="taker")


with botobs.start("threaded-bot", data_dir="data/threaded-bot", starting_equity=10_000, prometheus_port=0) as obs:
    queues: dict[str, queue.Queue[Quote | None]] = {symbol: queue.Queue() for symbol in SYMBOLS}
    workers = [threading.Thread(target=trade, args=pair) for pair in queues.items()]
    for worker in workers:
        worker.start()
    feed(queues)
    for worker in workers:
        worker.join()
    for name, value in obs.totals().to_dict().items():
        print(f"{name:18} {value}")
    print(*obs.positions, sep="\n")
    print(obs.flush())
