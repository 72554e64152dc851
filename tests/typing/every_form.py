"""A user's file with every form of every stage: `mypy --strict` has to know what each one is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import assert_type

import botobs


@botobs.feature
def bare(x: int) -> str:
    return str(x)


@botobs.feature("named", attrs={"a": 1}, fresh=True)
def named(x: int, *, flag: bool = False) -> list[int]:
    return [x] if flag else []


@botobs.model
async def predict(x: float) -> float:
    return x


@botobs.model("lgbm")
async def predict_named(x: float) -> tuple[float, str]:
    return x, ""


@botobs.decision()
def decide(p: float) -> bool:
    return p > 0


@botobs.risk
def limits() -> Iterator[int]:
    yield 1


@botobs.risk("gen")
def generator() -> Generator[int, str, bytes]:
    got = yield 1
    return got.encode()


@botobs.execution(order="o-1", reduces=True)
async def fills() -> AsyncGenerator[int, str]:
    yield 1


@botobs.execution
async def quotes() -> AsyncIterator[float]:
    yield 1.0


@botobs.stage
def rank(names: list[str]) -> list[str]:
    return sorted(names)


@botobs.stage("own", attrs={"universe": "top50"})
def own() -> None: ...


@botobs.tick
def on_bar(symbol: str) -> int:
    return len(symbol)


@botobs.tick("BTC-USD", venue="x")
async def on_quote(px: float) -> float:
    return px


class Strategy:
    @botobs.feature
    def method(self, x: int) -> str:
        return str(x)

    @botobs.model("m")
    async def amethod(self) -> int:
        return 1

    @staticmethod
    @botobs.risk
    def static(x: int) -> int:
        return x


async def use(obs: botobs.Observer) -> None:
    assert_type(bare(1), str)
    assert_type(named(1, flag=True), list[int])
    assert_type(await predict(1.0), float)
    assert_type(await predict_named(1.0), tuple[float, str])
    assert_type(decide(0.5), bool)
    assert_type(limits(), Iterator[int])
    assert_type(generator(), Generator[int, str, bytes])
    assert_type(fills(), AsyncGenerator[int, str])
    assert_type(quotes(), AsyncIterator[float])
    assert_type(rank(["b"]), list[str])
    assert_type(on_bar("x"), int)
    assert_type(await on_quote(1.0), float)
    assert_type(Strategy().method(1), str)
    assert_type(await Strategy().amethod(), int)
    assert_type(Strategy.static(1), int)

    with botobs.tick("BTC-USD", bar_id=7, bid=1.0, ask=2.0) as tick:
        assert_type(tick, botobs.Tick)
        with botobs.feature(), botobs.model("lgbm"), botobs.decision(), botobs.risk() as stage:
            assert_type(stage, botobs.Span)
            stage.set_attribute("a", 1)
        with botobs.execution(order="o-1", reduces=True), botobs.stage("own", fresh=True):
            pass
        tick.signal(features={"a": 1}, model=0.5, decision={"dir": "buy"}, source="bma", pred_bps=4.2, mood="calm")
        assert_type(tick.id, str)
    assert_type(botobs.current_tick(), botobs.Tick)

    with obs.tick("BTC-USD") as tick, obs.decision():
        tick.keep("why")
    obs.event("notes", mood="calm")
    botobs.event("notes", mood="calm")
    report = obs.flush(1.0)
    assert_type(report.delivered, bool)
    assert_type(report.records.dropped, int)
    obs.shutdown()


def main() -> None:
    with botobs.start(
        "trend-bot", data_dir="data", starting_equity=10_000, equity_floor=9_000, prometheus_port=9464, keep_traces="tail"
    ) as obs:
        assert_type(obs, botobs.Observer)
