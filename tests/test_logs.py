import asyncio
import contextvars
import io
import json
import logging
import logging.config
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import orjson
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import botobs
from botobs import logs
from botobs.faults import Faults
from botobs.logs import otlp
from botobs.streams import Redactor
from tests.servers.otlp import OtlpReceiver
from tests.slack import SLACK_S
from tests.stages.engines import running

NAMES = iter(range(10**9))
NOTHING = {"trace_id": "", "span_id": "", "symbol": "", "bar_id": ""}


def soon(seconds=10.0):
    return time.monotonic() + seconds


def context_of(level=logging.INFO, **extra):
    """What the filter puts on a record that is made here."""
    record = logging.makeLogRecord({"levelno": level, "levelname": "L", "msg": "m", **extra})
    assert logs.ContextFilter().filter(record) is True
    return {key: getattr(record, key) for key in NOTHING}


def bot_logger(*handlers, level=logging.DEBUG):
    """A logger of its own for each test, told to nobody else."""
    logger = logging.getLogger(f"tests.bot{next(NAMES)}")
    logger.propagate = False
    logger.setLevel(level)
    for handler in handlers:
        logger.addHandler(handler)
    return logger


@contextmanager
def engine(**options):
    """An engine with real lines and without a disk; errors are counted instead of raised."""
    with running(**options) as bench:
        bench.engine.line = Redactor().line
        bench.faults.strict = False
        yield bench


@contextmanager
def on_root(handler, level=logging.DEBUG):
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield root
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def lines(data_dir, stream="logs"):
    path = data_dir / "logs" / f"{stream}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def script(text, **env):
    return subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        check=False,
    )


class Hostile:
    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


# --- the ids on records


def test_outside_of_ticks_the_fields_are_there_and_empty():
    assert context_of() == NOTHING
    with engine() as bench:
        assert context_of(logging.ERROR) == NOTHING
        with botobs.tick("BTC", bar_id=1):
            pass
        assert context_of() == NOTHING
        assert bench.kept == [] or [tick.why for tick in bench.kept] == [{"sample": None}]


def test_a_format_with_the_ids_never_fails():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(logs.ContextFilter())
    handler.setFormatter(logging.Formatter("%(message)s|%(trace_id)s|%(span_id)s|%(symbol)s|%(bar_id)s"))
    logger = bot_logger(handler)
    logger.info("before")
    with engine():
        with botobs.tick("BTC", bar_id=Hostile()):
            logger.info("odd bar")
        with botobs.tick("BTC-USD", bar_id=7) as tick:
            logger.info("inside")
            span = f"{tick.root.own_span_id():016x}"
    assert out.getvalue().splitlines()[0] == "before||||"
    assert out.getvalue().splitlines()[1].endswith("|BTC|<unprintable Hostile>")
    assert out.getvalue().splitlines()[2] == f"inside|{tick.id}|{span}|BTC-USD|7"


def test_each_stage_has_its_span_and_all_share_the_trace():
    with engine() as bench:
        with botobs.tick("BTC", bar_id="b1") as tick:
            seen = [context_of()]
            with botobs.decision():
                seen.append(context_of())
                with botobs.stage("inner"):
                    seen.append(context_of())
            tick.keep()
        (kept,) = bench.kept
        assert [f["span_id"] for f in seen] == [f"{live.more.span_id:016x}" for live in kept.spans]
        assert {f["trace_id"] for f in seen} == {f"{kept.trace_id:032x}"}
        assert {(f["symbol"], f["bar_id"]) for f in seen} == {("BTC", "b1")}


def test_what_the_bot_put_on_the_record_stays():
    with engine(), botobs.tick("BTC", bar_id=1) as tick:
        found = context_of(symbol="ETH", trace_id="mine")
        assert found["symbol"] == "ETH"
        assert found["trace_id"] == "mine"
        assert found["bar_id"] == 1
        assert tick.symbol == "BTC"


@pytest.mark.parametrize(
    ("level", "reasons"),
    [(logging.DEBUG, None), (logging.INFO, None), (logging.WARNING, "log"), (logging.ERROR, "log")],
)
def test_from_warning_on_the_trace_is_kept(level, reasons):
    with engine() as bench:
        bench.engine.base_every = 10**9
        for _ in range(300):  # past the warm-up, where a first one is kept as a sample
            with botobs.tick("BTC"):
                pass
        bench.kept.clear()
        bench.engine.cells.of("BTC", b"")["tick"].slow_ns = 1e18
        with botobs.tick("BTC"), botobs.decision():
            found = context_of(level)
        assert found["trace_id"]
        if reasons is None:
            assert bench.kept == []
        else:
            (kept,) = bench.kept
            assert list(kept.why) == [reasons]
            assert f"{kept.trace_id:032x}" == found["trace_id"]
            assert f"{kept.spans[1].more.span_id:016x}" == found["span_id"]


