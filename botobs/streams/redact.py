"""Secrets stay out of what is written.

Every record passes here, so the common one must pass quickly: a record whose keys were all looked at before,
without a slash, is let through after a few set operations. Everything else is searched for trigger words,
and only what contains one is parsed and walked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from botobs.quick import quick
from botobs.streams.encode import dumps, free_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["REDACTED", "SECRET_KEYS", "Redactor", "familiar"]

REDACTED = "[redacted]"

SECRET_KEYS = (
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "passphrase",
    "password",
    "private_key",
    "privatekey",
    "secret",
    "token",
    "webhook",
)

# With the host; or the bare path, as it stands in the messages of HTTP libraries.
_WEBHOOK = re.compile(
    r"""(?:https?://)?hooks\.slack(?:-gov)?\.com(?::\d+)?(?:\\*/|%2f)[^\s"'<>]*"""
    r"""|/services/t\w+/b\w+(?:/[^\s"'<>]*)?""",
    re.IGNORECASE,
)
_WEBHOOK_TRACES = (b"hooks.slack", b"/services/")

_MOST_KNOWN = 4096  # names of keys seen to be harmless
_MOST_NESTS = 12  # names of keys seen to hold a mapping


# looked for as numbers: a search for one byte is ten times as fast as one for a text of one byte
_SLASH, _PERCENT = b"/%"


class Redactor:
    """Encodes records and takes the secrets out of them.

    Args:
        extra: More words; the value under any key that contains one of them is redacted too.

    Example:
        >>> Redactor(["account_no"]).line({"px": 1, "API_Key": "abc", "to": [{"ACCOUNT_NO": 7}]})
        b'{"px":1,"API_Key":"[redacted]","to":[{"ACCOUNT_NO":"[redacted]"}]}'
    """

    __slots__ = ("_known", "_nests", "_secret", "_traces")

    def __init__(self, extra: Iterable[str] = ()) -> None:
        words = {word for name in (*SECRET_KEYS, *extra) if (word := _fold(str(name)))}
        self._secret = re.compile("|".join(map(re.escape, sorted(words))))
        # as the words look inside JSON text: quotes and backslashes are escaped there
        self._traces = (*sorted({dumps(word)[1:-1] for word in words}), *_WEBHOOK_TRACES)
        self._known: set[str] = set()
        self._nests: tuple[str, ...] = ()

    def line(self, value: Mapping[str, object]) -> bytes:
        """`value` as one line of JSON without secrets, without the line end. Never raises."""
        line = dumps(value)
        try:
            if _familiar(self._known, self._nests, value, line):
                if _SLASH not in line and _PERCENT not in line:
                    return line
                low = line.lower()
                for trace in _WEBHOOK_TRACES:
                    if trace in low:
                        return self._redacted(line)
                return line
            low = line.lower() if line.isascii() else line.decode().casefold().encode()
            low = low.replace(b"-", b"_")
            for trace in self._traces:
                if trace in low:
                    clean = self._redacted(line)
                    break
            else:
                clean = line
            if clean is line:
                self._learn(value)
            return clean
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # keys of the bot's own making; the text alone decides
            return self._redacted(line)

    def text(self, text: str) -> str:
        """`text` without webhook addresses, for log lines and messages."""
        return _WEBHOOK.sub(REDACTED, text)

    def _learn(self, value: Mapping[str, object]) -> None:
        if type(value) is not dict or len(self._known) >= _MOST_KNOWN:
            return
        for name, child in value.copy().items():
            self._keep(name)
            if type(child) is dict:
                for inner in list(child):
                    self._keep(inner)
                if name not in self._nests and len(self._nests) < _MOST_NESTS:
                    self._nests = (*self._nests, name)

    def _keep(self, name: Any) -> None:
        # only names that stand in the line exactly as they are
        if type(name) is str and name.isascii() and not self.is_secret(name):
            self._known.add(name)

    def _redacted(self, line: bytes) -> bytes:
        low = line.lower()
        hooks = any(trace in low for trace in _WEBHOOK_TRACES)
        box = [orjson.loads(line)]
        changed = False
        todo: list[dict[str, Any] | list[Any]] = [box]
        for node in todo:
            if isinstance(node, dict):
                changed |= hooks and self._rename(node)
                entries: list[tuple[Any, Any]] = list(node.items())
            else:
                entries = list(enumerate(node))
            for key, child in entries:
                clean = child
                if isinstance(key, str) and child is not None and self.is_secret(key):
                    clean = REDACTED
                elif isinstance(child, dict | list):
                    todo.append(child)
                elif hooks and isinstance(child, str):
                    clean = self.text(child)
                if clean is not child and clean != child:
                    node[key] = clean
                    changed = True
        return dumps(box[0]) if changed else line

    def shown(self, name: str, value: Any) -> Any:
        """What may be seen of `value` under `name`: for attributes of spans."""
        if name not in self._known:
            if self.is_secret(name):
                return REDACTED
            if len(self._known) < _MOST_KNOWN:
                self._keep(name)
        if type(value) is str:
            return self.text(value) if "/" in value or "%" in value else value
        if type(value) is list:
            return [self.text(each) if type(each) is str else each for each in value]
        return value

    def is_secret(self, key: str) -> bool:
        """Whether what stands under `key` must not be written."""
        return key not in self._known and self._secret.search(_fold(key)) is not None

    def _rename(self, node: dict[str, Any]) -> bool:
        if not any(_WEBHOOK.search(key) for key in node):
            return False
        old = list(node.items())
        node.clear()
        for key, child in old:
            node[free_key(node, _WEBHOOK.sub(REDACTED, key))] = child
        return True


def familiar(known: set[str], nests: tuple[str, ...], value: Mapping[str, object], line: bytes) -> bool:
    """Whether every key in `line` is known to be harmless.

    Looks into the mappings under `nests`, keys known to hold one. That these were all is proven by counting: each
    mapping gives one brace, and braces inside strings only make the count differ.
    """
    if type(value) is not dict or not known.issuperset(value):
        return False
    seen = 1
    for name in nests:
        child = value.get(name)
        if type(child) is dict:
            if not known.issuperset(child):
                return False
            seen += 1
    return line.count(b"{") == seen


_familiar: Callable[[set[str], tuple[str, ...], Mapping[str, object], bytes], bool] = getattr(
    quick, "familiar", familiar
)


def _fold(name: str) -> str:
    return name.casefold().replace("-", "_")
