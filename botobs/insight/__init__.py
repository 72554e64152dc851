"""Why the bot earned what it earned.

```
regime       which regime each market is in: market measures bars, classifier asks the bot, earned sums trades
calibration  what predictions are worth: taking and waiting until they are due, line learns, track judges
terms        the tables [regime] and [calibration]
kept         what survives a restart
room         joins them
```
"""

from __future__ import annotations

from botobs.insight.calibrated import Band, Calibrated
from botobs.insight.calibration import Calibration
from botobs.insight.earned import RegimePerformance
from botobs.insight.market import Market
from botobs.insight.regime import Regime, RegimeTracker

__all__ = ["Band", "Calibrated", "Calibration", "Market", "Regime", "RegimePerformance", "RegimeTracker"]