def test_without_traces_there_are_no_ids():
    with engine(keep="none") as bench, botobs.tick("BTC", bar_id=3):
        assert context_of(logging.ERROR) == {**NOTHING, "symbol": "BTC", "bar_id": 3}
        with botobs.stage("s"):
            assert context_of(logging.ERROR)["trace_id"] == ""
        assert bench.kept == []


def test_under_a_span_of_another_library_its_id_is_given():
    tracer = TracerProvider().get_tracer("another")
    with engine() as bench:
        with botobs.tick("BTC") as tick, botobs.decision(), tracer.start_as_current_span("theirs") as span:
            found = context_of()
        assert found["span_id"] == f"{span.get_span_context().span_id:016x}"
        assert found["trace_id"] == tick.id == f"{span.get_span_context().trace_id:032x}"
        assert found["symbol"] == "BTC"
        assert bench.kept  # the other library's span needs its parent


def test_a_stage_outside_of_any_tick_has_ids_too():
    with engine() as bench:
        with botobs.stage("warm"):  # the first is a sample
            pass
        bench.kept.clear()
        with botobs.stage("warm"):
            found = context_of(logging.ERROR)
            with botobs.stage("below"):
                below = context_of()
        (kept,) = bench.kept
        assert found["trace_id"] == below["trace_id"] == f"{kept.trace_id:032x}"
        assert [found["span_id"], below["span_id"]] == [f"{live.more.span_id:016x}" for live in kept.spans]
        assert found["symbol"] == found["bar_id"] == ""


def test_a_task_that_outlives_its_tick_is_outside_of_it():
    with engine():
        with botobs.tick("BTC", bar_id=1), botobs.decision():
            copied = contextvars.copy_context()
            assert copied.run(context_of)["symbol"] == "BTC"
        assert copied.run(context_of, logging.ERROR) == NOTHING


def test_after_its_stage_a_task_belongs_to_the_running_stage_above():
    with engine(), botobs.tick("BTC") as tick:
        with botobs.stage("a"), botobs.stage("b"):
            copied = contextvars.copy_context()
        found = copied.run(context_of)
        assert found["trace_id"] == tick.id
        assert found["span_id"] == f"{tick.root.own_span_id():016x}"


@pytest.mark.parametrize("kept", [True, False])
def test_a_stage_that_outlives_its_tick_has_an_id_only_if_that_leads_somewhere(kept):
    with engine() as bench:
        bench.engine.cells.of("BTC", b"")["tick"].warm = 1000
        bench.engine.cells.of("BTC", b"")["tick"].slow_ns = 1e18
        bench.engine.cells.of("BTC", b"")["tick"].left = 10**9
        inside, outside = contextvars.copy_context(), contextvars.copy_context()
        tick = inside.run(botobs.tick("BTC").__enter__)
        late = inside.copy()
        stage = botobs.stage("late")
        late.run(stage.__enter__)
        if kept:
            tick.keep()
        inside.run(tick.root.stage.__exit__, None, None, None)
        found = late.run(context_of, logging.ERROR)
        assert found["symbol"] == "BTC"
        assert bool(found["trace_id"]) is bool(found["span_id"]) is kept
        late.run(stage.__exit__, None, None, None)
        assert len(bench.kept) == (2 if kept else 0)
        assert outside.run(context_of) == NOTHING


def test_tasks_and_threads_keep_apart():
    seen = []

    async def turn(symbol):
        with botobs.tick(symbol, bar_id=symbol) as tick:
            for _ in range(20):
                await asyncio.sleep(0)
                seen.append((symbol, tick.id, context_of()))

    async def main():
        await asyncio.gather(*(turn(f"S{n}") for n in range(5)))

    with engine():
        threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(seen) == 300
    for symbol, trace_id, found in seen:
        assert (found["symbol"], found["bar_id"], found["trace_id"]) == (symbol, symbol, trace_id)


def test_a_record_that_makes_no_sense_passes_and_is_counted():
    with engine() as bench:
        assert context_of(level="loud") == NOTHING
        assert bench.faults.errors == {"logs": 1}
    assert context_of(level=None) == NOTHING


# --- records as lines


