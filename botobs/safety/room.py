"""The rooms of safety as one observer has them: the kill switch, what feeds it, and who is told."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

from botobs.alerts import Alerts
from botobs.errors import TradingHalted
from botobs.events import AlertFate, KillSwitchRefused, KillSwitchTripped, KillSwitchWarned, TradeClosed
from botobs.safety.bars import same_bar
from botobs.safety.latch import HALTED
from botobs.safety.limits import decimal_of
from botobs.safety.refusals import Refusals
from botobs.safety.switch import KillSwitch
from botobs.streams.encode import dumps
from botobs.vitals import Alive, Freshness, FundingRates, HealthEmitter, Snapshots, Staleness, Watchdogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from botobs.bus import Bus
    from botobs.clock import Clock
    from botobs.config import Settings
    from botobs.faults import Faults
    from botobs.money.room import Money
    from botobs.performance import Performance
    from botobs.stages.site import Stage
    from botobs.streams.redact import Redactor

__all__ = ["Safety"]

_S = 1_000_000_000
_KEEP_NS = 60 * _S
_SHOWN = 5
_MOST_TRADES = 1_000


class Safety:
    """Everything that watches over one bot.

    Args:
        settings: What it runs with.
        data_dir: Where it is kept; `None`: nowhere.
        clock: The observer's.
        faults: Counts.
        bus: Where events go and come from.
        redactor: Takes secrets out of what a person is told.
        money: The account that is watched.
        performance: For what snapshots say of trades.
        run_id: This run.
    """

    def __init__(
        self,
        settings: Settings,
        data_dir: Path | None,
        *,
        clock: Clock,
        faults: Faults,
        bus: Bus,
        redactor: Redactor,
        money: Money,
        performance: Callable[[], Performance],
        run_id: str,
    ) -> None:
        self._live = live = settings.mode == "live"
        self._clock, self._faults, self._money, self._performance = clock, faults, money, performance
        self._publish = bus.publish
        self._folder = None if data_dir is None else data_dir / "state"
        self._kept_ns = 0
        self._looked_ns = 0
        self._breaches = 0
        self._begun = False
        self._refusals = Refusals()
        self._trades: dict[str, None] = {}  # the latest, as they were opened
        self.alerts = Alerts(
            write=lambda record: bus.publish(AlertFate(ts_ns=clock.time_ns(), record=record)),
            subscribe=lambda event, fn: bus.subscribe(event, fn, immediate=True, _trusted=True),
            faults=faults, clock=clock, redactor=redactor, folder=self._folder if live else None,
            bot=settings.bot, run_id=run_id, webhook_url=settings.slack_webhook_url if live else None,
            bot_token=settings.slack_bot_token if live else None, channel=settings.slack_channel if live else None,
            cooldown=settings.alert_cooldown, drawdown=settings.alert_drawdown, threaded=live,
        )  # fmt: skip
        try:
            self._build(settings, data_dir, bus)
        except BaseException:  # it has a thread already
            self.alerts.close(0.0)
            raise

    def _build(self, settings: Settings, data_dir: Path | None, bus: Bus) -> None:
        clock, faults, money, live = self._clock, self._faults, self._money, self._live
        self.kill_switch = KillSwitch(
            folder=self._folder if live else None, triggers=settings.kill_switch, equity_floor=settings.equity_floor,
            clock=clock, faults=faults, publish=bus.publish, reducing=self._reducing, order_of=self._order_of,
            has_fills=money.ledger.next_seq > 1, timezone=settings.timezone, threaded=live,
        )  # fmt: skip
        self.watchdogs = Watchdogs(clock, bus.publish, faults, after_s=settings.feed_silence, live=live)
        self.staleness = Staleness(
            clock, bus.publish, faults, after_s=settings.feature_age, most=settings.stale_features
        )
        self.funding = FundingRates(clock, bus.publish, faults, after_s=settings.funding_age)
        self.freshness = Freshness(self.staleness, self.watchdogs, self.funding)
        self.health = HealthEmitter(
            settings.health_every, bus.publish, lambda: money.account.equity, clock, faults=faults,
        )  # fmt: skip
        self.snapshots = Snapshots(
            money.account.curve.calendar, self._facts, bus.publish, clock=clock, faults=faults,
            data_dir=data_dir if live else None, asleep_s=60.0 if live else None,
        )  # fmt: skip
        self._alive: Alive | None = None
        for event in (KillSwitchTripped, KillSwitchWarned):
            bus.subscribe(event, self._breached, immediate=True, _trusted=True)
        if settings.alert_same_bar:
            bus.subscribe(TradeClosed, self._closed, immediate=True, _trusted=True)

    def begin(self) -> None:
        """The run begins, and the account is known."""
        self._restore()
        self.kill_switch.begin()
        if self._folder is not None and self._live:
            with contextlib.suppress(OSError):
                self._alive = Alive(self._folder, self._clock)
        for book in list(self._money.account.books.values()):
            if book.trade is not None:
                self._is_new(book.trade.trade_id)
        self._begun = True
        if self.kill_switch.watches_equity and self._money.account.terms.starting_equity is None:
            self._faults.say(
                "kill_switch", "starting_equity", "equity is limited, but starting_equity was not given: fills and "
                "prices cannot break the limit, only health(equity=...) can",
            )  # fmt: skip
        self.equity()

    # -- what feeds it -----------------------------------------------------------------------------------------------

    def equity(self) -> None:
        """The account is worth something else now: on the caller's thread, before the verb returns."""
        account = self._money.account
        if account.terms.starting_equity is None:
            return
        curve = account.curve
        self.kill_switch.equity(curve.equity, curve.peak, None, account.transfers)  # keywords would cost

    def said_equity(self, fields: Mapping[str, Any]) -> None:
        """The equity that the bot reports itself: never in the totals, but the worse of both decides.

        What is no number is one observation of unknown equity.
        """
        for name in ("equity", "equity_value"):
            if name not in fields:
                continue
            account = self._money.account
            said, own = decimal_of(fields[name]), None
            if account.terms.starting_equity is not None:
                own = account.curve.equity
            if said is not None and own is not None:
                said = min(said, own)
            self.kill_switch.equity(
                said, None if own is None else account.curve.peak, None if said is not None else "health",
                moved=account.transfers,
            )  # fmt: skip
            return

    def unknown_equity(self) -> None:
        """What is held has no price now: one observation of unknown equity."""
        account = self._money.account
        if account.terms.starting_equity is not None:
            self.kill_switch.equity(None, account.curve.peak, "price", moved=account.transfers)

    def filled(self, symbol: str, bar_id: Any, change: Any) -> None:
        """A fill was booked: what it opened and closed counts before the verb returns."""
        try:
            for trip in change.closed:
                self.kill_switch.closed(trip.net)
            # what adds to a trade or closes a part of one neither opens nor closes it
            opened = change.next_trade_id
            if opened is None and not change.closed_qty and self._is_new(change.trade_id):
                opened = change.trade_id
            closed = [trip.trade_id for trip in change.closed]
            self.kill_switch.fill(symbol, bar_id, opened=opened, closed=closed)
        except Exception as error:  # the fill is booked whatever we make of it
            self._faults.error("safety", error)

    def _is_new(self, trade_id: str | None) -> bool:
        known = self._trades
        if trade_id is None or trade_id in known:
            return False
        known[trade_id] = None
        if len(known) > _MOST_TRADES:
            del known[next(iter(known))]
        return True

    def _closed(self, event: TradeClosed) -> None:
        """A round trip ended: in the bar that it began in?"""
        found = same_bar(event.ts_ns, event.record)
        if found is not None:
            self._publish(found)

    def decided(self) -> None:
        """The bot's loop made a turn."""
        self.watchdogs.decided()
        self.passing()

    def passing(self) -> None:
        """In a backtest time passes when the bot does something: let timers fire."""
        if not self._live and not 0 <= self._clock.time_ns() - self._looked_ns < _S:
            self._money.housekeep()  # which calls `chore`

    def chore(self) -> None:
        """Once a second."""
        for _piece in self.pieces():
            pass

    def pieces(self) -> Iterator[None]:
        """What is done once a second, piece by piece."""
        if not self._begun:
            return
        now = self._looked_ns = self._clock.time_ns()
        for looks in (
            (self.watchdogs.tick,),
            (self.staleness.tick, self.funding.tick, self.snapshots.tick),
            (self._touch, self._feed),  # the first lets go of the interpreter by itself
        ):
            for look in looks:
                try:
                    look()
                except Exception as error:  # the others have to look all the same
                    with contextlib.suppress(Exception):
                        self._faults.error("safety", error)
            yield
        if not 0 <= now - self._kept_ns < _KEEP_NS:
            self._kept_ns = now
            self._keep()
        if not self._live:
            self.kill_switch.now()
            self.alerts.poll()

    def _touch(self) -> None:
        silence = self.watchdogs.silence
        if self._alive is not None:
            self._alive.touch(decided_s=silence.age_s, limit_s=silence.limit_s)

    def _feed(self) -> None:
        silence = self.watchdogs.silence
        if not self.watchdogs.stalled:
            self.kill_switch.feeds(self.watchdogs.ages())
            if silence.age_s is not None:
                self.kill_switch.silence(silence.age_s, silence.limit_s)

    def refuse_stale(self, stage: Stage) -> None:
        """A stage that wants fresh data does not get by with old.

        Raises:
            TradingHalted: Something is stale.
        """
        try:
            stale = self.freshness.stale()
        except Exception as error:  # nothing is known to be stale
            self._faults.error("safety", error)
            return
        if not stale:
            return
        said = ", ".join(f"{name} is {age:.0f} s old" for name, age in list(stale.items())[:_SHOWN])
        reason = f"stale data: {said}" + (f" and {len(stale) - _SHOWN} more" if len(stale) > _SHOWN else "")
        try:
            self._note_refusal(stage, reason)
        except Exception as error:  # to refuse is one thing, the record another
            with contextlib.suppress(Exception):
                self._faults.error("safety", error)
        halt = TradingHalted(f"{stage.label} was refused: {reason}")
        halt.reason = reason
        raise halt

    def _note_refusal(self, stage: Stage, reason: str) -> None:
        suppressed = self._refusals.admit(stage.order, self._clock.perf_ns())
        if suppressed is None:
            return
        order = None if stage.order is None else self._order_of(stage.order)
        self._publish(
            KillSwitchRefused(
                ts_ns=self._clock.time_ns(), state=self.kill_switch.state, reason=reason,
                since=self.kill_switch.since, order_id=stage.order, order=order, stage=stage.label,
                reduces=stage.reduces, symbol=None if order is None else order.get("symbol"),
                suppressed=suppressed or None,
            )
        )  # fmt: skip

    def page(self) -> dict[str, Any]:
        """What `/health` says of it; `status` is `ok`, `stale` or `halted`."""
        switch, silence, ages = self.kill_switch, self.watchdogs.silence, self.watchdogs.ages()
        feeds: dict[str, dict[str, Any]] = {}
        stale = False
        for name, feed in self.watchdogs.feeds.items():
            age_s, limit_s = ages.get(name, 0.0), feed.allowed / _S
            stale = stale or age_s > limit_s
            feeds[name] = {"age_s": round(age_s, 3), "limit_s": limit_s, "stale": age_s > limit_s}
        tick_s = silence.age_s
        silent = silence.silent
        return {
            "status": "halted" if switch.state == HALTED else "stale" if stale or silent else "ok",
            "kill_switch": {"state": switch.state, "reason": switch.reason, "since": switch.since},
            "last_tick_s": None if tick_s is None else round(tick_s, 3),
            "silent": silent,
            "feeds": feeds,
            "stale_features": len(self.staleness.fresh()),
        }

    # -- what it asks ------------------------------------------------------------------------------------------------

    def _reducing(self, order_id: str) -> bool | None:
        order = self._money.orders.get(order_id)
        return None if order is None else order.reduces

    def _order_of(self, order_id: str) -> Mapping[str, Any] | None:
        order = self._money.orders.get(order_id)
        if order is None:
            return None
        names = ("order_id", "symbol", "side", "qty", "order_type", "limit_px", "decision_px", "strategy", "reduces")
        return {name: getattr(order, name) for name in names if getattr(order, name) is not None}

    def _facts(self, unit: str, since_ns: int, until_ns: int) -> Mapping[str, Any]:  # noqa: ARG002 - as it is asked
        """What botobs itself knows, for a snapshot."""
        totals = self._money.totals(since_ns)
        whole = self._money.totals()
        summary = self._performance().summary(dt.datetime.fromtimestamp(since_ns // _S, dt.UTC))
        sharpe = whole.sharpe
        reasons = {
            "equity_value": whole.reasons.get("equity"),
            "drawdown_current": whole.reasons.get("drawdown_pct") or whole.reasons.get("equity"),
            "rolling_sharpe": whole.reasons.get("sharpe"),
            "win_rate": summary.reasons.get("win_rate"),
        }
        return {
            "equity_value": whole.equity,
            "drawdown_current": whole.drawdown_pct,
            "daily_pnl": self._money.totals(self._day_of(until_ns)).total_pnl,
            "rolling_sharpe": None if sharpe is None else sharpe.annualized,
            "trade_count": summary.trades,
            "win_rate": summary.win_rate,
            "turnover": totals.volume,
            "error_counts": dict(self._faults.errors),
            "risk_breaches": self._breaches,
            "reasons": {name: why for name, why in reasons.items() if why},
        }

    def _day_of(self, until_ns: int) -> int:
        """When the day began that ends, or goes on, at `until_ns`."""
        return self._money.account.curve.calendar.bucket(until_ns - 1, "day")[0]

    def _breached(self, _event: object) -> None:
        self._breaches += 1

    # -- over a restart ----------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._folder is None or not self._live:
            return
        state = {
            "staleness": self.staleness.state(), "funding": self.funding.state(),
            "silence": self.watchdogs.silence.state(),
        }  # fmt: skip
        try:
            draft = self._folder / ".vitals.json.new"
            draft.write_bytes(dumps(state))
            draft.replace(self._folder / "vitals.json")
        except OSError as error:
            self._faults.say("safety", type(error).__name__, f"the state of the watchdogs could not be kept: {error}")

    def _restore(self) -> None:
        if self._folder is None or not self._live:
            return
        import orjson  # noqa: PLC0415 - once, at the start

        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            state = orjson.loads((self._folder / "vitals.json").read_bytes())
            self.staleness.restore(state["staleness"])
            self.funding.restore(state["funding"])
            self.watchdogs.silence.restore(state["silence"])

    # -- as a part of the observer -----------------------------------------------------------------------------------

    def flush(self, deadline: float) -> bool:
        """Remember, and tell who has to be told."""
        done = self.kill_switch.flush(deadline)
        return self.alerts.flush(deadline) and done

    def close(self, deadline: float) -> bool:
        """Remember, tell, and end."""
        done = True
        for end in (
            self._keep,
            self._leave,
            lambda: self.kill_switch.close(deadline),
            lambda: self.alerts.close(deadline),
        ):
            try:
                done = end() is not False and done
            except Exception as error:  # the others have threads to end
                done = False
                with contextlib.suppress(Exception):
                    self._faults.error("safety", error)
        return done

    def _leave(self) -> None:
        if self._alive is not None:
            self._alive.close()

    def abandon(self) -> None:
        """In a forked child: all of it is the parent's."""
        parts: list[Any] = [self.kill_switch, self.alerts, self.watchdogs, self.staleness, self.funding, self.health,
                            self.snapshots, self._refusals, self._alive]  # fmt: skip
        for part in parts:
            if part is not None:
                with contextlib.suppress(Exception):
                    part.abandon()
