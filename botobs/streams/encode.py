"""Any value a bot has, as one line of JSON; no value makes it fail.

orjson does the work, in three attempts, each slower and more patient: as it is; after a copy in which
`Decimal`, times and objects have become plain; after a copy in which nothing is taken on trust (odd keys,
huge integers, lone surrogates, cycles).

orjson is never given a `default`, nor times and dataclasses: Python code that runs in the middle of its walk
lets another thread shrink the list it is walking, and a time zone or a field that raises there ends the
process.
"""

from __future__ import annotations

import collections
import datetime as dt
import enum
import itertools
import numbers
import sys
from collections.abc import KeysView, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["dumps"]

_DEEPEST = 200  # orjson and most readers give up near 250
_LARGEST = 200_000  # values in one record: after half a second the rest is left out, visibly
_LONGEST = 1_000  # characters of an object that only shows itself as text

_option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_as_is: frozenset[type] = frozenset({bool, float, int, str, type(None)})


def dumps(value: object) -> bytes:
    r"""`value` as one line of JSON, without the line end.

    Decimals become strings with every digit, times RFC 3339 (naive ones are UTC), `NaN` and infinities null,
    keys strings; an unknown object is shown by its text, at most 1,000 characters of it.

    Example:
        >>> from decimal import Decimal
        >>> dumps({"px": Decimal("100.10"), 7: {1, 2}, "n": 2**70, "bad": "\ud800"})
        b'{"px":"100.10","7":[1,2],"n":"1180591620717411303424","bad":"\\\\ud800"}'
    """
    try:
        return orjson.dumps(value, None, _option)
    except Exception:
        return _total(value)


def _total(value: object) -> bytes:
    try:
        # with that option orjson imports numpy when it meets something unknown: 100 ms on the bot's thread
        if not _option & orjson.OPT_SERIALIZE_NUMPY and hasattr(sys.modules.get("numpy"), "ndarray"):
            _learn_numpy(sys.modules["numpy"])
            return dumps(value)
        try:
            return orjson.dumps(_swap(value, 0), None, _option)
        except Exception:
            copy = _Copy().plain(value, 0)
            if type(value) is dict and type(copy) is not dict:  # the stack was at its end
                copy = {"fields": copy}
            return orjson.dumps(copy, None, _option)
    except (KeyboardInterrupt, SystemExit):  # these belong to the bot
        raise
    except BaseException:
        # a record has to stay one: its caller takes the braces off to put more in front
        return b'{"fields":"<unencodable>"}' if type(value) is dict else b'"<unencodable>"'


def _learn_numpy(numpy: Any) -> None:
    global _option, _as_is  # noqa: PLW0603 - once in a process, when the bot turns out to use numpy
    _option |= orjson.OPT_SERIALIZE_NUMPY
    _as_is |= {numpy.float64, numpy.float32, numpy.int64, numpy.int32, numpy.bool_}


def _swap(value: Any, depth: int) -> Any:
    """A copy of `value`'s mappings and lists, with everything that orjson might refuse in them made plain."""
    kind = type(value)
    if depth > _DEEPEST:
        raise RecursionError
    if kind is dict:
        copy: dict[Any, Any] = value.copy()
        for key, inner in copy.items():
            if type(inner) not in _as_is:
                copy[key] = _swap(inner, depth + 1)
        return copy
    if kind is list or kind is tuple:
        return [inner if type(inner) in _as_is else _swap(inner, depth + 1) for inner in value]
    if kind is Decimal:
        return _decimal(value)
    if kind is dt.datetime:
        return _moment(value)
    return _Copy().plain(value, depth)


class _Copy:
    """One copying of one value into what orjson takes: only None, bool, int, float, str, list and dict."""

    __slots__ = ("_left", "_path")

    def __init__(self) -> None:
        self._left = _LARGEST
        self._path: set[int] = set()

    def plain(self, value: Any, depth: int) -> Any:
        """A copy of `value`. Identity is tested first: even looking up a type may run the bot's code."""
        kind = type(value)
        if value is None or kind is float or kind is bool:
            return value
        self._left -= 1
        if self._left < 0 or depth >= _DEEPEST:
            return "<too much>" if self._left < 0 else "<too deep>"
        if id(value) in self._path:
            return "<cycle>"
        self._path.add(id(value))
        try:
            return self._leaf(value, kind, depth + 1)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return _show(value)
        finally:
            self._path.discard(id(value))

    def _leaf(self, value: Any, kind: type, depth: int) -> Any:
        for base, convert in _LEAVES:
            if kind is base or issubclass(kind, base):
                return self.plain(value._value_, depth) if issubclass(kind, enum.Enum) else convert(value)
        if issubclass(kind, enum.Enum):
            return self.plain(value._value_, depth)
        if issubclass(kind, dict):  # in one go, as other threads may change it; a subclass may iterate without end
            return self._mapping(list(dict.items(value)), depth)
        names = _field_names(kind, value)
        if names is not None:
            return self._fields(value, names, depth)
        return self._container(value, kind, depth)

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        for base, listed in _LISTED:
            if issubclass(kind, base):
                return self._items(listed(value), depth)
        if issubclass(kind, AbstractSet):
            return _ordered(self._items(_counted(value), depth))
        if issubclass(kind, Mapping):
            return self._mapping(((key, value[key]) for key in _counted(value)), depth)
        return self._foreign(value, kind, depth)

    def _foreign(self, value: Any, kind: type, depth: int) -> Any:
        # looked up on the type: an object that answers to every name (a mock) must not look like an array
        for name in ("tolist", "to_list", "item"):
            if hasattr(kind, name):
                inner = getattr(value, name)()
                if type(inner) is not kind:
                    return self.plain(inner, depth)
        if issubclass(kind, numbers.Real) and not issubclass(kind, numbers.Rational):
            return float(value)
        return _show(value)

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        for value in values:
            self._left -= 1
            if self._left < 0:
                out.append("<too much>")
                break
            out.append(self.plain(value, depth))
        return out

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in items:
            self._left -= 1
            if self._left < 0:
                out["<too much>"] = None
                break
            out[free_key(out, self._key(key))] = self.plain(value, depth)
        return out

    def _fields(self, value: Any, names: Iterable[str], depth: int) -> dict[str, Any]:
        found = ((name, getattr(value, name, None)) for name in names if not name.startswith("_"))
        return self._mapping(found, depth)

    def _key(self, key: Any) -> str:
        if type(key) is str:
            return _text(key)
        inner = self.plain(key, _DEEPEST - 2)
        if isinstance(inner, str):
            return inner
        if inner is None or isinstance(inner, bool | int | float):
            return orjson.dumps(inner).decode()
        return _show(key)


