"""Whether a bot still has its edge: alarms before the drawdown, and where prices go after its decisions."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botobs.clock import epoch_ns
from botobs.insight.edge.markouts import Markouts
from botobs.insight.edge.pool import Pool
from botobs.insight.edge.terms import EdgeTerms
from botobs.insight.edge.watches import ALL, EDGE, SLIPPAGE, Watches
from botobs.insight.names import finite, plain
from botobs.insight.part import Part
from botobs.performance.closed import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from botobs.events.base import Event
    from botobs.events.money import FillBooked, TradeClosed
    from botobs.faults import Faults
    from botobs.insight.edge.pool import Slipped
    from botobs.insight.edge.told import Curve, EdgeState, HalfLife
    from botobs.sinks.metrics.readings import Said
    from botobs.streams.reader import StreamReader

__all__ = ["Edge"]

_FARTHEST: Final = 1e6  # bps
_MOST_TRADES: Final = 1_000
_TRADES_BACK: Final = 200


class Edge(Part):
    """Watches net PnL of trades and slippage of orders, and follows prices after decisions; usable on its own.

    Args:
        terms: The rate of false alarms, horizons and memory.
        publish: Gets `EdgeAlarm`, `EdgeCleared` and `MarkoutSettled`.
        faults: Where outcomes that are no numbers are counted.
        settle: Called before a question is answered: has done what waits.
        wall: Tells the time of what a person says.
        live: Else time passes only when the bot does something, as in a backtest.

    Attributes:
        odd: How many outcomes were no numbers.

    Example:
        >>> edge = Edge()
        >>> for n in range(300):  # trades that make 5 bps on average, and later lose as much
        ...     edge.learn(n * 37 % 101 - 45 if n < 200 else n * 37 % 101 - 75, strategy="bma")
        >>> found = edge.standing(strategy="bma")
        >>> found.alarmed, round(found.norm_bps), round(found.changed_bps)
        (True, 5, -25)
    """

    file: ClassVar[str | None] = "edge.json"
    names: ClassVar[tuple[str, ...]] = ("bot_edge_bps", "bot_edge_alarm", "bot_signal_half_life_seconds")

    def __init__(
        self,
        terms: EdgeTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        settle: Callable[[], object] | None = None,
        wall: Callable[[], int] = lambda: 0,
        live: bool = True,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms = terms or EdgeTerms()
        self._publish, self._faults, self._settle, self._wall = publish, faults, settle, wall
        self._live = live
        self._lock = threading.RLock()
        self._watches = Watches(terms.false_alarms, terms.warm_up, terms.memory)
        self._curves = Markouts(terms.markouts, terms.memory, live=live)
        self._pool = Pool()
        self._trades: OrderedDict[str, None] = OrderedDict()
        self._latest_ns = 0
        self.changes = self.odd = 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def closed(self, event: TradeClosed) -> None:
        """A trade was closed. One that becomes another later counts as it was: the test has seen it."""
        if not event.undone and event.revision == 1:
            self._trade(event.trade_id, event.record, event.ts_ns)

    def _trade(self, trade_id: str, record: Mapping[str, Any], ts_ns: int) -> None:
        with self._lock:
            if trade_id in self._trades:  # told again after a restart
                return
            self._trades[trade_id] = None
            if len(self._trades) > _MOST_TRADES:
                self._trades.popitem(last=False)
            self._latest_ns = max(self._latest_ns, ts_ns)
            made = record.get("net_pnl_bps")
            events = [] if made is None else self._outcome(EDGE, plain(record.get("strategy_id")), made, ts_ns)
        self._tell(events)

    def filled(self, event: FillBooked) -> None:
        """A fill was booked."""
        bps = event.slippage_bps
        if bps is None or event.fill_kind != "live":
            return
        with self._lock:
            over = self._pool.fill(
                event.order_id, plain(event.strategy) or UNNAMED, bps, finite(event.qty) or 0.0, event.ts_ns
            )
            events = self._slipped(over)
        self._tell(events)

    def chore(self, now: int) -> None:
        """A second has passed."""
        with self._lock:
            events = [*self._slipped(self._pool.due(now)), *self._curves.expire(now)]
        self._tell(events)

    def learn(self, value: Any, *, what: str = EDGE, strategy: str | None = None, ts_ns: int = 0) -> None:
        """An outcome in bps, from wherever it is known: a history, a backtest.

        Args:
            value: Net PnL of a trade, or slippage of an order, in bps of what was entered with.
            what: `edge` or `slippage`.
            strategy: Whose.
            ts_ns: When it came.

        Raises:
            ValueError: `what` is neither.
        """
        _known(what)
        with self._lock:
            events = self._outcome(what, plain(strategy), value, ts_ns)
        self._tell(events)

    def decided(self, symbol: str, sign: int, price: Any, since: int, **more: Any) -> bool:
        """A decision to buy (1) or sell (-1) was made at this price; whether it is followed. See `Markouts.decided`."""
        began, mark = finite(price), finite(more.pop("mark", None))
        if began is None or began <= 0.0:
            return False
        with self._lock:
            return self._curves.decided(symbol, 1 if sign > 0 else -1, began, since, mark=mark, **more)

    def predicted(  # noqa: PLR0917 - as `Work` calls it
        self, symbol: str, source: str | None, pred: Any, price: Any, since: int, mark: Any = None
    ) -> bool:
        """A move was predicted, at this price; whether it is followed: a prediction of nothing points nowhere."""
        found = finite(pred)
        if not found:
            return False
        sign = 1 if found > 0.0 else -1
        return self.decided(symbol, sign, price, since, mark=mark, source=source, pred_bps=found)

    @property
    def timed(self) -> list[str]:
        """The symbols whose price is wanted now."""
        return self._curves.pending.symbols

    def price(self, symbol: str, price: Any, at: int, now: int) -> None:
        """At `now`, the newest price is this, and the bot's loop last turned at `at`."""
        found = finite(price)
        if found is None or found <= 0.0:
            return
        with self._lock:
            events = self._curves.price(symbol, found, at if self._live else now, now)
            self.changes += len(events)
        self._tell(events)

    def finished(self, bar: tuple[Any, ...], now: int) -> None:
        """A bar has finished: its close is a price."""
        found, ended = finite(bar[4]), None
        if found is None or found <= 0.0:
            return
        if bar[6] is not None:
            with contextlib.suppress(Exception):
                ended = epoch_ns(bar[6])
        with self._lock:
            events = self._curves.bar(bar[0], found, ended, now)
            self.changes += len(events)
        self._tell(events)

    def norm(
        self, mean: float | None, deviation: float | None = None, *, what: str = EDGE, strategy: str | None = None
    ) -> None:
        """Hold outcomes against this norm, from the next one on, instead of what was learned.

        Args:
            mean: The mean, in bps; `None`: what was learned counts again.
            deviation: The standard deviation of an outcome.
            what: `edge` or `slippage`.
            strategy: Whose; default: of all together.

        Raises:
            ValueError: It is no norm.
        """
        _known(what)
        given = None
        if mean is not None:
            middle, wide = finite(mean), finite(deviation)
            if middle is None or wide is None or not wide > 0.0 or max(abs(middle), wide) > _FARTHEST:
                raise ValueError("a norm takes a mean and a deviation above zero, both in bps")
            given = (middle, wide)
        with self._lock:
            events = self._watches.give(what, _strategy(strategy), given, self._wall())
            self.changes += 1
        self._tell(events)

    def renew(self, *, what: str = EDGE, strategy: str | None = None) -> None:
        """End an alarm: what came since the change began is the norm now.

        Raises:
            ValueError: `what` is neither `edge` nor `slippage`.
        """
        _known(what)
        with self._lock:
            events = self._watches.renew(what, _strategy(strategy), self._wall())
            self.changes += 1
        self._tell(events)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def standing(self, what: str = EDGE, strategy: str | None = None) -> EdgeState:
        """How a series stands.

        Args:
            what: `edge` or `slippage`.
            strategy: Whose; default: of all together.

        Raises:
            ValueError: `what` is neither.
        """
        _known(what)
        self._have_done()
        with self._lock:
            return self._watches.state_of(what, _strategy(strategy))

    def table(self) -> list[EdgeState]:
        """Everything that is watched."""
        self._have_done()
        with self._lock:
            return self._watches.states()

    def markouts(self, symbol: str | None = None, source: str | None = None, *, strategy: str | None = None) -> Curve:
        """Where prices went after decisions, by time.

        Args:
            symbol: In which market; default: in all.
            source: After which signal's decisions; default: any.
            strategy: After a strategy's orders, in all markets; then neither of the other two.
        """
        self._have_done()
        with self._lock:
            return self._curves.curve((plain(symbol), plain(source), plain(strategy)))

    def half_life(
        self, symbol: str | None = None, source: str | None = None, *, strategy: str | None = None
    ) -> HalfLife:
        """How fast the edge of such decisions goes into the price; as `markouts`."""
        self._have_done()
        with self._lock:
            return self._curves.half_life((plain(symbol), plain(source), plain(strategy)))

    @property
    def left_out(self) -> dict[str, int]:
        """What there was no room for: decisions, curves, strategies."""
        self._have_done()
        curves = self._curves
        return {
            "decisions": curves.pending.left_out, "curves": curves.no_room, "strategies": self._watches.no_room,
        }  # fmt: skip

    def measured(self) -> Iterator[Said]:
        """Recent edges, alarms, and half-lives of signals."""
        with self._lock:
            watched = list(self._watches.measured())
            halves = [
                (key, self._curves.half_life(key, about=True))
                for key in self._curves.keys
                if key[0] is not None and key[1] is not None
            ]
        for what, strategy, recent, alarmed in watched:
            yield "bot_edge_alarm", 1 if alarmed else 0, (what, strategy)
            if what == EDGE:
                yield "bot_edge_bps", recent, (strategy,)
        for key, half in halves:
            yield "bot_signal_half_life_seconds", half.seconds, key[:2]

    # -- how ---------------------------------------------------------------------------------------------------------

    def _outcome(self, what: str, strategy: str | None, value: Any, ts_ns: int) -> Sequence[Event]:
        found = finite(value)
        if found is None or not -_FARTHEST <= found <= _FARTHEST:
            self.odd += 1
            self._faults.say("edge", what, "an outcome that is no number, or beyond any market, is left out")
            return []
        self.changes += 1
        return self._watches.add(what, strategy or UNNAMED, found, ts_ns)

    def _slipped(self, orders: Iterable[Slipped]) -> list[Event]:
        return [event for one in orders for event in self._outcome(SLIPPAGE, one.strategy, one.bps, one.ts_ns)]

    def _have_done(self) -> None:
        if self._settle is not None:
            self._settle()

    def _tell(self, events: Iterable[Event]) -> None:
        if self._publish is not None:
            for event in events:
                self._publish(event)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def begin(self, history: StreamReader | None) -> None:
        """Count the trades that an earlier run did not live to count."""
        if history is None:
            return
        with contextlib.suppress(OSError):
            for record in list(history.latest("trade_lifecycle", _TRADES_BACK)):
                trade_id = record.get("trade_id")
                with contextlib.suppress(TypeError, ValueError, OverflowError):
                    ts_ns = epoch_ns(record["exit_ts"]) if record.get("revision") == 1 else 0
                    if type(trade_id) is str and ts_ns >= self._latest_ns > 0:
                        self._trade(trade_id, record, ts_ns)

    def state(self) -> dict[str, Any]:
        """All it has to know after a restart, for JSON."""
        with self._lock:
            return {
                "watches": self._watches.state(), "curves": self._curves.state(), "pool": self._pool.state(),
                "trades": list(self._trades), "latest_ns": self._latest_ns,
            }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        with self._lock:
            try:
                self._trades = OrderedDict.fromkeys(str(key) for key in state["trades"])
                self._latest_ns = int(state["latest_ns"])
                self._pool.restore(state["pool"])
                return self._watches.restore(state["watches"]) + self._curves.restore(state["curves"])
            except Exception as error:
                return [f"edges: {type(error).__name__}"]

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()


def _known(what: str) -> None:
    if what not in (EDGE, SLIPPAGE):
        raise ValueError("it takes `edge` or `slippage`")


def _strategy(said: str | None) -> str | None:
    found = plain(said)
    return None if found == ALL else found
