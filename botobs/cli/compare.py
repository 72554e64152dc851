"""`botobs compare`: the ledger beside an exchange's statement, until nothing is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.given import amount, moment, whole
from botobs.cli.place import opened
from botobs.cli.say import say, say_json
from botobs.cli.show import count, grid, heading, money, plain_line, when
from botobs.cli.statement import add_reading, reading_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from decimal import Decimal

    from botobs.accounting.exchange import Comparison, Entry, Row, Summary, Trades
    from botobs.accounting.exchange.effects import Effect
    from botobs.accounting.exchange.fills import ExchangeFill
    from botobs.accounting.opened import OpenedAccount

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "compare with an exchange's statement, fill by fill, then totals; exit status 1 if something is left over"

_SHOWN: Final = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("file", metavar="FILE", help="a statement: trades as CSV or JSON, or a bare summary of totals")
    add_reading(parser)
    parser.add_argument("--since", type=moment, metavar="TIME", help="from when (default: the statement's first fill)")
    parser.add_argument("--until", type=moment, metavar="TIME", help="until when, inclusive (default: its last fill)")
    parser.add_argument("--only", action="append", metavar="SYMBOL", help="compare only this market; may be repeated")
    parser.add_argument(
        "--whole", action="store_true", help="the statement is complete: all of our fills have to be in it"
    )
    parser.add_argument(
        "--no-ids", action="store_true", help="match by quantity, price and time: the bot made up ids of its own"
    )
    parser.add_argument(
        "--tolerance", type=amount, metavar="AMOUNT", help="by how much a fee, or a value of a summary, may be off"
    )
    parser.add_argument(
        "--seconds", type=whole(0, 86_400), default=2, metavar="N", help="by how much times may be off (default: 2)"
    )
    parser.add_argument("--all", action="store_true", help=f"show every fill, not the first {_SHOWN} of each sort")


def run(options: argparse.Namespace) -> int:
    """Compare, and show it; 1 if something is left over."""
    from botobs.accounting.exchange import Summary, read_statement  # noqa: PLC0415  # not for --help

    account = opened(options)
    statement = read_statement(options.file, **reading_of(options))
    if isinstance(statement, Summary):
        found = _with_summary(account, statement, options)
    else:
        found = _with_trades(account, statement, options)
    if options.json:
        say_json(found.plain())
    else:
        say(_told(found, options, bare=isinstance(statement, Summary)))
    return 0 if found.ok else 1


def _with_summary(account: OpenedAccount, summary: Summary, options: argparse.Namespace) -> Comparison:
    from botobs.accounting.exchange import compare_summary  # noqa: PLC0415  # not for --help
    from botobs.errors import BotobsError  # noqa: PLC0415  # only here

    if options.until is not None:
        raise BotobsError("a summary is compared with the totals up to now: --until needs a statement with fills")
    found = compare_summary(
        account.totals(options.since or "all"), summary, tolerance=options.tolerance,
        fee_sign=-1 if options.fees_negative else None,
    )  # fmt: skip
    found.start = options.since
    return found


def _with_trades(account: OpenedAccount, statement: Trades, options: argparse.Namespace) -> Comparison:
    from botobs.accounting.exchange import compare  # noqa: PLC0415  # not for --help

    with statement:
        return compare(
            account.ledger.lines(), statement, venue=options.venue, account=options.account, symbols=options.only,
            start=options.since, end=options.until, whole=options.whole, ids=not options.no_ids,
            fee_tolerance=options.tolerance or "0", time_tolerance=float(options.seconds),
        )  # fmt: skip


def _told(found: Comparison, options: argparse.Namespace, *, bare: bool) -> list[str]:
    span = f"from {when(found.start)} to {when(found.end) if found.end else 'now'} UTC" if found.start else "all"
    said = [f"{plain_line(options.file)}: {'a summary of totals' if bare else span}"]
    if bare:
        said[0] += f", {span}"
    else:
        said.append(f"{found.matched:,} of {count(found.theirs, 'fill')} agree; the ledger has {found.ours:,} there")
    most = None if options.all else _SHOWN
    said.extend(_entries("missing in the ledger", found.missing, most))
    said.extend(_entries("extra in the ledger", found.extra, most, seq=True))
    said.extend(_differing(found, most))
    said.extend(_conflicts(found, most))
    said.extend(_rows(found.rows))
    if found.bad_count:
        said.extend(heading(f"{count(found.bad_count, 'row')} of the statement could not be read"))
        said.extend(f"  line {bad.line}: {plain_line(bad.reason)}" for bad in found.bad[: most or None])
    if found.unreadable:
        said.extend(["", f"{count(len(found.unreadable), 'line')} of the ledger could not be read: see botobs verify"])
    if found.duplicates:
        said.append(f"note: {count(len(found.duplicates), 'row')} stand twice in the statement and count once")
    said.extend(f"note: {plain_line(note)}" for note in found.notes)
    said.extend(["", "nothing is left over" if found.ok else _left(found)])
    return said


def _left(found: Comparison) -> str:
    what = [
        (len(found.missing), "missing"), (len(found.extra), "extra"), (len(found.differing), "differing"),
        (len(found.conflicts), "in conflict"),
    ]  # fmt: skip
    fills = ", ".join(f"{number:,} {words}" for number, words in what if number)
    totals = sum(1 for row in found.rows if not row.ok)
    parts = [f"fills: {fills}"] if fills else []
    if found.harmful:
        parts.append(f"{count(found.harmful, 'row')} unreadable")
    if totals:
        parts.append(f"{count(totals, 'total')} unexplained")
    return f"LEFT OVER: {'; '.join(parts) or 'lines of the ledger that cannot be read'}"


def _entries(title: str, entries: Sequence[Entry], most: int | None, *, seq: bool = False) -> list[str]:
    if not entries:
        return []
    rows = [
        (
            f"{'seq' if seq else 'line'} {each.fill.line}", *_fill(each.fill), _effect(each.explains),
            each.note or "",
        )
        for each in entries[:most]
    ]  # fmt: skip
    columns = ["where", "time (UTC)", "symbol", "side", "qty", "price", "fee", "fill id", "explains", "note"]
    return [
        *heading(f"{title}: {count(len(entries), 'fill')}"),
        *grid(columns, rows, left=_TEXTS, optional=("fee", "fill id", "explains", "note"), below=_BELOW),
        *_more(len(entries), most),
    ]


_TEXTS: Final = ("where", "time (UTC)", "symbol", "side", "fill id", "explains", "explained by", "note", "field",
                 "total", "of")  # fmt: skip
_BELOW: Final = ("note", "explains", "explained by", "fill id", "time (UTC)")


def _fill(fill: ExchangeFill) -> tuple[str, ...]:
    fee = "-" if fill.fee is None else f"{money(fill.fee)} {fill.fee_asset or ''}".strip()
    return when(fill.ts), fill.symbol, fill.side, money(fill.qty), money(fill.price), fee, fill.fill_id or "-"


def _effect(effect: Effect) -> str:
    """What a fill does to the totals: of ours, above theirs."""
    told = [f"{name} {money(value)} {of}" for (name, of), value in effect.items() if value and name in ("cash", "fees")]
    return ", ".join(told) or "-"


def _differing(found: Comparison, most: int | None) -> list[str]:
    if not found.differing:
        return []
    rows = []
    for each in found.differing[:most]:
        for at, field in enumerate(each.fields):
            first = not at
            rows.append(
                (
                    f"seq {each.ours.line}, line {each.theirs.line}" if first else "",
                    each.ours.symbol if first else "", each.ours.fill_id or "-" if first else "", field.field,
                    _side(field.field, field.ours), _side(field.field, field.theirs),
                    _effect(each.explains) if first else "",
                )
            )  # fmt: skip
    columns = ("where", "symbol", "fill id", "field", "ours", "theirs", "explains")
    return [
        *heading(f"told differently: {count(len(found.differing), 'fill')}"),
        *grid(columns, rows, left=_TEXTS, optional=("fee", "fill id", "explains", "note"), below=_BELOW),
        *_more(len(found.differing), most),
    ]


def _side(field: str, value: str | None) -> str:
    if value is None:
        return "-"
    return when(value) if field == "time" else money(value) if field in ("qty", "price") else value


def _conflicts(found: Comparison, most: int | None) -> list[str]:
    if not found.conflicts:
        return []
    said = heading(f"the statement contradicts itself: {count(len(found.conflicts), 'fill')}")
    for first, second in found.conflicts[:most]:
        said.append(f"  lines {first.line} and {second.line} have fill id {first.fill_id}, and differ")
    return [*said, *_more(len(found.conflicts), most)]


def _rows(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    table = [
        (
            row.name, row.of, *(_sum(row.name, value) for value in (row.ours, row.theirs, row.difference)),
            ", ".join(f"{cause} {_sum(row.name, value)}" for cause, value in row.explained.items() if value) or "-",
            _sum(row.name, row.unexplained) if not row.ok else "ok", row.note or "",
        )
        for row in rows
    ]  # fmt: skip
    columns = ["total", "of", "ours", "theirs", "difference", "explained by", "left over", "note"]
    return [*heading("totals"), *grid(columns, table, left=_TEXTS, optional=("explained by", "note"), below=_BELOW)]


def _sum(name: str, value: Decimal | None) -> str:
    return money(value, 0 if name in ("quantity", "fills") else 2)


def _more(number: int, most: int | None) -> list[str]:
    if most is None or number <= most:
        return []
    return [f"  and {number - most:,} more; --all shows them, --json has them"]
