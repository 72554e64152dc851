"""One series of outcomes, watched for a change to the worse: a sequential test by ranks.

Each outcome is ranked among those before it. As long as outcomes come from the same source, their ranks are independent
of each other and uniform, whatever the distribution: fat tails, skew and the scale make no difference, and no error of
an estimated norm makes false alarms more frequent. The rank becomes the normal score that belongs to it, and the scores
are summed by three one-sided CUSUMs, for small, middle and large changes. Their limits follow from the rate of false
alarms that is wanted.

The outcomes of a change must not become the norm that they are held against: with the alarm, all since its onset are
taken out of the norm, and what comes is kept apart until it is over. The onset is where the outcomes before and after
differ most, within what the CUSUM summed.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left, bisect_right, insort
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RECENT", "Outcome", "Watch", "chance", "limit", "score"]

#: So many of the latest outcomes are "recent".
RECENT: Final = 50

_SLACKS: Final = (0.1, 0.25, 0.5)  # each is best for changes of twice its size, in standard deviations
_OVER: Final = 1.166  # by how much a sum of normal scores steps over a limit, on both ends
_CLIP: Final = 3.0  # deviations, where a person gave the norm
_SURE: Final = 1.4826
_FAR: Final = 4.0  # scales from the middle; what is farther off must not say alone when a change began
_MOST_SAID: Final = 1e9
_STANDARD: Final = NormalDist()


#: A value, and when it came.
Outcome = tuple[float, int]


class Watch:
    """One series. Not locked.

    Args:
        every: One false alarm in so many outcomes, on average.
        warm_up: So many outcomes make a norm.
        memory: The norm is made of so many of the latest outcomes.
        more_is_worse: As for slippage; for an edge, less is.

    Attributes:
        n: How many outcomes there were.
        alarmed: Whether it has left its norm.
        since_ns: When the first outcome came that belongs to the change; `None`: there is none.
        given: Mean and deviation, where a person gave the norm.

    Example:
        >>> watch = Watch(every=1_000)
        >>> said = [watch.add(10 + n * 7 % 11, ts_ns=n) for n in range(200)]
        >>> said += [watch.add(n * 7 % 11, ts_ns=200 + n) for n in range(20)]
        >>> set(said[:200]), watch.alarmed, watch.since_ns
        ({None}, True, 200)
    """

    __slots__ = (
        "_back", "_back_n", "_fired", "_fresh", "_norm", "_recent", "_slacks", "_sorted", "_sums", "alarmed", "every",
        "given", "memory", "n", "since_ns", "warm_up", "worse",
    )  # fmt: skip

    def __init__(
        self, every: float = 1_000.0, warm_up: int = 50, memory: int = 1_000, *, more_is_worse: bool = False
    ) -> None:
        self.every, self.warm_up, self.memory = every, warm_up, memory
        self.worse = 1.0 if more_is_worse else -1.0
        self.given: tuple[float, float] | None = None
        self.n = 0
        self.alarmed = False
        self.since_ns: int | None = None
        self._recent: list[float] = []
        self._forget([])

    def _forget(self, norm: list[Outcome]) -> None:
        """Begin with this norm, and nothing against it."""
        self.alarmed, self.since_ns = False, None
        self._norm = norm[-self.memory :]
        self._sorted = sorted(value for value, _ in self._norm)
        self._sums: list[list[Any]] = [[0.0, 0] for _ in _SLACKS]  # of each CUSUM: its sum, of how many scores
        self._slacks = tuple((slack, limit(slack, self.every)) for slack in _SLACKS)
        self._fired = 0
        self._fresh: list[Outcome] = []
        self._back, self._back_n = 0.0, 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def add(self, value: float, ts_ns: int = 0) -> str | None:
        """One more outcome; `alarm`, `cleared`, `renewed`, or `None`: nothing to say."""
        self.n += 1
        self._recent.append(value)
        del self._recent[:-RECENT]
        if self.alarmed:
            return self._after(value, ts_ns)
        bad = None
        if self.given is not None:
            bad = self._against(value)
        elif len(self._norm) >= self.warm_up:
            bad = self.worse * score(self._sorted, value)
        self._keep(value, ts_ns)
        return None if bad is None else self._weigh(bad)

    def _weigh(self, bad: float) -> str | None:
        worst = 1.0
        for at, (slack, most) in enumerate(self._slacks):
            cusum = self._sums[at]
            total = cusum[0] + bad - slack
            if total <= 0.0:
                cusum[0], cusum[1] = 0.0, 0
                continue
            cusum[0], cusum[1] = total, cusum[1] + 1
            if total >= most * worst:
                worst, self._fired, self.alarmed = total / most, at, True
        if not self.alarmed:
            return None
        kept = self._onset(self._sums[self._fired][1])
        self._norm, self._fresh = self._norm[:kept], self._norm[kept:]
        self._sorted = sorted(value for value, _ in self._norm)
        self.since_ns = self._fresh[0][1]
        self._back, self._back_n = 0.0, 0
        return "alarm"

    def _onset(self, count: int) -> int:
        """At which of the outcomes the change began, among the latest `count`."""
        middle, wide = median(self._sorted), _FAR * (self.scale or math.inf)
        low, high = middle - wide, middle + wide
        values = [min(max(value, low), high) for value, _ in self._norm]
        held, all_of_them, after = len(values), sum(values), 0.0
        best, found = -math.inf, held - 1
        least = 0 if self.given is not None else min(self.warm_up, held - 1)
        for at in range(held - 1, max(held - count, least) - 1, -1):
            after += values[at]
            n = held - at
            if self.given is not None:
                apart = (after / n - self.given[0]) * math.sqrt(n)
            else:
                apart = (after / n - (all_of_them - after) / at) * math.sqrt(n * at / held)
            if self.worse * apart > best:
                best, found = self.worse * apart, at
        return found

    def _after(self, value: float, ts_ns: int) -> str | None:
        """It has left its norm: is it back?"""
        bad = self._against(value) if self.given is not None else self.worse * score(self._sorted, value)
        self._fresh.append((value, ts_ns))
        slack = self._slacks[self._fired][0]
        self._back += slack - bad
        self._back_n += 1
        if self._back <= 0.0:
            self._back, self._back_n = 0.0, 0
        elif self._back >= limit(slack, self.every):  # as sure as the alarm was
            self._forget(self._norm + self._fresh[-self._back_n :])
            return "cleared"
        if len(self._fresh) >= self.memory:  # as long as a norm is: it is one
            self._forget(self._fresh)
            return "renewed"
        return None

    def _keep(self, value: float, ts_ns: int) -> None:
        self._norm.append((value, ts_ns))
        insort(self._sorted, value)
        if len(self._norm) > self.memory:
            old = self._norm.pop(0)[0]
            del self._sorted[bisect_left(self._sorted, old)]

    def _against(self, value: float) -> float:
        """How bad it is by the norm that a person gave."""
        assert self.given is not None
        mean, deviation = self.given
        return max(-_CLIP, min(_CLIP, self.worse * (value - mean) / deviation))

    def give(self, norm: tuple[float, float] | None) -> None:
        """Hold outcomes against this mean and deviation from now on; `None`: against what they were."""
        self.given = norm
        self._forget(self._norm + self._fresh if norm is None else self._norm)

    def renew(self) -> None:
        """What it is now is its norm."""
        self._forget(self._fresh if self.alarmed else self._norm)

    # -- what is asked -----------------------------------------------------------------------------------------------

    @property
    def mean(self) -> float | None:
        """The norm; `None`: nothing was seen."""
        if self.given is not None:
            return self.given[0]
        return _mean(self._norm) if self._norm else None

    @property
    def scale(self) -> float | None:
        """How far outcomes of the norm usually are from their middle."""
        if self.given is not None:
            return self.given[1]
        if len(self._sorted) < 2:
            return None
        middle = median(self._sorted)
        return _SURE * median([abs(one - middle) for one in self._sorted])

    @property
    def recent(self) -> float | None:
        """The mean of the latest outcomes."""
        return fmean(self._recent) if self._recent else None

    @property
    def changed(self) -> tuple[float, int] | None:
        """The mean of the outcomes since the onset, and how many they are; `None`: there is no alarm."""
        return (_mean(self._fresh), len(self._fresh)) if self.alarmed and self._fresh else None

    @property
    def level(self) -> float:
        """How near it is to an alarm; 1: there."""
        if self.alarmed:
            return 1.0
        nearest: float = max(cusum[0] / most for cusum, (_, most) in zip(self._sums, self._slacks, strict=True))
        return min(nearest, 1.0)

    @property
    def once_in(self) -> float:
        """In how many outcomes chance alone goes as far as this once."""
        return max(
            chance(slack, cusum[0], self.every) for cusum, (slack, _) in zip(self._sums, self._slacks, strict=True)
        )

    @property
    def lacking(self) -> int:
        """How many outcomes are lacking for a norm."""
        return 0 if self.alarmed or self.given is not None else max(self.warm_up - len(self._norm), 0)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All it knows, for JSON."""
        return {
            "n": self.n, "alarmed": self.alarmed, "since_ns": self.since_ns, "given": self.given,
            "recent": self._recent, "norm": self._norm, "fresh": self._fresh, "sums": self._sums,
            "fired": self._fired, "back": [self._back, self._back_n],
        }  # fmt: skip

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        given, sums = state["given"], state["sums"]
        norm, fresh = (_outcomes(state[name]) for name in ("norm", "fresh"))
        recent = _finite(state["recent"])
        back, back_n = _finite(state["back"][:1])[0], int(state["back"][1])
        if len(sums) != len(_SLACKS) or not 0 <= int(state["fired"]) < len(_SLACKS):
            raise ValueError("not the state of a watch")
        made = [[_finite([total])[0], int(count)] for total, count in sums]
        held = None if given is None else (_finite(given)[0], _finite(given)[1])
        if held is not None and not held[1] > 0.0:
            raise ValueError("not the state of a watch")
        self.given = held
        self._forget(norm)
        self.n, self.alarmed = int(state["n"]), state["alarmed"] is True
        self.since_ns = None if state["since_ns"] is None else int(state["since_ns"])
        self._sums, self._fired, self._recent = made, int(state["fired"]), recent[-RECENT:]
        self._fresh, self._back, self._back_n = fresh[-self.memory :], back, back_n


