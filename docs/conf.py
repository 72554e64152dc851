"""Sphinx's settings. The tables of settings and metrics are made here, from the code itself."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the code beside these pages, installed or not

import botobs  # noqa: E402  # needs the line above
from botobs.config import table_markdown  # noqa: E402  # as above
from botobs.sinks.metrics import CATALOGUE  # noqa: E402  # as above


def metrics_markdown() -> str:
    """The table of metrics, from the catalogue."""
    lines = ["| metric | type | unit | labels | meaning | from |", "|---|---|---|---|---|---|"]
    for row in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in row.labels) or "none"
        unit = f"`{row.unit}`" if row.unit != "1" else "1"
        lines.append(f"| `{row.name}` | {row.kind} | {unit} | {labels} | {row.description} | {row.origin} |")
    return "\n".join(lines) + "\n"


project = "botobs"
author = "The botobs authors"
project_copyright = author
version = release = botobs.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"settings_table": table_markdown(), "metrics_table": metrics_markdown()}

exclude_patterns = ["_build"]
nitpicky = True
html_theme = "furo"
html_title = f"botobs {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
pygments_style = "friendly"
pygments_dark_style = "monokai"
