"""Every metric botobs knows: one table for the Prometheus page, OTLP, a user's own provider, the docs and the tests."""

from __future__ import annotations

from typing import Final

from .own import OWN, TOTALS
from .prices import PRICES
from .row import SCOPE, Kind, Row, Source, clean_namespace
from .standing import ACCOUNT, PERFORMANCE, SAFETY, STAGE_DURATION, STAGES
from .trading import EXECUTION, MODEL, TRADES

__all__ = ["CATALOGUE", "SCOPE", "STAGE_DURATION", "Kind", "Row", "Source", "clean_namespace"]

CATALOGUE: Final[tuple[Row, ...]] = (
    *ACCOUNT, *TRADES, *EXECUTION, *MODEL, *PRICES, *STAGES, *SAFETY, *PERFORMANCE, *TOTALS, *OWN,
)  # fmt: skip
