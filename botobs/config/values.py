"""What a value must be like: one small parser for each kind of setting, for text and Python objects alike.

A parser returns the value as the rest of botobs wants it, or raises. Only the reasons in a `Wrong` are shown
to anybody: they never quote the value, which may be a secret.
"""

from __future__ import annotations

import datetime as dt
import math
import numbers
import operator
import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = [
    "Parse", "Wrong", "amount", "bearer", "choice", "clock", "currency", "directory", "file", "flag", "host", "keys",
    "line", "namespace", "number", "period", "provider", "seconds", "shown", "size", "triggers", "url",
    "whole", "zone",
]  # fmt: skip

Parse = Callable[[object], Any]

_UNITS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNIT_NAMES = "|".join(sorted(_UNITS, key=len, reverse=True))
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT_NAMES})\s*")
_PARTS = re.compile(rf"(?:\d+(?:\.\d+)?\s*(?:{_UNIT_NAMES})\s*)+")
_SIZE = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kmgt]?)(i?)b?")
_LONGEST_S = 36_500 * 86_400.0  # a century: beyond it, waiting with a timeout overflows
_MOST = 1 << 62


class Wrong(ValueError):  # noqa: N818  # it is a verdict that becomes a ConfigError, never an error a user sees
    """Why a value will not do, in words that do not quote it."""


def seconds(value: object) -> float:
    """A duration in seconds, from a number, a `timedelta` or text: `"30s"`, `"10m"`, `"1h30m"`, `"2d"`.

    Example:
        >>> seconds("10m"), seconds("1h30m"), seconds("250ms"), seconds(5)
        (600.0, 5400.0, 0.25, 5.0)

    Raises:
        ValueError: It is no duration, negative, not finite, or longer than a century.
        TypeError: It is of no type that tells a duration.
    """
    if isinstance(value, dt.timedelta):
        found = value.total_seconds()
    elif isinstance(value, str) and _PARTS.fullmatch(text := value.strip().lower()[:64]):
        found = sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    else:
        found = number()(value)
    if not 0 <= found <= _LONGEST_S:
        raise Wrong("a duration is neither negative nor longer than a century")
    return found


def period(value: object) -> float:
    """A duration that is longer than nothing."""
    found = seconds(value)
    if not found:
        raise Wrong("it must be longer than zero")
    return found


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[object], float]:
    """A finite number above `low`, up to `high`."""

    def parse(value: object) -> float:
        if isinstance(value, bool):
            raise Wrong("true and false are no numbers")
        if not isinstance(value, str | Decimal | numbers.Real):
            raise TypeError
        found = float(value)
        if not math.isfinite(found):
            raise Wrong("it must be finite")
        if not low < found <= high:
            raise Wrong("it is out of range")
        return found

    return parse


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number from `low` to `high`; `1e6` counts as one, `True` does not."""

    def parse(value: object) -> int:
        found = _integer(value)
        if not low <= found <= high:
            raise Wrong("it is out of range")
        return found

    return parse


def _integer(value: object) -> int:
    if isinstance(value, bool):
        raise Wrong("true and false are no numbers")
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float | Decimal):
        if not math.isfinite(value) or not -_MOST < value < _MOST or value != int(value):
            raise Wrong("it is not a whole number")
        return int(value)
    return operator.index(value)  # type: ignore[arg-type]  # it raises TypeError for what is no integer: just right


def size(value: object) -> int:
    """A number of bytes: `64_000_000`, `"64MB"` (millions), `"64MiB"` (of 1024 squared)."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip().lower()[:64])
        if match is None:
            raise Wrong("it is not a size")
        count, prefix, binary = match.groups()
        if binary and not prefix:
            raise Wrong("it is not a size")
        factor = (1024 if binary else 1000) ** " kmgt".index(prefix or " ")
        value = (Decimal(count) * factor).to_integral_value()
    return whole(1, _MOST)(value)


def amount(value: object) -> Decimal:
    """An amount of money, exactly: a float counts as the digits it prints."""
    if isinstance(value, bool):
        raise Wrong("true and false are no amounts")
    if isinstance(value, str | Decimal):
        found = Decimal(value)
    elif isinstance(value, numbers.Integral):
        found = Decimal(int(value))
    elif isinstance(value, float):
        found = Decimal(float.__repr__(value))  # not repr(): numpy's says np.float64(…)
    else:
        raise TypeError
    if not found.is_finite():
        raise Wrong("it must be finite")
    if found < 0:
        raise Wrong("it must not be negative")
    exponent = found.as_tuple().exponent
    if found and not (isinstance(exponent, int) and exponent >= -30 and found.adjusted() < 30):
        raise Wrong("no account has that many digits")
    return found


def flag(value: object) -> bool:
    """True or false, also as the words people put into environment variables."""
    if isinstance(value, bool):
        return value
    word = line()(value).lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise Wrong("it is neither true nor false")


def line(longest: int = 4096) -> Callable[[object], str]:
    """One line of printable text, stripped."""

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise Wrong("it is not text")
        text = str.strip(value)  # of a subclass (an enum) this gives the plain text
        if not text:
            raise Wrong("it is empty")
        if len(text) > longest:
            raise Wrong(f"it has {len(text)} characters, {longest} are the most")
        if not text.isprintable():
            raise Wrong("it has a line break or another character that does not print")
        return text

    return parse


