"""What a person is told."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from botobs.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.alerts.scrub import Scrub

__all__ = ["LEVELS", "Alert", "level_of", "rank_of", "text_of"]

LEVELS: Final = ("info", "warning", "critical")

_ALIASES: Final = {
    "debug": "info", "notice": "info", "ok": "info",
    "warn": "warning",
    "crit": "critical", "error": "critical", "fatal": "critical", "emergency": "critical", "alert": "critical",
}  # fmt: skip
_TITLE, _MESSAGE, _KEY, _VALUE = 200, 8_000, 200, 2_000
_MOST_FIELDS = 30
_LAST_NS: Final = 2**63 - 1
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def _read_only(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(given))


@attrs.frozen(kw_only=True)
class Alert:
    """One thing that a person is told. A function given to `alerts.to` gets it.

    Attributes:
        id: Its id; `alert_id` in `alerts.jsonl`.
        level: `info`, `warning` or `critical`.
        title: What happened, in a line.
        message: More about it.
        fields: Figures by name, plain values; read-only.
        key: What it is about: alerts of one key are held back for an hour after one went out.
        ts_ns: When it happened, in nanoseconds since 1970, UTC.
        bot: The bot's name.
        run_id: The run it happened in.
        symbol: The instrument it concerns.
        event: The kind of event that a rule made it of; `None`: the bot said it itself.
        recovery: It says that an earlier one is over.
        held: How many of its key were held back before it.
        since_ns: When the first of these came, or when what is over began.
        of: The alerts in it, if it is a digest.
        late: It happened in an earlier run, which could not deliver it.
    """

    id: str
    level: str
    title: str
    message: str = ""
    fields: Mapping[str, Any] = attrs.field(factory=dict, converter=_read_only)
    key: str
    ts_ns: int
    bot: str = ""
    run_id: str = ""
    symbol: str | None = None
    event: str | None = None
    recovery: bool = False
    held: int = 0
    since_ns: int | None = None
    of: tuple[Alert, ...] = ()
    late: bool = False

    @property
    def ts(self) -> str:
        """When it happened (RFC 3339)."""
        return rfc3339(self.ts_ns)

    @property
    def critical(self) -> bool:
        """Whether it must not be lost."""
        return self.level == "critical"

    @property
    def weight(self) -> int:
        """How many alerts it stands for."""
        return max(1, len(self.of))

    def state(self) -> dict[str, Any]:
        """What JSON needs to make it again; a digest is not kept."""
        skipped = ("of", "late")
        state = {field.name: getattr(self, field.name) for field in attrs.fields(Alert) if field.name not in skipped}
        return {**state, "fields": dict(self.fields)}

    @classmethod
    def restored(cls, state: Any) -> Alert | None:
        """The alert of `state`, late; `None`: it is damaged."""
        try:
            kept = {name: state[name] for name in ("id", "level", "title", "message", "key", "bot", "run_id")}
            if not all(isinstance(text, str) for text in kept.values()) or kept["level"] not in LEVELS:
                return None
            more = {name: state.get(name) for name in ("symbol", "event", "since_ns")}
            return cls(
                **kept, **more, fields=dict(state.get("fields") or {}), ts_ns=int(state["ts_ns"]),
                recovery=bool(state.get("recovery")), held=int(state.get("held") or 0), late=True,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def level_of(level: object) -> tuple[str, bool]:
    """The level that was meant, and whether that was certain. What is not understood is a warning.

    Example:
        >>> level_of("CRITICAL"), level_of("warn"), level_of("loud")
        (('critical', True), ('warning', True), ('warning', False))
    """
    if type(level) is int:  # as the logging module counts
        return ("critical" if level >= 40 else "warning" if level >= 30 else "info"), True
    name = text_of(getattr(level, "value", level), 40).strip().lower()
    name = _ALIASES.get(name, name)
    return (name, True) if name in LEVELS else ("warning", False)


def rank_of(level: str) -> int:
    """How much a level matters; 0: the least."""
    return LEVELS.index(level) if level in LEVELS else 1


def text_of(value: object, most: int) -> str:
    """`value` as text that can be sent: no control characters, no lone surrogates, at most `most` characters."""
    try:
        text = value if type(value) is str else str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    if len(text) > most:
        text = text[: most - 1] + "…"
    if not text.isprintable():
        text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def made(  # noqa: PLR0917  # what a bot gives to `send`, in its order
    alert_id: str, level: object, title: object, message: object, fields: object, key: object, *, ts_ns: Any,
    scrub: Scrub, symbol: object = None, **more: Any,
) -> Alert:  # fmt: skip
    """An alert of whatever the bot gave; never raises because of it."""
    name, _ = level_of(level)
    heading = scrub.text(text_of("alert" if title is None else title, _TITLE).replace("\n", " ").strip() or "alert")
    body = "" if message is None else scrub.text(text_of(message, _MESSAGE))
    # without a key it holds back its like: the same words again
    about = f"{heading}: {body}" if key is None else scrub.text(text_of(key, _KEY))
    return Alert(
        ts_ns=_moment(ts_ns),
        symbol=None if symbol is None else text_of(symbol, 80),
        id=alert_id,
        level=name,
        title=heading,
        message=body,
        fields=_fields(fields, scrub),
        key=about[:_KEY],
        **more,
    )


def _moment(ts_ns: Any) -> int:
    """What an event of the bot's own may have for a time, as one that can be written."""
    return min(max(ts_ns, 0), _LAST_NS) if type(ts_ns) is int else 0


def _fields(given: object, scrub: Scrub) -> dict[str, Any]:
    if given is None:
        return {}
    if not hasattr(given, "items"):
        given = {"fields": given}
    plain: dict[str, Any] = orjson.loads(scrub.line(given))
    some = list(plain.items())[:_MOST_FIELDS]
    return {text_of(name, 80): _bounded(value) for name, value in some}


def _bounded(value: Any) -> Any:
    if isinstance(value, dict | list) and len(text := orjson.dumps(value)) > _VALUE:
        value = text.decode()
    return text_of(value, _VALUE) if isinstance(value, str) else value
