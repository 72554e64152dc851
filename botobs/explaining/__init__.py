"""Why one trade earned what it earned.

```
waterfall    the reckoning: from the predicted edge to the net result, exactly
living       what each fill was to the trade, as the position engine deals fills out
finding      which trade is meant
facts        what is known around it: streams reads it from disk, remembered from memory
deciding     writes down what the bot saw when it decided on an order
explainer    puts it together, for the running bot and the command line alike
table        shows it to people
noun         `obs.explain`
```
"""

from __future__ import annotations

from botobs.explaining.parts import LABELS, Behind, Explained, Part

__all__ = ["LABELS", "Behind", "Explained", "Part"]
