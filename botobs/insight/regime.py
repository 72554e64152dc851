"""Which regime each market is in: trend, chop, or what the bot's own classifier says; and what was earned in it."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from botobs.clock import adapt, epoch_ns, rfc3339
from botobs.events.insight import RegimeChanged
from botobs.events.money import TradeClosed, TradeOpened
from botobs.insight.classifier import NO_ANSWER, Classifier
from botobs.insight.earned import Earned, RegimePerformance
from botobs.insight.market import Market, Meter
from botobs.insight.names import finite, plain
from botobs.insight.part import Part
from botobs.insight.terms import RegimeTerms
from botobs.performance.closed import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.events.base import Event
    from botobs.faults import Faults
    from botobs.streams.reader import StreamReader

__all__ = ["CHOP", "TREND", "UNKNOWN", "Regime", "RegimePerformance", "RegimeTracker"]

TREND, CHOP, UNKNOWN = "trend", "chop", "unknown"
ADX = "adx"  # who says so, where the bot has no classifier

_MOST_SYMBOLS = 2_000
_IDLE_NS = 86_400_000_000_000  # a market without a bar for so long makes room for another
_MOST_NAMES = 20  # of regimes; each may have lines of its own elsewhere
_OTHER = "other"
_LIMIT_S = 1.0
_TRADES_BACK = 500

F = TypeVar("F")


@attrs.frozen(kw_only=True)
class Regime:
    """The regime of one market.

    Attributes:
        name: Which: `trend`, `chop`, `unknown`, or what the bot's classifier said.
        since: From which bar on (RFC 3339).
        bars: For how many bars, the last one included.
        market: The last bar, and what was known after it.
    """

    name: str
    since: str
    bars: int
    market: Market


class _Standing:
    """Where one symbol stands."""

    __slots__ = ("at", "bars", "candidate", "dated", "held", "last", "meter", "name", "seen", "since", "spent", "used")

    def __init__(self) -> None:
        self.meter = Meter()
        self.name = UNKNOWN
        self.since = 0  # nanoseconds; the bar from which on it is the regime
        self.at = 0
        self.used = 0  # when its last bar was told
        self.bars = 0  # in this regime
        self.seen = 0  # in all
        self.dated: int | None = None  # the newest time that the exchange gave
        self.candidate: str | None = None
        self.held = 0
        self.spent: dict[str, int] = {}
        self.last: Market | None = None


class RegimeTracker(Part):
    """Follows the regime of every market from its finished bars; usable on its own.

    Args:
        terms: Thresholds and hysteresis.
        publish: Gets `RegimeChanged`.
        faults: Where a classifier's failures are counted.
        clock: Where the time of bars without one comes from; default: the machine.
        limit_s: How long a classifier may take; `None`: it is called as it is.

    Attributes:
        odd: How many bars could not be used: no prices, or not newer than the last one.
        left_out: How many bars were of a market that is one too many.

    Example:
        >>> regime = RegimeTracker()
        >>> for n in range(40):
        ...     _ = regime.bar("BTC", n + 10, n + 11, n + 9, n + 10, ts=1767323000 + 60 * n)
        >>> regime.current("BTC").name, regime.current("BTC").bars
        ('trend', 11)
    """

    file: ClassVar[str | None] = "regime.json"

    def __init__(
        self,
        terms: RegimeTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        clock: Any = None,
        limit_s: float | None = _LIMIT_S,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms or RegimeTerms()
        self._publish = publish
        self._faults = faults
        self._clock = adapt(clock)
        self._limit_s = limit_s
        self._lock = threading.RLock()
        self._known: OrderedDict[str, _Standing] = OrderedDict()  # the one that had no bar for longest is the first
        self._gone: dict[str, int] = {}  # bars in each regime, of markets that made room
        self._names: dict[str, None] = dict.fromkeys((TREND, CHOP, UNKNOWN))
        self._classifier: Classifier | None = None
        self._earned = Earned()
        self.odd = self.left_out = 0
        self.changes = 0  # goes up with everything worth keeping soon

    # -- what happens ------------------------------------------------------------------------------------------------

    def classify(self, fn: F) -> F:
        """Let the bot's function say the regime: it gets a `Market`, and gives a name, or `None`: as the ADX says.

        It is asked once for each finished bar, in the background, and has a second. `None` instead of a function:
        the ADX decides again. Usable as a decorator.

        Raises:
            TypeError: It cannot be called.
        """
        if fn is not None and not callable(fn):
            raise TypeError(f"a classifier is a function, not {type(fn).__name__}")
        self._classifier = None if fn is None else Classifier(fn, self._faults, limit_s=self._limit_s)
        return fn

    def bar(  # noqa: PLR0917 - as the verb
        self,
        symbol: str,
        open: Any,  # noqa: A002 - the verb's own name
        high: Any,
        low: Any,
        close: Any,
        volume: Any = None,
        ts: Any = None,
        *,
        now_ns: int | None = None,
    ) -> RegimeChanged | None:
        """A finished bar; the change of regime that it brought, if it did."""
        try:
            now = self._clock.time_ns() if now_ns is None else now_ns
            named = plain(symbol)
            if named is None:
                self.odd += 1
                return None
            symbol = named
            with self._lock:
                market = self._measure(symbol, (open, high, low, close), volume, ts, now)
            if market is None:
                return None
            said, by = self._said(market)
            with self._lock:
                event = self._step(self._known[symbol], market, said, by, now)
        except Exception as error:
            self._faults.error("regime", error)
            return None
        if event is not None and self._publish is not None:
            self._publish(event)
        return event

    def on_event(self, event: Event) -> None:
        """A trade was opened or closed."""
        with self._lock:
            if isinstance(event, TradeOpened):
                self._earned.opened(event.trade_id, self._name(event.symbol))
                self.changes += 1
            elif isinstance(event, TradeClosed):
                self._count(event.record, event.symbol, event.trade_id, event.revision, undone=event.undone)

    def catch_up(self, records: list[Mapping[str, Any]]) -> None:
        """Count closed trades of an earlier run that it did not live to count; records of `trade_lifecycle`."""
        with self._lock:
            for record in records:
                trade_id = record.get("trade_id")
                if isinstance(trade_id, str) and (record.get("revision") == 1 or self._earned.knows(trade_id)):
                    undone = record.get("undone") is True
                    self._count(record, record.get("symbol"), trade_id, record.get("revision"), undone=undone)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def current(self, symbol: str) -> Regime | None:
        """The regime of a market; `None`: there was no bar yet."""
        named = plain(symbol)
        with self._lock:
            known = None if named is None else self._known.get(named)
            if known is None or known.last is None:
                return None
            return Regime(name=known.name, since=rfc3339(known.since), bars=known.bars, market=known.last)

    def name(self, symbol: str | None) -> str:
        """The name of a market's regime; `unknown` where nothing is known. Takes no lock."""
        return self._name(symbol)

    @property
    def symbols(self) -> list[str]:
        """The markets that had bars."""
        with self._lock:
            return list(self._known)

    def performance(self, symbol: str | None = None) -> dict[str, RegimePerformance]:
        """What the bot earned in each regime; a trade counts for that in which it was opened.

        Args:
            symbol: In which market; default: in all together.
        """
        if symbol is not None:
            symbol = plain(symbol) or UNKNOWN
        with self._lock:
            places = self._known.values() if symbol is None else filter(None, [self._known.get(symbol)])
            bars: dict[str, int] = dict(self._gone) if symbol is None else {}
            for place in places:
                for name, count in place.spent.items():
                    bars[name] = bars.get(name, 0) + count
            return self._earned.of(symbol, bars, (TREND, CHOP, UNKNOWN))

    @property
    def forgotten(self) -> int:
        """How many trades changed so late that `performance` has them as they were."""
        return self._earned.forgotten

    # -- how ---------------------------------------------------------------------------------------------------------

    def _name(self, symbol: Any) -> str:
        named = plain(symbol)
        known = None if named is None else self._known.get(named)
        return UNKNOWN if known is None else known.name

    def _count(self, record: Mapping[str, Any], symbol: Any, trade_id: str, revision: Any, *, undone: bool) -> None:
        try:
            trade = Closed.of_record(record, trade_id=trade_id, revision=revision, undone=undone)
            if trade.undone and not undone:  # a simulated hedge
                return
            self.changes += self._earned.closed(symbol if isinstance(symbol, str) else UNKNOWN, trade)
        except (ValueError, TypeError, ArithmeticError) as error:
            self._faults.say("regime", type(error).__name__, f"trade {trade_id}: {error}")

    def _measure(self, symbol: str, prices: tuple[Any, ...], volume: Any, ts: Any, now: int) -> Market | None:
        """Take a bar in; what is known after it. `None`: it was none, or is not newer than the last one."""
        known = self._known.get(symbol)
        if known is None:
            known = _Standing()
        try:
            opened, high, low, close = (float(price) for price in prices)
            dated = None if ts is None else epoch_ns(ts)
        except Exception:  # whatever the bot's numbers may be
            self.odd += 1
            return None
        late = dated is not None and known.dated is not None and dated <= known.dated  # told again after a reconnect
        if late or not known.meter.bar(high, low, close):
            self.odd += 1
            return None
        if symbol not in self._known and len(self._known) >= _MOST_SYMBOLS and not self._make_room(now):
            self.left_out += 1  # it has no regime, and is a bar all the same
            return None
        self._known[symbol] = known
        self._known.move_to_end(symbol)
        known.used = now
        known.dated = known.dated if dated is None else dated
        known.at = now if dated is None else dated
        known.seen += 1
        found = known.meter.range
        return Market(
            symbol=symbol, ts=rfc3339(known.at), open=opened, high=high, low=low, close=close, volume=finite(volume),
            bars=known.seen, adx=found.adx.value, plus_di=found.adx.plus, minus_di=found.adx.minus,
            atr=found.atr.value, volatility_bps=known.meter.volatility_bps, regime=known.name,
        )  # fmt: skip

    def _make_room(self, now: int) -> bool:
        """Let go of the market that had no bar for longest."""
        idle, known = next(iter(self._known.items()))
        if now - known.used < _IDLE_NS:
            return False
        del self._known[idle]
        for name, count in known.spent.items():
            self._gone[name] = self._gone.get(name, 0) + count
        self.changes += 1
        return True

    def _said(self, market: Market) -> tuple[str, str]:
        """Which regime this bar speaks for, and who says so. Not under the lock: the bot's function may ask."""
        classifier = self._classifier
        if classifier is not None:
            found = classifier.ask(market)
            if found is NO_ANSWER:
                return market.regime, classifier.name
            if found is not None:
                return self._within(found), classifier.name
        adx, terms = market.adx, self._terms
        if adx is None:
            return UNKNOWN, ADX
        return TREND if adx > terms.trend else CHOP if adx < terms.chop else UNKNOWN, ADX

    def _within(self, name: str) -> str:
        with self._lock:
            if name not in self._names:
                if len(self._names) >= _MOST_NAMES:
                    return _OTHER
                self._names[name] = None
        return name

    def _step(self, known: _Standing, market: Market, said: str, by: str, now: int) -> RegimeChanged | None:
        """Go on by one bar: a new regime is believed when it was said for some bars in a row."""
        known.last = market
        if known.seen == 1:
            known.since = known.at
        if said == known.name:
            known.candidate, known.held = None, 0
        elif said == known.candidate:
            known.held += 1
        else:
            known.candidate, known.held = said, 1
        event = None
        # an ADX that wavers about a threshold leaves it at once and is soon back: that is no change
        faded = known.candidate == UNKNOWN and by == ADX
        if known.candidate is not None and known.held >= (self._terms.fade if faded else self._terms.hold):
            event = RegimeChanged(
                ts_ns=now, symbol=market.symbol, previous=known.name, regime=said, lasted_bars=known.bars,
                lasted_s=max(known.at - known.since, 0) / 1e9, held_bars=known.held, by=by, adx=market.adx,
                atr=market.atr, plus_di=market.plus_di, minus_di=market.minus_di, close=market.close,
                volatility_bps=market.volatility_bps, bar_ts=market.ts if known.at == known.dated else None,
            )  # fmt: skip
            known.name, known.since, known.bars = said, known.at, 0
            known.candidate, known.held = None, 0
            self.changes += 1
        known.bars += 1
        known.spent[known.name] = known.spent.get(known.name, 0) + 1
        return event

    # -- over a restart ----------------------------------------------------------------------------------------------

    def begin(self, history: StreamReader | None) -> None:
        """Count the trades that an earlier run did not live to count."""
        if history is not None:
            with contextlib.suppress(OSError):
                self.catch_up(list(history.latest("trade_lifecycle", _TRADES_BACK)))

    @property
    def steps(self) -> int:
        """How many bars it has seen, over all markets."""
        return sum(known.seen for known in list(self._known.values()))

    def state(self) -> dict[str, Any]:
        """All it knows, for JSON."""
        with self._lock:
            return {
                "symbols": {symbol: _kept(known) for symbol, known in self._known.items()},
                "names": list(self._names),
                "gone": dict(self._gone),
                "earned": self._earned.state(),
            }

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems: list[str] = []
        with self._lock:
            try:
                self._earned = Earned.of_state(state["earned"])
                self._names.update(dict.fromkeys(str(name) for name in state["names"][:_MOST_NAMES]))
                symbols = dict(state["symbols"])
                self._gone = {str(name): int(count) for name, count in state.get("gone", {}).items()}
            except Exception as error:
                return [f"regimes: {type(error).__name__}"]
            for symbol, told in symbols.items():
                try:
                    self._known[symbol] = _again(symbol, told)
                except Exception as error:
                    problems.append(f"the regime of {symbol}: {type(error).__name__}"[:200])
        return problems

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()
        self._classifier = None


def _kept(known: _Standing) -> list[Any]:
    last = None if known.last is None else attrs.asdict(known.last)
    return [
        known.meter.state(), known.name, known.since, known.at, known.bars, known.seen, known.dated, known.candidate,
        known.held, known.spent, last,
    ]  # fmt: skip


def _again(symbol: str, told: list[Any]) -> _Standing:
    known = _Standing()
    known.meter = Meter.of_state(told[0])
    known.name, known.since, known.at, known.bars, known.seen = str(told[1]), *(int(value) for value in told[2:6])
    known.used = known.at
    known.dated = None if told[6] is None else int(told[6])
    known.candidate, known.held = None if told[7] is None else str(told[7]), int(told[8])
    known.spent = {str(name): int(count) for name, count in told[9].items()}
    known.last = None if told[10] is None else Market(**{**told[10], "symbol": symbol})
    return known
