"""What a signal says of its turn's stages: milliseconds of the outermost ones by kind, and their exact sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .live import Live
    from .tick import Tick

__all__ = ["LATENCY_KEYS", "TOTAL", "at_once", "by_kind", "compiled", "told", "told_at_once"]

#: What each kind of stage is called there. A stage of the bot's own is called `<name>_ms`.
LATENCY_KEYS: Final = {
    "feature": "feature_calc_ms",
    "model": "model_inference_ms",
    "decision": "decision_logic_ms",
    "risk": "risk_check_ms",
    "execution": "execution_ms",
}
TOTAL: Final = "total_latency_ms"

# Durations are told as multiples of 1/1024 ms: such numbers add up exactly, in binary and in decimal alike. A number
# to which this is added has room for just ten binary digits behind the point.
_GRAIN: Final = 1.5 * 2.0**42
_MS: Final = 1e-6  # of a nanosecond
# A zero of its own, told from one that was measured by which object it is.
_UNSEEN: Final = float("0")
_NOTHING_TOLD: Final = dict.fromkeys(LATENCY_KEYS.values(), _UNSEEN)
_NO_TIME: Final = dict.fromkeys(LATENCY_KEYS.values(), 0)


def told(tick: Tick) -> dict[str, float]:
    """The latency of a tick's stages that have ended."""
    found = at_once(tick)
    if found is None:
        found = {key: (ns * _MS + _GRAIN) - _GRAIN for key, ns in by_kind(tick, tick.spans).items()}
        found[TOTAL] = sum(found.values())
    return found


def told_at_once(tick: Tick) -> dict[str, float] | None:
    """The same in one pass, where no kind but the usual ones ran, each of them once; else nothing."""
    if tick.folded is not None:
        return None
    found = _NOTHING_TOLD.copy()
    total = 0.0
    root = tick.root
    try:
        for live in tick.spans:
            if live.parent is root:
                key = live.stage.latency_key
                if live.more is not None or found[key] is not _UNSEEN:
                    return None
                found[key] = ms = ((live.t1 - live.t0) * _MS + _GRAIN) - _GRAIN
                if ms < 0.0:  # it still runs
                    return None
                total += ms
            elif live.more is not None:  # perhaps somebody else's span lies between
                return None
    except KeyError:  # a kind of the bot's own
        return None
    found[TOTAL] = total
    return found


def by_kind(tick: Tick, spans: list[Live]) -> dict[str, int]:
    """Nanoseconds of the outermost stages among `spans`, and of those that were left out of the tick's trace."""
    found = (tick.folded or _NO_TIME).copy()
    root = tick.root
    for live in spans:
        if live.t1 and live is not root and live.above() is root:
            key = live.stage.latency_key
            took = live.t1 - live.t0
            if live.more is not None:
                took -= live.more.idle_ns
            found[key] = found.get(key, 0) + took
    return found


#: `told_at_once`, or the same compiled.
at_once: Callable[[Tick], dict[str, float] | None] = told_at_once


def compiled(quick: Any) -> Callable[[Tick], dict[str, float] | None]:
    """The same as `told_at_once`, compiled; stages have to be known there."""
    quick.know_latency(_NOTHING_TOLD, _UNSEEN, TOTAL)
    return quick.told  # type: ignore[no-any-return]