def score(before: Sequence[float], value: float) -> float:
    """The normal score of a value's rank among those `before`, which are sorted; its mean is zero, with ties too.

    Example:
        >>> score([1.0, 2.0, 3.0], 2.5) > 0 > score([1.0, 2.0, 3.0], 0.0), score([], 5.0), score([4.0, 4.0], 4.0)
        (True, 0.0, 0.0)
    """
    count = len(before) + 1
    low, high = bisect_left(before, value), bisect_right(before, value) + 1
    return (_density(low / count) - _density(high / count)) * count / (high - low)


def _density(share: float) -> float:
    """That of the normal distribution at one of its quantiles."""
    if not 0.0 < share < 1.0:
        return 0.0
    at = _STANDARD.inv_cdf(share)
    return math.exp(-0.5 * at * at) * 0.3989422804014327


@functools.lru_cache(maxsize=256)
def limit(slack: float, every: float) -> float:
    """Where a CUSUM with this slack gives alarm, so that all of them together do so once in `every` by chance.

    Siegmund's formula for one, solved for the limit, and `_together`.
    """
    wanted = every * _together(every) * 2.0 * slack * slack
    found = math.sqrt(2.0 * wanted) + 1.0
    for _ in range(200):
        found = math.log1p(found + wanted)
    return max(found / (2.0 * slack) - _OVER, slack)


def chance(slack: float, total: float, every: float) -> float:
    """The same the other way round: in how many outcomes chance alone goes that far once."""
    far = min(2.0 * slack * (total + _OVER), 700.0)
    return min((math.exp(far) - far - 1.0) / (2.0 * slack * slack * _together(every)), _MOST_SAID)


def _together(every: float) -> float:
    """How much rarer each of three CUSUMs must be, which see the same scores; found by simulation."""
    return 1.0 + 0.145 * math.log(every)


def _mean(outcomes: Sequence[Outcome]) -> float:
    return fmean(value for value, _ in outcomes)


def _outcomes(told: Sequence[Any]) -> list[Outcome]:
    values = _finite([value for value, _ in told])
    return [(value, int(ts_ns)) for value, (_, ts_ns) in zip(values, told, strict=True)]


def _finite(values: Sequence[Any]) -> list[float]:
    found = [float(value) for value in values]
    if not all(map(math.isfinite, found)):
        raise ValueError("not the state of a watch")
    return found
