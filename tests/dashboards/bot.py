"""A bot that does everything a dashboard shows, through the real verbs, until its standard input is closed.

`python bot.py DATA_DIR`. It prints its address, then trades; the word `trip` on its standard input halts it for a moment.
"""

from __future__ import annotations

import random
import select
import sys
import time

import botobs

SYMBOLS = ("BTC-USD", "ETH-USD")
STRATEGIES = ("trend", "reversion")


@botobs.feature
def features(price):
    return {"price": price}


@botobs.explain_model(name="lgbm", explainer=lambda x: x)
def predict(_):
    return random.uniform(-5, 5)


@botobs.execution
def send(obs, order, price, qty):
    obs.sent(order)
    obs.fill(order, price=f"{price * random.uniform(0.9995, 1.0015):.2f}", qty=qty, fee="0.03", role="taker")


class Bot:
    def __init__(self, obs):
        self.obs, self.turns, self.held = obs, 0, dict.fromkeys(SYMBOLS, False)

    def turn(self):
        self.turns += 1
        symbol = SYMBOLS[self.turns % 2]
        price = 100 + random.uniform(-1, 1)
        self.obs.heartbeat("ws")
        self.obs.feature_values({"price": price})
        try:
            with botobs.tick(symbol, bar_id=self.turns, price=price) as tick:
                self.obs.book(symbol, [[price - 0.01, 0.5], [price - 1, 5]], [[price + 0.01, 0.5], [price + 1, 5]])
                x = features(price)
                p = predict(x)
                with botobs.decision():
                    side = "sell" if self.held[symbol] else "buy"
                tick.signal(
                    features=x, model=p, source="lgbm", strength=p / 5, confidence=random.random(),
                    candidates={"lgbm": p, "momentum": -p}, decision=side,
                )  # fmt: skip
                if self.turns % 30 == 0:
                    with botobs.risk("limits") as risk:
                        risk.veto("too much at once")
                if self.turns % 50 == 49:
                    time.sleep(0.01 + self.turns * 5e-5)  # slower than all others before
                if self.turns % 60 == 0:
                    raise ValueError("a mistake of the bot's")
                if self.turns % 10 < 2:
                    self.trade(symbol, side, price, p)
        except (ValueError, botobs.TradingHalted):
            pass
        if self.turns % 8 < 2:
            self.obs.bar(symbol, price, price + 0.1, price - 0.1, price)

    def trade(self, symbol, side, price, p):
        known = {
            "decision_px": f"{price:.2f}",
            "strategy": STRATEGIES[self.turns // 10 % 2],
            "source": "lgbm",
            "pred_bps": p,
        }
        if self.turns % 40 < 2:
            refused = self.obs.order(symbol, "buy", "1", order_type="limit", limit_px="90", **known)
            self.obs.reject(refused, "INSUFFICIENT_MARGIN", "not enough margin")
        order = self.obs.order(symbol, side, "1", order_type="market", **known)
        send(self.obs, order, price, "1")
        self.held[symbol] = side == "buy"

    def trip(self):
        """Halted until the next word."""
        self.obs.kill_switch.trip("a test")
        while not heard(0.05):
            self.turn()
        self.obs.kill_switch.reset("the test", "it is over")


def heard(wait_s):
    return bool(select.select([sys.stdin], [], [], wait_s)[0]) and sys.stdin.readline()


def main():
    settings = {
        "prometheus_port": 0, "starting_equity": 10_000, "bot_version": "1", "durability": "os", "sharpe_bucket": "hour",
    }  # fmt: skip
    with botobs.start("proof-bot", data_dir=sys.argv[1], **settings) as obs:
        obs.watch("ws", after="30s")
        obs.watch("flaky", after="0.2s", on_stale=lambda: obs.heartbeat("flaky"))
        obs.heartbeat("flaky")
        obs.funding_rate("BTC-USD", 0.0001)
        obs.fill("nobody", price="nonsense", qty="1")  # counted as an internal error
        sys.stdout.write(obs.endpoint.url + "\n")
        sys.stdout.flush()
        bot = Bot(obs)
        while True:
            if select.select([sys.stdin], [], [], 0.01)[0]:
                if not sys.stdin.readline():
                    break
                bot.trip()
            bot.turn()


if __name__ == "__main__":
    main()
