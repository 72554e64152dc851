"""`botobs performance`: how the strategies did, by closed trades."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.given import moment
from botobs.cli.place import NoDataError, data_dir_of, settings_of, terms_in
from botobs.cli.say import complain, say, say_json
from botobs.cli.show import count, figure, grid, heading, money, percent, plain_line, when
from botobs.cli.target import writing_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from botobs.performance import Performance, Summary

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "show how the strategies did: win rate, profit factor, expectancy, drawdown, streaks"

_KINDS: Final = ("day", "week", "month")
_SESSIONS: Final = 7
_COLUMNS: Final = (
    "strategy", "kind", "window", "start", "end", "trades", "wins", "losses", "gross", "net", "commissions", "funding",
    "win_rate", "profit_factor", "expectancy", "average_win", "average_loss", "payoff", "best", "worst",
    "max_drawdown", "peak_pnl", "peak_equity", "sharpe", "streak", "longest_win_streak", "longest_loss_streak",
    "average_risk_reward",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "--window", metavar="N", help="the last N trades, or those of a span such as 7d (default: all trades)"
    )
    parser.add_argument("--start", type=moment, metavar="TIME", help="trades closed from this time on")
    parser.add_argument("--end", type=moment, metavar="TIME", help="trades closed before this time")
    parser.add_argument("--strategy", metavar="NAME", help="this strategy's trades only")
    parser.add_argument(
        "--export", metavar="FILE", help="also write all figures, each day's, week's and month's too: .csv or .json"
    )
    parser.add_argument(
        "--backfill", action="store_true",
        help="first make the records of trades agree with the ledger, count everything anew, and save the summaries; "
        "no bot may run there",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Show it."""
    path = data_dir_of(options)
    settings = settings_of(options)
    if options.window is not None and options.start is not None:
        complain("botobs performance: --window and --start both say where it begins; give one of them")
        return 2
    if not _is_window(options.window):
        complain(
            f"botobs performance: --window: {options.window!r} will not do; it takes a number of trades (20), "
            "a span such as 7d, or all"
        )
        return 2
    if options.backfill:
        complain(_backfilled(options, path))
    from botobs.performance import Performance  # noqa: PLC0415  # not for --help

    terms = terms_in(path, settings)
    _look_into(path)
    performance = Performance.load(
        path, timezone=terms.timezone, rolling_window=settings.performance_rolling_window,
        starting_equity=terms.starting_equity,
    )  # fmt: skip
    known = performance.strategies()
    if options.strategy is not None and options.strategy not in known:
        raise NoDataError(
            f"there are no closed trades of strategy {options.strategy!r} in {path}"
            + (f"; there are of {', '.join(map(plain_line, known[:20]))}" if known else "")
        )
    window = options.start or options.window or "all"
    summary = performance.summary(window, options.strategy, end=options.end)
    if options.export is not None:
        rows = _export(performance, summary, window, options)
        complain(f"{options.export}: {count(rows, 'row')}")
    if options.json:
        say_json(_plain(performance, summary, window, options))
    else:
        say(_told(str(path), performance, summary, window, options))
    return 0


def _look_into(path: Path) -> None:
    """See that there is something, and that one may look: else it would pass for a bot that has closed no trade.

    Raises:
        NoDataError: No bot has run here.
        OSError: It may not be read.
    """
    folders = [path / name for name in ("logs", "metrics") if (path / name).is_dir()]
    if not folders:
        raise NoDataError(f"no bot has run in {path}; --data-dir says where the bot writes")
    for folder in folders:
        os.scandir(folder).close()


def _is_window(said: str | None) -> bool:
    from botobs.performance import Window  # noqa: PLC0415  # not for --help

    try:
        Window.parse(said, now_ns=0)
    except ValueError:
        return False
    return True


def _backfilled(options: argparse.Namespace, path: Path) -> str:
    """Write what is missing, and say what that was."""
    from botobs.cli.place import ledger_dir_of  # noqa: PLC0415  # only here
    from botobs.cli.writing import is_whole, writing  # noqa: PLC0415  # exporters load here
    from botobs.errors import BotobsError  # noqa: PLC0415  # only here

    if not is_whole(ledger_dir_of(options)):
        raise BotobsError(
            f"the ledger in {path} is damaged, and records that are right might be lost: botobs verify says more"
        )
    with writing(options) as place:
        done = place.settle_trades()
        trades = place.observer.performance.rebuild()
        saved = place.observer.performance.save(settings_of(options).performance_store)
    return (
        f"{path}: {count(trades, 'trade')} counted anew ({done.added:,} had no record, {done.revised:,} another one, "
        f"{done.undone:,} are no more); {count(saved, 'summary')} saved"
    )


