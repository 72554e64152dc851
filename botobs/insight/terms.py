"""What the tables `[regime]`, `[calibration]` and `[order_book]` of `botobs.toml` say."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Self

import attrs

from botobs.accounting.routes import shown
from botobs.config.values import seconds
from botobs.errors import ConfigError

__all__ = ["CalibrationTerms", "Horizon", "OrderBookTerms", "RegimeTerms"]

_BARS = re.compile(r"(\d{1,6}) ?bars?")
_MOST_BARS = 100_000
_LONGEST_S = 86_400.0
_MOST_DISTANCES = 8
_FARTHEST_BPS = 10_000.0
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@attrs.frozen
class Horizon:
    """How long after it was made a prediction is judged.

    Attributes:
        text: How it is written: `3 bars`, `5m`, `trade`.
        bars: By which finished bar; 0: not by bars.
        ns: After which time; 0: not by time.
    """

    text: str
    bars: int = 0
    ns: int = 0

    @classmethod
    def parse(cls, said: Any) -> Self:
        """What somebody wrote.

        Example:
            >>> Horizon.parse("3 bars"), Horizon.parse(300).text, Horizon.parse("trade").text
            (Horizon(text='3 bars', bars=3, ns=0), '5m', 'trade')

        Raises:
            ValueError: It is no horizon.
        """
        takes = "a number of bars (`3 bars`), a time (`5m`), or `trade`: its own trade's close"
        if isinstance(said, str) and said == "trade":
            return cls("trade")
        found = _BARS.fullmatch(said.strip().lower()) if isinstance(said, str) else None
        if found is not None:
            bars = int(found[1])
            if not 0 < bars <= _MOST_BARS:
                raise ValueError(f"{said!r} is no horizon; it takes {takes}")
            return cls("1 bar" if bars == 1 else f"{bars} bars", bars)
        try:
            ns = round(seconds(said) * 1_000_000_000)
        except Exception as error:  # whatever a bot may say
            raise ValueError(f"{shown(said)} is no horizon; it takes {takes}") from error
        if ns < 1_000_000_000:
            raise ValueError(f"{shown(said)} is no horizon; it takes at least a second")
        return cls(_written(ns), 0, ns)


@attrs.frozen(kw_only=True)
class RegimeTerms:
    """How regimes are told apart.

    Attributes:
        trend: An ADX above this is a trend,
        chop: one below this is chop; in between nothing is known.
        hold: For how many bars in a row another regime must be said before it is believed.
        fade: For how many the ADX must lie in between before nothing is known any more.
    """

    trend: float = 25.0
    chop: float = 20.0
    hold: int = 3
    fade: int = 14

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table `[regime]` says; `None`: nothing.

        Raises:
            ConfigError: A value is wrong.
        """
        given = _given(cls, "regime", table)
        for name in ("trend", "chop"):
            if name in given:
                given[name] = _within(given[name], f"regime.{name}", 0.0, 100.0)
        for name in ("hold", "fade"):
            if name in given:
                given[name] = _whole(given[name], f"regime.{name}", 1_000)
        found = cls(**given)
        if found.chop > found.trend:
            raise ConfigError(f"regime.chop = {found.chop:g} is wrong; it takes no more than regime.trend")
        return found


