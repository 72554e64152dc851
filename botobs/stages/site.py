"""Where a bot opens a stage: shared, stateless, re-entrant.

A site keeps nothing of a running stage: the `Live` stands in the current context, and leaving finds it there. So one
site may be entered by any number of threads, tasks and recursions at once, and `botobs.decision()` need not make
anything. Entering and leaving are written out in full: a function call costs a tenth of a stage.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import latency
from .cells import BOUNDS_NS, LEAST_NS
from .engine import ENGINES
from .hasten import UNFIT, quick
from .latency import LATENCY_KEYS, TOTAL
from .live import Live, foreign_span, get_context, live_in, plain, set_context
from .roots import root_of
from .tick import INERT, MOST_SPANS, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .cells import Cell
    from .engine import Engine

__all__ = ["GuardedStage", "Site", "Stage", "pairs"]

_MOST_ATTRS: Final = 128

F = TypeVar("F", bound="Callable[..., Any]")


class Site:
    """What stages and ticks share: a label, and how a running one is opened and shut."""

    __slots__ = ("attrs", "engine", "label", "template")

    label: str
    attrs: tuple[tuple[str, Any], ...]
    engine: Engine | None
    template: Any  # the encoded constants of its spans, kept here by the encoder

    def __call__(self, fn: F, /) -> F:
        """Decorate a function, coroutine function, generator or async generator."""
        from .wrap import wrap  # noqa: PLC0415  # decorating needs inspect, running does not

        return wrap(self, fn)

    def said(self) -> tuple[tuple[str, Any], ...]:
        """What the bot said beside the name, for the root span of a trace."""
        return ()

    def admit(self) -> None:
        """Ask whether the stage may run; this one always may."""

    def open(self, parent: Any) -> Live:
        """Start a stage whose context is not entered yet."""
        raise NotImplementedError

    def shut(self, live: Live, error: BaseException | None) -> None:
        """End a stage whose context was left already."""
        tick = live.tick
        if live.t1:
            return
        now = live.t1 = tick.now()
        if error is not None:
            tick = live.turn()
            tick.failed(live, error)
        cell = tick.cells[self.label]
        took = max(now - live.t0 - (live.more.idle_ns if live.more is not None else 0), 0)
        cell.counts[bisect_left(BOUNDS_NS, took)] += 1
        cell.total_ns += took
        self._settle(tick, live, cell, took)

    @staticmethod
    def _settle(tick: Tick, live: Live, cell: Cell, took: int) -> None:
        """What an ending stage does beside counting itself."""
        if cell.pending is not None:
            cell.hand_on(took)
        if tick.root is live:
            tick.close(cell, took)
        elif tick.shared:
            engine = tick.engine
            worth = cell.worth_keeping(took, engine.base_every) if engine is not None and tick.keeps else None
            if worth is not None and engine is not None:
                tick = live.turn()
                tick.keep("all" if engine.keep == "all" else worth)
                tick.hand_over()
        elif tick.done and tick.kept and tick.engine is not None:
            tick.engine.keep_late(live)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        live = get_context()
        if live.__class__ is not Live or live.stage is not self:
            self._leave_tangled(live, error)
            return
        tick = live.tick
        clock = tick.now
        now = live.t1 = clock()
        set_context(live.parent)
        try:
            if error is not None:
                tick = live.turn()
                tick.failed(live, error)
            cell = tick.cells[self.label]
            took = now - live.t0
            cell.counts[bisect_left(BOUNDS_NS, took) if took > LEAST_NS else 0] += 1
            cell.total_ns += took
            if tick.special:
                left = cell.left - 1
                if tick.quick and left > 0 and took < cell.slow_ns:
                    cell.left = left  # the usual case of `worth_keeping`, written out
                else:
                    self._settle(tick, live, cell, took)
        except Exception as unexpected:
            if tick.engine is not None:
                tick.engine.faults.error("stage", unexpected)

    def _leave_tangled(self, context: Any, error: BaseException | None) -> None:
        """Leave a stage that is not the innermost: a generator was resumed in between, or a context left lying."""
        try:
            inner: Live | None = None
            live = live_in(context)
            while live is not None and (live.stage is not self or live.t1):
                inner, live = live, live_in(live.parent)
            if live is None:  # opened before `start`, or in another context altogether
                return
            if inner is None:
                set_context(live.parent)  # somebody else's context lay on top
            elif inner.parent is live:
                inner.parent = live.parent  # the stage above goes back past this one
            self.shut(live, error)
        except Exception as unexpected:
            for engine in ENGINES[-1:]:
                engine.faults.error("stage", unexpected)


class Stage(Site):
    """A timed part of a tick: context manager and decorator.

    Example:
        >>> import botobs
        >>> with botobs.stage("rank") as stage:
        ...     stage.set_attribute("candidates", 12)
    """

    __slots__ = ("fresh", "kind", "latency_key", "order", "reduces", "special")

    def __init__(
        self,
        kind: str,
        name: str | None,
        *,
        attrs: Mapping[str, Any] | None = None,
        fresh: bool = False,
        order: str | None = None,
        reduces: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.label = name or kind
        self.attrs = pairs(attrs) if attrs is not None else ()
        self.engine = engine
        self.template = None
        self.kind = kind
        key = LATENCY_KEYS.get(kind) or f"{name}_ms"
        self.latency_key = key if key != TOTAL else f"stage_{key}"
        self.fresh = fresh
        self.order = order
        self.reduces = reduces
        if order is not None:
            self.attrs += (("order_id", order),)
        self.special = engine is not None or bool(self.attrs)  # entering has more to do than usual

    def __enter__(self) -> Live:
        parent = get_context()
        if parent.__class__ is not Live or parent.tick.done or self.special:
            engine = ENGINES.newest
            if parent or self.special or engine is None:
                return self._enter(parent)
            live = Live()  # outside of a tick, and nothing unusual about it
            live.stage = self
            live.parent = parent
            live.tick = tick = engine.ambient
            live.t1 = 0
            live.more = None
            set_context(live)
            now = tick.now  # taken out first: to call what stands in a slot as if it were a method takes longer
            live.t0 = now()
            return live
        tick = parent.tick
        live = Live()
        live.stage = self
        live.parent = parent
        live.tick = tick
        live.t1 = 0
        live.more = None
        spans = tick.spans
        if len(spans) >= MOST_SPANS:
            tick.make_room()
            spans = tick.spans
        spans.append(live)
        set_context(live)
        now = tick.now
        live.t0 = now()
        return live

    def _enter(self, parent: Any) -> Live:
        try:
            live = self.open(parent)
        except Exception as error:
            for engine in ENGINES[-1:]:
                engine.faults.error("stage", error)
            return INERT.root
        if live is not INERT.root:
            set_context(live)
            live.t0 = live.tick.now()
        return live

    def open(self, parent: Any) -> Live:
        """Start a stage: in the running tick, or as a turn of its own where there is none."""
        above = parent if parent.__class__ is Live else live_in(parent)
        bound = self.engine
        if above is not None and above.tick.shared and not above.t1:
            above.turn()
        if above is None or above.tick.done or (bound is not None and above.tick.engine is not bound):
            engine = bound or (above.tick.engine if above is not None else None)
            if engine is None or engine not in ENGINES:
                engine = ENGINES.newest
                if engine is None or bound is not None:
                    return INERT.root
            live = root_of(self, engine, parent, above, engine.ambient.cells)
            live.tick.special = True  # it ends with this stage
        else:
            tick = above.tick
            live = Live()
            live.stage = self
            live.parent = parent
            live.tick = tick
            live.t1 = 0
            live.more = None
            if len(tick.spans) >= MOST_SPANS:
                tick.make_room()
            tick.spans.append(live)
            if above is not parent:
                live.extra().above = above
                live.extra().upstream = foreign_span(parent)
            live.t0 = tick.now()
        if self.attrs:
            self._describe(live)
        return live

    def _describe(self, live: Live) -> None:
        attributes = live.extra().attributes
        for key, value in self.attrs:
            attributes[key] = plain(value)
        if self.order is not None:
            live.turn().keep("order")


class GuardedStage(Stage):
    """A stage that may be refused: one that sends orders, or one that wants fresh data."""

    __slots__ = ()

    def __enter__(self) -> Live:
        self.admit()
        return super().__enter__()

    def admit(self) -> None:
        """Ask whether the stage may run.

        Raises:
            TradingHalted: It may not.
        """
        engine = self.engine
        if engine is None:
            live = live_in(get_context())
            engine = live.tick.engine if live is not None and not live.tick.done else None
            if engine is None or engine not in ENGINES:
                engine = ENGINES.newest
        elif engine not in ENGINES:
            return
        if engine is not None and engine.guard is not None:
            engine.guard(self)


def pairs(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Attributes as a site keeps them."""
    try:
        return tuple((str(plain(key)), value) for key, value in islice(attrs.items(), _MOST_ATTRS))
    except Exception:  # not a mapping: show it all the same
        return (("attrs", plain(attrs)),)


def _settled(site: Site, tick: Tick, live: Live, cell: Cell, took: int) -> None:
    """As the end of `Site.__exit__`, for a stage that was counted without it."""
    try:
        site._settle(tick, live, cell, took)  # noqa: SLF001  # a part of the same
    except Exception as unexpected:
        if tick.engine is not None:
            tick.engine.faults.error("stage", unexpected)


if quick is not None:
    with suppress(*UNFIT):
        Stage.__enter__, Stage.__exit__ = quick.know_stages(  # type: ignore[method-assign]  # the same, compiled
            Stage, Stage.__enter__, Stage.__exit__, _settled
        )
        latency.at_once = latency.compiled(quick)
