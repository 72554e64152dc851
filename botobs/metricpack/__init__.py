"""The metric pack: a process of its own that reads what bots executed and exports what exits are worth.

```
source      where events come from: positions, batches; never written to
event       what an entry of a stream says, or why it says nothing; names: how its fields are called
builder     events into trades: pure, deterministic
            rules, holding, trade, tallies, memory, journal: its parts
market      bars, and the regime they say
store       where the state is kept: changes, position and fence together
page        what was saved last, as metrics
service     joins them: lease, loop, commit
opening     which source, store and market the settings mean
```
"""

from __future__ import annotations

from botobs.metricpack.builder import Builder, Changes
from botobs.metricpack.event import Execution, Unreadable, parse
from botobs.metricpack.market import Bar, Market, Setting, setting_of
from botobs.metricpack.names import Names
from botobs.metricpack.rules import Rules
from botobs.metricpack.source import Batch, Progress, Raw, Source, SourceTrouble
from botobs.metricpack.store import Fenced, State, Store, StoreTrouble

__all__ = [
    "Bar",
    "Batch",
    "Builder",
    "Changes",
    "Execution",
    "Fenced",
    "Market",
    "Names",
    "Progress",
    "Raw",
    "Rules",
    "Setting",
    "Source",
    "SourceTrouble",
    "State",
    "Store",
    "StoreTrouble",
    "Unreadable",
    "parse",
    "setting_of",
]
