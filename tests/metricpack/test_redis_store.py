"""The state in Redis: together or not at all, by one process at a time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botobs.metricpack.redis_store import RedisStore
from botobs.metricpack.store import Fenced, State, StoreTrouble
from tests.servers.redis import SERVER, RedisServer

pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(server):
    client = server.client()
    client.flushall()
    yield client
    client.close()


class Steady:
    """A steady clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady():
    return Steady()


@pytest.fixture
def open_store(server, client, steady):
    stores = []

    def opened():
        stores.append(RedisStore(server.url, steady=steady))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def test_what_is_committed_is_loaded(open_store, client):
    store = open_store()
    fence = store.lease("me", 5)
    assert store.load(fence) == State({}, None)
    store.commit({"a": b"1", "b": b"\x00\xff", 'ü/"x': b""}, "5-0", fence)
    store.commit({"a": None, "c": b"3", "none": None}, "6-0", fence)
    wanted = State({"b": b"\x00\xff", 'ü/"x': b"", "c": b"3"}, "6-0")
    assert store.load(fence) == wanted
    assert client.get("quantum:metricpack:last_id") == b"6-0"
    store.release("me")
    other = open_store()
    assert other.load(other.lease("you", 5)) == wanted
    other.release("you")
    third = open_store()
    third.clear(third.lease("they", 5))  # without a look at what there is
    assert third.load(3) == State({}, None)
    third.commit({"e": b"5"}, "7-0", 3)
    third.release("they")
    other.lease("you", 5)
    assert other.load(4) == State({"e": b"5"}, "7-0")
    other.clear(4)
    assert other.load(4) == State({}, None)
    other.commit({"d": b"4"}, None, 4)
    assert other.load(4) == State({"d": b"4"}, None)


def test_much_at_once(open_store):
    store = open_store()
    fence = store.lease("me", 5)
    many = {f"p/{n}": b"%d" % n for n in range(20_003)}
    store.commit(many, "1-0", fence)
    store.commit({key: None for key in list(many)[:9_001]}, "2-0", fence)
    assert store.load(fence) == State(dict(list(many.items())[9_001:]), "2-0")


def test_the_lease_is_one_processs_until_it_misses_its_beats(open_store, steady):
    one, two, three = open_store(), open_store(), open_store()
    assert one.lease("one", 5) == 1
    assert two.lease("two", 5) is None
    steady.now += 4.9
    assert two.lease("two", 5) is None
    assert one.lease("one", 5) == 1  # a beat
    steady.now += 4.9
    assert two.lease("two", 5) is None, "it has seen a beat since"
    assert three.lease("three", 5) is None
    steady.now += 5.0
    assert two.lease("two", 5) == 2
    assert three.lease("three", 5) is None, "another one was quicker"
    assert one.lease("one", 5) is None
    two.release("one")
    assert one.lease("one", 5) is None, "only the holder can give it up"
    two.release("two")
    assert one.lease("one", 5) == 3


def test_whoever_lost_the_lease_writes_nothing(open_store, steady, client):
    one, two = open_store(), open_store()
    one.lease("one", 5)
    one.commit({"a": b"1"}, "1-0", 1)
    two.lease("two", 5)
    steady.now += 6
    assert two.lease("two", 5) == 2
    assert two.load(2) == State({"a": b"1"}, "1-0")
    for refused in (
        lambda: one.commit({"a": b"2"}, "2-0", 1), lambda: one.load(1), lambda: one.clear(1),
        lambda: one.commit({"a": b"2"}, "2-0", 2),
    ):  # fmt: skip
        with pytest.raises(Fenced):
            refused()
    assert two.load(2) == State({"a": b"1"}, "1-0")
    two.commit({"a": b"3"}, "3-0", 2)
    client.flushall()  # fence 1 again: that of another life
    assert one.lease("one", 5) == 1
    with pytest.raises(Fenced):
        two.commit({"a": b"4"}, "4-0", 1)


