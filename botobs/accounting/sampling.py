"""When the equity curve is due to be written down: at a change, not too often, and every hour."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botobs.accounting.numbers import EXACT, ZERO

if TYPE_CHECKING:
    from botobs.accounting.calendar import Calendar

__all__ = ["CurveSampler"]

_plus, _minus, _times = EXACT.add, EXACT.subtract, EXACT.multiply
_BPS = Decimal("0.0001")
_SECOND = 1_000_000_000
_SET_BACK = 60 * _SECOND  # later than this is not late but a clock set back
_EVER = 1 << 80


class CurveSampler:
    """Says when a sample is due, and why: `start`, `change` or `hour`.

    All times are of one clock, the bot's. Whoever writes a sample, for whatever reason, says so with `taken`.

    Args:
        calendar: Whose hours they are.
        threshold_bps: A change of at least so much of the last equity written is due; 0: every change.
        interval_ns: Changes are due no sooner after the last sample. One that has to wait is not forgotten, not even
            when equity comes back meanwhile.

    Attributes:
        since: From here on,
        until: and before this, nothing is `overdue`: so a fill need not ask.

    Example:
        >>> from botobs.accounting.calendar import Calendar
        >>> sampler = CurveSampler(Calendar())
        >>> sampler.taken(0, Decimal(10_000))
        >>> sampler.due(1_500_000_000, Decimal("10000.99")), sampler.due(1_500_000_000, Decimal(10_001))
        (None, 'change')
    """

    __slots__ = (
        "_by", "_calendar", "_equity", "_from", "_hour", "_interval", "_pending", "_share", "_ts", "_wake", "_within",
        "since", "until",
    )  # fmt: skip

    def __init__(
        self, calendar: Calendar, threshold_bps: Decimal | int = 1, interval_ns: int = _SECOND
    ) -> None:  # fmt: skip
        self._calendar = calendar
        self._share = _times(max(Decimal(threshold_bps), ZERO), _BPS)
        self._interval = max(interval_ns, 0)
        self._equity: Decimal | None = None
        self._ts = 0
        self._hour = 0
        self._pending = False
        # nothing is due before `_wake`, while a change waits for it or `_from` < equity < `_within`
        self._from = self._within = ZERO
        self._wake = self.since = self.until = -_EVER
        self._by = _EVER

    def wanted_by(self, ts_ns: int) -> None:
        """Somebody else has to be asked at this time too."""
        self._by = ts_ns
        self.until = min(self._wake, ts_ns)

    def due(self, ts_ns: int, equity: Decimal) -> str | None:
        """Why a sample is due now; `None`: none is."""
        if ts_ns < self._wake and (self._pending or self._from < equity < self._within):
            return None
        if self._equity is None:
            return "start"
        if equity != self._equity and not self._from < equity < self._within:
            self._pending = True
            self._wake = min(self._hour, self._ts + self._interval)
            self.until = min(self._wake, self._by)
        return self.overdue(ts_ns)

    def overdue(self, now_ns: int) -> str | None:
        """Why a sample is due though nothing happens: for a chore that asks now and then. `None`: none is."""
        if self._equity is None or self.since <= now_ns < self.until:
            return None
        if now_ns < self._ts - _SET_BACK:
            self._ts, self._hour = now_ns, self._calendar.next_boundary(now_ns, "hour")
        if now_ns >= self._hour:
            return "hour"
        soonest = self._ts + self._interval
        self._wake = min(self._hour, soonest) if self._pending else self._hour
        return "change" if self._pending and now_ns >= soonest else None

    @property
    def pending(self) -> bool:
        """Whether a change waits until it may be written."""
        return self._pending

    def taken(self, ts_ns: int, equity: Decimal) -> None:
        """A sample was written: the next change is one from here."""
        band = _times(equity.copy_abs(), self._share)
        self._equity = equity
        self._from, self._within = _minus(equity, band), _plus(equity, band)
        self._ts, self._pending = ts_ns, False
        self.since = ts_ns
        self._wake = self._hour = self._calendar.next_boundary(ts_ns, "hour")
        self.until = min(self._wake, self._by)
