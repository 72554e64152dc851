"""Which predictions are waited for: the next one of a symbol and source when the one before has come due.

Predictions that overlap tell nearly the same story; counted as if each were news, they would make the lines far too
sure of themselves. So the usual call on the bot's thread is a look into a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.routes import known_name, name
from botobs.money.tail import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.accounting.account import Account
    from botobs.events.money import OrderAnnounced
    from botobs.faults import Faults
    from botobs.insight.calibration import Calibration
    from botobs.money.tail import Tail

__all__ = ["Taking", "newest"]

_FOR_EVER: Final = 1 << 62
_NOTHING_NS: Final = 1_000_000_000  # how long nobody looks again where there was no price
_MOST: Final = 4_000


class Taking:
    """Takes predictions from signals and orders, and leaves them to the background.

    Args:
        calibration: Gets them.
        account: Whose marks they begin at.
        tail: Has it done, in the order in which bars and predictions came.
        now: Steady nanoseconds.
        wall: Nanoseconds since 1970.
        faults: Counts.

    Attributes:
        on_taken: Told in the background, too: symbol, source, prediction, price, time, and the newest price then.
    """

    def __init__(
        self,
        calibration: Calibration,
        account: Account,
        tail: Tail,
        *,
        now: Callable[[], int],
        wall: Callable[[], int],
        faults: Faults,
    ) -> None:
        self._calibration = calibration
        self._account = account
        self._tail = tail
        self._now = now
        self._wall = wall
        self._faults = faults
        self._until: dict[tuple[Any, Any], int] = {}  # steady time before which no further one is taken
        self._bars: dict[str, dict[tuple[Any, Any], int]] = {}  # bars that have to finish first
        self.on_taken: Callable[..., object] | None = None
        calibration.on_over = self.forget

    def signal(self, symbol: Any, source: Any, pred: Any) -> None:
        """A signal predicts a move. On the hot path."""
        try:
            if self._now() < self._until[symbol, source]:
                return
        except Exception:  # noqa: S110  # the first of its kind, or one without a hash
            pass
        self._take(symbol, source, pred, None)

    def order(self, event: OrderAnnounced) -> None:
        """An order was announced, with a prediction or without."""
        if event.pred_bps is not None and self._now() >= self._until.get((event.symbol, event.source), 0):
            self._take(event.symbol, event.source, event.pred_bps, event.decision_px)

    def waits(self, symbol: Any, source: Any) -> bool:
        """Whether a prediction of that symbol and source was taken and has not come due."""
        return self._now() < self._until.get((symbol, source), 0) < _FOR_EVER or bool(
            (waiting := self._bars.get(symbol)) and (symbol, source) in waiting
        )

    def finished(self, symbol: str) -> None:
        """A bar was told; on the bot's thread, before anything that follows from it."""
        waiting = self._bars.get(symbol)
        if not waiting:
            return
        for key, left in list(waiting.items()):
            if left > 1:
                waiting[key] = left - 1
            else:
                waiting.pop(key, None)
                self._until.pop(key, None)

    def _take(self, symbol: Any, source: Any, pred: Any, price: Any) -> None:
        try:
            over = self._calibration.horizon
            if len(self._until) > _MOST:
                self.forget()
            named = known_name(symbol) if type(symbol) is str else name(symbol)
            said = None if source is None else name(source)
            key, now = _key(symbol, source, named, said), self._now()
            if now < self._until.get(key, 0):  # only where the bot's own values have no hash
                return
            if named is None or not (over.bars or over.ns):
                self._until[key] = _FOR_EVER
                return
            if not self._calibration.is_prediction(pred):
                return
            began = self.newest(named) if price is None else price
            if began is None:
                self._until[key] = now + _NOTHING_NS
                return
            if over.bars:
                self._until[key] = _FOR_EVER
                self._bars.setdefault(named, {})[key] = over.bars
            else:
                self._until[key] = now + over.ns - over.ns // 10  # a loop of the same pace may be a little early
            if self._calibration.horizon is not over:  # another thread changed it just now
                self.forget()
            taken = (named, said, pred, began, self._wall())
            self._tail.put(Work(self._calibration.predicted, taken))
            if self.on_taken is not None:
                self._tail.put(Work(self.on_taken, (*taken, began if price is None else self.newest(named))))
        except Exception as error:
            self._faults.error("calibration", error)

    def newest(self, symbol: str) -> Any:
        """The newest price, without waiting for anybody."""
        return newest(self._account, symbol)

    def forget(self) -> None:
        """Take the next prediction of each, whatever is waited for."""
        self._until.clear()
        self._bars.clear()


def _key(symbol: Any, source: Any, named: str | None, said: str | None) -> tuple[Any, Any]:
    """What the bot says, as it says it; its text, where that has no hash."""
    key = (symbol, source)
    try:
        hash(key)
    except Exception:
        return named, said
    return key


def newest(account: Account, symbol: str) -> Any:
    """The newest price of a symbol, `None` if there is none; without waiting for whoever has the account."""
    marks, key = account.marks, (None, symbol)
    found: Any = marks.noted.get(key)
    if found is None:
        found = marks.prices.get(key)
    if found is None and account.lock.acquire(blocking=False):  # only of a venue
        try:
            found = marks.get(None, symbol)
        finally:
            account.lock.release()
    return found if type(found) is not tuple else sum(found) / len(found)
