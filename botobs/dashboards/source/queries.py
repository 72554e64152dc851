"""The words that queries are made of: selectors, quantiles, and the link from a number to its traces."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

__all__ = ["ALL", "BOT", "BPS", "SYMBOL", "explore", "quantile", "rate_of"]

BOT: Final = 'job=~"$job", instance=~"$instance"'
SYMBOL: Final = f'{BOT}, symbol=~"$symbol"'
BPS: Final = "suffix: bps"  # a unit of Grafana
ALL: Final = f'{BOT}, window="all"'


def rate_of(name: str, by: str, labels: str = SYMBOL, more: str = "") -> str:
    """The buckets of a histogram as they fill, added up by labels; by none if `by` is empty."""
    chosen = f"{labels}, {more}" if more else labels
    kept = f"{by}, le" if by else "le"
    return f"sum by ({kept}) (rate({name}_bucket{{{chosen}}}[$__rate_interval]))"


def quantile(q: float, name: str, by: str, labels: str = SYMBOL, more: str = "") -> str:
    """A quantile of a histogram, by labels. It needs no `_sum`, which histograms with negative buckets do not have."""
    return f"histogram_quantile({q}, {rate_of(name, by, labels, more)})"


def explore(traceql: str) -> str:
    """The address of Grafana's Explore with the traces that `traceql` finds in the time shown."""
    pane = {
        "datasource": "${tempo}",
        "queries": [
            {
                "refId": "A",
                "datasource": {"type": "tempo", "uid": "${tempo}"},
                "queryType": "traceql",
                "tableType": "traces",
                "limit": 50,
                "query": traceql,
            }
        ],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    text = quote(json.dumps({"traces": pane}, separators=(",", ":")), safe="${}._:")  # Grafana fills ${…} in
    return f"/explore?schemaVersion=1&orgId=1&panes={text}"
