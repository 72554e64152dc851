"""What a comparison of the ledger with a statement has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import ZERO, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from botobs.accounting.exchange.effects import Effect
    from botobs.accounting.exchange.fills import Bad, ExchangeFill

__all__ = ["Comparison", "Difference", "Entry", "FieldDifference", "Row"]


@attrs.frozen(kw_only=True)
class Entry:
    """A fill that only one side has.

    Attributes:
        fill: The fill; of ours, `line` is the ledger's `seq`.
        explains: By how much ours is above theirs because of it: (total, market or currency) to amount.
        note: What else is known of it, such as that it was voided.
    """

    fill: ExchangeFill
    explains: Effect
    note: str | None = None


@attrs.frozen(kw_only=True)
class FieldDifference:
    """One field in which both sides differ."""

    field: str
    ours: str | None
    theirs: str | None


@attrs.frozen(kw_only=True)
class Difference:
    """A fill that both sides have, and tell differently.

    Attributes:
        ours: As the ledger has it; `line` is its `seq`.
        theirs: As the statement has it.
        fields: Where they differ.
        explains: By how much ours is above theirs because of it.
    """

    ours: ExchangeFill
    theirs: ExchangeFill
    fields: tuple[FieldDifference, ...]
    explains: Effect


@attrs.frozen(kw_only=True)
class Row:
    """One total on both sides.

    Attributes:
        name: `volume`, `quantity`, `cash`, `fees`, `pnl`; of a summary the name of the total.
        of: The market, currency or asset it is of.
        ours: What the ledger says; `None`: undefined.
        theirs: What the statement says.
        difference: Ours less theirs.
        explained: How much of it the named fills explain, by cause.
        unexplained: What is left over.
        note: How it was compared, where that is not plain.
    """

    name: str
    of: str
    ours: Decimal | None
    theirs: Decimal | None
    difference: Decimal | None
    explained: Mapping[str, Decimal]
    unexplained: Decimal | None
    note: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing of it is left over."""
        return self.unexplained is not None and not self.unexplained


@attrs.define(kw_only=True)
class Comparison:
    """The ledger beside a statement.

    Attributes:
        missing: Fills that only the statement has.
        extra: Fills that only the ledger has.
        differing: Fills that both have, and tell differently.
        duplicates: Rows that the statement has twice; the second is ignored.
        conflicts: Rows of the statement with the ids of another and other content; ignored, and not fine.
        bad: What in the statement could not be read, the first 1,000; `bad_count` is how many there are.
        unreadable: Sequence numbers of ledger lines that could not be read.
        rows: The totals.
        matched: How many fills agree.
        ours: How many fills of the ledger were compared.
        theirs: How many fills of the statement were compared.
        start: From when the comparison covers.
        end: Until when (inclusive).
        notes: What a reader should know of how it was made.
    """

    missing: list[Entry] = attrs.field(factory=list)
    extra: list[Entry] = attrs.field(factory=list)
    differing: list[Difference] = attrs.field(factory=list)
    duplicates: list[ExchangeFill] = attrs.field(factory=list)
    conflicts: list[tuple[ExchangeFill, ExchangeFill]] = attrs.field(factory=list)
    bad: list[Bad] = attrs.field(factory=list)
    bad_count: int = 0
    harmful: int = 0
    unreadable: list[int] = attrs.field(factory=list)
    rows: list[Row] = attrs.field(factory=list)
    matched: int = 0
    ours: int = 0
    theirs: int = 0
    start: str | None = None
    end: str | None = None
    notes: list[str] = attrs.field(factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing at all is left over."""
        named = self.missing or self.extra or self.differing or self.conflicts or self.harmful or self.unreadable
        return not named and all(row.ok for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """All of it for `--json`: plain keys, decimals as text."""
        return {
            "ok": self.ok,
            "matched": self.matched,
            "ours": self.ours,
            "theirs": self.theirs,
            "from": self.start,
            "to": self.end,
            "missing": [_entry(each) for each in self.missing],
            "extra": [_entry(each) for each in self.extra],
            "differing": [
                {
                    "ours": _fill(each.ours, "seq"),
                    "theirs": _fill(each.theirs, "line"),
                    "fields": [attrs.asdict(one) for one in each.fields],
                    "explains": _effect(each.explains),
                }
                for each in self.differing
            ],
            "duplicates": [_fill(each, "line") for each in self.duplicates],
            "conflicts": [{"first": _fill(a, "line"), "second": _fill(b, "line")} for a, b in self.conflicts],
            "bad": [attrs.asdict(each) for each in self.bad],
            "bad_count": self.bad_count,
            "unreadable": self.unreadable,
            "totals": [_row(each) for each in self.rows],
            "notes": self.notes,
        }


def _entry(entry: Entry) -> dict[str, Any]:
    found = {**_fill(entry.fill, "line"), "explains": _effect(entry.explains)}
    return found if entry.note is None else {**found, "note": entry.note}


def _fill(fill: ExchangeFill, line: str) -> dict[str, Any]:
    found = {
        line: fill.line, "ts": fill.ts, "symbol": fill.symbol, "side": fill.side, "qty": text(fill.qty),
        "price": text(fill.price), "fee": None if fill.fee is None else text(fill.fee), "fee_asset": fill.fee_asset,
        "role": fill.role, "order_id": fill.order_id, "fill_id": fill.fill_id, "account": fill.account,
        "venue": fill.venue,
    }  # fmt: skip
    if fill.extra_fees:
        found["extra_fees"] = [{"fee": text(paid), "fee_asset": name} for paid, name in fill.extra_fees]
    return found


def _effect(effect: Effect) -> list[dict[str, str]]:
    return [{"total": name, "of": of, "amount": text(amount)} for (name, of), amount in effect.items()]


def _row(row: Row) -> dict[str, Any]:
    def said(value: Decimal | None) -> str | None:
        return None if value is None else text(value or ZERO)

    return {
        "total": row.name,
        "of": row.of,
        "ours": said(row.ours),
        "theirs": said(row.theirs),
        "difference": said(row.difference),
        "explained": {cause: text(amount) for cause, amount in row.explained.items()},
        "unexplained": said(row.unexplained),
        "ok": row.ok,
        "note": row.note,
    }
