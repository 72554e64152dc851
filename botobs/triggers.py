"""When to stop trading: the limits for `botobs.start(kill_switch=[…])`.

```python
from botobs.triggers import ConsecutiveLosses, DailyLoss, Drawdown, EquityBelow

botobs.start("trend-bot", kill_switch=[EquityBelow(9_000), Drawdown(0.10), ConsecutiveLosses(5, target="reduce_only")])
```

All take `target="halted"` or `"reduce_only"`, `confirm=1` (how many observations in a row), `on_unknown="warn"` or
`"halt"`, and `warn_at=0.8`. A count or a drawdown that reaches its limit breaks it; equity has to be below a floor.
"""

from botobs.safety.triggers import (
    ConsecutiveLosses,
    DailyLoss,
    Drawdown,
    EquityBelow,
    Errors,
    Facts,
    Rejections,
    SameBarRoundTrip,
    Silence,
    Stale,
    Trigger,
    When,
)

__all__ = [
    "ConsecutiveLosses",
    "DailyLoss",
    "Drawdown",
    "EquityBelow",
    "Errors",
    "Facts",
    "Rejections",
    "SameBarRoundTrip",
    "Silence",
    "Stale",
    "Trigger",
    "When",
]
