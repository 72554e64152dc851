"""The room of insight as one observer has it: why the bot earned what it earned."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from botobs.events.money import FillBooked, OrderAnnounced, TradeClosed, TradeOpened
from botobs.explainability.tracker import Explainability
from botobs.insight.calibration import Calibration
from botobs.insight.counterfactual import Counterfactual, CounterfactualTerms
from botobs.insight.counterfactual.deciding import Deciding, alive_in
from botobs.insight.depth.tracker import Depth
from botobs.insight.edge import Edge, EdgeTerms
from botobs.insight.edge.decisions import Decisions
from botobs.insight.kept import Keeper
from botobs.insight.part import Part
from botobs.insight.price_events import PriceEvents, PriceEventTerms
from botobs.insight.price_events.around import holdings
from botobs.insight.regime import UNKNOWN, RegimeTracker
from botobs.insight.taking import Taking
from botobs.insight.terms import CalibrationTerms, OrderBookTerms, RegimeTerms
from botobs.money.tail import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botobs.bus import Bus
    from botobs.clock import Clock
    from botobs.config import Settings
    from botobs.faults import Faults
    from botobs.money.room import Money
    from botobs.sinks.metrics.readings import Said
    from botobs.stages.engine import Engine
    from botobs.streams.reader import StreamReader

__all__ = ["Insight", "InsightNouns"]

_S: Final = 1_000_000_000
_KEPT_BEATS: Final = 5  # seconds between two looks whether something has to be kept


class Insight:
    """What explains the results of one bot.

    Args:
        settings: What it runs with.
        data_dir: Where it is kept; `None`: nowhere.
        clock: The observer's.
        engine: Whose signals.
        faults: Counts.
        bus: Where events go and come from.
        money: Whose bars, orders and trades.
        silent_s: For how many seconds the bot's loop has made no turn; `None`: it never did.

    Attributes:
        regime: Which regime each market is in.
        calibration: What predictions are worth.
        edge: Whether there still is an edge.
        counterfactual: What other decisions, and orders that were refused, would have earned.
        depth: What order books are like.
        price_events: What happens to prices.
        explainability: What made models say what they said.
    """

    def __init__(
        self,
        settings: Settings,
        data_dir: Path | None,
        *,
        clock: Clock,
        engine: Engine,
        faults: Faults,
        bus: Bus,
        money: Money,
        silent_s: Callable[[], float | None],
    ) -> None:
        self._live = live = settings.mode == "live"
        self._clock, self._faults, self._money, self._engine = clock, faults, money, engine
        self._silent_s = silent_s
        self._folder = None if data_dir is None or not live else data_dir / "state"
        self._before: Callable[[], object] | None = None
        self._beats = 0
        self.regime = RegimeTracker(
            RegimeTerms.parse(settings.tables.get("regime")), publish=bus.publish, faults=faults, clock=clock,
            limit_s=1.0 if live else None,
        )  # fmt: skip
        self.calibration = Calibration(
            CalibrationTerms.parse(settings.tables.get("calibration")), publish=bus.publish, faults=faults,
            regime=self._known_regime, settle=money.tail.settle,
        )  # fmt: skip
        self._taking = Taking(
            self.calibration, money.account, money.tail, now=engine.now, wall=clock.time_ns, faults=faults
        )
        self.depth = Depth(
            OrderBookTerms.parse(settings.tables.get("order_book")), publish=bus.publish, faults=faults,
            instrument=money.account.instruments.get, now=engine.now, wall=clock.time_ns, tail=money.tail,
        )  # fmt: skip
        self.price_events = PriceEvents(
            PriceEventTerms.parse(settings.tables.get("price_events")), publish=bus.publish, faults=faults, clock=clock,
            held=functools.partial(holdings, money.account),
            base_of=lambda symbol: money.account.instruments.get(None, symbol).base,
        )  # fmt: skip
        self.explainability = Explainability(publish=bus.publish, faults=faults, clock=clock, threaded=live)
        self.edge = Edge(
            EdgeTerms.parse(settings.tables.get("edge")), publish=bus.publish, faults=faults,
            settle=money.tail.settle, wall=clock.time_ns, live=live,
        )  # fmt: skip
        self._decisions = Decisions(self.edge, self._taking, money.tail, faults)
        self._taking.on_taken = self.edge.predicted
        self.counterfactual = Counterfactual(
            CounterfactualTerms.parse(settings.tables.get("counterfactual")), publish=bus.publish, faults=faults,
            alive=alive_in(money.orders), settle=money.tail.settle,
        )  # fmt: skip
        self._deciding = Deciding(self.counterfactual, money, engine, wall=clock.time_ns, faults=faults)
        self._deciding.listen(bus)
        self._parts: tuple[Part, ...] = (
            self.counterfactual,
            self.edge, self.regime, self.calibration, self.depth, self.price_events, self.explainability,
        )  # fmt: skip
        # most have nothing to do once a second
        self._waiting: tuple[Part, ...] = tuple(part for part in self._parts if type(part).timed is not Part.timed)
        self._busy: tuple[Part, ...] = tuple(part for part in self._parts if type(part).chore is not Part.chore)
        self.names = tuple(name for part in self._parts for name in part.names)
        self._keepers = tuple(Keeper(part, self._folder, clock, faults) for part in self._parts if part.file)
        listeners: tuple[tuple[type[Any], Callable[[Any], object]], ...] = (
            (TradeOpened, self.regime.on_event), (TradeClosed, self.regime.on_event),
            (TradeClosed, self.calibration.closed),
            (OrderAnnounced, self._taking.order), (OrderAnnounced, self._decisions.order),
            (TradeClosed, self.edge.closed), (FillBooked, self.edge.filled),
            (OrderAnnounced, self.explainability.ordered),
            (OrderAnnounced, self.price_events.take), (FillBooked, self.price_events.take),
            (TradeClosed, self.price_events.take),
            (OrderAnnounced, self.depth.order),
        )  # fmt: skip
        for event, heard in listeners:
            bus.subscribe(event, heard, immediate=True, _trusted=True)
        money.desk.impact_of = self.depth.impact_of

    def begin(self, history: StreamReader | None = None) -> None:
        """The run begins, and the account is known: take over what an earlier one did not live to count."""
        self._money.prices.on_bar = self.told
        self._money.prices.on_book = self.depth.book
        self._engine.on_predicted = self._taking.signal
        self._deciding.begin()
        if not self._live:  # nobody calls once a second
            self._before, self._money.on_time = self._money.on_time, self._passing
        restored = {keeper.part for keeper in self._keepers if keeper.restored}
        for part in self._parts:
            part.begin(history if part in restored else None)

    # -- what feeds it -----------------------------------------------------------------------------------------------

    def told(self, bar: tuple[Any, ...], now_ns: int) -> None:
        """A finished bar; on the bot's thread."""
        self._taking.finished(bar[0])
        self._deciding.finished(bar[0])
        self._money.tail.put(Work(self._finished, (bar, now_ns)))

    def _finished(self, bar: tuple[Any, ...], now_ns: int) -> None:
        odd = self.regime.odd
        self.regime.bar(*bar, now_ns=now_ns)
        if self.regime.odd == odd:  # one that was told again finishes nothing
            for part in self._parts:
                part.finished(bar, now_ns)

    def _passing(self) -> None:
        """A second has passed in a backtest."""
        if self._before is not None:
            self._before()
        self.chore()

    def chore(self) -> None:
        """Once a second."""
        for _piece in self.pieces():
            pass

    def pieces(self) -> Iterator[None]:
        """What is done once a second, piece by piece."""
        now = self._clock.time_ns()
        wanted: dict[str, list[Part]] = {}
        for part in self._waiting:
            for symbol in part.timed:
                wanted.setdefault(symbol, []).append(part)
        if wanted:
            silent = self._silent_s()
            at = now if silent is None else now - round(silent * _S)
            for symbol, parts in wanted.items():
                price = self._mark(symbol)
                if price is not None:
                    for part in parts:
                        yield
                        part.price(symbol, price, at, now)
        yield
        for busy in self._busy:
            busy.chore(now)
        self._beats += 1
        if self._beats % _KEPT_BEATS == 0:
            for keeper in self._keepers:
                yield
                keeper.save()

    def _save(self) -> None:
        for keeper in self._keepers:
            keeper.save(last=True)

    def _mark(self, symbol: str) -> Any:
        account = self._money.account
        lock: Any = account.lock
        if not lock.acquire(blocking=False):  # a disk that hangs: a second later is early enough
            return None
        try:
            return account.marks.get(None, symbol)
        finally:
            lock.release()

    def _known_regime(self, symbol: str) -> str | None:
        name = self.regime.name(symbol)
        return None if name == UNKNOWN else name

    def measured(self) -> Iterator[Said]:
        """The metrics, as they are now."""
        for part in self._parts:
            if part.names:
                yield from part.measured()

    # -- as a part of the observer -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have done what waits."""
        self._money.tail.settle()

    def flush(self, deadline: float) -> bool:
        """Have explained what waits for that; nothing else waits here that the tail does not know of."""
        return self.explainability.flush(deadline)

    def close(self, deadline: float) -> bool:  # noqa: ARG002
        """Keep what is known."""
        self._save()
        return True

    def abandon(self) -> None:
        """In a forked child: all of it is the parent's."""
        self._taking.forget()
        self._deciding.forget()
        self._decisions.forget()
        for keeper in self._keepers:
            keeper.abandon()
        for part in self._parts:
            part.abandon()


class InsightNouns:
    """`regime`, `calibration`, `edge`, `counterfactual`, `depth`, `price_events`, `explainability`."""

    _insight: Insight

    @property
    def regime(self) -> RegimeTracker:
        """Which regime each market is in, and what was earned there."""
        self._insight.settle()
        return self._insight.regime

    @property
    def calibration(self) -> Calibration:
        """What the model's predictions are worth."""
        return self._insight.calibration

    @property
    def edge(self) -> Edge:
        """Whether there still is an edge, and how fast it goes into the price."""
        return self._insight.edge

    @property
    def counterfactual(self) -> Counterfactual:
        """What each source of a decision, and each order that was refused, would have earned."""
        return self._insight.counterfactual

    @property
    def depth(self) -> Depth:
        """What order books are like, and what they would make an order pay."""
        return self._insight.depth

    @property
    def price_events(self) -> PriceEvents:
        """Round levels crossed, spikes and gaps, with what the bot held and did."""
        self._insight.settle()
        return self._insight.price_events

    @property
    def explainability(self) -> Explainability:
        """What made models say what they said, and which features count."""
        return self._insight.explainability
