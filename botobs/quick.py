"""The hot path without the interpreter, where a compiler was at hand when botobs was installed.

`_quick.c` does what some Python functions do in their usual case, and leaves every other case to them. Where it is not
there, does not fit, or is not wanted (`BOTOBS_PURE=1`), they are what is called each time; nothing else changes.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

__all__ = ["PURE", "quick"]

#: The environment variable that leaves it out.
PURE: Final = "BOTOBS_PURE"


def _load() -> Any:
    if os.environ.get(PURE, "") not in ("", "0"):
        return None
    try:
        return importlib.import_module("botobs._quick")
    except ImportError:  # nothing was compiled, or for another interpreter
        return None


#: The compiled module; `None`: everything is done in Python.
quick: Final[Any] = _load()
