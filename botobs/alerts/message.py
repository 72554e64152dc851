"""An alert as Slack shows it: a coloured attachment with fields and a footer, its text escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from botobs.clock import rfc3339
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from botobs.alerts.alert import Alert

__all__ = ["COLOURS", "escaped", "message_of"]

COLOURS: Final = {"info": "#439fe0", "warning": "#daa038", "critical": "#a30200"}
_RECOVERED: Final = "#2eb886"
_SIGNS: Final = {"info": "INFO", "warning": "WARNING", "critical": "CRITICAL"}

# Slack takes 40,000 characters of text; a screen takes fewer
_TITLE, _TEXT, _FIELD, _FOOTER = 400, 6_000, 500, 300
_MOST_FIELDS: Final = 20
_SHORT: Final = 30

# with `link_names` off these are plain words; a workspace or a Slack-like server may have it on
_CALLS: Final = re.compile(r"@(?=(?:here|channel|everyone|group|all)\b)", re.IGNORECASE)
_WORD_JOINER: Final = "\N{WORD JOINER}"


def escaped(text: str, most: int) -> str:
    """`text` for Slack: no markup, no mention of anybody, at most `most` characters as they are sent.

    Example:
        >>> escaped("<!channel> a & b", 100)
        '&lt;!channel&gt; a &amp; b'
    """
    text = _CALLS.sub("@" + _WORD_JOINER, text)
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(safe) <= most:
        return safe
    cut = safe[: most - 1]
    start = cut.rfind("&", max(len(cut) - 4, 0))
    if start >= 0 and ";" not in cut[start:]:  # half an entity
        cut = cut[:start]
    return cut + "…"


def message_of(alert: Alert) -> dict[str, Any]:
    """What is posted to Slack, by webhook or by bot alike."""
    sign = "RESOLVED" if alert.recovery else _SIGNS[alert.level]
    heading = f"[{sign}] {escaped(alert.title, _TITLE)}"
    text = escaped(_text(alert), _TEXT)
    attachment = {
        "color": _RECOVERED if alert.recovery else COLOURS[alert.level],
        "fallback": heading,
        "text": text or heading,
        "fields": [_field(name, value) for name, value in list(alert.fields.items())[:_MOST_FIELDS]],
        "footer": escaped(f"{alert.bot} · {alert.run_id} · {alert.ts}", _FOOTER),
        "ts": max(alert.ts_ns // 10**9, 0),
        "mrkdwn_in": [],
    }
    # `mrkdwn` off: an underscore in a symbol is an underscore; no previews of addresses that were told
    return {
        "text": heading, "attachments": [attachment], "mrkdwn": False, "parse": "none", "link_names": False,
        "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


def _text(alert: Alert) -> str:
    parts = [alert.message] if alert.message else []
    if alert.held:
        since = f" since {rfc3339(alert.since_ns)}" if alert.since_ns is not None else ""
        parts.append(f"{alert.held} more {'was' if alert.held == 1 else 'were'} held back{since}.")
    if alert.late:
        parts.append("Late: an earlier run could not deliver this.")
    return "\n".join(parts)


def _field(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        shown = "-"
    elif isinstance(value, bool):
        shown = "yes" if value else "no"
    else:
        shown = value if isinstance(value, str) else dumps(value).decode()
    return {
        "title": escaped(name, _FIELD),
        "value": escaped(shown, _FIELD),
        "short": len(shown) <= _SHORT,
    }
