"""What the model's predictions are worth: each against the move that came, and what follows for the next one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from botobs.clock import rfc3339
from botobs.events.insight import PredictionSettled
from botobs.events.vitals import HealthRecorded
from botobs.insight.calibrated import Band, Calibrated, Kept, Key, shown
from botobs.insight.lines import Lines
from botobs.insight.names import finite, plain
from botobs.insight.part import Part
from botobs.insight.terms import CalibrationTerms, Horizon
from botobs.insight.waiting import Due, Waiting
from botobs.vitals.health import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.events.base import Event
    from botobs.events.money import TradeClosed
    from botobs.faults import Faults
    from botobs.sinks.metrics.readings import Said

__all__ = ["Band", "Calibrated", "Calibration"]

TRADE: Final = "trade"
_LEVEL: Final = "calibration_drift"
_LIMIT: Final = min(rule.limit for rule in DEFAULT if rule.kind == "level" and _LEVEL in rule.fields)
_FARTHEST: Final = 1e6  # bps: a prediction beyond that is none
_MOST_LINES: Final = 2_000
_MOST_TRADES: Final = 1_000


class Calibration(Part):
    """Learns `a + b·pred` from predictions and the moves that came; usable on its own.

    For each symbol there is a line over all its predictions, one for each source, and one for each source in each
    regime, which begins where that of the source stands; and one over everything.

    Args:
        terms: Horizon, band and memory.
        publish: Gets `PredictionSettled`, and `HealthRecorded` when a symbol's drift rises over its limit.
        faults: Where predictions that are none are counted.
        regime: Tells the regime of a symbol.
        settle: Called before a question is answered: has done what waits.

    Attributes:
        odd: How many predictions were no numbers.
        waiting: What has not come due.

    Example:
        >>> calibration = Calibration()
        >>> for n in range(200):  # a model that promises twice what comes
        ...     calibration.learn("BTC", 10 if n % 2 else -10, 5 if n % 2 else -5)
        >>> round(calibration.adjust(20, symbol="BTC"), 1), calibration.adjust(20, symbol="ETH")
        (10.5, 20.0)
    """

    file: ClassVar[str | None] = "calibration.json"
    names: ClassVar[tuple[str, ...]] = ("bot_calibration_in_band_rate",)

    def __init__(
        self,
        terms: CalibrationTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        regime: Callable[[str], str | None] | None = None,
        settle: Callable[[], object] | None = None,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms or CalibrationTerms()
        self._publish = publish
        self._faults = faults
        self._regime = regime
        self._settle = settle
        self._lock = threading.RLock()
        self._lines = Lines(self._terms.memory, self._terms.band)
        self._trades: OrderedDict[str, None] = OrderedDict()
        self.waiting = Waiting()
        self.on_over: Callable[[], object] | None = None  # the horizon is another
        self.changes = 0
        self.odd = 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def predicted(self, symbol: str, source: str | None, pred: Any, price: Any, now: int) -> bool:
        """A move was predicted, at this price; whether that is waited for."""
        found, began = self.finite(pred), finite(price)
        if found is None or began is None or began <= 0.0 or self._terms.over.text == TRADE:
            return False
        with self._lock:
            regime = None if self._regime is None else self._regime(symbol)
            due = Due(symbol, source, regime, found, began, now, self._terms.over)
            due.made = self._lines.forecasts(self._terms.over.text, due)
            return self.waiting.put(due)

    def is_prediction(self, pred: Any) -> bool:
        """Whether that can be one; what cannot is counted."""
        return self.finite(pred) is not None

    def bar(self, symbol: str, close: Any, now: int) -> None:
        """A bar has finished."""
        price = finite(close)
        if price is None:
            return
        with self._lock:
            events = [found for due, move in self.waiting.bar(symbol, price) for found in self._came(due, move, now)]
        self._tell(events)

    def finished(self, bar: tuple[Any, ...], now: int) -> None:
        """A bar has finished."""
        self.bar(bar[0], bar[4], now)

    @property
    def timed(self) -> list[str]:
        """The symbols whose price is wanted now."""
        return self.waiting.timed

    def price(self, symbol: str, price: Any, at: int, now: int) -> None:
        """At `now`, the newest price is this, of the time `at`."""
        found = finite(price)
        if found is None or found <= 0.0:
            return
        with self._lock:
            due = self.waiting.price(symbol, found, at, now)
            events = [told for one, move in due for told in self._came(one, move, now)]
        self._tell(events)

    def closed(self, event: TradeClosed) -> None:
        """A trade was closed: its own move is what came of the prediction that it was opened for."""
        record = event.record
        if event.undone or event.revision != 1 or record.get("entry_pred_bps") is None or event.symbol is None:
            return
        entered, left = finite(record.get("entry_px")), finite(record.get("exit_px"))
        pred = self.finite(record.get("entry_pred_bps"))
        if pred is None or not entered or left is None:
            return
        source = plain(record.get("entry_signal_source"))
        with self._lock:
            if event.trade_id in self._trades:  # told again after a restart
                return
            self._trades[event.trade_id] = None
            if len(self._trades) > _MOST_TRADES:
                self._trades.popitem(last=False)
            regime = None if self._regime is None else self._regime(event.symbol)
            due = Due(event.symbol, source, regime, pred, entered, event.ts_ns, Horizon(TRADE))
            due.made = self._lines.forecasts(TRADE, due)
            events = self._came(due, due.move(left), event.ts_ns, event.trade_id, record.get("entry_ts"))
        self._tell(events)

    def learn(
        self, symbol: str, pred: Any, move: Any, *, source: str | None = None, over: Any = None, ts_ns: int = 0
    ) -> None:
        """A prediction and the move that came, both in bps, from wherever they are known: a history, a backtest.

        Args:
            symbol: Of which market.
            pred: What was predicted.
            move: What came.
            source: From which signal.
            over: Over what; default: what predictions are judged over now.
            ts_ns: When it came.

        Raises:
            ValueError: `over` is no horizon.
        """
        found, came = self.finite(pred), self.finite(move)
        if found is None or came is None:
            return
        horizon = self._terms.over if over is None else Horizon.parse(over)
        named = plain(symbol)
        if named is None:
            self.odd += 1
            return
        with self._lock:
            regime = None if self._regime is None else self._regime(named)
            due = Due(named, plain(source), regime, found, 1.0, ts_ns, horizon)
            due.made = self._lines.forecasts(horizon.text, due)
            events = self._came(due, came, ts_ns)
        self._tell(events)

    def over(self, horizon: Any) -> None:
        """Judge predictions over this from now on: `3 bars`, `5m`, or `trade`, its own trade's close.

        Raises:
            ValueError: It is no horizon.
        """
        found = Horizon.parse(horizon)
        with self._lock:
            self._terms = attrs.evolve(self._terms, over=found)
            self.waiting.forget(found)
        if self.on_over is not None:
            self.on_over()

    # -- what is asked -----------------------------------------------------------------------------------------------

    @property
    def horizon(self) -> Horizon:
        """Over what predictions are judged."""
        return self._terms.over

    def adjust(
        self,
        pred: Any,
        *,
        symbol: str | None = None,
        source: str | None = None,
        regime: str | None = None,
        over: Any = None,
    ) -> float | None:
        """The move to expect after a prediction: `a + b·pred`. Costs a microsecond or two, and takes no lock.

        Args:
            pred: The prediction, in bps.
            symbol: Of which market; default: as all predictions taught.
            source: From which signal.
            regime: In which regime; default: the market's own now, if there is a source.
            over: Over what; default: what predictions are judged over, else the trades that they opened.

        Returns:
            In bps; the prediction itself as long as nothing was learned; `None` if it is no number.
        """
        found = finite(pred)
        if found is None or not -_FARTHEST <= found <= _FARTHEST:
            return None
        kept = self._best(symbol, source, regime, over)
        if kept is None:
            return found
        a, b = kept.line.coefficients(kept.leans)
        return a + b * found

    def band(
        self,
        pred: Any,
        *,
        symbol: str | None = None,
        source: str | None = None,
        regime: str | None = None,
        over: Any = None,
    ) -> Band | None:
        """As `adjust`, with the band that is to hold the stated share of moves."""
        found, share = finite(pred), self._terms.band
        if found is None or not -_FARTHEST <= found <= _FARTHEST:
            return None
        kept = self._best(symbol, source, regime, over)
        if kept is None:
            return Band(value=found, low=None, high=None, share=share, n=0, reason="no prediction came due")
        value, low, high = kept.line.forecast(found, kept.leans)
        reason = "fewer than 5 predictions came due" if low is None else None
        return Band(value=value, low=low, high=high, share=share, n=kept.line.n, reason=reason)

    def line(
        self,
        symbol: str | None = None,
        source: str | None = None,
        regime: str | None = None,
        *,
        over: Any = None,
    ) -> Calibrated | None:
        """What was learned of such predictions; `None`: there were none."""
        if self._settle is not None:
            self._settle()
        with self._lock:
            for basis in (self._text(over),) if over is not None else (self._text(None), TRADE):
                key = (basis, plain(symbol), plain(source), plain(regime))
                kept = self._lines.get(key)
                if kept is not None and kept.line.n:
                    return shown(key, kept)
            return None

    def table(self) -> list[Calibrated]:
        """Everything that was learned, a line each."""
        if self._settle is not None:
            self._settle()
        with self._lock:
            return [shown(key, kept) for key, kept in self._lines]

    @property
    def left_out(self) -> int:
        """How often a line was wanted that would have been one too many."""
        return self._lines.left_out

    @property
    def drift(self) -> float | None:
        """The largest drift of any symbol; `None` where none can be told."""
        found = [one.drift for one in self.by_symbol().values() if one.drift is not None]
        return max(found, default=None)

    def measured(self) -> Iterator[Said]:
        """How often moves lay in their bands."""
        for symbol, line in self.by_symbol().items():
            yield "bot_calibration_in_band_rate", line.in_band_rate, (symbol,)

    def by_symbol(self) -> dict[str, Calibrated]:
        """For each symbol the line over all its predictions; over trades where nothing else came due."""
        with self._lock:
            main = self._terms.over.text
            found: dict[str, Calibrated] = {}
            for key, kept in self._lines:
                if key[1] is None or key[2] is not None or key[0] not in (main, TRADE):
                    continue
                if key[0] == main or key[1] not in found:
                    found[key[1]] = shown(key, kept)
            return found

    # -- how ---------------------------------------------------------------------------------------------------------

    def finite(self, value: Any) -> float | None:
        """A prediction or a move; what is none is counted."""
        found = finite(value)
        if found is not None and -_FARTHEST <= found <= _FARTHEST:
            return found
        self.odd += 1
        self._faults.say("calibration", "pred_bps", "a prediction that is no number, or beyond any market, is left out")
        return None

    def _text(self, over: Any) -> str:
        if over is None:
            return self._terms.over.text
        try:
            return Horizon.parse(over).text
        except ValueError as error:
            self._faults.say("calibration", "over", str(error))
            return ""

    def _best(self, symbol: str | None, source: str | None, regime: str | None, over: Any) -> Kept | None:
        """The finest line that has learned something."""
        symbol, source, regime = plain(symbol), plain(source), plain(regime)
        if regime is None and symbol is not None and source is not None and self._regime is not None:
            regime = self._regime(symbol)
        found = self._lines.finest(self._text(over), symbol, source, regime)
        return found if found is not None or over is not None else self._lines.finest(TRADE, symbol, source, regime)

    def _came(
        self, due: Due, move: float, now: int, trade_id: str | None = None, predicted_ts: str | None = None
    ) -> list[Event]:
        """The move came: judge what was made of the prediction then, and learn from it."""
        if not -_FARTHEST <= move <= _FARTHEST:
            self.odd += 1
            return []
        events: list[Event] = []
        told = True
        for key, forecast in due.made:
            kept = self._lines[key]
            inside = None if forecast.low is None else forecast.low <= move <= forecast.high
            kept.track.add(in_band=inside, adjusted_miss=move - forecast.value, raw_miss=move - due.pred)
            told = kept.line.learn(due.pred, move)
            if key[1] is not None and key[2] is None:
                events.extend(self._watch(key, kept, now))
        self.changes += 1
        if not due.made:
            return events
        kept, forecast = self._lines[due.made[-1][0]], due.made[-1][1]
        line, track = kept.line, kept.track
        a, b = line.coefficients(kept.leans)
        events.append(
            PredictionSettled(
                ts_ns=now, symbol=due.symbol, over=due.made[-1][0][0], source=due.source, regime=due.regime,
                trade_id=trade_id, predicted_ts=predicted_ts or rfc3339(due.since), pred_bps=due.pred,
                adjusted_bps=forecast.value, low_bps=forecast.low, high_bps=forecast.high, realized_bps=move,
                in_band=None if forecast.low is None else forecast.low <= move <= forecast.high, a=a, b=b,
                n=line.n, in_band_rate=track.in_band_rate, drift=track.drift, outlier=not told,
            )
        )  # fmt: skip
        return events

    def _watch(self, key: Key, kept: Kept, now: int) -> list[Event]:
        """The rule of health: a level, told when it is crossed upwards."""
        drift = kept.track.drift
        before = kept.over
        # until chance explains all of it: at the limit itself it would be told again and again
        kept.over = drift is not None and drift > (0.0 if before else _LIMIT)
        if before or not kept.over:
            return []
        record = {_LEVEL: drift, "in_band_rate": kept.track.in_band_rate, "over": key[0]}
        return [HealthRecorded(ts_ns=now, symbol=key[1], reasons=(f"level:{_LEVEL}",), record=record)]

    def _tell(self, events: list[Event]) -> None:
        if self._publish is not None:
            for event in events:
                self._publish(event)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that was learned, for JSON; what waits is not kept: its horizon would have a hole."""
        with self._lock:
            return {"lines": self._lines.state(), "trades": list(self._trades)}

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        with self._lock:
            try:
                self._trades = OrderedDict.fromkeys(str(key) for key in state["trades"])
                return self._lines.restore(state["lines"])
            except Exception as error:
                return [f"calibration: {type(error).__name__}"]

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()