def test_a_record_becomes_a_line(tmp_path):
    logger = bot_logger(logs.Handler())
    with botobs.start("bot", data_dir=tmp_path) as obs:
        with botobs.tick("BTC-USD", bar_id=7) as tick:
            logger.info("sold %d at %s", 3, 1.5, extra={"venue": "kraken", "qty": 3})
            with botobs.risk():
                try:
                    raise ValueError("too much")
                except ValueError:
                    logger.exception("refused", stack_info=True)
        logger.debug("between ticks")
        assert obs.flush()
        assert obs.faults.errors == {}
        first, second, third = lines(tmp_path)
    assert first.pop("ts").endswith("Z")
    assert first.pop("line") > 1
    assert len(first.pop("span_id")) == 16
    assert first == {
        "schema": "v1",
        "bot": "bot",
        "run_id": obs.run_id,
        "level": "INFO",
        "logger": logger.name,
        "message": "sold 3 at 1.5",
        "file": __file__,
        "function": "test_a_record_becomes_a_line",
        "thread": "MainThread",
        "venue": "kraken",
        "qty": 3,
        "symbol": "BTC-USD",
        "bar_id": 7,
        "trace_id": tick.id,
    }
    assert second["level"] == "ERROR"
    assert second["exception"]["type"] == "ValueError"
    assert second["exception"]["message"] == "too much"
    assert 'raise ValueError("too much")' in second["exception"]["stack"]
    assert "test_a_record_becomes_a_line" in second["stack_info"]
    assert second["trace_id"] == tick.id
    assert "log" in tick.why
    assert third["message"] == "between ticks"
    assert not NOTHING.keys() & third.keys()


def test_secrets_stay_out_of_the_line(tmp_path):
    hook = "https://hooks.slack.com/services/T00/B00/abcdef"
    logger = bot_logger(logs.Handler())
    with botobs.start("bot", data_dir=tmp_path, redact=["account_no"]):
        logger.info("posting to %s", hook, extra={"api_key": "k-1", "deep": {"Account_No": "n-1"}})
        logger.info({"event": "login", "password": "p-1", "at": hook})
        try:
            raise RuntimeError(f"POST {hook} failed")
        except RuntimeError:
            logger.exception("oops")
        botobs.flush()
        text = (tmp_path / "logs" / "logs.jsonl").read_text()
    assert text.count("[redacted]") >= 6
    for secret in ("T00/", "abcdef", "k-1", "n-1", "p-1"):
        assert secret not in text
    assert [each["message"] for each in map(json.loads, text.splitlines())] == [
        "posting to [redacted]",
        "login",
        "oops",
    ]


def test_names_that_are_taken_go_under_fields_and_the_tick_s_own_are_the_bot_s_to_set():
    logger = bot_logger(logs.Handler())
    with engine() as bench, botobs.tick("BTC", bar_id=1):
        logger.info("m", extra={"line": "L", "ts": 1, "bot": "B", "fields": 2, "symbol": "ETH", "bar_id": None, "x": 3})
        logger.info("m", extra={"trace_id": "mine"})
        (_, first), (_, second) = bench.lines
        assert first["fields"] == {"line": "L", "ts": 1, "bot": "B", "fields": 2}
        assert (first["bot"], first["symbol"], first["bar_id"], first["x"]) == ("test", "ETH", 1, 3)
        assert isinstance(first["line"], int)
        assert second["trace_id"] == "mine"
        assert "span_id" not in second  # a span of ours in a trace of the bot's own would be a lie


def test_messages_that_cannot_be_formatted_are_written_as_they_are_and_counted(monkeypatch):
    logger = bot_logger(logs.Handler())
    cyclic = {}
    cyclic["self"] = cyclic
    for loud in (True, False):
        monkeypatch.setattr(logging, "raiseExceptions", loud)
        with engine() as bench:
            logger.info("%d of %d", "x")
            logger.info("hostile %s", Hostile())
            logger.info(Hostile())
            logger.info({"event": Hostile()})
            assert bench.faults.errors == {"logs": 4}
            logger.info("odd extras", extra={"a": Hostile(), "b": cyclic, "c": object(), 5: "\ud800", "d": 2**80})
            logger.info("%(a)s and %(b)s", {"a": 1, "b": 2})
            logger.info({"plain": "dictionary"})
            logger.info("x" * 100_000)
            logger.warning("odd exc_info", exc_info=(1, 2, 3))
            logger.warning("no exc_info", exc_info=True)
            assert bench.faults.errors == {"logs": 4}
        found = [record for _, record in bench.lines]
        assert len(found) == 10
        assert found[0]["message"] == "%d of %d"
        assert found[0]["unformatted"] == {
            "args": ["x"],
            "error": "TypeError: %d format: a real number is required, not str",
        }
        assert found[1]["unformatted"]["args"] == ["<unprintable>"]
        assert found[2]["message"] == "<unprintable Hostile>"
        assert found[4]["a"] == "<unprintable>"
        assert found[4]["b"] == {"self": "<cycle>"}
        assert found[5]["message"] == "1 and 2"
        assert (found[6]["message"], found[6]["plain"]) == ("", "dictionary")
        assert len(found[7]["message"]) < 33_000
        assert found[7]["message"].endswith("characters more)")
        assert not any("exception" in record for record in found)


