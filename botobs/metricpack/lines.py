"""A line of the ledger, with what its order was for, as the fields of an event."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from botobs.accounting.numbers import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OrderLike", "fields_of"]

_WANTED: Final = frozenset({"fill", "funding", "position", "void"})
_ALIKE: Final[tuple[str, ...]] = ("symbol", "ts", "order_id", "venue", "account", "multiplier", "inverse")


class OrderLike(Protocol):
    """What an order was announced with."""

    @property
    def plan_id(self) -> Any:
        """The plan it belongs to."""

    @property
    def action(self) -> Any:
        """What it does in that plan."""

    @property
    def reduces(self) -> Any:
        """Whether it can only reduce."""


def fields_of(line: Mapping[str, Any], order: OrderLike | None = None) -> dict[str, Any] | None:
    """What an event of this line says, under the names that `Names` knows; `None`: nothing for the pack.

    Simulated fills and those that the exchange had taken back before they were told are nothing.

    Args:
        line: A line of the ledger.
        order: The order it filled, if it was announced.

    Example:
        >>> line = {"seq": 7, "type": "fill", "symbol": "BTC-USD", "side": "buy", "size": "1", "price": "100"}
        >>> fields_of(line)["fill_id"]
        '-seq-7'

    Raises:
        KeyError: The line is damaged.
    """
    kind = line["type"]
    if kind not in _WANTED or line.get("kind") == "hedger_sim" or "voided_by" in line:
        return None
    if kind == "void" and "voids" not in line:  # its fill has not come, and will say so itself
        return None
    fields: dict[str, Any] = {name: line[name] for name in _ALIKE if line.get(name) is not None}
    fields |= {"type": kind, "executed": True}
    if line.get("position_side") is not None:
        fields["positionSide"] = line["position_side"]
    number = f"seq-{line['seq']}"  # the ledger has told duplicates already: each line is another event
    if kind == "funding":
        fields |= {"price": _more(line), "fill_id": number, "action": "FUNDING"}
    elif kind == "position":
        fields |= {"qty": line["qty"], "price": line["avg_px"], "fill_id": number, "action": "POSITION"}
    elif kind == "void":
        fields["fill_id"] = f"{line.get('fill_id') or ''}-seq-{line['voids']}"
    elif kind == "fill":
        fields |= {"side": line["side"], "qty": line["size"], "price": line["price"], "reduceOnly": False}
        fields["fill_id"] = f"{line.get('fill_id') or ''}-{number}"
        if "fee" in line:
            fields |= _fee(line)
        if order is not None:
            fields["reduceOnly"] = order.reduces is True
            told = {"plan_id": order.plan_id, "action": order.action}
            fields |= {name: value for name, value in told.items() if value is not None}
    return fields


def _more(line: Mapping[str, Any]) -> str:
    """What a funding line adds to those before it: a payment was accrued in part or whole."""
    if "reverses" not in line:
        return str(line["amount"])
    return str(EXACT.subtract(Decimal(line["amount"]), Decimal(line["reverses"])))


def _fee(line: Mapping[str, Any]) -> dict[str, Any]:
    where = line.get("fee_in") or "quote"
    return {"fee": line.get("fee_value", line["fee"]) if where == "quote" else line["fee"], "fee_in": where}
