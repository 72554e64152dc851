"""The picture of the page on explanations is what the code draws today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_is_of_this_code(tmp_path):
    runpy.run_path(str(DOCS / "pictures/explain.py"))["main"](tmp_path)
    drawn = (tmp_path / "explain.svg").read_text("utf-8")
    assert drawn.startswith("<svg")
    assert (DOCS / "_static/explain.svg").read_text("utf-8") == drawn, "run docs/pictures/explain.py"
