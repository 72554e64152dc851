"""Makes a history anew from all that was ever recorded, in bounded memory as a rule."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from botobs.performance.closed import Closed
    from botobs.performance.history import History

__all__ = ["Stopped", "current", "latest_of", "made_anew", "unhurried"]

_SLICE_S = 100e-6  # as long as this the bot waits for the GIL
_PAUSE_S = 200e-6


class Stopped(Exception):  # noqa: N818  # no error: the run ends
    """Nobody wants the result any more."""


def unhurried(trades: Iterable[Closed], stop: Callable[[], bool]) -> Iterator[Closed]:
    """`trades`, with a pause after every 100 µs, so that the bot gets its turns.

    Raises:
        Stopped: `stop` says so.
    """
    until = time.perf_counter() + _SLICE_S
    for trade in trades:
        yield trade
        if time.perf_counter() > until:
            if stop():
                raise Stopped
            time.sleep(_PAUSE_S)
            until = time.perf_counter() + _SLICE_S


def made_anew(
    source: Callable[[], Iterable[Closed]], fresh: Callable[[], History], also: Mapping[str, Closed]
) -> History:
    """The history of all trades of `source`, each in its highest revision.

    Trades come nearly in the order of their exits. That is used: two readings, of which the first finds out what was
    revised, need no memory for the rest. Where it does not hold, all trades are held once and sorted.

    Args:
        source: Gives the trades in the order in which they were recorded, as often as it is called.
        fresh: Makes an empty history.
        also: Trades, by id, that may not have been recorded yet.
    """
    history = fresh()
    if all(history.admit(trade) != "too old" for trade in current(source, also)):
        return history
    return _sorted_anew(itertools.chain(source(), sorted(also.values())), fresh)


def current(source: Callable[[], Iterable[Closed]], also: Mapping[str, Closed]) -> Iterator[Closed]:
    """Every trade in its highest revision; those that came twice with it, twice."""
    revised: dict[str, int] = {name: trade.revision for name, trade in also.items() if trade.revision > 1}
    count = 0
    for trade in source():
        count += 1
        if trade.revision > 1 and trade.revision > revised.get(trade.trade_id, 0):
            revised[trade.trade_id] = trade.revision
    readings = itertools.chain(itertools.islice(source(), count), sorted(also.values()))
    yield from (trade for trade in readings if trade.revision >= revised.get(trade.trade_id, 1))


def latest_of(trades: Iterable[Closed]) -> dict[str, Closed]:
    """The highest revision of each trade, by id, in the order in which they were heard of last."""
    found: dict[str, Closed] = {}
    for trade in trades:
        known = found.get(trade.trade_id)
        if known is None or known.revision < trade.revision:
            found.pop(trade.trade_id, None)
            found[trade.trade_id] = trade
    return found


def _sorted_anew(trades: Iterable[Closed], fresh: Callable[[], History]) -> History:
    latest = latest_of(trades)
    history = fresh()
    for trade in sorted(trade for trade in latest.values() if not trade.undone):
        history.admit(trade)
    for trade in latest.values():
        history.note(trade)
    return history
