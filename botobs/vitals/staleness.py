"""How old the features are that the bot trades on.

Every feature that was named once is watched: it is stale when nothing came for longer than its limit, five minutes
unless `watch` says else. `None` and NaN are nothing; 0.0 is a value. A feature that keeps coming and never changes can
be watched too. Ages are steady time: setting the machine's clock makes nothing stale.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

from botobs.clock import epoch_ns
from botobs.config.values import period
from botobs.events.safety import FeaturesStale
from botobs.events.vitals import FeaturesLogged
from botobs.trackers.given import word

from .marks import PLAIN, fingerprint, says_something, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["Feature", "Staleness"]

_S = 1_000_000_000
_MOST_NAMES = 1_000
_MOST_AT_ONCE = 10_000
_SHOWN = 100
_NOTHING: Mapping[str, float] = {}
_UNSEEN = object()
_LATEST = 1 << 63


class Feature:
    """One feature; moments are of the steady clock, in nanoseconds.

    Attributes:
        name: What the bot calls it.
        last: When its value came, or was true where the bot says so; before the first one: when it was first named, or
            when it came in an earlier run.
        since: From when on its age may alert: at a start, features of the run before are old and no news.
        limit: How old it may be.
        frozen: How long it may stay the same; `None`: as long as it likes.
        changed: When it last changed.
    """

    __slots__ = ("changed", "frozen", "last", "limit", "mark", "name", "since")

    def __init__(self, name: str, now: int, last: int, limit: int) -> None:
        self.name = name
        self.last = last
        self.since = now
        self.limit = limit
        self.frozen: int | None = None
        self.changed = now
        self.mark: Any = _UNSEEN

    def deadline(self) -> int:
        """When it will be stale if nothing comes."""
        stale = self.last + self.limit
        return stale if self.frozen is None or self.mark is _UNSEEN else min(stale, self.changed + self.frozen)

    def stale_s(self, now: int, *, graced: bool) -> float | None:
        """How old it is, in seconds, if that is too old."""
        since = max(self.last, self.since) if graced else self.last
        if now - since > self.limit:
            return (now - self.last) / _S
        return (now - self.changed) / _S if self.is_frozen(now) else None

    def is_frozen(self, now: int) -> bool:
        """Whether it has stayed the same for too long."""
        return self.frozen is not None and self.mark is not _UNSEEN and now - self.changed > self.frozen


class Staleness:
    """Watches the ages of features. Threads may share it.

    Args:
        clock: Tells the time.
        publish: Takes the events.
        faults: Where errors are counted.
        after_s: How old a feature may be unless `watch` says else.
        most: How many may be stale before it is an alert.
        log_every_s: The feature log gets no more than one record in so many seconds.

    Example:
        >>> from botobs.faults import Faults
        >>> from botobs.testing import Clock
        >>> clock = Clock()
        >>> staleness = Staleness(clock, print, Faults())
        >>> staleness.feature_value("momentum", 0.0)
        >>> staleness.watch("momentum", after="1m")
        >>> clock.advance(61)
        >>> staleness.stale_features
        {'momentum': 61.0}
    """

    def __init__(
        self,
        clock: Clock,
        publish: Callable[[Event], object],
        faults: Faults,
        *,
        after_s: float = 300.0,
        most: int = 5,
        log_every_s: float = 30.0,
    ) -> None:
        self._clock = clock
        self._now = clock.perf_ns
        self._publish = publish
        self._faults = faults
        self._after = int(after_s * _S)
        self._most = most
        self._every = int(log_every_s * _S)
        self._features: dict[str, Feature] = {}
        self._remembered: dict[str, tuple[int, int, int | None]] = {}  # wall time it came, it changed; its sum
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here
        self._earliest = _LATEST  # before that moment nothing can have become stale
        self._alert_since: int | None = None
        self._logged: frozenset[str] = frozenset()
        self._logged_alert = False
        self._logged_at: int | None = None

    # -- verbs -------------------------------------------------------------------------------------------------------

    def feature_value(self, name: str, value: Any, ts: Any = None) -> None:
        """The bot has seen `value` of the feature `name`; `ts`: when it was true, else now."""
        try:
            now = self._now()
            self._take(name, value, now, now if ts is None else self._moment(ts, now))
        except Exception as error:
            self._faults.error("feature_value", error)

    def feature_values(self, values: Mapping[str, Any], ts: Any = None) -> None:
        """The bot has seen these values, by the features' names."""
        try:
            now = self._now()
            at = now if ts is None else self._moment(ts, now)
            items = getattr(values, "items", None)
            if items is None:
                self._faults.say("feature_values", "wrong", "feature_values takes a mapping of names to values")
                return
            for name, value in islice(items(), _MOST_AT_ONCE):
                self._take(name, value, now, at)
        except Exception as error:
            self._faults.error("feature_value", error)

    def watch(self, name: str, after: Any = "5m", frozen_after: Any = None) -> None:
        """Say how old the feature `name` may be, and how long it may stay the same.

        Args:
            name: Its name; it need not have come yet.
            after: How old: `"5m"`, seconds, or a `timedelta`.
            frozen_after: How long the same; `None`: as long as it likes.
        """
        try:
            now = self._now()
            feature = self._of(name, now)
            if feature is None:
                return
            limit, frozen = self._limit(name, after, self._after), self._limit(name, frozen_after, None)
            with self._lock:
                assert limit is not None
                feature.limit = limit
                if frozen is not None and feature.frozen is None and type(feature.mark) not in PLAIN:
                    feature.changed = now  # it was not looked at before
                feature.frozen = frozen
                self._earliest = min(self._earliest, feature.deadline())
        except Exception as error:
            self._faults.error("feature_watch", error)

    # -- answers -----------------------------------------------------------------------------------------------------

    @property
    def stale_features(self) -> dict[str, float]:
        """The age in seconds of every stale feature, the oldest first; of a frozen one, since it last changed."""
        return self._stale(self._now(), graced=False)

    @property
    def frozen_features(self) -> dict[str, float]:
        """Since when, in seconds, features have been the same for which that is too long."""
        now = self._now()
        return {one.name: (now - one.changed) / _S for one in list(self._features.values()) if one.is_frozen(now)}

    @property
    def ages(self) -> dict[str, float]:
        """How long ago each feature came, in seconds."""
        now = self._now()
        return {one.name: max(now - one.last, 0) / _S for one in list(self._features.values())}

    def last_seen(self, most: int = 500) -> tuple[int, int, list[tuple[str, int]]]:
        """Now on the steady clock, how many features there are, and when each of the first ones came.

        For whoever wants to know their ages later, and has no time now.
        """
        features = self._features
        return self._now(), len(features), [(one.name, one.last) for one in islice(list(features.values()), most)]

    @property
    def staleness_alert(self) -> bool:
        """Whether more features are stale than may be."""
        return len(self._stale(self._now(), graced=True)) > self._most

    def fresh(self) -> Mapping[str, float]:
        """What is stale, for whoever must not decide on it: empty if all is fresh, and then cheap."""
        now = self._now()
        return _NOTHING if now <= self._earliest else self._stale(now, graced=False)

    # -- looking -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at all features; about once a second, on any one thread."""
        now = self._now()
        stale = _NOTHING if now <= self._earliest else self._stale(now, graced=True)
        alert = self._weigh(stale, now)
        names = frozenset(stale)
        if names == self._logged and alert == self._logged_alert:
            return
        if self._logged_at is not None and now - self._logged_at < self._every:
            return
        event = FeaturesLogged(
            ts_ns=self._clock.time_ns(), stale_features=_shown(stale), stale_count=len(stale), staleness_alert=alert,
            became_stale=tuple(sorted(names - self._logged))[:_SHOWN],
            became_fresh=tuple(sorted(self._logged - names))[:_SHOWN],
            frozen=tuple(name for name in self.frozen_features if name in names)[:_SHOWN],
            watched=len(self._features),
        )  # fmt: skip
        self._logged, self._logged_alert, self._logged_at = names, alert, now
        self._publish(event)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    def _weigh(self, stale: Mapping[str, float], now: int) -> bool:
        """Whether there are too many, said once; an alert stands for a while, so that it does not flicker."""
        count, since = len(stale), self._alert_since
        if count > self._most:
            if since is None:
                self._alert_since = now
                self._publish(
                    FeaturesStale(
                        ts_ns=self._clock.time_ns(), count=count, limit=self._most, features=_shown(stale)
                    )
                )  # fmt: skip
        elif since is not None and now - since >= self._every:
            self._alert_since = None
            self._publish(FeaturesStale(ts_ns=self._clock.time_ns(), count=count, limit=self._most, resolved=True))
        return self._alert_since is not None

    def _stale(self, now: int, *, graced: bool) -> dict[str, float]:
        found: list[tuple[float, str]] = []
        earliest = _LATEST
        with self._lock:
            for feature in self._features.values():
                deadline = feature.deadline()
                earliest = min(earliest, deadline)
                if deadline < now:
                    age = feature.stale_s(now, graced=graced)
                    if age is not None:
                        found.append((-age, feature.name))
            # values that come meanwhile can only make it later
            self._earliest = earliest
        found.sort()
        return {name: -age for age, name in found}

    # -- taking in ---------------------------------------------------------------------------------------------------

    def _take(self, name: Any, value: Any, now: int, at: int) -> None:
        try:
            feature = self._features[name]
        except Exception:  # a new one, or no name at all
            found = self._of(name, now)
            if found is None:
                return
            feature = found
        if value is None or not says_something(value):
            return
        if at > feature.last or feature.mark is _UNSEEN:
            feature.last = feature.since = at
        if feature.mark is _UNSEEN:
            self._first(feature, value, now)
        elif feature.frozen is not None or type(value) in PLAIN:
            mark = fingerprint(value)
            if mark != feature.mark:
                feature.mark, feature.changed = mark, now

    def _first(self, feature: Feature, value: Any, now: int) -> None:
        """Its first value in this run."""
        remembered = self._remembered.pop(feature.name, None)
        feature.mark, feature.changed = fingerprint(value), now
        if remembered is not None and remembered[2] is not None and remembered[2] == sum_of(feature.mark):
            feature.changed = min(self._steady(remembered[1], now), now)
        with self._lock:
            self._earliest = min(self._earliest, feature.deadline())

    def _of(self, name: Any, now: int) -> Feature | None:
        text = word("name", name, [])
        if text is None:
            self._faults.say("feature_value", "name", "a feature without a name that can be read is not watched")
            return None
        with self._lock:
            feature = self._features.get(text)
            if feature is None:
                if len(self._features) >= _MOST_NAMES:
                    self._faults.say(
                        "feature_value", "names", f"more than {_MOST_NAMES} features: {text!r} is not watched"
                    )
                    return None
                remembered = self._remembered.get(text)
                last = now if remembered is None else self._steady(remembered[0], now)
                feature = self._features[text] = Feature(text, now, last, self._after)
                self._earliest = min(self._earliest, feature.deadline())
            return feature

    def _limit(self, name: str, given: Any, usual: int | None) -> int | None:
        if given is None:
            return usual
        try:
            return max(int(period(given) * _S), 1)
        except Exception:
            taken = "none" if usual is None else f"{usual / _S:g} s"
            self._faults.say("feature_watch", "after", f"watch({name!r}): not a duration; {taken} is taken")
            return usual

    def _moment(self, ts: Any, now: int) -> int:
        """A moment on the wall's clock as one of the steady clock, never in the future."""
        try:
            return self._steady(epoch_ns(ts), now)
        except Exception:
            self._faults.say("feature_value", "ts", "a feature's ts is no time; now is taken")
            return now

    def _steady(self, wall_ns: int, now: int) -> int:
        return now - max(self._clock.time_ns() - wall_ns, 0)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """When each feature came and changed, as plain JSON."""
        now, wall = self._now(), self._clock.time_ns()
        with self._lock:
            features = dict(self._remembered)
            for one in self._features.values():
                if one.mark is not _UNSEEN:
                    features[one.name] = (wall - (now - one.last), wall - (now - one.changed), sum_of(one.mark))
        return {"features": {name: list(told) for name, told in features.items()}}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Remember what an earlier run saw. A feature counts only once this run names it; damaged ones are left out."""
        told = state.get("features") if isinstance(state, dict) else None
        for name, entry in islice(told.items(), _MOST_NAMES) if isinstance(told, dict) else ():
            if isinstance(name, str) and isinstance(entry, list) and len(entry) == 3 and _are_times(entry):
                self._remembered[name] = (entry[0], entry[1], entry[2])


def _are_times(entry: list[Any]) -> bool:
    return type(entry[0]) is int and type(entry[1]) is int and (entry[2] is None or type(entry[2]) is int)


def _shown(stale: Mapping[str, float]) -> dict[str, float]:
    return {name: round(age, 3) for name, age in islice(stale.items(), _SHOWN)}
