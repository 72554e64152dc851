"""Where a bot opens a turn of its loop."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from .cells import BOUNDS_NS, LEAST_NS
from .engine import ENGINES
from .live import Live, get_context, live_in, plain, set_context
from .roots import root_of
from .site import Site, pairs
from .tick import INERT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Engine
    from .tick import Tick

__all__ = ["TickSite", "tick_site"]


class TickSite(Site):
    """One turn of the bot's loop: context manager (gives the `Tick`) and decorator."""

    __slots__ = ("ask", "bar_id", "bid", "price", "symbol", "venue")

    kind: Final = "tick"
    label = "tick"  # the same for all: one thing less to write down each turn
    template = None
    latency_key: Final = "tick_ms"
    symbol: str | None
    bar_id: Any
    price: Any
    bid: Any
    ask: Any
    venue: Any

    def __enter__(self) -> Tick:
        parent = get_context()
        try:
            live = self.open(parent)
        except Exception as error:
            for engine in ENGINES[-1:]:
                engine.faults.error("tick", error)
            return INERT
        tick = live.tick
        if tick.engine is not None:
            set_context(live)
        return tick

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        live = get_context()
        if live.__class__ is not Live or live.stage is not self:
            self._leave_tangled(live, error)
            return
        set_context(live.parent)
        try:
            tick = live.tick
            clock = tick.now
            now = live.t1 = clock()
            if error is not None:
                tick.failed(live, error)
            cell = tick.cells["tick"]
            took = now - live.t0
            cell.counts[bisect_left(BOUNDS_NS, took) if took > LEAST_NS else 0] += 1
            cell.total_ns += took
            if cell.pending is not None:
                cell.hand_on(took)
            tick.close(cell, took)
            engine = tick.engine
            if engine is not None:
                on_decided = engine.on_decided
                if on_decided is not None:
                    on_decided()
        except Exception as unexpected:
            if live.tick.engine is not None:
                live.tick.engine.faults.error("tick", unexpected)

    def shut(self, live: Live, error: BaseException | None) -> None:
        """End a turn whose context was left already."""
        ended = live.t1
        super().shut(live, error)
        engine = live.tick.engine
        if not ended and engine is not None and engine.on_decided is not None:
            engine.on_decided()

    def open(self, parent: Any) -> Live:
        """Start a turn; inside another one it belongs to that one's trace."""
        above = parent if parent.__class__ is Live else live_in(parent)
        engine = self.engine
        if engine is None:
            engine = ENGINES.newest
            if engine is None:
                return INERT.root
            if above is not None and above.tick.engine in ENGINES:
                engine = above.tick.engine
        elif engine not in ENGINES:  # shut down, or in a forked child
            return INERT.root
        assert engine is not None
        symbol = self.symbol
        if symbol is None:
            cells = engine.ambient.cells
        else:
            if type(symbol) is not str:
                symbol = str(plain(symbol))
            known = engine.cells.symbols.get(symbol)
            cells = known if known is not None else engine.cells.of(symbol, engine.line({"s": symbol})[5:-1])
        if self.price is not None or self.bid is not None:
            on_price = engine.on_price
            if on_price is not None:
                on_price(symbol, self.price, self.bid, self.ask, self.venue)
        live = root_of(self, engine, parent, above, cells)
        tick = live.tick
        tick.symbol = symbol
        tick.bar_id = self.bar_id
        return live

    def again(self, symbol: Any, bar_id: Any) -> TickSite:
        """The same for another turn."""
        again = tick_site(symbol, bar_id, self.price, self.bid, self.ask, self.venue, None, self.engine)
        again.attrs = self.attrs
        return again

    def said(self) -> tuple[tuple[str, Any], ...]:
        """What the bot said of this turn, for the span."""
        quote = (("price", self.price), ("bid", self.bid), ("ask", self.ask), ("venue", self.venue))
        return (*[pair for pair in quote if pair[1] is not None], *self.attrs)


def tick_site(  # noqa: PLR0917  # made once a turn: names would cost, and so would an `__init__`
    symbol: Any,
    bar_id: Any,
    price: Any,
    bid: Any,
    ask: Any,
    venue: Any,
    attrs: Mapping[str, Any] | None,
    engine: Engine | None,
) -> TickSite:
    """Where one turn of the loop is opened."""
    site = TickSite()
    site.attrs = pairs(attrs) if attrs is not None else ()
    site.engine = engine
    site.symbol = symbol
    site.bar_id = bar_id
    site.price = price
    site.bid = bid
    site.ask = ask
    site.venue = venue
    return site
