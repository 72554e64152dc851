"""What an order book tells: spread, depth, imbalance, and what it would make an order pay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from botobs.accounting.instruments import Instrument
    from botobs.insight.depth.levels import Side
    from botobs.insight.terms import OrderBookTerms

__all__ = ["Book", "Levels", "book_of"]

Levels = tuple[tuple[float, float], ...]
_EVEN: Final = 1e-12  # a level that far beyond a bound is at it: 100 less 5 bps is no binary number


@attrs.frozen(kw_only=True)
class Book:
    """An order book as the bot saw it.

    Attributes:
        symbol: Of which market,
        venue: and where.
        ts: When the bot told of it (RFC 3339).
        book_ts: When it was so, as the exchange says.
        bids: Price and size of each level that was taken, the best first, and
        asks: the same.
        bid: The best bid.
        ask: The best ask.
        mid: What is between them.
        spread_bps: From bid to ask, of the middle.
        half_spread_bps: Half of it: what taking costs at the least.
        microprice: The middle, drawn to the side that has less at its best price.
        imbalance: What the bids have more than the asks, of all, within the best few levels of both; 1 to -1.
        within_bps: So far from the middle the depth is told:
        bid_depth: the size of the bids, for each of `within_bps`; `None` where the levels end before,
        ask_depth: and of the asks.
        bid_value: What that size is worth, in the settlement currency, and
        ask_value: the same of the asks.
        left_out: How many levels were none.
        reasons: Why something is `None`.
    """

    symbol: str
    venue: str | None = None
    ts: str
    book_ts: str | None = None
    bids: Levels = ()
    asks: Levels = ()
    bid: float | None = None
    ask: float | None = None
    mid: float | None = None
    spread_bps: float | None = None
    half_spread_bps: float | None = None
    microprice: float | None = None
    imbalance: float | None = None
    within_bps: tuple[float, ...] = ()
    bid_depth: tuple[float | None, ...] = ()
    ask_depth: tuple[float | None, ...] = ()
    bid_value: tuple[float | None, ...] = ()
    ask_value: tuple[float | None, ...] = ()
    left_out: int = 0
    reasons: Mapping[str, str] = attrs.field(factory=dict)
    inverse: bool = attrs.field(default=False, repr=False)


def book_of(  # noqa: PLR0917 - who calls it has them in this order
    symbol: str,
    venue: str | None,
    ts: str,
    book_ts: str | None,
    bids: Side,
    asks: Side,
    terms: OrderBookTerms,
    instrument: Instrument,
) -> Book:
    """The figures of two sides."""
    missing = {"bid": _why(bids, "bid"), "ask": _why(asks, "ask")}
    reasons = {name: why for name, why in missing.items() if why is not None}
    ours, theirs = () if bids.mixed else bids.levels, () if asks.mixed else asks.levels
    known: dict[str, Any] = {
        "symbol": symbol, "venue": venue, "ts": ts, "book_ts": book_ts, "bids": ours, "asks": theirs,
        "bid": ours[0][0] if ours else None, "ask": theirs[0][0] if theirs else None,
        "within_bps": terms.within_bps, "left_out": bids.odd + asks.odd, "inverse": instrument.inverse,
    }  # fmt: skip
    why = next(iter(reasons.values()), None)
    if why is None and ours[0][0] > theirs[0][0]:
        why = "the book is crossed"
    if why is not None:
        unknown = (None,) * len(terms.within_bps)
        for name in ("mid", "spread_bps", "microprice", "imbalance", "bid_depth", "ask_depth"):
            reasons[name] = why
        return Book(**known, bid_depth=unknown, ask_depth=unknown, bid_value=unknown, ask_value=unknown,
                    reasons=reasons)  # fmt: skip
    (bid, bid_size), (ask, ask_size) = ours[0], theirs[0]
    mid = (bid + ask) / 2
    spread = (ask - bid) / mid * 1e4
    for name, levels, sign in (("bid", ours, -1), ("ask", theirs, 1)):
        sizes, values = _depth(levels, [mid * (1 + sign * bps / 1e4) for bps in terms.within_bps], sign, instrument)
        known[f"{name}_depth"], known[f"{name}_value"] = sizes, values
        if None in sizes:
            ends = abs(levels[-1][0] - mid) / mid * 1e4
            reasons[f"{name}_depth"] = f"the levels end {ends:.3g} bps from the middle"
    return Book(
        **known, mid=mid, spread_bps=spread, half_spread_bps=spread / 2, imbalance=_imbalance(ours, theirs, terms),
        microprice=(bid * ask_size + ask * bid_size) / (bid_size + ask_size), reasons=reasons,
    )  # fmt: skip


def _why(side: Side, name: str) -> str | None:
    """Why a side has no best level; `None`: it has."""
    if side.mixed:
        return f"the {name}s come in no order, and there are more than are taken"
    if side.levels:
        return None
    return f"no {name} could be read" if side.odd else f"there are no {name}s"


def _imbalance(bids: Levels, asks: Levels, terms: OrderBookTerms) -> float:
    """Over as many levels of one side as of the other."""
    n = min(terms.levels, len(bids), len(asks))
    ours, theirs = math.fsum(size for _, size in bids[:n]), math.fsum(size for _, size in asks[:n])
    return (ours - theirs) / (ours + theirs)


def _depth(
    levels: Levels, bounds: Sequence[float], sign: int, instrument: Instrument
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Size and worth up to each bound; unknown where the levels end before it."""
    sizes: list[float | None] = []
    values: list[float | None] = []
    multiplier, inverse = float(instrument.multiplier), instrument.inverse
    size = value = 0.0
    at = 0
    for bound in bounds:
        last = bound * (1 + sign * _EVEN)
        while at < len(levels) and (levels[at][0] - last) * sign <= 0:
            price, count = levels[at]
            size += count
            value += count / price if inverse else count * price
            at += 1
        known = at < len(levels) or (levels[-1][0] - bound) * sign >= -abs(bound) * _EVEN
        worth = value * multiplier
        sizes.append(size if known else None)
        values.append(worth if known and math.isfinite(worth) else None)
    return (*sizes,), (*values,)