def test_a_server_that_came_back_with_less_is_noticed(open_store, client):
    store = open_store()
    fence = store.lease("me", 5)
    store.commit({"a": b"1", "b": b"1"}, "1-0", fence)
    before = {key: client.dump(key) for key in client.keys()}
    store.commit({"a": b"2"}, "2-0", fence)
    store.commit({"c": b"3"}, "3-0", fence)
    for key, kept in before.items():
        client.restore(key, 0, kept, replace=True)
    with pytest.raises(Fenced, match="less than it had"):
        store.commit({"b": b"4"}, "4-0", fence)
    assert store.lease("me", 5) == fence + 1, "a new fence, so that everybody loads anew"
    assert store.load(fence + 1) == State({"a": b"1", "b": b"1"}, "1-0")
    store.commit({"b": b"5"}, "5-0", fence + 1)
    assert store.load(fence + 1).values["b"] == b"5"


def test_a_commit_that_is_tried_again_says_the_same(open_store, server, monkeypatch):
    store = open_store()
    fence = store.lease("me", 5)
    store.commit({"a": b"1"}, "1-0", fence)
    real = store._link.calls

    def lost(commands):  # it is done, and the answer does not arrive
        real(commands)
        store._link.drop()
        from botobs.sinks.redis import LinkTrouble

        raise LinkTrouble("cut off")

    monkeypatch.setattr(store._link, "calls", lost)
    for _ in range(3):
        with pytest.raises(StoreTrouble, match="cut off"):
            store.commit({"a": b"2", "b": b"2"}, "2-0", fence)
    monkeypatch.undo()
    store.commit({"a": b"2", "b": b"2"}, "2-0", fence)
    store.commit({"c": b"3"}, "3-0", fence)
    assert store.load(fence) == State({"a": b"2", "b": b"2", "c": b"3"}, "3-0")


@pytest.mark.parametrize("key", ["state", "last_id", "lease"])
def test_keys_of_another_kind_are_damage_and_are_left_alone(open_store, client, key):
    name = f"quantum:metricpack:{key}"
    client.rpush(name, "somebody's")
    store = open_store()
    with pytest.raises(StoreTrouble):
        fence = store.lease("me", 5)
        store.commit({"a": b"1"}, "1-0", fence)
        store.load(fence)
    assert key == "last_id" or client.lrange(name, 0, -1) == [b"somebody's"]


@pytest.mark.parametrize("gone", ["state", "last_id", "lease"])
def test_a_key_that_was_evicted_is_noticed(open_store, client, gone):
    """A server that throws keys away must not make half a state look like a whole one."""
    store = open_store()
    fence = store.lease("me", 5)
    store.commit({"a": b"1"}, "1-0", fence)
    client.delete(f"quantum:metricpack:{gone}")
    with pytest.raises((Fenced, StoreTrouble)):
        store.commit({"b": b"2"}, "2-0", fence)
    fence = store.lease("me", 5)
    if gone == "lease":  # it says nothing of the state
        assert store.load(fence) == State({"a": b"1"}, "1-0")
        return
    with pytest.raises(StoreTrouble, match="damaged"):
        store.load(fence)
    store.clear(fence)
    assert store.load(fence) == State({}, None)


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), st.none() | st.binary(max_size=9)), max_size=12), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_what_a_dictionary_would_be(server, commits, data):
    client = server.client()
    client.flushall()
    client.close()
    store, known, position, fence = RedisStore(server.url), {}, None, None
    for n, changes in enumerate(commits):
        if fence is None or data.draw(st.booleans()):
            store.close()
            store = RedisStore(server.url)
            fence = store.lease("me", 5)
            assert store.load(fence) == State(known, position)
        position = f"{n}-0"
        store.commit(changes, position, fence)
        known = {key: value for key, value in {**known, **changes}.items() if value is not None}
    if fence is not None:
        assert store.load(fence) == State(known, position)
    store.close()
