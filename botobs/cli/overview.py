"""What `dump` and `window` print: the totals, what is held, and why a figure is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.cli.show import age, count, figure, grid, heading, money, percent, plain_line, when

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from botobs.accounting.opened import OpenedAccount
    from botobs.accounting.totals import Totals

__all__ = ["add_kinds", "kinds_of", "overview"]

_MONEY = (
    ("gross_pnl", "gross PnL"), ("fees", "fees"), ("funding", "funding"),
    ("accrued_funding", "of it accrued"), ("realized_pnl", "realized PnL"),
    ("unrealized_pnl", "unrealized PnL"), ("total_pnl", "total PnL"),
)  # fmt: skip
_TRADING = (
    ("fills", "fills"), ("volume", "volume"), ("maker_volume", "maker volume"), ("taker_volume", "taker volume"),
    ("cash_flow", "cash flow"),
)  # fmt: skip
_EQUITY = (
    ("equity", "equity"), ("transfers", "transfers"), ("peak_equity", "peak equity"), ("drawdown", "drawdown"),
    ("max_drawdown", "max drawdown"),
)  # fmt: skip
_TEXTS = ("symbol", "venue", "account", "position side", "currency")
_BELOW = ("position side", "account", "venue", "held for", "value", "mark")
_KINDS = ("live", "import", "hedger_sim")


def add_kinds(parser: argparse.ArgumentParser) -> None:
    """The option `--kinds`."""
    parser.add_argument(
        "--kinds", type=_kinds, metavar="KIND,…", default=None,
        help="which fills count: live, import, hedger_sim, with commas between them (default: all but hedger_sim)",
    )  # fmt: skip


def kinds_of(options: argparse.Namespace) -> list[str] | None:
    """What `--kinds` says."""
    kinds: list[str] | None = options.kinds
    return kinds


def _kinds(text: str) -> list[str]:
    import argparse  # noqa: PLC0415  # loaded by now

    from botobs.cli.given import nearest  # noqa: PLC0415  # only here

    found = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in found:
        if word not in _KINDS:
            near = nearest(word, _KINDS)
            hint = f"; did you mean {near}?" if near else ""
            raise argparse.ArgumentTypeError(f"{word!r} will not do; it takes {', '.join(_KINDS)}{hint}")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes {', '.join(_KINDS)}")
    return found


def overview(opened: OpenedAccount, window: Any, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """All of it, for programs and for people."""
    totals = opened.totals(window, kinds=kinds_of(options))
    positions = list(_positions(opened, kinds_of(options)))
    lines = opened.ledger.next_seq - 1
    plain = {**totals.to_dict(), "positions": positions, "ledger": {"lines": lines, "damaged": list(opened.damaged)}}
    root = opened.ledger.root
    begin, end = totals.window
    said = [
        f"{root}: "
        + (
            f"from {when(begin, roughly=True)} to {when(end, roughly=True)} UTC"
            if begin
            else f"all, up to {when(end, roughly=True)} UTC"
        )
    ]
    said.extend(_figures(totals))
    if len(totals.by_currency) > 1:
        said.extend(_currencies(totals))
    said.extend(_held(positions))
    said.extend(_left_out(totals))
    if not lines:
        said.extend(["", "the ledger has no fills yet"])
    if opened.damaged:
        numbers = ", ".join(map(str, opened.damaged[:5])) + (", …" if len(opened.damaged) > 5 else "")
        said.extend(["", f"lines of the ledger that cannot be read, and are in no figure: {numbers}"])
        said.append("`botobs verify` says more")
    return plain, said


def _figures(totals: Totals) -> list[str]:
    said: list[str] = []
    for title, names in (
        (f"profit and loss, in {totals.currency}", _MONEY), ("trading", _TRADING), ("equity", _EQUITY),
    ):  # fmt: skip
        rows = [_row(totals, name, words) for name, words in names if not _is_idle(totals, name)]
        if title == "equity":
            rows.extend(_sharpe(totals))
        said.extend(heading(title))
        said.extend(grid(("figure", "value", "why"), rows, left=("figure", "why"), head=False))
    return said


def _is_idle(totals: Totals, name: str) -> bool:
    return name in ("funding", "accrued_funding", "transfers") and not getattr(totals, name)


def _row(totals: Totals, name: str, words: str) -> tuple[str, str, str]:
    value = getattr(totals, name)
    said = f"{value:,}" if name == "fills" else money(value, 2)
    share = getattr(totals, f"{name}_pct", None)
    return words, said, f"{percent(share)} of the peak" if share else totals.reasons.get(name, "")


def _sharpe(totals: Totals) -> Iterator[tuple[str, str, str]]:
    found = totals.sharpe
    if found is None:
        return
    why = found.reason or totals.reasons.get("sharpe", "")
    yield "Sharpe, annualized", figure(found.annualized), why or f"of {count(found.n, found.bucket)}"
    if found.mean is not None:
        yield f"mean per {found.bucket}", figure(found.mean, 6), ""
    if found.vol is not None:
        yield "deviation", figure(found.vol, 6), ""


def _currencies(totals: Totals) -> list[str]:
    rows = [
        (name, *(money(sums[key], 2) for key in ("gross_pnl", "fees", "funding", "unrealized_pnl", "total_pnl")))
        for name, sums in sorted(totals.by_currency.items())
    ]
    columns = ("currency", "gross PnL", "fees", "funding", "unrealized", "total PnL")
    return [*heading("by currency, exactly"), *grid(columns, rows, left=("currency",))]


def _positions(opened: OpenedAccount, kinds: list[str] | None) -> Iterator[dict[str, Any]]:
    """What is held, as the bot's `positions` say it."""
    from botobs.accounting.numbers import exact, text  # noqa: PLC0415  # not for --help
    from botobs.clock import epoch_ns  # noqa: PLC0415  # as above

    account, now = opened.account, opened.account.wall()
    simulated = kinds is not None and "hedger_sim" in kinds
    own = kinds is None or bool({"live", "import"} & set(kinds))
    for key, book in sorted(account.books.items(), key=lambda item: tuple(str(part or "") for part in item[0])):
        if not book.inventory or not (simulated if key[4] else own):
            continue
        mark = account.valuation.mark(key, book)
        trip = book.trade

        def said(value: Any) -> str | None:
            return None if value is None else text(value)

        yield {
            "symbol": key[2],
            "side": "long" if book.inventory > 0 else "short",
            "qty": said(book.inventory),
            "avg_px": said(book.avg_price),
            "mark": said(mark),
            "value": said(None if mark is None else exact(book.instrument.worth)(book.inventory, mark)),
            "unrealized_pnl": said(None if mark is None else exact(book.unrealized)(mark)),
            "currency": account.valuation.settles(book),
            "account": key[0],
            "venue": key[1],
            "position_side": key[3],
            "kind": "hedger_sim" if key[4] else "live",
            "trade_id": None if trip is None else trip.trade_id,
            "opened": None if trip is None else trip.opened_ts,
            "age_s": None if trip is None else max(now - epoch_ns(trip.opened_ts), 0) / 1e9,
        }


