"""What `explain_model` was told of how much is to be explained, checked."""

from __future__ import annotations

from typing import Any

from botobs.config.values import period
from botobs.explainability.gate import Sampling

__all__ = ["sampling_of"]

_MOST_RATE = 1_000.0


def sampling_of(*, every: Any, most_per_s: Any, orders: Any, rows: Any, top: Any, window: Any) -> Sampling:
    """As the bot said it.

    Example:
        >>> sampling_of(every=10, most_per_s=None, orders=True, rows=1, top=5, window="6h").window_ns
        21600000000000

    Raises:
        TypeError: A value is of no use.
        ValueError: A value is out of its range.
    """
    if most_per_s is not None:
        if type(most_per_s) not in (int, float):
            raise TypeError(f"most_per_s takes a number or None, not {type(most_per_s).__name__}")
        if not 0.0 < most_per_s <= _MOST_RATE:
            raise ValueError(f"most_per_s = {most_per_s} is wrong; it takes a number above 0, up to {_MOST_RATE:g}")
    try:
        window_ns = round(period(window) * 1e9)
    except ValueError as error:
        raise ValueError(f"window = {window!r} is wrong: {error}") from error
    return Sampling(
        every=None if every is None else _whole("every", every, 1_000_000_000),
        most_per_s=most_per_s,
        orders=bool(orders),
        rows=_whole("rows", rows, 64),
        top=_whole("top", top, 1_000),
        window_ns=window_ns,
    )


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} takes a whole number, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} = {value} is wrong; it takes a whole number from 1 to {most:,}")
    return value
