"""What dashboards and rules ask for, read from the shipped files."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import unquote

import yaml

from tests.dashboards.running import FILES

_SELECTOR = re.compile(r"(?<![\w:.\"])((?:\w+:)?[a-z]\w*(?::\w+)?)(\{[^}]*\})?")
_OWN = re.compile(r"(\w+:)?(bot|botobs|metrics|scrape)_\w+(:\w+)?|up")
_LABELS = re.compile(r"\b(by|on|without|ignoring) \([^)]*\)")


class Asked(NamedTuple):
    """A query of a panel."""

    place: str
    expr: str
    instant: bool
    exemplars: bool


def boards():
    return {path.name: json.loads(path.read_text()) for path in sorted((FILES / "grafana/dashboards").glob("*.json"))}


def panels(board):
    return [each for each in board["panels"] if each["type"] != "row"]


def of_panels():
    """Every query in PromQL."""
    return [
        Asked(f"{name}: {panel['title']} {target['refId']}", target["expr"], bool(target.get("instant")),
              bool(target.get("exemplar")))
        for name, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
        if "expr" in target
    ]  # fmt: skip


def of_traces():
    """Every query in TraceQL: of panels, and of links from a number to its traces."""
    found = {}
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                if "expr" not in target:
                    found[f"{name}: {panel['title']}"] = target["query"]
            for link in panel["fieldConfig"]["defaults"].get("links", []):
                panes = json.loads(unquote(link["url"].partition("panes=")[2]))
                found[f"{name}: {panel['title']}: {link['title']}"] = panes["traces"]["queries"][0]["query"]
    return found


def rules(kind):
    """Expressions by name: of `record` or of `alert`."""
    found = {}
    for path in sorted((FILES / "prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found |= {rule[kind]: rule["expr"].strip() for rule in group["rules"] if kind in rule}
    return found


def filled(expr, **labels):
    """With Grafana's variables as if "All" were chosen."""
    for name, value in {"__rate_interval": "2s", "job": ".*", "instance": ".*", "symbol": ".*", **labels}.items():
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr, expr
    return expr


def selectors(expr):
    """The series it reads, as selectors."""
    return [
        name + (labels or "")
        for name, labels in _SELECTOR.findall(_LABELS.sub("", expr))
        if _OWN.fullmatch(name) and name not in ("bot", "up_")
    ]


def metrics(expr):
    """Their names."""
    return {selector.partition("{")[0] for selector in selectors(expr)}
