"""First in, first out: the lots of an open position."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from botobs.accounting.numbers import ZERO, divide

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from botobs.accounting.instruments import Instrument

__all__ = ["Lot", "Lots", "Mark"]

Lot: TypeAlias = "tuple[Decimal, Decimal, Decimal, int]"
"""Signed quantity, worth, price, and the number of the entry that opened it (0: not known)."""
Mark: TypeAlias = "tuple[int, int, Lot | None]"
"""A state that the lots can go back to."""


class Lots:
    """A queue that remembers where it was.

    Lots are only ever added at the end and taken from the front, so that a state is two positions and what is left
    of the first lot: marking one costs the same with a million lots open as with one.
    """

    __slots__ = ("_dropped", "_head", "_items", "_rest")

    def __init__(self, open_lots: Iterable[Lot] = ()) -> None:
        self._items: list[Lot] = list(open_lots)
        self._dropped = 0  # how many were in front of the first item and can not come back
        self._head = 0
        self._rest: Lot | None = None  # what is left of the lot at the head, once a part of it is gone

    def add(self, qty: Decimal, worth: Decimal, price: Decimal, seq: int = 0) -> None:
        """Put a lot at the end."""
        self._items.append((qty, worth, price, seq))

    def release(self, qty: Decimal, instrument: Instrument) -> Decimal:
        """Take `qty`, of the lots' own sign and at most what is open, from the front; what it was worth."""
        items, head, rest, left, released = self._items, self._head, self._rest, qty, ZERO
        while left:
            lot_qty, worth, price, seq = rest or items[head]
            if abs(lot_qty) <= abs(left):
                released += worth
                left -= lot_qty
                head, rest = head + 1, None
                continue
            part = divide(worth * left, lot_qty) if instrument.inverse else instrument.worth(left, price)
            released += part
            rest = (lot_qty - left, worth - part, price, seq)
            break
        self._head, self._rest = head, rest
        return released

    def clear(self) -> None:
        """Take all there is."""
        self._head, self._rest = len(self._items), None

    def open(self) -> tuple[Lot, ...]:
        """The open lots, the oldest first."""
        found = self._items[self._head :]
        if self._rest is not None:
            found[0] = self._rest
        return tuple(found)

    def mark(self) -> Mark:
        """The state now, for `back`."""
        return self._dropped + self._head, self._dropped + len(self._items), self._rest

    def back(self, mark: Mark) -> None:
        """Be as at `mark`, which was taken after the last one given to `forget`, or is that one."""
        head, end, self._rest = mark
        self._head = head - self._dropped
        del self._items[end - self._dropped :]

    def forget(self, mark: Mark) -> None:
        """Nobody goes back before `mark` any more."""
        gone = mark[0] - self._dropped
        # half of all at a time: what stays has to be moved, which must not cost more the more is open
        if gone > 64 and gone * 2 > len(self._items):
            del self._items[:gone]
            self._dropped += gone
            self._head -= gone

    def copy(self) -> Lots:
        """Lots that go their own way from here, with the same marks."""
        other = Lots(self._items)
        other._dropped, other._head, other._rest = self._dropped, self._head, self._rest
        return other
