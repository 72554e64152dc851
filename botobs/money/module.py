"""The verbs of money at module level: those of the running observer; before `start` they do nothing, cheaply."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botobs.money.report import FillReport
from botobs.money.verbs import MoneyVerbs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["module_verbs"]

_NAMES = (
    "order", "sent", "cancel", "reject", "fill", "afill", "void", "funding", "mark", "bar", "instrument", "position",
    "transfer",
)  # fmt: skip
_REPORTING = frozenset({"fill", "void", "funding", "position", "transfer"})
_NOT_STARTED = FillReport(reason="botobs was not started")


def module_verbs(running: Callable[[], Any]) -> MoneyVerbs:
    """The verbs, each asking `running` for the observer whose verb it is."""
    return cast("MoneyVerbs", SimpleNamespace(**{name: _verb(name, running) for name in _NAMES}))


def _verb(name: str, running: Callable[[], Any]) -> Callable[..., Any]:
    own = getattr(MoneyVerbs, name)
    if name == "afill":

        @functools.wraps(own)
        async def later(*args: Any, **kwargs: Any) -> FillReport:
            observer = running()
            return _NOT_STARTED if observer is None else await observer.afill(*args, **kwargs)

        return later

    @functools.wraps(own)
    def verb(*args: Any, **kwargs: Any) -> Any:
        observer = running()
        if observer is not None:
            return getattr(observer, name)(*args, **kwargs)
        if name == "order":
            said = kwargs.get("order_id")
            return said if type(said) is str else "" if said is None else _text(said)
        return _NOT_STARTED if name in _REPORTING else None

    del verb.__wrapped__  # its signature is that of a method
    return verb


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # whatever a bot calls an id
        return ""
