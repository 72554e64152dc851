"""What happens to prices: round levels crossed, spikes and gaps, each with what the bot held and did."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botobs.accounting.instruments import guess
from botobs.accounting.numbers import number
from botobs.clock import adapt, epoch_ns
from botobs.events.prices import PriceEvent, PriceEventFollowed
from botobs.insight.names import plain
from botobs.insight.part import Part
from botobs.insight.price_events.around import Done, narrowed
from botobs.insight.price_events.counted import Counted, Counts
from botobs.insight.price_events.levels import Crossing
from botobs.insight.price_events.making import bps, made
from botobs.insight.price_events.moves import Spike
from botobs.insight.price_events.terms import PriceEventTerms
from botobs.insight.price_events.track import Found, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from decimal import Decimal

    from botobs.events.base import Event
    from botobs.faults import Faults
    from botobs.insight.price_events.around import Held
    from botobs.streams.reader import StreamReader

__all__ = ["Counted", "PriceEvents"]

_S: Final = 1_000_000_000
_MOST: Final = 500  # symbols
_MOST_TIMED: Final = 200
_IDLE_NS: Final = 86_400 * _S  # after a day without a price another symbol may take its place
_PENDING: Final = 256
_LATEST: Final = 500
_OLD_NS: Final = 120 * _S  # a bar that ended longer ago is history, if its interval is not known
_OLD: Final = 2.5  # usual intervals
_BITCOIN: Final = ("BTC", "XBT")


class _Pending:
    """An event, until it is told what followed."""

    __slots__ = ("done", "due", "event", "fresh", "kind")

    def __init__(self, event: PriceEvent, kind: str, due: int, fresh: int, done: int) -> None:
        self.event, self.kind, self.due, self.fresh, self.done = event, kind, due, fresh, done


class PriceEvents(Part):
    """Tells what happens to prices; usable on its own.

    A symbol is followed from its first bar, order or fill on. Of those that are traded, and of the reference, the
    newest price is looked at once a second as well.

    Args:
        terms: What counts.
        publish: Gets `LevelCrossed`, `VolatilitySpiked`, `PriceGapped`, and `PriceEventFollowed` some time after each.
        faults: Where failures are counted.
        clock: Where the time of prices without one comes from; default: the machine.
        held: Tells what is held of each symbol; `None` where that cannot be told now.
        base_of: Tells what a symbol buys, to know Bitcoin by; default: as its name says.

    Attributes:
        odd: How many prices and bars could not be used: no prices, or not newer than the last one.
        lost: After how many events nothing was told: too many waited.
        left_out: How many symbols there was no room for.

    Example:
        >>> events = PriceEvents()
        >>> for n, close in enumerate((99_700, 99_900, 100_100)):
        ...     found = events.bar("BTC-USD", close, close, close, close, ts=1767323000 + 60 * n)
        >>> [(type(event).__name__, str(event.level), event.direction) for event in found]
        [('LevelCrossed', '100000', 'up')]
    """

    file: ClassVar[str | None] = "price_events.json"

    def __init__(
        self,
        terms: PriceEventTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        clock: Any = None,
        held: Callable[[], Held | None] | None = None,
        base_of: Callable[[str], str | None] | None = None,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms = terms or PriceEventTerms()
        self._publish, self._faults, self._clock = publish, faults, adapt(clock)
        self._holdings: Callable[[], Held | None] = held or dict
        self._base_of = base_of or _base
        self._lock = threading.RLock()
        self._tracks: dict[str, Track] = {}
        self._timed: dict[str, None] = {}
        self._dated: dict[str, int] = {}  # the newest time that the exchange gave
        self.reference = terms.reference or None
        self._window = round(terms.window * _S)
        self._pending: deque[_Pending] = deque()
        self._latest: deque[Event] = deque(maxlen=_LATEST)
        self._counts = Counts()
        self._told = 0
        self._bars = 0
        self.done = Done()
        self.changes = self.odd = self.lost = self.left_out = 0
        if self.reference is not None:
            self._follow(self.reference, 0, timed=True)

    # -- what happens ------------------------------------------------------------------------------------------------

    def bar(  # noqa: PLR0917 - as the verb
        self,
        symbol: str,
        open: Any,  # noqa: A002 - the verb's own name
        high: Any,
        low: Any,
        close: Any,
        volume: Any = None,  # noqa: ARG002
        ts: Any = None,
        *,
        now_ns: int | None = None,
    ) -> list[PriceEvent]:
        """A finished bar, and what it told. One that is not newer than the last is left out.

        A bar that ended long before `now_ns` is history: it teaches what is usual, and tells nothing. Without
        `now_ns`, now is when it ended.
        """
        try:
            named = plain(symbol)
            prices = (number(open), number(high), number(low), number(close))
            at = None if ts is None else epoch_ns(ts)
            now = now_ns if now_ns is not None else self._clock.time_ns() if at is None else at
            if named is None or min(prices) <= 0 or (at is not None and at <= self._dated.get(named, -1)):
                raise ValueError("no bar, or none that is newer")
        except Exception:  # whatever the bot's numbers may be
            self.odd += 1
            return []
        return self._barred(named, prices, at, now, ts if type(ts) is str else None)

    def finished(self, bar: tuple[Any, ...], now: int) -> None:
        """A bar has finished."""
        symbol, opened, high, low, close, _, when = bar
        at = None if when is None else epoch_ns(when)
        self._barred(symbol, (opened, high, low, close), at, now, when)
        self._after(now)

    def price(self, symbol: str, price: Any, at: int | None = None, now: int | None = None) -> None:
        """The newest price, of the time `at`; nanoseconds since 1970, default: now."""
        known = self._tracks.get(symbol) if type(symbol) is str else None
        if known is not None and price is known.mark:  # nobody told another since
            return
        try:
            exact, named = number(price), plain(symbol)
            if named is None or exact <= 0:
                raise ValueError("no price")
        except Exception:
            self.odd += 1
            return
        now = self._clock.time_ns() if now is None else now
        with self._lock:
            track = self._follow(named, now)
            if track is None:
                return
            ended = track.minutes.since
            found = track.seen(exact, now if at is None else at, now)
            self._bars += track.minutes.since != ended
            if not found:
                return
            events = [self._event(named, one, now, None) for one in found]
        self._tell(events)

    def take(self, event: Event) -> None:
        """An order, a fill or a closed trade; on the bot's thread."""
        self.done.take(event)

    @property
    def timed(self) -> Collection[str]:
        """The symbols whose price is wanted now."""
        return list(self._timed) if self._timed else ()

    def chore(self, now: int) -> None:
        """A second has passed."""
        traded = self.done.traded
        while traded:
            with self._lock:
                self._follow(traded.popleft(), now, timed=True)
        if self._pending:
            self._after(now)

    def begin(self, history: StreamReader | None) -> None:  # noqa: ARG002 - its own file is enough
        """The run begins: what is held is followed."""
        for symbol in self._held() or ():
            with self._lock:
                self._follow(symbol, self._clock.time_ns(), timed=True)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def latest(self, n: int = 20) -> list[Event]:
        """The newest events, newest last; of at most 500."""
        found = list(self._latest.copy())  # at one stroke: nobody waits for the lock
        return found[-n:] if n > 0 else []

    def table(self) -> list[Counted]:
        """How often what happened, and what followed, a line for each symbol and kind."""
        with self._lock:
            return self._counts.table()

    @property
    def symbols(self) -> list[str]:
        """The markets that are followed."""
        with self._lock:
            return list(self._tracks)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _follow(self, symbol: str, now: int, *, timed: bool = False) -> Track | None:
        """The symbol's track; `None`: there is no room."""
        track = self._tracks.get(symbol)
        if track is None:
            if len(self._tracks) >= _MOST and not self._make_room(now):
                self.left_out += 1
                return None
            track = self._tracks[symbol] = Track(self._terms, self._terms.steps.get(symbol))
            track.used = now
            if self.reference is None and self._terms.reference is None and self._base_of(symbol) in _BITCOIN:
                self.reference, timed = symbol, True
        if timed and symbol not in self._timed:
            if len(self._timed) < _MOST_TIMED:
                self._timed[symbol] = None
            else:
                self.left_out += 1
        return track

    def _make_room(self, now: int) -> bool:
        """Let go of the symbol that had no price for longest."""
        idle = min((one for one in self._tracks if one != self.reference), key=lambda one: self._tracks[one].used)
        if now - self._tracks[idle].used < _IDLE_NS:
            return False
        del self._tracks[idle]
        self._timed.pop(idle, None)
        self._dated.pop(idle, None)
        self._counts.forget(idle)
        return True

    def _barred(
        self, symbol: str, prices: tuple[Decimal, Decimal, Decimal, Decimal], at: int | None, now: int, said: str | None
    ) -> list[PriceEvent]:
        with self._lock:
            track = self._follow(symbol, now)
            if track is None:
                return []
            self._bars += 1
            if at is None:
                at = now
            else:
                self._dated[symbol] = at
            usual = track.bars.usual_ns
            old = now - at > max(_OLD_NS, 0 if usual is None else _OLD * usual)
            found = track.bar(prices, at, now)
            if old or not found:
                return []
            events = [self._event(symbol, one, now, said) for one in found]
        self._tell(events)
        return events

    def _event(self, symbol: str, found: Found, now: int, bar_ts: str | None) -> PriceEvent:
        what, reference = found.what, symbol == self.reference
        self._told += 1
        self.changes += 1
        of = None if reference else symbol
        kind = "level" if isinstance(what, Crossing) else "spike" if isinstance(what, Spike) else "gap"
        held = narrowed(self._held(), of)
        about: dict[str, Any] = {
            "ts_ns": now, "symbol": symbol, "event_id": f"{kind}-{now // 1_000:x}-{self._told}", "price": found.price,
            "previous": found.previous, "by": found.by, "bar_ts": bar_ts, "reference": reference, "held": held,
            "did": self.done.before(now, self._window, of),
        }  # fmt: skip
        event = made(found, about)
        self._counts.came(symbol, kind, held=bool(held))
        self._latest.append(event)
        if len(self._pending) >= _PENDING:
            self._pending.popleft()
            self.lost += 1
        self._pending.append(
            _Pending(event, kind, now + self._window, self._tracks[symbol].fresh, self.done.last)
        )  # fmt: skip
        return event

    def _after(self, now: int) -> None:
        """Tell what followed the events that are old enough, if there was a price since."""
        events: list[Event] = []
        with self._lock:
            for one in [one for one in self._pending if one.due <= now or now < one.event.ts_ns]:
                if now < one.event.ts_ns:  # the clock was set back
                    one.due = min(one.due, now + self._window)
                    continue
                track = self._tracks.get(one.event.symbol or "")
                if track is not None and (track.fresh <= one.fresh or track.price is None):
                    continue
                self._pending.remove(one)
                if track is not None and track.price is not None:
                    events.append(self._followed(one, track.price, now))
        self._tell(events)

    def _followed(self, one: _Pending, price: Decimal, now: int) -> PriceEventFollowed:
        event, symbol = one.event, one.event.symbol or ""
        of = None if event.reference else symbol
        move, did = bps(math.log(price) - math.log(event.price)), self.done.since(one.done, of)
        self.changes += 1
        self._counts.followed(symbol, one.kind, move, event.direction, event.position, acted=bool(did))
        found = PriceEventFollowed(
            ts_ns=now, symbol=symbol, of=one.kind, event_id=event.event_id, direction=event.direction,
            reference=event.reference, after_s=(now - event.ts_ns) / _S, price=price, move_bps=move,
            held=narrowed(self._held(), of), did=did,
        )  # fmt: skip
        self._latest.append(found)
        return found

    def _held(self) -> Held | None:
        try:
            return self._holdings()
        except Exception as error:
            self._faults.error("price_events", error)
            return None

    def _tell(self, events: list[Any]) -> None:
        if self._publish is not None:
            for event in events:
                self._publish(event)

    # -- over a restart ----------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many bars and minutes there were."""
        return self._bars

    def state(self) -> dict[str, Any]:
        """All it has to know, for JSON; what waits for its time is not kept."""
        with self._lock:
            return {
                "reference": self.reference, "told": self._told, "timed": list(self._timed), "dated": dict(self._dated),
                "counts": self._counts.state(), "symbols": {key: one.state() for key, one in self._tracks.items()},
            }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems: list[str] = []
        with self._lock:
            try:
                self._told = int(state["told"])
                self._dated = {str(symbol): int(at) for symbol, at in state["dated"].items()}
                self._counts.restore(state["counts"])
                if self._terms.reference is None and isinstance(state["reference"], str):
                    self.reference = state["reference"]
                timed = [one for one in state["timed"] if isinstance(one, str)]
                found = dict(state["symbols"])
            except Exception as error:
                return [f"price events: {type(error).__name__}"]
            for symbol, kept in list(found.items())[:_MOST]:
                track = Track(self._terms, self._terms.steps.get(symbol))
                try:
                    track.restore(kept)
                except Exception:
                    problems.append(f"price events of {symbol}")
                else:
                    self._tracks[symbol] = track
            self._timed.update(dict.fromkeys(timed[:_MOST_TIMED]))
        return problems

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()


def _base(symbol: str) -> str | None:
    return guess(symbol).base
