"""Which orders a tick was about: from an order's id to its trace.

The ids stand beside the reason to keep the trace, `order`, so that a tick without orders pays nothing for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .live import plain

if TYPE_CHECKING:
    from .tick import Tick

__all__ = ["name_order"]

_MOST_ORDERS: Final = 64


def name_order(tick: Tick, order_id: Any) -> None:
    """Keep the tick's trace for an order, and name it there: text, a list of texts once there are several."""
    tick.keep("order")
    why = tick.why
    if why is None or "order" not in why or order_id is None:
        return
    said = order_id if type(order_id) is str and order_id.isascii() else str(plain(order_id))
    known = why["order"]
    if known is None:
        why["order"] = said
    elif type(known) is not list:
        if known != said:
            why["order"] = [known, said]
    elif said not in known and len(known) < _MOST_ORDERS:
        known.append(said)
