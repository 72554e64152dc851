"""What a bot says in words with every fill: of which symbol, side, role, venue, account. Read once, and kept.

A bot has a few such combinations and many fills, so what follows from the words alone is kept with them: whose book
it is, how the words stand in the ledger's line, and the first half of the fill's identity.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from botobs.accounting.ledger.index import FillIndex
from botobs.accounting.sides import side as side_of
from botobs.quick import UNFIT, quick
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from botobs.accounting.valuation import BookKey

__all__ = [
    "KINDS",
    "WORDS",
    "Refused",
    "Route",
    "known_name",
    "known_route",
    "name",
    "position_side_of",
    "refuse",
    "route_of",
    "shown",
]

KINDS = ("live", "hedger_sim", "import")
#: The words of a fill, in the order in which `route_of` takes them.
WORDS = ("symbol", "side", "fee_asset", "role", "venue", "account", "position_side", "strategy", "kind")
_ROLES = {"maker": "maker", "taker": "taker", "m": "maker", "t": "taker", "make": "maker", "take": "taker"}
_POSITION_SIDES = {"long": "long", "short": "short", "both": None, "net": None, "": None}
_LONGEST = 256

Words: TypeAlias = "tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any]"


class Refused(ValueError):  # noqa: N818 - not an error of the program: what was said cannot be booked
    """What was reported cannot be booked; the text says why."""


class Route:
    """The words of a fill, clean.

    Attributes:
        key: Whose book it goes into.
        buys: Whether it is a purchase.
        counts: Whether it is in the totals.
        said: The words as they stand in a line of the ledger.
    """

    __slots__ = ("_begun", "buys", "counts", "key", "said", *WORDS)

    def __init__(  # noqa: PLR0917 - as `WORDS`
        self,
        symbol: str,
        side: str,
        fee_asset: str | None = None,
        role: str | None = None,
        venue: str | None = None,
        account: str | None = None,
        position_side: str | None = None,
        strategy: str | None = None,
        kind: str = "live",
    ) -> None:
        self.symbol = symbol
        self.side = side
        self.fee_asset = fee_asset
        self.role = role
        self.venue = venue
        self.account = account
        self.position_side = position_side
        self.strategy = strategy
        self.kind = kind
        self.buys = side == "buy"
        self.counts = kind != "hedger_sim"
        self.key: BookKey = (account, venue, symbol, position_side, not self.counts)
        told = {word: said for word in WORDS if (said := getattr(self, word)) is not None}
        self.said = dumps(told)[1:-1].decode()
        self._begun = FillIndex.begun(venue, account, symbol, side)

    def identity(self, order_id: str | None, fill_id: str) -> bytes:
        """The key of such a fill in the index of duplicates."""
        rest = f"{order_id or ''}\0{fill_id}"
        if self._begun is None or rest.count("\0") > 1:  # one of them brings such a character along
            return FillIndex.key(self.venue, self.account, self.symbol, self.side, order_id, fill_id)
        digest = self._begun.copy()  # half the time of making one
        digest.update(rest.encode("utf-8", "surrogatepass"))
        key: bytes = digest.digest()
        return key

    def elsewhere(self, account: str | None, venue: str | None, symbol: str) -> Route:
        """The same at another place."""
        return Route(
            symbol, self.side, self.fee_asset, self.role, venue, account, self.position_side, self.strategy, self.kind
        )


if quick is not None:
    with suppress(*UNFIT):
        Route.identity = quick.know_routes(Route, Route.identity)  # type: ignore[method-assign]  # the same, compiled


def route_of(words: Words) -> Route:
    """The route that `words` name, as the bot said them.

    Raises:
        Refused: They name none.
    """
    return _read(*words)


@functools.lru_cache(maxsize=4_096, typed=True)
def known_route(*words: Any) -> Route:
    """As `route_of`, of what is plain text; kept.

    Raises:
        TypeError: They are not all plain text; what else there is may say something else next time.
    """
    if not all(word is None or type(word) is str for word in words):
        raise TypeError
    return _read(*words)


def _read(  # noqa: PLR0917 - as `WORDS`
    symbol: Any, side: Any, fee_asset: Any, role: Any, venue: Any, account: Any, position_side: Any, strategy: Any,
    kind: Any,
) -> Route:  # fmt: skip
    return Route(
        name(symbol) or refuse("no symbol: neither the fill nor a known order names one"),
        _side(side),
        name(fee_asset),
        None if role is None else _ROLES.get(_low(role)),
        name(venue),
        name(account),
        position_side_of(position_side),
        name(strategy),
        _kind(kind),
    )


def refuse(reason: str) -> NoReturn:
    """Say why it cannot be booked.

    Raises:
        Refused: Always.
    """
    raise Refused(reason)


def _side(value: Any) -> str:
    if type(value) is str and value in ("buy", "sell"):
        return value
    if value is None:
        refuse("no side: neither the fill nor a known order names one")
    try:
        return side_of(value)
    except Exception as error:
        raise Refused(f"unknown side: {shown(value)}") from error


def _kind(value: Any) -> str:
    said = "live" if value is None else _low(value)
    return said if said in KINDS else refuse(f"unknown kind: {shown(value)}; known are {', '.join(KINDS)}")


def position_side_of(value: Any) -> str | None:
    """`long` or `short`, however it is written; `None` where nothing is said, or both are meant.

    Raises:
        Refused: It is neither.
    """
    if value is None:
        return None
    said = _low(value)
    if said not in _POSITION_SIDES:
        refuse(f"unknown position_side: {shown(value)}; long or short")
    return _POSITION_SIDES[said]


def _low(value: Any) -> str:
    return (name(value) or "").lower()


def name(value: Any) -> str | None:
    """A name or an id as text, however the bot holds it; `None` if there is nothing in it."""
    if type(value) is not str:
        if value is None:
            return None
        try:
            value = "".join((str(getattr(value, "value", value)),))
        except Exception:  # a value that cannot be shown names nothing
            return None
    value = value.strip()[:_LONGEST]
    if not value.isascii():  # what no file can hold is written as its escape, here and wherever it is compared
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value or None


known_name = functools.lru_cache(maxsize=4_096)(name)  # of plain text that is said again and again


def shown(value: Any) -> str:
    """`value` for a message: short, and whatever it is."""
    try:
        said = repr(value)
    except Exception:
        said = type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}..."
