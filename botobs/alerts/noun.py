"""`obs.alerts`: tells a person, once, and never makes the bot wait."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botobs.alerts.alert import made
from botobs.alerts.answer import Answer
from botobs.alerts.desk import Desk, Origin
from botobs.alerts.digest import Burst
from botobs.alerts.fates import Fates
from botobs.alerts.judging import Judge
from botobs.alerts.outbox import Letter
from botobs.alerts.receivers import Callback, Post
from botobs.alerts.room import Room
from botobs.alerts.rules import Rule, built_in
from botobs.alerts.saved import Saved
from botobs.alerts.scrub import Scrub
from botobs.config import seconds
from botobs.events.alerts import AlertFate
from botobs.timebox import Pool

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botobs.alerts.rules import Condition, Said
    from botobs.alerts.slack import Slack
    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.report import Counts
    from botobs.streams.redact import Redactor

__all__ = ["Alerts"]

Fn = TypeVar("Fn")

_S: Final = 1_000_000_000
_MOST_HANGING: Final = 4


class Alerts:
    """What a person is told: through Slack, and through any function given to `to`.

    No method but `test`, `flush` and `close` waits for anything, and none raises into the bot.

    Args:
        webhook_url: An incoming webhook of Slack; a secret.
        bot_token: A bot's token, instead; a secret. With it, recoveries answer their alert in its thread.
        channel: The channel that the bot posts to.
        api_url: Where Slack's Web API is; `None`: where it is.
        folder: Where `alerts.json` is kept; `None`: nothing is remembered.
        write: Takes the fields of a line of `alerts.jsonl`.
        subscribe: Calls a function with every event of a class from now on.
        clock: Tells the time.
        faults: Where errors and losses are counted.
        redactor: Takes secrets out of what is said.
        bot: The bot's name.
        run_id: The run.
        cooldown: How long a key is silent after a message.
        burst: How many alerts may go out one by one within `burst_window`; more become a digest.
        burst_window: How long that is.
        drawdown: How far equity may fall below its peak before it is told, as a fraction; `None`: not told.
        rules: The built-in rules; `None`: those of `built_in`.
        limit: How long a function given to `to` may take.
        threaded: Whether there are threads. A backtest has none: everything happens before `send` returns.
        chance: Spreads attempts; a test gives its own.

    Example:
        >>> from botobs.faults import Faults
        >>> from botobs.testing import Clock
        >>> alerts = Alerts(write=lambda line: None, faults=Faults(), clock=Clock(), threaded=False)
        >>> @alerts.to
        ... def page(alert):
        ...     print(alert.level, alert.title, "over" if alert.recovery else "now")
        >>> alerts.send("warning", "Spread is wide", key="spread")
        warning Spread is wide now
        >>> alerts.send("warning", "Spread is wide", key="spread")  # within the hour: held back
        >>> alerts.resolve("spread")
        info Spread is wide over
    """

    def __init__(
        self,
        *,
        write: Callable[[dict[str, Any]], object],
        faults: Faults,
        clock: Clock,
        webhook_url: str | None = None,
        bot_token: str | None = None,
        channel: str | None = None,
        api_url: str | None = None,
        folder: Path | None = None,
        subscribe: Callable[[type[Event], Callable[[Event], object]], object] | None = None,
        redactor: Redactor | None = None,
        bot: str = "",
        run_id: str = "",
        cooldown: Any = "1h",
        burst: int = 5,
        burst_window: Any = "10s",
        drawdown: float | None = 0.05,
        rules: tuple[Rule, ...] | None = None,
        limit: Any = "5s",
        threaded: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._scrub = Scrub(redactor, webhook_url, bot_token)
        self._origin = Origin(bot, run_id)
        self._limit_s = seconds(limit)
        self._threaded = threaded
        self._subscribe = subscribe
        self._pools: list[Pool] = []
        self._fates = Fates(write, self._failed)
        self._desk = Desk(
            self._origin,
            cooldown_ns=round(seconds(cooldown) * _S),
            burst=Burst(burst, round(seconds(burst_window) * _S)),
            saved=Saved(folder),
            fates=self._fates,
            judge=Judge(self._pool(), self._failed),
            scrub=self._scrub,
            clock=clock,
            faults=faults,
            failed=self._failed,
        )
        self._room = Room(self._desk, self._fates, faults=faults, failed=self._failed, threaded=threaded, chance=chance)
        self._slack = _slack(webhook_url, bot_token, channel, api_url, clock)
        if self._slack is not None:
            self._desk.welcome(self._room.receiver(Post(self._slack, self._pool())))
        for rule in built_in(drawdown=drawdown) if rules is None else rules:
            self._listen(rule)
        self._room.begin()  # last: it begins a thread

    # -- what a bot calls --------------------------------------------------------------------------------------------

    def send(
        self, level: str, title: str, message: str = "", fields: Mapping[str, Any] | None = None, key: str | None = None
    ) -> None:
        """Tell a person. Returns at once.

        Args:
            level: `info`, `warning` or `critical`, in any case. Critical alerts are never part of a digest, and what
                could not be delivered of them is tried again after a restart.
            title: What happened, in a line.
            message: More about it.
            fields: Figures by name.
            key: What it is about. After a message of a key, more of that key are held back for an hour, unless their
                level is higher, or `resolve` says that it is over. Without a key the same words are held back.
        """
        try:
            if type(fields) is dict:
                fields = fields.copy()  # the bot may change it before it is looked at
            clock = self._clock
            self._room.put(("said", clock.time_ns(), clock.perf_ns(), level, title, message, fields, key), level)
        except Exception as error:
            self._failed("alerts.send", error)

    def resolve(self, key: str) -> None:
        """What `key` was about is over: a person is told so, if told of it before. Its cooldown ends."""
        try:
            self._room.put(("over", self._clock.time_ns(), self._clock.perf_ns(), key))
        except Exception as error:
            self._failed("alerts.resolve", error)

    def on(  # noqa: PLR0917  # the contract
        self,
        event_type: type[Event],
        when: Condition | None = None,
        level: Said = "warning",
        title: Said | None = None,
        message: Said | None = None,
        key: Said | None = None,
        fields: Any = (),
        *,
        until: Condition | None = None,
    ) -> None:
        """Tell a person of events.

        Texts are templates with the event's fields in them, such as `"{symbol} closed at {price}"`, or functions of
        the event. A function that fails is counted, and the rule passes that event over.

        Args:
            event_type: The class of events, subclasses included.
            when: Of which of them; `None`: of all.
            level: `info`, `warning`, `critical`.
            title: What happened; `None`: the class's name.
            message: More about it.
            key: What it is about; `None`: the title's template and the symbol.
            fields: Names of fields to show; or what to show under which name; or a function that gives a mapping.
            until: Which of them say that it is over.

        Example:
            >>> from botobs.events import TradeClosed
            >>> def large(trade): return trade.record["net_pnl"] < -500
            >>> obs.alerts.on(TradeClosed, when=large, title="{symbol} lost {net_pnl}")  # doctest: +SKIP
        """
        if isinstance(fields, str):
            fields = (fields,)
        elif not callable(fields) and not hasattr(fields, "items"):
            fields = tuple(fields or ())
        self._listen(
            Rule(
                event=event_type, when=when, level=level, title=title or "", message=message or "", key=key,
                fields=fields, until=until,
            )
        )  # fmt: skip

    def to(self, fn: Fn, *, limit: Any = None) -> Fn:
        """Give every alert to `fn` as well: a phone, a pager, a log. Usable as a decorator; may be async.

        It runs on a thread of its own, one alert after the other. What it raises is counted; what takes too long is
        given up.

        Args:
            fn: Gets the `Alert`.
            limit: How long it may take; `None`: 5 s.
        """
        if not callable(fn):
            self._failed("alerts.to", TypeError(f"takes a function, not {type(fn).__name__}"))
            return fn
        try:
            limit_s = self._limit_s if limit is None else seconds(limit)
        except (TypeError, ValueError) as error:
            self._failed("alerts.to", error)
            limit_s = self._limit_s
        self._room.put(("welcome", self._room.receiver(Callback(fn, limit_s, self._pool(), self._failed))))
        return fn

    def test(self) -> Answer:
        """Send one alert now, past every queue, and wait for what Slack answers; without Slack, what functions do.

        Example:
            >>> print(obs.alerts.test())  # doctest: +SKIP
            delivered: ok (0.21 s)
        """
        alert = made(
            f"{self._origin.run_id}-test", "info", "A test", "botobs can reach you here.", None, "test",
            scrub=self._scrub, ts_ns=self._clock.time_ns(), bot=self._origin.bot, run_id=self._origin.run_id,
        )  # fmt: skip
        letter = Letter(alert, urgent=False, since_ns=0)
        self._room.sync()  # a function may have been given just now
        ways = [receiver.way for receiver in self._desk.receivers]
        ways = [way for way in ways if way.slack] or ways
        if not ways:
            return Answer(
                outcome="refused", why="there is no slack_webhook_url, and no function was given to alerts.to"
            )
        answers = [(way.name, way.take(letter)) for way in ways]
        for name, answer in answers:
            self._fates.line(alert, "delivered" if answer else "failed", to=name, answer=answer)
        return min((answer for _, answer in answers), key=bool)

    # -- what the observer calls -------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """Delivered, pending and dropped so far; what was held back is none of these."""
        return self._room.counts

    def poll(self) -> None:
        """Do what is due: without threads, as the clock advances."""
        self._room.wake()

    def hurry(self, deadline: float, *, ending: bool = False) -> None:
        """Send what waits, while somebody else is waited for until `deadline` (monotonic).

        Args:
            deadline: Until when there is hope.
            ending: It is the end: what rests after a failure is tried once more.
        """
        self._room.hurry(deadline, ending=ending)

    def flush(self, deadline: float) -> bool:
        """Deliver what came before the call; whether all of it has gone before `deadline` (monotonic)."""
        return self._room.flush(deadline)

    def close(self, deadline: float) -> bool:
        """Deliver everything and end. Critical alerts that remain are kept for the next run."""
        done = self._room.close(deadline)
        for pool in self._pools:
            pool.close()
        return done

    def abandon(self) -> None:
        """Forget everything in a forked child; its verbs do nothing from here on."""
        self._room.abandon()

    def __repr__(self) -> str:
        counts = self.counts
        where = "Slack" if self._slack is not None else f"{len(self._desk.receivers)} functions"
        return f"<Alerts to {where}: {counts.delivered} delivered, {counts.pending} pending, {counts.dropped} dropped>"

    # -- in between --------------------------------------------------------------------------------------------------

    def _pool(self) -> Pool | None:
        # one for each, none of them the process's own: what hangs must keep nobody else from being called
        if not self._threaded:
            return None
        self._pools.append(Pool(most_abandoned=_MOST_HANGING))
        return self._pools[-1]

    def _listen(self, rule: Rule) -> None:
        if self._subscribe is None:
            return
        try:
            self._subscribe(rule.event, functools.partial(self._seen, rule))
        except Exception as error:
            self._failed("alerts.on", error)

    def _seen(self, rule: Rule, event: Event) -> None:
        if isinstance(event, AlertFate):  # an alert about what became of an alert, and so on for ever
            return
        clock = self._clock
        item = ("happened", rule, event, clock.time_ns(), clock.perf_ns())
        self._room.put(item, "critical" if rule.trusted else "warning")

    def _failed(self, where: str, error: BaseException) -> None:
        with contextlib.suppress(Exception):  # strict mode raises; here the work has to go on
            self._faults.error(where, self._scrub.error(error))


def _slack(
    webhook_url: str | None, bot_token: str | None, channel: str | None, api_url: str | None, clock: Clock
) -> Slack | None:
    if not webhook_url and not (bot_token and channel):
        return None
    from botobs.alerts.slack import API_URL, SlackBot, SlackWebhook  # noqa: PLC0415  # 100 ms, for who has Slack

    if bot_token and channel:
        return SlackBot(bot_token, channel, clock, api_url=api_url or API_URL)
    return SlackWebhook(str(webhook_url), clock)
