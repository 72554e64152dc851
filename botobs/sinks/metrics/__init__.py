"""From bucket arrays and readings to Prometheus, OTLP, or a `MeterProvider` of the user's own.

```
catalogue   every metric: name, kind, unit, description, labels
histograms  stage durations: the cells' bucket arrays as OpenTelemetry points
about       what botobs says about itself, as observable instruments
instruments metrics set by events, with capped labels
exposition  what the SDK collected as Prometheus text
sink        joins them
```
"""

from __future__ import annotations

from .about import SelfReadings
from .catalogue import CATALOGUE, STAGE_DURATION, Row
from .exposition import PrometheusReader
from .histograms import StageHistograms, StageTransform
from .instruments import Instruments
from .labels import LabelCap
from .sink import MetricsSink

__all__ = [
    "CATALOGUE",
    "STAGE_DURATION",
    "Instruments",
    "LabelCap",
    "MetricsSink",
    "PrometheusReader",
    "Row",
    "SelfReadings",
    "StageHistograms",
    "StageTransform",
]
