"""Why the bot earned what it earned.

```
regime       which regime each market is in: market measures bars, classifier asks the bot, earned sums trades
calibration  what predictions are worth: taking and waiting until they are due, line learns, track judges
counterfactual  what decisions of other sources, and orders that were refused, would have made
edge         whether outcomes leave their norm, and where prices go after decisions
depth        what order books are like, and what they would make an order pay
terms        the tables [regime], [calibration] and [order_book]
price_events what happens to prices, with what the bot held and did
kept         what survives a restart
room         joins them
```
"""

from __future__ import annotations

from botobs.insight.calibrated import Band, Calibrated
from botobs.insight.calibration import Calibration
from botobs.insight.counterfactual import Counterfactual, SourceRow, SourceTable, VetoRow, VetoTable
from botobs.insight.depth import Book, Depth, Impact
from botobs.insight.earned import RegimePerformance
from botobs.insight.edge import Curve, Edge, EdgeState, HalfLife, Markout
from botobs.insight.market import Market
from botobs.insight.price_events import Counted, PriceEvents
from botobs.insight.regime import Regime, RegimeTracker

__all__ = [
    "Band",
    "Book",
    "Calibrated",
    "Calibration",
    "Counted",
    "Counterfactual",
    "Curve",
    "Depth",
    "Edge",
    "EdgeState",
    "HalfLife",
    "Impact",
    "Market",
    "Markout",
    "PriceEvents",
    "Regime",
    "RegimePerformance",
    "RegimeTracker",
    "SourceRow",
    "SourceTable",
    "VetoRow",
    "VetoTable",
]
