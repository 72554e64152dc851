"""Statements as JSON: ccxt's unified trades, and what history endpoints answer, one object or line after the other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from botobs.accounting.exchange import cells
from botobs.accounting.exchange.fields import keys_of
from botobs.accounting.exchange.fills import Bad, ExchangeFill, Reading, build, refuse_other
from botobs.accounting.routes import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botobs.accounting.exchange.source import Source

__all__ = ["DECODER", "WRAPPERS", "Objects", "array", "lines", "trades_in"]

# numbers stay the text they are: no digit is lost, and an id of twenty digits is an id
DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
WRAPPERS = (
    "trades",
    "fills",
    "data",
    "result",
    "list",
    "executions",
    "items",
    "rows",
    "records",
    "response",
    "history",
)
_SPACE = re.compile(r"[\s,]*")
_CHUNK = 1 << 18
_MOST_SHAPES = 256
_MOST_HELD = 1 << 28


def trades_in(value: Any, depth: int = 0) -> list[tuple[str | None, Any]] | None:
    """The trades inside an answer of an exchange, with the key each had; `None`: there is no place for them in it."""
    if isinstance(value, list):
        return [(None, each) for each in value]
    if not isinstance(value, dict) or depth > 5:
        return None
    if _is_trade(value):
        return [(None, value)]
    for key in WRAPPERS:
        inner = value.get(key)
        if isinstance(inner, dict | list):
            found = trades_in(inner, depth + 1)
            if found is not None:
                return found
    if depth and value and all(isinstance(each, dict) and _is_trade(each) for each in value.values()):
        return list(value.items())  # Kraken gives trades by their ids
    return [] if depth and not value else None


def _is_trade(value: Mapping[str, Any]) -> bool:
    known = keys_of([key for key, each in value.items() if not isinstance(each, list)], {})
    return sum(field in known for field in ("ts", "symbol", "qty", "price", "fill_id")) >= 3


class Objects:
    """Makes fills of JSON objects."""

    def __init__(self, how: Reading) -> None:
        self._how = how
        self._shapes: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}

    def seen(self, value: Any) -> bool:
        """Whether a trade of this shape has been looked at before: then it is no page of trades."""
        return isinstance(value, dict) and tuple(value) in self._shapes

    def fill(self, value: Any, line: int, key: str | None = None) -> ExchangeFill | Bad:
        """The fill that an object tells, or what is wrong with it."""
        harmless = False
        try:
            if not isinstance(value, dict):
                raise Refused(f"a trade is a JSON object, not {_kind(value)}")
            return self._fill(value, line, key)
        except Refused as refused:
            reason = str(refused)
            harmless = reason.endswith("line, no fill")
        except Exception as error:
            reason = f"not readable: {type(error).__name__}"
        return Bad.of(line, reason, _shown(value), harmless=harmless)

    def _fill(self, value: dict[str, Any], line: int, key: str | None) -> ExchangeFill:
        shape = tuple(value)
        keys = self._shapes.get(shape)
        if keys is None:
            keys = keys_of(shape, self._how.mapping)
            if len(self._shapes) < _MOST_SHAPES:
                self._shapes[shape] = keys
        if "type" in value and value.get("seq") is not None:
            refuse_other(value["type"])
        found = {field: _at(value, names[0]) for field, names in keys.items()}
        if key is not None and found.get("fill_id") is None:
            found["fill_id"] = key
        if "fee" not in self._how.mapping:
            fees = _fees(value, found)
            if fees is not None:
                found["fees"] = fees
        return build(found, line, self._how, [_at(value, name) for name in keys.get("ts", ())])


def _at(value: dict[str, Any], path: str) -> Any:
    if path in value:
        return value[path]
    inner: Any = value
    for part in path.split("."):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner


def _fees(value: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[Any, Any]] | None:
    """The fees of a unified trade: the list if it holds any, else the one."""
    several = value.get("fees")
    told = several if isinstance(several, list) and several else [found.get("fee")]
    out = []
    for fee in told:
        if isinstance(fee, dict):
            if cells.present(fee.get("cost")):
                out.append((fee["cost"], fee.get("currency")))
        elif told is several:
            raise Refused(f"fees holds {_kind(fee)}, not an object with cost and currency")
        else:
            return None
    return out


def lines(source: Source, how: Reading) -> Iterator[ExchangeFill | Bad]:
    """The fills of JSON lines; a line may hold a whole page of them."""
    objects = Objects(how)
    number = 0
    text = source.text()
    while True:
        try:
            line = text.readline()
        except (OSError, EOFError, ValueError) as error:
            yield Bad.of(number + 1, f"the statement breaks off here: {error}", "")
            return
        if not line:
            return
        number += 1
        line = line.strip()
        if not line:
            continue
        try:
            value = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            yield Bad.of(number, f"not JSON: {_why(error)}", line)
            continue
        page = None if objects.seen(value) else trades_in(value)
        if page is None:
            yield objects.fill(value, number)
            continue
        for key, each in page:
            yield objects.fill(each, number, key)


def array(source: Source, how: Reading) -> Iterator[ExchangeFill | Bad]:
    """The fills of a JSON array, or of several one after the other, without holding more than one of them."""
    objects = Objects(how)
    for number, (value, reason) in enumerate(_Scan(source).elements(), 1):
        if reason is not None:
            yield Bad.of(number, reason, str(value))
        elif isinstance(value, list):  # pages in a list
            for each in value:
                yield objects.fill(each, number)
        else:
            page = None if objects.seen(value) else trades_in(value)
            for key, each in [(None, value)] if page is None else page:
                yield objects.fill(each, number, key)


class _Scan:
    """Reads a JSON array from a stream, element by element."""

    def __init__(self, source: Source) -> None:
        self._text = source.text()
        self._held = ""
        self._at = 0
        self._ended = False
        self._step = _CHUNK

    def elements(self) -> Iterator[tuple[Any, str | None]]:
        """Elements, or a piece of text and what is wrong with it."""
        inside = False
        try:
            while (sign := self._sign()) is not None:
                if (sign == "[" and not inside) or (sign == "]" and inside):
                    inside = not inside
                    self._at += 1
                elif inside:
                    yield self._element(), None
                else:
                    raise ValueError("more after the end of the array")
            if inside:
                raise ValueError("it ends in the middle: the statement was cut off")
        except (OSError, EOFError, ValueError, RecursionError) as error:
            yield self._held[self._at : self._at + 500], f"not JSON from here on: {_why(error)}"

    def _sign(self) -> str | None:
        """The next character that is no space and no comma; `None`: that was all."""
        while True:
            space = _SPACE.match(self._held, self._at)
            self._at = space.end() if space is not None else self._at
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return None

    def _element(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._held, self._at)
            except ValueError:
                if len(self._held) - self._at > _MOST_HELD or not self._more():
                    raise
            else:
                # a number at the end of what is held may go on
                if end < len(self._held) or not self._more():
                    self._at, self._step = end, _CHUNK
                    return value

    def _more(self) -> bool:
        if self._ended:
            return False
        more = self._text.read(self._step)
        self._step = min(self._step * 2, 1 << 26)  # an element that does not fit: fewer attempts
        self._ended = not more
        self._held, self._at = self._held[self._at :] + more, 0
        return True


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text or number", bool: "a truth value"}.get(type(value), "null")


def _why(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error) if type(error) in (ValueError, EOFError) else type(error).__name__


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except Exception:  # too deep to be shown
        return _kind(value)
