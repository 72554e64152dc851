"""Say it once: what was said of each key, when, and what was held back since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.alerts.alert import Alert, rank_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cooldowns", "Said"]

_MOST_KEYS: Final = 2_000
_MONTH_NS: Final = 30 * 86_400 * 10**9


@attrs.define
class Said:
    """What was said of one key.

    Attributes:
        rank: How much the last message mattered.
        title: Its title.
        alert_id: Its id.
        sent_ns: When, by the wall.
        sent_perf_ns: When, by the steady counter of this run.
        began_ns: When the trouble was first told of.
        held: How many were held back since.
        held_since_ns: When the first of these came.
        open: Nobody has said yet that it is over.
        thread: Where in Slack it stands.
    """

    rank: int
    title: str
    alert_id: str
    sent_ns: int
    sent_perf_ns: int
    began_ns: int
    held: int = 0
    held_since_ns: int | None = None
    open: bool = True
    thread: str | None = None


class Cooldowns:
    """Who may speak: one message a key, then silence for a while, unless it gets worse.

    Args:
        cooldown_ns: How long the silence is.
    """

    def __init__(self, cooldown_ns: int) -> None:
        self._cooldown_ns = cooldown_ns
        self._said: dict[str, Said] = {}

    def admit(self, alert: Alert, now_ns: int, perf_ns: int) -> Alert | None:
        """The alert to send, with the count of what was held back before it; `None`: this one is held back."""
        said = self._said.get(alert.key)
        rank = rank_of(alert.level)
        if said is not None and rank <= said.rank and not self._over(said, now_ns, perf_ns):
            said.held += 1
            if said.held_since_ns is None:
                said.held_since_ns = now_ns
            return None
        began = said.began_ns if said is not None and said.open else now_ns
        if said is not None and said.held:
            alert = attrs.evolve(alert, held=said.held, since_ns=said.held_since_ns)
        self._said.pop(alert.key, None)  # the newest stand at the end
        self._said[alert.key] = Said(rank, alert.title, alert.id, now_ns, perf_ns, began)
        self._make_room(now_ns, perf_ns)
        return alert

    def resolve(self, key: str) -> Said | None:
        """Forget `key`; what was said of it, or `None` if nobody has to be told that it is over."""
        said = self._said.get(key)
        if said is None or not said.open:
            return None
        del self._said[key]
        return said

    def answered(self, alert: Alert, thread: str) -> None:
        """Remember where in Slack `alert` stands."""
        said = self._said.get(alert.key)
        if said is not None and said.alert_id == alert.id:
            said.thread = thread

    def state(self) -> dict[str, Any]:
        """What JSON needs for the next run."""
        # by hand: thousands of keys, and the bot waits for the interpreter meanwhile
        return {
            key: {
                "rank": said.rank, "title": said.title, "alert_id": said.alert_id, "sent_ns": said.sent_ns,
                "began_ns": said.began_ns, "held": said.held, "held_since_ns": said.held_since_ns, "open": said.open,
                "thread": said.thread,
            }
            for key, said in self._said.items()
        }  # fmt: skip

    def restore(self, state: Any, *, now_ns: int, perf_ns: int) -> None:
        """Take over what an earlier run said. Damaged entries are left out: then a person hears of it once more."""
        if not isinstance(state, dict):
            return
        for key, entry in list(state.items())[-_MOST_KEYS:]:
            said = _restored(entry)
            if said is None:
                continue
            # a clock that was set back must not make the silence longer than it was meant to be
            elapsed = min(max(now_ns - said.sent_ns, 0), self._cooldown_ns)
            said.sent_ns = now_ns - elapsed
            said.sent_perf_ns = perf_ns - elapsed
            self._said[str(key)] = said

    def _over(self, said: Said, now_ns: int, perf_ns: int) -> bool:
        # whichever clock says so: the steady one stands still while a machine sleeps, the wall can be set back
        return max(perf_ns - said.sent_perf_ns, now_ns - said.sent_ns) >= self._cooldown_ns

    def _make_room(self, now_ns: int, perf_ns: int) -> None:
        if len(self._said) <= _MOST_KEYS:
            return
        for key, said in list(self._said.items()):
            stale = not said.held and self._over(said, now_ns, perf_ns)
            if stale and (not said.open or now_ns - said.sent_ns > _MONTH_NS):
                del self._said[key]
        for key in list(self._said)[: max(len(self._said) - _MOST_KEYS, 0)]:
            del self._said[key]


def _restored(entry: Mapping[str, Any]) -> Said | None:
    try:
        return Said(
            rank=int(entry["rank"]),
            title=str(entry["title"]),
            alert_id=str(entry["alert_id"]),
            sent_ns=int(entry["sent_ns"]),
            sent_perf_ns=0,
            began_ns=int(entry["began_ns"]),
            held=int(entry.get("held") or 0),
            held_since_ns=None if entry.get("held_since_ns") is None else int(entry["held_since_ns"]),
            open=bool(entry.get("open", True)),
            thread=None if entry.get("thread") is None else str(entry["thread"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
