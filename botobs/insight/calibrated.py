"""What calibration answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.insight.line import Line
    from botobs.insight.track import Track

__all__ = ["Band", "Calibrated", "Kept", "Key", "shown"]

#: Which line: over what, and of which symbol, source and regime; `None`: of all.
Key = tuple[str, str | None, str | None, str | None]

_FEW = "fewer than 5 predictions came due"


@attrs.frozen(kw_only=True)
class Band:
    """Where the move is expected.

    Attributes:
        value: The adjusted prediction, in bps.
        low: The band's lower end; `None`: too few predictions came due.
        high: Its upper end.
        share: The share of moves that it is to hold.
        n: How many predictions it was learned from.
        reason: Why there is no band.
    """

    value: float
    low: float | None
    high: float | None
    share: float
    n: int
    reason: str | None = None


@attrs.frozen(kw_only=True)
class Calibrated:
    """What was learned of predictions; figures that cannot be told yet are `None`, with a reason.

    Attributes:
        over: When they were judged.
        symbol: Of which market; `None`: of all.
        source: From which signal; `None`: from any.
        regime: In which regime; `None`: in all.
        a: The intercept in bps; `a_sd` is how unsure it is.
        b: The slope; 1: predictions are as large as moves, 0: they say nothing. `b_sd` is how unsure it is.
        noise_bps: The scale of what no line explains.
        n: How many came due.
        outliers: How many of them were too far off to tell anything.
        in_band_rate: How often the move lay in its band, over about the last 200.
        drift: How far that is from what was stated, beyond what chance explains.
        miss_bps: By how much the adjusted prediction was off on average; `raw_miss_bps`: the prediction itself.
        reasons: Why something is `None`.
    """

    over: str
    symbol: str | None
    source: str | None
    regime: str | None
    a: float
    b: float
    n: int
    a_sd: float | None = None
    b_sd: float | None = None
    noise_bps: float | None = None
    outliers: int = 0
    in_band_rate: float | None = None
    drift: float | None = None
    miss_bps: float | None = None
    raw_miss_bps: float | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict)


class Kept:
    """A line, how it does, and whether its drift was told.

    Attributes:
        leans: The line over more, to which this one keeps where it has seen little.
    """

    __slots__ = ("leans", "line", "over", "track")

    def __init__(self, line: Line, track: Track, leans: Line | None = None) -> None:
        self.line = line
        self.track = track
        self.leans = leans
        self.over = False


def shown(key: Key, kept: Kept) -> Calibrated:
    """A line as somebody who asks gets it."""
    line, track = kept.line, kept.track
    spread, rate, drift = line.spread(), track.in_band_rate, track.drift
    a, b = line.coefficients(kept.leans)
    reasons = dict.fromkeys(("a_sd", "b_sd", "noise_bps"), _FEW) if spread is None else {}
    if rate is None:
        reasons["in_band_rate"] = "no prediction with a band came due"
    if drift is None:
        reasons["drift"] = "fewer than 20 predictions with a band came due"
    return Calibrated(
        over=key[0], symbol=key[1], source=key[2], regime=key[3], a=a, b=b, n=line.n,
        a_sd=None if spread is None else spread[0], b_sd=None if spread is None else spread[1],
        noise_bps=None if spread is None else line.noise, outliers=line.outliers, in_band_rate=rate, drift=drift,
        miss_bps=track.miss_bps, raw_miss_bps=track.raw_miss_bps, reasons=reasons,
    )  # fmt: skip
