"""The HTTP endpoint: `/metrics` and `/health`."""

from __future__ import annotations

from .server import Endpoint

__all__ = ["Endpoint"]
