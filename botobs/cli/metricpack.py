"""`botobs metricpack`: reconstruct trades from what bots executed, and export what their exits are worth."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.place import NoDataError, data_dir_of, settings_of
from botobs.cli.say import say, say_json
from botobs.cli.show import count, figure, grid, heading, money, percent, plain_line
from botobs.errors import BotobsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from botobs.metricpack.settings import PackSettings
    from botobs.metricpack.source import Batch, Progress, Source

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "reconstruct trades from what bots executed, and export what exits are worth; runs until it is stopped"

# the flag, the setting, what it takes, and what it means
_FLAGS: Final = (
    ("--from", "start", "WHERE", "checkpoint (the default: go on), beginning, or end; the last two forget the state"),
    ("--stream", "stream", "NAME", "a stream of the bot in place of its ledger; of Redis, where that is read"),
    ("--events", "events", "FILE", "a file of JSON lines in place of the data directory"),
    ("--redis", "redis_url", "URL", "Redis in place of the data directory"),
    ("--group", "group", "NAME", "the consumer group of Redis"),
    ("--keys", "keys", "TEXT", "what the keys of the state in Redis begin with (default: quantum:metricpack)"),
    ("--state", "state", "FILE", "where the state is kept (default: state/metricpack.sqlite in the data directory)"),
    ("--host", "host", "HOST", "where to listen (default: 127.0.0.1)"),
    ("--port", "port", "PORT", "the port of /metrics and /health (default: 8051; 0: any)"),
    ("--symbols", "symbols", "A,B", "only these symbols"),
    ("--shard", "shard", "I/N", "only this part of all symbols: 1/3 is the first of three"),
    ("--mode", "mode", "MODE", "ask Binance's futures for bars: mainnet or testnet"),
    ("--bars", "bars", "WHERE", "where bars come from: bot, none, a file, or a URL"),
    ("--interval", "interval", "5m", "how long a bar is"),
    ("--dust", "dust", "QTY", "what may be left of a trade when it is closed (default: 0.001)"),
    ("--prefix", "prefix", "NAME", "what the names of the metrics begin with (default: quantum_exit)"),
    ("--takeover", "takeover", "5s", "after how long without a sign of life another process takes over"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    for flag, name, metavar, told in _FLAGS:
        parser.add_argument(flag, dest=f"pack_{name}", metavar=metavar, help=told)
    parser.add_argument("--once", action="store_true", help="read what is there, show what it came to, and end")


def run(options: argparse.Namespace) -> int:
    """Run it; 1 if it cannot."""
    from botobs.metricpack.settings import load_pack  # noqa: PLC0415  # not for --help

    flags = {name: getattr(options, f"pack_{name}") for _, name, _, _ in _FLAGS}
    known = settings_of(options)
    settings = load_pack(known.data_dir or Path("data"), flags, _table(known.tables.get("metricpack")))
    if not settings.uses_redis and settings.events is None:
        data_dir_of(options)  # it is there, or that is said
    if options.once and settings.events is not None and not settings.events.exists():
        raise NoDataError(f"{settings.events} is not there")
    return _serve(settings, once=options.once, as_json=options.json)


def _table(told: Any) -> dict[str, Any] | None:
    return told if isinstance(told, dict) else None


def _serve(settings: PackSettings, *, once: bool, as_json: bool) -> int:
    """Join everything, and run it."""
    import botobs  # noqa: PLC0415
    from botobs.faults import Faults  # noqa: PLC0415
    from botobs.metricpack.builder import Builder  # noqa: PLC0415
    from botobs.metricpack.opening import open_market, open_source, open_store, rules_of  # noqa: PLC0415
    from botobs.metricpack.page import Page  # noqa: PLC0415
    from botobs.metricpack.service import Service  # noqa: PLC0415
    from botobs.metricpack.store import StoreTrouble  # noqa: PLC0415
    from botobs.sinks.endpoint import Endpoint  # noqa: PLC0415

    faults = Faults()
    rules, market, source = rules_of(settings), open_market(settings), open_source(settings)
    try:
        store = open_store(settings)
    except StoreTrouble as error:
        raise BotobsError(str(error)) from error

    def standing() -> dict[str, float | None]:
        return {
            "builder_lag_seconds": service.lag_s(), "builder_active": int(service.role == "active"),
            "builder_gaps_total": service.gaps, "builder_unanswered_total": getattr(market, "unanswered", None),
        }  # fmt: skip

    about = {"service.name": "botobs-metricpack", "service.version": botobs.__version__}
    page = Page(settings.prefix, about, standing)
    with _progress(source, wanted=not as_json) as told:
        service = Service(
            source, store, lambda saved: Builder(rules, market, saved), page, faults,
            start=settings.start, takeover_s=settings.takeover, most=settings.batch, told=told,
            part="" if settings.shard is None else ", part {} of {}".format(*settings.shard),
        )  # fmt: skip
        if hasattr(market, "beat"):
            market.beat = service.beat
        with _logging(), _stopping(service.stop):
            if once:
                service.run(once=True)
            else:
                endpoint = Endpoint(
                    settings.host,
                    settings.port,
                    page.render,
                    service.health,
                    faults,
                    token=settings.token,
                    advice="set METRICPACK_TOKEN, or leave the host at 127.0.0.1",
                )
                _with_endpoint(service.run, endpoint)
    if once:
        _show(service.summary, as_json=as_json)
    return 0


def _with_endpoint(work: Callable[[], None], endpoint: Any) -> None:
    """Serve while it works; a port that is taken is tried again until it is free."""
    import time  # noqa: PLC0415

    over = threading.Event()

    def listen() -> None:
        while not endpoint.retry() and not over.wait(1.0):
            pass
        if endpoint.up:
            say([f"metrics: {endpoint.url}/metrics"])

    listening = threading.Thread(target=listen, name="botobs-metricpack-listen", daemon=True)
    listening.start()
    try:
        work()
    finally:
        over.set()
        listening.join(2.0)
        endpoint.close(time.monotonic() + 2.0)


@contextlib.contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """End in order on Ctrl-C and SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Say on standard error what the process has to complain of."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("botobs")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextlib.contextmanager
def _progress(source: Source, *, wanted: bool) -> Iterator[Callable[[Batch], object] | None]:
    """Show a person how far it is while it catches up."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"catching up: {source.name}", visible=False, total=None)

        shown: list[bool] = []

        def told(batch: Batch) -> None:
            found: Progress | None = source.progress()
            if found is not None:
                bars.update(task, completed=found.done, total=found.total, visible=batch.behind)
                if not shown and batch.behind:
                    shown.append(True)
                    bars.refresh()  # the first time at once, however soon it is through

        yield told


# --- what it came to


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(summary)
        return
    counted = (
        f"{count(summary['events'], 'event')}, {count(summary['trades'], 'closed trade')}, "
        f"{summary['open_trades']:,} open"
    )
    said = [f"{plain_line(summary['source'])}: {counted}"]
    noted = {name: summary[name] for name in ("duplicates", "unreadable") if summary[name]}
    if noted or summary["ignored"]:
        parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in (noted | summary["ignored"]).items()]
        said.append(f"left out: {', '.join(parts)}")
    if summary["actions"]:
        rows = [
            (each["symbol"], each["regime"], each["action"], money(each["realized_pnl"], 2), percent(each["winrate"]),
             f"{sum(each['exits'].values()):,}")
            for each in summary["actions"]
        ]  # fmt: skip
        left = ("symbol", "regime", "action")
        said += heading("exits")
        said += grid((*left, "realized PnL", "won", "exits"), rows, left=left)
    if summary["regimes"]:
        trades = [
            (each["symbol"], each["regime"], f"{each['trades']:,}", money(each["expectancy"], 2),
             figure(each["profit_factor"]))
            for each in summary["regimes"]
        ]  # fmt: skip
        said += heading("trades")
        said += grid(("symbol", "regime", "trades", "expectancy", "profit factor"), trades, left=("symbol", "regime"))
    say(said)
