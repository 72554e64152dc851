"""How the fields of an event are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Names"]


@attrs.frozen(kw_only=True)
class Names:
    """How the fields of an event are called; of several names the first one that says something counts.

    Attributes:
        json: Fields that may hold the whole event as JSON; what stands beside it wins.
        within: Fields that may hold more of the event's fields, as JSON or as an object; what stands beside them wins.

    Example:
        >>> Names.of({"qty": "lastQty", "plan_id": ["plan", "plan_id"]}).qty
        ('lastQty',)
    """

    json: tuple[str, ...] = ("data", "payload", "json", "event")
    within: tuple[str, ...] = ("metadata", "details", "more")
    kind: tuple[str, ...] = ("type",)
    symbol: tuple[str, ...] = ("symbol",)
    side: tuple[str, ...] = ("side",)
    qty: tuple[str, ...] = ("filled_qty", "executed_qty", "executedQty", "qty", "quantity", "size", "amount")
    price: tuple[str, ...] = ("avg_price", "avgPrice", "fill_price", "price", "avg_px")
    fee: tuple[str, ...] = ("fee", "commission")
    fee_asset: tuple[str, ...] = ("fee_asset", "feeAsset", "commissionAsset")
    fee_in: tuple[str, ...] = ("fee_in",)
    ts: tuple[str, ...] = ("ts", "timestamp", "executed_at", "time", "transactTime")
    executed: tuple[str, ...] = ("executed",)
    reduces: tuple[str, ...] = ("reduceOnly", "reduce_only", "reduces")
    action: tuple[str, ...] = ("action", "exit_action")
    plan_id: tuple[str, ...] = ("plan_id", "planId")
    order_id: tuple[str, ...] = ("order_id", "orderId")
    fill_id: tuple[str, ...] = ("fill_id", "fillId", "trade_id", "tradeId")
    bot: tuple[str, ...] = ("bot",)
    venue: tuple[str, ...] = ("venue", "exchange")
    account: tuple[str, ...] = ("account",)
    position_side: tuple[str, ...] = ("positionSide", "position_side")
    multiplier: tuple[str, ...] = ("multiplier",)
    inverse: tuple[str, ...] = ("inverse",)
    index: Mapping[str, tuple[tuple[str, int], ...]] = attrs.field(init=False, repr=False, eq=False)

    @index.default
    def _make_index(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """What each name in an event may say, and how far back in its row it stands."""
        found: dict[str, tuple[tuple[str, int], ...]] = {}
        for field in attrs.fields(type(self)):
            if field.init:
                for rank, name in enumerate(getattr(self, field.name)):
                    found[name] = (*found.get(name, ()), (field.name, rank))
        return found

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Names:
        """The names that are told, the others as they are.

        Raises:
            ValueError: There is no such field, or what is told is no name.
        """
        known = {field.name for field in attrs.fields(cls) if field.init}
        given: dict[str, tuple[str, ...]] = {}
        for field, names in told.items():
            if field not in known:
                raise ValueError(f"there is no field {field!r}; the fields are {', '.join(sorted(known))}")
            listed = (names,) if isinstance(names, str) else names
            if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) and one for one in listed):
                raise ValueError(f"{field}: it takes a name or a list of names")
            given[field] = tuple(listed)
        return cls(**given)
