"""The properties of money, with many times the examples of `make test`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOMS = ("tests/accounting", "tests/money", "tests/trackers", "tests/performance")


def properties(folder: Path, factor: int, seed: int) -> dict:
    """Run the property tests of the money rooms with `factor` times the examples."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-n", "2",
         f"--hypothesis-seed={seed}", f"--basetemp={folder / 'tmp'}", *(room for room in ROOMS if Path(room).exists())],
        env={**os.environ, "SOAK_FACTOR": str(factor)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return {"times the examples": factor, "result": done.stdout.strip().splitlines()[-1]}
