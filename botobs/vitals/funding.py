"""Funding rates and how old they are: a rate that has not come for an hour is no rate to carry a position by."""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from botobs.clock import epoch_ns
from botobs.events.vitals import FundingAged
from botobs.trackers.given import real, word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["FundingRate", "FundingRates"]

_S = 1_000_000_000
_MOST_SYMBOLS = 1_000


@attrs.frozen
class FundingRate:
    """The latest funding rate of a symbol.

    Attributes:
        rate: The rate; `None`: none has come in this run.
        next_ns: When it is paid next, in nanoseconds since 1970, where the bot says so.
        age_s: How long ago it came.
    """

    rate: float | None
    next_ns: int | None
    age_s: float


class _Rate:
    __slots__ = ("last", "next_ns", "rate", "since", "stale_since", "symbol")

    def __init__(self, symbol: str, now: int, last: int) -> None:
        self.symbol = symbol
        self.last = last
        self.since = now  # at a start the rate of the run before is old and no news
        self.rate: float | None = None
        self.next_ns: int | None = None
        self.stale_since: int | None = None


class FundingRates:
    """Watches the ages of funding rates, of every symbol that was named once. Threads may share it.

    Args:
        clock: Tells the time.
        publish: Takes the events.
        faults: Where errors are counted.
        after_s: How old a rate may be.
    """

    def __init__(
        self, clock: Clock, publish: Callable[[Event], object], faults: Faults, *, after_s: float = 3_600.0
    ) -> None:
        self._clock = clock
        self._now = clock.perf_ns
        self._publish = publish
        self._faults = faults
        self._after = int(after_s * _S)
        self._rates: dict[str, _Rate] = {}
        self._remembered: dict[str, int] = {}  # wall time
        self.on_rate: Callable[[str, Any, int | None], object] | None = None  # a rate, and when it is paid
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here

    def funding_rate(self, symbol: str, rate: Any, next_ts: Any = None) -> None:
        """The current funding rate of `symbol`, and when it is paid next. What is no number does not refresh it."""
        try:
            self._take(symbol, rate, next_ts)
        except Exception as error:
            self._faults.error("funding_rate", error)

    @property
    def rates(self) -> dict[str, FundingRate]:
        """The latest rate of each symbol."""
        now = self._now()
        return {
            one.symbol: FundingRate(one.rate, one.next_ns, max(now - one.last, 0) / _S)
            for one in list(self._rates.values())
        }

    def stale(self) -> dict[str, float]:
        """The symbols whose rate is too old, with its age in seconds."""
        now = self._now()
        return {one.symbol: (now - one.last) / _S for one in list(self._rates.values()) if now - one.last > self._after}

    def tick(self) -> None:
        """Look at all of them; about once a second, on any one thread."""
        events: list[Event] = []
        with self._lock:
            now, limit_s = self._now(), self._after / _S
            for one in self._rates.values():
                stale = now - max(one.last, one.since) > self._after
                if stale and one.stale_since is None:
                    one.stale_since = one.last
                    events.append(
                        FundingAged(
                            ts_ns=self._clock.time_ns(), symbol=one.symbol, age_s=round((now - one.last) / _S, 3),
                            limit_s=limit_s, rate=one.rate,
                        )
                    )  # fmt: skip
                elif not stale and one.stale_since is not None:
                    age_s = round((one.last - one.stale_since) / _S, 3)
                    one.stale_since = None
                    events.append(
                        FundingAged(
                            ts_ns=self._clock.time_ns(),
                            symbol=one.symbol,
                            age_s=age_s,
                            limit_s=limit_s,
                            rate=one.rate,
                            resolved=True,
                        )
                    )
        for event in events:
            self._publish(event)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    def state(self) -> dict[str, Any]:
        """When each rate came, as plain JSON."""
        now, wall = self._now(), self._clock.time_ns()
        with self._lock:
            came = {one.symbol: wall - (now - one.last) for one in self._rates.values() if one.rate is not None}
            return {"rates": {**self._remembered, **came}}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Remember when rates came in an earlier run; they count once this run names them. Never raises."""
        told = state.get("rates") if isinstance(state, dict) else None
        for symbol, at in islice(told.items(), _MOST_SYMBOLS) if isinstance(told, dict) else ():
            if isinstance(symbol, str) and type(at) is int:
                self._remembered[symbol] = at

    def _take(self, symbol: Any, rate: Any, next_ts: Any) -> None:
        problems: list[str] = []
        name = word("symbol", symbol, problems)
        found = real("rate", rate, problems)
        next_ns = None
        if next_ts is not None:
            try:
                next_ns = epoch_ns(next_ts)
            except Exception:
                problems.append("next_ts: not a time")
        if name is None:
            problems.append("no symbol")
        else:
            self._set(name, found, next_ns)
            if self.on_rate is not None:
                self.on_rate(name, None if found is None else rate, next_ns)
        if problems:
            self._faults.say("funding_rate", problems[0][:80], f"funding_rate: {'; '.join(problems)}")

    def _set(self, name: str, rate: float | None, next_ns: int | None) -> None:
        with self._lock:
            now = self._now()
            one = self._rates.get(name)
            if one is None:
                if len(self._rates) >= _MOST_SYMBOLS:
                    self._faults.say("funding_rate", "symbols", f"more than {_MOST_SYMBOLS}: {name!r} is not watched")
                    return
                at = self._remembered.pop(name, None)
                last = now if at is None else now - max(self._clock.time_ns() - at, 0)
                one = self._rates[name] = _Rate(name, now, last)
            if rate is not None:
                one.last, one.rate, one.next_ns = now, rate, next_ns
