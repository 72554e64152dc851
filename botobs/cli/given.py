"""What words of the command line may be: a small parser for each sort, which says what is right."""

from __future__ import annotations

import argparse
import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["amount", "choice", "mapping", "moment", "nearest", "span", "whole"]


def choice(*names: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text.lower() in names:
            return text.lower()
        near = nearest(text.lower(), names)
        hint = f"; did you mean {near}?" if near else ""
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes {' or '.join(names)}{hint}")

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes a whole number from {low} to {high}")
        return int(text)

    return parse


def moment(text: str) -> str:
    """A time, as RFC 3339 in UTC with microseconds."""
    from botobs.accounting.entries import moment as read  # noqa: PLC0415  # --help needs no books

    try:
        return read("it", text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} will not do; it takes a time such as 2026-01-31, 2026-01-31T12:00:00Z or 1767225600"
        ) from None


def span(text: str) -> str:
    """A duration such as `6h`; a bare number might be meant in any unit."""
    from botobs.config.values import period  # noqa: PLC0415  # as above

    try:
        if text.strip().replace(".", "", 1).isdigit():
            raise ValueError(text)
        period(text)
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes a duration such as 90m, 6h or 7d") from None
    return text


def amount(text: str) -> str:
    """A number, not below 0."""
    from botobs.config.values import amount as read  # noqa: PLC0415  # as above

    try:
        read(text)
    except (ValueError, ArithmeticError):
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes a number, such as 0.01") from None
    return text


def mapping(text: str) -> str:
    """`field=column,…`."""
    from botobs.accounting.exchange.fields import parse_mapping  # noqa: PLC0415  # as above
    from botobs.errors import BotobsError  # noqa: PLC0415  # as above

    try:
        parse_mapping(text)
    except BotobsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def nearest(word: str, known: tuple[str, ...]) -> str | None:
    """The one of `known` that was probably meant."""
    begun = [each for each in known if word.strip("-") and each.startswith(word)]
    near = begun or difflib.get_close_matches(word, known, 1, 0.5)
    return near[0] if near else None
