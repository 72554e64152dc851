"""What the table `[counterfactual]` of `botobs.toml` says."""

from __future__ import annotations

import difflib
import math
from typing import Any, Final, Self

import attrs

from botobs.config.values import seconds
from botobs.errors import ConfigError
from botobs.insight.terms import Horizon

__all__ = ["CounterfactualTerms"]

_KNOWN: Final = ("over", "cost_bps", "longest")
_DEAREST: Final = 10_000.0


@attrs.frozen(kw_only=True)
class CounterfactualTerms:
    """How what would have been is reckoned.

    Attributes:
        over: When a decision is settled of which no trade came, and a refusal.
        cost_bps: What a round trip costs where no trade of the decision tells; `None`: the median of the latest trades.
        longest_ns: A trade that is open for longer settles its decision then.
    """

    over: Horizon = attrs.field(factory=lambda: Horizon.parse("1 bar"))
    cost_bps: float | None = None
    longest_ns: int = 7 * 86_400 * 1_000_000_000

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table says; `None`: nothing.

        Raises:
            ConfigError: A value is wrong.
        """
        if table is None:
            return cls()
        if not isinstance(table, dict):
            raise ConfigError("counterfactual is wrong; it takes a table")
        for said in table:
            if said not in _KNOWN:
                near = difflib.get_close_matches(str(said), _KNOWN, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KNOWN)}"
                raise ConfigError(f"unknown counterfactual.{str(said)[:60]}; {hint}")
        found = cls()
        if "over" in table:
            found = attrs.evolve(found, over=_horizon(table["over"]))
        if "cost_bps" in table:
            found = attrs.evolve(found, cost_bps=_cost(table["cost_bps"]))
        if "longest" in table:
            found = attrs.evolve(found, longest_ns=_longest(table["longest"]))
        return found


def _horizon(said: Any) -> Horizon:
    try:
        found = Horizon.parse(said)
    except ValueError as error:
        raise ConfigError(f"counterfactual.over: {error}") from error
    if not (found.bars or found.ns):
        raise ConfigError("counterfactual.over: it takes a number of bars (`3 bars`) or a time (`5m`)")
    return found


def _cost(said: Any) -> float:
    found = float(said) if type(said) in (int, float) else math.nan
    if not -_DEAREST <= found <= _DEAREST:
        raise ConfigError("counterfactual.cost_bps is wrong; it takes a number of bps")
    return found


def _longest(said: Any) -> int:
    try:
        found = seconds(said)
    except Exception as error:
        raise ConfigError("counterfactual.longest is wrong; it takes a time (`7d`)") from error
    if found < 60:
        raise ConfigError("counterfactual.longest is wrong; it takes at least a minute")
    return round(found * 1_000_000_000)
