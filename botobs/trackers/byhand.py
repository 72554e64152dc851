"""Trades that the bot tells by hand, instead of through fills."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.book import Book
from botobs.accounting.entries import moment
from botobs.accounting.instruments import Instruments
from botobs.accounting.numbers import EXACT, ZERO, exact, number
from botobs.accounting.sides import opposite
from botobs.clock import epoch_ns, rfc3339
from botobs.events.money import TradeClosed
from botobs.trackers.given import positive, read_side, real, word
from botobs.trackers.life import HAND, FillContext, Place
from botobs.trackers.order import bps_above

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.accounting.sides import Side
    from botobs.accounting.trade import Change, RoundTrip
    from botobs.clock import Clock
    from botobs.events.base import Event

__all__ = ["ByHand"]


@attrs.define(slots=True, kw_only=True)
class _Told:
    """What a bot said of one fill of a trade; also the order behind it."""

    side: Side | None
    qty: Decimal | None
    px: Decimal | None
    ts: str
    fee: Decimal
    funding: Decimal
    slippage_bps: float | None = None
    strategy: str | None = None
    source: str | None = None
    pred_bps: float | None = None
    decision_px: Decimal | None = None
    strength: float | None = None
    reason: str | None = None
    stop_px: Decimal | None = None
    target_px: Decimal | None = None
    bar_id: str | int | None = None
    trace_id: str | None = None
    trade_id: str | None = None
    venue: str | None = None
    account: str | None = None
    more: Mapping[str, Any] | None = None


@attrs.define(slots=True)
class _Held:
    trade_id: str
    place: Place
    side: Side
    book: Book
    last_ts: str
    seq: int


class ByHand:
    """Opens and closes trades as told; each has a book of its own, so that its money is reckoned like any other.

    Attributes:
        refused: How often something told could not be used.
        reason: Why the last call did not do what was asked; `None` when it did.
    """

    def __init__(
        self,
        booked: Callable[[FillContext, Change, Any], list[Event]],
        taken: Callable[[str], bool],
        clock: Clock,
        publish: Callable[[Event], object] | None = None,
        instruments: Instruments | None = None,
    ) -> None:
        self._booked = booked
        self._taken = taken
        self._clock = clock
        self._publish = publish
        self._instruments = instruments or Instruments()
        self.lock = threading.RLock()
        self._held: dict[str, _Held] = {}
        self.refused = 0
        self.reason: str | None = None

    def open_trade(self, symbol: Any, entry_data: Any) -> str | None:
        """Open a trade, or add to the one that is open by hand on that symbol if the side is the same.

        Args:
            symbol: The symbol.
            entry_data: `side` `px` `qty`, and as known `ts` `bar_id` `fee` `strategy_id` `signal_source`
                `signal_strength` `pred_bps` `decision_px` `stop_px` `target_px` `cohort_pros` `cohort_amateurs`
                `cohort_mood` `trace_id` `slippage_bps` `venue` `account` `trade_id`; each also with `entry_` before it.

        Returns:
            Its identifier; `None` if it was refused: `reason` says why. Nothing is raised.
        """
        done: str | None = self._guarded(self._open, symbol, entry_data)
        return done

    def close_trade(self, symbol: Any, exit_data: Any) -> dict[str, Any] | None:
        """Close the trade that is open by hand on `symbol`, or with a smaller `qty` a part of it.

        Args:
            symbol: The symbol.
            exit_data: `px`, and as known `qty` (default: all) `ts` `reason` `fee` `funding` (positive: received)
                `bar_id` `signal_source` `signal_strength` `decision_px` `trace_id` `slippage_bps`; each also with
                `exit_` before it.

        Returns:
            Its record; `None` if a part is still open or it was refused: `reason` says which. Nothing is raised.
        """
        done: dict[str, Any] | None = self._guarded(self._close, symbol, exit_data)
        return done

    def trade_of(self, place: Place) -> RoundTrip | None:
        """What the book of a trade told by hand holds."""
        with self.lock:
            held = self._held.get(place.symbol)
            return held.book.trade if held is not None else None

    def state(self) -> dict[str, Any]:
        """The open ones as plain JSON."""
        with self.lock:
            return {
                symbol: [held.trade_id, list(held.place), held.side, held.book.state(), held.last_ts, held.seq]
                for symbol, held in self._held.items()
            }

    def restore(self, state: Any, known: set[Place], problems: list[str]) -> None:
        """Go on where `state` was taken, with those trades that are `known` otherwise too."""
        with self.lock:
            for symbol, told in (state if isinstance(state, dict) else {}).items():
                try:
                    trade_id, place, side, book, last_ts, seq = told
                    held = _Held(trade_id, Place(*place), side, Book.of_state(book), last_ts, int(seq))
                except Exception as error:
                    problems.append(f"trade by hand on {symbol}: {type(error).__name__}: {error}"[:200])
                    continue
                if held.place in known:
                    self._held[symbol] = held

    def abandon(self) -> None:
        """Be usable in a forked child."""
        self.lock = threading.RLock()

    # how

    def _guarded(self, do: Callable[[str, Any, list[Event]], Any], symbol: Any, data: Any) -> Any:
        events: list[Event] = []
        done = None
        try:
            problems: list[str] = []
            name = word("symbol", symbol, problems)
            if name is None:
                raise _Refused("no symbol")
            with self.lock:
                self.reason = None
                done = exact(do)(name, data, events)
        except Exception as error:  # whatever the bot told: it is refused, never raised
            self.refused += 1
            self.reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"[:200]
        if self._publish is not None:
            for event in events:
                self._publish(event)
        return done

    def _open(self, symbol: str, data: Any, events: list[Event]) -> str:
        told = self._read(data, "entry", None)
        if told.side is None or told.px is None or told.qty is None:
            raise _Refused("an entry needs side, px and qty")
        held = self._held.get(symbol)
        if held is None:
            place = Place(symbol, told.venue, told.account, None, HAND)
            instrument = self._instruments.get(told.venue, symbol)
            trade_id = told.trade_id or self._name(f"h{epoch_ns(told.ts) // 1_000}-{symbol}")
            if self._taken(trade_id):
                raise _Refused(f"there was a trade {trade_id} before")
            held = _Held(trade_id, place, told.side, Book(instrument), told.ts, 0)
        elif told.side != held.side:
            raise _Refused(f"trade {held.trade_id} is open the other way; close it first")
        elif told.ts < held.last_ts:
            raise _Refused("older than what was told before")
        events.extend(self._fill(held, told, told.side, told.qty, told.px))
        self._held[symbol] = held
        return held.trade_id

    def _name(self, first: str) -> str:
        found, count = first, 1
        while self._taken(found):
            count += 1
            found = f"{first}-{count}"
        return found

    def _close(self, symbol: str, data: Any, events: list[Event]) -> dict[str, Any] | None:
        held = self._held.get(symbol)
        if held is None:
            raise _Refused(f"no trade is open by hand on {symbol}")
        told = self._read(data, "exit", held.side)
        size = abs(held.book.inventory)
        qty = size if told.qty is None else told.qty
        if told.px is None:
            raise _Refused("an exit needs px")
        if qty > size:
            raise _Refused(f"only {size} is open")
        if told.ts < held.last_ts:
            raise _Refused("older than what was told before")
        if told.funding:
            held.seq += 1
            held.book.fund(told.ts, held.seq, told.funding)
        events.extend(self._fill(held, told, opposite(held.side), qty, told.px))
        ended = [event for event in events if isinstance(event, TradeClosed)]
        if not ended:
            self.reason = f"{abs(held.book.inventory)} is still open"
            return None
        del self._held[symbol]
        return dict(ended[-1].record)

    def _fill(self, held: _Held, told: _Told, side: Side, qty: Decimal, px: Decimal) -> list[Event]:
        held.seq += 1
        held.last_ts = told.ts
        # the funding and the fill of one exit stand at the same time: an identifier puts the fill behind
        change = held.book.fill(
            told.ts, held.seq, f"h{held.seq:09}", qty if side == "buy" else -qty, px, told.fee, None
        )
        fill = FillContext(
            symbol=held.place.symbol, side=side, qty=qty, price=px, ts=told.ts, seq=held.seq, venue=held.place.venue,
            account=held.place.account, slippage_bps=_slippage(told, side, px), kind=HAND,
        )  # fmt: skip
        return self._booked(fill, change._replace(trade_id=held.trade_id), told)

    def _read(self, data: Any, prefix: str, held: Side | None) -> _Told:
        problems: list[str] = []

        def get(*names: str) -> Any:
            for name in names:
                for key in (name, f"{prefix}_{name}"):
                    value = data.get(key)
                    if value is not None:
                        return value
            return None

        def money(*names: str) -> Decimal:
            value = get(*names)
            return ZERO if value is None else number(value)

        def px(name: str) -> Decimal | None:
            return positive(name, get(name), problems)

        ts, side, bar_id = get("ts", "time", "timestamp"), get("side"), get("bar_id")
        told = _Told(
            side=held if held is not None else read_side(side, problems),
            qty=positive("qty", get("qty", "size", "quantity"), problems),
            px=positive("px", get("px", "price"), problems),
            ts=rfc3339(self._clock.time_ns()) if ts is None else moment("ts", ts),
            fee=money("fee", "fees", "fee_usd", "fees_usd"),
            funding=money("funding", "funding_usd"),
            slippage_bps=real("slippage_bps", get("slippage_bps"), problems),
            strategy=word("strategy_id", get("strategy_id", "strategy"), problems),
            source=word("signal_source", get("signal_source", "source"), problems),
            pred_bps=real("pred_bps", get("pred_bps"), problems),
            decision_px=px("decision_px"),
            strength=real("signal_strength", get("signal_strength", "strength", f"signal_strength_{prefix}"), problems),
            reason=word("reason", get("reason"), problems),
            stop_px=px("stop_px"),
            target_px=px("target_px"),
            bar_id=bar_id if type(bar_id) is int else word("bar_id", bar_id, problems),
            trace_id=word("trace_id", get("trace_id"), problems),
            trade_id=word("trade_id", get("trade_id"), problems),
            venue=word("venue", get("venue"), problems),
            account=word("account", get("account"), problems),
            more={name: get(name) for name in ("cohort_pros", "cohort_amateurs", "cohort_mood", "cohort")},
        )
        if problems:
            raise _Refused("; ".join(problems))
        return told


class _Refused(ValueError):  # noqa: N818 - not an error of the program: what was told cannot be used
    """What was told cannot be used; the text says why."""


def _slippage(told: _Told, side: Side, px: Decimal) -> float | None:
    """As told, else of the decision price: worse than decided is positive."""
    if told.slippage_bps is not None or told.decision_px is None:
        return told.slippage_bps
    above = bps_above(EXACT.subtract(px, told.decision_px), told.decision_px, float(told.decision_px))
    if not math.isfinite(above):
        return None
    return above if side == "buy" else -above
