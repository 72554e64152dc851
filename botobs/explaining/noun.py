"""The noun `explain`, for one observer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botobs.explaining.finding import UnknownTradeError
from botobs.stages.engine import ENGINES

if TYPE_CHECKING:
    from botobs.explaining.deciding import Decisions
    from botobs.explaining.parts import Explained
    from botobs.faults import Faults
    from botobs.money.room import Money
    from botobs.stages.engine import Engine
    from botobs.streams.store import StreamStore

__all__ = ["ExplainNouns"]

_WRITE_S = 1.0


class ExplainNouns:
    """`explain`."""

    _money: Money
    _own: Engine
    _store: StreamStore
    _decisions: Decisions
    faults: Faults

    @property
    def data_dir(self) -> Any:
        """Where everything is written."""
        raise NotImplementedError

    def explain(self, trade_id: Any) -> Explained | None:
        """Where the result of a trade came from, step by step. It reads files: nothing for the middle of a tick.

        Args:
            trade_id: Its name (`t123`), a beginning of it that only one has, `last`, or the id of an order or a fill
                of it.

        Returns:
            The explanation; `None` if no trade, or not only one, is called so: the reason is logged.
        """
        from botobs.explaining.explainer import Explainer  # noqa: PLC0415 - only for those who ask
        from botobs.explaining.remembered import Remembered  # noqa: PLC0415
        from botobs.explaining.streams import Streams  # noqa: PLC0415

        try:
            money = self._money
            money.tail.settle()
            facts: Streams | Remembered = Remembered(money.orders, money.trades, self._decisions)
            if self.data_dir is not None:
                if self._own in ENGINES:
                    self._store.flush(time.monotonic() + _WRITE_S, sync=False)
                facts = Streams(self.data_dir)
            return Explainer(money.account, facts).explain(trade_id)
        except UnknownTradeError as unknown:
            self.faults.say("explain", str(unknown)[:200], f"explain: {unknown}")
        except Exception as error:
            self.faults.error("explain", error)
        return None
