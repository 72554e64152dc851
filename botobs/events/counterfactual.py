"""What would have been: decisions of other sources, and orders that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["DecisionSettled", "VetoSettled"]


@attrs.frozen(kw_only=True)
class DecisionSettled(Event):
    """A decision came to its end: what each candidate would have made, all under one rule.

    Attributes:
        decided_ts: When it was decided (RFC 3339).
        rule: `trade`: at the exit of the trade that came of it; `horizon`: at its horizon; `longest`: the trade
            was open for too long to wait.
        over: The horizon, as it is written; `trade`.
        trade_id: The trade.
        candidates: By source: `side` (`long`, `short`, `flat`), `result_bps` after costs, and what it said.
        chosen: The source that the bot followed.
        chosen_bps: What that came to.
        best: The source that would have been best; `best_bps` is what it came to.
        regret_bps: The best one less the chosen one.
        done: What the bot really did: `long`, `short`, `flat`; `done_bps` is what that came to.
        began_px: The price it began at.
        ended_px: The price it ended at.
        move_bps: From the one to the other, up is positive.
        cost_bps: The costs of the round trip, applied to every candidate alike; `null`: nobody knows them, 0 was taken.
        revision: 1 when it was settled; more each time its trade changed afterwards. The highest one counts.
        undone: Its trade is no closed trade any more, and nothing of this counts.
    """

    stream: ClassVar[str | None] = "counterfactual"
    kind: ClassVar[str | None] = "decision"
    whole: ClassVar[bool] = True

    decided_ts: str
    rule: str
    over: str
    trade_id: str | None = None
    candidates: Mapping[str, Any]
    chosen: str | None = None
    chosen_bps: float | None = None
    best: str | None = None
    best_bps: float | None = None
    regret_bps: float | None = None
    done: str | None = None
    done_bps: float | None = None
    began_px: float | None = None
    ended_px: float | None = None
    move_bps: float | None = None
    cost_bps: float | None = None
    revision: int = 1
    undone: bool = False


@attrs.frozen(kw_only=True)
class VetoSettled(Event):
    """What was refused came to its end: what it would have made or lost.

    Attributes:
        refused_ts: When it was refused (RFC 3339).
        by: Who refused it: `kill switch`, `stale data`, `risk`, `cancel`.
        stage: At which stage.
        reason: Why.
        order_id: The order, if there was one.
        side: `buy` or `sell`.
        qty: How much it was about.
        strategy: Whose.
        reduces: It would have made a position smaller: no costs are counted.
        over: The horizon, as it is written.
        began_px: The price it began at.
        ended_px: The price it ended at.
        move_bps: From the one to the other, up is positive.
        cost_bps: The costs that it saved; `null`: nobody knows them, 0 was taken.
        saved_bps: What the refusal saved; negative: what it cost.
        saved: The same in money.
        repeats: How often the same was refused again in the meantime.
    """

    stream: ClassVar[str | None] = "counterfactual"
    kind: ClassVar[str | None] = "veto"
    whole: ClassVar[bool] = True

    refused_ts: str
    by: str
    stage: str | None = None
    reason: str
    order_id: str | None = None
    side: str
    qty: Decimal | None = None
    strategy: str | None = None
    reduces: bool = False
    over: str
    began_px: float
    ended_px: float
    move_bps: float
    cost_bps: float | None = None
    saved_bps: float
    saved: Decimal | None = None
    repeats: int = 0
