"""A bot whose process lives but that decides nothing: noticed by what is usual for it.

The usual interval is learned. Time is cut into stretches of at least a minute, and of each the longest gap between
two decisions counts, so that a burst of decisions says nothing about the pause after it. Usual is what three of four
stretches stay below: an outage now and then teaches nothing, and a bot that turns slower is soon known for it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from botobs.events.vitals import BotAwake, BotSilent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.clock import Clock
    from botobs.events import Event

__all__ = ["SilenceWatch"]

_S = 1_000_000_000
_STRETCH_NS = 60 * _S
_STRETCHES = 32
_LONGEST_S = 36_500 * 86_400.0


class SilenceWatch:
    """Learns how often the bot decides, and tells when it has stopped.

    Args:
        clock: Tells the time; durations are steady ones.
        publish: Takes the events.
        several: How many times its usual interval a bot may be silent.
        least_s: No silence shorter than that is one.

    Example:
        >>> from botobs.testing import Clock
        >>> clock, said = Clock(), []
        >>> watch = SilenceWatch(clock, said.append)
        >>> for _ in range(10):
        ...     watch.decided()
        ...     clock.advance(60)
        >>> watch.tick()
        >>> clock.advance("5m")
        >>> watch.tick()
        >>> [(type(event).__name__, event.usual_s) for event in said]
        [('BotSilent', 60.0)]
    """

    __slots__ = (
        "_clock",
        "_gap",
        "_gaps",
        "_last",
        "_least_s",
        "_limit_s",
        "_now",
        "_publish",
        "_several",
        "_silent_since",
        "_stretch",
    )

    def __init__(
        self, clock: Clock, publish: Callable[[Event], object], *, several: float = 5.0, least_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._now = clock.perf_ns
        self._publish = publish
        self._several = several
        self._least_s = least_s
        self._limit_s: float | None = None  # as the bot said
        self._gaps: deque[float] = deque(maxlen=_STRETCHES)
        self._last: int | None = None
        self._gap = 0
        self._stretch = 0
        self._silent_since: int | None = None

    def decided(self) -> None:
        """The bot decided something; called at the end of every tick."""
        now = self._now()
        last, self._last = self._last, now
        if last is None:
            self._stretch = now
            return
        gap = now - last
        if gap > self._gap:  # noqa: PLR1730  # a third of the cost of max()
            self._gap = gap
        if now - self._stretch >= _STRETCH_NS:
            self._learn(now)

    def expect(self, after_s: float | None) -> None:
        """Take `after_s` for the limit instead of what was learned; `None`: what was learned."""
        self._limit_s = after_s

    @property
    def age_s(self) -> float | None:
        """Seconds since the last decision; `None`: there was none in this run."""
        last = self._last
        return None if last is None else max(self._now() - last, 0) / _S

    @property
    def usual_s(self) -> float | None:
        """The interval between decisions that is usual for this bot; `None`: not known as yet."""
        gaps = sorted(self._gaps)
        return gaps[math.ceil(len(gaps) * 0.75) - 1] if gaps else None

    @property
    def limit_s(self) -> float | None:
        """How long it may be silent; `None`: not known as yet."""
        if self._limit_s is not None:
            return self._limit_s
        usual = self.usual_s
        return None if usual is None else max(usual * self._several, self._least_s)

    @property
    def silent(self) -> bool:
        """Whether it is silent, as of the last `tick`."""
        return self._silent_since is not None

    def tick(self) -> None:
        """Look; about once a second."""
        last, limit = self._last, self.limit_s
        if last is None or limit is None:
            return
        since = self._silent_since
        if since is not None:
            if last != since:
                self._silent_since = None
                self._publish(BotAwake(ts_ns=self._clock.time_ns(), age_s=round((last - since) / _S, 3)))
            return
        age = (self._now() - last) / _S
        if age > limit:
            self._silent_since = last
            usual = self.usual_s
            self._publish(
                BotSilent(
                    ts_ns=self._clock.time_ns(), age_s=round(age, 3), limit_s=round(limit, 3),
                    usual_s=None if usual is None else round(usual, 3),
                )
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What was learned, as plain JSON."""
        return {"gaps": list(self._gaps)}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on with what an earlier run learned; damaged parts are left out."""
        self._gaps.extend(_sane(state))

    def _learn(self, now: int) -> None:
        gap, self._gap, self._stretch = self._gap, 0, now
        self._gaps.append(gap / _S)


def _sane(state: Any) -> Iterator[float]:
    gaps = state.get("gaps") if isinstance(state, dict) else None
    for gap in gaps if isinstance(gaps, list) else ():
        if isinstance(gap, int | float) and not isinstance(gap, bool) and 0 <= gap < _LONGEST_S:
            yield float(gap)
