"""The limits that trip the switch; the public name is `botobs.triggers`."""

from .base import Trigger, Verdict
from .counting import ConsecutiveLosses, Errors, Rejections, SameBarRoundTrip
from .custom import Facts, When
from .equity import DailyLoss, Drawdown, EquityBelow, OfEquity
from .silence import Silence, Stale

__all__ = [
    "ConsecutiveLosses",
    "DailyLoss",
    "Drawdown",
    "EquityBelow",
    "Errors",
    "Facts",
    "OfEquity",
    "Rejections",
    "SameBarRoundTrip",
    "Silence",
    "Stale",
    "Trigger",
    "Verdict",
    "When",
]
