"""The kill switch: `botobs.triggers` says when, `KillSwitch` does it, `outside` is for other processes."""

from .limits import defaults
from .said import Answer, Drilled, Trip
from .switch import KillSwitch

__all__ = ["Answer", "Drilled", "KillSwitch", "Trip", "defaults"]
