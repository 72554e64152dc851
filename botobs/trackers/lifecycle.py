"""The record of one round trip: what the position engine says of its money, and what was known around it.

No figure of money is reckoned here a second time: gross, fees and funding are the round trip's own.

What each figure means, where a name leaves it open (bps are of the entry's value, `|entry_worth|`):

- `mfe_bps`, `mae_bps`: how far the price went for and against the trade, measured from the average entry price; both
  are never negative. Prices after the entry count, and those of its own exits; `*_atr` is the same in units of the ATR
  at the entry.
- `prediction_error_bps`: `pred_bps` is the price move that was predicted, positive for up. The error is that less the
  move from entry to exit price, turned round for a short: positive is less than was hoped for, for both sides.
- `risk_reward_ratio`: |target - entry| / |entry - stop|; `r_multiple`: net PnL in units of what the stop put at risk.
  Both are `None` where the stop is not on the losing side of the entry.
- `signal_decay`: the strength at entry less that at exit.
- `duration_bars`: the difference of the bar ids where both are whole numbers and do not fall; 0 where they are the
  same; else the finished bars told in between; else how often the bot's bar id changed; `None` where nothing tells.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import EXACT
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.trade import RoundTrip
    from botobs.trackers.life import Context, Life

__all__ = ["DECIMALS", "KEYS", "SCHEMA", "lifecycle"]

SCHEMA = "v1"
KEYS = (
    "trade_id", "symbol", "strategy_id", "schema_version",
    "entry_ts", "entry_bar_id", "entry_px", "entry_qty", "entry_side", "entry_signal_source",
    "exit_ts", "exit_bar_id", "exit_px", "exit_qty", "exit_side", "exit_signal_source",
    "entry_cohort_pros", "entry_cohort_amateurs", "entry_cohort_mood", "entry_pred_bps", "entry_decision_px",
    "exit_reason", "duration_bars", "duration_seconds",
    "realized_pnl_usd", "realized_pnl_bps", "costs_total_usd", "costs_total_bps", "net_pnl_usd", "net_pnl_bps",
    "funding_usd", "fees_usd", "risk_reward_ratio", "r_multiple",
    "slippage_entry_bps", "slippage_exit_bps", "prediction_error_bps",
    "signal_strength_entry", "signal_strength_exit", "signal_decay",
    "mfe_bps", "mae_bps", "mfe_atr", "mae_atr", "fills", "entry_trace_id", "exit_trace_id",
    "account", "venue", "position_side", "side", "revision",
)  # fmt: skip
#: The keys whose values are exact numbers.
DECIMALS = frozenset((
    "entry_px", "entry_qty", "exit_px", "exit_qty", "entry_decision_px", "realized_pnl_usd", "costs_total_usd",
    "net_pnl_usd", "funding_usd", "fees_usd",
))  # fmt: skip


def lifecycle(life: Life, trip: RoundTrip, closed: int, revision: int) -> dict[str, Any]:
    """The record of a trade closed at `closed` (nanoseconds), with every key of `KEYS`; what is not known is `None`."""
    entry, leave, place = life.entry, life.exit, life.place
    long = trip.side == "long"
    entry_px, exit_px = trip.entry_px, trip.exit_px
    costs = EXACT.subtract(trip.fees, trip.funding)
    net = EXACT.subtract(trip.gross, costs)
    worth = float(trip.entry_worth)
    scale = 1e4 / worth if worth else None
    entered, left = (float(px) if px is not None else None for px in (entry_px, exit_px))
    slip_in, slip_out = _slippage(life)
    opened = life.seen.since_ns if trip.opened_ts == life.seen.since else epoch_ns(trip.opened_ts)
    mfe, mae = _excursions(life, opened, closed, entered, long=long)
    ratio, r_multiple = _risk(entry, trip, entered, float(net), long=long)
    strong, weak = entry.strength, leave.strength
    return {
        "trade_id": life.trade_id,
        "symbol": place.symbol,
        "strategy_id": life.strategy,
        "schema_version": SCHEMA,
        "entry_ts": trip.opened_ts,
        "entry_bar_id": entry.bar_id,
        "entry_px": entry_px,
        "entry_qty": trip.entry_qty,
        "entry_side": "buy" if long else "sell",
        "entry_signal_source": entry.source,
        "exit_ts": trip.closed_ts,
        "exit_bar_id": leave.bar_id,
        "exit_px": exit_px,
        "exit_qty": trip.exit_qty,
        "exit_side": "sell" if long else "buy",
        "exit_signal_source": leave.source,
        "entry_cohort_pros": entry.pros,
        "entry_cohort_amateurs": entry.amateurs,
        "entry_cohort_mood": entry.mood,
        "entry_pred_bps": entry.pred_bps,
        "entry_decision_px": entry.decision_px,
        "exit_reason": leave.reason or "unknown",
        "duration_bars": _bars(life, entry.bar_id, leave.bar_id),
        "duration_seconds": (closed - opened) / 1e9,
        "realized_pnl_usd": trip.gross,
        "realized_pnl_bps": _bps(trip.gross, scale),
        "costs_total_usd": costs,
        "costs_total_bps": _bps(costs, scale),
        "net_pnl_usd": net,
        "net_pnl_bps": _bps(net, scale),
        "funding_usd": trip.funding,
        "fees_usd": trip.fees,
        "risk_reward_ratio": ratio,
        "r_multiple": r_multiple,
        "slippage_entry_bps": slip_in,
        "slippage_exit_bps": slip_out,
        "prediction_error_bps": _prediction_error(entry.pred_bps, entered, left, long=long),
        "signal_strength_entry": strong,
        "signal_strength_exit": weak,
        "signal_decay": strong - weak if strong is not None and weak is not None else None,
        "mfe_bps": _part(mfe, entered, 1e4),
        "mae_bps": _part(mae, entered, 1e4),
        "mfe_atr": _part(mfe, life.atr),
        "mae_atr": _part(mae, life.atr),
        "fills": trip.fills,
        "entry_trace_id": entry.trace_id,
        "exit_trace_id": leave.trace_id,
        "account": place.account,
        "venue": place.venue,
        "position_side": place.position_side,
        "side": trip.side,
        "revision": revision,
    }


def _bps(amount: Decimal, scale: float | None) -> float | None:
    return _finite(float(amount) * scale) if scale is not None else None


def _part(of: float | None, whole: float | None, scale: float = 1.0) -> float | None:
    return _finite(of / whole * scale) if of is not None and whole else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bars(life: Life, opened: Any, closed: Any) -> int | None:
    if type(opened) is int and type(closed) is int and closed >= opened:
        return closed - opened
    if opened is not None and opened == closed:
        return 0
    if not life.whole:
        return None
    if life.bars or life.seen.bars:
        return life.seen.bars
    return life.seen.turns or None


def _slippage(life: Life) -> tuple[float | None, float | None]:
    entry_qty, entry_slip, exit_qty, exit_slip = life.folded[:4] if life.folded is not None else (0.0, 0.0, 0.0, 0.0)
    for note in life.notes:
        slip = note.slippage_bps
        if slip is None:
            continue
        qty = float(note.qty)
        if note.sign == life.sign:
            entry_qty += qty
            entry_slip += qty * slip
        else:
            exit_qty += qty
            exit_slip += qty * slip
    return (
        entry_slip / entry_qty if entry_qty and life.whole else None,
        exit_slip / exit_qty if exit_qty else None,
    )


def _excursions(
    life: Life, opened: int, closed: int, entered: float | None, *, long: bool
) -> tuple[float | None, float | None]:
    if not life.whole or entered is None:
        return None, None
    high, low, sure_high, sure_low = life.seen.extremes(opened, closed)
    prices = [entered, *(float(note.px) for note in life.notes if note.sign != life.sign)]
    if life.folded is not None:
        prices += (max(life.folded.high, entered), min(life.folded.low, entered))
    top, bottom = max(prices), min(prices)
    above = max(top, top if high is None else high) - entered if sure_high else None
    below = entered - min(bottom, bottom if low is None else low) if sure_low else None
    return (above, below) if long else (below, above)


def _risk(
    entry: Context, trip: RoundTrip, entered: float | None, net: float, *, long: bool
) -> tuple[float | None, float | None]:
    if entry.stop_px is None or entered is None:
        return None, None
    stop = float(entry.stop_px)
    distance = entered - stop if long else stop - entered
    if distance <= 0 or stop <= 0:
        return None, None
    target = float(entry.target_px) if entry.target_px is not None else None
    units = float(trip.entry_qty) * float(trip.instrument.multiplier)
    risk = units * abs(1 / stop - 1 / entered) if trip.instrument.inverse else units * distance
    return (
        _finite(abs(target - entered) / distance) if target is not None else None,
        _finite(net / risk) if risk else None,
    )


def _prediction_error(pred: float | None, entered: float | None, left: float | None, *, long: bool) -> float | None:
    if pred is None or not entered or left is None:
        return None
    missed = pred - (left - entered) / entered * 1e4
    return _finite(missed if long else -missed)
