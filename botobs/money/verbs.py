"""The verbs that report money, for one observer; the module-level ones ask the running observer for these."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from botobs.money.report import NOWHERE, SAID, FillReport, Place
from botobs.stages.engine import ENGINES
from botobs.stages.orders import name_order
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.money.fills import Filled
    from botobs.money.room import Money
    from botobs.stages.engine import Engine
    from botobs.stages.tick import Tick

__all__ = ["MoneyVerbs"]


class MoneyVerbs:
    """`order`, `sent`, `cancel`, `fill`, `afill`, `void`, `reject`, `mark`, `position`, `transfer`, `funding`, `bar`,
    `book`, `instrument`. None of them raises into the bot.
    """  # noqa: D205 - the list is the summary

    _money: Money
    _own: Engine

    def order(
        self,
        symbol: Any,
        side: Any,
        qty: Any,
        *,
        decision_px: Any,
        order_id: Any = None,
        order_type: str = "market",
        limit_px: Any = None,
        strategy: str | None = None,
        source: str | None = None,
        pred_bps: Any = None,
        strength: Any = None,
        reason: str | None = None,
        stop_px: Any = None,
        target_px: Any = None,
        reduces: bool | None = None,
        plan_id: Any = None,
        action: str | None = None,
        venue: str | None = None,
        account: str | None = None,
        **more: Any,
    ) -> str:
        """The bot decided to trade.

        Args:
            symbol: What.
            side: `buy` or `sell`, however it is spelt.
            qty: How much.
            decision_px: The price at which it was decided; slippage is measured against it.
            order_id: The bot's own id; made if there is none.
            order_type: `market`, `limit`, …
            limit_px: Its limit.
            strategy: Whose trade it is.
            source: Which signal it came from.
            pred_bps: The move that was predicted.
            strength: How strong the signal was.
            reason: Why: `stop_loss`, `take_profit`, `signal_flip`, `time_limit`, `risk_limit`, …
            stop_px: Where the loss is to be cut.
            target_px: Where the profit is to be taken.
            reduces: Whether it can only make the position smaller.
            plan_id: The plan it belongs to.
            action: What it does in that plan.
            venue: Where.
            account: Of which account.
            **more: Anything else; kept with the order.

        Returns:
            The order's id, for `sent`, `fill`, `reject` and `cancel`.
        """
        details = {
            "order_type": order_type, "limit_px": limit_px, "strategy": strategy, "source": source,
            "pred_bps": pred_bps, "strength": strength, "reason": reason, "stop_px": stop_px, "target_px": target_px,
            "reduces": reduces, "plan_id": plan_id, "action": action, "venue": venue, "account": account,
        }  # fmt: skip
        try:
            if not self._running():
                return _said(order_id)
            place = self._place(keep=True)
            made = self._money.order(
                symbol, side, qty, decision_px=decision_px, order_id=order_id, place=place, details=details, more=more
            )
            self._place(keep=True, order_id=made)
            return made
        except Exception as error:
            self._own.faults.error("order", error)
            return _said(order_id)

    def sent(self, order_id: Any, *, px: Any = None) -> None:
        """The order left for the exchange, when the market stood at `px`."""
        try:
            if self._running():
                self._money.sent(order_id, px, self._place())
        except Exception as error:
            self._own.faults.error("sent", error)

    def cancel(self, order_id: Any, reason: Any = None) -> None:
        """The order was withdrawn."""
        try:
            if self._running():
                self._money.cancel(order_id, reason, self._place())
        except Exception as error:
            self._own.faults.error("cancel", error)

    def fill(
        self,
        order_id: Any = None,
        *,
        price: Any,
        qty: Any,
        symbol: Any = None,
        side: Any = None,
        fee: Any = None,
        fee_asset: str | None = None,
        role: str | None = None,
        fill_id: Any = None,
        ts: Any = None,
        venue: str | None = None,
        account: str | None = None,
        position_side: str | None = None,
        kind: str = "live",
        **more: Any,
    ) -> FillReport:
        """An execution. When it returns, the fill is in the ledger, as durable as configured.

        Args:
            order_id: The order it belongs to; without one, `symbol` and `side` are needed.
            price: At what price.
            qty: How much, positive.
            symbol: What, if the order does not say.
            side: `buy` or `sell`, if the order does not say.
            fee: Positive is paid, negative a rebate; `None`: by the `[fees]` table, else nothing.
            fee_asset: What it was paid in; `None`: the settlement currency.
            role: `maker` or `taker`.
            fill_id: The exchange's id of it; the same fill twice is then counted once.
            ts: When it happened, as the exchange says.
            venue: Where.
            account: Of which account.
            position_side: `long` or `short`, in hedge mode.
            kind: `live`, `hedger_sim` (in the ledger, not in totals) or `import`.
            **more: Anything else; kept with the fill.

        Returns:
            What became of it.
        """
        said = (
            price, qty, symbol, side, fee, fee_asset, role, fill_id, ts, venue, account, position_side, kind,
            more.pop("strategy", None) if more else None,
        )  # fmt: skip
        return self._fill(order_id, said, more, wait=True)  # type: ignore[return-value]

    async def afill(
        self,
        order_id: Any = None,
        *,
        price: Any,
        qty: Any,
        symbol: Any = None,
        side: Any = None,
        fee: Any = None,
        fee_asset: str | None = None,
        role: str | None = None,
        fill_id: Any = None,
        ts: Any = None,
        venue: str | None = None,
        account: str | None = None,
        position_side: str | None = None,
        kind: str = "live",
        **more: Any,
    ) -> FillReport:
        """As `fill`, but waits for the disk off the loop. Once begun it books, whatever becomes of its task."""
        said = (
            price, qty, symbol, side, fee, fee_asset, role, fill_id, ts, venue, account, position_side, kind,
            more.pop("strategy", None) if more else None,
        )  # fmt: skip
        done = self._fill(order_id, said, more, wait=False)
        if isinstance(done, FillReport):
            return done
        try:
            waiting = self._money.later(done)
        except Exception as error:
            return self._broken("fill", _named(order_id, said, more), error)
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded already

        return await asyncio.shield(asyncio.wrap_future(waiting))

    def void(
        self, fill_id: Any, reason: Any, *, order_id: Any = None, symbol: Any = None, account: str | None = None
    ) -> FillReport:
        """The exchange took a fill back: everything becomes what it would be without it.

        Args:
            fill_id: Which.
            reason: Why.
            order_id: Of which order, where the id alone is ambiguous.
            symbol: Of which symbol.
            account: Of which account.
        """
        said = {"order_id": order_id, "symbol": symbol, "account": account}
        try:
            return self._money.desk.void(fill_id, reason, said) if self._running() else _OVER
        except Exception as error:
            return self._broken("void", {"fill_id": fill_id, "reason": reason, **said}, error)

    def reject(
        self,
        order_id: Any,
        code: Any,
        message: Any,
        *,
        attempt: int = 1,
        max_retries: int = 1,
        market: Any = None,
        error: BaseException | None = None,
    ) -> None:
        """The exchange refused an order.

        Args:
            order_id: Which.
            code: The exchange's code.
            message: What it said.
            attempt: The how-manieth attempt this was,
            max_retries: of how many.
            market: What the market was like: `bid`, `ask`, `spread_bps`, `volume_1m`, …
            error: The exception, if there was one.
        """
        try:
            if self._running():
                self._money.reject(
                    order_id, code, message, self._place(keep=True, order_id=order_id), attempt=attempt,
                    max_retries=max_retries, market=market, error=error,
                )  # fmt: skip
        except Exception as unexpected:
            self._own.faults.error("reject", unexpected)

    def mark(
        self,
        symbol: Any,
        price: Any = None,
        *,
        bid: Any = None,
        ask: Any = None,
        ts: Any = None,
        venue: str | None = None,
    ) -> None:
        """A price to value positions at: `price`, else the middle of `bid` and `ask`."""
        try:
            if self._running():
                self._money.prices.mark(symbol, price, bid, ask, venue, ts)
        except Exception as error:
            self._own.faults.error("mark", error)

    def bar(  # noqa: PLR0917 - a bar is said in this order everywhere
        self,
        symbol: Any,
        open: Any,  # noqa: A002 - what everybody calls it
        high: Any,
        low: Any,
        close: Any,
        volume: Any = None,
        ts: Any = None,
    ) -> None:
        """A finished bar: its close is a mark, its range goes into ATR and ADX."""
        try:
            if self._running():
                self._money.prices.bar(symbol, open, high, low, close, volume, ts)
        except Exception as error:
            self._own.faults.error("bar", error)

    def book(
        self,
        symbol: Any,
        bids: Any,
        asks: Any,
        *,
        ts: Any = None,
        venue: str | None = None,
    ) -> None:
        """The order book that the bot decides on. It is no mark.

        Args:
            symbol: Of what.
            bids: `[[price, size], ...]`, the best first or last; or a mapping of prices to sizes, a numpy array, …
            asks: The same.
            ts: When it was so, as the exchange says.
            venue: Where.
        """
        try:
            if self._own in ENGINES:
                told = self._money.prices.on_book
                if told is not None:
                    told(symbol, bids, asks, ts, venue)
        except Exception as error:
            self._own.faults.error("book", error)

    def position(
        self,
        symbol: Any,
        qty: Any,
        avg_px: Any,
        *,
        ts: Any = None,
        venue: str | None = None,
        account: str | None = None,
        position_side: str | None = None,
    ) -> FillReport:
        """What was held before botobs came. Said again, it changes nothing."""
        said = {"ts": ts, "venue": venue, "account": account, "position_side": position_side}
        try:
            return self._money.desk.position(symbol, qty, avg_px, said) if self._running() else _OVER
        except Exception as error:
            return self._broken("position", {"symbol": symbol, "qty": qty, "avg_px": avg_px, **said}, error)

    def transfer(self, amount: Any, *, currency: str | None = None, ts: Any = None) -> FillReport:
        """Money was moved into the account (positive) or out of it: no profit, no drawdown."""
        said = {"currency": currency, "ts": ts}
        try:
            return self._money.desk.transfer(amount, said) if self._running() else _OVER
        except Exception as error:
            return self._broken("transfer", {"amount": amount, **said}, error)

    def funding(
        self,
        symbol: Any,
        amount: Any,
        *,
        rate: Any = None,
        ts: Any = None,
        funding_id: Any = None,
        account: str | None = None,
        venue: str | None = None,
        position_side: str | None = None,
    ) -> FillReport:
        """Funding was paid (negative) or received.

        Args:
            symbol: For which symbol.
            amount: How much, in the settlement currency.
            rate: At what rate.
            ts: When.
            funding_id: The exchange's id; the same payment twice is then counted once, as it is with the same `ts`.
            account: Of which account.
            venue: Where.
            position_side: `long` or `short`, in hedge mode.
        """
        said = {
            "rate": rate, "ts": ts, "funding_id": funding_id, "account": account, "venue": venue,
            "position_side": position_side,
        }  # fmt: skip
        try:
            return self._money.desk.funding(symbol, amount, said, self._place()) if self._running() else _OVER
        except Exception as error:
            return self._broken("funding", {"symbol": symbol, "amount": amount, **said}, error)

    def instrument(
        self,
        symbol: Any,
        *,
        multiplier: Any = 1,
        inverse: bool = False,
        base: str | None = None,
        quote: str | None = None,
        dust: Any = 0,
        venue: str | None = None,
    ) -> None:
        """How a symbol settles; without it: linear, multiplier 1, base and quote as its name says.

        Args:
            symbol: Which.
            multiplier: Units of the base per contract.
            inverse: Contracts are worth a fixed amount of the quote currency and settle in the base.
            base: What is traded.
            quote: What it is priced in.
            dust: A remainder of at most this closes a trade.
            venue: Where; `None`: everywhere.
        """
        try:
            if self._running():
                self._money.instrument(
                    symbol, multiplier=multiplier, inverse=inverse, base=base, quote=quote, dust=dust, venue=venue
                )
        except Exception as error:
            self._own.faults.error("instrument", error)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _running(self) -> bool:
        return self._own in ENGINES

    def _fill(
        self, order_id: Any, said: tuple[Any, ...], more: Mapping[str, Any], *, wait: bool
    ) -> FillReport | Filled:
        """Book a fill, `said` as in `SAID`; with `wait` until it is durable."""
        try:
            if self._own not in ENGINES:
                return _OVER
            money, ts = self._money, said[8]
            if type(ts) is not int and _is_naive(ts):
                money.naive("fill")
            told = money.context("fill", more, dict(zip(SAID, said, strict=True))) if more else None
            tick = current_tick()
            place = NOWHERE if tick.engine is not self._own else _place_in(tick, keep=True, order_id=order_id)
            done = money.desk.book(order_id, said, place, told)
            return money.desk.filled(done) if wait and done.__class__ is not FillReport else done  # type: ignore[arg-type]
        except Exception as error:
            return self._broken("fill", _named(order_id, said, more), error)

    def _place(self, *, keep: bool = False, order_id: Any = None) -> Place:
        """Where in the loop this is said; with `keep`, the tick's trace is worth keeping, and names the order."""
        tick = current_tick()
        return NOWHERE if tick.engine is not self._own else _place_in(tick, keep=keep, order_id=order_id)

    def _broken(self, where: str, said: dict[str, Any], error: Exception) -> FillReport:
        """A bug of ours: what was reported is kept all the same."""
        kept = False
        try:
            kept = self._money.set_aside({"what": where, "reason": f"{type(error).__name__}: {error}", "said": said})
        finally:
            self._own.faults.error(where, error)
        return FillReport(reason=f"botobs failed: {type(error).__name__}: {error}", durable=kept)


def _place_in(tick: Tick, *, keep: bool, order_id: Any) -> Place:
    if keep:
        name_order(tick, order_id)
    return Place(tick.bar_id, tick.id if tick.keeps else None)


def _is_naive(ts: Any) -> bool:
    """Whether it is a datetime without a timezone."""
    return issubclass(type(ts), dt.datetime) and ts.tzinfo is None


def _named(order_id: Any, said: tuple[Any, ...], more: Mapping[str, Any]) -> dict[str, Any]:
    """What `fill` was given, by the names of its parameters."""
    return {"order_id": order_id, **dict(zip(SAID, said, strict=True)), **more}


_OVER = FillReport(reason="botobs is not running")


def _said(order_id: Any) -> str:
    """The id that the bot goes on with, whatever happened here."""
    try:
        return str(order_id) if order_id is not None else ""
    except Exception:
        return ""
