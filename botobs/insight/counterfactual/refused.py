"""Refusals that run: the same one again is the same one, and one that was filled after all was none."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from botobs.insight.counterfactual.running import Refusal

__all__ = ["Refused"]

_MOST_ORDERS: Final = 4_096


class Refused:
    """Which refusals run. Not locked."""

    def __init__(self) -> None:
        self._by_order: OrderedDict[str, Refusal | None] = OrderedDict()  # `None`: it came to its end
        self._alike: dict[tuple[Any, ...], Refusal] = {}

    def __len__(self) -> int:
        return len(self._alike)

    def of(self, order_id: str) -> Refusal | None:
        """The refusal of this order that runs."""
        return self._by_order.get(order_id)

    def again(self, refusal: Refusal) -> bool:
        """Whether that is one which is known already; then it is counted there."""
        key = refusal.order_id
        if key is not None and key in self._by_order:
            known = self._by_order[key]
            if known is not None:
                known.repeats += 1
            return True
        same = self._alike.get(refusal.alike)
        if same is None:
            return False
        same.repeats += 1
        self._name(key, same)
        return True

    def put(self, refusal: Refusal) -> None:
        """A new one runs."""
        self._alike[refusal.alike] = refusal
        self._name(refusal.order_id, refusal)

    def end(self, refusal: Refusal) -> None:
        """It does not run any more."""
        if self._alike.get(refusal.alike) is refusal:
            del self._alike[refusal.alike]
        for order_id in refusal.orders:
            if self._by_order.get(order_id) is refusal:
                self._by_order[order_id] = None

    def _name(self, order_id: str | None, refusal: Refusal) -> None:
        if order_id is None:
            return
        refusal.orders.add(order_id)
        self._by_order[order_id] = refusal
        if len(self._by_order) > _MOST_ORDERS:
            self._by_order.popitem(last=False)
