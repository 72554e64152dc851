"""A running stage: at once an OpenTelemetry span and the OpenTelemetry context in which it is current.

The context is made of the stage itself, so entering one copies no dictionary, and ids are made only when somebody
asks: a span that another library opens, a log record, an outgoing request. Until then a `Live` is a few slots.
"""

from __future__ import annotations

import traceback
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.propagation import _SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from opentelemetry.util.types import Attributes, AttributeValue

    from .tick import Tick

__all__ = ["LIVE_KEY", "Live", "get_context", "live_in", "set_context"]

#: Where a copied context remembers the stage that it was copied from.
LIVE_KEY: Final = "botobs-live"

_OWN_KEYS: Final = (_SPAN_KEY, LIVE_KEY)
_MOST_ATTRIBUTES, _MOST_EVENTS = 128, 128
_DEEPEST = 4  # lists in lists beyond that are shown as text
_NO_STATUS: Final = Status()
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)


def _runtime() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """OpenTelemetry's own accessors of the current context; straight to its ContextVar where it has one."""
    variable = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    if hasattr(variable, "get") and hasattr(variable, "set"):
        return variable.get, variable.set  # type: ignore[union-attr]  # two lines above
    return otel_context.get_current, otel_context.attach


get_context, set_context = _runtime()


class SpanEvent(NamedTuple):
    """Something that happened during a stage."""

    name: str
    time_ns: int
    attributes: Mapping[str, AttributeValue]


class More:
    """What few stages have: attributes, events, ids that were asked for, a parent that is not the stage above."""

    __slots__ = (
        "above",
        "attributes",
        "events",
        "idle_ns",
        "links",
        "name",
        "outcome",
        "span_id",
        "status",
        "upstream",
    )

    def __init__(self) -> None:
        self.above: Live | None = None
        self.upstream: SpanContext | None = None
        self.attributes: dict[str, AttributeValue] = {}
        self.events: list[SpanEvent] = []
        self.links: list[tuple[SpanContext, Mapping[str, AttributeValue]]] = []
        self.name: str | None = None
        self.status: Status = _NO_STATUS
        self.outcome: str | None = None
        self.span_id = 0
        self.idle_ns = 0


