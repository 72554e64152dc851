"""What would have been.

```
candidates  what a bot says of its sources
deciding    takes decisions and refusals from the bot's own threads
running     what has not come to its end, and by which price it does
following   which trade came of a decision
refused     which refusals run
costs       what a round trip costs
sums        what every source came to; tallies reckons intervals
vetoes      what refusals saved and cost
answers     what a person gets
records     what is written down
tracker     joins them
```
"""

from __future__ import annotations

from botobs.insight.counterfactual.answers import Regret, SourceRow, SourceTable, VetoRow, VetoTable
from botobs.insight.counterfactual.terms import CounterfactualTerms
from botobs.insight.counterfactual.tracker import Counterfactual

__all__ = ["Counterfactual", "CounterfactualTerms", "Regret", "SourceRow", "SourceTable", "VetoRow", "VetoTable"]
