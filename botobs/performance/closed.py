"""What performance needs to know of a closed trade, taken from its lifecycle record."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from botobs.accounting.numbers import EXACT, ZERO, number
from botobs.accounting.statistics import Outcome
from botobs.clock import epoch_ns, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UNNAMED", "Closed", "clean_name"]

UNNAMED = "unnamed"  # the strategy of trades that name none
_LONGEST_NAME = 200
_CANONICAL = len("2026-01-02T03:04:05.000001Z")
_LATEST_NS = 4_000_000_000 * 10**9  # the year 2096
_NO_NUMBER = 2**63  # behind all that have one


class Closed(NamedTuple):
    """One revision of one trade. Compares in the order in which trades count: by exit, ties by trade.

    Attributes:
        exit_ts: When it was closed (RFC 3339, microseconds, `Z`): compares as time.
        trade_no: The number in its id, for ties; ids without one come last.
        trade_id: Which trade.
        revision: The highest one of a trade counts.
        undone: It is no closed trade any more; nothing else of it counts.
        strategy: Whose.
        gross: Before costs.
        fees: Paid is positive.
        funding: Received is positive.
        risk_reward: Planned, from stop and target.
    """

    exit_ts: str
    trade_no: int
    trade_id: str
    revision: int = 1
    undone: bool = False
    strategy: str = UNNAMED
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    risk_reward: float | None = None

    @property
    def outcome(self) -> Outcome:
        """What it came to, for statistics."""
        return Outcome(gross=self.gross, fees=self.fees, funding=self.funding, risk_reward=self.risk_reward)

    @property
    def net(self) -> Decimal:
        """After costs."""
        return EXACT.add(EXACT.subtract(self.gross, self.fees), self.funding)

    @classmethod
    def of_record(
        cls, record: Mapping[str, Any], *, trade_id: object = None, revision: object = None, undone: bool | None = None
    ) -> Closed:
        """What a lifecycle record says; the keywords win over it.

        Raises:
            ValueError: It says too little to be counted.
            TypeError: It is no record.
        """
        name = clean_name(record.get("trade_id") if trade_id is None else trade_id)
        if not name:
            raise ValueError("a trade without trade_id")
        version = _revision(record.get("revision", 1) if revision is None else revision)
        gone = record.get("undone") is True if undone is None else undone
        if gone or record.get("kind") == "hedger_sim":  # a simulated hedge is no trade of the account's
            return cls("", _number_in(name), name, version, undone=True)
        gross, fees, funding = _money(record)
        return cls(
            exit_ts=_moment(record),
            trade_no=_number_in(name),
            trade_id=name,
            revision=version,
            strategy=clean_name(record.get("strategy_id")) or UNNAMED,
            gross=gross,
            fees=fees,
            funding=funding,
            risk_reward=_figure(record.get("risk_reward_ratio")),
        )

    @classmethod
    def of_row(cls, row: list[Any]) -> Closed:
        """The inverse of `row`."""
        ts, no, name, revision, undone, strategy, gross, fees, funding, risk_reward = row
        money = Decimal(gross), Decimal(fees), Decimal(funding)
        return cls(ts, no, name, revision, undone, strategy, *money, risk_reward)

    def row(self) -> list[Any]:
        """As JSON knows it, every digit kept."""
        return [*self[:6], *map(str, self[6:9]), *self[9:]]


def clean_name(value: object) -> str:
    r"""A name as text that can be written anywhere as UTF-8; empty if there is none.

    Example:
        >>> clean_name("bma"), clean_name(7), clean_name(None), clean_name("\ud800")
        ('bma', '7', '', '\\ud800')
    """
    if value is None:
        return ""
    said = value if type(value) is str else str(value)
    if not said.isascii():
        said = said.encode("utf-8", "backslashreplace").decode()
    return said[:_LONGEST_NAME]


def _number_in(trade_id: str) -> int:
    """Trades are called `t<number>`: the number orders them better than the text does."""
    digits = trade_id.removeprefix("t")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else _NO_NUMBER


def _revision(value: object) -> int:
    if type(value) is not int or not 0 < value < 2**53:
        raise ValueError(f"revision = {str(value)[:60]} of a trade; it takes a whole number from 1")
    return value


def _moment(record: Mapping[str, Any]) -> str:
    said = record.get("exit_ts")
    if said is None:
        said = record.get("ts")
    try:
        ns = epoch_ns(said)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"exit_ts = {str(said)[:60]!r} of a trade; it takes a time") from error
    if not 0 <= ns < _LATEST_NS:
        raise ValueError(f"exit_ts = {str(said)[:60]!r} of a trade is beyond any calendar")
    if type(said) is str and len(said) == _CANONICAL and said[-1] == "Z" and said[10] == "T":
        return said
    return rfc3339(ns)


def _money(record: Mapping[str, Any]) -> tuple[Decimal, Decimal, Decimal]:
    """Gross, fees and funding; what is missing follows from the others."""
    gross, net = _amount(record, "realized_pnl_usd"), _amount(record, "net_pnl_usd")
    fees, costs = _amount(record, "fees_usd"), _amount(record, "costs_total_usd")
    funding = _amount(record, "funding_usd") or ZERO
    if gross is None and net is None:
        raise ValueError("a trade without realized_pnl_usd and net_pnl_usd")
    if fees is None:
        if costs is None:
            costs = EXACT.subtract(gross, net) if gross is not None and net is not None else ZERO
        fees = EXACT.add(costs, funding)
    if gross is None:
        assert net is not None
        gross = EXACT.subtract(EXACT.add(net, fees), funding)
    return gross, fees, funding


def _amount(record: Mapping[str, Any], key: str) -> Decimal | None:
    value = record.get(key)
    if value is None:
        return None
    try:
        return number(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _figure(value: object) -> float | None:
    """A figure that may be missing; one that is no number is missing too."""
    if value is None:
        return None
    try:
        found = float(number(value))
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
