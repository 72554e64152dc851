"""Whether the bot is well: its health, its feeds, what it trades on."""

from .alive import Alive, Verdict, judge
from .freshness import Freshness
from .funding import FundingRate, FundingRates
from .health import DEFAULT, HealthEmitter, Rule
from .silence import SilenceWatch
from .snapshots import FIELDS, Snapshots
from .staleness import Feature, Staleness
from .watchdogs import Feed, Watchdogs

__all__ = [
    "DEFAULT",
    "FIELDS",
    "Alive",
    "Feature",
    "Feed",
    "Freshness",
    "FundingRate",
    "FundingRates",
    "HealthEmitter",
    "Rule",
    "SilenceWatch",
    "Snapshots",
    "Staleness",
    "Verdict",
    "Watchdogs",
    "judge",
]
