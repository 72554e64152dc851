"""What made an open trade, event by event, so that one of them can be taken back."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.metricpack.event import Execution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MOST_EVENTS", "Journal"]

#: How many events of one trade can be taken back: the latest ones.
MOST_EVENTS: Final = 16

_PLAIN: Final = ("1", False)  # multiplier and inverse of nearly everything


class Journal:
    """The events of one open trade since a state that is kept with them.

    Attributes:
        base: What was held and which trade was open before them, as JSON; `None`: nothing and none.
        events: The events, packed: most of them are never looked at again.
    """

    __slots__ = ("base", "events")

    def __init__(self, base: bytes | None, events: Iterable[bytes] = ()) -> None:
        self.base = None if base is None else memoryview(base).tobytes()  # see `_packed`
        self.events = list(events)

    def add(self, event: Execution) -> bool:
        """One more; whether there is room for it."""
        if len(self.events) >= MOST_EVENTS:
            return False
        self.events.append(_packed(event))
        return True

    def without(self, fill_id: str) -> list[bytes] | None:
        """The events but the fill of that id; `None`: it is not among them."""
        for at, packed in enumerate(self.events):
            if orjson.loads(packed)[9] == fill_id:
                return self.events[:at] + self.events[at + 1 :]
        return None

    @staticmethod
    def unpacked(events: Iterable[bytes], place: tuple[str, str, str, str, str]) -> Iterator[Execution]:
        """The events as they were, at their place."""
        for packed in events:
            kind, side, qty, price, fee, fee_in, reduces, action, ts_ns, fill_id, *more = orjson.loads(packed)
            multiplier, inverse = more or _PLAIN
            yield Execution(
                kind, place[4], side, Decimal(qty), Decimal(price), Decimal(fee), fee_in, reduces, action, ts_ns,
                True, None, place[:4], fill_id, Decimal(multiplier), inverse,  # noqa: FBT003
            )  # fmt: skip

    def state(self) -> list[Any]:
        """All of it, for JSON."""
        base = None if self.base is None else orjson.Fragment(self.base)
        return [base, [orjson.Fragment(event) for event in self.events]]

    @classmethod
    def of_state(cls, state: list[Any]) -> Journal:
        """One that goes on where `state` was taken.

        Raises:
            ValueError, TypeError: That is no such state.
        """
        base, events = state
        return cls(
            None if base is None else orjson.dumps(base),
            (memoryview(orjson.dumps(event)).tobytes() for event in events),
        )


def _packed(event: Execution) -> bytes:
    told = [
        event.kind, event.side, str(event.qty), str(event.price), str(event.fee), event.fee_in, event.reduces,
        event.action, event.ts_ns, event.fill_id,
    ]  # fmt: skip
    if event.inverse or event.multiplier != 1:
        told += [str(event.multiplier), event.inverse]
    # a copy of its true size: orjson's own keeps a kilobyte busy, and there may be a hundred thousand of these
    return memoryview(orjson.dumps(told)).tobytes()