def _held(positions: list[dict[str, Any]]) -> list[str]:
    if not positions:
        return ["", "no open positions"]
    columns = ["symbol", "qty", "avg price", "mark", "value", "unrealized", "currency", "held for"]
    places = ("venue", "account", "position_side")
    rows = [
        (
            held["symbol"], money(held["qty"]), money(held["avg_px"]), money(held["mark"]), money(held["value"], 2),
            money(held["unrealized_pnl"], 2), held["currency"], age(held["age_s"]),
            *(held[name] or "-" for name in places),
        )
        for held in positions
    ]  # fmt: skip
    columns += [name.replace("_", " ") for name in places]
    return [
        *heading(count(len(positions), "open position")),
        *grid(columns, rows, left=_TEXTS, optional=_TEXTS[1:], below=_BELOW),
    ]


def _left_out(totals: Totals) -> list[str]:
    said = [f"  fees of {money(amount)} {asset} have no price and are in no sum"
            for asset, amount in sorted(totals.unpriced_fees.items())]  # fmt: skip
    shown = {name for names in (_MONEY, _TRADING, _EQUITY) for name, _ in names} | {"sharpe"}
    shown |= {f"{name}_pct" for name in shown}
    said.extend(f"  {name}: {plain_line(why)}" for name, why in totals.reasons.items() if name not in shown)
    return [*heading("left out"), *said] if said else []