def choice(*names: str) -> Callable[[object], str]:
    """One of `names`, in any case."""

    def parse(value: object) -> str:
        word = line()(value).lower()
        if word not in names:
            raise Wrong("there is no such choice")
        return word

    return parse


def namespace(value: object) -> str:
    """A prefix that Prometheus accepts; the underscore after it is added by botobs."""
    word = line(64)(value)
    if not re.fullmatch(r"[A-Za-z_]([A-Za-z0-9_]*[A-Za-z0-9])?", word, re.ASCII):
        raise Wrong("metric names made of it would not be valid")
    return word


def currency(value: object) -> str:
    """The code of a currency, in capitals."""
    code = line(16)(value).upper()
    if not re.fullmatch(r"[A-Z0-9]{2,16}", code, re.ASCII):
        raise Wrong("it is not a currency's code")
    return code


def host(value: object) -> str:
    """A name or an address to listen on, without scheme and port."""
    name = line(255)(value)
    if ":" in name:
        import ipaddress  # noqa: PLC0415  # only IPv6 addresses need it

        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            raise Wrong("it must have neither a scheme nor a port") from None
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name, re.ASCII):
        raise Wrong("it is not a host")
    return name


def url(*schemes: str) -> Callable[[object], str]:
    """A URL with one of these schemes and a host."""

    def parse(value: object) -> str:
        from urllib.parse import urlsplit  # noqa: PLC0415  # most starts have no URL to look at

        text = line()(value)
        if " " in text:
            raise Wrong("a URL has no spaces")
        parts = urlsplit(text)
        if parts.scheme not in schemes or "://" not in text:
            raise Wrong("it must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
        if not (parts.hostname or (parts.scheme == "unix" and parts.path)):
            raise Wrong("it names no host")
        if parts.port == 0:  # reading it raises for a port that is none
            raise Wrong("port 0 cannot be reached")
        return text

    return parse


def directory(value: object) -> Path | None:
    """A path; `~` is the home directory. `None` stays: no disk at all."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise Wrong("it is not a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip():
        raise Wrong("it is not a path")
    if "\0" in text:
        raise Wrong("a path has no zero byte")
    os.fsencode(text)
    return Path(text).expanduser()


def file(value: object) -> Path:
    """The path of a file; whether it is there is found out by whoever opens it."""
    found = directory(value)
    if found is None:
        raise Wrong("it is not a path")
    return found


def bearer(value: object) -> str:
    """A token as it can stand in an `Authorization` header."""
    token = line(1000)(value)
    if not token.isascii() or " " in token:
        raise Wrong("it has a space or a character that is not ASCII")
    return token


def zone(value: object) -> str:
    """The name of a timezone the machine knows."""
    if isinstance(value, dt.tzinfo):
        value = getattr(value, "key", None) or value.tzname(None)
    name = line(255)(value)
    if name.upper() == "UTC":  # holds on machines without a timezone database too
        return "UTC"
    import zoneinfo  # noqa: PLC0415  # UTC, the default, does not need it

    zoneinfo.ZoneInfo(name)
    return name


def keys(value: object) -> tuple[str, ...]:
    """Names of fields, from a list or from text with commas."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Wrong("it is not a list of names")
    name = line(255)
    return tuple(dict.fromkeys(sorted(map(name, value)) if isinstance(value, set | frozenset) else map(name, value)))


def triggers(value: object) -> tuple[Any, ...]:
    """The kill switch's triggers. What each can do is checked where the kill switch is built."""
    if not isinstance(value, list | tuple):
        raise Wrong("it is not a list of triggers")
    for entry in value:
        if entry is None or isinstance(entry, str | bytes | numbers.Number | type | dict | list | tuple):
            raise Wrong(f"an entry is {_kind(entry)}, not a trigger")
    return tuple(value)


def provider(method: str) -> Callable[[object], Any]:
    """An OpenTelemetry provider, told by what it must be able to do."""

    def parse(value: object) -> Any:
        if isinstance(value, type) or not callable(getattr(value, method, None)):
            raise Wrong(f"it has no method {method}()")
        return value

    return parse


def clock(value: object) -> Any:
    """A user's clock as it was given; whoever uses it adapts it."""
    from botobs.clock import adapt  # noqa: PLC0415  # only those who bring a clock need it

    if isinstance(value, type):
        raise Wrong("it is a class, not an instance")
    adapt(value)
    return value


def shown(value: object) -> str:
    """A value for an error message: short, one line, whatever could be a credential hidden; never raises."""
    try:
        if isinstance(value, str):
            return repr(_without_credentials(str(value)))
        if value is None or isinstance(value, bool | int | float | Decimal | dt.timedelta | Path):
            return _without_credentials(repr(value))
    except Exception:  # a number of 5,000 digits, a subclass with a broken __repr__
        return _kind(value)
    return _kind(value)


def _without_credentials(text: str) -> str:
    if re.search(r"hooks\.slack|xox[a-z]-|xapp-", text, re.IGNORECASE):
        return "***"
    text = re.sub(r"[^'\"\s]*@", "***@", text[:500])  # user:password@
    text = re.sub(r"([?#]).*", r"\1***", text, flags=re.DOTALL)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
