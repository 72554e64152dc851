"""The account on disk between runs: so that a restart reads only what came after.

Nothing here is the truth: that is the ledger. What is missing, damaged or does not fit the ledger is composed anew.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book
from botobs.accounting.compose import compose
from botobs.accounting.curve import Curve
from botobs.accounting.instruments import instrument_of
from botobs.accounting.ledger import FillIndex
from botobs.accounting.lines import content_of as content
from botobs.accounting.lines import identity_of, known_as, terms_of
from botobs.accounting.numbers import exact, text
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from botobs.accounting.account import Account

__all__ = ["Checkpoint", "restore", "state_in"]

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
        self.extra: dict[str, Any] = {}

    @exact
    def save(self, extra: Mapping[str, Any], *, last: bool = False) -> bool:
        """Write all of it, if anything was booked since; whether it was written.

        Raises:
            OSError: It could not be.
        """
        account = self._account
        with account.lock:
            if account.busy:  # beneath a signal handler
                return False
            account.marks.settle()
            seen = (account.applied, account.curve.equity, account.curve.peak, dict(account.marks.prices))
            if seen == self._saved:
                return False
            state = _state_of(account)
            entries = len(account.index)
            again = last or entries < 2_000 or entries >= self._indexed * (1 + _INDEX_AGAIN)
            if again:
                account.index.watermark = account.applied
                account.index.save(self._folder / "fills.index")
                self._indexed = entries
        _write(self._folder / "account.json", {**state, **extra})
        self._saved = seen
        return True

    @exact
    def touch(self) -> bool:
        """Write what moves with prices, if it moved.

        Raises:
            OSError: It could not be.
        """
        account = self._account
        with account.lock:
            if account.busy:
                return False
            account.marks.settle()
            seen = (account.curve.equity, account.curve.peak, account.applied, len(account.marks.prices))
            if seen == self._lived:
                return False
            curve = account.curve.state()
            del curve["returns"]
            live = {"version": _VERSION, "seq": account.applied, "curve": curve, "marks": _marks_of(account)}
        _write(self._folder / "live.json", live)
        self._lived = seen
        return True


@exact
def restore(account: Account, folder: Path | None) -> dict[str, Any]:
    """Bring an account up to its ledger's end, from the checkpoint if that fits; what else the checkpoint had."""
    with account.lock:
        state = None if folder is None else _read(folder / "account.json")
        found = None
        if state is not None and _fits(account, state):
            with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
                found = _restored(account, state, folder)
        if found is None:
            account.forget()
            account.snapshots.clear()
            if state is not None:  # the books are wrong or of other terms; what was lived through is not
                _live_again(account, state, {"marks": state.get("marks"), "curve": state.get("curve")})
        else:
            account.snapshots.load(account.applied)
        compose(account)
        live = None if folder is None else _read(folder / "live.json")
        if live is not None:
            _live_again(account, state, live)
        account.valuation.rebuild(account.books)
        return found or {}


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
        },
        "instruments": [
            [venue, {"symbol": symbol, **terms_of(known)}]
            for (venue, symbol), known in account.instruments.known.items()
        ],
        "books": [[list(key), book.state()] for key, book in account.books.items()],
        "voided": [list(pair) for pair in account.voided.items()],
        "waiting": account.waiting,
        "transfers": text(account.transfers),
        "fees_missing": account.fees_missing,
        "touched": [list(key) for key in account.snapshots.touched],
        "curve": account.curve.state(),
        "marks": _marks_of(account),
    }


def _marks_of(account: Account) -> list[list[Any]]:
    return [[venue, symbol, text(price)] for (venue, symbol), price in account.marks.prices.items()]


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
    voided = {seq: by for seq, by in state["voided"]}
    index = None if folder is None else FillIndex.load(folder / "fills.index")
    if index is None or index.watermark > state["seq"]:
        index = FillIndex()
    for seq, raw in account.ledger.lines(index.watermark + 1, state["seq"]):
        line = orjson.loads(raw)
        if line["type"] == "fill" and "fill_id" in line:
            index.add(identity_of(line), content(line), seq)
        elif line["type"] in ("funding", "position") and (known := known_as(line, line["type"])) is not None:
            index.add(*known, seq)
    account.books = books
    account.voided = voided
    account.index = index
    account.waiting = state["waiting"]
    account.transfers = Decimal(state["transfers"])
    account.fees_missing = state["fees_missing"]
    account.applied = state["seq"]
    account.snapshots.touched = {tuple(key) for key in state["touched"]}
    _live_again(account, state, state)
    return {name: value for name, value in state.items() if name not in _OWN}


_OWN = frozenset({
    "version", "seq", "hash", "cost_basis", "currency", "starting_equity", "terms", "instruments", "books", "voided",
    "waiting", "transfers", "fees_missing", "touched", "curve", "marks",
})  # fmt: skip


def _live_again(account: Account, state: Mapping[str, Any] | None, live: Mapping[str, Any]) -> None:
    """Take over marks and curve as they were lived; a curve that went on since (lines were composed) is kept."""
    with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError):
        for venue, symbol, price in live["marks"]:
            account.marks.set(venue, symbol, Decimal(price))
    with contextlib.suppress(KeyError, TypeError, ValueError, ArithmeticError):
        told = dict(live["curve"])
        if "returns" not in told:
            if live.get("seq") != account.applied:  # fills came after it was written, and their lines knew more
                return
            told["returns"] = account.curve.state()["returns"]
        terms = account.terms
        curve = Curve.of_state(
            told,
            tz=terms.timezone,
            bucket=terms.sharpe_bucket,
            days_per_year=terms.days_per_year,  # type: ignore[arg-type]
        )
        if terms.starting_equity is not None and curve.starting_equity != terms.starting_equity:
            curve.transfer(account.wall(), terms.starting_equity - (curve.starting_equity or 0))
            curve.starting_equity = terms.starting_equity
        account.curve = curve


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
