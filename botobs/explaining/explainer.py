"""One trade explained: what the ledger has of it, what is known around it, and the steps that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.numbers import ZERO, exact, number
from botobs.clock import epoch_ns
from botobs.explaining.facts import Fill, OrderSaid, Seen, price, real
from botobs.explaining.finding import find
from botobs.explaining.living import lines_of
from botobs.explaining.parts import Behind, Explained
from botobs.explaining.waterfall import Decided, Leg, Result, waterfall
from botobs.trackers.costs import bps_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from botobs.accounting.account import Account
    from botobs.accounting.trade import RoundTrip
    from botobs.explaining.facts import Facts
    from botobs.explaining.living import Lived

__all__ = ["Explainer"]

_NOBODY: Final = OrderSaid(order_id=None, found=False)
_UNSEEN: Final = Seen()


class Explainer:
    """Explains trades; the running bot and the command line both ask it.

    Args:
        account: The books, with their ledger.
        facts: What is known around them.
    """

    def __init__(self, account: Account, facts: Facts) -> None:
        self._account = account
        self._facts = facts

    @exact
    def explain(self, name: Any) -> Explained:
        """The trade that `name` means: its name, a beginning of it, `last`, or the id of an order or a fill of it.

        Raises:
            UnknownTradeError: None is meant, or more than one may be.
        """
        trade_id, lived, record = find(self._account, self._facts, str(name).strip())
        return self._by_hand(trade_id, record or {}) if lived is None else self._of(lived, record or {})

    def _of(self, lived: Lived, record: Mapping[str, Any]) -> Explained:
        account, trip, instrument = self._account, lived.trip, lived.instrument
        key = lived.key
        is_open = trip.closed_ts is None
        mark = self._mark(lived) if is_open else None
        unrealized = None if mark is None else instrument.worth(lived.held, mark) - lived.basis
        net = trip.gross - trip.fees + trip.funding + (ZERO if unrealized is None else unrealized)
        lines = lines_of(account, [leg.seq for leg in lived.legs])
        decided: dict[int, Decided] = {}
        sides: list[Behind | None] = []
        for adds in (True, False):
            legs = [leg for leg in lived.legs if leg.adds is adds]
            sides.append(self._side(lived, legs, lines, decided, adds=adds) if legs else None)
        opened, ended = epoch_ns(trip.opened_ts), trip.closed_ts
        entry, leave = sides
        held = abs(lived.held)
        return Explained(
            trade_id=trip.trade_id, symbol=key[2], side=trip.side, status="open" if is_open else "closed",
            currency=instrument.settle or account.terms.currency, venue=key[1], account=key[0], position_side=key[3],
            strategy=record.get("strategy_id") or (None if entry is None else entry.strategy),
            opened_ts=trip.opened_ts, closed_ts=ended,
            duration_s=max((account.wall() if ended is None else epoch_ns(ended)) - opened, 0) / 1e9,
            fills=trip.fills, entry_qty=trip.entry_qty, entry_px=trip.entry_px, entry_value=trip.entry_worth,
            exit_qty=trip.exit_qty, exit_px=trip.exit_px, held=held, mark=mark, gross=trip.gross, fees=trip.fees,
            funding=trip.funding, unrealized=unrealized, net=net, net_bps=bps_of(net, trip.entry_worth),
            parts=waterfall(lived.legs, decided, instrument, Result(
                long=trip.side == "long", fees=trip.fees, funding=trip.funding, net=net, value=trip.entry_worth,
                unrealized=unrealized, held=(held, trip.entry_qty), accrued=lived.accrued, loose=_loose(lines),
            )),
            entry=entry, exit=leave, mfe_bps=record.get("mfe_bps"), mae_bps=record.get("mae_bps"),
            exit_reason=record.get("exit_reason") or (None if leave is None else leave.reason),
            reasons=_missing(trip, record),
        )  # fmt: skip

    def _mark(self, lived: Lived) -> Decimal | None:
        account = self._account
        with account.lock:
            book = account.books.get(lived.key)
            return None if book is None else account.valuation.mark(lived.key, book)

    # -- one side ----------------------------------------------------------------------------------------------------

    def _side(
        self, lived: Lived, legs: Sequence[Leg], lines: Mapping[int, Mapping[str, Any]], decided: dict[int, Decided],
        *, adds: bool,
    ) -> Behind:  # fmt: skip
        """What lay behind the fills of the entry, or of the exit; and into `decided`, what was said of each."""
        facts, symbol, venue = self._facts, lived.key[2], lived.key[1]
        fills = [_fill(leg, lines.get(leg.seq, {})) for leg in legs]
        said = facts.orders(lived.trip.trade_id, fills)
        by_name = {one.order_id: one for one in said.values() if one.order_id is not None}
        seen = facts.seen(list(by_name.values()), symbol, venue)
        at = 0 if adds else len(legs) - 1
        own = said.get(legs[at].seq, _NOBODY)
        asked = [one for one in by_name.values() if one.pred_bps is None] if adds else []
        turns = facts.turns([own, *asked], symbol)
        for leg, fill in zip(legs, fills, strict=True):
            order = said.get(leg.seq, _NOBODY)
            held_before = lines.get(leg.seq, {}).get("type") == "position"
            predicted = order.pred_bps
            if predicted is None and adds:
                predicted = _predicted(order, turns.get(order.trace_id or "", []))
            decided[leg.seq] = self._decided(
                fill, order, seen.get(order.order_id or "", _UNSEEN), predicted, held_before=held_before
            )
        first = next(fill for fill in fills if fill.order_id == own.order_id) if own.order_id else fills[at]
        return _behind(
            own, first, decided[legs[at].seq], seen.get(own.order_id or "", _UNSEEN),
            _signal(own, turns.get(own.trace_id or "", [])), fills, self._facts.why,
        )  # fmt: skip

    def _decided(
        self, fill: Fill, order: OrderSaid, seen: Seen, predicted: Decimal | None, *, held_before: bool
    ) -> Decided:
        """What is known of the decision behind one fill, and why the rest is not."""
        reasons: dict[str, str] = {}
        if held_before:
            nothing = "it was held before botobs came"
        elif fill.order_id is None:
            nothing = "the fill named no order"
        elif not order.found:
            nothing = f"nothing is known of the order: {self._facts.why}"
        else:
            nothing = ""
        if order.decision_px is None:
            reasons["decision_px"] = f"{nothing or 'the order had no decision price'}; it is in market"
        if predicted is None:
            reasons["pred_bps"] = f"{nothing or self._facts.no_prediction}; it is in market"
        own = order.bid is not None and order.ask is not None
        return Decided(
            decision_px=order.decision_px, sent_px=order.sent_px, pred_bps=predicted,
            bid=order.bid if own else None if seen.quote is None else seen.quote.bid,
            ask=order.ask if own else None if seen.quote is None else seen.quote.ask,
            makes=fill.role == "maker", reasons=reasons,
        )  # fmt: skip

    # -- trades told by hand -----------------------------------------------------------------------------------------

    def _by_hand(self, trade_id: str, record: Mapping[str, Any]) -> Explained:
        """A trade that no fill made: of its record alone."""
        get = record.get
        instrument = self._account.instruments.get(get("venue"), record["symbol"])
        long = record["side"] == "long"
        moved = {side: (number(record[f"{side}_qty"]), number(record[f"{side}_px"])) for side in ("entry", "exit")}
        gross, fees, funding = (number(record[name]) for name in ("realized_pnl_usd", "fees_usd", "funding_usd"))
        net = gross - fees + funding
        legs = []
        for seq, side in enumerate(("entry", "exit")):
            adds = seq == 0
            qty, px = moved[side]
            if adds is not long:
                qty = -qty
            legs.append(Leg(seq, record[f"{side}_ts"], adds, qty, instrument.worth(qty, px), px))
        value = abs(legs[0].worth)
        told = Decided(decision_px=price(get("entry_decision_px")), pred_bps=real(get("entry_pred_bps")))
        decided = {0: told, 1: Decided()}
        return Explained(
            trade_id=trade_id, symbol=record["symbol"], side=record["side"], status="closed",
            currency=instrument.settle or self._account.terms.currency, venue=get("venue"), account=get("account"),
            position_side=get("position_side"), strategy=get("strategy_id"), opened_ts=record["entry_ts"],
            closed_ts=record["exit_ts"], duration_s=get("duration_seconds"), fills=get("fills") or 0,
            entry_qty=moved["entry"][0], entry_px=moved["entry"][1], exit_qty=moved["exit"][0],
            exit_px=moved["exit"][1], entry_value=value, gross=gross, fees=fees, funding=funding, net=net,
            net_bps=bps_of(net, value),
            parts=waterfall(legs, decided, instrument, Result(
                long=long, fees=fees, funding=funding, net=net, value=value,
            )),
            mfe_bps=get("mfe_bps"), mae_bps=get("mae_bps"), exit_reason=get("exit_reason"),
            reasons={"orders": "it was told by hand: there are no orders, turns or features behind it"},
        )  # fmt: skip


def _fill(leg: Leg, line: Mapping[str, Any]) -> Fill:
    get = line.get
    return Fill(leg.seq, get("order_id"), get("received") or leg.ts, get("role"), get("trace_id"))


def _signal(order: OrderSaid, turns: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The signal of an order's turn: the one of its source, else the first."""
    own = (one for one in turns if order.source is not None and one.get("source") == order.source)
    return next(own, turns[0] if turns else None)


