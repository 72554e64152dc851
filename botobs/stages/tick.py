"""One turn of the bot's loop: what it measured, what it signalled, whether its trace is worth keeping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanContext, format_trace_id
from orjson import dumps

from botobs.errors import TradingHalted

from .extras import beside
from .latency import by_kind, told
from .live import Live, describe, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from .cells import Cell, SymbolCells
    from .engine import Engine

__all__ = ["INERT", "MOST_SPANS", "Tick", "ambient", "blank", "promote"]

MOST_SPANS = 512
# The running percentile is moved once in so many turns, unless one was slow; a bit mask.
_MOST_USUAL: Final = 63

#: `Tick._begun` for the usual record, compiled; gives `None` for any other.
begun_at_once: Callable[[Tick, Engine, bytes], bytes | None] | None = None


class Tick:
    """What `with botobs.tick(...) as tick:` gives."""

    __slots__ = (
        "_error", "bar_id", "cells", "cut", "done", "engine", "folded", "keeps", "kept", "now", "offset", "quick",
        "root", "shared", "signals", "spans", "special", "symbol", "trace_id", "upstream", "why",
    )  # fmt: skip

    engine: Engine | None  # None: nothing listens
    now: Any  # steady nanoseconds
    cells: SymbolCells
    symbol: str | None
    bar_id: Any
    root: Live
    spans: list[Live]
    signals: list[bytes] | None  # lines that lack their latency and the last brace
    folded: dict[str, int] | None
    why: dict[str, Any] | None  # the reasons to keep the trace, in order; with `order`, the ids of orders
    special: bool  # a stage that ends has more to do than to count itself
    quick: bool  # shared, and an ending stage has nothing to do but what `worth_keeping` does
    shared: bool  # stands for all stages outside a tick until one of them needs a tick of its own
    done: bool
    kept: bool
    keeps: bool  # whether traces are kept at all
    cut: int
    trace_id: int
    upstream: SpanContext | None
    offset: int  # what its steady times lack to nanoseconds since 1970
    _error: BaseException | None

    def __repr__(self) -> str:
        if self.engine is None:
            return "<botobs tick that nobody watches>"
        return f"<botobs tick of {self.symbol!r}, bar_id={self.bar_id!r}>"

    # -- what the bot says -------------------------------------------------------------------------------------------

    def signal(  # noqa: C901, PLR0912  # each field written out: a loop costs as much as the rest
        self,
        /,
        *,
        features: Any = None,
        model: Any = None,
        decision: Any = None,
        source: str | None = None,
        pred_bps: Any = None,
        strength: Any = None,
        confidence: Any = None,
        cohort: Any = None,
        **more: Any,
    ) -> None:
        """Record what the bot saw and chose. Values are taken now; the line is written when the tick ends.

        Args:
            features: What the model saw.
            model: What it said.
            decision: What the bot decided.
            source: Which signal it came from.
            pred_bps: The predicted move in basis points.
            strength: How strong the signal is.
            confidence: How sure the model is, 0 to 1.
            cohort: Any grouping of the bot's own.
            **more: Anything else; kept as it is. `candidates`: by source, what each would have done; what that would
                have come to is told by `obs.counterfactual`.

        Example:
            >>> import botobs
            >>> with botobs.tick("BTC-USD") as tick:
            ...     tick.signal(features={"rsi": 55.1}, decision={"dir": "buy"}, strength=0.7)
        """
        engine = self.engine
        if engine is None:
            return
        try:
            body: dict[str, Any] = {}
            if source is not None:
                body["source"] = source
            if pred_bps is not None:
                body["pred_bps"] = pred_bps
                on_predicted = engine.on_predicted
                if on_predicted is not None:
                    on_predicted(self.symbol, source, pred_bps)
            if strength is not None:
                body["strength"] = strength
                on_strength = engine.on_strength
                if on_strength is not None:
                    on_strength(self.symbol, source, strength)
            if confidence is not None:
                body["confidence"] = confidence
                on_confidence = engine.on_confidence
                if on_confidence is not None:
                    on_confidence(self.symbol, confidence)
            if cohort is not None:
                body["cohort"] = cohort
            if features is not None:
                body["features"] = features
            if model is not None:
                body["model"] = model
            if decision is not None:
                body["decision"] = decision
            if more:
                candidates = more.get("candidates")
                if candidates is not None and engine.on_candidates is not None:
                    engine.on_candidates(self, source, decision, candidates)
                if not more.keys() <= engine.names.known:
                    engine.names.note(more, body)
                body.update(beside(more))
            encode = engine.line
            line = self._begun(engine, b"," + encode(body)[1:-1] if body else b"")
            if self.done:  # said after the end: nothing more to wait for
                engine.put("signals", line + b"}")
            elif self.signals is None:
                self.signals = [line]
            else:
                self.signals.append(line)
        except Exception as error:
            engine.faults.error("signal", error)

    def keep(self, reason: str = "asked") -> None:
        """Keep this tick's trace whatever its duration.

        Args:
            reason: Why; shown on the trace and counted in `botobs_traces_kept_total`.
        """
        if self.done and self.root is INERT.root:  # the choice was made
            return
        if self.why is None:
            self.why = {}
        if len(self.why) < 8:
            usual = type(reason) is str and reason.isascii()
            self.why.setdefault(reason if usual else str(plain(reason))[:200])

    def set_attribute(self, key: str, value: Any) -> None:
        """Put an attribute on the tick's span."""
        if self.engine is not None:
            self.root.set_attribute(key, value)

    @property
    def id(self) -> str:
        """The trace id, as records carry it; asking does not make the trace kept."""
        return format_trace_id(self.own_trace_id()) if self.engine is not None else ""

    # -- ids ---------------------------------------------------------------------------------------------------------

    def own_trace_id(self) -> int:
        """The trace id, made now if there is none yet."""
        if not self.trace_id and self.engine is not None:
            self.trace_id = self.engine.ids.trace_id()
        return self.trace_id

    def hand_out(self) -> int:
        """The trace id for somebody else's span or request: what they start has to find its parent later."""
        if self.why is None or "handed_out" not in self.why:
            self.keep("handed_out")
        return self.own_trace_id()

    def unix_now(self) -> int:
        """Now, on the time line of this tick."""
        return self.offset + self.now()  # type: ignore[no-any-return]

    # -- what stages say ---------------------------------------------------------------------------------------------

    def make_room(self) -> None:
        """Leave finished stages out of a trace that has too many, after taking their latency."""
        finished = [live for live in self.spans if live.t1]
        self.folded = by_kind(self, finished)
        self.spans = [live for live in self.spans if not live.t1]
        self.cut += len(finished)
        if self.engine is not None:
            self.engine.cut += len(finished)
        if len(self.spans) >= MOST_SPANS:  # all of them still run: more than a trace can show
            more = len(self.spans) - 1
            self.cut += more
            if self.engine is not None:
                self.engine.cut += more
            self.spans = [self.root]

    def failed(self, live: Live, error: BaseException) -> None:
        """A stage ended with an exception."""
        kind = type(error).__name__
        more = live.extra()
        if issubclass(type(error), GeneratorExit):  # by type: asking an error may run its code
            more.outcome = "closed"
            return
        if kind == "CancelledError":
            more.outcome = "cancelled"
            return
        halted = issubclass(type(error), TradingHalted)
        more.outcome = "halted" if halted else "error"
        self.keep("halt" if halted else "error")
        if live.stage.kind == "risk" and not halted and issubclass(type(error), Exception):
            self.veto(live, error)
        first, self._error = self._error is not error, error
        if first and not halted:
            self._tell(error)
        if not self.keeps:
            return
        if first:  # each stage that it passes through tells the type, the innermost the stack
            live.note("exception", describe(error))
        else:
            live.note("exception", {"exception.type": kind})

    def veto(self, live: Live, reason: Any, order: Any = None) -> None:
        """A stage does not let something through; see `Live.veto`."""
        engine = self.engine
        if engine is not None and engine.on_veto is not None:
            engine.on_veto(self, live.stage.label, reason, order)

    def _tell(self, error: BaseException) -> None:
        engine = self.engine
        if engine is not None and engine.on_failure is not None and issubclass(type(error), Exception):
            engine.on_failure(error)  # Ctrl-C is no error of the bot's

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self, cell: Cell, took: int) -> None:
        """The turn is over: write its signals and decide whether its trace is kept."""
        engine = self.engine
        if engine is None:
            return
        self.done = self.special = True
        self._error = None
        if self.signals is not None:
            rest = b',"latency":%b}' % dumps(self.latency())
            put = engine.put
            for line in self.signals:
                put("signals", line + rest)
        if self.keeps:
            if engine.keep == "all":
                if self.why is None:
                    self.why = {"all": None}
                else:
                    self.keep("all")
            else:
                left = cell.left - 1
                if left & _MOST_USUAL and took < cell.slow_ns and left > 0:
                    cell.left = left  # the usual case of `worth_keeping`, written out
                else:
                    worth = cell.worth_keeping(took, engine.base_every)
                    if worth is not None:
                        self.keep(worth)
            if self.why:
                self.hand_over()
                return
        self.spans = []  # as `forget`, without a call
        self.root = INERT.root

    def forget(self) -> None:
        """Let go of the stages: they know their tick, and a circle would be left to the garbage collector."""
        self.spans = []
        self.root = INERT.root

    def hand_over(self) -> None:
        """Give the trace to whoever encodes it."""
        engine = self.engine
        if engine is None:
            return
        self.done = self.kept = True
        for live in self.spans:
            if not live.t1:
                self._let_run()
                break
        if not self.trace_id:
            self.own_trace_id()
        why = self.why
        engine.keep_tick(self, next(iter(why)) if why else "asked")

    def _let_run(self) -> None:
        """Stages that still run will be sent one by one: fix the ids that tie them to this trace."""
        for live in self.spans:
            if not live.t1:
                live.own_span_id()
                (live.above() or self.root).own_span_id()
        self.spans = [live for live in self.spans if live.t1]

    def latency(self) -> dict[str, float]:
        """Milliseconds of the tick's outermost stages by kind, and their exact sum."""
        return told(self)

    def _begun(self, engine: Engine, fields: bytes) -> bytes:
        """A record's line, as far as it is known before the tick has ended; `fields` begin with a comma."""
        if begun_at_once is not None:
            line = begun_at_once(self, engine, fields)
            if line is not None:
                return line
        now = self.now
        ns = self.offset + now()
        bar = self.bar_id
        if type(bar) is int and self.symbol is not None and self.keeps and -(2**63) <= bar < 2**63:  # in one go
            begun, second = engine.second
            if not 0 <= ns - begun < 1_000_000_000:
                begun, second = engine.begin_second(ns)
            trace_id = self.trace_id
            if not trace_id:
                self.trace_id = trace_id = engine.ids.bits(128) or 1
            return b'{"ts":"%b%06dZ",%b,"symbol":%b,"bar_id":%d,"trace_id":"%032x"%b' % (
                second, (ns - begun) // 1000, engine.head, self.cells.json_symbol, bar, trace_id, fields,
            )  # fmt: skip
        parts = [b'{"ts":"%b",%b' % (engine.stamp(ns), engine.head)]
        if self.symbol is not None:
            parts.append(b',"symbol":' + self.cells.json_symbol)
        if bar is not None:
            parts.append(b"," + engine.line({"bar_id": bar})[1:-1])
        if self.keeps:
            parts.append(b',"trace_id":"%032x"' % self.own_trace_id())
        parts.append(fields)
        return b"".join(parts)


