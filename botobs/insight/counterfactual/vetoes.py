"""What refusals saved and cost, by who refused, where and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.numbers import EXACT, ZERO, number, text
from botobs.insight.counterfactual.answers import VetoRow, VetoTable, why_not
from botobs.insight.counterfactual.tallies import Mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from botobs.insight.counterfactual.running import Refusal

__all__ = ["Vetoes", "saved_by"]

Key = tuple[str | None, str | None, str | None]

_MOST: Final = 200
_OTHER: Final = "other"
_DIGITS: Final = re.compile(r"\d[\d.,:]*")
_LONGEST: Final = 120


def saved_by(refusal: Refusal) -> float | None:
    """What it saved, in bps of the order's value; negative: what it cost. `None`: no price came.

    What would have made a position smaller will pay the costs of that later as well, so they are not counted.
    """
    move = refusal.move
    if move is None:
        return None
    return -refusal.sign * move + (0.0 if refusal.reduces else refusal.cost or 0.0)


class _Group:
    """Refusals of one kind."""

    __slots__ = ("cost", "helped", "mean", "money", "priced", "repeats", "saved", "unknown")

    def __init__(self) -> None:
        self.mean = Mean()
        self.saved = self.cost = 0.0
        self.helped = self.priced = self.repeats = self.unknown = 0
        self.money = ZERO

    def row(self, key: Key) -> VetoRow:
        mean, low, high = self.mean.interval()
        n = self.mean.n
        reasons = why_not({"mean_bps": mean, "helped": n or None}, {"low_bps": low})
        if not self.priced:
            reasons["saved"] = "nobody said how much they were about"
        return VetoRow(
            by=key[0], stage=key[1], reason=key[2], n=n, saved_bps=self.saved, cost_bps=self.cost,
            net_bps=self.mean.total, mean_bps=mean, low_bps=low, high_bps=high,
            helped=self.helped / n if n else None, saved=self.money if self.priced else None, priced=self.priced,
            repeats=self.repeats, unknown=self.unknown, reasons=reasons,
        )  # fmt: skip


class Vetoes:
    """All refusals that were settled. Not locked: its owner does that.

    Attributes:
        withdrawn: Orders that were refused and filled after all.
    """

    def __init__(self) -> None:
        self._groups: dict[Key, _Group] = {}
        self.withdrawn = 0

    def settled(self, refusal: Refusal) -> tuple[float, Decimal | None] | None:
        """It has come to its end: what it saved, in bps and in money; `None`: no price came."""
        saved = saved_by(refusal)
        money = None
        if saved is None:
            self.unknown(refusal.by, refusal.stage, refusal.reason)
        elif refusal.worth is not None:
            money = EXACT.multiply(refusal.worth, number(saved)).scaleb(-4, EXACT)
        for group in self._all_of(refusal.by, refusal.stage, refusal.reason):
            group.repeats += refusal.repeats
            if saved is not None:
                group.mean.add(saved, refusal.cluster)
                group.helped += saved > 0
                group.saved += max(saved, 0.0)
                group.cost += max(-saved, 0.0)
            if money is not None:
                group.priced += 1
                group.money = EXACT.add(group.money, money)
        return None if saved is None else (saved, money)

    def unknown(self, by: str, stage: str | None, reason: str) -> None:
        """Something was refused, and nobody knows what."""
        for group in self._all_of(by, stage, reason):
            group.unknown += 1

    def _all_of(self, by: str, stage: str | None, reason: str) -> list[_Group]:
        why = _DIGITS.sub("#", reason)[:_LONGEST]
        key: Key = (by, stage, why)
        if key not in self._groups and len(self._groups) >= _MOST:
            key = (by, None, _OTHER)
        return [self._groups.setdefault(each, _Group()) for each in (key, (by, None, None), (None, None, None))]

    def net_bps(self) -> dict[str, float]:
        """What each of those who refuse saved on balance."""
        return {
            key[0]: group.mean.total
            for key, group in list(self._groups.items())
            if key[0] is not None and key[2] is None and group.mean.n
        }

    def table(self, waiting: int) -> VetoTable:
        """A row for each kind."""
        rows = [group.row(key) for key, group in self._groups.items() if key[2] is not None]
        rows.sort(key=lambda row: (-row.net_bps, row.by or "", row.stage or "", row.reason or ""))
        by = {key[0]: group.row(key) for key, group in self._groups.items() if key[0] is not None and key[2] is None}
        total = self._groups.get((None, None, None), _Group()).row((None, None, None))
        return VetoTable(rows, total=total, by=by, waiting=waiting, withdrawn=self.withdrawn)

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "groups": [
                [*key, group.mean.state(), group.saved, group.cost, group.helped, group.priced, group.repeats,
                 group.unknown, text(group.money)]
                for key, group in self._groups.items()
            ],
            "withdrawn": self.withdrawn,
        }  # fmt: skip

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Vetoes:
        """One that goes on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self = cls()
        for by, stage, why, mean, saved, cost, *counts, money in state["groups"]:
            group = self._groups[_text(by), _text(stage), _text(why)] = _Group()
            group.mean, group.saved, group.cost = Mean.of_state(mean), float(saved), float(cost)
            group.helped, group.priced, group.repeats, group.unknown = map(int, counts)
            group.money = number(str(money))
        self.withdrawn = int(state["withdrawn"])
        return self


def _text(value: Sequence[str] | None) -> str | None:
    return None if value is None else str(value)