def _predicted(order: OrderSaid, turns: Sequence[Mapping[str, Any]]) -> Decimal | None:
    """What the signals of an order's turn predicted, if they say one thing."""
    said = {
        found for one in turns
        if (order.source is None or one.get("source") in (None, order.source))
        and (found := real(one.get("pred_bps"))) is not None
    }  # fmt: skip
    return said.pop() if len(said) == 1 else None


def _behind(  # noqa: PLR0917 - each is another part of it
    order: OrderSaid, first: Fill, decided: Decided, seen: Seen, signal: Mapping[str, Any] | None,
    fills: Sequence[Fill], why: str,
) -> Behind:  # fmt: skip
    reasons: dict[str, str] = {}
    latency = None if signal is None else signal.get("latency")
    if not isinstance(latency, dict):
        latency = None
        reasons["latency"] = (
            "no signal of the order's turn was found" if order.trace_id else "it was decided in no tick"
        )
    if not order.found:
        reasons["order"] = why
    if seen.features is None:
        reasons["features"] = "no ages of features were written down at the decision"
    if seen.regime is None:
        reasons["regime"] = "it was not known at the decision"
    if order.sent_ts is None:
        reasons["sent_ts"] = "sent was not told"
    named = {fill.order_id for fill in fills if fill.order_id is not None}
    return Behind(
        order_id=order.order_id, orders=len(named) + sum(fill.order_id is None for fill in fills), fills=len(fills),
        order_type=order.order_type, strategy=order.strategy, source=order.source, reason=order.reason,
        pred_bps=decided.pred_bps, decision_px=order.decision_px, sent_px=order.sent_px, bid=decided.bid,
        ask=decided.ask, impact_bps=seen.impact_bps, decided_ts=order.decided_ts, sent_ts=order.sent_ts,
        filled_ts=first.received, decision_to_sent_ms=_between(order.decided_ts, order.sent_ts),
        sent_to_fill_ms=_between(order.sent_ts, first.received),
        decision_to_fill_ms=_between(order.decided_ts, first.received), trace_id=order.trace_id, bar_id=order.bar_id,
        latency=latency, features=seen.features, regime=seen.regime, reasons=reasons,
    )  # fmt: skip


def _between(begin: str | None, end: str | None) -> float | None:
    """Milliseconds; `None` where one is not known, or the clock was set back."""
    if begin is None or end is None:
        return None
    found = (epoch_ns(end) - epoch_ns(begin)) / 1e6
    return found if found >= 0 else None


def _loose(lines: Mapping[int, Mapping[str, Any]]) -> str | None:
    """Why the fees may not be all."""
    fills = [line for line in lines.values() if line.get("type") == "fill"]
    without = sum("fee" not in line for line in fills)
    unpriced = sorted({str(line.get("fee_asset")) for line in fills if line.get("fee_in") == "unpriced"})
    said = [f"{without} of {len(fills)} fills came without a fee"] if without else []
    if unpriced:
        said.append(f"fees in {', '.join(unpriced)} could not be valued")
    return "; ".join(said) or None


def _missing(trip: RoundTrip, record: Mapping[str, Any]) -> dict[str, str]:
    if record or trip.closed_ts is None:
        return {}
    return {"record": "there is no record of it in trade_lifecycle: how far the price went is not known"}
