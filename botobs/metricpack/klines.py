"""Bars from an exchange's REST interface in the format of Binance's futures: read only, and never in the loop's way.

Questions are answered by a thread of their own; the loop waits for it no longer than its patience, and beats its lease
meanwhile. What cannot be had in time is not had: the regime is then unknown, which is counted.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import queue
import threading
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from botobs.config.values import seconds
from botobs.errors import ConfigError
from botobs.metricpack.market import MOST, Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MAINNET", "TESTNET", "Klines", "weight_of"]

MAINNET: Final = "https://fapi.binance.com"
TESTNET: Final = "https://testnet.binancefuture.com"

_PATH: Final = "/fapi/v1/klines"
_INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
_MOST_AT_ONCE: Final = 1_000
_LARGEST: Final = 4 << 20
_MOST_SYMBOLS: Final = 256
_MS: Final = 1_000_000
_MINUTE_S: Final = 60.0


class _Unanswered(Exception):  # noqa: N818 - counted by whoever asked
    """There is no answer now; the text says why."""


class Klines:
    """Asks for bars. A `Market`.

    Args:
        url: Where the interface is; `MAINNET`, `TESTNET`, or another one that answers in that format.
        interval: How long a bar is that regimes and ATR are taken of.
        timeout_s: How long one request may take.
        patience_s: How long the loop waits for an answer.
        budget: Weight that may be spent in a minute; the exchange allows 2,400.
        rest_s: How long nobody is asked after a request failed.
        beat: Called while the loop waits.
        steady: Tells seconds that never run backwards.

    Attributes:
        asked: How many requests were made.
        unanswered: How many questions had no answer.
        reason: Why the last one had none.

    Raises:
        ConfigError: That is no URL, or no interval of the exchange's.
    """

    def __init__(
        self,
        url: str = TESTNET,
        *,
        interval: str = "5m",
        timeout_s: float = 5.0,
        patience_s: float = 8.0,
        budget: int = 1_200,
        rest_s: float = 30.0,
        beat: Callable[[], object] = lambda: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        if interval not in _INTERVALS:
            raise ConfigError(f"interval = {interval!r} is wrong; it takes one of {', '.join(_INTERVALS)}")
        self.asked = self.unanswered = 0
        self.reason: str | None = None
        self.beat = beat
        self._line = _Line(url, timeout_s)
        self._interval = interval
        self._length = _length(interval)
        self._patience_s = patience_s
        self._budget = budget
        self._rest_s = rest_s
        self._steady = steady
        self._spent: deque[tuple[float, int]] = deque()
        self._not_before = 0.0
        self._known: OrderedDict[str, tuple[int, Sequence[Bar]]] = OrderedDict()
        self._questions: queue.SimpleQueue[tuple[dict[str, Any], _Answer] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    # --- what the builder asks

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:
        """See `Market.before`."""
        last = ts_ns // self._length * self._length  # where the newest finished bar ended
        known = self._known.get(symbol)
        if known is not None and known[0] == last:
            self._known.move_to_end(symbol)
            return known[1]
        bars = self._ask(
            {"interval": self._interval, "endTime": (last - self._length) // _MS, "limit": MOST}, symbol
        )  # the newest finished one begins there
        found = [bar for bar in bars or () if bar.end_ns <= ts_ns][-MOST:]
        if bars is not None:
            self._known[symbol] = (last, found)
            while len(self._known) > _MOST_SYMBOLS:
                self._known.popitem(last=False)
        return found

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """See `Market.during`. The finest bars of which a thousand span all of it, and no finer than a minute."""
        span = end_ns - start_ns
        interval = next((one for one in _INTERVALS if span // _length(one) < _MOST_AT_ONCE), _INTERVALS[-1])
        if span < _length(interval):
            return ()
        asked = {
            "interval": interval, "startTime": -(-start_ns // _MS), "endTime": end_ns // _MS,
            "limit": max(100, min(span // _length(interval) + 1, _MOST_AT_ONCE)),
        }  # fmt: skip
        bars = self._ask(asked, symbol)
        return [bar for bar in bars or () if bar.start_ns >= start_ns and bar.end_ns <= end_ns]

    # --- the question's way

    def _ask(self, asked: dict[str, Any], symbol: str) -> list[Bar] | None:
        """The bars; `None`: no answer, which was counted."""
        try:
            self._afford(weight_of(asked["limit"]))
            answer = _Answer()
            self._start()
            self._questions.put(({"symbol": _spelled(symbol), **asked}, answer))
            until = self._steady() + self._patience_s
            while not answer.there.wait(0.1):
                self.beat()
                if self._steady() > until:
                    raise _Unanswered("no answer in time")
            if answer.trouble is not None:
                raise answer.trouble
            return answer.bars
        except _Unanswered as error:
            self.unanswered += 1
            self.reason = str(error)
            return None

    def _afford(self, weight: int) -> None:
        now, spent = self._steady(), self._spent
        if now < self._not_before:
            raise _Unanswered(self.reason or "it rests after a failure")
        while spent and now - spent[0][0] >= _MINUTE_S:
            spent.popleft()
        if sum(one for _, one in spent) + weight > self._budget:
            raise _Unanswered("the requests of this minute are spent")
        spent.append((now, weight))
        self.asked += 1

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._answer_all, name="botobs-klines", daemon=True)
            self._thread.start()

    def _answer_all(self) -> None:
        while (question := self._questions.get()) is not None:
            asked, answer = question
            try:
                answer.bars = _bars(self._line.get(asked))
            except _Rest as rest:
                self._not_before = self._steady() + max(rest.seconds, self._rest_s)
                answer.trouble = _Unanswered(str(rest))
            except _Unanswered as error:  # the exchange does not know the symbol, say: others may be asked for
                answer.trouble = error
            except Exception as error:
                self._not_before = self._steady() + self._rest_s
                answer.trouble = _Unanswered(f"it cannot be reached: {type(error).__name__}")
            answer.there.set()
        self._line.close()

    def close(self) -> None:
        """End the thread, once its request is answered; never waits."""
        self._questions.put(None)


class _Answer:
    def __init__(self) -> None:
        self.there = threading.Event()
        self.bars: list[Bar] = []
        self.trouble: _Unanswered | None = None


class _Rest(Exception):  # noqa: N818 - the exchange asks to be left alone
    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class _Line:
    """One kept connection. The answering thread alone uses it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"klines = {url[:80]!r} is wrong; it takes a URL that begins with http:// or https://")
        self._parts = parts
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def get(self, asked: dict[str, Any]) -> Any:
        """The answer's JSON; a kept connection that was closed meanwhile is made anew, once."""
        kept = self._connection is not None
        try:
            return self._once(asked)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not kept:
                raise
            return self._once(asked)
        except (_Unanswered, _Rest):
            raise
        except BaseException:
            self.close()
            raise

    def _once(self, asked: dict[str, Any]) -> Any:
        if self._connection is None:
            secure = self._parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
        self._connection.request("GET", f"{self._parts.path.rstrip('/')}{_PATH}?{urlencode(asked)}")
        answer = self._connection.getresponse()
        body = answer.read(_LARGEST + 1)
        if answer.status in (418, 429):
            with contextlib.suppress(ValueError):
                raise _Rest("the exchange asks for fewer requests", float(answer.headers.get("Retry-After", "0")))
            raise _Rest("the exchange asks for fewer requests", _MINUTE_S)
        if answer.status != 200:
            if answer.status >= 500:
                raise _Rest(f"the exchange answers {answer.status}", 0.0)
            raise _Unanswered(f"the exchange answers {answer.status}")
        if len(body) > _LARGEST:
            self.close()
            raise _Unanswered("the answer is longer than any")
        return json.loads(body)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def weight_of(limit: int) -> int:
    """What a request for so many bars costs.

    Example:
        >>> [weight_of(limit) for limit in (99, 150, 500, 1_000, 1_500)]
        [1, 2, 5, 5, 10]
    """
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10


def _bars(answer: Any) -> list[Bar]:
    """The bars of an answer, in order; rows that are none are left out."""
    if not isinstance(answer, list):
        raise _Unanswered("the answer is no list of bars")
    found = []
    for row in answer:
        with contextlib.suppress(ValueError, TypeError, IndexError, KeyError, OverflowError):
            high, low, close = float(row[2]), float(row[3]), float(row[4])
            if 0 < low <= close <= high < math.inf:
                found.append(Bar(int(row[0]) * _MS, (int(row[6]) + 1) * _MS, high, low, close))
    found.sort()
    return found


def _length(interval: str) -> int:
    return round(seconds(interval) * 1e9)


def _spelled(symbol: str) -> str:
    """The symbol as the exchange has it.

    Example:
        >>> _spelled("BTC/USDT:USDT"), _spelled("eth-usdt")
        ('BTCUSDT', 'ETHUSDT')
    """
    return "".join(char for char in symbol.partition(":")[0] if char.isalnum()).upper()
