"""The ledger's lines as a comparison needs them: fills, and which of them were voided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.exchange.fills import ExchangeFill
from botobs.accounting.instruments import Instrument, guess
from botobs.accounting.numbers import number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["Waiting", "fill_of", "instrument_of", "line_of"]

_TEXTS = ("ts", "symbol", "fee_asset", "order_id", "fill_id", "role", "account", "venue")


def line_of(given: Any) -> tuple[int, dict[str, Any] | None]:
    """A ledger line, however the ledger hands it out: a mapping, its bytes, or the pair of seq and bytes."""
    seq = 0
    if isinstance(given, tuple) and len(given) == 2:
        seq, given = given
    try:
        line = orjson.loads(given) if isinstance(given, bytes | bytearray | memoryview | str) else given
        if not isinstance(line, dict):
            return seq, None
        return int(line.get("seq") or seq), line
    except ValueError:
        return seq, None


def fill_of(line: Mapping[str, Any], seq: int) -> ExchangeFill:
    """A fill line as a fill; its `line` is its seq.

    Raises:
        ValueError: It is not one that the ledger wrote.
        KeyError: It lacks what every fill has.
    """
    side = line["side"]
    if side not in ("buy", "sell"):
        raise ValueError("no side")
    for name in _TEXTS:
        if not isinstance(line.get(name, ""), str):
            raise ValueError(f"{name} is no text")  # noqa: TRY004  # a damaged line, not a mistake of a caller
    fee, qty, price = line.get("fee"), number(line["size"]), number(line["price"])
    if qty <= 0 or price <= 0:
        raise ValueError("not above 0")
    return ExchangeFill(
        ts=line["ts"],
        symbol=line["symbol"],
        side=side,
        qty=qty,
        price=price,
        fee=None if fee is None else number(fee),
        fee_asset=line.get("fee_asset"),
        order_id=line.get("order_id"),
        fill_id=line.get("fill_id"),
        role=line.get("role"),
        account=line.get("account"),
        venue=line.get("venue"),
        position_side=line.get("position_side"),
        line=seq,
    )


def instrument_of(line: Mapping[str, Any]) -> Instrument:
    """How the line's symbol settles: what it says of it, else what its name tells."""
    multiplier: Decimal | None = None if line.get("multiplier") is None else number(line["multiplier"])
    return guess(
        line["symbol"],
        multiplier=multiplier,
        inverse=line.get("inverse"),
        base=line.get("base"),
        quote=line.get("quote"),
    )


class Waiting:
    """Voids that came before the fill they remove."""

    def __init__(self) -> None:
        self._voids: dict[str, list[Mapping[str, Any]]] = {}

    def put(self, void: Mapping[str, Any]) -> None:
        """Keep one until its fill comes."""
        self._voids.setdefault(str(void.get("fill_id")), []).append(void)

    def take(self, fill: ExchangeFill) -> Mapping[str, Any] | None:
        """The void that removes this fill, used up; `None`: it stays."""
        if not self._voids or fill.fill_id is None:
            return None
        waiting = self._voids.get(fill.fill_id, [])
        for void in waiting:
            told = ((name, void.get(name)) for name in ("order_id", "symbol", "account", "venue", "side"))
            if all(value is None or value == getattr(fill, name) for name, value in told):
                waiting.remove(void)
                return void
        return None
