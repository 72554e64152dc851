"""Decorating: functions, coroutine functions, generators and async generators.

A generator's stage is current only while its body runs, never while it waits for its consumer, and its duration is
the time its body took. Values sent, exceptions thrown and `close` reach the body as they would without botobs.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from .engine import ENGINES
from .live import get_context, set_context
from .tick import INERT
from .turn import TickSite

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from .live import Live
    from .site import Site, Stage

__all__ = ["wrap"]

F = TypeVar("F", bound="Callable[..., Any]")


def wrap(site: Site, fn: F) -> F:
    """Make every call of `fn` a stage of `site`; its signature and its kind stay what they were."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(wrap(site, fn.__func__))
    if not callable(fn):
        raise TypeError(f"botobs decorates functions, not {type(fn).__name__}")
    target: Any = fn
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = getattr(target, "__call__", target)  # noqa: B004  # an object whose __call__ may be async
    by_call = isinstance(site, TickSite) and site.symbol is None
    pick: Callable[[tuple[Any, ...], dict[str, Any]], Any] = _tick_of(site) if by_call else _constant(site)
    if inspect.isasyncgenfunction(target):
        wrapped = _async_generator(site, pick, fn)
    elif inspect.iscoroutinefunction(target):
        wrapped = _coroutine(site, pick, fn, by_call=by_call)
    elif inspect.isgeneratorfunction(target):
        wrapped = _generator(site, pick, fn)
    else:
        wrapped = _function(site, pick, fn, by_call=by_call)
    try:
        return functools.wraps(fn)(wrapped)  # type: ignore[return-value]  # what wraps is for
    except Exception:  # a callable that lies about its attributes
        return wrapped  # type: ignore[return-value]  # the same call


def _constant(site: Site) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    return lambda _args, _kwargs: site


def _tick_of(site: Any) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """A bare `@botobs.tick`: each call is a turn of the symbol that its first argument, or `symbol=`, names."""

    def pick(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not ENGINES:
            return site
        symbol = kwargs.get("symbol")
        bar_id = kwargs.get("bar_id")
        for value in (*args[:2], *list(kwargs.values())[:2]):
            if symbol is None:
                found = getattr(value, "symbol", None)
                if isinstance(found, str):
                    symbol = found
                    bar_id = getattr(value, "bar_id", None) if bar_id is None else bar_id
        return site.again(symbol, bar_id if bar_id is not None else site.bar_id)

    return pick


def _function(site: Site, pick: Any, fn: Callable[..., Any], *, by_call: bool) -> Callable[..., Any]:
    if by_call:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _safely(pick, site, args, kwargs):
                return fn(*args, **kwargs)

        return wrapper
    stage: Stage = site  # type: ignore[assignment]  # a tick's site enters the same way

    def wrapper_of_one(*args: Any, **kwargs: Any) -> Any:
        if not ENGINES:
            return fn(*args, **kwargs)
        with stage:
            return fn(*args, **kwargs)

    return wrapper_of_one


def _coroutine(site: Site, pick: Any, fn: Callable[..., Any], *, by_call: bool) -> Callable[..., Any]:
    stage: Stage = site  # type: ignore[assignment]  # a tick's site enters the same way

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not ENGINES:
            return await fn(*args, **kwargs)
        with _safely(pick, site, args, kwargs) if by_call else stage:
            return await fn(*args, **kwargs)

    return wrapper


def _safely(pick: Any, site: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return pick(args, kwargs)
    except Exception as error:  # an argument with a hostile `symbol`
        for engine in ENGINES[-1:]:
            engine.faults.error("tick", error)
        return site


class _Driven:
    """A generator's stage: entered while the body runs, left while it is suspended."""

    __slots__ = ("before", "inside", "left_at", "live", "site")

    def __init__(self, site: Any) -> None:
        self.site = site
        self.live: Live | None = None
        self.before: Any = None
        self.inside: Any = None  # the body's own context where it was suspended
        self.left_at = 0

    def __enter__(self) -> None:
        self.before = get_context()
        live = self.live
        if live is None:
            live = self.live = self._open()
        elif self.left_at:
            live.extra().idle_ns += live.tick.now() - self.left_at
        if live.tick.engine is not None:
            live.parent = self.before
            set_context(live if self.inside is None else self.inside)

    def __exit__(self, *exc_info: object) -> None:
        live = self.live
        if live is not None and live.tick.engine is not None:
            self.left_at = live.tick.now()
            self.inside = get_context()
            set_context(self.before)

    def _open(self) -> Live:
        self.site.admit()
        try:
            return self.site.open(self.before)  # type: ignore[no-any-return]
        except Exception as error:
            for engine in ENGINES[-1:]:
                engine.faults.error("stage", error)
            return INERT.root

    def end(self, error: BaseException | None = None) -> None:
        live = self.live
        if live is not None and live.tick.engine is not None:
            try:
                self.site.shut(live, error)
            except Exception as unexpected:
                live.tick.engine.faults.error("stage", unexpected)


def _generator(site: Site, pick: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = fn(*args, **kwargs)
        if not ENGINES:
            return (yield from body)
        driven = _Driven(_safely(pick, site, args, kwargs))
        step, value = body.send, None
        while True:
            try:
                with driven:
                    item = step(value)
            except StopIteration as stop:
                driven.end()
                return stop.value
            except BaseException as error:
                driven.end(error)
                raise
            try:
                value = yield item
                step = body.send
            except GeneratorExit as closing:
                try:
                    with driven:
                        body.close()
                except BaseException as error:
                    driven.end(error)
                    raise
                driven.end(closing)
                raise
            except BaseException as thrown:  # goes into the body, whatever it is
                step, value = body.throw, thrown

    return wrapper


def _async_generator(site: Site, pick: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        body = fn(*args, **kwargs)
        driven = _Driven(_safely(pick, site, args, kwargs)) if ENGINES else _Driven(_NOBODY)
        step, value = body.asend, None
        while True:
            try:
                with driven:
                    item = await step(value)
            except StopAsyncIteration:
                driven.end()
                return
            except BaseException as error:
                driven.end(error)
                raise
            try:
                value = yield item
                step = body.asend
            except GeneratorExit as closing:
                try:
                    with driven:
                        await body.aclose()
                except BaseException as error:
                    driven.end(error)
                    raise
                driven.end(closing)
                raise
            except BaseException as thrown:  # goes into the body, whatever it is
                step, value = body.athrow, thrown

    return wrapper


class _Nobody:
    """The site of a generator that began while nobody observed."""

    @staticmethod
    def admit() -> None:
        """Nobody refuses anything."""

    @staticmethod
    def open(_parent: Any) -> Live:
        return INERT.root


_NOBODY = _Nobody()
