"""Alerts: what a person is told, once, through Slack and through any function."""

from botobs.alerts.alert import Alert
from botobs.alerts.answer import Answer
from botobs.alerts.noun import Alerts
from botobs.alerts.rules import Rule, built_in

__all__ = ["Alert", "Alerts", "Answer", "Rule", "built_in"]
