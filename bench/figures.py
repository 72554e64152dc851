"""What a benchmark answers, and how it is shown."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field


@dataclass
class Figure:
    """One number, and the limit it is held to, if any.

    `at_least` tells the direction: the value has to be at least the limit, else at most.
    """

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self, width: int) -> str:
        shown = f"{_number(self.value)}{self.unit}"
        text = f"  {self.name:<{width}}  {shown:>12}"
        if self.limit is not None:
            bound = f"{'≥' if self.at_least else '≤'} {_number(self.limit)}{self.unit}"
            text += f"   limit {bound:<12} {'met' if self.met else 'MISSED'}"
        return text + (f"   ({self.note})" if self.note else "")


@dataclass
class Result:
    """All figures of one benchmark."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name, value, unit="", *, limit=None, at_least=False, note="") -> Figure:
        figure = Figure(name, value, unit, limit, at_least, note)
        self.figures.append(figure)
        return figure

    def show(self) -> str:
        width = max((len(figure.name) for figure in self.figures), default=0)
        lines = [f"{self.name}: {self.title}"]
        lines += [figure.line(width) for figure in self.figures]
        if self.text:
            lines += ["", *(f"  {line}" for line in self.text)]
        return "\n".join([*lines, f"  ({self.seconds:.0f} s)", ""])

    def as_dict(self) -> dict:
        found = asdict(self)
        for shown, figure in zip(found["figures"], self.figures, strict=True):
            shown["met"] = figure.met
        return found


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Rows under a header, the first column to the left, the others to the right."""
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def median(values) -> float:
    return float(statistics.median(values))


def percentile(ordered, part: float) -> float:
    """The value that `part` of the sorted values do not exceed."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
