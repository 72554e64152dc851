"""A limit of the bot's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.safety.triggers.base import Trigger, Verdict, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.timebox import Outcome

__all__ = ["Facts", "When"]


@attrs.frozen(kw_only=True)
class Facts:
    """What a function given to `When` may look at.

    Attributes:
        equity: The latest known; `None`: none yet.
        peak: The account's peak.
        transferred: All that was moved in, less what was moved out.
        ages: How long each feed has been silent, in seconds.
        silent_s: How long the bot's loop has been silent.
    """

    equity: Decimal | None = None
    peak: Decimal | None = None
    transferred: Decimal | None = None
    ages: Mapping[str, float] = attrs.field(factory=dict)
    silent_s: float | None = None


def _callable(value: Any) -> Any:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise ValueError(f"When({value!r}) is wrong: it takes a function that is not async")
    return value


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class When(Trigger):
    """Whatever `fn` says: it is asked with each new equity and once a second.

    It gets `Facts`, or nothing if it takes no argument. True breaks the limit, `None` and an error are unknown.
    A function that hangs is asked once a second only, until it answers in time.

    Args:
        fn: The function.
        name: What records call it; the function's own name if not given.

    Example:
        >>> When(lambda facts: facts.equity is not None and facts.equity < 100, name="poor").label
        'When(poor)'
    """

    feed: ClassVar[str] = "when"

    fn: Callable[..., Any] = attrs.field(converter=_callable)
    name: str | None = attrs.field(default=None, kw_only=True)

    bare: bool = attrs.field(default=False, init=False, repr=False)
    hung: bool = attrs.field(default=False, init=False, repr=False)
    facts: Facts = attrs.field(factory=Facts, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            self.bare = not inspect.signature(self.fn).parameters
        except (ValueError, TypeError):
            self.bare = False

    @property
    def label(self) -> str:
        """How records name it."""
        return f"When({self.name or getattr(self.fn, '__name__', type(self.fn).__name__)})"

    @property
    def key(self) -> str:
        """Under which name its memory is kept."""
        return self.label

    def ask(self, facts: Facts) -> Any:
        """What the function says; whoever calls this limits its time."""
        return bool(said) if (said := self.fn() if self.bare else self.fn(facts)) is not None else None

    def observe(self, facts: Facts, outcome: Outcome[Any]) -> Verdict:
        """What it said."""
        self.facts = facts
        self.hung = outcome.state == "hung"
        if outcome.state != "done" or outcome.value is None:
            return Verdict.UNKNOWN
        return Verdict.BROKEN if outcome.value else Verdict.FINE

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        said = {"equity": text_of(self.facts.equity), "peak": text_of(self.facts.peak)}
        return {key: value for key, value in said.items() if value is not None}
