"""Extra keywords that are probably a parameter under another name: `commission=` for `fee=`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["misspelt"]

# what exchanges and other libraries call it -> what it is called here, the likeliest first
_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("commission", "commissions", "fees", "cost", "fee_cost", "fee_paid", "exec_fee"), ("fee",)),
    **dict.fromkeys(("commission_asset", "fee_currency", "fee_ccy", "fee_coin"), ("fee_asset",)),
    **dict.fromkeys(
        (
            "quantity",
            "amount",
            "size",
            "volume",
            "qnty",
            "contracts",
            "lots",
            "exec_qty",
            "last_qty",
            "filled",
            "filled_qty",
        ),
        ("qty", "amount"),
    ),
    **dict.fromkeys(
        ("price", "px", "fill_price", "fill_px", "exec_price", "avg_price", "last_px", "rate"),
        ("price", "decision_px", "avg_px", "px"),
    ),
    **dict.fromkeys(
        ("decision_price", "mid", "mid_price", "arrival_price", "expected_price"), ("decision_px", "price")
    ),
    **dict.fromkeys(("limit_price", "limit"), ("limit_px",)),
    **dict.fromkeys(("stop", "stop_price", "stop_loss", "sl"), ("stop_px",)),
    **dict.fromkeys(("target", "target_price", "take_profit", "tp"), ("target_px",)),
    **dict.fromkeys(("avg_price", "average_price", "entry_price"), ("avg_px", "price")),
    **dict.fromkeys(("instrument", "ticker", "market", "pair", "coin"), ("symbol", "market")),
    **dict.fromkeys(("direction", "buy_sell", "action_side"), ("side",)),
    **dict.fromkeys(("type", "ord_type"), ("order_type",)),
    **dict.fromkeys(("id", "oid", "client_order_id", "cl_ord_id", "client_oid"), ("order_id", "fill_id")),
    **dict.fromkeys(("trade_id", "exec_id", "execution_id", "tid"), ("fill_id",)),
    **dict.fromkeys(("timestamp", "time", "datetime", "date"), ("ts",)),
    **dict.fromkeys(("liquidity", "taker_or_maker", "maker_taker", "maker", "is_maker"), ("role",)),
    **dict.fromkeys(("exchange", "broker"), ("venue",)),
    **dict.fromkeys(("acct", "subaccount", "sub_account"), ("account",)),
    **dict.fromkeys(("reduce_only", "reduceonly", "close_only"), ("reduces",)),
    **dict.fromkeys(("strategy_id", "strategy_name", "strat"), ("strategy",)),
    **dict.fromkeys(("signal_source",), ("source",)),
    **dict.fromkeys(("prediction", "prediction_bps", "pred"), ("pred_bps",)),
    **dict.fromkeys(("signal_strength",), ("strength",)),
    **dict.fromkeys(("retries", "max_attempts"), ("max_retries",)),
    **dict.fromkeys(("exception", "exc"), ("error",)),
    **dict.fromkeys(("msg",), ("message",)),
}
_CLOSE = 0.8
_CLOSER = 0.9  # two steps away from a parameter, one is a guess already


def misspelt(more: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """What among the extra keywords `more` looks like one of the parameters `known`, as text for a warning.

    Example:
        >>> misspelt({"commission": 1, "mood": "calm"}, ["fee", "qty", "price"])
        ["'commission' (did you mean 'fee'?)"]
    """
    if not more:
        return []
    parameters = tuple(known)
    found = []
    for name in list(more)[:50]:
        meant = _meant(str.__str__(name)[:80], parameters)
        if meant is not None:
            found.append(f"{name!r} (did you mean {meant!r}?)")
    return found


@functools.lru_cache(maxsize=1024)
def _meant(name: str, known: tuple[str, ...]) -> str | None:
    if name in known:
        return None
    plain = _snake(name)
    if plain in known:
        return plain
    called = _called(plain, known)
    if called is not None or len(plain) < 4:  # too short to tell a slip from a word
        return called
    import difflib  # noqa: PLC0415  # only words that nobody knows need it

    close = difflib.get_close_matches(plain, known, n=1, cutoff=_CLOSE)
    if close:
        return close[0]
    words = difflib.get_close_matches(plain, _SYNONYMS, n=3, cutoff=_CLOSER)  # `comission`
    return next((found for word in words if (found := _called(word, known)) is not None), None)


def _called(word: str, known: Collection[str]) -> str | None:
    """The one of `known` that has `word` for another name."""
    return next((each for each in _SYNONYMS.get(word, ()) if each in known), None)


def _snake(name: str) -> str:
    """`feeAsset`, `Fee-Asset` and `fee_asset_` as one."""
    spread = "".join(f"_{char}" if char.isupper() and index else char for index, char in enumerate(name))
    plain = "_".join(part for part in spread.lower().replace("-", "_").split("_") if part)
    return plain if not name.isupper() else name.lower().strip("_")
