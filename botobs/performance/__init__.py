"""How the strategies do: statistics of closed trades, by strategy and session, with targets."""

from botobs.performance.summary import Session, Summary
from botobs.performance.targets import Target, TargetAlert, TargetResolved, Targets
from botobs.performance.tracker import Performance
from botobs.performance.windows import Window

__all__ = ["Performance", "Session", "Summary", "Target", "TargetAlert", "TargetResolved", "Targets", "Window"]
