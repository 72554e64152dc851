"""Everything botobs raises.

```
Exception
└── BotobsError
    ├── ConfigError      a setting is unknown, wrong, or cannot be honoured (only from `start`)
    └── TradingHalted    the kill switch refuses this order (from guards and `check()`)
```

After `start` these two and the bot's own exceptions are the only ones a bot sees.
"""

from __future__ import annotations

__all__ = ["BotobsError", "ConfigError", "TradingHalted"]


class BotobsError(Exception):
    """The root of what botobs raises."""


class ConfigError(BotobsError):
    """A setting is unknown, wrong, or cannot be honoured. The message says which, its value and what is right."""


class TradingHalted(BotobsError):  # noqa: N818  # the contract with the user names it so
    """The kill switch refuses to let this order through.

    Attributes:
        state: How the switch stands: `reduce_only` or `halted`; `None`: it was refused for stale data.
        reason: Why.
        since: Since when (RFC 3339).
    """

    state: str | None = None
    reason: str | None = None
    since: str | None = None
