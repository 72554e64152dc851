"""The simulated exchange's own books: what it would put on a statement. They know nothing of botobs."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["FUNDING", "TRADES", "Fill", "Payment", "Side", "Statement"]

Side = Literal["buy", "sell"]

#: Files in the exchange's folder.
TRADES: Final = "trades.jsonl"
FUNDING: Final = "funding.jsonl"

_CURRENCY: Final = "USD"


@attrs.frozen(kw_only=True)
class Fill:
    """A part of an order that was executed.

    Attributes:
        id: The exchange's number of it.
        fee: Paid is positive, a rebate negative.
        ts: Milliseconds since 1970, as exchanges tell time.
    """

    id: str
    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    role: Literal["maker", "taker"]
    fee: Decimal
    ts: int

    @property
    def signed(self) -> Decimal:
        """The change of the position."""
        return self.qty if self.side == "buy" else -self.qty


@attrs.frozen(kw_only=True)
class Payment:
    """A funding payment: received is positive."""

    id: str
    symbol: str
    amount: Decimal
    rate: Decimal
    ts: int


class Statement:
    """Trades and payments, and what they sum up to; they stay with the exchange when the bot has gone.

    Args:
        folder: Where they are kept, one JSON object a line, trades as ccxt tells them; `None`: nowhere.
        deposit: The money that the account began with.

    Attributes:
        cash: What the account's money is without its positions.
        fees: Paid.
        funding: Received.
        volume: By role.
        trouble: Why the files do not have everything, if they do not.
    """

    def __init__(self, folder: Path | None = None, deposit: Decimal = Decimal(0)) -> None:
        self.deposit = deposit
        self.cash = deposit
        self.fees = Decimal(0)
        self.funding = Decimal(0)
        self.volume = {"maker": Decimal(0), "taker": Decimal(0)}
        self.fills: list[Fill] = []
        self.payments: list[Payment] = []
        self.trouble: str | None = None
        self._held: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._folder = folder
        self._files: dict[str, int] = {}
        self._read(TRADES, lambda line: self._count(_fill_of(line)))
        self._read(FUNDING, lambda line: self._pay(_payment_of(line)))

    def held(self, symbol: str) -> Decimal:
        """The position."""
        return self._held[symbol]

    def book(self, fill: Fill) -> None:
        """Take a trade in."""
        self._count(fill)
        self._write(TRADES, _unified(fill))

    def pay(self, payment: Payment) -> None:
        """Take a funding payment in."""
        self._pay(payment)
        self._write(FUNDING, {
            "id": payment.id, "timestamp": payment.ts, "symbol": payment.symbol, "code": _CURRENCY,
            "amount": str(payment.amount), "rate": str(payment.rate),
        })  # fmt: skip

    def trades(self) -> Iterator[str]:
        """The trades as JSON lines."""
        return (json.dumps(_unified(fill)) + "\n" for fill in self.fills)

    def totals(self, marks: Mapping[str, Decimal]) -> dict[str, Any]:
        """What it all comes to, positions at `marks`: from cash and positions, never from trade by trade."""
        worth = sum((qty * marks[symbol] for symbol, qty in self._held.items()), Decimal(0))
        equity = self.cash + worth
        return {
            "fills": len(self.fills),
            "volume": self.volume["maker"] + self.volume["taker"],
            "maker_volume": self.volume["maker"],
            "taker_volume": self.volume["taker"],
            "fees": self.fees,
            "funding": self.funding,
            "total_pnl": equity - self.deposit,
            "equity": equity,
        }

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _count(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.cash -= fill.signed * fill.price + fill.fee
        self.fees += fill.fee
        self.volume[fill.role] += fill.qty * fill.price
        self._held[fill.symbol] += fill.signed

    def _pay(self, payment: Payment) -> None:
        self.payments.append(payment)
        self.cash += payment.amount
        self.funding += payment.amount

    def _read(self, name: str, take: Callable[[dict[str, Any]], None]) -> None:
        if self._folder is None:
            return
        try:
            lines = (self._folder / name).read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{name} cannot be read: {error.strerror}"
            return
        for number, line in enumerate(lines, 1):
            try:
                take(json.loads(line))
            except (ValueError, KeyError, TypeError, ArithmeticError):  # torn when the machine went down, or not ours
                self.trouble = f"line {number} of {name} cannot be read"

    def _write(self, name: str, line: dict[str, Any]) -> None:
        if self._folder is None:
            return
        try:
            if name not in self._files:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._folder / name
                self._files[name] = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o644)
                size = os.fstat(self._files[name]).st_size
                if size and os.pread(self._files[name], 1, size - 1) != b"\n":
                    os.write(self._files[name], b"\n")
            os.write(self._files[name], json.dumps(line).encode() + b"\n")
        except OSError as error:
            self.trouble = f"{name} cannot be written: {error.strerror}"


def _unified(fill: Fill) -> dict[str, Any]:
    return {
        "id": fill.id,
        "order": fill.order_id,
        "timestamp": fill.ts,
        "symbol": fill.symbol,
        "side": fill.side,
        "takerOrMaker": fill.role,
        "price": str(fill.price),
        "amount": str(fill.qty),
        "fee": {"cost": str(fill.fee), "currency": _CURRENCY},
    }


def _fill_of(line: Mapping[str, Any]) -> Fill:
    return Fill(
        id=line["id"], order_id=line["order"], symbol=line["symbol"], side=line["side"], ts=line["timestamp"],
        qty=Decimal(line["amount"]), price=Decimal(line["price"]), role=line["takerOrMaker"],
        fee=Decimal(line["fee"]["cost"]),
    )  # fmt: skip


def _payment_of(line: Mapping[str, Any]) -> Payment:
    return Payment(
        id=line["id"], symbol=line["symbol"], amount=Decimal(line["amount"]), rate=Decimal(line["rate"]),
        ts=line["timestamp"],
    )  # fmt: skip
