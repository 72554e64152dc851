"""What the builder remembers beside trades: counts, which events it has seen, and what it could not read."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.metricpack.source import Raw

__all__ = ["KEPT_ASIDE", "Memory"]

#: How many entries that could not be read are kept to be looked at; the oldest go first.
KEPT_ASIDE: Final = 1_000

_LONGEST: Final = 2_000


class Memory:
    """Counts of what happened, and a bounded memory of what was seen.

    Args:
        most_seen: How many events are remembered to tell duplicates; the one not seen for longest goes first.

    Attributes:
        counts: What was counted, by name.
        ignored: How many events changed nothing, by reason.

    Example:
        >>> memory = Memory(2)
        >>> [memory.is_known(event) for event in ("a", "b", "a", "c", "b", "a")]
        [False, False, True, False, False, False]
    """

    def __init__(self, most_seen: int = 10_000) -> None:
        self.counts: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self._most_seen = most_seen
        self._turn = 0
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._touched: set[str] = set()
        self._aside: dict[str, bytes] = {}
        self._counted = False

    def count(self, what: str) -> None:
        """One more."""
        self.counts[what] = self.counts.get(what, 0) + 1
        self._counted = True

    def ignore(self, reason: str) -> None:
        """One more event that changed nothing."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1
        self._counted = True

    @contextlib.contextmanager
    def counted_already(self, *but: str) -> Iterator[None]:
        """What happens in here was counted when it happened first, all but these."""
        counts, ignored = dict(self.counts), dict(self.ignored)
        yield
        self.counts = {**counts, **{name: self.counts[name] for name in but if name in self.counts}}
        self.ignored = ignored

    def is_known(self, identity: str) -> bool:
        """Whether it was seen before; from now on it was."""
        self._turn += 1
        self._touched.add(identity)
        seen = self._seen
        if identity in seen:
            seen[identity] = self._turn
            seen.move_to_end(identity)
            return True
        seen[identity] = self._turn
        if len(seen) > self._most_seen:
            self._touched.add(seen.popitem(last=False)[0])
        return False

    def keep_aside(self, raw: Raw, reason: str) -> None:
        """Keep an entry that could not be read, with its place in the stream."""
        self.count("unreadable")
        at = (self.counts["unreadable"] - 1) % KEPT_ASIDE
        said = {_text(key)[:200]: _text(value)[:_LONGEST] for key, value in _items(raw.fields)}
        self._aside[f"u/{at:04d}"] = orjson.dumps(
            {"position": raw.position, "reason": reason, "fields": said, "number": self.counts["unreadable"]}
        )

    # --- state

    def changes(self) -> dict[str, bytes | None]:
        """What to save since the last call."""
        found: dict[str, bytes | None] = dict(self._aside)
        seen = self._seen
        for identity in self._touched:
            turn = seen.get(identity)
            found[f"d/{identity}"] = None if turn is None else b"%d" % turn
        if self._counted or self._touched:
            found["m"] = orjson.dumps([self._turn, self.counts, self.ignored])
        self._aside.clear()
        self._touched.clear()
        self._counted = False
        return found

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Go on where it was saved.

        Raises:
            ValueError, TypeError, KeyError: What was saved is damaged.
        """
        if "m" in saved:
            turn, counts, ignored = orjson.loads(saved["m"])
            self._turn = int(turn)
            self.counts = {name: int(value) for name, value in counts.items()}
            self.ignored = {name: int(value) for name, value in ignored.items()}
        seen = [(int(value), key[2:]) for key, value in saved.items() if key.startswith("d/")]
        self._seen = OrderedDict((identity, turn) for turn, identity in sorted(seen))
        while len(self._seen) > self._most_seen:  # it was allowed to remember more before
            self._touched.add(self._seen.popitem(last=False)[0])


def _items(fields: Any) -> list[tuple[Any, Any]]:
    try:
        return list(fields.items())[:50] if isinstance(fields, Mapping) else [("", fields)]
    except Exception:  # a mapping that raises
        return []


def _text(value: Any) -> str:
    try:
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    except Exception:  # a number of too many digits, a value that cannot be shown
        return f"<{type(value).__name__}>"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
