"""Tells `_quick.c` where everything is that it touches; see `botobs.quick`."""

from __future__ import annotations

import time
from contextvars import ContextVar
from types import BuiltinFunctionType
from typing import Any, Final

from opentelemetry.context import Context

from botobs.quick import UNFIT
from botobs.quick import quick as compiled

from . import tick
from .cells import BOUNDS_NS, Cell, SymbolCells
from .engine import ENGINES, Engine
from .ids import Ids
from .live import Live, get_context, set_context
from .tick import MOST_SPANS, Tick

__all__ = ["UNFIT", "quick"]

_DIRECT: Final = "clock_gettime(CLOCK_MONOTONIC)"


def _told() -> Any:
    """The compiled module, if it knows what it has to; else nothing."""
    variable: Any = getattr(get_context, "__self__", None)
    fits = type(variable) is ContextVar and getattr(set_context, "__self__", None) is variable
    # a clock that was replaced before this import (freezegun) is not the one that is read there
    if compiled is None or not fits or type(time.perf_counter_ns) is not BuiltinFunctionType:
        return None
    try:
        compiled.know(
            variable, time.perf_counter_ns, time.get_clock_info("perf_counter").implementation == _DIRECT, ENGINES,
            Context, Live, Tick, Engine, SymbolCells, Cell, Ids, BOUNDS_NS, MOST_SPANS,
        )  # fmt: skip
        tick.begun_at_once = compiled.begun
    except UNFIT:  # Python does it all
        return None
    return compiled


#: The compiled module; `None`: everything is done in Python.
quick: Final[Any] = _told()
