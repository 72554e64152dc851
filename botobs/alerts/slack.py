"""Slack, by webhook or by bot token. One attempt at a time, and an answer in words.

slack-sdk makes the requests. What it would do beyond that is taken from it: its retry handlers sleep for as long as a
server says, its log has the webhook's address in it, and it follows a redirect, with the bot's token, to wherever that
points.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import orjson
from slack_sdk.errors import SlackApiError
from slack_sdk.web.client import WebClient
from slack_sdk.webhook.client import WebhookClient
from slack_sdk.webhook.webhook_response import WebhookResponse

from botobs.alerts.answer import Answer
from botobs.alerts.message import message_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.alerts.alert import Alert
    from botobs.clock import Clock

__all__ = ["Slack", "SlackBot", "SlackWebhook"]

API_URL: Final = "https://slack.com/api/"
_TIMEOUT_S: Final = 10
_LARGEST: Final = 65_536  # of an answer; Slack's are short
_LONGEST_WAIT_S: Final = 3_600
_WORDS: Final = re.compile(r"[\w .,:'-]{1,100}")
_LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
     "team_added_to_org", "rollup_error", "message_limit_exceeded"}
)  # fmt: skip


class Slack(Protocol):
    """Where a message can be posted."""

    def post(self, alert: Alert, thread: str | None = None) -> Answer:
        """Post it once and wait for the answer; never raises.

        Args:
            alert: The alert.
            thread: The message it answers.
        """
        ...


class SlackWebhook:
    """An incoming webhook. It has no threads: a recovery is a message of its own.

    Args:
        url: Its address, a secret.
        clock: Tells how long it is until a date.
        timeout_s: How long each step of a request may take.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: int = _TIMEOUT_S) -> None:
        self._clock = clock
        self._client = _Webhook(url=url, timeout=timeout_s, logger=_silence(), retry_handlers=[])

    def post(self, alert: Alert, thread: str | None = None) -> Answer:
        """Post it once and wait for the answer."""
        del thread
        begun = time.perf_counter()
        try:
            response = self._client.send_dict(message_of(alert))
        except Exception as error:
            return _unreachable(error, time.perf_counter() - begun)
        return _judged(response.status_code, response.headers, response.body, self._clock, begun)

    def __repr__(self) -> str:
        return "<SlackWebhook>"


