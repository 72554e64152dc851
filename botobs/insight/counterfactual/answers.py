"""What `obs.counterfactual` answers with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import attrs

from botobs.insight.counterfactual.tallies import LEAST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from botobs.insight.counterfactual.tallies import Mean, Tally

__all__ = ["Regret", "SourceRow", "SourceTable", "VetoRow", "VetoTable", "regret_of", "source_row", "why_not"]

_FEW: Final = f"fewer than {LEAST} decisions that did not overlap"
_NOBODY: Final = "no such decision"

R = TypeVar("R")


@attrs.frozen(kw_only=True)
class SourceRow:
    """What following one source would have come to; figures that cannot be told are `None`, with a reason.

    All bps are of the value at the beginning, after costs. `low` and `high` are the ends of a 95 % interval around what
    stands before them.

    Attributes:
        source: Which.
        symbol: In which market; `None`: in all.
        n: How many decisions it was a candidate of.
        pnl_bps: The sum of all of them; flat is 0.
        mean_bps: Per decision.
        sided: How many times it took a side, and
        hit_rate: how often that made money.
        regret_bps: By how much it was better than what was chosen, on average over `compared` decisions.
        chosen: How many times it was the one chosen.
        pnl: In money, over the `priced` decisions whose quantity is known because a trade came of them.
        reasons: Why something is `None`.
    """

    source: str
    symbol: str | None
    n: int
    pnl_bps: float
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    sided: int
    hits: int
    hit_rate: float | None
    hit_low: float | None
    hit_high: float | None
    regret_bps: float | None
    regret_low_bps: float | None
    regret_high_bps: float | None
    compared: int
    chosen: int
    pnl: Decimal | None
    priced: int
    reasons: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Regret:
    """By how much the best candidate of a decision, as it turned out, was better than what was chosen.

    Attributes:
        n: Over how many decisions.
        total_bps: The sum.
        mean_bps: Per decision; `low_bps` and `high_bps` are its 95 % interval.
        reasons: Why something is `None`.
    """

    n: int
    total_bps: float
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    reasons: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class VetoRow:
    """What refusals came to. A refusal saved what the order would have lost, and cost what it would have made.

    Attributes:
        by: Who refused: `kill switch`, `stale data`, `risk`, `cancel`; `None`: all of them.
        stage: At which stage.
        reason: Why; digits in it are `#`.
        n: How many were settled.
        saved_bps: What those saved that saved something; `cost_bps`: what the others cost.
        net_bps: The one less the other.
        mean_bps: Net, per refusal; `low_bps` and `high_bps` are its 95 % interval.
        helped: The share of those that saved something.
        saved: Net in money, over the `priced` refusals whose quantity is known.
        repeats: How often the same was refused again while it ran.
        unknown: Refusals of which nobody said what they stopped, or for which no price came.
        reasons: Why something is `None`.
    """

    by: str | None
    stage: str | None
    reason: str | None
    n: int
    saved_bps: float
    cost_bps: float
    net_bps: float
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    helped: float | None
    saved: Decimal | None
    priced: int
    repeats: int
    unknown: int
    reasons: Mapping[str, str] = attrs.field(factory=dict)


class _Rows(Sequence[R]):
    """Rows in their order."""

    def __init__(self, rows: Iterable[R]) -> None:
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int | str) -> R: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[R]: ...
    def __getitem__(self, key: int | str | slice) -> R | Sequence[R]:
        if isinstance(key, str):
            return self._named(key)
        return self.rows[key]

    def _named(self, name: str) -> R:
        raise KeyError(name)

    def _lines(self) -> list[tuple[str, ...]]:
        raise NotImplementedError

    def __str__(self) -> str:
        lines = self._lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = []
        for first, *rest in lines:
            cells = [cell.rjust(wide) for cell, wide in zip(rest, widths[1:], strict=True)]
            told.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
        return "\n".join(told)


class SourceTable(_Rows[SourceRow]):
    """A row for each source, the best first; `table["pros"]` is that of one.

    Attributes:
        rows: The rows.
        regret: What is regretted about what was chosen.
        done: The same figures of what the bot really did, by its order or its decision; `None`: it never said.
        waiting: Decisions that have not been settled.
        lost: Decisions that never will be: no price came in time, or too many waited.
    """

    def __init__(
        self, rows: Iterable[SourceRow], *, regret: Regret, done: SourceRow | None, waiting: int, lost: int
    ) -> None:
        super().__init__(rows)
        self.regret, self.done, self.waiting, self.lost = regret, done, waiting, lost

    def _named(self, name: str) -> SourceRow:
        for row in self.rows:
            if row.source == name:
                return row
        raise KeyError(name)

    def _lines(self) -> list[tuple[str, ...]]:
        head = ("source", "n", "PnL bps", "mean", "95 % from", "to", "hits", "regret", "chosen")
        return [
            head,
            *(
                (row.source, str(row.n), f"{row.pnl_bps:.1f}", _figure(row.mean_bps), _figure(row.low_bps),
                 _figure(row.high_bps), "-" if row.hit_rate is None else f"{row.hit_rate:.0%}",
                 _figure(row.regret_bps), str(row.chosen))
                for row in self.rows
            ),
        ]  # fmt: skip


class VetoTable(_Rows[VetoRow]):
    """A row for each reason of each stage, what saved most first; `table["risk"]` sums up who refused.

    Attributes:
        rows: The rows.
        total: All of them in one.
        waiting: Refusals that have not been settled.
        withdrawn: Orders that were refused, and filled after all.
    """

    def __init__(
        self, rows: Iterable[VetoRow], *, total: VetoRow, by: Mapping[str, VetoRow], waiting: int, withdrawn: int
    ) -> None:
        super().__init__(rows)
        self.total, self._by, self.waiting, self.withdrawn = total, by, waiting, withdrawn

    def _named(self, name: str) -> VetoRow:
        return self._by[name]

    def _lines(self) -> list[tuple[str, ...]]:
        head = ("by", "stage", "n", "saved bps", "cost", "net", "mean", "95 % from", "to")
        return [
            head,
            *(
                (row.by or "all", row.stage or "", str(row.n), f"{row.saved_bps:.1f}", f"{row.cost_bps:.1f}",
                 f"{row.net_bps:.1f}", _figure(row.mean_bps), _figure(row.low_bps), _figure(row.high_bps))
                for row in (*self.rows, self.total)
            ),
        ]  # fmt: skip


def source_row(source: str, symbol: str | None, tally: Tally) -> SourceRow:
    """A tally as somebody who asks gets it."""
    mean, low, high = tally.result.interval()
    hit, hit_low, hit_high = tally.hit_rate()
    over, over_low, over_high = tally.over.interval()
    reasons = why_not(
        {"mean_bps": mean, "hit_rate": hit, "regret_bps": over},
        {"low_bps": low, "hit_low": hit_low, "regret_low_bps": over_low},
    )
    if hit is None and tally.result.n:
        reasons["hit_rate"] = "it never took a side"
    if over is None and tally.result.n:
        reasons["regret_bps"] = "nobody said what was chosen"
    if not tally.priced:
        reasons["pnl"] = "no trade came of them"
    return SourceRow(
        source=source, symbol=symbol, n=tally.result.n, pnl_bps=tally.result.total, mean_bps=mean, low_bps=low,
        high_bps=high, sided=tally.sided, hits=tally.hits, hit_rate=hit, hit_low=hit_low, hit_high=hit_high,
        regret_bps=over, regret_low_bps=over_low, regret_high_bps=over_high, compared=tally.over.n,
        chosen=tally.chosen, pnl=tally.money if tally.priced else None, priced=tally.priced, reasons=reasons,
    )  # fmt: skip


def regret_of(mean: Mean) -> Regret:
    """What is regretted, as somebody who asks gets it."""
    middle, low, high = mean.interval()
    return Regret(
        n=mean.n, total_bps=mean.total, mean_bps=middle, low_bps=low, high_bps=high,
        reasons=why_not({"mean_bps": middle}, {"low_bps": low}),
    )  # fmt: skip


def why_not(figures: dict[str, Any], ends: dict[str, Any]) -> dict[str, str]:
    """Why figures, and the ends of intervals, are `None`."""
    reasons = {name: _NOBODY for name, value in figures.items() if value is None}
    reasons |= {other: _FEW for name, value in ends.items() if value is None for other in (name, _other_end(name))}
    return reasons


def _other_end(name: str) -> str:
    return name.replace("low", "high")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
