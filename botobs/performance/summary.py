"""What a number of closed trades came to."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import ZERO, text
from botobs.accounting.statistics import Sharpe

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMA", "Session", "Summary"]

SCHEMA = "v1"


@attrs.frozen(kw_only=True)
class Session:
    """A day, week or month in the configured timezone; a trade belongs to the one in which it was closed.

    Attributes:
        kind: `day`, `week` or `month`.
        key: Its name: `2026-11-21`, `2026-W47`, `2026-11`.
        start: When it begins (RFC 3339, UTC).
        end: When the next one begins.
    """

    kind: str
    key: str
    start: str
    end: str


@attrs.frozen(kw_only=True)
class Summary:
    """The statistics of some closed trades, of one strategy or of all.

    A statistic that is undefined is `None`, and `reasons` says why.

    Attributes:
        strategy: Whose trades; `None`: everybody's.
        window: Which of them, in words.
        session: The session they were closed in, if it is one's summary.
        start: The first exit that counts (RFC 3339).
        end: The last one.
        trades: How many.
        wins: Those with a net profit; `losses` those with a net loss; the others came out even.
        gross: Profit before costs.
        net: `gross - commissions + funding`.
        commissions: Fees: paid is positive, a rebate negative.
        funding: Received is positive.
        win_rate: Wins of all trades.
        profit_factor: What was won over what was lost, net.
        expectancy: What a trade makes on average, after costs.
        average: The same.
        average_win: The mean net profit of those that won.
        average_loss: The mean net loss of those that lost, positive.
        payoff: Average win over average loss.
        best: The best trade's net profit.
        worst: The worst one's.
        max_drawdown: The deepest fall of the running net profit below its peak; the start is the first peak.
        peak_pnl: The highest that the running net profit stood, from 0 at the start.
        peak_equity: The same on top of the equity at the start.
        sharpe: Mean over deviation of the net profit of a trade; `annualized` is the ratio, as it is.
        streak: Wins (positive) or losses (negative) in a row at the end.
        longest_win_streak: The most wins in a row.
        longest_loss_streak: The most losses in a row.
        average_risk_reward: The mean planned reward over risk of those trades that had a stop and a target.
        counts: How many trades each statistic is of.
        reasons: Why a statistic is `None`, or what is left out.
    """

    strategy: str | None = None
    window: str = "all"
    session: Session | None = None
    start: str | None = None
    end: str | None = None
    trades: int = 0
    wins: int = 0
    losses: int = 0
    gross: Decimal = ZERO
    net: Decimal = ZERO
    commissions: Decimal = ZERO
    funding: Decimal = ZERO
    win_rate: float | None = None
    profit_factor: float | None = None
    expectancy: Decimal | None = None
    average: Decimal | None = None
    average_win: Decimal | None = None
    average_loss: Decimal | None = None
    payoff: float | None = None
    best: Decimal | None = None
    worst: Decimal | None = None
    max_drawdown: Decimal | None = None
    peak_pnl: Decimal | None = None
    peak_equity: Decimal | None = None
    sharpe: Sharpe = attrs.field(factory=lambda: Sharpe(bucket="trade", n=0, reason="no trades"))
    streak: int = 0
    longest_win_streak: int = 0
    longest_loss_streak: int = 0
    average_risk_reward: float | None = None
    counts: Mapping[str, int] = attrs.field(factory=dict)
    reasons: Mapping[str, str] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the same keys, decimals as strings, a session as its fields."""
        return {key: text(value) if isinstance(value, Decimal) else value for key, value in attrs.asdict(self).items()}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Summary:
        """The inverse of `to_dict`; keys that a later version may have added are left out.

        Raises:
            ValueError: It is no summary.
        """
        if not isinstance(found.get("trades"), int):
            raise ValueError("not a summary")  # noqa: TRY004  # it is data, whatever its type
        known: dict[str, Any] = {}
        for key, value in found.items():
            if key in _DECIMALS and value is not None:
                known[key] = Decimal(value)
            elif key == "session" and value is not None:
                known[key] = Session(**{name: str(value[name]) for name in ("kind", "key", "start", "end")})
            elif key == "sharpe":
                known[key] = Sharpe(**{name: value.get(name) for name in _SHARPE})
            elif key in _KEYS:
                known[key] = value
        return cls(**known)


_SHARPE = tuple(field.name for field in attrs.fields(Sharpe))
_KEYS = frozenset(field.name for field in attrs.fields(Summary))
_DECIMALS = frozenset(field.name for field in attrs.fields(Summary) if "Decimal" in str(field.type))
