"""What the market and the model turned out to be: changes of regime, and predictions that came due."""

from __future__ import annotations

from typing import ClassVar

import attrs

from .base import Event

__all__ = ["PredictionSettled", "RegimeChanged"]


@attrs.frozen(kw_only=True)
class RegimeChanged(Event):
    """The market of `symbol` is in another regime.

    Attributes:
        previous: The regime before; `from` in the record.
        regime: The regime from this bar on; `to` in the record.
        lasted_bars: For how many bars the one before was the regime.
        lasted_s: For how many seconds.
        held_bars: For how many bars in a row the new one was said before it was believed.
        by: Who says it: `adx`, or the name of the bot's classifier.
        adx: The directional index; `plus_di` and `minus_di` are its two directions.
        atr: The average true range.
        close: The bar's close.
        volatility_bps: The deviation of the close from bar to bar.
        bar_ts: When the bar was, as the exchange says (RFC 3339).
    """

    stream: ClassVar[str | None] = "regime_transition"
    whole: ClassVar[bool] = True

    previous: str = attrs.field(metadata={"key": "from"})
    regime: str = attrs.field(metadata={"key": "to"})
    lasted_bars: int
    lasted_s: float
    held_bars: int
    by: str = "adx"
    adx: float | None = None
    atr: float | None = None
    plus_di: float | None = None
    minus_di: float | None = None
    close: float | None = None
    volatility_bps: float | None = None
    bar_ts: str | None = None


@attrs.frozen(kw_only=True)
class PredictionSettled(Event):
    """A prediction came due, and the line it was calibrated by has learned from it.

    Attributes:
        over: What it was about: `1 bar`, `5m`, `trade`, …
        source: Which signal it came from.
        regime: The market's regime when it was made.
        trade_id: The trade, for `over` = `trade`.
        predicted_ts: When it was made (RFC 3339).
        pred_bps: As the bot said it.
        adjusted_bps: What calibration made of it then; `low_bps` and `high_bps` are the band around that.
        realized_bps: The move that came.
        in_band: Whether it lay in the band; `None`: there was no band yet.
        a: The intercept after it.
        b: The slope after it.
        n: How many predictions the line has seen, this one included.
        in_band_rate: How often the moves lay in their bands lately.
        drift: How far that is from what was stated, beyond what chance explains.
        outlier: It was too far off to tell anything of the line.
    """

    stream: ClassVar[str | None] = "calibration"
    whole: ClassVar[bool] = True

    over: str
    source: str | None = None
    regime: str | None = None
    trade_id: str | None = None
    predicted_ts: str | None = None
    pred_bps: float
    adjusted_bps: float
    low_bps: float | None = None
    high_bps: float | None = None
    realized_bps: float
    in_band: bool | None = None
    a: float
    b: float
    n: int
    in_band_rate: float | None = None
    drift: float | None = None
    outlier: bool = False
