"""A history as one small file, so that a restart need not read every trade again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from botobs.datadir import atomic_write
from botobs.performance.closed import Closed
from botobs.performance.history import Group, History, Span
from botobs.performance.summary import Session

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.performance.sessions import SessionCalendar

__all__ = ["Checkpoint", "read", "write"]

_VERSION = 1
_DIGEST = 16


@attrs.frozen(kw_only=True)
class Checkpoint:
    """What is kept across restarts.

    Attributes:
        history: The trades.
        missed: The targets that were missed (`Target.key`).
        unsettled: Something came too late for the history: it has to be made anew.
    """

    history: History
    missed: frozenset[str]
    unsettled: bool


def write(path: Path, pieces: list[bytes]) -> None:
    """Replace the file by what `encode` made.

    Raises:
        OSError: It could not be written.
    """
    body = b"".join(pieces)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic_write(path, hashlib.blake2b(body, digest_size=_DIGEST).hexdigest().encode() + b"\n" + body)


def encode(history: History, *, timezone: str, missed: set[str], unsettled: bool) -> list[bytes]:
    """A history as bytes. What is settled was encoded before and is only copied."""
    kept = history.kept
    first = kept[0] if kept else None
    recent = {
        name: [trade.row() for trade in trades if first is None or trade < first]
        for name, trades in history.recent.items()
    }
    content = {
        "version": _VERSION,
        "timezone": timezone,
        "missed": sorted(missed),
        "unsettled": unsettled or history.short,
        "names": list(history.names),
        "horizon": None if history.horizon is None else history.horizon.row(),
        "heard": list(history.heard.items()),
        "revised": [(name, *said) for name, said in history.revised.items()],
        "recent": recent,
        "kept": [trade.row() for trade in kept],
        "overall": _groups(history.overall),
        "spans": {
            kind: [(*attrs.astuple(span.session), _groups(span)) for span in spans.values() if span.session]
            for kind, spans in history.spans.items()
        },
    }
    return [orjson.dumps(content)]


def read(path: Path, calendar: SessionCalendar, *, timezone: str, keep: int, window: int) -> Checkpoint | None:
    """What `write` wrote; `None`: there is none, it is damaged, or of another timezone, so that it does not help."""
    try:
        digest, _, body = path.read_bytes().partition(b"\n")
        if digest.decode() != hashlib.blake2b(body, digest_size=_DIGEST).hexdigest():
            return None
        found = orjson.loads(body)
        if found["version"] != _VERSION or found["timezone"] != timezone:
            return None
        history = _history(found, calendar, keep, window)
    except Exception:  # whatever it is, the stream knows it all
        return None
    return Checkpoint(
        history=history,
        missed=frozenset(found["missed"]),
        unsettled=found["unsettled"] or any(len(rows) < window for rows in _short_of(history)),
    )


def _short_of(history: History) -> list[list[Closed]]:
    """The strategies of which fewer trades are at hand than there are."""
    return [trades for name, trades in history.recent.items() if len(trades) < history.count(name)]


def _history(found: dict[str, Any], calendar: SessionCalendar, keep: int, window: int) -> History:
    history = History(calendar, keep=keep, window=window, names=found["names"])
    history.kept = [Closed.of_row(row) for row in found["kept"]]
    if history.kept != sorted(history.kept):
        raise ValueError("out of order")
    history.held = {trade.trade_id: trade for trade in history.kept}
    history.horizon = None if found["horizon"] is None else Closed.of_row(found["horizon"])
    history.heard.update(found["heard"])
    history.revised.update((name, (revision, undone)) for name, revision, undone in found["revised"])
    for name in found["names"]:
        history.recent[name] = [Closed.of_row(row) for row in found["recent"].get(name, ())]
    for name, rows in found["recent"].items():
        history.recent.setdefault(name, [Closed.of_row(row) for row in rows])
    for trade in history.kept:
        history.recent.setdefault(trade.strategy, []).append(trade)
    for trades in history.recent.values():
        del trades[: -2 * history.window]
    _fill(history.overall, found["overall"])
    for kind, rows in found["spans"].items():
        for _, key, start, end, groups in rows:
            span = Span(Session(kind=kind, key=key, start=start, end=end))
            history.spans[kind][key] = _fill(span, groups)
    return history


def _groups(span: Span) -> list[tuple[str | None, Any]]:
    rows: list[tuple[str | None, Any]] = []
    for strategy, group in span.groups.items():
        base = group.base
        if base is None:
            rows.append((strategy, None))
        else:
            rows.append((strategy, orjson.Fragment(base if isinstance(base, bytes) else base.packed())))
    return rows


def _fill(span: Span, rows: list[tuple[str | None, Any]]) -> Span:
    for strategy, state in rows:
        span.groups[strategy] = Group(None if state is None else orjson.dumps(state))
    return span
