"""Order books as the bot sees them.

```
levels   takes the levels from whatever the bot has them in, and reads them
book     spread, depth and imbalance
impact   what an order would pay
tracker  joins them: what is recorded, and which order is held against which book
```
"""

from __future__ import annotations

from botobs.insight.depth.book import Book
from botobs.insight.depth.impact import Impact
from botobs.insight.depth.tracker import Depth

__all__ = ["Book", "Depth", "Impact"]
