"""For commands that write into a data directory: an observer that is built, and does not run.

It holds the directory, books through the bot's own account, writes the bot's own streams and keeps the state for the
next start; it has no threads at work, opens no port and sends nothing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import attrs
import orjson

from botobs.accounting.ledger import Ledger
from botobs.cli.place import has_ledger, settings_of, terms_in
from botobs.datadir import atomic_write
from botobs.money.settled import Settled, settle
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from botobs.config import Settings
    from botobs.events import TradeClosed
    from botobs.money.room import Money
    from botobs.observer import Observer

__all__ = ["Writing", "is_whole", "writing"]

_MOST_WAITING = 5_000
_TIMEOUT_S = 60.0


class Writing:
    """What a command writes with.

    Attributes:
        money: The bot's money room.
        observer: Everything else.
        whole: No line of the ledger was lost, changed or reordered before.
    """

    def __init__(self, observer: Observer, path: Path, *, whole: bool) -> None:
        self.observer = observer
        self.money: Money = observer._money  # noqa: SLF001  # the command stands in the bot's place
        self.whole = whole
        self._path = path
        self._waiting = 0

    def settle_trades(self) -> Settled:
        """Have a record for every trade that the ledger has closed, as it stands there."""
        records = StreamReader(self._path).read("trade_lifecycle")
        done = settle(self.money, records, self._publish, judge=self.whole)
        self.observer.flush(_TIMEOUT_S)
        if done.added or done.revised or done.undone:
            self.observer.performance.rebuild()
        return done

    def _publish(self, event: TradeClosed) -> None:
        """Publish, and leave no more waiting than there is room for."""
        self.observer.bus.publish(event)
        self._waiting += 1
        if self._waiting >= _MOST_WAITING:
            self._waiting = 0
            self.observer.flush(_TIMEOUT_S)


@contextlib.contextmanager
def writing(options: argparse.Namespace) -> Iterator[Writing]:
    """Hold the data directory for a while.

    Raises:
        ConfigError: A setting is wrong, or a bot runs there.
    """
    from botobs.observer import Observer  # noqa: PLC0415  # exporters load here, after the file was looked at
    from botobs.parts import Parts  # noqa: PLC0415  # as above

    settings = _settings(options)
    assert settings.data_dir is not None
    whole = is_whole(settings.data_dir)
    run = settings.data_dir / "state" / "run.json"
    before = _content(run)
    with contextlib.ExitStack() as undo:
        observer = Observer(settings, Parts(bare=True), undo)
        undo.pop_all()
    try:
        found = Writing(observer, observer.data_dir, whole=whole)
        found.money.begin()
        yield found
    finally:
        observer.end(_TIMEOUT_S, how=f"botobs {options.command}")
        _as_before(run, before, observer.run_id)


def is_whole(path: Path) -> bool:
    """Whether no line of the ledger was lost, changed or reordered; there need not be one."""
    return not has_ledger(path) or Ledger(path, read_only=True).verify().ok


def _settings(options: argparse.Namespace) -> Settings:
    """The bot's, as far as they say how to count and where to write; nothing listens and nothing is sent."""
    told = settings_of(options)
    path = told.data_dir
    assert path is not None
    terms = terms_in(path, told)
    return attrs.evolve(
        told,
        bot=_bot(path),
        mode="live",
        ledger=True,
        durability="fsync",
        prometheus_port=None,
        otlp_endpoint=None,
        tracer_provider=None,
        meter_provider=None,
        migrate_csv=None,
        backup_url=None,
        starting_equity=terms.starting_equity,
        currency=terms.currency,
        cost_basis="fifo" if terms.cost_basis == "fifo" else "average",
        timezone=terms.timezone,
        sharpe_bucket="hour" if terms.sharpe_bucket == "hour" else "day",
        days_per_year=terms.days_per_year,
    )


def _bot(path: Path) -> str:
    """The bot that wrote there last."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        found = orjson.loads(_content(path / "state" / "run.json")[0]).get("bot")
        if isinstance(found, str) and found:
            return found
    return "botobs"


def _content(path: Path) -> tuple[bytes, int]:
    try:
        return path.read_bytes(), path.stat().st_mtime_ns
    except OSError:
        return b"", 0


def _as_before(run: Path, before: tuple[bytes, int], run_id: str) -> None:
    """A bot that crashed before has to hear of it at its next start, whatever was done in between."""
    content, seen_ns = before
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if content and orjson.loads(_content(run)[0]).get("run_id") == run_id:
            atomic_write(run, content)
            os.utime(run, ns=(seen_ns, seen_ns))
