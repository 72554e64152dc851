"""What the table `[edge]` of `botobs.toml` says."""

from __future__ import annotations

import re
from typing import Any, Final, Self

import attrs

from botobs.accounting.routes import shown
from botobs.errors import ConfigError
from botobs.insight.terms import Horizon, _given, _whole

__all__ = ["EdgeTerms", "rate"]

_RATE: Final = re.compile(r"(?:1|one) (?:per|in) ([\d,_ ]{1,12}?)(?: (?:trades|orders|outcomes))?", re.IGNORECASE)
_LEAST: Final = 50.0
_MOST: Final = 1_000_000.0
_MOST_HORIZONS: Final = 12
_HORIZONS: Final = ("1s", "5s", "30s", "1m", "5m", "15m", "1h")


def _usual() -> tuple[Horizon, ...]:
    return tuple(Horizon.parse(one) for one in _HORIZONS)


@attrs.frozen(kw_only=True)
class EdgeTerms:
    """How an edge is watched.

    Attributes:
        false_alarms: Each series may give one false alarm in so many outcomes.
        warm_up: So many outcomes make a norm.
        memory: A norm is made of so many of the latest outcomes; a curve's old decisions count a third after as many.
        markouts: After which times the price is looked at.
    """

    false_alarms: float = 1_000.0
    warm_up: int = 50
    memory: int = 1_000
    markouts: tuple[Horizon, ...] = attrs.field(factory=_usual)

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table `[edge]` says; `None`: nothing.

        Example:
            >>> EdgeTerms.parse({"false_alarms": "1 per 5,000 trades"}).false_alarms
            5000.0

        Raises:
            ConfigError: A value is wrong.
        """
        given = _given(cls, "edge", table)
        if "false_alarms" in given:
            given["false_alarms"] = rate(given["false_alarms"])
        if "warm_up" in given:
            given["warm_up"] = _whole(given["warm_up"], "edge.warm_up", 10_000, least=20)
        if "memory" in given:
            given["memory"] = _whole(given["memory"], "edge.memory", 10_000, least=100)
        if "markouts" in given:
            given["markouts"] = _horizons(given["markouts"])
        found = cls(**given)
        if found.warm_up * 2 > found.memory:
            raise ConfigError(f"edge.warm_up = {found.warm_up} is wrong; it takes at most half of edge.memory")
        return found


def rate(said: Any) -> float:
    """In how many outcomes one false alarm is allowed.

    Example:
        >>> rate("1 per 1000 trades"), rate("1 in 2,000"), rate(0.001)
        (1000.0, 2000.0, 1000.0)

    Raises:
        ConfigError: It is no rate.
    """
    found = 0.0
    if isinstance(said, str):
        match = _RATE.fullmatch(said.strip())
        digits = re.sub(r"[,_ ]", "", match[1]) if match is not None else ""
        found = float(digits) if digits else 0.0
    elif type(said) is float and 0.0 < said < 1.0:
        found = round(1.0 / said, 6)
    if not _LEAST <= found <= _MOST:
        raise ConfigError(
            f'edge.false_alarms = {shown(said)} is wrong; it takes "1 per 1000 trades", from 1 per 50 to 1 per 1000000'
        )
    return found


def _horizons(said: Any) -> tuple[Horizon, ...]:
    if not isinstance(said, list | tuple) or not 0 < len(said) <= _MOST_HORIZONS:
        raise ConfigError(f'edge.markouts = {shown(said)} is wrong; it takes up to 12 times: ["1s", "1m", "1h"]')
    found: dict[int, Horizon] = {}
    for one in said:
        try:
            horizon = Horizon.parse(one)
        except ValueError as error:
            raise ConfigError(f"edge.markouts: {error}") from error
        if not horizon.ns or horizon.ns > 7 * 86_400 * 10**9:
            raise ConfigError(f"edge.markouts: {shown(one)} is wrong; it takes times from a second to a week")
        found[horizon.ns] = horizon
    return tuple(found[ns] for ns in sorted(found))
