"""Grafana dashboards, Prometheus rules, and a compose stack that shows a bot on this host.

They are files in this package; `export` writes them for one's own bot. Where the dashboards come from:
`botobs.dashboards.source`.
"""

from __future__ import annotations

from botobs.dashboards.export import Exported, NotOursError, export
from botobs.dashboards.stack import Stack

__all__ = ["Exported", "NotOursError", "Stack", "export"]
