"""The pictures of the pages are what the code draws today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pictures_are_of_this_code(tmp_path):
    runpy.run_path(str(DOCS / "pictures/insight.py"))["main"](tmp_path)
    for name in ("regime.svg", "calibration.svg"):
        drawn = (tmp_path / name).read_text("utf-8")
        assert drawn.startswith("<svg")
        assert (DOCS / "_static" / name).read_text("utf-8") == drawn, f"run docs/pictures/insight.py: {name} is another"
