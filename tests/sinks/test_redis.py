"""The bot's records and executions in Redis: all of them, in order, and never at the bot's expense."""

from __future__ import annotations

import json
import logging
import os
import sys
import time

import pytest

import botobs
from botobs.faults import Faults
from botobs.metricpack.builder import Builder
from botobs.metricpack.ledger import LedgerSource
from botobs.metricpack.redis_source import RedisSource
from botobs.sinks.redis.executions import Executions
from botobs.sinks.redis.publisher import RedisPublisher
from tests.servers.redis import SERVER, RedisServer, until
from tests.slack import SLACK_S
from tests.soak.redis_bot import publishing_rounds

pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server")
EXECUTIONS = "quantum:stream:apply.result"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared):
    """The server, empty and without limits."""
    client = shared.client()
    client.flushall()
    client.close()
    return shared


@pytest.fixture
def client(server):
    client = server.client()
    yield client
    client.close()


def start(tmp_path, server, **settings):
    return botobs.start("b", data_dir=tmp_path / "data", redis_url=server.url, starting_equity=1000, **settings)


def trade(obs, n, symbol="BTC-USD"):
    """An entry in two fills, a partial exit and the close."""
    entry = obs.order(symbol, "buy", "1", decision_px=100, plan_id=f"p{n}", action="ENTRY")
    obs.fill(entry, price="100", qty="0.4", fee="0.01", fill_id=f"a{n}")
    obs.fill(entry, price="101", qty="0.6", fee="0.01")
    out = obs.order(symbol, "sell", "0.5", decision_px=100, plan_id=f"p{n}", action="PARTIAL_50", reduces=True)
    obs.fill(out, price=str(102 + n % 3), qty="0.5", fee="0.02", fill_id=f"b{n}")
    out = obs.order(symbol, "sell", "0.5", decision_px=100, plan_id=f"p{n}", reason="stop_loss", reduces=True)
    obs.fill(out, price=str(99 - n % 2), qty="0.5", fee="0.02", fill_id=f"c{n}")


def built(source):
    builder = Builder()
    source.begin(None)
    while True:
        batch = source.take(50, 0)
        for raw in batch.events:
            builder.take(raw)
        if not batch.behind:
            source.close()
            break
    counts = dict(builder.memory.counts)
    return builder.by_action, builder.by_regime, counts, builder.open_trades


def packed(found):
    actions, regimes, counts, open_trades = found
    return (
        {key: tally.packed() for key, tally in actions.items()}, {key: tally.packed() for key, tally in regimes.items()},
        counts, open_trades,
    )  # fmt: skip


def test_bot_to_redis_to_the_pack_is_what_the_ledger_says(tmp_path, server, client):
    with start(tmp_path, server) as obs:
        obs.position("ETH-USD", "2", "50")
        for n in range(12):
            trade(obs, n, f"S{n % 3}-USD")
        obs.fill(symbol="ETH-USD", side="sell", qty="0.5", price="60", fee="0.001", fee_asset="ETH")
        obs.funding("ETH-USD", "-0.25")
        obs.fill(symbol="ETH-USD", side="sell", qty="1", price="61", fill_id="taken")
        obs.void("taken", "bust")
        assert obs.flush()
    from_redis, from_ledger = built(RedisSource(server.url, EXECUTIONS)), built(LedgerSource(tmp_path / "data"))
    assert packed(from_redis) == packed(from_ledger)
    counts = from_redis[2]
    assert (counts["closed"], counts["events"]) == (12, 12 * 4 + 5)
    assert ("S0-USD", "unknown", "PARTIAL_50") in from_redis[0]
    assert ("S0-USD", "unknown", "STOP_LOSS") in from_redis[0]
    first = client.xrange(EXECUTIONS, count=3)[1][1]
    assert {key.decode(): value.decode() for key, value in first.items() if key not in (b"time", b"order_id")} == {
        "bot": "b", "symbol": "S0-USD", "type": "fill", "executed": "true", "side": "buy", "quantity": "0.4",
        "price": "100", "reduceOnly": "false", "fill_id": "a0-seq-2", "fee": "0.01", "fee_in": "quote", "plan_id": "p0",
        "action": "ENTRY",
    }  # fmt: skip


def test_records_are_published_as_they_are_written(tmp_path, server, client):
    with start(tmp_path, server, redis_prefix="desk", redis_field="record", redis_stream="mine") as obs:
        for n in range(300):
            with botobs.tick("BTC-USD", bar_id=n) as tick:
                tick.signal(model=n, api_key="hidden")
        obs.event("Notes of Mine", text="ü", token="hidden")
        obs.event(["odd"], n=1)
        trade(obs, 1)
    for stream in ("signals", "execution", "costs", "notes_of_mine", "other", "trade_lifecycle", "runs"):
        lines = (tmp_path / "data" / "logs" / f"{stream}.jsonl").read_bytes().splitlines()
        said = [fields for _, fields in client.xrange(f"desk:b:{stream}")]
        assert [fields[b"record"] for fields in said] == lines, stream
    assert len(client.xrange("desk:b:signals")) == 300
    assert client.xlen("mine") == 4
    assert b"hidden" not in b"".join(map(client.dump, client.keys()))
    assert json.loads(client.xrevrange("desk:b:runs")[0][1][b"record"])["event"] == "run_ended"


