"""What waits for one receiver: critical alerts first, a rest after failures, an end to patience."""

from __future__ import annotations

import collections
import random
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from botobs.alerts.alert import Alert
    from botobs.alerts.answer import Answer

__all__ = ["Letter", "Outbox"]

_S: Final = 1_000_000_000
_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 60.0
_PATIENCE_NS: Final = 300 * _S  # after so long a warning is no news
_MOST_WAITING: Final = 1_000


@attrs.define(eq=False)
class Letter:
    """An alert on its way to one receiver.

    Attributes:
        alert: What is sent.
        urgent: It goes first, and is never given up while a later attempt may succeed.
        since_ns: When it began to wait (steady counter).
        attempts: How often it was tried.
        answers: The id of the alert that it says is over.
        thread: Where in Slack that one stands.
    """

    alert: Alert
    urgent: bool
    since_ns: int
    attempts: int = 0
    answers: str | None = None
    thread: str | None = None


class Outbox:
    """The queue of one receiver, with an urgent lane.

    Failures are the receiver's, not a message's: after one, everything rests, and the same message comes first again.

    Args:
        chance: Spreads the attempts of many bots; a test gives its own.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311  # a spread, no secret
        self._urgent: collections.deque[Letter] = collections.deque()
        self._normal: collections.deque[Letter] = collections.deque()
        self._failures = 0
        self._rest_ns: int | None = None
        self._told = False
        self.away: Letter | None = None  # the one that was handed out

    def __len__(self) -> int:
        return len(self._urgent) + len(self._normal) + (self.away is not None)

    def put(self, letter: Letter) -> Letter | None:
        """Let it wait; what had to go because too many do."""
        lane = self._urgent if letter.urgent else self._normal
        lane.append(letter)
        return lane.popleft() if len(lane) > _MOST_WAITING else None

    def due_ns(self) -> int | None:
        """When the next can be handed out (steady counter), 0: at once; `None`: nothing waits for that."""
        if self.away is not None or not (self._urgent or self._normal):
            return None
        return 0 if self._rest_ns is None else self._rest_ns

    def next(self, perf_ns: int) -> Letter | None:
        """Hand out the next one, if it is time."""
        due = self.due_ns()
        if due is None or perf_ns < due:
            return None
        self.away = (self._urgent or self._normal).popleft()
        self.away.attempts += 1
        return self.away

    def answered(self, answer: Answer, perf_ns: int) -> list[Letter]:
        """The one that was handed out came back; which are given up now."""
        letter, self.away = self.away, None
        if letter is None:
            return []
        if answer.outcome != "again":
            self._failures, self._rest_ns, self._told = 0, None, False
            return []
        self._failures += 1
        self._told = bool(answer.after_s)
        self._rest_ns = perf_ns + round(self._rest_s(answer.after_s) * _S)
        (self._urgent if letter.urgent else self._normal).appendleft(letter)
        given_up = [old for old in self._normal if perf_ns - old.since_ns >= _PATIENCE_NS]
        for old in given_up:
            self._normal.remove(old)
        return given_up

    def hurry(self) -> None:
        """Try once more without a rest, unless the receiver itself asked for it: the end is near."""
        if not self._told:
            self._rest_ns = None

    def empty(self) -> list[Letter]:
        """Take out everything, the one on its way included."""
        left = [*([self.away] if self.away is not None else []), *self._urgent, *self._normal]
        self._urgent.clear()
        self._normal.clear()
        self.away = None
        return left

    def waiting(self) -> tuple[Letter, ...]:
        """What waits, urgent ones first."""
        return (*self._urgent, *self._normal)

    @property
    def rest_ns(self) -> int | None:
        """Until when everything rests (steady counter)."""
        return self._rest_ns

    def _rest_s(self, wish_s: float | None) -> float:
        if wish_s:
            return min(wish_s, _LONGEST_REST_S)
        longest = min(_FIRST_REST_S * 2.0 ** min(self._failures - 1, 10), _LONGEST_REST_S)
        return longest * self._chance.uniform(0.5, 1.0)
