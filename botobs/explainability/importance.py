"""Which features count, over a window.

What was explained is summed up in pieces of the window, a hundredth of it each, so that a day of explanations takes as
much room as an hour of them.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FeatureImportance", "Window"]

_PIECES: Final = 96
_MOST_PIECES: Final = 2 * _PIECES
_MOST_FEATURES: Final = 1_000
_OTHER: Final = "other"


@attrs.frozen
class FeatureImportance:
    """How much a feature counts.

    Attributes:
        model: For which model.
        feature: Which one.
        mean_abs: The mean size of its contributions.
        mean: The mean contribution: which way it pushes.
        share: Its part of all contributions' sizes; `None`: all of them were 0.
        n: How many predictions were explained.
    """

    model: str
    feature: str
    mean_abs: float
    mean: float
    share: float | None
    n: int


class _Piece:
    """Sums of a part of the window."""

    __slots__ = ("count", "sizes", "start", "sums")

    def __init__(self, start: int) -> None:
        self.start = start
        self.count = 0
        self.sizes = array("d")
        self.sums = array("d")

    def add(self, places: list[int], values: list[float]) -> None:
        missing = max(places, default=-1) + 1 - len(self.sizes)
        if missing > 0:
            self.sizes.extend([0.0] * missing)
            self.sums.extend([0.0] * missing)
        self.count += 1
        for place, value in zip(places, values, strict=True):
            self.sizes[place] += abs(value)
            self.sums[place] += value


class Window:
    """What was explained of one model lately. Not locked.

    Args:
        length_ns: How far it looks back.
    """

    def __init__(self, length_ns: int) -> None:
        self.length_ns = length_ns
        self._places: dict[str, int] = {}
        self._pieces: deque[_Piece] = deque()

    def add(self, contributions: Mapping[str, float], now: int) -> None:
        """One more prediction was explained."""
        pieces, span = self._pieces, max(self.length_ns // _PIECES, 1)
        if pieces and now < pieces[-1].start:  # the clock was set back: nothing lies in the future
            for piece in pieces:
                piece.start = min(piece.start, now)
        if not pieces or now >= pieces[-1].start + span:
            pieces.append(_Piece(now - now % span))
        pieces[-1].add([self._place(name) for name in contributions], list(contributions.values()))
        while len(pieces) > _MOST_PIECES or pieces[0].start + span <= now - self.length_ns:
            pieces.popleft()

    def _place(self, name: str) -> int:
        places = self._places
        if name not in places and len(places) >= _MOST_FEATURES:
            name = _OTHER
        return places.setdefault(name, len(places))

    def features(self, model: str, now: int, back_ns: int | None = None) -> list[FeatureImportance]:
        """How much each feature counted, those that count most first."""
        since = now - min(self.length_ns if back_ns is None else back_ns, self.length_ns)
        span = max(self.length_ns // _PIECES, 1)
        taken = [piece for piece in self._pieces if piece.start + span > since]
        count = sum(piece.count for piece in taken)
        if not count:
            return []
        rows: list[tuple[str, float, float]] = []
        for name, place in self._places.items():
            holding = [piece for piece in taken if place < len(piece.sizes)]
            sizes = math.fsum(piece.sizes[place] for piece in holding) / count
            rows.append((name, sizes, math.fsum(piece.sums[place] for piece in holding) / count))
        total = math.fsum(size for _, size, _ in rows)
        rows.sort(key=lambda row: (-row[1], row[0]))
        return [FeatureImportance(model, name, size, mean, size / total if total else None, count)
                for name, size, mean in rows]  # fmt: skip

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "length_ns": self.length_ns,
            "features": list(self._places),
            "pieces": [[piece.start, piece.count, piece.sizes.tolist(), piece.sums.tolist()] for piece in self._pieces],
        }

    @classmethod
    def restored(cls, state: Any) -> Window:
        """As `state` has it.

        Raises:
            Exception: It is no state of a window.
        """
        found = cls(int(state["length_ns"]))
        if found.length_ns <= 0:
            raise ValueError("no window")
        names = state["features"]
        found._places = {str(name): place for place, name in enumerate(names[: _MOST_FEATURES + 1])}
        for start, count, sizes, sums in state["pieces"][-_MOST_PIECES:]:
            piece = _Piece(int(start))
            piece.count = int(count)
            piece.sizes.extend(sizes)
            piece.sums.extend(sums)
            if not piece.count > 0 or len(sizes) != len(sums) or len(sizes) > len(found._places):
                raise ValueError("a piece is damaged")
            if not all(map(math.isfinite, (*sizes, *sums))):
                raise ValueError("a sum is no number")
            found._pieces.append(piece)
        return found
