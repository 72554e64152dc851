"""The desk: where every alert passes on its way out. All of it runs on one thread, and waits for nobody.

```
 send, rules ─▶ intake ─▶ cooldown ─▶ burst ─▶ kept, if critical ─▶ outbox of each receiver ─▶ its thread
                             held     digested    state/alerts.json        ▲        answer ─▶ fate
                                                                           └── retrying ──┘
```
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.alerts.alert import Alert, level_of, made
from botobs.alerts.answer import Answer
from botobs.alerts.cooldown import Cooldowns, Said
from botobs.alerts.digest import Burst, digest_text
from botobs.alerts.outbox import Letter
from botobs.alerts.saved import Kept, Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.alerts.fates import Fates
    from botobs.alerts.judging import Judge
    from botobs.alerts.receivers import Receiver
    from botobs.alerts.rules import Rule
    from botobs.alerts.scrub import Scrub
    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.report import Counts

__all__ = ["Desk", "Origin"]

_SAVE_S: Final = 1.0  # what was held back is counted on disk this often; what was sent at once
_MOST_KEPT: Final = 200
_MOST_EARLY: Final = 32
_EARLY_NS: Final = 60 * 10**9
_NOWHERE: Final = Answer(outcome="refused", why="nowhere to send it: no slack_webhook_url, no alerts.to(fn)")


@attrs.frozen
class Origin:
    """Who speaks: the bot and its run."""

    bot: str
    run_id: str


class Desk:
    """Decides what becomes of each alert. Not safe for threads: one thread runs it.

    Args:
        origin: Who speaks.
        cooldown_ns: How long a key is silent.
        burst: Collects what comes at once.
        saved: What the next run has to know.
        fates: Where it is written what became of each.
        judge: Asks the rules.
        scrub: Takes secrets out.
        clock: Tells the time.
        faults: Where losses are counted.
        failed: Told where and why something failed.
    """

    def __init__(
        self, origin: Origin, *, cooldown_ns: int, burst: Burst, saved: Saved, fates: Fates, judge: Judge,
        scrub: Scrub, clock: Clock, faults: Faults, failed: Callable[[str, BaseException], None],
    ) -> None:  # fmt: skip
        self._origin = origin
        self._burst = burst
        self._saved = saved
        self._fates = fates
        self._judge = judge
        self._scrub = scrub
        self._clock = clock
        self._faults = faults
        self._failed = failed
        self._cooldowns = Cooldowns(cooldown_ns)
        self._kept: dict[str, Kept] = {}
        self._began_ns = clock.perf_ns()
        self._early: collections.deque[Alert] = collections.deque(maxlen=_MOST_EARLY)
        self._threads: dict[str, str] = {}
        self._number = 0
        self._dirty = self._urgent = False
        self._saved_at = -_SAVE_S
        self.receivers: list[Receiver] = []

    # -- what comes in -----------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take over what the run before left."""
        now, perf = self._clock.time_ns(), self._clock.perf_ns()
        keys, kept, wrong = self._saved.read(now)
        if wrong is not None:
            self._faults.say("alerts", "state", wrong)
        self._cooldowns.restore(keys, now_ns=now, perf_ns=perf)
        for one in kept[:_MOST_KEPT]:
            self._kept[one.alert.id] = one
            self._dirty = self._urgent = True  # the count of runs
            self._out(Letter(one.alert, urgent=True, since_ns=perf, answers=one.answers, thread=one.thread), perf)

    def said(  # noqa: PLR0917  # as it stands in the intake
        self, ts_ns: int, perf_ns: int, level: Any, title: Any, message: Any, fields: Any, key: Any
    ) -> None:
        """The bot says something."""
        _, certain = level_of(level)
        if not certain:
            self._faults.say("alerts", "level", "an alert's level is none of info, warning, critical: taken as warning")
        self._admit(self._made(level, title, message, fields, key, ts_ns=ts_ns), ts_ns, perf_ns)

    def happened(self, rule: Rule, event: Event, now_ns: int, perf_ns: int) -> None:
        """An event came that `rule` is about."""
        verdict = self._judge.ask(rule, event, perf_ns)
        if verdict is None:
            return
        if verdict.says == "over":
            self.over(now_ns, perf_ns, verdict.key, verdict.message)
            return
        kind = type(event).kind or type(event).__name__
        self._admit(
            self._made(
                verdict.level, verdict.title, verdict.message, verdict.fields, verdict.key, ts_ns=event.ts_ns,
                symbol=event.symbol, event=kind,
            ),
            now_ns,
            perf_ns,
        )  # fmt: skip

    def over(self, ts_ns: int, perf_ns: int, key: Any, ending: str = "") -> None:
        """What `key` was about is over: say so once, and listen again."""
        about = made("", "info", "", "", None, key, scrub=self._scrub, ts_ns=0).key
        said = self._cooldowns.resolve(about)
        if said is None:
            return
        lasted = max(ts_ns - said.began_ns, 0) / 1e9
        told = f"Over after {_span(lasted)}.{' ' if ending else ''}{ending}"
        alert = self._made("info", said.title, told, None, about, ts_ns=ts_ns)
        alert = attrs.evolve(alert, recovery=True, held=said.held, since_ns=said.held_since_ns)
        self._dirty = self._urgent = True
        self._route(alert, perf_ns, said)

    def answered(self, receiver: Receiver, letter: Letter, answer: Answer) -> None:
        """A receiver answered."""
        perf, alert = self._clock.perf_ns(), letter.alert
        given_up = receiver.outbox.answered(answer, perf)
        if answer.outcome == "again":
            rest_ns = receiver.outbox.rest_ns
            self._faults.say(
                "alerts", answer.why, f"{receiver.name} did not take {alert.title!r}: {answer.why}; tried again"
            )
            if letter not in given_up:
                wait = None if rest_ns is None else round(max(rest_ns - perf, 0) / 1e9, 3)
                self._fates.line(
                    alert, "retrying", to=receiver.name, answer=answer, attempt=letter.attempts, retry_in_s=wait
                )
            for old in given_up:
                self._failed_for(receiver, old, answer)
            return
        if answer.delivered:
            self._delivered_to(receiver, letter, answer)
        else:
            self._failed_for(receiver, letter, answer)

    def lost(self, count: int) -> None:
        """So many came while there was no room for them."""
        self._fates.dropped += count
        alert = self._made(
            "warning", f"{count} alerts lost", "They came faster than they could be looked at.", None, "alerts-lost",
            ts_ns=self._clock.time_ns(),
        )  # fmt: skip
        self._fates.line(alert, "failed", error="the queue was full", count=count)

    def welcome(self, receiver: Receiver) -> None:
        """One more receiver; it also gets what rules said in the first minute: how the last run ended, for one."""
        perf = self._clock.perf_ns()
        alone = not self.receivers
        self.receivers.append(receiver)
        if receiver.slack:
            return
        early = list(self._early) if perf - self._began_ns < _EARLY_NS else []
        if alone:
            known = {alert.id for alert in early}
            early = [one.alert for one in self._kept.values() if one.alert.id not in known] + early
        for alert in early:
            self._post(receiver, Letter(alert, urgent=alert.critical, since_ns=perf))

    # -- what goes out -----------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Send what is due, keep what has to be kept; whether a receiver got something."""
        perf = self._clock.perf_ns()
        self._digest(perf)
        self.save()  # before the first attempt: what is being sent may be lost with the process
        moved = False
        for receiver in self.receivers:
            self._thread_of(receiver)
            moved = receiver.hand_out(perf) or moved
        return moved

    def due_s(self) -> float | None:
        """In how many seconds there is something to do; `None`: nothing waits for its time."""
        dues = [due for receiver in self.receivers if (due := receiver.outbox.due_ns()) is not None]
        if self._burst.due_ns is not None:
            dues.append(self._burst.due_ns)
        waits = [max(min(dues) - self._clock.perf_ns(), 0) / 1e9] if dues else []
        if self._dirty:
            waits.append(max(self._saved_at + _SAVE_S - time.monotonic(), 0.01))
        return min(waits) if waits else None

    def settled(self) -> bool:
        """Whether everything has gone its way."""
        return not self._burst.waiting and not any(len(receiver.outbox) for receiver in self.receivers)

    def hopeless(self, within_s: float) -> bool:
        """Whether waiting so long would change nothing."""
        perf = self._clock.perf_ns()
        for receiver in self.receivers:
            if receiver.outbox.away is not None:
                return False
            due = receiver.outbox.due_ns()
            if due is not None and (due - perf) / 1e9 <= within_s:
                return False
        return True

    def hurry(self) -> None:
        """The end is near: what was collected goes out, what rests is tried once more."""
        self._digest(self._clock.perf_ns(), force=True)
        for receiver in self.receivers:
            receiver.outbox.hurry()

    def digest_now(self) -> None:
        """What was collected goes out."""
        self._digest(self._clock.perf_ns(), force=True)

    def end(self) -> None:
        """Say what becomes of what is left: critical alerts are kept, the others are given up."""
        for receiver in self.receivers:
            for letter in receiver.outbox.empty():
                if letter.alert.id in self._kept:
                    self._fates.end(letter.alert, taken=False, kept=True)
                else:
                    self._failed_for(receiver, letter, Answer(outcome="refused", why="the bot ended before"))
        for kept in self._kept.values():
            self._fates.line(kept.alert, "pending", runs=kept.runs or None)
        self._dirty = True
        self.save(now=True)

    def save(self, *, now: bool = False) -> None:
        """Keep for the next run what it has to know, if that changed."""
        if not self._dirty:
            return
        at = time.monotonic()  # how often the disk is asked is no matter of the bot's clock
        if not (self._urgent or now) and 0 <= at - self._saved_at < _SAVE_S:
            return
        self._saved_at = at
        self._urgent = False
        try:
            self._saved.write(self._cooldowns.state, self._kept.values())
        except Exception as error:  # the disk is full: the next attempt comes
            self._failed("alerts.state", error)
        else:
            self._dirty = False

    def counts(self, waiting: int) -> Counts:
        """The counts of the report; `waiting` stand before the desk."""
        return self._fates.counts(waiting + self._burst.waiting + self.left_over())

    def left_over(self) -> int:
        """How many critical alerts nobody will take in this run, though there is somebody to take them."""
        if not self.receivers:
            return 0
        return sum(not self._fates.is_open(alert_id) for alert_id in list(self._kept))

    # -- in between --------------------------------------------------------------------------------------------------

    def _made(self, level: Any, title: Any, message: Any, fields: Any, key: Any, **more: Any) -> Alert:
        self._number += 1
        return made(
            f"{self._origin.run_id}-{self._number}", level, title, message, fields, key, scrub=self._scrub,
            bot=self._origin.bot, run_id=self._origin.run_id, **more,
        )  # fmt: skip

    def _admit(self, alert: Alert, now_ns: int, perf_ns: int) -> None:
        self._dirty = True
        admitted = self._cooldowns.admit(alert, now_ns, perf_ns)
        if admitted is None:
            self._fates.line(alert, "held")
            return
        self._urgent = True
        self._route(admitted, perf_ns, None)

    def _route(self, alert: Alert, perf_ns: int, over: Said | None) -> None:
        """Send it, or let it wait for the digest."""
        urgent = alert.critical or (over is not None and over.rank == 2)
        if not urgent and not self._burst.admit(alert, perf_ns):
            self._fates.line(alert, "digested")
            return
        letter = Letter(alert, urgent=urgent, since_ns=perf_ns)
        if over is not None:
            letter.answers, letter.thread = over.alert_id, over.thread
        if urgent:
            self._keep(letter)
        self._out(letter, perf_ns)

    def _digest(self, perf_ns: int, *, force: bool = False) -> None:
        collected = self._burst.take(perf_ns, force=force)
        if not collected:
            return
        if len(collected) == 1:
            alert = collected[0]
        else:
            level, title, message = digest_text(collected)
            now = self._clock.time_ns()
            alert = attrs.evolve(
                self._made(level, title, message, None, "digest", ts_ns=now), of=tuple(collected), event="digest"
            )
        self._out(Letter(alert, urgent=False, since_ns=perf_ns), perf_ns)

    def _out(self, letter: Letter, perf_ns: int) -> None:
        alert = letter.alert
        if alert.event is not None and perf_ns - self._began_ns < _EARLY_NS:
            self._early.append(alert)
        receivers = self.receivers
        if alert.late and any(one.slack for one in receivers):
            # a function had its chance in the run before; Slack is who still has to be told
            receivers = [one for one in receivers if one.slack]
        if not receivers:
            if alert.id in self._kept:
                self._fates.line(alert, "pending", answer=_NOWHERE)
            else:
                self._fates.line(alert, "failed", answer=_NOWHERE)
            return
        for receiver in receivers:
            self._post(receiver, attrs.evolve(letter))

    def _post(self, receiver: Receiver, letter: Letter) -> None:
        self._fates.begin(letter.alert, 1)
        pushed_out = receiver.outbox.put(letter)
        if pushed_out is not None:
            self._failed_for(receiver, pushed_out, Answer(outcome="refused", why="too many wait"))

    def _thread_of(self, receiver: Receiver) -> None:
        """Tell recoveries that wait where the alert they answer stands, now that it may be known."""
        for letter in receiver.outbox.waiting():
            if letter.answers is not None and letter.thread is None:
                letter.thread = self._threads.get(letter.answers)

    def _delivered_to(self, receiver: Receiver, letter: Letter, answer: Answer) -> None:
        alert = letter.alert
        if answer.thread is not None:
            self._threads[alert.id] = answer.thread
            while len(self._threads) > 1_000:
                del self._threads[next(iter(self._threads))]
            self._cooldowns.answered(alert, answer.thread)
            self._dirty = True
        if receiver.slack or not any(one.slack for one in self.receivers):
            self._forget(alert)
        self._fates.line(alert, "delivered", to=receiver.name, answer=answer, attempt=letter.attempts)
        self._fates.end(alert, taken=True, kept=False)

    def _failed_for(self, receiver: Receiver, letter: Letter, answer: Answer) -> None:
        alert = letter.alert
        self._fates.line(alert, "failed", to=receiver.name, answer=answer, attempt=letter.attempts or None)
        kept = alert.id in self._kept
        self._fates.end(alert, taken=False, kept=kept)
        if not kept:
            self._faults.count("alerts", alert.weight)
        self._faults.say("alerts", answer.why, f"{alert.title!r} was not delivered to {receiver.name}: {answer.why}")

    def _keep(self, letter: Letter) -> None:
        self._kept[letter.alert.id] = Kept(letter.alert, answers=letter.answers, thread=letter.thread)
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def _forget(self, alert: Alert) -> None:
        if self._kept.pop(alert.id, None) is not None:
            self._dirty = self._urgent = True


def _span(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> _span(5), _span(125), _span(7300)
        ('5 s', '2 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