class SlackBot:
    """A bot with a token, in one channel.

    Args:
        token: Its token, a secret; it needs the scope `chat:write`.
        channel: The channel's id or name.
        clock: Tells how long it is until a date.
        api_url: Where Slack's Web API is.
        timeout_s: How long each step of a request may take.
    """

    def __init__(
        self, token: str, channel: str, clock: Clock, *, api_url: str = API_URL, timeout_s: int = _TIMEOUT_S
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._client = _Web(token=token, base_url=api_url, timeout=timeout_s, logger=_silence(), retry_handlers=[])

    def post(self, alert: Alert, thread: str | None = None) -> Answer:
        """Post it once and wait for the answer."""
        begun = time.perf_counter()
        try:
            response = self._client.chat_postMessage(channel=self._channel, thread_ts=thread, **message_of(alert))
        except SlackApiError as error:
            refused = error.response
            body = refused.data if isinstance(refused.data, dict) else {}
            text = orjson.dumps({"ok": False, "error": str(body.get("error", ""))}).decode()
            return _judged(refused.status_code, refused.headers, text, self._clock, begun)
        except Exception as error:
            return _unreachable(error, time.perf_counter() - begun)
        stands = response.get("ts")
        return Answer(
            outcome="delivered", why="ok", status=response.status_code,
            thread=stands if isinstance(stands, str) else None, took_s=time.perf_counter() - begun,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<SlackBot {self._channel!r}>"


class _Fetched(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Go nowhere else, neither with the alert nor with the token."""


class _Wire:
    """One request by urllib, errors of HTTP being answers as well."""

    def __init__(self) -> None:
        # certificates take some milliseconds to load: at the start, not when the first alert goes out
        secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
        self._opener = urllib.request.build_opener(_NoRedirect, secure)

    def fetch(self, request: urllib.request.Request, timeout_s: float) -> _Fetched:
        if not request.full_url.lower().startswith(("https://", "http://")):
            raise ValueError("not an address of the web")
        try:
            response = self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            response = error
        with contextlib.closing(response):
            body = response.read(_LARGEST).decode("utf-8", "replace")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return _Fetched(int(response.status), headers, body)


class _Webhook(WebhookClient):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._wire = _Wire()

    def _perform_http_request_internal(self, url: str, req: urllib.request.Request) -> WebhookResponse:
        status, headers, body = self._wire.fetch(req, self.timeout)
        return WebhookResponse(url=url, status_code=status, body=body, headers=headers)


class _Web(WebClient):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._wire = _Wire()

    def _perform_urllib_http_request_internal(self, url: str, req: urllib.request.Request) -> dict[str, Any]:
        del url
        return self._wire.fetch(req, self.timeout)._asdict()


def _silence() -> logging.Logger:
    # not from the tree of loggers, whose root a bot may have set to DEBUG: the client would log the address
    logger = logging.Logger("botobs.slack", logging.CRITICAL + 1)  # noqa: LOG001
    logger.disabled = True
    logger.propagate = False
    return logger


def _judged(status: int, headers: Mapping[str, Any], body: str, clock: Clock, begun: float) -> Answer:
    """What a status, headers and a body mean."""
    took_s = time.perf_counter() - begun
    said, reason = _parsed(body), _reason(body)
    if 200 <= status < 300 and not said.get("error") and said.get("ok") is not False:
        if body.lstrip()[:1] != "<":
            return Answer(outcome="delivered", why=reason or "ok", status=status, took_s=took_s)
        reason = "a web page answered, not Slack"
    if 300 <= status < 400:
        reason = "a redirect, which is not followed"
    name = reason or http.client.responses.get(status, "")
    why = f"HTTP {status}{f': {name}' if name else ''}"
    if status == 429 or status >= 500 or reason in _LATER:
        after_s = _retry_after(headers, clock.time_ns() / 1e9)
        return Answer(outcome="again", why=why, status=status, after_s=after_s, took_s=took_s)
    return Answer(outcome="refused", why=why, status=status, took_s=took_s)


def _parsed(body: str) -> dict[str, Any]:
    if body.lstrip()[:1] != "{":
        return {}
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(body: str) -> str:
    """The word Slack gives as a reason, such as `no_service`; nothing that could be a page or an address."""
    found = _parsed(body).get("error")
    text = (found if isinstance(found, str) else body).strip()
    return text if _WORDS.fullmatch(text) else ""


def _retry_after(headers: Mapping[str, Any], now_s: float) -> float | None:
    """How long to wait, from seconds or a date; `None`: nothing sensible was said."""
    said = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    wish = said.get("retry-after", "")
    try:
        wait = float(wish)
    except ValueError:
        when = _date_s(wish)
        if when is None:
            return None
        there = _date_s(said.get("date", ""))
        # by the server's own clock, if that makes sense: this machine's may be wrong
        waits = [when - now for now in (there, now_s) if now is not None]
        return next((max(wait, 0.0) for wait in waits if -1 <= wait <= _LONGEST_WAIT_S), None)
    return wait if 0 <= wait < float("inf") else None


def _date_s(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _unreachable(error: Exception, took_s: float) -> Answer:
    """No answer came. The words are ours: those of the error may hold the address."""
    cause: object = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = f"TLS: the certificate is not trusted ({cause.verify_message})"
    elif isinstance(cause, ssl.SSLError):
        why = "TLS: no secure connection"
    elif isinstance(error, http.client.InvalidURL | ValueError):
        return Answer(outcome="refused", why="the address is not one", took_s=took_s)
    elif isinstance(cause, TimeoutError):
        why = "no answer in time"
    elif isinstance(cause, ConnectionRefusedError):
        why = "connection refused"
    elif isinstance(cause, ConnectionError | http.client.HTTPException):
        why = "the connection broke"
    elif isinstance(cause, OSError):
        why = f"not reachable: {cause.strerror or type(cause).__name__}"
    else:
        why = f"not reachable: {type(error).__name__}"
    return Answer(outcome="again", why=why, took_s=took_s)
