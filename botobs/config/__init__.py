"""The settings of `start`: one table, read from keywords, the environment and `botobs.toml`.

`values` says what a value must be like, `table` lists every setting once, `load` finds out who gave what.
"""

from __future__ import annotations

from botobs.config.load import load
from botobs.config.start import StartSettings
from botobs.config.table import SETTINGS, Setting, Settings, table_markdown
from botobs.config.values import seconds

__all__ = ["SETTINGS", "Setting", "Settings", "StartSettings", "load", "seconds", "table_markdown"]
