"""Events into trades: a state machine that asks no clock and touches no disk.

The same events in the same order give the same state, however they are split, and wherever it was saved and gone on
from in between. The one question it asks of the outside, for bars, is asked with the time of an event, and the answer
becomes part of the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import orjson

from botobs.accounting.numbers import ZERO, divide, exact
from botobs.metricpack.event import Unreadable, parse, symbol_of
from botobs.metricpack.holding import Holding
from botobs.metricpack.journal import Journal
from botobs.metricpack.market import UNKNOWN, NoMarket, Setting, setting_of
from botobs.metricpack.memory import Memory
from botobs.metricpack.rules import Rules
from botobs.metricpack.tallies import ByAction, ByRegime
from botobs.metricpack.trade import Trade, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from botobs.accounting.trade import Change
    from botobs.metricpack.event import Execution
    from botobs.metricpack.market import Market
    from botobs.metricpack.source import Raw

__all__ = ["OTHER", "Builder", "Changes"]

OTHER: Final = "other"
ENTRY, EXIT, FUNDING, POSITION = "ENTRY", "EXIT", "FUNDING", "POSITION"

_MOST_ACTIONS: Final = 50
_Place: TypeAlias = "tuple[str, str, str, str, str]"


@attrs.frozen
class Changes:
    """What became different since the last time.

    Attributes:
        values: What to save; `None`: the key goes.
        actions: The label sets of `ByAction` that changed.
        regimes: Those of `ByRegime`.
    """

    values: dict[str, bytes | None]
    actions: frozenset[tuple[str, str, str]]
    regimes: frozenset[tuple[str, str]]


class Builder:
    """Reconstructs trades.

    Args:
        rules: How.
        market: Where bars come from.
        saved: The state to go on from, as `changes` gave it piece by piece.

    Attributes:
        by_action: What exits were worth, by (symbol, regime, action).
        by_regime: What closed trades came to, by (symbol, regime).
        memory: Counts, duplicates, and what could not be read.

    Raises:
        ValueError: What was saved is damaged.

    Example:
        >>> from botobs.metricpack.source import Raw
        >>> builder = Builder()
        >>> for n, (side, price, more) in enumerate([("buy", 100, {}), ("sell", 110, {"action": "FULL_CLOSE"})]):
        ...     said = {"symbol": "BTCUSDT", "side": side, "qty": 1, "price": price, "executed": True, "ts": 1.7e9 + n}
        ...     builder.take(Raw(str(n), {**said, "reduceOnly": bool(more), **more}))
        >>> {labels: str(tally.pnl) for labels, tally in builder.by_action.items()}
        {('BTCUSDT', 'unknown', 'FULL_CLOSE'): '10'}
    """

    def __init__(
        self, rules: Rules | None = None, market: Market | None = None, saved: Mapping[str, bytes] | None = None
    ) -> None:
        self.rules = rules or Rules()
        self.market: Market = market or NoMarket()
        self.by_action: dict[tuple[str, str, str], ByAction] = {}
        self.by_regime: dict[tuple[str, str], ByRegime] = {}
        self.memory = Memory(self.rules.most_seen)
        self._held: dict[_Place, Holding] = {}
        self._trades: dict[_Place, Trade] = {}
        self._journals: dict[_Place, Journal] = {}
        self._known: dict[_Place, tuple[int, Setting]] = {}  # what was found already of a trade that is built again
        self._symbols: dict[str, str] = {}  # as the metrics call them
        self._actions: set[str] = set()
        self._touched: set[_Place] = set()
        self._told_actions: set[tuple[str, str, str]] = set()
        self._told_regimes: set[tuple[str, str]] = set()
        self._named = False
        self._restore(saved or {})

    @property
    def open_trades(self) -> int:
        """How many trades are open."""
        return len(self._trades)

    # --- events

    @exact
    def take(self, raw: Raw) -> None:
        """The next entry of the stream; never raises."""
        try:
            self._take(raw)
        except Exception as error:  # one entry must not stop the stream for good; it fails the same way each time
            self.memory.keep_aside(raw, f"it cannot be used: {type(error).__name__}")

    def _take(self, raw: Raw) -> None:
        rules = self.rules
        symbol = None if rules.shard is None else symbol_of(raw.fields, rules.names)
        if symbol is not None and rules.elsewhere(symbol):  # known before it is read: most are of other parts
            return
        event = parse(raw.fields, rules.names, raw.at_ns)
        if isinstance(event, Unreadable):
            # whose it is nobody knows: the first part counts it
            if rules.shard is None or symbol is not None or rules.shard[0] == 1:
                self.memory.count("events")
                self.memory.keep_aside(raw, event.reason)
            return
        if rules.elsewhere(event.symbol):
            return
        self.memory.count("events")
        if rules.symbols is not None and event.symbol.upper() not in rules.symbols:
            self.memory.ignore("symbol")
        elif event.kind == "void":
            self._void(event)
        elif not event.executed:
            self.memory.ignore("not_executed")
        elif event.identity is not None and self.memory.is_known(event.identity):
            self.memory.count("duplicates")
        elif event.kind == "funding":
            self._fund(event)
        else:
            self._execute(event)

    def _execute(self, event: Execution) -> None:
        place = (*event.place, event.symbol)
        held = self._held.get(place)
        before = ZERO if held is None else held.inventory
        signed = self._signed(event, before)
        trade = self._trades.get(place)
        if signed is None:
            if trade is not None:  # without another event it might mean something
                self._note(place, event, trade, None)
                self._touched.add(place)
            return
        base = self._packed(place) if trade is None else None
        if held is None:
            held = self._held[place] = Holding.of(event)
        self._touched.add(place)
        if event.kind == "position":
            change = held.hold(signed, event.price)
        else:
            if event.fee_in == "unpriced":
                self.memory.count("unpriced_fees")
            change = held.fill(signed, event.price, event.fee, event.fee_in)
        self._moved(place, held, event, before, change)
        if not held.inventory:
            del self._held[place]
        self._note(place, event, trade, base)

    def _note(self, place: _Place, event: Execution, before: Trade | None, base: bytes | None) -> None:
        """Keep the event with its trade, so that it can be taken back while that is open."""
        trade = self._trades.get(place)
        if trade is None:
            self._journals.pop(place, None)
        elif before is None:
            journal = self._journals[place] = Journal(base)
            journal.add(event)
        elif trade is not before or not self._journals[place].add(event):  # a flip belongs to two trades
            self._journals[place] = Journal(self._packed(place))

    def _void(self, event: Execution) -> None:
        """A fill was taken back: build its trade again without it; of a closed trade it stays counted."""
        place = (*event.place, event.symbol)
        journal = self._journals.get(place)
        events = journal.without(event.fill_id) if journal is not None and event.fill_id is not None else None
        if journal is None or events is None:
            self.memory.ignore("void_of_a_closed_trade")
            return
        self.memory.count("voids")
        trade = self._trades.pop(place)
        self._held.pop(place, None)
        if journal.base is not None:
            self._unpack(place, journal.base)
        since = self._trades.get(place)
        for action, amount in trade.realized.items():
            known = ZERO if since is None else since.realized.get(action, ZERO)
            self._realize(event.symbol, trade, action, known - amount, again=True)
        self._journals[place] = Journal(journal.base)
        self._touched.add(place)
        self._known[place] = (trade.opened_ns, Setting(trade.regime, trade.adx, trade.atr))
        with self.memory.counted_already("closed"):
            for each in Journal.unpacked(events, place):
                self._fund(each) if each.kind == "funding" else self._execute(each)
        del self._known[place]
        if place not in self._trades:
            self._journals.pop(place, None)

    def _signed(self, event: Execution, before: Decimal) -> Decimal | None:
        """How much is bought (sold: negative); `None`: it changes nothing here, and was counted."""
        leg = event.place[3]
        side = event.side
        reduces = event.reduces
        if leg and side is not None and event.kind == "fill":  # in hedge mode the side says which it is
            if reduces and (side == "buy") is (leg == "long"):
                self.memory.ignore("exit_on_the_wrong_side")
                return None
            reduces = (side == "buy") is not (leg == "long")
        if not reduces:
            return event.qty if side == "buy" else -event.qty
        if not before:
            self.memory.ignore("exit_before_any_entry")
            return None
        if side is not None and (side == "buy") is (before > 0):
            self.memory.ignore("exit_on_the_wrong_side")
            return None
        if event.qty > abs(before):
            self.memory.count("exits_beyond_the_position")
        qty = min(event.qty, abs(before))
        return -qty if before > 0 else qty

    def _moved(self, place: _Place, held: Holding, event: Execution, before: Decimal, change: Change) -> None:
        """Tell the trade what happened."""
        dust = self.rules.dust_of.get(event.symbol, self.rules.dust)
        now = change.inventory
        over = bool(before) and (not now or (now > 0) is not (before > 0))  # nothing is left on the old side
        crosses = over and abs(now) > dust
        trade = self._trades.get(place)
        fee = change.fees
        if change.closed_qty:
            if crosses:
                fee = divide(change.fees * change.closed_qty, change.closed_qty + abs(now))
            self._leave(trade, event, change.gross, fee)
            if trade is not None and (over or abs(now - trade.carried) <= dust):
                self._close(place, trade, held, event)
                trade = None
            if not crosses:
                return
            added, fee = now, change.fees - fee
        else:
            added = now - before
        if trade is None:
            trade = self._open(place, event, up=now > 0)
            trade.carried = now - added
        trade.enter(added, held.instrument.worth(added, event.price), event.price, fee)
        if fee:
            self._realize(event.symbol, trade, self._called(event.action or _entry(event)), -fee)

    def _open(self, place: _Place, event: Execution, *, up: bool) -> Trade:
        opened_ns, known = self._known.get(place, (0, None))
        if known is None or opened_ns != event.ts_ns:
            known = setting_of(self.market.before(event.symbol, event.ts_ns))
        regime, adx, atr = known
        trade = self._trades[place] = Trade(event.ts_ns, regime, up=up, adx=adx, atr=atr)
        return trade

    def _leave(self, trade: Trade | None, event: Execution, gross: Decimal, fee: Decimal) -> None:
        action = self._called(event.action or EXIT)
        self._realize(event.symbol, trade, action, gross - fee)
        if trade is None:  # dust that an earlier trade left behind
            self.memory.ignore("exit_of_dust")
        else:
            trade.leave(action, gross, fee, event.price)

    def _close(self, place: _Place, trade: Trade, held: Holding, event: Execution) -> None:
        """Finalise a trade; its last exit is told already."""
        self.memory.count("closed")
        symbol, outcome = self._label(event.symbol), trade.outcome
        for action, counts in trade.exits.items():
            tally = self._by_action(symbol, trade.regime, action)
            tally.exits = [known + more for known, more in zip(tally.exits, counts, strict=True)]
        action = self._called(event.action or EXIT)
        self._by_action(symbol, trade.regime, action).trades[outcome_of(outcome.net)] += 1
        bars = self.market.during(event.symbol, trade.opened_ns, event.ts_ns) if trade.atr else ()
        seconds = max(event.ts_ns - trade.opened_ns, 0) / 1e9
        labels = (symbol, trade.regime)
        found = self.by_regime.get(labels)
        if found is None:
            found = self.by_regime[labels] = ByRegime()
        found.add(outcome, seconds, trade.excursions(bars, held.instrument))
        self._told_regimes.add(labels)
        del self._trades[place]

    def _fund(self, event: Execution) -> None:
        place = (*event.place, event.symbol)
        trade = self._trades.get(place)
        if trade is not None:
            trade.funding += event.price
            self._touched.add(place)
        self._realize(event.symbol, trade, FUNDING, event.price)
        if trade is not None:
            self._note(place, event, trade, None)

    # --- tallies

    def _realize(self, symbol: str, trade: Trade | None, action: str, amount: Decimal, *, again: bool = False) -> None:
        """Money was made or paid; `again`: what the trade had counted already is corrected."""
        regime = UNKNOWN if trade is None else trade.regime
        self._by_action(self._label(symbol), regime, action).pnl += amount
        if trade is not None and not again:
            trade.realized[action] = trade.realized.get(action, ZERO) + amount

    def _by_action(self, symbol: str, regime: str, action: str) -> ByAction:
        labels = (symbol, regime, action)
        found = self.by_action.get(labels)
        if found is None:
            found = self.by_action[labels] = ByAction()
        self._told_actions.add(labels)
        return found

    def _label(self, symbol: str) -> str:
        """The symbol as the metrics call it: the first ones by their name, in the order of the stream."""
        found = self._symbols.get(symbol)
        if found is None:
            if len(self._symbols) >= self.rules.most_symbols:
                return OTHER
            found = self._symbols[symbol] = symbol
            self._named = True
        return found

    def _called(self, action: str) -> str:
        """The action as the metrics call it; who names every exit anew gets `OTHER`."""
        if action not in self._actions:
            if len(self._actions) >= _MOST_ACTIONS:
                return OTHER
            self._actions.add(action)
            self._named = True
        return action

    # --- state

    def changes(self) -> Changes:
        """What to save, and what to show, of what happened since the last call."""
        values = self.memory.changes()
        for place in self._touched:
            values[_key("p", place)] = self._saved(place)
        for action in self._told_actions:
            values[_key("a", action)] = self.by_action[action].packed()
        for regime in self._told_regimes:
            values[_key("r", regime)] = self.by_regime[regime].packed()
        if self._named:
            values["n"] = orjson.dumps([list(self._symbols), sorted(self._actions)])
        found = Changes(values, frozenset(self._told_actions), frozenset(self._told_regimes))
        self._touched.clear()
        self._told_actions.clear()
        self._told_regimes.clear()
        self._named = False
        return found

    def _packed(self, place: _Place) -> bytes | None:
        """What is held at a place and which trade is open there."""
        held, trade = self._held.get(place), self._trades.get(place)
        if held is None and trade is None:
            return None
        return orjson.dumps([None if held is None else held.state(), None if trade is None else trade.state()])

    def _saved(self, place: _Place) -> bytes | None:
        """The same with its journal."""
        packed, journal = self._packed(place), self._journals.get(place)
        if packed is None:
            return None
        return orjson.dumps([orjson.Fragment(packed), None if journal is None else journal.state()])

    def _unpack(self, place: _Place, packed: bytes) -> None:
        held, trade = orjson.loads(packed)
        if held is not None:
            self._held[place] = Holding.of_state(place[4], held)
        if trade is not None:
            self._trades[place] = Trade.of_state(trade)

    def _restore(self, saved: Mapping[str, bytes]) -> None:
        try:
            self.memory.restore(saved)
            names = saved.get("n")
            if names is not None:
                symbols, actions = orjson.loads(names)
                self._symbols = {symbol: symbol for symbol in symbols}
                self._actions = set(actions)
            for key, value in saved.items():
                self._put(key, value)
        except Exception as error:
            raise ValueError(f"the saved state is damaged: {type(error).__name__}") from error

    def _put(self, key: str, value: bytes) -> None:
        sort, _, rest = key.partition("/")
        if sort == "a":
            symbol, regime, action = orjson.loads(rest)
            self.by_action[symbol, regime, action] = ByAction.unpacked(value)
        elif sort == "r":
            symbol, regime = orjson.loads(rest)
            self.by_regime[symbol, regime] = ByRegime.unpacked(value)
        elif sort == "p":
            place: Any = tuple(orjson.loads(rest))
            packed, journal = orjson.loads(value)
            self._unpack(place, orjson.dumps(packed))
            if journal is not None:
                self._journals[place] = Journal.of_state(journal)


def _entry(event: Execution) -> str:
    return POSITION if event.kind == "position" else ENTRY


def _key(sort: str, parts: Iterable[str]) -> str:
    return f"{sort}/{orjson.dumps(list(parts)).decode()}"
