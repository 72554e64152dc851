"""Events on their way from verbs to whoever subscribed: an immediate lane and a background lane, each isolated."""

from __future__ import annotations

from botobs.bus.dispatch import Bus
from botobs.bus.subscription import Subscription

__all__ = ["Bus", "Subscription"]
