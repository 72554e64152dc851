"""What the benchmarks of money work on: the fills of a busy bot, and ledgers of a year of them.

A ledger is made here as botobs itself would have written it, line by line, chained and put into archives, but with
integers in the place of decimals: so a million lines take seconds. That composing it comes to the same sums is
checked by whoever uses it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from botobs.accounting.entries import stamp
from botobs.accounting.ledger.chain import FIRST, link, seal
from botobs.accounting.ledger.head import NO_TIME, Head, HeadFile
from botobs.accounting.ledger.volumes import free_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOT = "bench"
STARTING_EQUITY = 1_000_000
A_YEAR = 1_000_000  # fills of a busy bot
YEAR_NS = 365 * 86_400 * 10**9
END_NS = 1_790_000_000 * 10**9  # when the last fill of a generated ledger happened
# what is traded, and at what price in hundredths it begins
_SYMBOLS = {"BTCUSDT": 6_500_000, "ETHUSDT": 310_000, "SOLUSDT": 15_000, "BNBUSDT": 60_000, "LTCUSDT": 8_500}
_LATE = 0.005  # of the fills come behind one of a later time, by seconds
_SIZE = 64 << 20  # of a file of the ledger


@dataclass
class Fill:
    """One execution, in integers: quantity in ten thousandths, price in hundredths, fee in millionths."""

    symbol: str
    side: str
    qty: int
    price: int
    fee: int
    role: str
    order_id: str
    fill_id: str
    ts_ns: int


@dataclass
class Trader:
    """Sums of what was traded, in integers: what the composed account has to come to."""

    inventory: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    cash: int = 0
    fees: int = 0
    worth: int = 0  # of all that is held, at the last prices

    def take(self, fill: Fill) -> tuple[int, int]:
        """Book a fill: what changed hands, and what is held then."""
        before = self.inventory.get(fill.symbol, 0)
        signed = fill.qty if fill.side == "buy" else -fill.qty
        self.worth += (before + signed) * fill.price - before * self.last.get(fill.symbol, 0)
        self.inventory[fill.symbol], self.last[fill.symbol] = before + signed, fill.price
        self.cash -= signed * fill.price + fill.fee
        self.fees += fill.fee
        return -signed * fill.price, before + signed


def fills(count: int, *, seed: int = 7, end_ns: int = END_NS, span_ns: int = YEAR_NS) -> Iterator[Fill]:
    """`count` fills up to `end_ns`: orders of one to three fills, positions that are built up, reduced and turned."""
    rng = random.Random(seed)
    prices, held = dict(_SYMBOLS), dict.fromkeys(_SYMBOLS, 0)
    names = list(_SYMBOLS)
    pause, now, made, order = span_ns / max(count, 1), end_ns - span_ns, 0, 0
    while made < count:
        order += 1
        symbol = names[int(rng.random() * len(names))]
        size = 1 + int(rng.random() * 4_000)
        buys = rng.random() < 0.5 - 0.4 * max(-1.0, min(held[symbol] / 20_000, 1.0))
        parts = min(1 + int(rng.random() * 3), count - made)
        now += int(pause * parts * 2 * rng.random())
        for part in range(parts):
            prices[symbol] += int(rng.gauss(0, 1) * prices[symbol] / 20_000)
            made += 1
            qty, price = size + part, prices[symbol]
            held[symbol] += qty if buys else -qty
            late = int(rng.random() * 3e9) if rng.random() < _LATE else 0
            yield Fill(
                symbol, "buy" if buys else "sell", qty, price, qty * price * 4 // 10_000,
                "maker" if rng.random() < 0.6 else "taker", f"x-{seed:x}{order:010x}", str(700_000_000 + made),
                min(now + part * 2_000_000, end_ns) - late,
            )  # fmt: skip


def report(fill: Fill, ts_ms: int | None = None) -> dict:
    """The fill as exchanges send it: numbers as text, the time in milliseconds; symbol and side are the order's."""
    return {
        "price": text(fill.price, 2), "qty": text(fill.qty, 4), "fee": text(fill.fee, 6), "fee_asset": "USDT",
        "role": fill.role, "fill_id": fill.fill_id, "ts": ts_ms or fill.ts_ns // 1_000_000,
    }  # fmt: skip


def write_ledger(root: Path, count: int) -> Trader:
    """A ledger of `count` fills in `root`, a million a year; what it comes to."""
    trader, peak = Trader(), STARTING_EQUITY * 10**6
    (root / "metrics" / "archive").mkdir(parents=True)
    volume = _Volume(root)
    digest, trades = FIRST, 0
    for seq, fill in enumerate(fills(count, span_ns=YEAR_NS * count // A_YEAR), 1):
        delta, inventory = trader.take(fill)
        equity = STARTING_EQUITY * 10**6 + trader.cash + trader.worth
        peak = max(peak, equity)
        trades += abs(inventory) == fill.qty
        ts = stamp(fill.ts_ns)
        body = b'{"seq":%d,%b' % (seq, orjson.dumps({
            "type": "fill", "ts": ts, "received": stamp(fill.ts_ns + 40_000_000), "schema": "v1", "bot": BOT,
            "run_id": "20260101T000000-abcdef", "symbol": fill.symbol, "side": fill.side, "role": fill.role,
            "size": text(fill.qty, 4), "price": text(fill.price, 2), "fee": text(fill.fee, 6),
            "fee_asset": "USDT", "order_id": fill.order_id, "fill_id": fill.fill_id, "venue": "binance",
            "strategy": "meanrev", "kind": "live", "timed": True, "quote_delta": text(delta, 6),
            "inventory": text(inventory, 4), "trade_id": f"t{max(trades, 1)}", "mark": text(fill.price, 2),
            "equity": text(equity, 6),
            "peak": text(peak, 6),
        })[1:-1])  # fmt: skip
        digest = link(digest, body)
        volume.add(seq, ts, seal(body, digest) + b"\n")
    volume.end(digest)
    return trader


class _Volume:
    """Files of the ledger, one after the other; the last one stays the live one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._live = root / "metrics" / "fills.jsonl"
        self._seq = self._size = 0
        self._begin()

    def add(self, seq: int, ts: str, line: bytes) -> None:
        if self._size >= _SIZE:
            self._file.close()
            self._live.rename(free_path(self._root / "metrics" / "archive", self._first, self._low, self._high))
            self._begin()
        if not self._first:
            self._first, self._low, self._high = seq, ts, ts
        self._low, self._high = min(self._low, ts), max(self._high, ts)
        self._seq, self._size = seq, self._size + len(line)
        self._file.write(line)

    def end(self, digest: bytes) -> None:
        self._file.close()
        head = HeadFile(self._root / "state" / "ledger.head")
        head.write(Head(self._seq, digest, self._first, self._low, self._high))
        head.close()

    def _begin(self) -> None:
        self._file = self._live.open("wb", buffering=1 << 20)
        self._first = self._size = 0
        self._low = self._high = NO_TIME


def text(value: int, places: int) -> str:
    """An integer of so many decimal places as decimal text."""
    digits = f"{abs(value):0{places + 1}d}"
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
