"""Performance as plainly as it can be said: every statistic from a list, in fractions, nothing remembered."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo


def latest(records):
    """The trades that count, in the order of their exits."""
    found = {}
    for record in records:
        known = found.get(record["trade_id"])
        if known is None or known["revision"] < record["revision"]:
            found[record["trade_id"]] = record
    alive = [record for record in found.values() if not record.get("undone")]
    return sorted(alive, key=lambda record: (record["exit_ts"], int(record["trade_id"][1:])))


def net(record):
    return Fraction(record["realized_pnl_usd"]) - Fraction(record["fees_usd"]) + Fraction(record["funding_usd"])


def mean(values):
    return sum(values, Fraction(0)) / len(values) if values else None


def statistics(records):
    nets = [net(record) for record in records]
    won, lost = [n for n in nets if n > 0], [-n for n in nets if n < 0]
    equity, peak, deepest = Fraction(0), Fraction(0), Fraction(0)
    streak, wins, losses = 0, 0, 0
    for n in nets:
        equity += n
        peak = max(peak, equity)
        deepest = max(deepest, peak - equity)
        sign = (n > 0) - (n < 0)
        streak = 0 if not sign else streak + sign if streak * sign > 0 else sign
        wins, losses = max(wins, streak), max(losses, -streak)
    planned = [Fraction(record["risk_reward_ratio"]) for record in records if record["risk_reward_ratio"] is not None]
    average = mean(nets)
    vol = None
    if len(nets) > 1:
        vol = math.sqrt(sum((n - average) ** 2 for n in nets) / (len(nets) - 1))
    return {
        "trades": len(nets),
        "wins": len(won),
        "losses": len(lost),
        "gross": sum((Fraction(r["realized_pnl_usd"]) for r in records), Fraction(0)),
        "net": sum(nets, Fraction(0)),
        "commissions": sum((Fraction(r["fees_usd"]) for r in records), Fraction(0)),
        "funding": sum((Fraction(r["funding_usd"]) for r in records), Fraction(0)),
        "win_rate": len(won) / len(nets) if nets else None,
        "profit_factor": float(sum(won) / sum(lost)) if lost else None,
        "expectancy": average,
        "average": average,
        "average_win": mean(won),
        "average_loss": mean(lost),
        "best": max(nets, default=None),
        "worst": min(nets, default=None),
        "max_drawdown": deepest if nets else None,
        "peak_pnl": peak if nets else None,
        "sharpe": float(average) / vol if vol else None,
        "streak": streak,
        "longest_win_streak": wins,
        "longest_loss_streak": losses,
        "average_risk_reward": None if not planned else float(mean(planned)),
        "start": records[0]["exit_ts"] if records else None,
        "end": records[-1]["exit_ts"] if records else None,
    }


def session_key(record, kind, timezone):
    local = dt.datetime.fromisoformat(record["exit_ts"]).astimezone(ZoneInfo(timezone))
    year, week, _ = local.isocalendar()
    return {"day": f"{local:%Y-%m-%d}", "week": f"{year}-W{week:02d}", "month": f"{local:%Y-%m}"}[kind]


def sessions(records, kind, timezone):
    found = {}
    for record in records:
        found.setdefault(session_key(record, kind, timezone), []).append(record)
    return dict(sorted(found.items()))


def assert_says(summary, records):
    """That a summary is that of `records`."""
    for name, expected in statistics(records).items():
        value = getattr(summary, name)
        if name == "sharpe":
            value = value.annualized
        where = f"{name} of {len(records)} trades: {value} instead of {expected}"
        if expected is None or isinstance(expected, str):
            assert value == expected, where
        elif isinstance(expected, float) or name in ("expectancy", "average", "average_win", "average_loss"):
            assert value is not None, where
            assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12), where
        else:
            assert Fraction(value) == expected, where
            assert isinstance(value, int | Decimal)
        assert value is not None or name in ("start", "end") or name in summary.reasons, f"{name}: no reason"
