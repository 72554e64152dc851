"""The picture of the page on price events is what the code draws today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_is_of_this_code(tmp_path):
    runpy.run_path(str(DOCS / "pictures/price_events.py"))["main"](tmp_path)
    drawn = (tmp_path / "price-events.svg").read_text("utf-8")
    assert drawn.startswith("<svg")
    assert drawn.count("<polygon") > 5  # levels crossed
    assert all(f">{letter}</text>" in drawn for letter in "SG")  # a spike and a gap
    assert (DOCS / "_static/price-events.svg").read_text("utf-8") == drawn, "run docs/pictures/price_events.py"
