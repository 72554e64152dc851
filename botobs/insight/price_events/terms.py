"""What the table `[price_events]` of `botobs.toml` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from botobs.accounting.numbers import number
from botobs.accounting.routes import shown
from botobs.config.values import seconds
from botobs.errors import ConfigError
from botobs.insight.terms import _given, _within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["PriceEventTerms"]

_LONGEST_S: Final = 86_400.0


@attrs.frozen(kw_only=True)
class PriceEventTerms:
    """What happens to a price that is worth a record.

    Attributes:
        reference: The market that moves all others; `None`: the first one of Bitcoin that is seen; empty: none.
        steps: How far the round levels of a symbol lie apart; 0: it has none. Where nothing is said: automatic.
        spike: A range of so many usual ones is a spike; 0: none is.
        gap: A jump of so many usual ranges between two bars is a gap; 0: none is.
        least_bps: What is smaller is neither.
        window: For how long before and after it is told what the bot did, in seconds.
    """

    reference: str | None = None
    steps: Mapping[str, Decimal] = attrs.field(factory=dict)
    spike: float = 5.0
    gap: float = 2.0
    least_bps: float = 10.0
    window: float = 60.0

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table `[price_events]` says; `None`: nothing.

        Example:
            >>> PriceEventTerms.parse({"steps": {"BTC-USD": 0.5}, "window": "5m"}).steps
            {'BTC-USD': Decimal('0.5')}

        Raises:
            ConfigError: A value is wrong.
        """
        given = _given(cls, "price_events", table)
        if "reference" in given and type(given["reference"]) is not str:
            raise ConfigError(
                f"price_events.reference = {shown(given['reference'])} is wrong; it takes a symbol, or '' for none"
            )
        if "steps" in given:
            given["steps"] = _steps(given["steps"])
        for name in ("spike", "gap"):
            if name in given and given[name] != 0:
                given[name] = _within(given[name], f"price_events.{name}", 1.0, 1_000.0)
        if "least_bps" in given:
            given["least_bps"] = _within(given["least_bps"], "price_events.least_bps", 0.0, 10_000.0)
        if "window" in given:
            given["window"] = _window(given["window"])
        return cls(**given)


def _steps(said: Any) -> dict[str, Decimal]:
    if not isinstance(said, dict):
        raise ConfigError(f"price_events.steps = {shown(said)} is wrong; it takes a step for each symbol")
    found: dict[str, Decimal] = {}
    for symbol, step in said.items():
        try:
            found[str(symbol)] = number(step)
        except ValueError as error:
            raise ConfigError(f"price_events.steps: {symbol} = {shown(step)} is no number") from error
        if found[str(symbol)] < 0:
            raise ConfigError(f"price_events.steps: {symbol} = {shown(step)} is wrong; it takes 0 (none) or more")
    return found


def _window(said: Any) -> float:
    try:
        found = float(seconds(said))
    except Exception as error:  # whatever a file may say
        raise ConfigError(f"price_events.window = {shown(said)} is wrong; it takes a time, such as 60s") from error
    if not 1.0 <= found <= _LONGEST_S:
        raise ConfigError(f"price_events.window = {shown(said)} is wrong; it takes from 1s to 1d")
    return found
