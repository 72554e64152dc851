"""An account to look at: read from a data directory, while a bot may be running on it."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.account import Account, Terms
from botobs.accounting.checkpoint import restore, state_in
from botobs.accounting.ledger import Ledger
from botobs.accounting.marks import Currencies
from botobs.accounting.samples import Samples
from botobs.accounting.summing import totals
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from botobs.accounting.totals import Totals

__all__ = ["OpenedAccount", "history_of", "kept_terms", "open_account"]


@attrs.frozen
class OpenedAccount:
    """What a data directory says of the account.

    Attributes:
        account: Its books.
        samples: Its written equity curve.
        ledger: Its ledger, to read.
        extra: What else the checkpoint had.
        damaged: Lines of the ledger that could not be read, by number; they are in no figure.
    """

    account: Account
    samples: Samples
    ledger: Ledger
    extra: dict[str, Any]
    damaged: tuple[int, ...] = ()

    def totals(self, window: Any = "all", *, kinds: Collection[str] | None = None) -> Totals:
        """What a window came to.

        Raises:
            ValueError: It is no window.
        """
        return totals(self.account, window, samples=self.samples, kinds=kinds)


def open_account(
    data_dir: Path, *, terms: Terms | None = None, wall: Callable[[], int] = time.time_ns
) -> OpenedAccount:
    """Read an account; nothing is written.

    Args:
        data_dir: Where the bot keeps its data.
        terms: How to count; `None`: as the bot did when it last kept its state, so that both agree.
        wall: Tells the time at which windows end.

    Raises:
        OSError: It cannot be read.
    """
    folder = data_dir / "state"
    ledger = Ledger(data_dir, read_only=True)
    account = Account(ledger, terms or kept_terms(folder), wall, snapshots=folder / "books.jsonl", writing=False)
    samples = Samples(history_of(StreamReader(data_dir)))
    restored = restore(account, folder, samples)
    return OpenedAccount(account, samples, ledger, restored.extra, tuple(restored.composed.damaged))


def history_of(reader: StreamReader) -> Callable[[int, int | None], Any]:
    """Reads the written equity curve from one time, in nanoseconds, up to another."""
    return lambda start, end: reader.read("equity_curve", _moment(start), None if end is None else _moment(end + 999))


def kept_terms(folder: Path) -> Terms:
    """How the bot counted when it last kept its state."""
    state = state_in(folder) or {}
    start, told = state.get("starting_equity"), state.get("terms") or {}
    return Terms(
        starting_equity=None if start is None else Decimal(start),
        currency=state.get("currency") or "USD",
        cost_basis=state.get("cost_basis") or "average",
        currencies=Currencies(told.get("currencies")),
        **{name: told[name] for name in ("timezone", "sharpe_bucket", "days_per_year") if name in told},
    )


def _moment(ns: int) -> dt.datetime:
    """A time as the reader takes it, whatever its magnitude."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=max(ns, 0) // 1000)
