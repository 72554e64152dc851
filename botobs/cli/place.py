"""Where a command finds what it is about: the data directory, its settings, its account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from botobs.config import load
from botobs.errors import BotobsError

if TYPE_CHECKING:
    import argparse

    from botobs.accounting.account import Terms
    from botobs.accounting.opened import OpenedAccount
    from botobs.config import Settings

__all__ = ["NoDataError", "data_dir_of", "has_ledger", "ledger_dir_of", "opened", "settings_of", "terms_in"]


class NoDataError(BotobsError):
    """There is nothing to look at; the message says where it was looked for."""


def settings_of(options: argparse.Namespace, **more: Any) -> Settings:
    """The settings that a bot would get here.

    Raises:
        ConfigError: One of them is wrong.
    """
    given = {} if options.data_dir is None else {"data_dir": options.data_dir}
    return load("botobs", {**given, **more})


def data_dir_of(options: argparse.Namespace) -> Path:
    """The data directory, which is there.

    Raises:
        ConfigError: A setting is wrong.
        NoDataError: There is no such directory.
    """
    found = settings_of(options).data_dir
    path = Path("data") if found is None else found
    if not path.is_dir():
        what = "is a file, not a directory" if path.exists() else "is not there"
        raise NoDataError(f"{path} {what}; --data-dir says where the bot writes")
    return path


def ledger_dir_of(options: argparse.Namespace) -> Path:
    """The data directory, in which there is a ledger, or was one.

    Raises:
        ConfigError: A setting is wrong.
        NoDataError: There is none.
    """
    path = data_dir_of(options)
    if not has_ledger(path):
        raise NoDataError(f"there is no ledger in {path} (metrics/fills.jsonl); --data-dir says where the bot writes")
    return path


def has_ledger(path: Path) -> bool:
    """Whether a ledger is there, or something that knows of one."""
    metrics = path / "metrics"
    return (
        (metrics / "fills.jsonl").exists()
        or any((metrics / "archive").glob("fills-*.jsonl"))
        or (path / "state" / "ledger.head").exists()
    )


def opened(options: argparse.Namespace) -> OpenedAccount:
    """The account, to look at.

    Raises:
        ConfigError: A setting is wrong.
        NoDataError: There is no ledger.
    """
    from botobs.accounting.opened import open_account  # noqa: PLC0415  # not for --help

    path = ledger_dir_of(options)
    return open_account(path, terms=terms_in(path, settings_of(options)))


def terms_in(path: Path, settings: Settings) -> Terms:
    """How to count: as the bot did when it last kept its state; where it kept none, as the settings say."""
    import attrs  # noqa: PLC0415  # not for --help

    from botobs.accounting.checkpoint import state_in  # noqa: PLC0415  # not for --help
    from botobs.accounting.opened import kept_terms  # noqa: PLC0415  # not for --help
    from botobs.money.room import terms_of  # noqa: PLC0415  # not for --help

    told = terms_of(settings)
    if state_in(path / "state") is None:
        return told
    return attrs.evolve(kept_terms(path / "state"), currencies=told.currencies, fees=told.fees)