class Live(Context, Span):
    """A stage while it runs. What `with botobs.decision() as stage:` gives: an OpenTelemetry `Span`."""

    __slots__ = ("more", "parent", "sid", "stage", "t0", "t1", "tick")

    stage: Any  # the site: a Stage or a TickSite; None for one that nothing listens to
    parent: Any  # the context to go back to
    tick: Tick
    t0: int
    t1: int  # 0 while running
    more: More | None
    sid: bytes  # the span id, written when the trace is encoded

    # -- the span ----------------------------------------------------------------------------------------------------

    def extra(self) -> More:
        """The unusual part, made when first needed."""
        if self.more is None:
            self.more = More()
        return self.more

    def turn(self) -> Tick:
        """The tick that this stage belongs to; one of its own where it ran outside of any."""
        tick = self.tick
        if tick.shared:
            from .tick import promote  # noqa: PLC0415  # ticks are made of stages

            return promote(self)
        return tick

    def above(self) -> Live | None:
        """The stage that this one runs in."""
        more = self.more
        if more is not None and more.above is not None:
            return more.above
        parent = self.parent
        return parent if parent.__class__ is Live and parent.tick is self.tick else None

    def get_span_context(self) -> SpanContext:
        """The ids, made now if nobody asked before; whoever asks makes the trace worth keeping."""
        tick = self.turn()
        if tick.engine is None:
            return INVALID_SPAN_CONTEXT
        return SpanContext(
            tick.hand_out(),
            self.own_span_id(),
            is_remote=False,
            trace_flags=_SAMPLED if tick.keeps else _NOT_SAMPLED,
        )

    def own_span_id(self) -> int:
        """This stage's span id."""
        more = self.extra()
        if not more.span_id:
            engine = self.tick.engine
            more.span_id = engine.ids.span_id() if engine is not None else 0
        return more.span_id

    def is_recording(self) -> bool:
        """Whether attributes and events still count."""
        return self.t1 == 0 and self.tick.engine is not None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Put an attribute on the stage's span."""
        if self.is_recording():
            attributes = self.extra().attributes
            key = _text(key)
            if len(attributes) < _MOST_ATTRIBUTES or key in attributes:
                attributes[key] = plain(value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Put several attributes on the stage's span."""
        for key, value in _items(attributes):
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Note that something happened during the stage."""
        if self.is_recording():
            self.note(name, attributes, timestamp)

    def note(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """As `add_event`, also for a stage that has just ended."""
        events = self.extra().events
        if len(events) < _MOST_EVENTS:
            found = {_text(key): plain(value) for key, value in _items(attributes)}
            at = timestamp if type(timestamp) is int else self.turn().unix_now()
            events.append(SpanEvent(_text(name), at, found))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link another span."""
        if self.is_recording():
            self.extra().links.append((context, {_text(key): plain(value) for key, value in _items(attributes)}))

    def update_name(self, name: str) -> None:
        """Give the span another name; the metric keeps the stage's."""
        if self.is_recording():
            self.extra().name = _text(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the span's status; an error makes the trace worth keeping."""
        if not self.is_recording():
            return
        if type(status) is StatusCode:
            status = Status(status, None if description is None else _text(description))
        if type(status) is Status and status.status_code is not StatusCode.UNSET:
            self.extra().status = status
            if status.status_code is StatusCode.ERROR:
                self.turn().keep("error")

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an exception on the span."""
        found = {**describe(exception), "exception.escaped": str(escaped), **dict(_items(attributes))}
        self.add_event("exception", found, timestamp)

    def veto(self, reason: Any, order: Any = None) -> None:
        """Say that this stage does not let something through, so that what that saved or cost can be told.

        A `risk` stage that ends with an error says so by itself.

        Args:
            reason: Why.
            order: What: an order's id, or a mapping with `symbol`, `side`, `qty` and the like. Without it, what the
                tick has announced, else what it has signalled.

        Example:
            >>> import botobs
            >>> with botobs.risk() as risk:
            ...     risk.veto("position too large", order={"symbol": "BTC-USD", "side": "buy", "qty": 2})
        """
        if self.stage is not None:
            self.turn().veto(self, reason, order)

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: a stage ends where its block or its function ends."""

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing: a stage ends where its block or its function ends."""

    # -- the context -------------------------------------------------------------------------------------------------

    def copy(self) -> dict[str, object]:
        """A plain dictionary of this context: what OpenTelemetry builds its next context from."""
        base = self.parent
        while base.__class__ is Live:
            base = base.parent
        return {**base, _SPAN_KEY: self, LIVE_KEY: self}

    def get(self, key: str, default: Any = None) -> Any:
        """A value of this context; its span is the stage itself."""
        if key in _OWN_KEYS:
            return self
        base = self.parent
        while base.__class__ is Live:
            base = base.parent
        return base.get(key, default)

    def __getitem__(self, key: str) -> object:
        return self.copy()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def __bool__(self) -> bool:
        return True

    def keys(self) -> Any:
        """As a dictionary's."""
        return self.copy().keys()

    def items(self) -> Any:
        """As a dictionary's."""
        return self.copy().items()

    def values(self) -> Any:
        """As a dictionary's."""
        return self.copy().values()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # type: ignore[override]  # a dictionary has none, a span needs one
        return id(self)

    def __repr__(self) -> str:
        return f"<botobs stage {getattr(self.stage, 'label', '?')!r}>"


def live_in(context: Any) -> Live | None:
    """The stage that a context was made in, also where another library has put its own span on top."""
    if context.__class__ is Live:
        return context
    found = context.get(LIVE_KEY)
    return found if found.__class__ is Live else None


def foreign_span(context: Any) -> SpanContext | None:
    """The span context of a span that is current and not ours."""
    if context.__class__ is Live:
        return None
    span = get_current_span(context)
    if span.__class__ is Live:
        return None
    found = span.get_span_context()
    return found if found.is_valid else None


def describe(error: BaseException) -> dict[str, str]:
    """An exception as OpenTelemetry's attributes of one: its innermost 20 frames, and what it came from."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        stack = _stack(error)
    except Exception:  # a traceback that cannot be shown is no reason to lose the error
        stack = ""
    return {"exception.type": name, "exception.message": _text(error)[:1000], "exception.stacktrace": stack[-4000:]}


def _stack(error: BaseException) -> str:
    frames: deque[TracebackType] = deque(maxlen=20)  # a traceback may be as long as the stack was deep
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    origins: list[str] = []
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while origin is not None and len(origins) < 3:
        origins.append(f"after {type(origin).__qualname__}: {_text(origin)[:300]}\n")
        origin = origin.__cause__ or origin.__context__
    shown = traceback.format_exception(type(error), error, frames[0] if frames else None, chain=False)
    return "".join((*origins, *shown))


def plain(value: Any, depth: int = 0) -> AttributeValue:
    """A value as OTLP can carry it, taken now: mutable things and things with a hostile `__str__` included."""
    kind = type(value)  # never `__class__`: that may run the bot's code
    if kind is str:
        return _scrub(value)
    if kind is bool or kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if -(2**63) <= value < 2**63 else str(value) if value.bit_length() < 4096 else "<huge int>"
    if kind in (list, tuple) and depth < _DEEPEST:
        members = [plain(each, depth + 1) for each in value[:128]]
        same = {type(each) for each in members}
        return members if len(same) <= 1 and not same & {list} else [_text(each) for each in members]
    return _text(value)


def _text(value: Any) -> str:
    try:
        return _scrub(value if type(value) is str else str.__str__(str(value)))
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def _scrub(text: str) -> str:
    text = text if len(text) <= 4000 else text[:4000]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _items(attributes: Mapping[str, Any] | None) -> Iterable[tuple[str, Any]]:
    try:
        return [(key, value) for key, value in islice((attributes or {}).items(), 2 * _MOST_ATTRIBUTES)]
    except Exception:  # not a mapping at all
        return ()
