"""What may not be read anywhere: the webhook's address, the bot's token, and what the redactor knows as a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import orjson

from botobs.streams.redact import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scrub"]

_TOKEN: Final = re.compile(r"\bx(?:ox[a-z]{1,2}|app)-[\w.-]{8,}", re.IGNORECASE)  # Slack's, anybody's
_SHORTEST: Final = 8  # a path of a few letters is no secret, and would be found everywhere


class Scrub:
    """Takes secrets out of whatever is sent, written or logged.

    Args:
        redactor: Knows the names of secrets, and what a Slack webhook looks like.
        *secrets: What else is secret, such as a webhook's URL; its path alone is secret as well.

    Example:
        >>> scrub = Scrub(Redactor(), "https://chat.example/hooks/abcdef123456")
        >>> scrub.text("no answer from https://chat.example/hooks/abcdef123456")
        'no answer from [redacted]'
    """

    __slots__ = ("_redactor", "_secrets")

    def __init__(self, redactor: Redactor | None = None, *secrets: str | None) -> None:
        self._redactor = Redactor() if redactor is None else redactor
        found: set[str] = set()
        for secret in secrets:
            if secret:
                path = _path(secret)
                found |= {secret, path, path.strip("/"), quote(secret, safe=""), quote(path, safe="")}
        # the longest first: what contains another goes as a whole
        self._secrets = tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        if "-" in text:
            text = _TOKEN.sub(REDACTED, text)
        return self._redactor.text(text) if "/" in text or "%" in text else text

    def line(self, fields: Any) -> bytes:
        """`fields` as a line of JSON without secrets."""
        return self._walked(self._redactor.line(_mapping(fields)))

    def error(self, error: BaseException) -> BaseException:
        """`error`, or one that says the same without secrets."""
        try:
            said = str(error)
        except Exception:
            said = ""
        clean = self.text(said)
        return error if clean == said else RuntimeError(f"{type(error).__name__}: {clean}")

    def __repr__(self) -> str:
        return "<Scrub>"

    def _walked(self, line: bytes) -> bytes:
        text = line.decode()
        if not any(secret in text for secret in self._secrets) and _TOKEN.search(text) is None:
            return line
        return orjson.dumps(self._clean(orjson.loads(line)))

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._clean(each) for each in value]
        if isinstance(value, dict):
            return {self.text(name): self._clean(each) for name, each in value.items()}
        return value


def _mapping(fields: Any) -> Mapping[str, object]:
    try:
        return dict(fields)
    except Exception:
        return {"fields": fields}


def _path(secret: str) -> str:
    try:
        parts = urlsplit(secret)
    except ValueError:
        return secret
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