@attrs.frozen(kw_only=True)
class CalibrationTerms:
    """How predictions are calibrated.

    Attributes:
        over: When a prediction is judged.
        band: The share of moves that the band around a prediction is to hold.
        memory: After so many predictions an old one counts a third.
    """

    over: Horizon = attrs.field(factory=lambda: Horizon.parse("1 bar"))
    band: float = 0.8
    memory: int = 500

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table `[calibration]` says; `None`: nothing.

        Raises:
            ConfigError: A value is wrong.
        """
        given = _given(cls, "calibration", table)
        if "over" in given:
            try:
                given["over"] = Horizon.parse(given["over"])
            except ValueError as error:
                raise ConfigError(f"calibration.over: {error}") from error
        if "band" in given:
            given["band"] = _within(given["band"], "calibration.band", 0.5, 0.99)
        if "memory" in given:
            given["memory"] = _whole(given["memory"], "calibration.memory", 1_000_000, least=20)
        return cls(**given)


@attrs.frozen(kw_only=True)
class OrderBookTerms:
    """How order books are looked at.

    Attributes:
        every: A market's book is recorded at most once in so many seconds, apart from orders.
        levels: How many levels of a side a record has; the imbalance is over these.
        keep: How many of a side are taken, for depth and impact.
        within_bps: How far from the middle depth is told.
        fresh: For how many seconds a book says what an order will pay.
    """

    every: float = 1.0
    levels: int = 5
    keep: int = 50
    within_bps: tuple[float, ...] = (5.0, 10.0, 25.0)
    fresh: float = 2.0

    @classmethod
    def parse(cls, table: Any) -> Self:
        """What the table `[order_book]` says; `None`: nothing.

        Raises:
            ConfigError: A value is wrong.
        """
        given = _given(cls, "order_book", table)
        for name in ("every", "fresh"):
            if name in given:
                given[name] = _time(given[name], f"order_book.{name}")
        for name, most in (("levels", 50), ("keep", 1_000)):
            if name in given:
                given[name] = _whole(given[name], f"order_book.{name}", most)
        if "within_bps" in given:
            given["within_bps"] = _distances(given["within_bps"], "order_book.within_bps")
        found = cls(**given)
        if found.keep < found.levels:
            raise ConfigError(f"order_book.keep = {found.keep} is wrong; it takes no less than order_book.levels")
        return found


def _given(cls: type[Any], name: str, table: Any) -> dict[str, Any]:
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise ConfigError(f"{name} = {shown(table)} is wrong; it takes a table")
    known = [field.name for field in attrs.fields(cls)]
    for said in table:
        if said not in known:
            near = difflib.get_close_matches(str(said), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown {name}.{str(said)[:60]}; {hint}")
    return dict(table)


def _whole(value: Any, name: str, most: int, *, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} = {shown(value)} is wrong; it takes a whole number from {least} to {most}")
    return value


def _within(value: Any, name: str, least: float, most: float) -> float:
    found = float(value) if type(value) in (int, float) else math.nan
    if not least <= found <= most:
        raise ConfigError(f"{name} = {shown(value)} is wrong; it takes a number from {least:g} to {most:g}")
    return found


def _time(value: Any, name: str) -> float:
    try:
        found = seconds(value)
    except Exception as error:
        raise ConfigError(f"{name} = {shown(value)} is wrong; it takes a time (`1s`)") from error
    if not 0 <= found <= _LONGEST_S:
        raise ConfigError(f"{name} = {shown(value)} is wrong; it takes a time of at most a day")
    return found


def _distances(value: Any, name: str) -> tuple[float, ...]:
    takes = "it takes up to 8 numbers above 0 and up to 10,000, such as [5, 10, 25]"
    if not isinstance(value, list | tuple) or not 0 < len(value) <= _MOST_DISTANCES:
        raise ConfigError(f"{name} = {shown(value)} is wrong; {takes}")
    found = [float(each) if type(each) in (int, float) else math.nan for each in value]
    if not all(0.0 < each <= _FARTHEST_BPS for each in found):
        raise ConfigError(f"{name} = {shown(value)} is wrong; {takes}")
    return tuple(sorted(set(found)))


def _written(ns: int) -> str:
    """A time as people write it, the same for all ways to say it."""
    rest, parts = divmod(ns, 1_000_000_000), ""
    left = rest[0]
    for unit, letter in _UNITS:
        count, left = divmod(left, unit)
        parts += f"{count}{letter}" if count else ""
    return f"{parts}{rest[1] // 1_000_000}ms" if rest[1] >= 1_000_000 else parts
