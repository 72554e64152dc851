"""What the tables `[regime]` and `[calibration]` of `botobs.toml` say."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Self

import attrs

from botobs.config.values import seconds
from botobs.errors import ConfigError

__all__ = ["CalibrationTerms", "Horizon", "RegimeTerms"]

_BARS = re.compile(r"(\d{1,6}) ?bars?")
_MOST_BARS = 100_000
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
            raise ValueError(f"{_shown(said)} is no horizon; it takes {takes}") from error
        if ns < 1_000_000_000:
            raise ValueError(f"{_shown(said)} is no horizon; it takes at least a second")
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


def _given(cls: type[Any], name: str, table: Any) -> dict[str, Any]:
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise ConfigError(f"{name} = {_shown(table)} is wrong; it takes a table")
    known = [field.name for field in attrs.fields(cls)]
    for said in table:
        if said not in known:
            near = difflib.get_close_matches(str(said), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown {name}.{str(said)[:60]}; {hint}")
    return dict(table)


def _whole(value: Any, name: str, most: int, *, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} = {_shown(value)} is wrong; it takes a whole number from {least} to {most}")
    return value


def _within(value: Any, name: str, least: float, most: float) -> float:
    found = float(value) if type(value) in (int, float) else math.nan
    if not least <= found <= most:
        raise ConfigError(f"{name} = {_shown(value)} is wrong; it takes a number from {least:g} to {most:g}")
    return found


def _written(ns: int) -> str:
    """A time as people write it, the same for all ways to say it."""
    rest, parts = divmod(ns, 1_000_000_000), ""
    left = rest[0]
    for unit, letter in _UNITS:
        count, left = divmod(left, unit)
        parts += f"{count}{letter}" if count else ""
    return f"{parts}{rest[1] // 1_000_000}ms" if rest[1] >= 1_000_000 else parts


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except Exception:
        said = type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}..."
