"""From events, cells and readings to Prometheus, OTLP, or a `MeterProvider` of the user's own.

```
catalogue   every metric: name, kind, unit, labels, and what fills it
board       all series: what events come to, and what is asked for at a collection
signals     strength and confidence, taken on the bot's thread
stages      stage durations: the cells' bucket arrays and their exemplars
page        a collection as Prometheus text
pushed      the same as OpenTelemetry's points, cumulative or delta
provided    the same on a provider of the user's own; handing gives it single measurements
sink        joins them
```
"""

from __future__ import annotations

from .board import Board
from .catalogue import CATALOGUE, STAGE_DURATION, Row
from .labels import LabelCap
from .page import PrometheusPage
from .sink import MetricsSink

__all__ = ["CATALOGUE", "STAGE_DURATION", "Board", "LabelCap", "MetricsSink", "PrometheusPage", "Row"]
