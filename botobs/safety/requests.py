"""What another process wants of the running bot: a drill. Two small files, a question and its answer."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.datadir import atomic_write
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["answer", "answer_to", "ask", "asked", "forget", "question"]

_QUESTION: Final = "kill_switch.drill"
_ANSWER: Final = "kill_switch.drilled"


def ask(folder: Path, token: str) -> None:
    """Ask for a drill.

    Raises:
        OSError: The question cannot be written.
    """
    atomic_write(folder / _QUESTION, dumps({"token": token}))


def question(folder: Path) -> bytes:
    """Where a question stands, if there is one."""
    return os.fsencode(folder / _QUESTION)


def asked(folder: Path) -> bool:
    """Whether somebody asks."""
    return (folder / _QUESTION).exists()


def answer_to(folder: Path, token: str) -> dict[str, Any] | None:
    """The answer to the question with that token; `None`: not yet."""
    said = _read(folder / _ANSWER)
    return said if said is not None and said.get("token") == token else None


def answer(folder: Path, drill: Callable[[], dict[str, Any]]) -> bool:
    """Do what was asked for; whether anything was.

    Raises:
        OSError: The answer cannot be written.
    """
    question = folder / _QUESTION
    said = _read(question)
    if said is None:
        return False
    with contextlib.suppress(FileNotFoundError):
        question.unlink()
    atomic_write(folder / _ANSWER, dumps({**drill(), "token": said.get("token")}))
    return True


def forget(folder: Path) -> None:
    """What was asked of an earlier run is not asked of this one."""
    for name in (_QUESTION, _ANSWER):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
