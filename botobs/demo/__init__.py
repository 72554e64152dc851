"""A simulated exchange and a bot on it: what `botobs demo` runs.

`timeline` is simulated time, `market` makes prices of it, `exchange` trades at them, `bot` is a bot as anybody would
write one, `session` runs them under an observer, `readings` and `words` tell what came of it.
"""

from __future__ import annotations

__all__: list[str] = []
