"""One connection to a Redis server: commands as bytes, answers as they come, troubles without secrets.

redis-py brings the protocol, TLS, unix sockets and authentication. Its client would try again by itself, and a pool
would reconnect without a word; here whoever calls has to know, because another server may have answered: `epoch` grows
with each new connection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from botobs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Link", "LinkTrouble", "Refusal"]

#: Any argument of a command.
Arg: TypeAlias = bytes | str | int

_TIMEOUT_S: Final = 2.0
_NOT_OURS: Final = ("retry", "maint_", "oss_cluster_", "orig_", "event_dispatcher")


class LinkTrouble(Exception):  # noqa: N818 - whoever called says so and tries again
    """The server cannot be spoken to now, or refused; what was sent may or may not have happened."""


class Refusal(LinkTrouble):
    """The server answered, and did not do it.

    Attributes:
        code: The first word of its answer: `OOM`, `READONLY`, `WRONGTYPE`, `NOGROUP`, …
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Link:
    """A connection that is made when it is needed and thrown away after any trouble. One thread uses it.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database as redis-py reads them.
        timeout_s: How long connecting, or one answer, may take.

    Attributes:
        name: Where it goes, without secrets.
        epoch: How many connections there were; another number than before means that it may be another server.

    Raises:
        ConfigError: The extra `redis` is not installed, or the URL is none.
    """

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra; only those who give a URL need it
        except ImportError as error:
            raise ConfigError("Redis needs the package redis: pip install 'botobs[redis]'") from error
        self.name, self._secrets = _public(url)
        try:
            pool = redis.ConnectionPool.from_url(url, protocol=2)
            # nobody tries again behind our back, and nobody waits longer than that
            told = pool.connection_kwargs
            self._given = {name: value for name, value in told.items() if not name.startswith(_NOT_OURS)}
            self._given |= {"decode_responses": False, "protocol": 2}  # one form of answers, whatever the URL says
            self._given |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
            self._kind = pool.connection_class
            self._kind(**self._given)  # it connects to nothing yet
        except Exception as error:
            raise ConfigError(self._clean(f"{self.name} cannot be used as a Redis URL: {error}")) from None
        self._errors = (redis.RedisError, OSError)
        self._refused = redis.ResponseError
        self._connection: Any = None
        self.epoch = 0

    def __repr__(self) -> str:
        return f"<Link to {self.name}>"

    def call(self, *command: Arg) -> Any:
        """Send one command, and wait for its answer.

        Raises:
            Refusal: The server refused it.
            LinkTrouble: There is no answer.
        """
        (answer,) = self.calls([command])
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def calls(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Send several commands at once; the answers in their order, a `Refusal` where one was refused.

        Raises:
            LinkTrouble: Some answer did not come; nobody knows which commands were done.
        """
        connection = self._connected()
        try:
            packed = connection.pack_commands(commands)
        except Exception as error:  # an argument of a type that cannot be sent
            raise LinkTrouble(self._clean(f"the command cannot be sent: {error}")) from None
        return self.sent(packed, len(commands))

    def atomic(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Send several commands that are done together, with nobody else in between.

        Returns:
            The answers; a `Refusal` where one was refused as it ran: the others were done all the same.

        Raises:
            Refusal: The server refused to take one of them; none was done.
            LinkTrouble: There is no answer.
        """
        answers = self.calls([("MULTI",), *commands, ("EXEC",)])
        done = answers[-1]
        if isinstance(done, Refusal):
            raise next((answer for answer in answers[:-1] if isinstance(answer, Refusal)), done)
        if isinstance(answers[0], Refusal) or not isinstance(done, list):
            raise answers[0] if isinstance(answers[0], Refusal) else LinkTrouble(f"{self.name}: the answer is none")
        return [self._refusal(answer) if isinstance(answer, self._refused) else answer for answer in done]

    def sent(self, packed: Sequence[bytes], answers: int) -> list[Any]:
        """As `calls`, for commands that are packed already."""
        connection = self._connected()
        try:
            connection.send_packed_command(packed)
            found = []
            for _ in range(answers):
                try:
                    found.append(connection.read_response())
                except self._refused as error:
                    found.append(self._refusal(error))
        except self._errors as error:
            self.drop()
            raise LinkTrouble(self._clean(f"{self.name}: {_told(error)}")) from None
        except BaseException:  # half an answer is left in the connection
            self.drop()
            raise
        return found

    def drop(self) -> None:
        """Throw the connection away; the next command makes another. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is gone in any case
                connection.disconnect()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's. Its socket is closed here, and nothing is said on it."""
        self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            connection = self._kind(**self._given)
            try:
                connection.connect()
            except self._errors as error:
                with contextlib.suppress(Exception):  # it never was
                    connection.disconnect()
                raise LinkTrouble(self._clean(f"{self.name}: {_told(error)}")) from None
            self._connection = connection
            self.epoch += 1
        return self._connection

    def _refusal(self, error: Exception) -> Refusal:
        code = type(error).__name__ if not str(error) else str(error).split(maxsplit=1)[0]
        word = _CODES.get(type(error).__name__, code if code.isupper() else "ERR")
        return Refusal(self._clean(f"{self.name}: {_told(error)}"), word)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:500]


# redis-py takes the first word off for errors it has a class for
_CODES: Final = {
    "BusyLoadingError": "LOADING",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "ExecAbortError": "EXECABORT",
}


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _public(url: str) -> tuple[str, tuple[str, ...]]:
    """The URL without credentials and options; what of it must not be seen."""
    try:
        parts = urlsplit(url)
        where = parts.path if parts.scheme == "unix" else (parts.netloc.rpartition("@")[2] + parts.path)
        known = [parts.password, parts.query]
        known += [value for option in parts.query.split("&") for _, _, value in (option.partition("="),)]
        secrets = {said for one in known if one for said in (one, unquote(one)) if len(said) > 2}
        return f"{parts.scheme}://{where}", tuple(sorted(secrets, key=len, reverse=True))
    except ValueError:
        return "redis://?", (url,)
