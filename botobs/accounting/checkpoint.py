"""The account on disk between runs: so that a restart reads only what came after.

Nothing here is the truth: that is the ledger. What is missing, damaged or does not fit the ledger is composed anew.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from botobs.accounting.book import Book
from botobs.accounting.compose import compose
from botobs.accounting.curve import Curve
from botobs.accounting.instruments import instrument_of
from botobs.accounting.ledger import FillIndex
from botobs.accounting.lines import content_of as content
from botobs.accounting.lines import funding_known_as, identity_of, position_known_as, terms_of
from botobs.accounting.numbers import exact, text
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from botobs.accounting.account import Account
    from botobs.accounting.compose import Composed
    from botobs.accounting.samples import Samples

__all__ = ["Checkpoint", "Restored", "restore", "state_in"]

_VERSION = 1
_INDEX_AGAIN = 0.1  # the index is written again when it has grown by so much


class Checkpoint:
    """Writes the account's state to `folder`.

    `account.json` has everything; `live.json` has what moves with every price, and is written far more often.
    """

    def __init__(self, account: Account, folder: Path) -> None:
        self._account = account
        self._folder = folder
        self._indexed = len(account.index)
        self._saved: tuple[Any, ...] = ()
        self._lived: tuple[Any, ...] = ()
        self._name = ""  # of the last `account.json`; `live.json` says which one it goes on from
        self._lock = threading.RLock()

    @exact
    def save(self, extra: Mapping[str, Any], *, last: bool = False) -> bool:
        """Write all of it, if anything was booked since; whether it was written.

        Raises:
            OSError: It could not be.
        """
        with self._lock:
            return self._save(extra, last=last)

    def _save(self, extra: Mapping[str, Any], *, last: bool) -> bool:
        account = self._account
        with account.lock:
            if account.busy:  # beneath a signal handler
                return False
            account.marks.settle()
            seen = (account.applied, *account.curve.lived, dict(account.marks.prices), dict(extra))
            if seen == self._saved:
                return False
            state = _state_of(account)
            state["name"] = name = f"{account.terms.run_id}-{account.wall()}-{account.applied}"
            entries = len(account.index)
            few = entries < 2_000 and entries != self._indexed
            again = last or few or entries > max(self._indexed, 1) * (1 + _INDEX_AGAIN)
            if again:
                account.index.watermark = account.applied
                account.index.save(self._folder / "fills.index")
                self._indexed = entries
        _write(self._folder / "account.json", {**state, **extra})
        self._saved, self._name = seen, name
        self._lived = ()
        return True

    @exact
    def touch(self) -> bool:
        """Write what moves with prices, if it moved.

        Raises:
            OSError: It could not be.
        """
        with self._lock:
            return self._touch()

    def _touch(self) -> bool:
        account = self._account
        with account.lock:
            if account.busy:
                return False
            account.marks.settle()
            seen = (account.applied, *account.curve.lived, dict(account.marks.prices))
            if seen == self._lived:
                return False
            curve = account.curve.state()
            del curve["returns"]
            live = {
                "version": _VERSION, "after": self._name, "seq": account.applied, "curve": curve,
                "marks": _marks_of(account),
            }  # fmt: skip
        _write(self._folder / "live.json", live)
        self._lived = seen
        return True


@exact
def restore(account: Account, folder: Path | None, samples: Samples | None = None) -> Restored:
    """Bring an account up to its ledger's end, from the checkpoint if that fits.

    What was lived through, curve and marks, is in the checkpoint, else in the written curve, else in the lines.
    """
    with account.lock:
        state = None if folder is None else _read(folder / "account.json")
        live = None if folder is None else _read(folder / "live.json")
        found, known = None, 0
        if state is not None and _fits(account, state):
            with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
                found = _restored(account, state, folder)
        if found is None:
            account.forget()
            account.snapshots.clear()
        else:
            account.snapshots.load(account.applied, found["snapshots"])
        # the books may be wrong or of other terms; what was lived through is not
        if state is not None and _live_again(account, state):
            known = state["seq"]
        elif samples is not None:
            known = samples.relive(account)
        # it goes on from that state, unless there is none, or one that was written later
        newer = live is not None and (state is None or live.get("after") == state.get("name"))
        if live is not None and newer and _live_again(account, live):
            known = max(live["seq"], known)
        composed = compose(account, lived=known)
        extra = {} if found is None else {name: value for name, value in found.items() if name not in _OWN}
        return Restored(extra, composed, None if found is None else found["seq"])


@attrs.frozen
class Restored:
    """What a restart found.

    Attributes:
        extra: What else the checkpoint had.
        composed: What was composed from the ledger.
        since: The line after which it was composed; `None`: from the beginning, there was no checkpoint that fits.
    """

    extra: dict[str, Any]
    composed: Composed
    since: int | None


def state_in(folder: Path) -> dict[str, Any] | None:
    """The state kept in `folder`; `None` if there is none that is whole."""
    return _read(folder / "account.json")


def _state_of(account: Account) -> dict[str, Any]:
    line = account.ledger.find(account.applied) if account.applied else None
    return {
        "version": _VERSION,
        "seq": account.applied,
        "hash": None if line is None else line.get("hash"),
        "cost_basis": account.terms.cost_basis,
        "currency": account.terms.currency,
        "starting_equity": _said(account.terms.starting_equity),
        "terms": {
            "timezone": account.terms.timezone,
            "sharpe_bucket": account.terms.sharpe_bucket,
            "days_per_year": account.terms.days_per_year,
            "currencies": account.terms.currencies.told,
        },
        "instruments": [
            [venue, {"symbol": symbol, **terms_of(known)}]
            for (venue, symbol), known in account.instruments.known.items()
        ],
        "books": [[list(key), book.state()] for key, book in account.books.items()],
        "voided": [list(pair) for pair in account.voided.items()],
        "waiting": account.waiting,
        "transfers": text(account.transfers),
        "moves": [[ts, text(value)] for ts, value in account.moves],
        "touched": [list(key) for key in account.snapshots.touched],
        "snapshots": account.snapshots.known,
        "curve": account.curve.state(),
        "marks": _marks_of(account),
    }


def _marks_of(account: Account) -> list[list[Any]]:
    return [[venue, symbol, text(price)] for venue, symbol, price in account.marks.newest_last()]


def _fits(account: Account, state: Mapping[str, Any]) -> bool:
    """Whether the ledger still has the line at which the state was taken, and the terms are the same."""
    if state.get("version") != _VERSION or state.get("cost_basis") != account.terms.cost_basis:
        return False
    if state.get("currency") != account.terms.currency:
        return False
    seq = state.get("seq")
    if not isinstance(seq, int) or seq >= account.ledger.next_seq:
        return False
    line = account.ledger.find(seq) if seq else None
    return (None if line is None else line.get("hash")) == state.get("hash")


def _restored(account: Account, state: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    for venue, told in state["instruments"]:
        account.instruments.tell(venue, instrument_of(told))
    books = {tuple(key): Book.of_state(book) for key, book in state["books"]}
    voided = dict(state["voided"])
    index = None if folder is None or not account.writing else FillIndex.load(folder / "fills.index")
    if index is None or index.watermark > state["seq"]:
        index = FillIndex()
    since = index.watermark + 1 if account.writing else state["seq"] + 1
    for seq, raw in account.ledger.lines(since, state["seq"]):
        line = orjson.loads(raw)
        if line["type"] == "fill" and "fill_id" in line:
            index.add(identity_of(line), content(line), seq)
        elif line["type"] == "funding":
            for known in funding_known_as(line):
                index.add(*known, seq)
        elif line["type"] == "position":
            index.add(*position_known_as(line), seq)
    account.books = books
    account.voided = voided
    account.index = index
    account.waiting = state["waiting"]
    account.transfers = Decimal(state["transfers"])
    account.moves = [(ts, Decimal(value)) for ts, value in state["moves"]]
    account.applied = state["seq"]
    account.snapshots.touched = {tuple(key) for key in state["touched"]}
    return state


_OWN = frozenset({
    "version", "name", "seq", "hash",
    "cost_basis", "currency", "starting_equity", "terms", "instruments", "books",
    "voided", "waiting", "transfers", "moves", "touched", "snapshots", "curve", "marks",
})  # fmt: skip


def _live_again(account: Account, live: Mapping[str, Any]) -> bool:
    """Take over marks and curve as they were lived; whether that could be done."""
    with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError):
        for venue, symbol, price in live["marks"]:
            account.marks.set(venue, symbol, Decimal(price))
    with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError):
        told = {"returns": account.curve.state()["returns"], **live["curve"]}
        terms = account.terms
        curve = Curve.of_state(
            told,
            tz=terms.timezone,
            bucket=terms.sharpe_bucket,
            days_per_year=terms.days_per_year,
        )
        if terms.starting_equity is not None and curve.starting_equity != terms.starting_equity:
            curve.transfer(account.wall(), terms.starting_equity - (curve.starting_equity or 0))
            curve.starting_equity = terms.starting_equity
        account.curve = curve
        return isinstance(live["seq"], int)
    return False


def _said(value: Decimal | None) -> str | None:
    return None if value is None else text(value)


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file; the one before it stays beside it until the next time."""
    body = dumps(state)
    data = b'{"crc":%d,"state":%b}\n' % (zlib.crc32(body), body)
    draft = path.with_name(f".{path.name}.new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    finally:
        os.close(file)
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    """What was written; `None` if there is nothing, or it is damaged."""
    try:
        data = path.read_bytes()
        found = orjson.loads(data)
        begin = data.index(b'"state":') + len(b'"state":')
        state = found["state"]
        whole = zlib.crc32(data[begin:-2]) == found["crc"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if whole and isinstance(state, dict) else None