def test_in_strict_mode_a_swallowed_error_is_raised():
    logger = bot_logger(logs.Handler())
    with engine() as bench:
        bench.faults.strict = True
        with pytest.raises(TypeError):
            logger.info("%d", "x")
        logger.info("the guard is down again")
        assert [record["message"] for _, record in bench.lines] == ["%d", "the guard is down again"]


odd = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    message=odd,
    args=st.lists(odd, max_size=3),
    extra=st.dictionaries(st.text(), odd, max_size=4),
    level=st.integers(0, 60),
)
def test_whatever_is_logged_becomes_a_line(message, args, extra, level):
    handler = logs.Handler()
    record = logging.LogRecord("bot", level, "f.py", 1, message, tuple(args), None)
    record.__dict__.update({key: value for key, value in extra.items() if key not in record.__dict__})
    with engine() as bench:
        assert handler.handle(record)
        ((stream, line),) = bench.lines  # parsed there
        assert stream == "logs"
        assert line["level"] == record.levelname
        otlp.encode(1, level, line)
        assert logs.ContextFilter().filter(record)


# --- where records go, and when


def test_before_start_after_the_end_and_without_a_stream(tmp_path):
    logger = bot_logger(logs.Handler(), logs.Handler(stream="mine", level="ERROR"), logs.Handler(stream=None))
    logger.error("before")
    with botobs.start("bot", data_dir=tmp_path):
        logger.warning("during")
        logger.error("bad")
    logger.error("after")
    assert [record["message"] for record in lines(tmp_path)] == ["during", "bad"]
    assert [record["message"] for record in lines(tmp_path, "mine")] == ["bad"]


def test_two_observers(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    with botobs.start("one", data_dir=one) as first, botobs.start("two", data_dir=two):
        anyone = bot_logger(logs.Handler())
        bound = bot_logger(logs.Handler(observer=first, stream="bound"))
        anyone.info("the newest")
        with first.tick("BTC") as tick:
            anyone.info("the tick's")
            bound.info("a")
        with botobs.tick("ETH"):
            bound.info("b")
    assert [record["message"] for record in lines(two)] == ["the newest"]
    (found,) = lines(one)
    assert (found["message"], found["trace_id"]) == ("the tick's", tick.id)
    a, b = lines(one, "bound")
    assert a["symbol"] == "BTC"
    assert "symbol" not in b  # the tick was the other observer's
    bound.info("its observer has ended")


def test_a_queue_handler_carries_the_ids_to_the_listener_s_thread(tmp_path):
    waiting = queue.SimpleQueue()
    sender = logging.handlers.QueueHandler(waiting)
    sender.addFilter(logs.ContextFilter())
    logger = bot_logger(sender)
    with botobs.start("bot", data_dir=tmp_path):
        listener = logging.handlers.QueueListener(waiting, logs.Handler())
        listener.start()
        with botobs.tick("BTC", bar_id=1) as tick:
            try:
                raise ValueError("told elsewhere")
            except ValueError:
                logger.exception("from %s", "here")
        logger.info("outside")
        listener.stop()
    first, second = lines(tmp_path)
    assert (first["symbol"], first["bar_id"], first["trace_id"]) == ("BTC", 1, tick.id)
    assert "told elsewhere" in first["message"]
    assert second["message"] == "outside"
    assert not NOTHING.keys() & second.keys()


def test_from_a_configuration_dictionary(tmp_path):
    name = f"tests.configured{next(NAMES)}"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "incremental": False,
            "filters": {"tick": {"()": "botobs.logs.ContextFilter"}},
            "handlers": {
                "botobs": {"class": "botobs.logs.Handler", "level": "INFO", "stream": "mylog", "filters": ["tick"]},
            },
            "loggers": {name: {"handlers": ["botobs"], "level": "DEBUG", "propagate": False}},
        }
    )
    with botobs.start("bot", data_dir=tmp_path):
        with botobs.tick("BTC"):
            logging.getLogger(name).info("configured")
        logging.getLogger(name).debug("too low")
    (found,) = lines(tmp_path, "mylog")
    assert (found["message"], found["symbol"]) == ("configured", "BTC")


