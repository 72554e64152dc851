"""All dashboards as the text of their files."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from botobs.dashboards.source.execution import execution
from botobs.dashboards.source.itself import itself
from botobs.dashboards.source.overview import overview
from botobs.dashboards.source.strategies import strategies

__all__ = ["built"]


def built() -> dict[str, str]:
    """Each dashboard's JSON by the name of its file."""
    made = {
        "overview.json": overview(),
        "execution.json": execution(),
        "strategies.json": strategies(),
        "botobs.json": itself(),
    }
    return {name: _text(dashboard) for name, dashboard in made.items()}


def _text(dashboard: Any) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
