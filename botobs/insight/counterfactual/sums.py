"""What every source came to over all decisions that were settled; right again after a trade became another."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import text
from botobs.insight.counterfactual.answers import regret_of, source_row
from botobs.insight.counterfactual.tallies import Mean, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botobs.insight.counterfactual.answers import Regret, SourceRow
    from botobs.insight.counterfactual.costs import Traded
    from botobs.insight.counterfactual.running import Decision

__all__ = ["Result", "Settled", "Sums"]

_MOST: Final = 2_000
_MOST_TRADES: Final = 500  # a trade that changes after so many others is not found any more
_OTHER: Final = "other"
_SIDES: Final = {1: "long", 0: "flat", -1: "short"}


class Result(NamedTuple):
    """What one candidate of a decision came to."""

    source: str
    sign: int
    value: float
    money: Decimal | None = None


class Settled(NamedTuple):
    """A decision that was settled.

    Attributes:
        done: What the bot itself did; its source says nothing.
        revision: Of the trade it was settled by; `counted`: it is in the sums.
    """

    symbol: str
    cluster: int
    since: int
    results: tuple[Result, ...]
    chosen: str | None
    done: Result | None
    revision: int = 1
    counted: bool = True

    @classmethod
    def of(cls, decision: Decision, trade: Traded | None, cost: float, revision: int = 1) -> Settled:
        """What a decision came to: by its trade, or by the move until its end."""
        move = decision.move or 0.0

        def result(source: str, sign: int) -> Result:
            if trade is not None:
                return Result(source, sign, trade.result(sign), trade.amount(sign))
            return Result(source, sign, sign * move - cost if sign else 0.0)

        return cls(
            decision.symbol, decision.cluster, decision.since,
            tuple(result(one.source, one.sign) for one in decision.candidates), decision.chosen,
            None if decision.way is None else result("", decision.way), revision,
        )  # fmt: skip

    def again(self, trade: Traded, revision: int) -> Settled:
        """The same by another revision of its trade."""
        results = tuple(Result(one.source, one.sign, trade.result(one.sign), trade.amount(one.sign))
                        for one in (*self.results, *(() if self.done is None else (self.done,))))  # fmt: skip
        done = None if self.done is None else results[-1]
        return self._replace(results=results[: len(self.results)], done=done, revision=revision, counted=True)

    @property
    def of_chosen(self) -> Result | None:
        """What the chosen one came to."""
        return next((one for one in self.results if one.source == self.chosen), None)

    @property
    def best(self) -> Result | None:
        """The one that turned out best; the chosen one, where several did."""
        return max(self.results, key=lambda one: (one.value, one.source == self.chosen), default=None)

    @property
    def told(self) -> dict[str, Any]:
        """What its record says of it."""
        chosen, best, done = self.of_chosen, self.best, self.done
        return {
            "chosen": self.chosen,
            "chosen_bps": None if chosen is None else chosen.value,
            "best": None if best is None else best.source,
            "best_bps": None if best is None else best.value,
            "regret_bps": None if chosen is None or best is None else best.value - chosen.value,
            "done": None if done is None else _SIDES[done.sign],
            "done_bps": None if done is None else done.value,
        }

    def shown(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Its candidates as the record has them."""
        return {
            one.source: {"side": _SIDES[one.sign], "result_bps": one.value, **said.get(one.source, {})}
            for one in self.results
        }


