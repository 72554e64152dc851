"""One answer to whether the bot may decide: is anything that it decides on too old?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .funding import FundingRates
    from .staleness import Staleness
    from .watchdogs import Watchdogs

__all__ = ["Freshness"]


class Freshness:
    """What `fresh=True` on a stage asks.

    Args:
        staleness: The ages of features.
        watchdogs: The ages of feeds.
        funding: The ages of funding rates.
    """

    def __init__(self, staleness: Staleness, watchdogs: Watchdogs, funding: FundingRates) -> None:
        self._features = staleness.fresh
        self._feeds = watchdogs.stale
        self._funding = funding.stale

    def stale(self) -> dict[str, float]:
        """Everything that is stale with its age in seconds, as `feature:NAME`, `feed:NAME`, `funding:SYMBOL`."""
        features, feeds, funding = self._features(), self._feeds(), self._funding()
        if not (features or feeds or funding):
            return {}
        found: dict[str, float] = {}
        told: tuple[tuple[str, Mapping[str, float]], ...] = (
            ("feature", features), ("feed", feeds), ("funding", funding),
        )  # fmt: skip
        for kind, ages in told:
            for name, age in ages.items():
                found[f"{kind}:{name}"] = age
        return found
