"""Prices that move like a market's: a random walk whose drift and volatility change with the regime."""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random
from typing import Final

import attrs

__all__ = ["INSTRUMENTS", "Bar", "Instrument", "Market"]


@attrs.frozen
class Instrument:
    """What is traded.

    Attributes:
        symbol: Its name.
        price: The price it starts from.
        tick: The step of its price.
        lot: How much the bot trades at once.
    """

    symbol: str
    price: float
    tick: Decimal
    lot: Decimal


INSTRUMENTS: Final = (
    Instrument("BTC-USD", 64_000.0, Decimal("0.1"), Decimal("0.010")),
    Instrument("ETH-USD", 3_200.0, Decimal("0.01"), Decimal("0.20")),
)


@attrs.frozen
class Bar:
    """One bar, with the top of the book at its end."""

    symbol: str
    id: int
    bid: Decimal
    ask: Decimal
    bid_qty: float
    ask_qty: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    ts: int = 0  # milliseconds since 1970, as the exchange says

    @property
    def mid(self) -> Decimal:
        """Between the best bid and the best ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread_bps(self) -> float:
        """The spread in basis points of the price."""
        return float((self.ask - self.bid) / self.mid) * 1e4


@attrs.frozen
class _Regime:
    """How prices move for a while: per bar, in basis points."""

    drift: float
    volatility: float
    spread: float
    length: float  # bars, on average


_REGIMES: Final = (
    _Regime(drift=0.0, volatility=3.0, spread=0.6, length=40),  # quiet
    _Regime(drift=0.7, volatility=4.0, spread=0.8, length=50),  # rising
    _Regime(drift=-0.7, volatility=4.0, spread=0.8, length=50),  # falling
    _Regime(drift=0.0, volatility=12.0, spread=3.0, length=15),  # nervous
)


class Market:
    """One instrument's prices.

    Args:
        instrument: Which.
        seed: The same seed gives the same prices.
    """

    def __init__(self, instrument: Instrument, seed: int) -> None:
        self.instrument = instrument
        self._random = Random(f"{seed} {instrument.symbol} prices")  # noqa: S311  # a game, no secret
        self._regime = _REGIMES[0]
        self._value = math.log(instrument.price)
        self._pressure = 0.0  # pushes the price for a few bars; the book shows it
        self._bars = 0

    def step(self) -> Bar:
        """The next bar."""
        draw, regime = self._random, self._regime
        if draw.random() < 1 / regime.length:
            regime = self._regime = draw.choice(_REGIMES)
        path = [math.exp(self._value)]
        for _ in range(4):
            self._pressure = 0.8 * self._pressure + draw.gauss(0.0, 0.25)
            push = regime.drift / 4 + 0.4 * self._pressure
            self._value += (push + draw.gauss(0.0, regime.volatility / 2)) / 1e4
            path.append(math.exp(self._value))
        self._bars += 1
        half = path[-1] * regime.spread * draw.uniform(0.7, 1.3) / 2e4
        lean = math.tanh(self._pressure)
        return Bar(
            symbol=self.instrument.symbol,
            id=self._bars,
            bid=self._on_tick(path[-1] - half),
            ask=self._on_tick(path[-1] + half) + self.instrument.tick,
            bid_qty=round(draw.uniform(1, 3) * (1 + 0.9 * lean), 3),
            ask_qty=round(draw.uniform(1, 3) * (1 - 0.9 * lean), 3),
            open=round(path[0], 2),
            high=round(max(path), 2),
            low=round(min(path), 2),
            close=round(path[-1], 2),
            volume=round(draw.lognormvariate(2.0, 0.5) * regime.volatility, 2),
        )

    def _on_tick(self, price: float) -> Decimal:
        tick = self.instrument.tick
        return (Decimal(price) / tick).to_integral_value() * tick