def test_a_child_process_writes_nothing_into_its_parent_s_files(tmp_path):
    text = f"""
import logging, os, sys, botobs
from botobs import logs
from botobs.faults import Faults
log = logging.getLogger("bot"); log.setLevel("DEBUG"); log.addHandler(logs.Handler())
obs = botobs.start("bot", data_dir={str(tmp_path)!r})
with botobs.tick("BTC"):
    log.info("parent")
    pid = os.fork()
    if pid == 0:
        log.error("child")
        record = logging.makeLogRecord({{}})
        logs.ContextFilter().filter(record)
        os._exit(0 if record.trace_id == "" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    log.info("parent again")
obs.shutdown()
"""
    done = script(text)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["message"] for record in lines(tmp_path)] == ["parent", "parent again"]


# --- never about itself


def test_what_botobs_says_and_what_its_own_threads_call_is_not_written():
    handler = logs.Handler()
    with engine() as bench, on_root(handler):
        logging.getLogger("botobs").error("x")
        logging.getLogger("botobs.deep").error("x")
        bench.faults.say("here", "cause", "something is wrong")
        for name in ("urllib3.connectionpool", "opentelemetry.sdk", "grpc", "requests"):
            ours = threading.Thread(target=logging.getLogger(name).error, args=("ours",), name="botobs-otlp")
            ours.start()
            ours.join(20)
            logging.getLogger(name).error("the bot's")
        theirs = threading.Thread(target=logging.getLogger("bot").error, args=("a callback's",), name="botobs-bus")
        theirs.start()
        theirs.join(20)
        assert [record["message"] for _, record in bench.lines] == ["the bot's"] * 4 + ["a callback's"]
        assert bench.faults.drops == {}


def test_what_is_logged_while_a_record_is_written_does_not_recur():
    handler = logs.Handler()

    class Chatty:
        def __str__(self):
            logging.getLogger("bot").error("shown")
            return "chatty"

    with engine() as bench, on_root(handler):
        bot_logger(handler).info("extra", extra={"a": Chatty()})
        assert [record["a"] for _, record in bench.lines] == ["chatty"]
        assert bench.faults.drops == {"logs": 1}
        logging.getLogger("bot").info("and again")
        assert len(bench.lines) == 2


def test_an_error_inside_the_handler_does_not_recur():
    handler = logs.Handler()
    with engine() as bench, on_root(handler):
        bench.engine.put = lambda stream, line: 1 / 0
        logging.getLogger("bot").error("one")
        assert bench.faults.errors == {"logs": 1}


@pytest.mark.timeout(20, method="thread")
def test_an_error_that_logs_while_it_is_shown_does_not_lock_up():
    logger = bot_logger(logs.Handler())

    class Talkative(Exception):
        def __str__(self):
            logger.error("%d", "x")
            return "talkative"

    class Value:
        def __str__(self):
            raise Talkative

    with engine() as bench:
        logger.error("%s", Value())
        assert [record["unformatted"]["error"] for _, record in bench.lines] == ["Talkative: talkative"]
        assert bench.faults.errors == {"logs": 1}
        assert bench.faults.drops["logs"] >= 1


def test_a_subscriber_that_logs_every_event_comes_to_an_end(tmp_path):
    handler = logs.Handler()
    logger = bot_logger(handler)
    with botobs.start("bot", data_dir=tmp_path) as obs, on_root(handler):
        obs.bus.subscribe(botobs.events.Event, lambda event: logger.info("background %s", event))
        obs.bus.subscribe(botobs.events.Event, lambda event: logger.info("immediate %s", event), immediate=True)
        botobs.event("notes", mood="calm")
        logger.info("itself")
        assert obs.bus.flush(soon())
        assert obs.flush()
        found = [record["message"].split()[0] for record in lines(tmp_path)]
    assert sorted(found) == ["background", "immediate", "itself"]


def test_the_handler_has_no_lock_to_wait_for():
    handler = logs.Handler()
    assert handler.lock is None
    with engine() as bench:

        class Other(logging.Handler):
            def emit(self, record):
                bot_logger(handler).info("from inside another handler, which holds its lock")

        logger = bot_logger(handler, Other())
        logger.info("a")
        assert len(bench.lines) == 2
    handler.acquire()
    handler.release()
    handler.flush()
    handler.close()


