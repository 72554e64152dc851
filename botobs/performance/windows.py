"""Which trades a summary is about: all, the last so many, or those since a time."""

from __future__ import annotations

import datetime as dt

import attrs

from botobs.clock import epoch_ns, rfc3339
from botobs.config.values import period

__all__ = ["TAKES", "Window"]

TAKES = 'a number of trades (20), a span of time ("6h", "7d", "2w"), a time, "all", or None for the rolling window'
_MOST = 10_000_000


@attrs.frozen(kw_only=True)
class Window:
    """Which trades; made by `parse`.

    Attributes:
        label: In words.
        last: The last so many; `None`: not limited by number.
        since: From this exit on (RFC 3339); `None`: from the beginning.
        until: Up to, not including, this one.
    """

    label: str
    last: int | None = None
    since: str | None = None
    until: str | None = None

    @classmethod
    def parse(cls, window: object, *, end: object = None, now_ns: int, rolling: int = 20) -> Window:
        """What `window` means.

        Args:
            window: A number of trades, a span such as `7d` or a `timedelta`, a time, `all`, or `None`: the last
                `rolling` trades.
            end: A time; only trades that were closed before it count.
            now_ns: What a span is counted back from, unless there is an `end`.
            rolling: How many trades `None` stands for.

        Example:
            >>> Window.parse("7d", now_ns=0).since, Window.parse("20", now_ns=0).last
            ('1969-12-25T00:00:00.000000Z', 20)

        Raises:
            ValueError: It says nothing that is understood.
        """
        until_ns = None if end is None else _time(end, "end")
        until = None if until_ns is None else rfc3339(until_ns)
        kind = _kind(window, rolling)
        suffix = "" if until is None else f" until {until}"
        if kind is None:
            return cls(label=f"all{suffix}", until=until)
        if isinstance(kind, int):
            return cls(label=f"last {kind} trades{suffix}", last=kind, until=until)
        if isinstance(kind, float):
            begin = (now_ns if until_ns is None else until_ns) - round(kind * 1e9)
            return cls(label=f"last {_said(window)}{suffix}", since=_text(begin, window), until=until)
        since = rfc3339(kind[0])
        return cls(label=f"since {since}{suffix}", since=since, until=until)

    def holds(self, exit_ts: str) -> bool:
        """Whether a trade that was closed then is in it, as far as times go."""
        return (self.since is None or exit_ts >= self.since) and (self.until is None or exit_ts < self.until)


def _kind(window: object, rolling: int) -> int | float | tuple[int] | None:
    """A number of trades (int), seconds (float), a time (in a tuple), or all (`None`)."""
    if window is None:
        return rolling
    text = window.strip() if isinstance(window, str) else ""
    if text.lower() == "all":
        return None
    if text.isascii() and text.isdigit():
        return _count(int(text) if len(text) < 12 else -1, window)
    if isinstance(window, int) and not isinstance(window, bool):
        return _count(window, window)
    span = _seconds(window)
    return (_time(text or window, "window"),) if span is None else span


def _seconds(window: object) -> float | None:
    if not isinstance(window, dt.timedelta) and not (isinstance(window, str) and window.strip()[-1:].isalpha()):
        return None
    try:
        return float(period(window))
    except ValueError:
        if isinstance(window, str):
            return None  # it may be a time that ends in Z
        raise _wrong("window", window) from None


def _count(count: int, said: object) -> int:
    if not 0 < count <= _MOST:
        raise _wrong("window", said)
    return count


def _time(value: object, name: str) -> int:
    if not isinstance(value, str | dt.datetime):
        raise _wrong(name, value)
    try:
        return epoch_ns(value)
    except (ValueError, OverflowError):
        raise _wrong(name, value) from None


def _text(ns: int, said: object) -> str:
    if not -62_135_596_800 <= ns // 10**9 < 253_402_300_800:  # the years 1 to 9999
        raise _wrong("window", said)
    return rfc3339(ns)


def _said(value: object) -> str:
    return value.strip() if isinstance(value, str) else str(value)


def _wrong(name: str, value: object) -> ValueError:
    return ValueError(f"{name} = {str(value)[:60]!r}; it takes {TAKES if name == 'window' else 'a time'}")
