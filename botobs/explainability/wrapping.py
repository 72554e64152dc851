"""A model as the bot calls it: the same call in a stage, with a look at some of what passes."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from botobs.explainability.gate import Gate, Sampling
from botobs.explainability.subject import Subject
from botobs.stages.engine import ENGINES
from botobs.stages.live import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.stages.engine import Engine
    from botobs.stages.live import Live
    from botobs.stages.site import Stage

__all__ = ["Explained", "explained", "name_of"]

_METHODS: Final = ("predict", "predict_proba")


class Watch:
    """One way to call a model, and which of these calls are looked at.

    Attributes:
        gate: Of the observer that the latest call belonged to.
    """

    __slots__ = ("_call", "_gates", "_sampling", "gate", "subject")

    def __init__(self, call: Callable[..., Any], subject: Subject, sampling: Sampling) -> None:
        self._call = call
        self._sampling = sampling
        self.subject = subject
        self.gate = Gate(object(), None, subject, sampling, call)
        self._gates: dict[Engine, Gate] = {}

    def seen(self, live: Live, args: Any, kwargs: Any, out: Any) -> None:
        """What is not the usual case: a prediction may be due, or another observer is asked."""
        engine = live.tick.engine
        if engine is None:
            return
        try:
            gate = self.gate
            if gate.engine is not engine:
                gate = self.gate = self._gates.get(engine) or self._enter(engine)
            gate.choose(live.tick, live.t0, args, kwargs, out)
        except Exception as error:
            engine.faults.error("explainability", error)

    def _enter(self, engine: Engine) -> Gate:
        from botobs.lifecycle import running  # noqa: PLC0415  # loaded by start

        observer = running(engine)
        tracker = None if observer is None else observer._insight.explainability  # noqa: SLF001  # settles nothing
        gates = self._gates
        leave = functools.partial(gates.pop, engine, None)
        gate = Gate(engine, tracker, self.subject, self._sampling, self._call, leave=leave)
        if tracker is not None:  # else it is ending, and nobody would let go of it
            gates[engine] = gate
            tracker.watch(gate)
        return gate


def _function(call: Callable[..., Any], stage: Stage, watch: Watch) -> Callable[..., Any]:
    def predict(*args: Any, **kwargs: Any) -> Any:
        if not ENGINES:
            return call(*args, **kwargs)
        with stage as live:
            out = call(*args, **kwargs)
        gate, tick = watch.gate, live.tick
        left = gate.left = gate.left - 1
        if tick.engine is gate.engine and (left > 0 or live.t0 < gate.due):
            before = gate.last[0]  # as `note`, without a call
            if before is tick or before.done:
                gate.last = (tick, args, kwargs, out)
            else:
                gate.note(tick, args, kwargs, out)
        else:
            watch.seen(live, args, kwargs, out)
        return out

    return predict


def _coroutine(call: Callable[..., Any], stage: Stage, watch: Watch) -> Callable[..., Any]:
    async def predict(*args: Any, **kwargs: Any) -> Any:
        if not ENGINES:
            return await call(*args, **kwargs)
        with stage as live:
            out = await call(*args, **kwargs)
        gate = watch.gate
        gate.left -= 1
        if live.tick.engine is gate.engine and (gate.left > 0 or live.t0 < gate.due):
            gate.note(live.tick, args, kwargs, out)
        else:
            watch.seen(live, args, kwargs, out)
        return out

    return predict


class Explained:
    """A model whose predictions are explained; all else goes to the model itself.

    Calling it is calling its `predict`; where it has none, its `predict_proba`, or the model. Pickled, it is the model
    alone.
    """

    def __init__(self, model: Any, wrapped: dict[str, Callable[..., Any]], main: str) -> None:
        own = self.__dict__
        own["__wrapped__"] = model
        own["_botobs_main"] = wrapped[main]
        own.update({name: call for name, call in wrapped.items() if name in _METHODS})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Predict."""
        return self.__dict__["_botobs_main"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "__wrapped__" not in own:  # while it is copied
            raise AttributeError(name)
        return getattr(own["__wrapped__"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["__wrapped__"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["__wrapped__"], name)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["__wrapped__"])

    def __repr__(self) -> str:
        return repr(self.__dict__["__wrapped__"])

    def __reduce__(self) -> Any:
        return _itself, (self.__dict__["__wrapped__"],)


def _itself(model: Any) -> Any:
    return model


def explained(
    model: Any,
    stage: Callable[[str], Stage],
    *,
    name: str,
    explainer: Any,
    background: Any,
    features: Any,
    sampling: Sampling,
) -> Any:
    """The model, wrapped.

    Args:
        model: A function, or an object that predicts.
        stage: Makes the stage that it runs in.
        name: What it is called.
        explainer: As `explain_model` has it; so are `background` and `features`.
        background: Typical rows.
        features: Names.
        sampling: How many predictions are looked at.

    Raises:
        TypeError: It is no model.
    """
    if isinstance(model, staticmethod | classmethod):
        inner = explained(
            model.__func__, stage, name=name, explainer=explainer, background=background, features=features,
            sampling=sampling,
        )  # fmt: skip
        return type(model)(inner)
    site = stage(name)
    if inspect.isroutine(model):
        owner = model.__self__ if inspect.ismethod(model) and not inspect.isclass(model.__self__) else None
        subject = Subject(
            name, owner, native=getattr(model, "__name__", None) == "predict", explainer=explainer,
            background=background, features=features,
        )  # fmt: skip
        return functools.wraps(model)(_wrapped(model, site, subject, _with_place(sampling, model), explainer))
    if inspect.isclass(model):
        raise TypeError("explain_model takes a model or a function, not a class")
    found = {method: getattr(model, method) for method in _METHODS if callable(getattr(model, method, None))}
    if not found:
        if not callable(model):
            raise TypeError(f"{type(model).__name__} is no model: it has no predict, and cannot be called")
        found = {"__call__": model}
    wrapped = {}
    for method, call in found.items():
        subject = Subject(
            name, model, native=method == "predict", explainer=explainer, background=background, features=features
        )  # fmt: skip
        wrapped[method] = _wrapped(call, site, subject, sampling, explainer)
    return Explained(model, wrapped, next(iter(found)))


def _wrapped(
    call: Callable[..., Any], site: Stage, subject: Subject, sampling: Sampling, explainer: Any
) -> Callable[..., Any]:
    target = call
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = getattr(target, "__call__", target)  # noqa: B004  # an object whose __call__ may be async
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError("a generator is no model that explain_model can take")
    watch = Watch(call, subject, sampling)
    if not inspect.iscoroutinefunction(target):
        return _function(call, site, watch)
    if explainer is None:
        subject.broken = f"{subject.name} is async: it cannot be asked in the background; give explainer="
    return _coroutine(call, site, watch)


def _with_place(sampling: Sampling, function: Any) -> Sampling:
    """Where a function's input stands: behind `self`, in a class."""
    import attrs  # noqa: PLC0415  # decorating needs it, running does not

    try:
        first = next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):
        return sampling
    return attrs.evolve(sampling, skip=1) if first in ("self", "cls") else sampling


def name_of(model: Any) -> str:
    """What a model is called, where the bot does not say; never raises."""
    try:
        while isinstance(model, functools.partial):
            model = model.func
        if isinstance(model, staticmethod | classmethod):
            model = model.__func__
        if inspect.ismethod(model) and model.__name__ in _METHODS and not inspect.isclass(model.__self__):
            model = model.__self__
        found = model.__name__ if inspect.isroutine(model) else type(model).__name__
        return str(plain(found)) if found.isidentifier() else "model"
    except Exception:
        return "model"