def test_botobs_own_logger_is_quiet_and_a_root_at_debug_does_not_loop(tmp_path):
    text = f"""
import logging, botobs
from botobs import logs
from botobs.faults import Faults
obs = botobs.start("bot", data_dir={str(tmp_path)!r}, otlp_endpoint="http://127.0.0.1:1")
obs.faults.say("here", "quiet", "nobody listens")
root = logging.getLogger(); root.setLevel(0); root.addHandler(logs.Handler(otlp=True))
for n in range(50):
    with botobs.tick("BTC", bar_id=n):
        logging.getLogger("bot").warning("n %d", n)
obs.flush(0.3)
obs.shutdown(0.2)
"""
    done = script(text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(lines(tmp_path)) == 50


def test_importing_it_loads_nothing_heavy():
    heavy = (
        "structlog",
        "opentelemetry.sdk",
        "opentelemetry.proto",
        "grpc",
        "requests",
        "botobs.observer",
        "botobs.sinks",
    )
    text = f"import sys, botobs.logs; print([name for name in {heavy!r} if name in sys.modules])"
    done = script(text)
    assert done.stdout.strip() == "[]", done.stderr
    text = "import sys, botobs, botobs.logs as l; l.structlog_processor(None, 'info', {}); l.StructlogStream(); print('structlog' in sys.modules)"
    assert script(text).stdout.strip() == "False"


# --- structlog


def structured(*processors, **options):
    return structlog.wrap_logger(
        structlog.ReturnLogger(), processors=[*processors, structlog.processors.JSONRenderer()], **options
    )


def test_the_processor_adds_the_ids_wherever_it_stands():
    for chain in (
        [logs.structlog_processor, structlog.processors.add_log_level],
        [structlog.processors.add_log_level, logs.structlog_processor],
    ):
        log = structured(*chain)
        assert json.loads(log.info("before", a=1)) == {"event": "before", "a": 1, "level": "info"}
        with engine() as bench:
            assert NOTHING.keys().isdisjoint(json.loads(log.info("outside")))
            bench.engine.cells.of("BTC", b"")["tick"].left = 10**9
            bench.engine.cells.of("BTC", b"")["tick"].slow_ns = 1e18
            bench.engine.cells.of("BTC", b"")["tick"].warm = 1000
            with botobs.tick("BTC", bar_id=5) as tick:
                found = json.loads(log.info("inside", symbol="ETH"))
            assert (found["trace_id"], found["bar_id"], found["symbol"]) == (tick.id, 5, "ETH")
            assert len(found["span_id"]) == 16
            assert bench.kept == []
            with botobs.tick("BTC", bar_id=5):
                assert "trace_id" in log.warning("bad")
            assert [list(kept.why) for kept in bench.kept] == [["log"]]


def test_a_processor_in_the_wrong_place_is_counted_and_harmless():
    log = structlog.wrap_logger(
        structlog.ReturnLogger(), processors=[structlog.processors.JSONRenderer(), logs.structlog_processor]
    )
    with engine() as bench, botobs.tick("BTC"):
        assert log.info("x") == '{"event": "x"}'
        assert bench.faults.errors == {"logs": 1}


def test_structlog_on_top_of_logging(tmp_path):
    """The set-up of structlog's documentation: its loggers and the standard ones through one formatter."""
    out = io.StringIO()
    console = logging.StreamHandler(out)
    shared = [logs.structlog_processor, structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name]
    console.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    target = bot_logger(console, logs.Handler())
    log = structlog.wrap_logger(
        target,
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    with botobs.start("bot", data_dir=tmp_path):
        with botobs.tick("BTC", bar_id=1) as tick:
            log.info("structured", px=1.5, token="t-1")
            target.warning("standard %s", "one")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["trace_id"] == second["trace_id"] == tick.id
    assert "log" in tick.why
    first, second = lines(tmp_path)
    assert (first["message"], first["px"], first["token"]) == ("structured", 1.5, "[redacted]")
    assert (first["level"], first["logger"], first["trace_id"]) == ("INFO", target.name, tick.id)
    assert not {"_logger", "_name", "_record"} & first.keys()
    assert (second["message"], second["symbol"]) == ("standard one", "BTC")


def test_structlog_events_in_a_stream(tmp_path):
    log = structured(
        logs.structlog_processor,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        logs.StructlogStream("events"),
        structlog.processors.format_exc_info,
    )
    assert json.loads(log.info("before"))["event"] == "before"
    with botobs.start("bot", data_dir=tmp_path):
        with botobs.tick("BTC", bar_id=1) as tick:
            told = json.loads(log.info("sold", qty=3, password="p", message="taken"))
            try:
                raise ValueError("no")
            except ValueError:
                log.exception("failed")
        log.info("outside", odd=[1, {"2": 3}])
    assert told["password"] == "p"  # what goes on is the bot's own business
    assert told["message"] == "taken"
    first, second, third = lines(tmp_path, "events")
    assert (first["message"], first["level"], first["qty"], first["password"]) == ("sold", "info", 3, "[redacted]")
    assert first["fields"] == {"message": "taken"}
    assert (first["symbol"], first["bar_id"], first["trace_id"]) == ("BTC", 1, tick.id)
    assert "timestamp" in first
    assert second["exception"]["type"] == "ValueError"
    assert third["odd"] == [1, {"2": 3}]
    assert "log" in tick.why


def test_the_structlog_stream_never_raises():
    stream = logs.StructlogStream()
    with engine() as bench:
        for event in ({"event": Hostile()}, {"event": "x", "exc_info": Hostile()}, {"exc_info": ValueError("v")}, {}):
            assert stream(None, "info", event) is event
        stream(Hostile(), Hostile(), {"event": "x", 5: Hostile()})
        assert stream(None, "info", 7) == 7
        found = [record for _, record in bench.lines]
        assert [record["message"] for record in found][:4] == ["<unprintable Hostile>", "x", "", ""]
        assert found[2]["exception"]["type"] == "ValueError"
        assert bench.faults.errors["logs"] == 2


# --- over OTLP


def test_an_encoded_record_is_what_the_official_encoder_makes():
    from opentelemetry._logs import LogRecord as ApiRecord
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.trace import TraceFlags

    trace_id, span_id = 0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0, 0xFEDC_BA98_7654_3210
    official = ApiRecord(
        timestamp=1_767_323_045_000_000_001,
        observed_timestamp=1_767_323_045_000_000_001,
        trace_id=trace_id,
        span_id=span_id,
        trace_flags=TraceFlags(1),
        severity_text="WARNING",
        severity_number=SeverityNumber.WARN,
        body="sold é",
        attributes={
            "code.file.path": "bot.py",
            "code.line.number": 7,
            "code.function.name": "on_bar",
            "thread.name": "MainThread",
            "px": 1.5,
            "ok": True,
            "n": -3,
            "deep": {"a": [1, "x"]},
            "symbol": "BTC",
            "exception.type": "ValueError",
            "exception.message": "no",
            "exception.stacktrace": "Traceback",
        },
    )
    expected = encode_logs([ReadableLogRecord(official, Resource({}))]).resource_logs[0].scope_logs[0].log_records[0]
    fields = {
        "level": "WARNING", "logger": "bot", "message": "sold é", "file": "bot.py", "line": 7, "function": "on_bar",
        "thread": "MainThread", "exception": {"type": "ValueError", "message": "no", "stack": "Traceback"}, "px": 1.5,
        "ok": True, "n": -3, "deep": {"a": [1, "x"]}, "symbol": "BTC", "nothing": None,
        "trace_id": f"{trace_id:032x}", "span_id": f"{span_id:016x}",
    }  # fmt: skip
    for _ in range(2):  # the second time from what was remembered
        found = LogRecord.FromString(otlp.encode(1_767_323_045_000_000_001, logging.WARNING, fields))
        for record in (found, expected):
            pairs = sorted(record.attributes, key=lambda pair: pair.key)
            del record.attributes[:]
            record.attributes.extend(pairs)
        assert found == expected


@pytest.mark.parametrize(
    ("level", "severity"),
    [(0, 0), (1, 2), (5, 4), (10, 5), (20, 9), (25, 12), (30, 13), (40, 17), (50, 21), (90, 24), (-5, 0)],
)
def test_severities(level, severity):
    assert LogRecord.FromString(otlp.encode(0, level, {})).severity_number == severity


def test_odd_values_are_encoded():
    deep = value = {}
    for _ in range(150):
        value["in"] = value = {}
    fields = {"message": None, "trace_id": 7, "span_id": "xyz", "big": 2**64 - 1, "deep": deep, "list": [None, []]}
    found = LogRecord.FromString(otlp.encode(-1, 20, fields))
    assert found.trace_id == found.span_id == b""
    values = {pair.key: pair.value for pair in found.attributes}
    assert values["big"].string_value == str(2**64 - 1)
    assert values["list"].array_value.values[1].array_value.values == []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_records_arrive_at_a_collector(tmp_path, protocol, monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    with OtlpReceiver(protocol) as receiver:
        logger = bot_logger(logs.Handler(otlp=True, level="INFO"))
        with botobs.start("bot", data_dir=tmp_path, bot_version="1.2", otlp_endpoint=receiver.endpoint) as obs:
            with botobs.tick("BTC", bar_id=7) as tick, botobs.decision():
                logger.warning("hot %s", "stuff", extra={"api_key": "k-1", "px": 1.5})
            logger.info("outside")
            logger.debug("too low")
            assert obs.flush()
            assert receiver.wait("logs", 2) == 2
            assert receiver.wait("spans", 2) >= 2
            logger.error("at the end")
        assert receiver.wait("logs", 3) == 3
        contents = receiver.contents()
    requests = contents["logs"]
    resource = {a["key"]: a["value"] for a in requests[0]["resource_logs"][0]["resource"]["attributes"]}
    assert resource["service.name"] == {"string_value": "bot"}
    assert resource["service.version"] == {"string_value": "1.2"}
    scopes = [s for r in requests for s in r["resource_logs"][0]["scope_logs"]]
    assert {s["scope"]["name"] for s in scopes} == {logger.name}
    first, second, _ = [record for s in scopes for record in s["log_records"]]
    values = {a["key"]: next(iter(a["value"].values())) for a in first["attributes"]}
    assert first["body"] == {"string_value": "hot stuff"}
    assert (first["severity_number"], first["severity_text"]) == ("SEVERITY_NUMBER_WARN", "WARNING")
    assert (values["api_key"], values["px"], values["symbol"]) == ("[redacted]", 1.5, "BTC")
    assert values["code.file.path"] == __file__
    assert "trace_id" not in second
    spans = {
        span["name"]: span
        for r in contents["traces"]
        for s in r["resource_spans"][0]["scope_spans"]
        for span in s["spans"]
    }
    assert first["trace_id"] == spans["decision"]["trace_id"]
    assert first["span_id"] == spans["decision"]["span_id"]
    assert tick.why
    assert otlp._outs == {}


@pytest.mark.parametrize("mode", ["refuse", "hang", "503"])
def test_a_dead_collector_holds_nobody_up_and_the_loss_is_counted(tmp_path, mode, monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with OtlpReceiver(mode="ok") as receiver:
        receiver.mode(mode)
        logger = bot_logger(logs.Handler(otlp=True))
        obs = botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint)
        for _ in range(10):
            logger.info("nobody hears")
        begun = time.monotonic()
        assert not obs.flush(0.2)
        assert not obs.shutdown(0.2).delivered
        assert time.monotonic() - begun < 0.4 + SLACK_S
        assert obs.faults.drops == {"otlp-logs": 10}
        assert len(lines(tmp_path)) == 10


def test_the_queue_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10")
    with OtlpReceiver() as receiver:
        receiver.mode("503")
        logger = bot_logger(logs.Handler(otlp=True, stream=None))
        with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint) as obs:
            for _ in range(500):
                logger.info("many")
            (out,) = otlp._outs.values()
            assert out.counts.pending <= 110
            assert obs.faults.drops["otlp-logs"] >= 390
            receiver.mode("ok")
            assert out.flush(soon())
            counts = out.counts
            assert counts.delivered + counts.dropped == 500
            assert receiver.wait("logs", counts.delivered) == counts.delivered


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, None),
        ({"OTEL_BLRP_MAX_QUEUE_SIZE": "many"}, "OTEL_BLRP_MAX_QUEUE_SIZE"),
        ({"OTEL_LOGS_EXPORTER": "none"}, None),
    ],
)
def test_without_a_collector_or_with_a_wrong_setting_the_stream_goes_on(tmp_path, monkeypatch, env, said):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    logger = bot_logger(logs.Handler(otlp=True))
    endpoint = "http://127.0.0.1:1" if env else None
    with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=endpoint) as obs:
        for _ in range(3):
            logger.info("on disk all the same")
        assert obs.faults.errors == ({"logs": 1} if said else {})
        assert said is None or said in obs.faults.last_error
        obs.flush(0.1)
    assert len(lines(tmp_path)) == 3


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.002)


