"""Bars from files: a table of bars, or the bars that a bot has reported."""

from __future__ import annotations

import csv
import math
from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from botobs.clock import epoch_ns
from botobs.config.values import seconds
from botobs.errors import ConfigError
from botobs.metricpack.event import loads
from botobs.metricpack.market import MOST, Bar
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["BotBars", "FileBars", "bar_of"]

_KEPT: Final = 20_000  # bars of one symbol
_end = attrgetter("end_ns")
_start = attrgetter("start_ns")


class _Shelf:
    """The bars of every symbol, in the order of their ends."""

    def __init__(self) -> None:
        self._bars: dict[str, list[Bar]] = {}

    def put(self, symbol: str, bar: Bar) -> None:
        """One more bar; one that ends when another did takes its place."""
        bars = self._bars.setdefault(symbol, [])
        at = len(bars) if not bars or bars[-1].end_ns < bar.end_ns else bisect_left(bars, bar.end_ns, key=_end)
        if at < len(bars) and bars[at].end_ns == bar.end_ns:
            bars[at] = bar
        else:
            bars.insert(at, bar)
        if len(bars) > _KEPT * 2:
            del bars[:_KEPT]

    def last_end(self, symbol: str) -> int | None:
        bars = self._bars.get(symbol)
        return bars[-1].end_ns if bars else None

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:
        bars = self._bars.get(symbol, [])
        end = bisect_right(bars, ts_ns, key=_end)
        return bars[max(end - MOST, 0) : end]

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:
        bars = self._bars.get(symbol, [])
        first, last = bisect_left(bars, start_ns, key=_start), bisect_right(bars, end_ns, key=_end)
        return bars[first:last]


class FileBars:
    """A table of bars: CSV with a header, or JSON lines. A `Market`; the file is read once.

    Columns: `symbol`, `high`, `low`, `close`; the beginning as `start`, `open_time` or `ts`, the end as `end` or
    `close_time`, or else by `interval`.

    Args:
        path: The file.
        interval: How long a bar is, where the file does not say when it ends (`5m`).

    Attributes:
        skipped: How many rows were no bars.

    Raises:
        ConfigError: The file cannot be read, or holds no bar at all.
    """

    def __init__(self, path: Path, *, interval: str | None = None) -> None:
        self.skipped = 0
        self._shelf = _Shelf()
        length = None if interval is None else round(seconds(interval) * 1e9)
        found = 0
        try:
            for row in _rows(path):
                told = None if row is None else bar_of(row, length)
                if told is None:
                    self.skipped += 1
                else:
                    found += 1
                    self._shelf.put(*told)
        except (OSError, UnicodeError, csv.Error) as error:
            raise ConfigError(f"bars = {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if not found:
            raise ConfigError(
                f"bars = {path} holds no bar: it takes symbol, start, high, low, close, and end or interval"
            )

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:
        """See `Market.before`."""
        return self._shelf.before(symbol, ts_ns)

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """See `Market.during`."""
        return self._shelf.during(symbol, start_ns, end_ns)


class BotBars:
    """The bars that a bot has reported with `bar`, from its stream `price_events`. A `Market`.

    Args:
        data_dir: The bot's data directory.
        interval: How long a bar is; `None`: from the one before it to its own time.
    """

    def __init__(self, data_dir: Path, *, interval: str | None = None) -> None:
        self._shelf = _Shelf()
        self._news: Callable[[], Iterator[dict[str, Any]]] = StreamReader(data_dir).follower("price_events")
        self._length = None if interval is None else round(seconds(interval) * 1e9)

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:
        """See `Market.before`."""
        self._read()
        return self._shelf.before(symbol, ts_ns)

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """See `Market.during`."""
        self._read()
        return self._shelf.during(symbol, start_ns, end_ns)

    def _read(self) -> None:
        try:
            for record in self._news():
                if record.get("event") == "bar":
                    self._put(record)
        except OSError:  # a disk that fails: what was read until now is what there is
            return

    def _put(self, record: Mapping[str, Any]) -> None:
        try:
            symbol, end = record["symbol"], epoch_ns(record.get("bar_ts") or record["ts"])
            before = self._shelf.last_end(symbol)
            start = end - self._length if self._length is not None else end if before is None else min(before, end)
        except Exception:  # no bar
            return
        bar = _bar(start, end, record)
        if bar is not None:
            self._shelf.put(symbol, bar)


def bar_of(row: Mapping[str, Any], length: int | None = None) -> tuple[str, Bar] | None:
    """The symbol and the bar that a row tells; `None`: it tells none.

    Example:
        >>> row = {"symbol": "BTCUSDT", "open_time": 1767323100000, "high": 2, "low": 1, "close": 1.5}
        >>> bar_of(row, 60_000_000_000)[1].close
        1.5
    """
    try:
        symbol = str(row["symbol"]).strip()
        start = _time(row, "start", "open_time", "ts", "time")
        end = _time(row, "end", "close_time")
        if start is None or not symbol:
            return None
        if end is None:
            told = row.get("interval")
            length = length if told in (None, "") else round(seconds(told) * 1e9)
            if length is None:
                return None
            end = start + length
        bar = _bar(start, end, row)
    except Exception:  # whatever a file may hold
        return None
    return None if bar is None else (symbol, bar)


def _bar(start: int, end: int, row: Mapping[str, Any]) -> Bar | None:
    high, low, close = (float(row[name]) for name in ("high", "low", "close"))
    if not (0 < low <= close <= high < math.inf) or end < start:
        return None
    return Bar(start, end, high, low, close)


def _time(row: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = row.get(name)
        if value not in (None, ""):
            if isinstance(value, str) and value.strip().replace(".", "", 1).isdigit():
                value = float(value) if "." in value else int(value)
            return epoch_ns(value)
    return None


def _rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            yield from csv.DictReader(file)
            return
        yield from _objects(file)


def _objects(lines: Iterable[str]) -> Iterator[Mapping[str, Any] | None]:
    for line in lines:
        if line.strip():
            try:
                yield loads(line)
            except (ValueError, RecursionError):
                yield None
