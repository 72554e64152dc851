"""One run of the demo: the exchange, the bot and an observer brought together, and taken apart in good order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import orjson

from botobs.clock import rfc3339
from botobs.config import load
from botobs.demo.bot import Bot
from botobs.demo.exchange import DEPOSIT, SYMBOLS, Exchange
from botobs.demo.readings import Reading, Readings
from botobs.demo.standing import Agreement
from botobs.demo.timeline import Timeline
from botobs.errors import ConfigError
from botobs.observer import Observer
from botobs.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botobs.config import Settings
    from botobs.report import Report

__all__ = ["Outcome", "Plan", "Scene", "Show", "play"]

BOT: Final = "demo-bot"
_RUN: Final = re.compile(r"demo-\d+(?:\.(\d+))?")
_END_S: Final = 0.8  # the demo is over within a second of its time, whatever a collector does; where there is none,
_UNHURRIED_END_S: Final = 5.0  # a machine that has much else to do costs it no record
_PORT_TROUBLE: Final[dict[int | None, str]] = {errno.EADDRINUSE: "is in use", errno.EACCES: "is not for this user"}


@attrs.frozen(kw_only=True)
class Plan:
    """What to play.

    Attributes:
        seconds: How long.
        seed: What prices, latencies, refusals and ids are drawn from.
        port: Where metrics are served; 0 for any free port.
        data_dir: Where records go; `None`: what environment and file say, else `data`.
    """

    seconds: float
    seed: int
    port: int
    data_dir: str | None = None


@attrs.frozen(kw_only=True)
class Scene:
    """What is known when the demo begins.

    Attributes:
        plan: What is played.
        data_dir: Where records go, as it was given.
        url: Where metrics are served, if they are.
        notes: What is not as one might expect, one sentence each.
        sends: Whether there is a collector for traces.
        run_id: The run's id.
    """

    plan: Plan
    data_dir: Path
    url: str | None
    notes: tuple[str, ...]
    sends: bool
    run_id: str


@attrs.frozen(kw_only=True)
class Outcome:
    """How it ended.

    Attributes:
        scene: How it began.
        reading: The last reading.
        records: Records written, by stream.
        report: What `shutdown` reported.
        agreement: What the exchange's statement says to botobs's numbers.
        trouble: What is wrong with the statement's files, if something is.
        collector: What is wrong with the collector, if something is.
        stopped_by: The signal that ended it early, or `None`.
    """

    scene: Scene
    reading: Reading
    records: dict[str, int]
    report: Report
    agreement: Agreement
    trouble: str | None
    collector: str | None
    stopped_by: signal.Signals | None

    @property
    def lost(self) -> int:
        """Records that did not reach the disk."""
        return self.report.records.dropped + self.report.records.pending


class Show(Protocol):
    """Somebody who looks on."""

    every_s: float

    def begin(self, scene: Scene) -> None:
        """The bot is about to start."""

    def progress(self, reading: Reading) -> None:
        """Time has passed."""

    def finish(self) -> None:
        """The bot has ended; called in any case."""


def play(plan: Plan, show: Show) -> Outcome:
    """Play the demo.

    Raises:
        ConfigError: The data directory or a setting will not do.
    """
    return asyncio.run(_play(plan, show))


async def _play(plan: Plan, show: Show) -> Outcome:
    keywords: dict[str, Any] = {"mode": "live", "bot_version": "demo", "prometheus_port": plan.port}
    if plan.data_dir is not None:
        keywords["data_dir"] = plan.data_dir
    # whatever environment and file say: a game must not ring anybody, and counts from what the exchange was given
    keywords |= {"slack_webhook_url": None, "redis_url": None, "starting_equity": DEPOSIT, "ledger": True}
    settings = load(BOT, keywords)
    assert settings.data_dir is not None  # only a backtest may be without
    before = _runs_before(settings.data_dir)
    run_id = f"demo-{plan.seed}" + (f".{before + 1}" if before else "")
    notes = []
    trouble = _port_trouble(settings)
    if trouble is not None:
        keywords["prometheus_port"] = 0
        notes.append(f"port {plan.port} {trouble}, so metrics are on a free one")
    timeline = Timeline()
    exchange = Exchange(timeline, plan.seconds, plan.seed, folder=settings.data_dir / "exchange", session=run_id)
    with _signals(exchange) as caught:
        since = rfc3339(time.time_ns())
        # the same seed gives the same ids
        observer = Observer.start(BOT, keywords, Parts(seed=plan.seed, run_id=run_id))
        try:
            readings = Readings(observer, exchange)
            readings.start()
            scene = _scene(plan, settings, observer, notes)
            show.begin(scene)
            begun = time.monotonic()
            await _watch(_run_bot(timeline, exchange), exchange, show, lambda: readings.now(time.monotonic() - begun))
            ran_s = time.monotonic() - begun
            agreement = Agreement.of(observer, exchange)
            report = observer.shutdown(_END_S if scene.sends else _UNHURRIED_END_S)
            readings.stop()
            return Outcome(
                scene=scene,
                reading=readings.now(ran_s),
                records=readings.by_stream(since),
                report=report,
                agreement=agreement,
                trouble=exchange.statement.trouble,
                collector=next(iter(observer.health_page()["otlp"]["trouble"]), None),
                stopped_by=caught[0] if caught else None,
            )
        finally:
            show.finish()
            observer.shutdown(_END_S)
            exchange.statement.close()


async def _run_bot(timeline: Timeline, exchange: Exchange) -> None:
    bot = Bot(exchange)
    bot.catch_up()
    await timeline.run(*(bot.trade(symbol) for symbol in SYMBOLS), bot.take_funding())


async def _watch(bot: Any, exchange: Exchange, show: Show, reading: Any) -> None:
    """Let the bot run and show how it does; if that fails (a closed pipe), end the bot in good order first."""
    task = asyncio.ensure_future(bot)
    try:
        while not (await asyncio.wait({task}, timeout=show.every_s))[0]:
            show.progress(reading())
    finally:
        exchange.close()
        await task


def _scene(plan: Plan, settings: Settings, observer: Observer, notes: list[str]) -> Scene:
    before = observer.previous_run
    if before is not None and before.unclean:
        notes.append(f"the run before ({before.run_id}, pid {before.pid}) did not end cleanly")
    endpoint = observer.endpoint
    serves = endpoint is not None and endpoint.up
    if endpoint is not None and not serves:
        notes.append(f"no metrics: {endpoint.state}")
    assert settings.data_dir is not None  # checked before
    return Scene(
        plan=plan,
        data_dir=settings.data_dir,
        url=endpoint.url if serves and endpoint is not None else None,
        notes=tuple(notes),
        sends=observer.health_page()["otlp"]["endpoint"] == "on",
        run_id=observer.run_id,
    )


def _runs_before(data_dir: Path) -> int:
    """How often the demo ran in a directory; what another bot wrote is left alone."""
    hint = "the demo takes one of its own, such as --data-dir /tmp/botobs-demo"
    try:
        content = (data_dir / "state" / "run.json").read_bytes()
    except FileNotFoundError:
        if next(data_dir.glob("logs/*.jsonl"), None) or (data_dir / "metrics" / "fills.jsonl").exists():
            raise ConfigError(f"data_dir = {str(data_dir)!r} has records of a run that is not known; {hint}") from None
        return 0
    except (OSError, ValueError):
        return 0  # whatever it is, `start` has better words for it
    try:
        said = orjson.loads(content)
        owner = said["bot"]
    except Exception:  # torn, or not ours
        said = owner = None
    if owner != BOT:
        whose = f"belongs to the bot {owner!r}" if isinstance(owner, str) else "belongs to a bot that is not known"
        raise ConfigError(f"data_dir = {str(data_dir)!r} {whose}; {hint}")
    found = _RUN.fullmatch(str(said.get("run_id")))
    return 1 if found is None else int(found[1] or 1)


def _port_trouble(settings: Settings) -> str | None:
    """Why the port for metrics cannot be had; what is wrong with the host is for the observer to say."""
    try:
        found = socket.getaddrinfo(
            settings.prometheus_host, settings.prometheus_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            return _PORT_TROUBLE.get(error.errno)
    return None


@contextlib.contextmanager
def _signals(exchange: Exchange) -> Iterator[list[signal.Signals]]:
    """End the bot in good order on Ctrl-C and SIGTERM, unless somebody has other plans for them."""
    caught: list[signal.Signals] = []
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        exchange.close()

    ours = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    set_up = []
    for number in ours:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(number, stop, number)
            set_up.append(number)
    try:
        yield caught
    finally:
        for number in set_up:
            loop.remove_signal_handler(number)