def test_streams_are_bounded(tmp_path, server, client):
    with start(tmp_path, server, redis_maxlen=100, redis_stream_maxlen=50, durability="os") as obs:
        for n in range(1000):
            obs.event("notes", n=n)
            if n % 4 == 0:
                obs.fill(symbol="BTC-USD", side="buy", price=1, qty=1)
        assert obs.flush()
        assert 50 <= client.xlen(EXECUTIONS) <= 200
        assert 100 <= client.xlen("botobs:b:notes") <= 300
        assert json.loads(client.xrevrange("botobs:b:notes", count=1)[0][1][b"json"])["n"] == 999


def test_a_server_that_dies_comes_back_and_is_full(tmp_path):
    """Executions are there once each, in the end; records as well, as the queue was long enough."""
    with RedisServer(tmp_path / "redis") as server, start(tmp_path, server) as obs:
        client = server.client()
        trade(obs, 0)
        assert obs.flush()
        server.kill()
        begun = time.perf_counter()
        for n in range(1, 6):
            trade(obs, n)
        for n in range(500):
            obs.event("notes", n=n)
        assert time.perf_counter() - begun < 2 + SLACK_S, "the bot waits for nobody"
        assert not obs.flush(0.3)
        assert not obs.faults.drops
        server.start()
        until(lambda: client.ping())
        client.config_set("maxmemory", 1)
        trade(obs, 6)
        assert not obs.flush(0.5)
        client.config_set("maxmemory", 0)
        assert obs.flush(10)
        said = [fields[b"fill_id"] for _, fields in client.xrange(EXECUTIONS)]
        assert len(said) == len(set(said)) == 7 * 4
        notes = [json.loads(fields[b"json"])["n"] for _, fields in client.xrange("botobs:b:notes")]
        assert notes == list(range(500))
        server.pause()
        begun = time.monotonic()
        trade(obs, 7)
        assert not obs.flush(0.2)
        assert not obs.shutdown(0.3)
        assert time.monotonic() - begun < 0.5 + SLACK_S
        server.go_on()
        client.close()


def test_what_was_not_published_is_published_by_the_next_run(tmp_path, caplog):
    with RedisServer(tmp_path / "redis") as server:
        with botobs.start("b", data_dir=tmp_path / "data", starting_equity=1000) as obs:
            trade(obs, 0)  # before Redis was configured: this stays where it is
        server.kill()
        for n in (1, 2):  # runs that never reach the server, the first ones that know of it
            obs = start(tmp_path, server)
            trade(obs, n)
            assert not obs.shutdown(0.2)
        server.start()
        with start(tmp_path, server) as obs:
            trade(obs, 3)
            client = server.client()
            until(lambda: client.xlen(EXECUTIONS) == 12)
            assert obs.flush()
        plans = [fields[b"plan_id"] for _, fields in client.xrange(EXECUTIONS)]
        assert plans == [b"p1"] * 4 + [b"p2"] * 4 + [b"p3"] * 4
        client.close()


def test_a_bot_that_is_killed_publishes_each_execution_once(tmp_path):
    assert publishing_rounds(tmp_path, 2, seed=3)["executions"]


# --- the queue


def publisher(url, faults=None, **more):
    return RedisPublisher(url, faults or Faults(), bot="b", **more)


def test_a_full_queue_drops_and_counts_the_least_important_first(server):
    faults = Faults()
    sink = publisher(server.url, faults, queue_size=100)  # nobody takes anything out yet
    for n in range(200):
        sink.put("order_book", b"{}")  # of low importance: half of the room
    for n in range(200):
        sink.put("signals", b"{}")
    for n in range(200):
        sink.put("execution", b"{}")
    assert sink.counts.pending == 100
    sink.start()
    assert not sink.flush(time.monotonic() + 0) and sink.flush(time.monotonic() + 10)
    client = server.client()
    there = {name: client.xlen(f"botobs:b:{name}") for name in ("order_book", "signals", "execution")}
    client.close()
    assert there == {"order_book": 50, "signals": 30, "execution": 20}
    assert faults.drops == {"redis": 500}
    assert sink.counts == (counts := sink.counts) and (counts.delivered, counts.pending, counts.dropped) == (
        100,
        0,
        500,
    )
    assert sink.close(time.monotonic() + 5)
    for stream in ("late", None, {}, 5, "x" * 1000):
        sink.put(stream, b"{}")


