"""Observability for trading bots.

```python
import botobs

obs = botobs.start("trend-bot")

@botobs.feature
def features(bar): ...

with botobs.tick("BTC-USD", bar_id=1) as tick:
    tick.signal(features=features(bar))
```

Before `start` everything here is a no-op; after it, nothing here raises into the bot.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from botobs.errors import BotobsError, ConfigError, TradingHalted
from botobs.explainability.verbs import ModelVerbs
from botobs.module import money_verbs, safety_verbs
from botobs.money.report import FillReport
from botobs.stages.live import Live as Span
from botobs.stages.site import Stage
from botobs.stages.tick import Tick
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from typing import Unpack

    from botobs.config import StartSettings
    from botobs.observer import Observer
    from botobs.report import Report

__all__ = [
    "BotobsError",
    "ConfigError",
    "FillReport",
    "Observer",
    "Report",
    "Span",
    "Stage",
    "Tick",
    "TradingHalted",
    "afill",
    "bar",
    "book",
    "cancel",
    "current_tick",
    "decision",
    "event",
    "execution",
    "explain_model",
    "feature",
    "feature_value",
    "feature_values",
    "fill",
    "flush",
    "funding",
    "funding_rate",
    "health",
    "heartbeat",
    "instrument",
    "mark",
    "model",
    "order",
    "position",
    "reject",
    "risk",
    "sent",
    "shutdown",
    "stage",
    "start",
    "tick",
    "transfer",
    "void",
    "watch",
]

__version__ = "0.1.0"


# what only an observer answers
_NOUNS = frozenset((
    "accrued", "alerts", "bus", "calibration", "counterfactual", "depth", "edge", "equity", "equity_curve", "explain",
    "explainability", "kill_switch", "ledger", "performance", "positions", "price_events", "regime", "slippage",
    "staleness", "totals", "trades",
))  # fmt: skip


def _running() -> Observer | None:
    from botobs.stages.engine import ENGINES  # noqa: PLC0415  # the list itself, never a copy

    newest = ENGINES.newest
    if newest is None:
        return None
    from botobs.lifecycle import running  # noqa: PLC0415  # loaded by start

    engine = current_tick().engine
    return running(engine if engine is not None and engine in ENGINES else newest)


_verbs = ModelVerbs()
tick = _verbs.tick
stage = _verbs.stage
feature = _verbs.feature
model = _verbs.model
decision = _verbs.decision
risk = _verbs.risk
execution = _verbs.execution
explain_model = _verbs.explain_model

_money = money_verbs(_running)
order = _money.order
sent = _money.sent
cancel = _money.cancel
reject = _money.reject
fill = _money.fill
afill = _money.afill
void = _money.void
funding = _money.funding
mark = _money.mark
bar = _money.bar
book = _money.book
instrument = _money.instrument
position = _money.position
transfer = _money.transfer

_safety = safety_verbs(_running)
health = _safety.health
heartbeat = _safety.heartbeat
watch = _safety.watch
feature_value = _safety.feature_value
feature_values = _safety.feature_values
funding_rate = _safety.funding_rate


def start(bot: str, **settings: Unpack[StartSettings]) -> Observer:
    """Start observing.

    Settings come from keywords, then from `BOTOBS_*` variables, then from `botobs.toml`, then from defaults; the
    whole table stands in the documentation under "Configuration".

    Args:
        bot: The bot's name, as it appears in records, traces and metrics.
        **settings: What differs from the defaults.

    Returns:
        The observer; also a context manager that shuts itself down.

    Raises:
        ConfigError: A setting is unknown or wrong, or the data directory cannot be used. The message says which.

    Example:
        >>> import botobs
        >>> with botobs.start("trend-bot", data_dir="data") as obs:
        ...     with botobs.tick("BTC-USD", bar_id=1) as tick:
        ...         tick.signal(decision={"dir": "flat"})
    """
    from botobs.observer import Observer  # noqa: PLC0415  # exporters and files load here, not at import

    return Observer.start(bot, settings)


def event(stream: str, /, **fields: Any) -> None:
    """Write a record of the bot's own, to a stream of its own.

    Args:
        stream: The stream: `logs/<stream>.jsonl`.
        **fields: Anything.

    Example:
        >>> import botobs
        >>> botobs.event("rebalances", universe="top50", turnover=0.12)
    """
    observer = _running()
    if observer is not None:
        observer.event(stream, **fields)


def flush(timeout: float = 5.0) -> Report | None:
    """Write and send what waits; see `Observer.flush`. `None` where nothing runs."""
    observer = _running()
    return None if observer is None else observer.flush(timeout)


def shutdown(timeout: float = 5.0) -> Report | None:
    """End the running observer; see `Observer.shutdown`. `None` where nothing runs."""
    observer = _running()
    return None if observer is None else observer.shutdown(timeout)


def _missing(name: str) -> Any:
    """`Observer` and `Report`, whose modules load what only a running observer needs; of the rest, where it is."""
    if name == "Observer":
        from botobs.observer import Observer  # noqa: PLC0415  # see above

        return Observer
    if name == "Report":
        from botobs.report import Report  # noqa: PLC0415  # see above

        return Report
    where = f"; it is the observer's: obs = botobs.start(...), obs.{name}" if name in _NOUNS else ""
    raise AttributeError(f"module 'botobs' has no attribute {name!r}{where}", name=name, obj=sys.modules[__name__])


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _missing
