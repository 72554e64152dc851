"""What is told of a decision and of a refusal when they are settled."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from botobs.clock import epoch_ns, rfc3339
from botobs.events.counterfactual import DecisionSettled, VetoSettled
from botobs.events.money import TradeClosed

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from botobs.insight.counterfactual.costs import Traded
    from botobs.insight.counterfactual.running import Decision, Refusal
    from botobs.insight.counterfactual.sums import Settled
    from botobs.streams.reader import StreamReader

__all__ = ["by_move", "by_trade", "of_refusal", "told_by"]

_TRADES_BACK: Final = 2_000


def by_move(decision: Decision, settled: Settled, rule: str, now: int) -> DecisionSettled:
    """A decision was settled by how the price had moved."""
    return DecisionSettled(
        ts_ns=now, symbol=decision.symbol, bar_id=decision.bar_id, trace_id=decision.trace_id,
        decided_ts=rfc3339(decision.since), rule=rule, over=decision.over, trade_id=decision.trade_id,
        candidates=settled.shown(_said(decision)), began_px=decision.price, ended_px=decision.came,
        move_bps=decision.move, cost_bps=decision.cost, **settled.told,
    )  # fmt: skip


def by_trade(
    settled: Settled, event: TradeClosed, trade: Traded | None, decision: Decision | None = None
) -> DecisionSettled:
    """A decision was settled by its trade, or is settled otherwise now because that has become another."""
    began = None if trade is None else trade.entry_px
    ended = None if trade is None else trade.exit_px
    return DecisionSettled(
        ts_ns=event.ts_ns, symbol=settled.symbol, bar_id=None if decision is None else decision.bar_id,
        trace_id=None if decision is None else decision.trace_id, decided_ts=rfc3339(settled.since), rule="trade",
        over="trade", trade_id=event.trade_id,
        candidates=settled.shown({} if decision is None else _said(decision)), began_px=began, ended_px=ended,
        move_bps=None if not began or ended is None else (ended - began) / began * 1e4,
        cost_bps=None if trade is None else trade.cost, revision=settled.revision, undone=not settled.counted,
        **settled.told,
    )  # fmt: skip


def of_refusal(refusal: Refusal, saved: float, money: Decimal | None, now: int) -> VetoSettled:
    """What was refused came to its end."""
    assert refusal.came is not None
    assert refusal.move is not None
    return VetoSettled(
        ts_ns=now, symbol=refusal.symbol, bar_id=refusal.bar_id, trace_id=refusal.trace_id,
        refused_ts=rfc3339(refusal.since), by=refusal.by, stage=refusal.stage, reason=refusal.reason,
        order_id=refusal.order_id, side="buy" if refusal.sign > 0 else "sell", qty=refusal.qty,
        strategy=refusal.strategy, reduces=refusal.reduces, over=refusal.over, began_px=refusal.price,
        ended_px=refusal.came, move_bps=refusal.move, cost_bps=None if refusal.reduces else refusal.cost,
        saved_bps=saved, saved=money, repeats=refusal.repeats,
    )  # fmt: skip


def told_by(history: StreamReader, trades: Collection[str]) -> list[TradeClosed]:
    """What the records of earlier runs say of these trades, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for record in history.latest("trade_lifecycle", _TRADES_BACK) if trades else ():
            name, revision = record.get("trade_id"), record.get("revision", 1)
            if isinstance(name, str) and name in trades and type(revision) is int:
                found.append(
                    TradeClosed(
                        ts_ns=epoch_ns(record["ts"]), symbol=record.get("symbol"), trade_id=name, record=record,
                        revision=revision, undone=record.get("undone") is True,
                    )
                )  # fmt: skip
    return found


def _said(decision: Decision) -> dict[str, dict[str, Any]]:
    return {one.source: dict(one.said) for one in decision.candidates if one.said}
