"""What happens to prices, with what the bot held and did.

```
levels   round levels, each told once
moves    what is usual for a market, and what is not: spikes and gaps
track    one symbol: its bars, and its marks once a second
around   what was held and done
counted  how often, and what followed
making   the events made of that
terms    the table [price_events]
tracker  joins them
```
"""

from __future__ import annotations

from botobs.insight.price_events.counted import Counted
from botobs.insight.price_events.terms import PriceEventTerms
from botobs.insight.price_events.tracker import PriceEvents

__all__ = ["Counted", "PriceEventTerms", "PriceEvents"]