class Sums:
    """Tallies by symbol and source. Not locked: its owner does that.

    Attributes:
        trades: What was settled by trades, the latest of them.
    """

    def __init__(self) -> None:
        # by symbol (None: all) and source (None: what the bot did)
        self._tallies: dict[tuple[str | None, str | None], Tally] = {}
        self._regret: dict[str | None, Mean] = {}
        self.trades: OrderedDict[str, Settled] = OrderedDict()

    def add(self, settled: Settled, count: int = 1) -> None:
        """A decision was settled; with `count` -1 it is taken back."""
        chosen = settled.of_chosen
        for symbol in (settled.symbol, None):
            for one in settled.results:
                over = None if chosen is None else one.value - chosen.value
                tally = self._tally(symbol, one.source)
                tally.add(one.sign, one.value, over, one.money, settled.cluster, count)
                tally.chosen += count if one is chosen else 0
            done = settled.done
            if done is not None:
                over = None if chosen is None else done.value - chosen.value
                self._tally(symbol, None).add(done.sign, done.value, over, done.money, settled.cluster, count)
            if chosen is not None and settled.best is not None:
                regret = settled.best.value - chosen.value
                where = symbol if symbol in self._regret or len(self._regret) < _MOST else _OTHER
                self._regret.setdefault(where, Mean()).add(regret, settled.cluster, count)

    def keep(self, trade_id: str, settled: Settled) -> None:
        """Remember what a trade settled: it may become another."""
        self.trades[trade_id] = settled
        self.trades.move_to_end(trade_id)
        if len(self.trades) > _MOST_TRADES:
            self.trades.popitem(last=False)

    def correct(self, trade_id: str, trade: Traded | None, revision: int) -> Settled | None:
        """A trade is another now, or none any more (`trade` is `None`); what it settled then, if that changes."""
        before = self.trades.get(trade_id)
        if before is None or revision <= before.revision:
            return None
        after = before._replace(revision=revision, counted=False) if trade is None else before.again(trade, revision)
        if before.counted:
            self.add(before, -1)
        if after.counted:
            self.add(after)
        self.trades[trade_id] = after
        return after

    def rows(self, symbol: str | None) -> list[SourceRow]:
        """A row for each source, the best first."""
        found = [
            source_row(source, symbol, tally)
            for (where, source), tally in self._tallies.items()
            if where == symbol and source is not None and tally.result.n
        ]
        return sorted(found, key=lambda row: (-row.pnl_bps, row.source))

    def done(self, symbol: str | None) -> SourceRow | None:
        """What the bot really did."""
        tally = self._tallies.get((symbol, None))
        return None if tally is None or not tally.result.n else source_row("done", symbol, tally)

    def regret(self, symbol: str | None) -> Regret:
        """What is regretted about what was chosen."""
        return regret_of(self._regret.get(symbol) or Mean())

    def pnl_bps(self) -> Iterator[tuple[str, str, float]]:
        """Symbol, source, and what following it came to."""
        for (symbol, source), tally in list(self._tallies.items()):
            if symbol is not None and source is not None and tally.result.n:
                yield symbol, source, tally.result.total

    def _tally(self, symbol: str | None, source: str | None) -> Tally:
        key = (symbol, source)
        found = self._tallies.get(key)
        if found is None:
            if len(self._tallies) >= _MOST:
                key = (None if symbol is None else _OTHER, None if source is None else _OTHER)
            found = self._tallies.setdefault(key, Tally())
        return found

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "tallies": [[*key, tally.state()] for key, tally in self._tallies.items()],
            "regret": [[symbol, mean.state()] for symbol, mean in self._regret.items()],
            "trades": [
                [key, one.symbol, one.cluster, one.since, list(map(_row, one.results)), one.chosen,
                 None if one.done is None else _row(one.done), one.revision, one.counted]
                for key, one in self.trades.items()
            ],
        }  # fmt: skip

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Sums:
        """One that goes on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self = cls()
        for symbol, source, tally in state["tallies"]:
            self._tallies[_name(symbol), _name(source)] = Tally.of_state(tally)
        for symbol, mean in state["regret"]:
            self._regret[_name(symbol)] = Mean.of_state(mean)
        for key, symbol, cluster, since, results, chosen, done, revision, counted in state["trades"]:
            self.trades[str(key)] = Settled(
                str(symbol), int(cluster), int(since), tuple(map(_result, results)), _name(chosen),
                None if done is None else _result(done), int(revision), bool(counted),
            )  # fmt: skip
        return self


def _row(result: Result) -> list[Any]:
    return [*result[:3], None if result.money is None else text(result.money)]


def _result(row: list[Any]) -> Result:
    source, sign, value, money = row
    return Result(str(source), int(sign), float(value), None if money is None else Decimal(money))


def _name(value: Any) -> str | None:
    return None if value is None else str(value)
