"""What would have been: of decisions of other sources, and of orders that were refused."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botobs.insight.counterfactual.answers import SourceTable, VetoTable
from botobs.insight.counterfactual.candidates import chosen_among, direction, read
from botobs.insight.counterfactual.costs import Costs, Traded
from botobs.insight.counterfactual.following import Following
from botobs.insight.counterfactual.records import by_move, by_trade, of_refusal, told_by
from botobs.insight.counterfactual.refused import Refused
from botobs.insight.counterfactual.running import BarEnds, Clusters, Decision, Refusal, Running
from botobs.insight.counterfactual.sums import Settled, Sums
from botobs.insight.counterfactual.terms import CounterfactualTerms
from botobs.insight.counterfactual.vetoes import Vetoes
from botobs.insight.names import finite, plain
from botobs.insight.part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botobs.events.base import Event
    from botobs.events.money import FillBooked, TradeClosed, TradeOpened
    from botobs.faults import Faults
    from botobs.insight.counterfactual.running import Run
    from botobs.insight.terms import Horizon
    from botobs.sinks.metrics.readings import Said
    from botobs.streams.reader import StreamReader

__all__ = ["Counterfactual"]

_FARTHEST: Final = 1e6  # bps: no market moves that far


class Counterfactual(Part):
    """What each source of a decision, and what each order that was refused, would have earned; usable on its own.

    Args:
        terms: The horizon and the costs.
        publish: Gets `DecisionSettled` and `VetoSettled`.
        faults: Where candidates that say nothing are told of.
        alive: Tells whether an order may still be filled.
        settle: Called before a question is answered: has done what waits.

    Attributes:
        odd: How many candidates said nothing, or were too many.
        lost: Decisions that never come to an end: no price came in time, or too many waited.

    Example:
        >>> found = Counterfactual()
        >>> for n in range(10):
        ...     found.decide("BTC", {"pros": "buy", "amateurs": "sell"}, price=100.0, chosen="pros")
        ...     found.bar("BTC", 100.5)
        >>> print(found.table())
        source     n  PnL bps    mean  95 % from      to  hits   regret  chosen
        pros      10    500.0   50.00      50.00   50.00  100%     0.00      10
        amateurs  10   -500.0  -50.00     -50.00  -50.00    0%  -100.00       0
    """

    file: ClassVar[str | None] = "counterfactual.json"
    names: ClassVar[tuple[str, ...]] = ("bot_counterfactual_pnl_bps", "bot_veto_saved_bps")

    def __init__(
        self,
        terms: CounterfactualTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        alive: Callable[[str], bool] | None = None,
        settle: Callable[[], object] | None = None,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms or CounterfactualTerms()
        self._publish, self._faults, self._settle = publish, faults, settle
        self._lock = threading.RLock()
        self._sums, self._vetoes, self._costs = Sums(), Vetoes(), Costs(self._terms.cost_bps)
        self._running, self._ends, self._clusters = Running(), BarEnds(), Clusters()
        self._following = Following(alive or (lambda _order_id: False), self._terms.longest_ns, self._running)
        self._refused = Refused()
        self.changes = self.odd = self.lost = 0

    # -- what is decided ---------------------------------------------------------------------------------------------

    def decide(
        self,
        symbol: Any,
        candidates: Any,
        *,
        price: Any,
        chosen: Any = None,
        decision: Any = None,
        ts_ns: int = 0,
    ) -> None:
        """A decision, told by hand; a bot tells it with `tick.signal(..., candidates=...)`.

        Args:
            symbol: In which market.
            candidates: By source, what it would have done.
            price: The price then.
            chosen: The source that was followed.
            decision: Which way the bot went.
            ts_ns: When, in nanoseconds since 1970.
        """
        found, odd = read(candidates)
        self.misread(odd)
        began, named = _price(price), plain(symbol)
        way = None if decision is None else direction(decision)
        known, followed = chosen_among(found, plain(chosen), way)
        if named is None or began is None or not known:
            self.lost += 1
            return
        self.decided(
            Decision(symbol=named, price=began, since=ts_ns, candidates=tuple(known), chosen=followed, way=way)
        )

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        with self._lock:
            self._join(decision)
            if not self._running.put(decision):
                self._lose(decision)
                return
            for order_id in tuple(decision.orders):
                self._following.order(order_id, decision)

    def ordered(self, decision: Decision, order_id: str, way: int | None) -> None:
        """An order came of a decision."""
        with self._lock:
            decision.way = decision.way if way is None else way
            self._following.order(order_id, decision)

    def held_back(self, decision: Decision) -> None:
        """What was decided was refused: the bot went nowhere, unless an order of it is filled nevertheless."""
        with self._lock:
            decision.acted = bool(decision.acted)

    def stopped(self, refusal: Refusal) -> None:
        """An order, or a wish for one, was refused. The same again is the same refusal."""
        with self._lock:
            self._following.refused(refusal.order_id)
            if self._refused.again(refusal):
                return
            self._join(refusal)
            if self._running.put(refusal):
                self._refused.put(refusal)
            else:
                self.unknown(refusal.by, refusal.stage, refusal.reason)

    def unknown(self, by: str, stage: str | None, reason: str) -> None:
        """Something was refused, and nobody said what it stopped."""
        with self._lock:
            self._vetoes.unknown(by, stage, reason)
            self.changes += 1

    def misread(self, count: int) -> None:
        """So many candidates said nothing."""
        if count:
            self.odd += count
            self._faults.say("counterfactual", "candidates", "a candidate that says no direction is left out")

    # -- what becomes of it ------------------------------------------------------------------------------------------

    def filled(self, event: FillBooked) -> None:
        """A fill was booked."""
        key = event.order_id
        if key is None or (key not in self._following and self._refused.of(key) is None):
            return
        with self._lock:
            self._following.filled(event)
            refusal = self._refused.of(key)
            if refusal is not None:
                self._running.take(refusal)
                self._refused.end(refusal)
                self._vetoes.withdrawn += 1
                self.changes += 1

    def opened(self, event: TradeOpened) -> None:
        """A trade was opened."""
        if self._following.opens:
            with self._lock:
                for decision in self._following.opened(event.trade_id):
                    self._lose(decision)
                self.changes += 1

    def closed(self, event: TradeClosed) -> None:
        """A trade was closed, or is another now."""
        trade = None if event.undone else Traded.of_record(event.record)
        with self._lock:
            if trade is not None and event.revision == 1 and event.symbol is not None:
                self._costs.learn(event.symbol, trade.cost)
            decision = self._following.closed(event.trade_id)
            if decision is None:
                after = self._sums.correct(event.trade_id, trade, event.revision)
            elif trade is None:
                self._lose(decision)
                return
            else:
                after = Settled.of(decision, trade, trade.cost, event.revision)
                self._sums.add(after)
                self._sums.keep(event.trade_id, after)
            self.changes += after is not None
        if after is not None:
            self._tell([by_trade(after, event, trade, decision)])

    def bar(self, symbol: str, close: Any, ts_ns: int = 0, *, ended: str | None = None) -> None:
        """A bar has finished, told at `ts_ns`; `ended`: when, as it says itself (RFC 3339)."""
        price = _price(close)
        if price is None:
            return
        with self._lock:
            due = self._running.bar(symbol, price, self._ends.of(symbol, ended, ts_ns), ts_ns)
            events = [event for run in due for event in self._over(run, ts_ns)]
        self._tell(events)

    def finished(self, bar: tuple[Any, ...], now: int) -> None:
        """A bar has finished."""
        self.bar(bar[0], bar[4], now, ended=bar[6])

    @property
    def timed(self) -> list[str]:
        """The symbols whose price is wanted now."""
        return self._running.timed

    def price(self, symbol: str, price: Any, at: int, now: int) -> None:
        """At `now`, the newest price is this, no newer than `at`."""
        value = _price(price)
        if value is None:
            return
        with self._lock:
            due = self._running.price(symbol, price, value, at, now)
            events = [event for run in due for event in self._over(run, now)]
        self._tell(events)

    def chore(self, now: int) -> None:
        """A second has passed."""
        if not (self._following or self._running):
            return
        with self._lock:
            events = [event for one in self._following.due(now) for event in self._settled(one, "horizon", now)]
            for run in self._running.drop(now - self._terms.longest_ns):
                events.extend(self._over(run, now))
        self._tell(events)

    @property
    def steps(self) -> int:
        """How many trades told what they cost, and how much began to run."""
        return self._costs.learned + self._clusters.joined

    # -- what is asked -----------------------------------------------------------------------------------------------

    @property
    def horizon(self) -> Horizon:
        """Over what decisions are judged of which no trade came."""
        return self._terms.over

    def table(self, symbol: Any = None) -> SourceTable:
        """What each source would have earned, the best first.

        Args:
            symbol: In which market; `None`: in all.
        """
        if self._settle is not None:
            self._settle()
        named = plain(symbol)
        with self._lock:
            sums = self._sums if symbol is None or named is not None else Sums()
            return SourceTable(
                sums.rows(named), regret=sums.regret(named), done=sums.done(named),
                waiting=sum(symbol is None or one.symbol == named for one in self._waiting()), lost=self.lost,
            )  # fmt: skip

    def vetoes(self) -> VetoTable:
        """What refusals saved and cost, what saved most first."""
        if self._settle is not None:
            self._settle()
        with self._lock:
            return self._vetoes.table(len(self._refused))

    def measured(self) -> Iterator[Said]:
        """What sources would have earned, and what refusals saved."""
        with self._lock:
            sources, vetoes = list(self._sums.pnl_bps()), self._vetoes.net_bps()
        for symbol, source, value in sources:
            yield "bot_counterfactual_pnl_bps", value, (symbol, source)
        for by, value in vetoes.items():
            yield "bot_veto_saved_bps", value, (by,)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _waiting(self) -> list[Decision]:
        running = [run for run in self._running if isinstance(run, Decision) and run.trade_id is None]
        return [*running, *self._following.waiting]

    def _join(self, run: Run) -> None:
        run.begin(self._terms.over)
        run.cost = self._costs.of(run.symbol)
        busy, trades = bool(self._running or self._following), bool(self._following.trades)
        self._clusters.join(run, busy=busy, trades=trades)

    def _lose(self, decision: Decision) -> None:
        self.lost += 1
        self.changes += 1
        self._following.forget(decision)

    def _over(self, run: Run, now: int) -> list[Event]:
        """Its horizon is over."""
        if isinstance(run, Refusal):
            return self._refusal_over(run, now)
        assert isinstance(run, Decision)
        if run.trade_id is not None:
            self._following.closed(run.trade_id)
            return self._settled(run, "longest", now)
        if self._following.holds_on(run):
            return []
        return self._settled(run, "horizon", now)

    def _settled(self, decision: Decision, rule: str, now: int) -> list[Event]:
        move = decision.move
        if move is None or not -_FARTHEST <= move <= _FARTHEST:
            self._lose(decision)
            return []
        self._following.forget(decision)
        if decision.acted is False:
            decision.way = 0
        settled = Settled.of(decision, None, decision.cost or 0.0)
        self._sums.add(settled)
        self.changes += 1
        return [by_move(decision, settled, rule, now)]

    def _refusal_over(self, refusal: Refusal, now: int) -> list[Event]:
        self._refused.end(refusal)
        self.changes += 1
        if refusal.move is not None and not -_FARTHEST <= refusal.move <= _FARTHEST:
            refusal.came = None
        found = self._vetoes.settled(refusal)
        return [] if found is None else [of_refusal(refusal, *found, now)]

    def _tell(self, events: list[Event]) -> None:
        if self._publish is not None:
            for event in events:
                self._publish(event)

    # -- over a restart ----------------------------------------------------------------------------------------------

    def begin(self, history: StreamReader | None) -> None:
        """Settle by the trades that an earlier run did not live to tell of."""
        for event in () if history is None else told_by(history, {*self._following.trades, *self._sums.trades}):
            self.closed(event)

    def state(self) -> dict[str, Any]:
        """All that was settled, and what waits for a trade's close, for JSON; a horizon would have a hole."""
        with self._lock:
            return {
                "sums": self._sums.state(), "vetoes": self._vetoes.state(), "costs": self._costs.state(),
                "trades": self._following.state(),
                "counts": [
                    self.lost + sum(one.trade_id is None for one in self._waiting()), self.odd, self._clusters.latest,
                ],
            }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems = []
        with self._lock:
            for name, take in (
                ("sums", self._restore_sums), ("vetoes", self._restore_vetoes), ("costs", self._costs.restore),
                ("trades", self._following.restore), ("counts", self._restore_counts),
            ):  # fmt: skip
                try:
                    take(state[name])
                except Exception as error:
                    problems.append(f"counterfactual: {name}: {type(error).__name__}")
        return problems

    def _restore_sums(self, state: Any) -> None:
        self._sums = Sums.of_state(state)

    def _restore_vetoes(self, state: Any) -> None:
        self._vetoes = Vetoes.of_state(state)

    def _restore_counts(self, state: Any) -> None:
        self.lost, self.odd, self._clusters.latest = map(int, state)

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()


def _price(value: Any) -> float | None:
    """A price; `None`: that is none."""
    found = finite(value)
    return found if found is not None and found > 0.0 else None