def free_key(taken: Mapping[str, object], key: str) -> str:
    """`key`, or `key#2` when it is taken: 1 and "1" are two entries in Python and one name in JSON."""
    if key not in taken:
        return key
    return next(name for n in itertools.count(2) if (name := f"{key}#{n}") not in taken)


def _text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _whole(number: int) -> int | str:
    if -(2**63) <= number < 2**64:
        return number
    try:
        return str(number)
    except ValueError:  # Python refuses to write out thousands of digits
        return hex(number) if number.bit_length() < 100_000 else f"<int of {number.bit_length()} bits>"


def _decimal(number: Decimal) -> str | None:
    if not Decimal.is_finite(number):
        return None
    text = Decimal.__str__(number).upper()  # a small e, if the bot's decimal context says so
    # 1E-8 reads better as 0.00000001 and means the same; 1E+8 stays, as zeros would claim digits nobody gave
    if "E-" in text and Decimal.adjusted(number) > -30:
        return Decimal.__format__(number, "f")
    return text


def _moment(moment: dt.datetime) -> str | None:
    try:
        offset = moment.utcoffset()
        if offset is not None and offset.seconds % 60:  # RFC 3339 knows no seconds in an offset
            moment = moment.astimezone(dt.UTC)
        text = moment.isoformat()
    except Exception:  # a time zone that fails
        offset, text = None, dt.datetime.isoformat(moment.replace(tzinfo=None))
    if text == "NaT":  # what pandas calls no time
        return None
    return text + "Z" if offset is None else text.removesuffix("+00:00") + "Z" * text.endswith("+00:00")


def _show(value: object) -> str:
    """What an unknown object says of itself, shortened; its own `__str__` before its `__repr__`."""
    kind = type(value)
    try:
        own = kind.__str__ is not object.__str__
        text = str.__str__(str(value) if own else repr(value))
        if issubclass(kind, BaseException):
            text = f"{kind.__name__}: {text}"
        return _text(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return "<unprintable>"


def _counted(value: Any) -> list[Any]:
    """As many values as it says it has: one that never ends must not be waited for."""
    return list(itertools.islice(iter(value), len(value)))


def _ordered(values: list[Any]) -> list[Any]:
    """A set's values in an order that does not change from run to run."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=orjson.dumps)


def _field_names(kind: type, value: Any) -> Iterable[str] | None:
    """The fields of an object that declares them: dataclass, attrs, msgspec, pydantic, named tuple."""
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    if issubclass(kind, SimpleNamespace):
        return list(vars(value))
    for declared in ("__dataclass_fields__", "__struct_fields__", "__pydantic_fields__"):
        names = getattr(kind, declared, None)
        if names is not None:
            return list(names)
    described = getattr(kind, "__attrs_attrs__", None)
    return None if described is None else [field.name for field in described]


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


# Unbound methods: what a subclass overrides is not asked. bool is exact by now; datetime stands before date.
_LEAVES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, lambda value: _text(str.__str__(value))),
    (enum.Flag, lambda value: _whole(int(value._value_))),
    (
        int,
        lambda value: _whole(int.__int__(value)) if not issubclass(type(value), enum.Enum) else value._value_,
    ),
    (float, float.__float__),
    (Decimal, _decimal),
    (dt.datetime, _moment),
    (dt.date, dt.date.isoformat),
    (dt.time, dt.time.isoformat),
    (dt.timedelta, dt.timedelta.total_seconds),
    (bytes, _bytes),
    (bytearray, _bytes),
    (memoryview, _bytes),
)
_LISTED: tuple[tuple[type, Callable[[Any], list[Any]]], ...] = (
    (tuple, lambda value: list(tuple.__iter__(value))),
    (list, list.copy),
    (collections.deque, lambda value: list(collections.deque.__iter__(value))),
    (KeysView, _counted),
    (ValuesView, _counted),
)
