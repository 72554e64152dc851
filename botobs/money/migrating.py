"""What a bot kept before there was a ledger, taken over at its first start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.accounting.exchange import read_trades
from botobs.accounting.importing import import_fills
from botobs.errors import BotobsError, ConfigError
from botobs.money.settled import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from botobs.accounting.importing import ImportReport
    from botobs.events import TradeClosed
    from botobs.faults import Faults
    from botobs.money.room import Money

__all__ = ["migrate"]

_MOST_WAITING = 5_000


def migrate(
    money: Money,
    path: Path,
    *,
    publish: Callable[[TradeClosed], object],
    relieve: Callable[[], object],
    faults: Faults,
    records: Iterable[Mapping[str, Any]] = (),
) -> ImportReport | None:
    """Take over the fills in a CSV file, if the ledger is empty; what came of it, else `None`.

    What cannot be booked is set aside in `refused`. Columns are known by their names; for others there is
    `botobs import-csv --map`.

    Args:
        money: The room, after `begin`.
        path: The file.
        publish: Takes the records of closed trades.
        relieve: Makes room in the queues; called now and then.
        faults: Is told what was not booked.
        records: All of `trade_lifecycle`, if there is anything.

    Raises:
        ConfigError: The ledger is empty, and the file cannot be read.
    """
    if money.ledger.next_seq > 1:
        return None
    try:
        with read_trades(path, format="csv") as rows:
            report = import_fills(money.account, rows)
    except BotobsError as error:
        raise ConfigError(f"migrate_csv = {str(path)!r} is wrong: {error}") from error
    for problem in report.problems:
        money.set_aside({"what": "fill", "reason": problem.reason, "said": {"file": str(path), "line": problem.line}})
    lost = report.conflicts + report.refused
    if lost:
        faults.say("migrate_csv", "refused", f"migrate_csv: {lost} rows of {path} were not booked; see refused.jsonl")
    for note in report.notes[:20]:
        faults.say("migrate_csv", note, f"migrate_csv: {note}")
    waiting = 0

    def paced(event: TradeClosed) -> None:
        nonlocal waiting
        publish(event)
        waiting += 1
        if waiting % _MOST_WAITING == 0:
            relieve()

    settle(money, records, paced)
    return report