def test_many_threads_make_one_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    earlier = set(threading.enumerate())

    def senders():
        return [one for one in set(threading.enumerate()) - earlier if one.name == "botobs-otlp"]

    with OtlpReceiver() as receiver:
        logger = bot_logger(logs.Handler(otlp=True, stream=None))
        with botobs.start("bot", data_dir=tmp_path, otlp_endpoint=receiver.endpoint) as obs:
            before = len(obs._delivery._attached)
            barrier = threading.Barrier(8)

            def work():
                barrier.wait(20)
                for _ in range(50):
                    logger.info("x")

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert obs.flush()
            assert receiver.wait("logs", 400) == 400
            assert len(otlp._outs) == len(obs._delivery._attached) - before == 1
            until(lambda: len(senders()) == 2)  # that of the spans and one for records: the others were in vain
        until(lambda: not senders())


def test_orjson_reads_every_line(tmp_path):
    logger = bot_logger(logs.Handler())
    with botobs.start("bot", data_dir=tmp_path):
        for n in range(200):
            logger.info("line %d\nwith a break \u2028 and \x00", n)
    raw = (tmp_path / "logs" / "logs.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["message"].split()[1] for line in raw if line] == [str(n) for n in range(200)]


def test_what_botobs_says_is_one_line_that_any_handler_can_write(caplog):
    Faults().say("here", "cause", "a reason\nWARNING with \ud800, \0 and an ü")
    assert caplog.messages == [r"botobs: a reason\nWARNING with \ud800, \x00 and an ü"]