def test_what_waits_at_the_end_is_counted(tmp_path):
    faults = Faults()
    sink = publisher("redis://:hid-den@127.0.0.1:1", faults)
    sink.start()
    for n in range(10):
        sink.put("notes", b"{}")
    assert not sink.close(time.monotonic() + 0.1)
    assert faults.drops == {"redis": 10}
    assert sink.trouble and "hid-den" not in sink.trouble


def test_keys_of_another_kind_lose_what_is_meant_for_them_alone(server, client):
    faults = Faults()
    client.set("botobs:b:notes", "a text")
    sink = publisher(server.url, faults)
    sink.start()
    for n in range(5):
        sink.put("notes", b"{}")
        sink.put("costs", b"{}")
    assert not sink.flush(time.monotonic() + 10), "some were lost"
    assert faults.drops == {"redis": 5} and client.xlen("botobs:b:costs") == 5
    assert sink.flush(time.monotonic() + 10)
    assert sink.close(time.monotonic() + 10)
    assert client.get("botobs:b:notes") == b"a text"


def test_executions_wait_until_their_key_is_a_stream(tmp_path, server, client):
    client.set(EXECUTIONS, "a text")
    with start(tmp_path, server) as obs:
        trade(obs, 1)
        assert not obs.flush(0.2)
        client.delete(EXECUTIONS)
        assert obs.flush()
    assert client.xlen(EXECUTIONS) == 4


# --- safety


def test_no_password_anywhere(tmp_path, server, client, caplog):
    caplog.set_level(logging.DEBUG)
    client.config_set("requirepass", "r1ght-s3cret")
    try:
        wrong = server.url.replace("//", "//me:wr0ng-s3cret@")
        obs = botobs.start("b", data_dir=tmp_path / "data", redis_url=wrong, starting_equity=1)
        trade(obs, 1)
        assert not obs.flush(0.3)
        told = [repr(obs), repr(obs.settings), repr(obs._redis), obs._redis.trouble, repr(obs._redis._link)]
        obs.shutdown(0.1)
    finally:
        client.execute_command("AUTH", "r1ght-s3cret")
        client.config_set("requirepass", "")
    assert "wait" in caplog.text and "s3cret" not in caplog.text + str(told)
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes()


def test_a_forked_child_publishes_nothing_and_takes_nothing_away(tmp_path, server, client):
    with start(tmp_path, server) as obs:
        obs.event("notes", who="parent")
        assert obs.flush()
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            obs.event("notes", who="child")
            obs.flush(0.1)
            obs.shutdown(0.1)
            obs._redis.put("notes", b"{}")
            os.write(write, b"done" if not obs._redis.counts.pending else b"kept")
            os._exit(0)
        os.close(write)
        assert os.read(read, 10) == b"done"
        os.close(read)
        os.waitpid(pid, 0)
        obs.event("notes", who="parent")
        trade(obs, 1)
        assert obs.flush()
    who = [json.loads(fields[b"json"])["who"] for _, fields in client.xrange("botobs:b:notes")]
    assert who == ["parent", "parent"] and client.xlen(EXECUTIONS) == 4


def test_without_the_extra_start_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(botobs.ConfigError, match=r"pip install 'botobs\[redis\]'"):
        botobs.start("b", data_dir=tmp_path / "data", redis_url="redis://localhost")
    with botobs.start("b", data_dir=tmp_path / "data") as obs:  # whoever wants no Redis needs none
        assert obs._redis is None


def test_a_backtest_uses_no_network(tmp_path, server, client):
    clock = iter(range(10**9, 10**12, 10**6))
    with botobs.start(
        "b", data_dir=tmp_path / "data", mode="backtest", clock=lambda: next(clock), redis_url=server.url
    ) as obs:
        obs.event("notes", n=1)
    assert client.keys() == []


def test_a_start_that_cannot_be_read_or_kept_is_said(tmp_path):
    since = tmp_path / "state" / "redis.since"

    def begun():
        return Executions(
            LedgerSource(tmp_path), None, stream="s", checkpoint="c", maxlen=1, bot="bot", since=since
        )  # fmt: skip

    with botobs.start("bot", data_dir=tmp_path, durability="os") as obs:
        obs.fill(symbol="BTC", side="buy", price=1, qty=1)
    assert begun().lost is None and since.read_text()
    assert begun().lost is None
    since.write_bytes(b"\xff")
    assert begun().lost.startswith("redis.since cannot be read (")
    assert begun().lost is None, "it was kept anew"
    since.unlink()
    since.with_name("redis.since.tmp").mkdir()
    assert begun().lost.startswith("redis.since cannot be kept (")
