"""The hot path without the interpreter, where a compiler was at hand when botobs was installed.

`_quick.c` does what some Python functions do in their usual case, and leaves every other case to them. Where it is not
there, does not fit, or is not wanted (`BOTOBS_PURE=1`), they are what is called each time; nothing else changes.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PURE", "UNFIT", "maker", "quick"]

T = TypeVar("T", bound="tuple[Any, ...]")

#: The environment variable that leaves it out.
PURE: Final = "BOTOBS_PURE"

#: What being told of a class gives in a compiled module of another version, or in one that knows it already (a reload).
UNFIT: Final = (AttributeError, TypeError, ValueError, RuntimeError)


def _load() -> Any:
    if os.environ.get(PURE, "") not in ("", "0"):
        return None
    try:
        return importlib.import_module("botobs._quick")
    except ImportError:  # nothing was compiled, or for another interpreter
        return None


#: The compiled module; `None`: everything is done in Python.
quick: Final[Any] = _load()


def maker(named: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """What makes a `NamedTuple` of a tuple with all of its fields: in half the time of its constructor, or less.

    Example:
        >>> from typing import NamedTuple
        >>> class Point(NamedTuple):
        ...     x: int
        ...     y: int
        >>> maker(Point)((1, 2))
        Point(x=1, y=2)
    """
    try:
        return quick.maker(named)  # type: ignore[no-any-return]
    except UNFIT:  # nothing was compiled, or another version
        return partial(tuple.__new__, named)
