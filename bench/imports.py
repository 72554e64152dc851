"""What `import botobs` costs a bot's start, beside what it is built on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from .figures import Result, median

_BARE = "pass"
_BASE = "import opentelemetry.trace, attrs, orjson"
_OURS = "import botobs"


def run(*, quick: bool) -> Result:
    """Fresh interpreters, in turn; the interpreter's own start is taken off."""
    result = Result("import", f"`{_OURS}` against `{_BASE}`")
    codes = (_BARE, _BASE, _OURS)
    for code in codes:
        _once(code)  # files into the page cache, bytecode written
    took = {code: [] for code in codes}
    rounds = 12 if quick else 40
    for n in range(rounds):
        for code in codes[n % 3 :] + codes[: n % 3]:
            took[code].append(_once(code))
    bare, base, ours = (median(took[code]) * 1e3 for code in codes)
    result.add("bare interpreter", bare, " ms")
    result.add("opentelemetry.trace, attrs, orjson", base - bare, " ms", note="above the bare interpreter")
    result.add("botobs", ours - bare, " ms", note="above the bare interpreter")
    result.add("ratio", (ours - bare) / (base - bare), "x", limit=1.5)
    result.add("ratio with the interpreter's start", ours / base, "x")
    return result


def _once(code: str) -> float:
    begun = perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[1],
        env=_environment(),
    )
    return perf_counter() - begun


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "BOTOBS_", "PYTHON"))}
