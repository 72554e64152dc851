"""The picture of the page on backups is what the code draws today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_is_of_this_code(tmp_path):
    script = runpy.run_path(str(DOCS / "pictures/backup.py"))
    made = script["run"](tmp_path)
    assert sum(new for _, new in made) < 0.5 * sum(size for size, _ in made)  # incremental
    drawn = script["drawn"](made)
    assert (DOCS / "_static/backup.svg").read_text("utf-8") == drawn, "run docs/pictures/backup.py"
