"""Regimes and ATR against TA-Lib, bars from files and from an exchange's interface on this machine."""

from __future__ import annotations

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy
import pytest

from botobs.accounting.wilder import Range
from botobs.errors import ConfigError
from botobs.metricpack import Bar, setting_of
from botobs.metricpack.bars import BotBars, FileBars
from botobs.metricpack.klines import Klines

MINUTE = 60 * 10**9
T0 = 1_767_323_100 * 10**9  # on a boundary of five minutes


def walk(seed, count, spread=0.01, drift=0.0):
    """Prices that go their random way."""
    dice, close, bars = random.Random(seed), 100.0, []
    for _ in range(count):
        close *= 1 + dice.gauss(drift, spread)
        bars.append((close * (1 + abs(dice.gauss(0, spread))), close * (1 - abs(dice.gauss(0, spread))), close))
    return bars


STILL = [(100.0, 100.0, 100.0)] * 60
SERIES = {
    **{f"random {seed}": walk(seed, 400) for seed in range(8)},
    "rising": walk(1, 200, 0.002, 0.01), "falling": walk(1, 200, 0.002, -0.01), "tiny": walk(2, 100, 1e-9),
    "huge": [(high * 1e12, low * 1e12, close * 1e12) for high, low, close in walk(3, 100)],
    "still": STILL, "still, then not": STILL + walk(4, 60), "moves, then stands still": walk(5, 60) + STILL * 3,
    "one bar that jumps": STILL[:20] + [(200.0, 50.0, 60.0)] + STILL, "too few for an ADX": walk(6, 27),
    "just enough for an ADX": walk(6, 28), "just enough for an ATR": walk(6, 15), "one": walk(6, 1),
    "inside bars": [(100.0 + 50 / (n + 1), 100.0 - 50 / (n + 1), 100.0) for n in range(80)],
    "gaps": [(high + n // 10 * 7, low + n // 10 * 7, close + n // 10 * 7) for n, (high, low, close) in enumerate(walk(7, 90))],
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_adx_and_atr_are_those_of_talib(name):
    talib = pytest.importorskip("talib")
    high, low, close = (numpy.array(column) for column in zip(*SERIES[name], strict=True))
    expected = talib.ATR(high, low, close, 14), talib.ADX(high, low, close, 14)
    averages, found = Range(14), ([], [])
    for bar in SERIES[name]:
        averages.bar(*bar)
        found[0].append(averages.atr.value)
        found[1].append(averages.adx.value)
    for mine, theirs in zip(found, expected, strict=True):
        assert [value is None for value in mine] == list(numpy.isnan(theirs))
        for value, other in zip(mine, theirs, strict=True):
            assert value is None or value == pytest.approx(other, rel=1e-9, abs=1e-9)


def bars_of(series, start=T0, length=MINUTE):
    return [Bar(start + n * length, start + (n + 1) * length, *prices) for n, prices in enumerate(series)]


def test_regimes():
    assert setting_of(bars_of(SERIES["rising"])).regime == "trend"
    assert setting_of(bars_of(STILL)).regime == "chop"
    assert setting_of(bars_of(SERIES["too few for an ADX"])) == ("unknown", None, pytest.approx(2, abs=2))
    assert setting_of(()) == ("unknown", None, None)
    between = next(bars for seed in range(99) if 20 <= (setting_of(bars := bars_of(walk(seed, 60))).adx or 0) <= 25)
    assert setting_of(between).regime == "unknown"


# --- files


def test_a_table_of_bars_answers_by_the_time_of_an_event(tmp_path):
    bars = bars_of(walk(1, 300))
    lines = ["symbol,open_time,close_time,high,low,close"]
    lines += [f"BTCUSDT,{bar.start_ns // 10**6},{bar.end_ns // 10**6},{bar.high},{bar.low},{bar.close}" for bar in bars]
    (tmp_path / "bars.csv").write_text("\n".join([*lines, "BTCUSDT,x,,,,"]))
    rows = [{"symbol": "BTCUSDT", "ts": bar.start_ns, "interval": "1m", "high": bar.high, "low": bar.low, "close": bar.close}
            for bar in reversed(bars)]  # fmt: skip
    (tmp_path / "bars.jsonl").write_text("\n".join([*map(json.dumps, rows), "no json", "[]"]))
    for name, skipped in (("bars.csv", 1), ("bars.jsonl", 2)):
        found = FileBars(tmp_path / name)
        assert found.skipped == skipped
        assert found.before("BTCUSDT", bars[199].end_ns) == bars[50:200]
        assert found.before("BTCUSDT", bars[199].end_ns - 1) == bars[49:199]
        assert found.before("ETHUSDT", bars[199].end_ns) == found.before("BTCUSDT", T0) == []
        assert found.during("BTCUSDT", bars[3].start_ns, bars[9].end_ns) == bars[3:10]
        assert found.during("BTCUSDT", bars[3].start_ns + 1, bars[9].end_ns - 1) == bars[4:9]


def test_a_file_without_bars_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("symbol,high\n")
    for name in ("empty.csv", "nowhere.csv"):
        with pytest.raises(ConfigError, match=name):
            FileBars(tmp_path / name)


def test_the_bot_s_own_bars_are_followed(tmp_path):
    (tmp_path / "logs").mkdir()
    live, bars = tmp_path / "logs" / "price_events.jsonl", bars_of(walk(1, 40))
    own = BotBars(tmp_path)
    assert own.before("BTCUSDT", T0) == []

    def write(some):
        with live.open("a") as file:
            for bar in some:
                said = {"event": "bar", "symbol": "BTCUSDT", "bar_ts": bar.end_ns, "high": bar.high, "low": bar.low}
                file.write(json.dumps({**said, "close": bar.close}) + "\n")
            file.write('{"event":"mark","symbol":"BTCUSDT"}\n{"event":"bar","symbol":"BTCUSDT"}\n')

    write(bars[:30])
    assert own.before("BTCUSDT", bars[29].end_ns)[1:] == bars[1:30]
    write(bars[30:])
    assert own.during("BTCUSDT", bars[29].start_ns, bars[39].end_ns) == bars[29:]


# --- the exchange's interface


class Exchange(BaseHTTPRequestHandler):
    """Answers as Binance's futures do, from bars of a minute that rise by one each."""

    protocol_version = "HTTP/1.1"
    answers: list = []
    asked: list = []
    release = threading.Event()

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        said = {name: value[0] for name, value in query.items()}
        type(self).asked.append(said)
        assert path == "/fapi/v1/klines"
        status, headers, body = self.answers.pop(0) if self.answers else (200, {}, None)
        if body == "hang":
            self.release.wait(30)
        if body is None:
            body = json.dumps(self.klines(said)).encode()
        body = body if isinstance(body, bytes) else str(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def klines(said):
        length = {"1m": 60_000, "3m": 180_000, "5m": 300_000}[said["interval"]]
        limit, end = int(said["limit"]), int(said.get("endTime", T0 // 10**6 + 10**9))
        first = int(said.get("startTime", end // length * length - (limit - 1) * length))
        opens = range(-(-first // length) * length, end + 1, length)[:limit]
        return [
            [at, "1", str(at / 60_000 % 1_000 + 3), str(at / 60_000 % 1_000 + 1), str(at / 60_000 % 1_000 + 2), "5",
             at + length - 1, "0", 7, "0", "0", "0"]
            for at in opens
        ]  # fmt: skip

    def log_message(self, *_):
        pass


@pytest.fixture
def exchange():
    class Mine(Exchange):
        answers: list = []
        asked: list = []
        release = threading.Event()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    Mine.url = f"http://127.0.0.1:{server.server_port}"
    yield Mine
    Mine.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ask(exchange):
    made = []

    def klines(**more):
        made.append(Klines(exchange.url, **more))
        return made[-1]

    yield klines
    for each in made:
        each.close()
        if each._thread is not None:
            exchange.release.set()
            each._thread.join(10)


def test_bars_of_the_exchange_are_finished_ones_and_asked_for_once(exchange, ask):
    klines = ask()
    at = T0 + 299 * 10**9  # a moment before the bar ends
    found = klines.before("BTC/USDT:USDT", at)
    assert (len(found), found[-1].end_ns) == (150, T0)
    assert exchange.asked[0]["symbol"] == "BTCUSDT"
    assert klines.before("BTC/USDT:USDT", at - 10**9) == found
    assert len(exchange.asked) == klines.asked == 1
    assert klines.before("BTC/USDT:USDT", T0 + 300 * 10**9)[-1].end_ns == T0 + 300 * 10**9
    assert len(exchange.asked) == 2


def test_excursions_come_from_the_finest_bars_that_span_all_of_it(exchange, ask):
    klines = ask()
    found = klines.during("BTCUSDT", T0 + 1, T0 + 10 * MINUTE + 5)
    assert [(bar.start_ns, bar.end_ns) for bar in (found[0], found[-1])] == [
        (T0 + MINUTE, T0 + 2 * MINUTE), (T0 + 9 * MINUTE, T0 + 10 * MINUTE),
    ]  # fmt: skip
    klines.during("BTCUSDT", T0, T0 + 1_500 * MINUTE)
    assert [asked["interval"] for asked in exchange.asked] == ["1m", "3m"]
    assert list(klines.during("BTCUSDT", T0, T0 + 10)) == []
    assert len(exchange.asked) == 2


@pytest.mark.parametrize(
    "answer", [(429, {"Retry-After": "5"}, b""), (418, {}, b""), (500, {}, b"oops"), (200, {}, b"<html>"), (400, {}, b"{}"), (200, {}, b"{}")]
)  # fmt: skip
def test_no_answer_is_no_bars_and_counted(exchange, ask, answer):
    exchange.answers.append(answer)
    klines = ask()
    assert list(klines.before("BTCUSDT", T0)) == []
    assert klines.unanswered == 1
    assert klines.reason
    rests = answer[0] in (429, 418, 500) or answer[2] == b"<html>"
    assert bool(klines.before("BTCUSDT", T0)) is not rests  # a refused symbol is no reason to ask for no other
    assert klines.asked == (1 if rests else 2)


def test_rows_that_are_no_bars_are_left_out(exchange, ask):
    rows = [
        [1, "1", "nan", "1", "1", "0", 2],
        [1],
        "x",
        [1, "1", "1", "3", "2", "0", 2],
        [0, "1", "3", "1", "2", "0", 59_999],
    ]
    exchange.answers.append((200, {}, json.dumps(rows).encode()))
    assert ask().before("X", T0) == [Bar(0, MINUTE, 3.0, 1.0, 2.0)]


def test_an_exchange_that_hangs_holds_nobody_up_and_the_lease_is_kept(exchange, ask):
    exchange.answers.append((200, {}, "hang"))
    beats = []
    klines = ask(patience_s=0.25, beat=lambda: beats.append(1))
    assert list(klines.before("BTCUSDT", T0)) == []
    assert beats
    assert klines.reason == "no answer in time"


def test_weight_is_spent_sparingly(exchange, ask):
    now = [0.0]
    klines = ask(budget=4, steady=lambda: now[0])
    for turn in range(4):
        klines.before("BTCUSDT", T0 + turn * 5 * MINUTE)
    assert (klines.asked, klines.unanswered, len(exchange.asked)) == (2, 2, 2)
    now[0] = 61
    assert klines.before("BTCUSDT", T0)


def test_nobody_there_and_wrong_settings():
    klines = Klines("http://127.0.0.1:9", patience_s=5)
    assert list(klines.before("BTCUSDT", T0)) == []
    assert "cannot be reached" in klines.reason
    klines.close()
    klines._thread.join(5)
    for wrong in ({"url": "ftp://x"}, {"interval": "7m"}, {"interval": "1w"}):
        with pytest.raises(ConfigError):
            Klines(**wrong)
