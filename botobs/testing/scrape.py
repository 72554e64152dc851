"""Answers about metrics from the page that a scrape would get."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["histogram", "metric"]


class _Series(NamedTuple):
    labels: Mapping[str, str]
    value: float


def metric(page: str, name: str, labels: Mapping[str, object]) -> float | None:
    """The value of the one series of that name with these labels; `None` where there is none.

    Raises:
        LookupError: Several series match, or it is a histogram.
    """
    series = _read(page)
    if name not in series and f"{name}_count" in series:
        raise LookupError(f"{name} is a histogram: ask histogram({name!r}, ...)")
    return _one(series, name, labels)


def histogram(page: str, name: str, labels: Mapping[str, object]) -> tuple[int, float] | None:
    """The count and the sum of the one histogram of that name with these labels.

    Raises:
        LookupError: Several histograms match, or it is none.
    """
    series = _read(page)
    if name in series:
        raise LookupError(f"{name} is no histogram: ask metric({name!r}, ...)")
    count, total = _one(series, f"{name}_count", labels), _one(series, f"{name}_sum", labels)
    return None if count is None or total is None else (int(count), total)


def _read(page: str) -> dict[str, list[_Series]]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415  # only tests on metrics

    found: dict[str, list[_Series]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(_Series(sample.labels, sample.value))
    return found


def _one(series: Mapping[str, list[_Series]], name: str, labels: Mapping[str, object]) -> float | None:
    wanted = {key: str(value) for key, value in labels.items()}
    found = [each for each in series.get(name, ()) if wanted.items() <= each.labels.items()]
    if len(found) > 1:
        shown = "".join(f"\n  {_shown(name, each.labels)} {each.value:g}" for each in found[:20])
        raise LookupError(f"{len(found)} series match {_shown(name, wanted)}; say which by its labels:{shown}")
    return found[0].value if found else None


def _shown(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{', '.join(f'{key}={value!r}' for key, value in labels.items())}}}"
