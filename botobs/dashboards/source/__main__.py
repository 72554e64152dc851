"""Writes the dashboards' JSON into the package."""

from __future__ import annotations

import sys
from pathlib import Path

from botobs.dashboards.source.built import built

_FOLDER = Path(__file__).parents[1] / "files" / "grafana" / "dashboards"

for name, text in built().items():
    (_FOLDER / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{name}: {len(text):,} bytes\n")