def span_attributes(tick: Tick) -> dict[str, Any]:
    """What a tick's root span says beside what the bot put on it."""
    found: dict[str, Any] = {}
    if tick.symbol is not None:
        found["symbol"] = tick.symbol
    if tick.bar_id is not None:
        found["bar_id"] = plain(tick.bar_id)
    orders = tick.why.get("order") if tick.why is not None else None
    if orders is not None:
        found["order_id"] = orders
    for key, value in tick.root.stage.said():
        found[key] = plain(value)
    return found


def blank(engine: Engine | None, cells: Any) -> Tick:
    """A tick about nothing yet; its root and its time are the caller's to set."""
    tick = Tick()
    tick.engine = engine
    tick.cells = cells
    tick.symbol = tick.bar_id = tick.signals = tick.folded = tick.why = tick.upstream = tick._error = None  # noqa: SLF001  # a part of its making
    tick.special = cells is not None and cells.raw
    tick.done = tick.kept = tick.shared = tick.quick = False
    tick.cut = tick.trace_id = 0
    if engine is not None:
        tick.now = engine.now
        tick.keeps = engine.keeps
    return tick


def ambient(engine: Engine, cells: SymbolCells) -> Tick:
    """What stages outside a tick share until one of them needs a trace of its own: most never do."""
    tick = blank(engine, cells)
    tick.shared = tick.done = True
    tick.special = tick.keeps or cells.raw
    tick.quick = not cells.raw
    tick.root = INERT.root
    tick.spans = []
    tick.offset = 0
    return tick


def promote(live: Live) -> Tick:
    """Give a stage outside a tick a turn of its own."""
    engine = live.tick.engine
    tick = blank(engine, live.tick.cells)
    tick.root = live
    tick.spans = [live]
    tick.offset = 0 if engine is None else engine.wall() - engine.now()
    tick.special = True
    live.tick = tick
    return tick


def _inert() -> Tick:
    tick = blank(None, None)
    tick.now = int
    tick.spans = []
    tick.done = tick.special = True
    tick.keeps = False
    tick.offset = 0
    live = Live()
    live.stage = live.more = None
    live.parent = {}
    live.tick = tick
    live.t0, live.t1, live.sid = 0, 1, b""
    tick.root = live
    return tick


#: The tick of a bot that nobody observes.
INERT: Final = _inert()
