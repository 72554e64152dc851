"""The files of the stack, as they are for one bot: its namespace and where it listens."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

__all__ = ["DEFAULT_TARGET", "Stack", "target"]

DEFAULT_TARGET: Final = "127.0.0.1:9464"
_DEFAULT_NAMESPACE: Final = "bot"
_METRIC: Final = re.compile(r"\bbot_(?=[a-z])")  # of the bot; what botobs says of itself begins with botobs_
_SHIPPED_TARGETS: Final = f'targets: ["{DEFAULT_TARGET}"]'
_TARGET: Final = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_HIDDEN: Final = {"gitignore": ".gitignore", "env.example": ".env.example"}  # a package's own would not be packed


def target(text: str) -> str:
    """`text`, if it is a host and a port.

    Raises:
        ValueError: It is not; the message says what is.

    Example:
        >>> target("127.0.0.1:9464"), target("[::1]:9464")
        ('127.0.0.1:9464', '[::1]:9464')
    """
    found = _TARGET.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        raise ValueError(f"{text!r} will not do; it takes a host and a port, such as {DEFAULT_TARGET}")
    return text


def _targets(_stack: Stack, _field: object, targets: tuple[str, ...]) -> None:
    for each in targets:
        target(each)


@attrs.frozen
class Stack:
    """What is to be shown.

    Args:
        namespace: The bot's setting of this name.
        targets: Where bots serve their metrics: host and port, each.

    Example:
        >>> stack = Stack("acme", ("127.0.0.1:9464", "127.0.0.1:9465"))
        >>> "acme_equity_value" in stack.files()["grafana/dashboards/overview.json"]
        True
    """

    namespace: str = _DEFAULT_NAMESPACE
    targets: tuple[str, ...] = attrs.field(default=(DEFAULT_TARGET,), validator=_targets)

    def files(self) -> dict[str, str]:
        """The text of every file, by its path in the directory they go to."""
        from botobs.sinks.metrics.catalogue import clean_namespace  # noqa: PLC0415  # it knows OpenTelemetry

        namespace = clean_namespace(self.namespace)
        found = {}
        for path, text in sorted(_shipped(resources.files(__package__) / "files")):
            own = text if namespace == _DEFAULT_NAMESPACE else _METRIC.sub(f"{namespace}_", text)
            if path == "prometheus/prometheus.yml":
                own = own.replace(_SHIPPED_TARGETS, f"targets: {json.dumps(self.targets)}")
            found[path] = own
        return found


def _shipped(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        path = above + _HIDDEN.get(each.name, each.name)
        if each.is_dir():
            yield from _shipped(each, path + "/")
        else:
            yield path, each.read_text(encoding="utf-8")
