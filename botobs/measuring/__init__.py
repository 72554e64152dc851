"""What an observer's metrics are made of: which events are measured, and who is asked for the rest.

```
room         joins the metrics to the other rooms
account      equity, positions, the ledger's totals
standing     feeds, funding, features, the kill switch, ticks
performance  strategies and sessions
own          what botobs says about itself
```
"""

from __future__ import annotations

from .room import Measuring

__all__ = ["Measuring"]
