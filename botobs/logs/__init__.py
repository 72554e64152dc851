"""The bot's own log, tied to its ticks.

```python
import logging
from botobs import logs

handler = logs.Handler()                   # records become lines of the stream `logs`
logging.getLogger().addHandler(handler)

console = logging.StreamHandler()          # or: the ids in a log that is already there
console.addFilter(logs.ContextFilter())
console.setFormatter(logging.Formatter("%(message)s trace=%(trace_id)s bar=%(bar_id)s"))
```

Every record that is logged inside a tick or a stage gets `trace_id`, `span_id`, `symbol` and `bar_id`. A
record of level WARNING and above also keeps the tick's trace (reason `log`), so that the id in an alarming
line leads to one; below that, the id leads to a trace if the tick was kept for another reason. With
`keep_traces="none"` there are no traces, and so no `trace_id` and no `span_id`.

For structlog put `logs.structlog_processor` into the chain, and `logs.StructlogStream()` behind it to write
its events to a stream too.
"""

from __future__ import annotations

from .context import ContextFilter
from .handler import Handler
from .structured import StructlogStream, structlog_processor

__all__ = ["ContextFilter", "Handler", "StructlogStream", "structlog_processor"]
