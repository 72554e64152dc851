"""What the demo says about money, as plain lines of 60 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.demo.standing import Agreement, Standing
    from botobs.performance.summary import Summary

__all__ = ["account", "cents", "compared", "slippage", "trades"]

_MOST_NAMED = 5


def account(standing: Standing) -> list[str]:
    """Equity and what it is made of, and what is held."""
    totals = standing.totals
    split = f"realized {cents(totals.realized_pnl)}, unrealized {cents(totals.unrealized_pnl)}"
    costs = f"fees {cents(totals.fees)}, funding {cents(totals.funding)}"
    deepest = f"deepest {cents(totals.max_drawdown)} ({_share(totals.max_drawdown_pct, 3)})"
    lines = [
        f"{'Account':8}" + _line("equity", cents(totals.equity), totals.currency)[8:],
        _line("PnL", cents(totals.total_pnl), split),
        _line("costs", cents(totals.fees - totals.funding), costs),
        _line("drawdown", cents(totals.drawdown), deepest),
    ]
    if totals.volume:
        maker = _share(float(totals.maker_volume / totals.volume))
        lines.append(_line("volume", cents(totals.volume), f"as maker {maker}"))
    for held in standing.positions:
        price = "" if held.avg_px is None else f" at {held.avg_px:.2f}"
        age = "" if held.age_s is None else f", {_age(held.age_s)} old"
        lines.append(_line("holds", f"{held.qty.normalize():f}", f"{held.symbol}{price}"))
        lines.append(_line("", "", f"PnL {cents(held.unrealized_pnl)}{age}"))
    return lines


def trades(standing: Standing) -> list[str]:
    """Closed round trips, by strategy."""
    lines = [f"{'Trades':13} {'closed':>6} {'won':>5} {'gross':>9} {'net':>9} {'average':>8}"]
    lines += [_trades(name, each) for name, each in sorted(standing.strategies.items())]
    if len(standing.strategies) != 1:
        lines.append(_trades("all", standing.trades))
    return lines


def slippage(standing: Standing) -> list[str]:
    """How much worse than decided; nothing without fills."""
    if not standing.slippage:
        return []
    lines = [f"{'Slippage, bps':13} {'fills':>6} {'mean':>6} {'median':>8} {'p95':>8} {'USD':>8}"]
    lines += [
        f"  {row.key or '-':11} {row.n:6} {_bps(row.mean_bps):>6} {_bps(row.median_bps):>8} {_bps(row.p95_bps):>8} "
        f"{cents(row.money):>8}"
        for row in standing.slippage
    ]
    return lines


def compared(agreement: Agreement) -> list[str]:
    """What the exchange's own statement says to all this."""
    fills, rows = agreement.fills, agreement.totals.rows
    head = "The exchange's own statement"
    if agreement.ok:
        names = ", ".join(row.name for row in rows if row.name in {"fees", "funding", "volume", "equity"})
        return [
            f"{head} agrees to the cent:",
            f"  {fills.matched} fills, each the same on both sides",
            f"  {names}: the same to the last digit",
        ]
    apart = f"{len(fills.missing)} missing here, {len(fills.extra)} extra, {len(fills.differing)} differ"
    lines = [f"{head} DOES NOT AGREE:", f"  {fills.matched} fills agree, {apart}"]
    wrong = [row for row in rows if not row.ok]
    lines += [f"  {row.name}: {row.ours} here, {row.theirs} there" for row in wrong[:_MOST_NAMED]]
    return lines


def cents(value: Decimal | None) -> str:
    """An amount of money for people."""
    return "-" if value is None else f"{value:.2f}" if round(value, 2) else "0.00"


def _trades(name: str, summary: Summary) -> str:
    return (
        f"  {name:11} {summary.trades:6} {_share(summary.win_rate):>5} {cents(summary.gross):>9} "
        f"{cents(summary.net):>9} {cents(summary.average):>8}"
    )


def _line(name: str, amount: str, more: str) -> str:
    return f"{'':8} {name:8} {amount:>9}  {more}"


def _share(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value * 100:.{digits}f}%"


def _bps(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _age(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
