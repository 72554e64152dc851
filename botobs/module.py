"""The verbs of money and safety at module level: the running observer's; before `start` they do nothing, cheaply."""

from __future__ import annotations

import functools
from types import MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botobs.money.report import FillReport
from botobs.money.verbs import MoneyVerbs
from botobs.safeguards import SafetyVerbs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["money_verbs", "safety_verbs"]

_MONEY = (
    "order", "sent", "cancel", "reject", "fill", "afill", "void", "funding", "mark", "bar", "book", "instrument",
    "position", "transfer",
)  # fmt: skip
_SAFETY = ("health", "heartbeat", "watch", "feature_value", "feature_values", "funding_rate")
_REPORTING = frozenset({"fill", "void", "funding", "position", "transfer"})
_NOT_STARTED = FillReport(reason="botobs was not started")


def money_verbs(running: Callable[[], Any]) -> MoneyVerbs:
    """The verbs of money, each asking `running` for the observer whose verb it is."""
    return cast("MoneyVerbs", SimpleNamespace(**{name: _verb(MoneyVerbs, name, running) for name in _MONEY}))


def safety_verbs(running: Callable[[], Any]) -> SafetyVerbs:
    """The verbs of safety, each asking `running` for the observer whose verb it is."""
    return cast("SafetyVerbs", SimpleNamespace(**{name: _verb(SafetyVerbs, name, running) for name in _SAFETY}))


def _verb(verbs: type, name: str, running: Callable[[], Any]) -> Callable[..., Any]:
    own = getattr(verbs, name)
    if name == "afill":

        @functools.wraps(own)
        async def later(*args: Any, **kwargs: Any) -> FillReport:
            observer = running()
            return _NOT_STARTED if observer is None else await observer.afill(*args, **kwargs)

        later.__wrapped__ = MethodType(own, verbs)  # as below
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

    verb.__wrapped__ = MethodType(own, verbs)  # its signature, without `self`
    return verb


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # whatever a bot calls an id
        return ""
