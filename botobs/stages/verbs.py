"""The verbs that open ticks and stages, for the module (`botobs.tick`) and for one observer (`obs.tick`) alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from .live import get_context, live_in, plain
from .site import GuardedStage, Stage
from .tick import INERT, Tick
from .turn import tick_site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .engine import Engine
    from .turn import TickSite

__all__ = ["StageVerbs", "current_tick"]

F = TypeVar("F", bound="Callable[..., Any]")

_MOST_SITES = 1_000
_KINDS = {"execution": GuardedStage}


class StageVerbs:
    """`tick`, `stage`, `feature`, `model`, `decision`, `risk` and `execution`.

    What is said beside the name is said by keyword, as the overloads have it. The functions that a bot calls most do
    not check that: it would be half of what they cost.

    Args:
        engine: The observer that they belong to; without one, the running tick's, else the newest started.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine
        self._sites: dict[tuple[str, str | None], Stage] = {}
        self._feature = Stage("feature", None, engine=engine)
        self._model = Stage("model", None, engine=engine)
        self._decision = Stage("decision", None, engine=engine)
        self._risk = Stage("risk", None, engine=engine)
        self._execution: Stage = GuardedStage("execution", None, engine=engine)

    @overload
    def tick(self, fn: F, /) -> F: ...

    @overload
    def tick(
        self,
        symbol: str | None = None,
        bar_id: Any = None,
        *,
        price: Any = None,
        bid: Any = None,
        ask: Any = None,
        venue: str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> TickSite: ...

    def tick(
        self,
        symbol: Any = None,
        bar_id: Any = None,
        *,
        price: Any = None,
        bid: Any = None,
        ask: Any = None,
        venue: str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Any:
        """One turn of the bot's loop.

        Args:
            symbol: What it is about.
            bar_id: Which bar, if the loop turns on bars.
            price: The price seen; or
            bid: the best bid and
            ask: the best ask.
            venue: Where.
            attrs: More attributes for the trace.

        Example:
            >>> import botobs
            >>> with botobs.tick("BTC-USD", bar_id=7, bid=99.5, ask=100.5) as tick:
            ...     tick.signal(decision={"dir": "flat"})
        """
        if type(symbol) is not str and callable(symbol):
            return tick_site(None, None, None, None, None, None, None, self._engine)(symbol)
        return tick_site(symbol, bar_id, price, bid, ask, venue, attrs, self._engine)

    @overload
    def stage(self, fn: F, /) -> F: ...

    @overload
    def stage(self, name: str, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Stage: ...

    def stage(self, name: Any, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Any:
        """A timed stage of the bot's own; bare on a function it is called as the function.

        Args:
            name: What it is called in metrics, traces and the signal's latency.
            attrs: Attributes for its spans.
            fresh: Refuse to run while a feed, a feature or a funding rate is stale.

        Example:
            >>> import botobs
            >>> @botobs.stage("rank", attrs={"universe": "top50"})
            ... def rank(names: list[str]) -> list[str]:
            ...     return sorted(names)
            >>> rank(["b", "a"])
            ['a', 'b']
        """
        if _is_function(name):
            return self._site("stage", _name_of(name))(name)
        return self._made("stage", name, attrs, fresh=fresh)

    @overload
    def feature(self, fn: F, /) -> F: ...

    @overload
    def feature(
        self, name: str | None = None, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False
    ) -> Stage: ...

    def feature(self, name: Any = None, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Any:
        """The stage that computes what the model sees. See `stage`."""
        if name is None and attrs is None and fresh is False:
            return self._feature
        return self._feature(name) if _is_function(name) else self._made("feature", name, attrs, fresh=fresh)

    @overload
    def model(self, fn: F, /) -> F: ...

    @overload
    def model(
        self, name: str | None = None, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False
    ) -> Stage: ...

    def model(self, name: Any = None, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Any:
        """The stage that predicts. See `stage`."""
        if name is None and attrs is None and fresh is False:
            return self._model
        return self._model(name) if _is_function(name) else self._made("model", name, attrs, fresh=fresh)

    @overload
    def decision(self, fn: F, /) -> F: ...

    @overload
    def decision(
        self, name: str | None = None, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False
    ) -> Stage: ...

    def decision(self, name: Any = None, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Any:
        """The stage that chooses. See `stage`."""
        if name is None and attrs is None and fresh is False:
            return self._decision
        return self._decision(name) if _is_function(name) else self._made("decision", name, attrs, fresh=fresh)

    @overload
    def risk(self, fn: F, /) -> F: ...

    @overload
    def risk(
        self, name: str | None = None, *, attrs: Mapping[str, Any] | None = None, fresh: bool = False
    ) -> Stage: ...

    def risk(self, name: Any = None, attrs: Mapping[str, Any] | None = None, fresh: bool = False) -> Any:
        """The stage that checks limits. See `stage`."""
        if name is None and attrs is None and fresh is False:
            return self._risk
        return self._risk(name) if _is_function(name) else self._made("risk", name, attrs, fresh=fresh)

    @overload
    def execution(self, fn: F, /) -> F: ...

    @overload
    def execution(
        self,
        name: str | None = None,
        *,
        order: str | None = None,
        reduces: bool = False,
        attrs: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> Stage: ...

    def execution(
        self,
        name: Any = None,
        order: str | None = None,
        reduces: bool = False,
        attrs: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> Any:
        """The stage that talks to the exchange. See `stage`.

        Args:
            name: An optional name.
            order: The order it is about; its trace is kept.
            reduces: It can only make positions smaller: it passes in `reduce_only`, and in a trip's callbacks.
            attrs: Attributes for its spans.
            fresh: Refuse to run while a feed, a feature or a funding rate is stale.
        """
        if name is None and order is None and attrs is None and reduces is False and fresh is False:
            return self._execution
        if _is_function(name):
            return self._execution(name)
        return self._made("execution", name, attrs, fresh=fresh, order=order, reduces=reduces)

    def _site(self, kind: str, name: Any) -> Stage:
        """A shared site for a name; names without end get one each, so that nothing grows."""
        if name is not None and type(name) is not str:
            name = str(plain(name))
        site = self._sites.get((kind, name))
        if site is None:
            site = _KINDS.get(kind, Stage)(kind, name, engine=self._engine)
            if len(self._sites) < _MOST_SITES:
                self._sites[kind, name] = site
        return site

    def _made(self, kind: str, name: Any, attrs: Mapping[str, Any] | None, **more: Any) -> Stage:
        flags = {key: value is not False and _is_true(value) for key, value in more.items() if key != "order"}
        order = more.get("order")
        if attrs is None and order is None and not any(flags.values()):
            return self._site(kind, name)
        if name is not None and type(name) is not str:
            name = str(plain(name))
        guarded = flags.get("fresh") or kind in _KINDS
        return (GuardedStage if guarded else Stage)(
            kind,
            name,
            attrs=attrs,
            order=None if order is None else str(plain(order)),
            engine=self._engine,
            **flags,
        )


def _is_function(value: Any) -> bool:
    # by `type`: a value may lie about its class, or raise when asked
    kind = type(value)
    return value is not None and kind is not str and (callable(value) or kind in (classmethod, staticmethod))


def _name_of(fn: Any) -> str:
    try:
        name = fn.__name__
    except Exception:  # a partial has none, a hostile object raises
        name = None
    return name if type(name) is str else type(fn).__name__


def _is_true(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # an array, say; what was given is not nothing
        return True


def current_tick() -> Tick:
    """The running tick, for code that was not handed one; where none runs, a tick that does nothing.

    Example:
        >>> import botobs
        >>> botobs.current_tick().signal(decision={"dir": "flat"})
    """
    live = live_in(get_context())
    return INERT if live is None or live.tick.done else live.tick
