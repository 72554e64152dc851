"""Summaries as objects in a folder or an object store.

```
latest.json                                   all time and the rolling window, of all and of each strategy
summaries/day/2026-11-21.json                 a session's, of all strategies together
summaries/strategies/NAME/day/2026-11-21.json a session's, of one strategy
```
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from botobs.clock import rfc3339
from botobs.errors import BotobsError
from botobs.faults import logger
from botobs.performance.store import Folder, decoded, encoded, escape, place_at, shown
from botobs.performance.summary import SCHEMA, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botobs.performance.store import Place
    from botobs.performance.tracker import Performance

__all__ = ["load", "objects", "place_of", "save"]

_KINDS = ("day", "week", "month")


def place_of(url: str | os.PathLike[str] | None, root: Path | None) -> tuple[Place, str]:
    """The place to save to, and what it is called.

    Raises:
        BotobsError: There is none.
    """
    if url is None:
        if root is None:
            raise BotobsError("there is no data_dir to save summaries in; name a folder or a URL")
        folder = root / "logs" / "performance"
        return Folder(folder), str(folder)
    return place_at(url), os.fspath(url)


def objects(
    performance: Performance, since: str, *, bot: str | None, now_ns: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is to be saved of the sessions that end after `since`, by name; `saved` differs though nothing changed."""
    names = performance.strategies()
    # what is saved is made at one time or another while trades close: each object is right by itself
    for strategy in (None, *names):
        folder = "summaries" if strategy is None else f"summaries/strategies/{escape(strategy)}"
        for kind in _KINDS:
            for found in performance.sessions(kind, strategy, since=since):
                assert found.session is not None
                yield (
                    f"{folder}/{kind}/{escape(found.session.key)}.json",
                    {
                        "schema": SCHEMA,
                        "bot": bot,
                        "timezone": performance.timezone,
                        "summary": found.to_dict(),
                    },
                )
    yield (
        "latest.json",
        {
            "schema": SCHEMA,
            "bot": bot,
            "timezone": performance.timezone,
            "rolling_window": performance.rolling_window,
            "saved": rfc3339(now_ns),
            "all": performance.summary("all").to_dict(),
            "rolling": performance.summary().to_dict(),
            "strategies": {
                name: {
                    "all": performance.summary("all", name).to_dict(),
                    "rolling": performance.summary(None, name).to_dict(),
                }
                for name in names
            },
        },
    )


def save(place: Place, found: Iterator[tuple[str, dict[str, Any]]], known: dict[str, bytes]) -> int:
    """Write those that are not known to be there already; how many.

    Raises:
        BotobsError: One could not be written.
    """
    written = 0
    for name, content in found:
        lasting = {key: value for key, value in content.items() if key != "saved"}
        digest = hashlib.blake2b(encoded(lasting), digest_size=16).digest()
        if known.get(name) == digest:
            continue
        try:
            place.write(name, encoded(content))
        except Exception as error:  # fsspec raises whatever its implementations raise
            raise BotobsError(f"summaries could not be saved to {place!r}: {_said(error)}") from error
        known[name] = digest
        written += 1
    return written


def load(url: str | os.PathLike[str] | Place, kind: str | None, strategy: str | None) -> list[Summary]:
    """The summaries in a place; damaged ones are left out and named in the log.

    Raises:
        BotobsError: The place cannot be read.
    """
    place = place_at(url) if isinstance(url, str | os.PathLike) else url
    found = []
    try:
        if kind in (None, "all"):
            content = place.read("latest.json")
            latest = decoded(content)
            if content is not None and latest is None:
                logger.warning("botobs: latest.json is damaged and left out")
            found += _overall(latest or {}, strategy)
        if kind != "all":
            found += _sessions(place, kind, strategy)
    except BotobsError:
        raise
    except Exception as error:
        raise BotobsError(f"summaries could not be read from {place!r}: {_said(error)}") from error
    return sorted(found, key=_order)


def _overall(latest: dict[str, Any], strategy: str | None) -> list[Summary]:
    rows = [latest.get("all")] if strategy is None else []
    strategies = latest.get("strategies")
    if isinstance(strategies, dict):
        rows += [
            row.get("all") for name, row in strategies.items() if isinstance(row, dict) and strategy in (None, name)
        ]
    return [summary for row in rows if (summary := _summary(row, "latest.json")) is not None]


def _sessions(place: Place, kind: str | None, strategy: str | None) -> Iterator[Summary]:
    under = "summaries" if strategy is None else f"summaries/strategies/{escape(strategy)}"
    for name in place.names(under):
        parts = name.split("/")
        if not name.endswith(".json") or len(parts) < 3 or (kind is not None and parts[-2] != kind):
            continue
        content = decoded(place.read(name))
        summary = _summary((content or {}).get("summary"), name)
        if summary is not None and (strategy is None or summary.strategy == strategy):
            yield summary


def _summary(row: object, where: str) -> Summary | None:
    try:
        if isinstance(row, dict):
            return Summary.of_dict(row)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        pass
    if row is not None or where != "latest.json":
        logger.warning("botobs: %s is damaged and left out", where)
    return None


def _order(summary: Summary) -> tuple[str, str, str]:
    session = summary.session
    return (
        ("", "", summary.strategy or "") if session is None else (session.kind, session.start, summary.strategy or "")
    )


def _said(error: Exception) -> str:
    return shown(f"{type(error).__name__}: {error}"[:300])
