"""The first stage of a trace, and what its trace has to do with those that it was started in or from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .hasten import UNFIT, quick
from .live import Live, foreign_span
from .tick import blank

if TYPE_CHECKING:
    from .engine import Engine
    from .tick import Tick

__all__ = ["root_of"]


def root_of(site: Any, engine: Engine, parent: Any, above: Live | None, cells: Any) -> Live:
    """A tick with its root stage. `above`: the stage of ours that it runs in or was started from, if any."""
    tick = blank(engine, cells)
    live = Live()
    live.stage = site
    live.parent = parent
    live.tick = tick
    live.t1 = 0
    live.more = None
    tick.root = live
    tick.spans = [live]
    if above is not None:
        _inherit(tick, live, above)
    elif parent:  # an empty context, the usual case, has no span to be a child of
        upstream = foreign_span(parent)
        if upstream is not None:
            tick.upstream = upstream
            tick.trace_id = upstream.trace_id
            if upstream.trace_flags.sampled:
                tick.keep("upstream")
    wall, now = engine.wall, engine.now
    unix = wall()
    live.t0 = begun = now()
    tick.offset = unix - begun
    return live


def _inherit(tick: Tick, live: Live, above: Live) -> None:
    """A tick inside a running one is its child; one started from a finished one is linked to it."""
    if above.tick.done:
        if above.tick.kept:
            live.extra().links.append((above.get_span_context(), {}))
        return
    tick.upstream = above.get_span_context()  # keeps the outer trace too
    tick.trace_id = tick.upstream.trace_id
    tick.keep("nested")


if quick is not None:
    with suppress(*UNFIT):
        quick.know_turns(root_of)
        root_of = quick.root