def _told(path: str, performance: Performance, summary: Summary, window: str, options: argparse.Namespace) -> list[str]:
    whose = f", strategy {plain_line(options.strategy)}" if options.strategy is not None else ""
    said = [f"{path}: {plain_line(summary.window)}{whose}, {count(summary.trades, 'closed trade')}"]
    if not summary.trades:
        return said
    said[0] += f", {when(summary.start, roughly=True)} to {when(summary.end, roughly=True)} UTC"
    said.extend(["", *grid(("figure", "value", "why"), list(_figures(summary)), left=("figure", "why"), head=False)])
    if options.strategy is None:
        by = performance.by_strategy(window, end=options.end)
        if len(by) > 1:
            said.extend(heading("by strategy"))
            said.extend(_table([(name, each) for name, each in by.items() if each.trades], "strategy"))
    if window == "all" and options.end is None:
        days = performance.sessions("day", options.strategy, last=_SESSIONS)
        said.extend(heading(f"by day ({performance.timezone})" + (", the last ones" if len(days) == _SESSIONS else "")))
        said.extend(_table([(each.window, each) for each in days], "day"))
    said.extend(
        f"note: {name}: {plain_line(why)}" for name, why in summary.reasons.items() if name in ("trades", "window")
    )
    return said


def _figures(summary: Summary) -> Iterator[tuple[str, str, str]]:
    reasons = summary.reasons
    yield "net PnL", money(summary.net, 2), ""
    yield "gross PnL", money(summary.gross, 2), ""
    yield "commissions", money(summary.commissions, 2), ""
    if summary.funding:
        yield "funding", money(summary.funding, 2), ""
    even = summary.trades - summary.wins - summary.losses
    yield "wins, losses, even", f"{summary.wins:,}, {summary.losses:,}, {even:,}", ""
    yield "win rate", percent(summary.win_rate), reasons.get("win_rate", "")
    for name, words in (("profit_factor", "profit factor"), ("payoff", "average win / loss")):
        yield words, figure(getattr(summary, name), 2), reasons.get(name, "")
    for name, words in (
        ("expectancy", "expectancy"), ("average_win", "average win"), ("average_loss", "average loss"),
        ("best", "best trade"), ("worst", "worst trade"), ("max_drawdown", "max drawdown"),
        ("peak_equity", "peak equity"),
    ):  # fmt: skip
        yield words, money(getattr(summary, name), 2), reasons.get(name, "")
    yield "Sharpe, per trade", figure(summary.sharpe.annualized), summary.sharpe.reason or ""
    streak = summary.streak
    yield "streak now", f"{abs(streak):,} {'won' if streak > 0 else 'lost'}" if streak else "none", ""
    yield "longest streaks", f"{summary.longest_win_streak:,} won, {summary.longest_loss_streak:,} lost", ""
    yield "average risk/reward", figure(summary.average_risk_reward, 2), reasons.get("average_risk_reward", "")


def _table(rows: list[tuple[str, Summary]], name: str) -> list[str]:
    cells = [
        (
            said, f"{each.trades:,}", percent(each.win_rate), money(each.net, 2), money(each.commissions, 2),
            figure(each.profit_factor, 2), money(each.max_drawdown, 2),
        )
        for said, each in rows
    ]  # fmt: skip
    columns = (name, "trades", "win rate", "net", "fees", "profit factor", "max drawdown")
    return grid(columns, cells, left=(name,))


def _plain(performance: Performance, summary: Summary, window: str, options: argparse.Namespace) -> dict[str, Any]:
    strategies = {} if options.strategy is not None else performance.by_strategy(window, end=options.end)
    return {**summary.to_dict(), "strategies": {name: each.to_dict() for name, each in strategies.items()}}


def _all(
    performance: Performance, summary: Summary, window: str, options: argparse.Namespace
) -> Iterator[tuple[str, Summary]]:
    """The window's figures and every session's, of all and of each strategy."""
    yield "window", summary
    names = [options.strategy] if options.strategy is not None else [None, *performance.strategies()]
    for name in names:
        if name is not None and options.strategy is None:
            yield "window", performance.summary(window, name, end=options.end)
    for name in names:
        for kind in _KINDS:
            for each in performance.sessions(kind, name):
                yield kind, each


def _export(performance: Performance, summary: Summary, window: str, options: argparse.Namespace) -> int:
    """Write them; how many."""
    from botobs.accounting.exchange import write_csv  # noqa: PLC0415  # not for --help
    from botobs.errors import BotobsError  # noqa: PLC0415  # as above

    target = Path(options.export)
    if target.suffix.lower() not in (".csv", ".json"):
        raise BotobsError(f"{options.export!r} will not do for --export; it takes a name that ends in .csv or .json")
    found = [{"kind": kind, **each.to_dict()} for kind, each in _all(performance, summary, window, options)]
    with writing_text(options.export) as file:
        if target.suffix.lower() == ".json":
            json.dump(found, file, ensure_ascii=False, indent=2)
            file.write("\n")
        else:
            rows = [{**row, "strategy": row["strategy"] or "all", "sharpe": row["sharpe"]["annualized"]}
                    for row in found]  # fmt: skip
            write_csv(rows, file, _COLUMNS)
    return len(found)
