"""What there is to ask for: `/metrics`, `/health`, and an index of the two."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, Final

import orjson

from .wire import JSON, Answer, takes_gzip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .door import Door
    from .wire import Request

__all__ = ["Pages"]

_INDEX: Final = b"botobs\n\n/metrics  for Prometheus\n/health   JSON, 200 or 503\n"
_PATHS: Final = frozenset({"/", "/metrics", "/health"})
_METHODS: Final = frozenset({"GET", "HEAD"})
_WORTH_ZIPPING: Final = 1024


class Pages:
    """Answers requests.

    Args:
        render_metrics: Gives the page and its content type for an `Accept` header.
        health: Gives what `/health` shows; a `status` other than `ok` answers 503.
        door: Who may ask.
    """

    def __init__(
        self, render_metrics: Callable[[str], tuple[bytes, str]], health: Callable[[], Mapping[str, Any]], door: Door
    ) -> None:
        self._render_metrics = render_metrics
        self._health = health
        self._door = door

    def answer(self, request: Request) -> Answer:
        """What the client gets; whatever the pages raise comes through."""
        # first of all: who may not come in does not learn what there is either
        return self._door.answer(request.headers) or self._refusal(request) or self._page(request)

    @staticmethod
    def _refusal(request: Request) -> Answer | None:
        if request.path not in _PATHS:
            return Answer(404, b"not found; there are /metrics and /health\n")
        if request.method not in _METHODS:
            return Answer(405, b"only GET and HEAD\n")
        return None

    def _page(self, request: Request) -> Answer:
        if request.path == "/":
            return Answer(200, _INDEX)
        if request.path == "/health":
            return self._tell_health()
        page, content_type = self._render_metrics(request.headers.get("accept", ""))
        if len(page) >= _WORTH_ZIPPING and takes_gzip(request.headers.get("accept-encoding", "")):
            # level 1: the tenth of the time for a few bytes more; zlib lets the bot run meanwhile
            return Answer(200, gzip.compress(page, compresslevel=1, mtime=0), content_type, zipped=True)
        return Answer(200, page, content_type)

    def _tell_health(self) -> Answer:
        health = dict(self._health())
        try:
            body = orjson.dumps(health, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # a huge number, or text that is no UTF-8: json writes what orjson refuses
            body = json.dumps(health, default=str).encode()
        return Answer(200 if health.get("status") == "ok" else 503, body + b"\n", JSON)
