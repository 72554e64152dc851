"""What the switch lets through, and what it says to the rest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from botobs.events.switch import KillSwitchRefused
from botobs.safety.arming import Arming
from botobs.safety.callbacks import flattening
from botobs.safety.refusals import Refusals
from botobs.safety.said import halted, line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.safety.pace import Pace

__all__ = ["Gate"]


class Gate(Arming):
    """Every order comes by here: `check` and `guard`."""

    def __init__(
        self,
        *,
        folder: Path | None,
        pace: Pace,
        faults: Faults,
        publish: Callable[[Event], object],
        has_fills: bool,
        threaded: bool,
        reducing: Callable[[str], bool | None],
        order_of: Callable[[str], Mapping[str, Any] | None],
    ) -> None:
        super().__init__(
            folder=folder, pace=pace, faults=faults, publish=publish, has_fills=has_fills, threaded=threaded
        )
        self._reducing = reducing
        self._order_of = order_of
        self._refusals = Refusals()

    def check(self, reduces: bool = False) -> None:
        """Raise unless an order may be sent now.

        Args:
            reduces: The order makes a position smaller: it passes in `reduce_only`.

        Raises:
            TradingHalted: It may not; the error says state, reason and since when.
        """
        if self.shut:
            self._stop(None, reduces=reduces, stage=None)

    def guard(self, order_id: str | None = None, *, reduces: bool = False, stage: str | None = None) -> None:
        """As `check`, for a stage and its order, which is kept in the record if it is refused.

        Raises:
            TradingHalted: It may not be sent.
        """
        if self.shut:
            self._stop(order_id, reduces=reduces, stage=stage)

    def allows(self, reduces: bool = False) -> bool:
        """Whether an order may be sent now."""
        level = self._standing.level
        return not level or (bool(reduces) and (level == 1 or self._flattens()))

    def _flattens(self) -> bool:
        """Whether this is a callback of the trip that holds, or something it started."""
        mark = flattening.get()
        return mark is not None and mark.switch is self and mark.epoch == self._epoch

    def _stop(self, order_id: str | None, *, reduces: bool, stage: str | None) -> None:
        standing = self._standing
        if not standing.level:
            if self._caller.note_loop():
                self._look_at_orders()
            return
        declared = bool(reduces) or (order_id is not None and self._reduces(order_id))
        if declared and (standing.level == 1 or self._flattens()):
            return
        try:
            self._refused(order_id, declared=declared, stage=stage)
        except Exception as error:  # the record is one thing, to refuse is another
            with contextlib.suppress(Exception):
                self._faults.error("kill_switch.record", error)
        raise halted(standing)

    def _reduces(self, order_id: str) -> bool:
        try:
            return self._reducing(order_id) is True
        except Exception as error:
            with contextlib.suppress(Exception):
                self._faults.error("kill_switch", error)
            return False

    def _refused(self, order_id: str | None, *, declared: bool, stage: str | None) -> None:
        order_id = None if order_id is None else line(order_id, 200)
        suppressed = self._refusals.admit(order_id, self._pace.steady())
        if suppressed is None:
            return
        standing = self._standing
        order = None if order_id is None else self._order_of(order_id)
        self._publish(
            KillSwitchRefused(
                ts_ns=self._pace.wall(), state=standing.state, reason=standing.reason, since=standing.since,
                order_id=order_id, order=None if order is None else dict(order), stage=stage, reduces=declared,
                symbol=None if order is None else order.get("symbol"), suppressed=suppressed or None,
            )
        )  # fmt: skip
