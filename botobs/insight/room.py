"""The room of insight as one observer has it: why the bot earned what it earned."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from botobs.events.money import OrderAnnounced, TradeClosed, TradeOpened
from botobs.insight.calibration import Calibration
from botobs.insight.kept import Kept
from botobs.insight.regime import UNKNOWN, RegimeTracker
from botobs.insight.taking import Taking
from botobs.insight.terms import CalibrationTerms, RegimeTerms
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
_SOON_NS: Final = 5 * _S  # after a trade, a change of regime, or a prediction that came due
_SAVE_NS: Final = 30 * _S  # after bars
_TRADES_BACK: Final = 500


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
    """

    #: The metrics that `measured` tells.
    names: Final = ("bot_calibration_in_band_rate",)

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
        folder = None if data_dir is None or not live else data_dir / "state"
        self._files = tuple(
            Kept(None if folder is None else folder / name, faults) for name in ("regime.json", "calibration.json")
        )
        self._before: Callable[[], object] | None = None
        self._saved: tuple[int, int] = (0, 0)
        self._saved_ns = clock.perf_ns()
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
        self._restored = self._restore()
        for event in (TradeOpened, TradeClosed):
            bus.subscribe(event, self.regime.on_event, immediate=True, _trusted=True)
        bus.subscribe(TradeClosed, self.calibration.closed, immediate=True, _trusted=True)
        bus.subscribe(OrderAnnounced, self._taking.order, immediate=True, _trusted=True)

    def begin(self, history: StreamReader | None = None) -> None:
        """The run begins, and the account is known: take over what an earlier one did not live to count."""
        self._money.prices.on_bar = self.told
        self._engine.on_predicted = self._taking.signal
        if not self._live:  # nobody calls once a second
            self._before, self._money.on_time = self._money.on_time, self._passing
        if self._restored and history is not None:
            with contextlib.suppress(OSError):
                self.regime.catch_up(list(history.latest("trade_lifecycle", _TRADES_BACK)))

    # -- what feeds it -----------------------------------------------------------------------------------------------

    def told(self, bar: tuple[Any, ...], now_ns: int) -> None:
        """A finished bar; on the bot's thread."""
        self._taking.finished(bar[0])
        self._money.tail.put(Work(self._finished, (bar, now_ns)))

    def _finished(self, bar: tuple[Any, ...], now_ns: int) -> None:
        odd = self.regime.odd
        self.regime.bar(*bar, now_ns=now_ns)
        if self.regime.odd == odd:  # one that was told again finishes nothing
            self.calibration.bar(bar[0], bar[4], now_ns)

    def _passing(self) -> None:
        """A second has passed in a backtest."""
        if self._before is not None:
            self._before()
        self.chore()

    def chore(self) -> None:
        """Once a second."""
        wanted = self.calibration.waiting.timed
        if wanted:
            now, silent = self._clock.time_ns(), self._silent_s()
            at = now if silent is None else now - round(silent * _S)
            for symbol in wanted:
                price = self._mark(symbol)
                if price is not None:
                    self.calibration.price(symbol, price, at, now)
        self._save()

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

    # -- what it tells -----------------------------------------------------------------------------------------------

    def measured(self) -> Iterator[Said]:
        """The metrics, as they are now."""
        for symbol, line in self.calibration.by_symbol().items():
            yield "bot_calibration_in_band_rate", line.in_band_rate, (symbol,)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def _restore(self) -> bool:
        """Go on where an earlier run stopped; whether there was one."""
        states = [file.read() for file in self._files]
        parts: tuple[RegimeTracker | Calibration, ...] = (self.regime, self.calibration)
        for part, state in zip(parts, states, strict=True):
            if state is not None:
                for problem in part.restore(state) if isinstance(state, dict) else ["not a state"]:
                    self._faults.say("insight", problem, f"left out at the restart: {problem}")
        return states[0] is not None

    def _save(self, *, last: bool = False) -> None:
        seen = (self.regime.changes + self.calibration.changes, self.regime.bars)
        if seen == self._saved:
            return
        now = self._clock.perf_ns()
        if not last and now - self._saved_ns < (_SOON_NS if seen[0] != self._saved[0] else _SAVE_NS):
            return
        self._saved_ns = now
        regimes, lines = self._files
        done = (regimes.write(self.regime.state()), lines.write(self.calibration.state()))
        if all(done):
            self._saved = seen

    # -- as a part of the observer -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have done what waits."""
        self._money.tail.settle()

    def flush(self, deadline: float) -> bool:  # noqa: ARG002 - nothing of it goes anywhere but on the bus
        """Nothing waits here that the tail does not know of."""
        return True

    def close(self, deadline: float) -> bool:  # noqa: ARG002
        """Keep what is known."""
        self._save(last=True)
        return True

    def abandon(self) -> None:
        """In a forked child: all of it is the parent's."""
        self._taking.forget()
        parts: tuple[Kept | RegimeTracker | Calibration, ...] = (*self._files, self.regime, self.calibration)
        for part in parts:
            part.abandon()


class InsightNouns:
    """`regime`, `calibration`."""

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
