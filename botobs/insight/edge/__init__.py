"""Whether the bot still has its edge, and how fast a signal's edge goes into the price.

```
watch      one series of outcomes, and the test that sees it leave its norm
watches    all of them, by strategy; what is said of them
pool       the slippage of orders, from their fills
decisions  which orders and predictions are followed
pending    follows them through their horizons
curve      the mean move over a horizon, and how sure it is
markouts   all curves
half_life  how fast an edge goes into the price, from a curve
terms      the table [edge]
told       what is answered
edge       joins them
```
"""

from __future__ import annotations

from botobs.insight.edge.edge import Edge
from botobs.insight.edge.terms import EdgeTerms
from botobs.insight.edge.told import Curve, EdgeState, HalfLife, Markout

__all__ = ["Curve", "Edge", "EdgeState", "EdgeTerms", "HalfLife", "Markout"]
