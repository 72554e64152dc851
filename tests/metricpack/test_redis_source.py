"""Reading a Redis stream: every entry once, in order, from the checkpoint on, and nothing is ever written to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from botobs.errors import ConfigError
from botobs.metricpack.redis_source import RedisSource
from botobs.metricpack.source import SourceTrouble
from tests.servers.redis import SERVER, RedisServer
from tests.soak.processes import environment

pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server")
GROUP = "metricpack_builder"


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


@pytest.fixture
def source(server):
    source = RedisSource(server.url, "s", GROUP, "me")
    yield source
    source.close()


def add(client, *values, **how):
    return [client.xadd("s", {"v": value}, **how).decode() for value in values]


def values(batch):
    return [int(raw.fields[b"v"]) for raw in batch.events]


def everything(source, most=3):
    found = []
    while True:
        batch = source.take(most, 0)
        found += values(batch)
        assert batch.lost is None
        if not batch.behind:
            return found


def test_entries_come_once_and_in_order_however_they_are_split(client, source):
    ids = add(client, *range(10))
    for most in (1, 3, 10, 100):
        source.begin(None)
        assert everything(source, most) == list(range(10))
        assert source.progress() == (10, 10, "events")
    for n, position in enumerate(ids):
        source.begin(position)
        assert everything(source) == list(range(n + 1, 10))
        batch = source.take(5, 0)
        assert (batch.events, batch.position) == ([], ids[-1])
    source.begin(None)
    first = source.take(2, 0)
    assert [raw.position for raw in first.events] == ids[:2] and first.position == ids[1] and first.behind
    assert first.events[0].at_ns == int(ids[0].split("-")[0]) * 1_000_000


def test_from_the_end_only_what_is_new(client, source):
    add(client, 1, 2)
    source.begin(None, end=True)
    assert not source.take(5, 0.01).events
    add(client, 3)
    assert values(source.take(5, 0.2)) == [3]


def test_a_stream_that_is_not_there_yet(client, source):
    source.begin(None)
    assert source.take(5, 0.01) == ((), None, False, None)
    assert not client.exists("s"), "a source makes no stream"
    add(client, 1)
    assert values(source.take(5, 0.2)) == [1]


def test_waiting_ends_when_an_entry_comes(client, source, server):
    source.begin(None)
    add(client, 1)
    everything(source)
    waited = source.take(5, 0.05)
    assert waited.events == ()
    other = server.client()
    with other.pipeline(transaction=False) as pipe:
        for n in range(5):
            pipe.xadd("s", {"v": n})
        pipe.execute()
    other.close()
    assert values(source.take(5, 0.2)) == [0, 1, 2, 3, 4]


def test_nothing_is_written_to_the_stream(client, source):
    add(client, *range(50))
    before = client.xinfo_stream("s"), client.xrange("s"), client.info("commandstats")
    source.begin(None)
    for _ in range(5):
        batch = source.take(10, 0)
        source.committed(batch.position)
    source.take(10, 0.01)
    source.begin(batch.position)
    after = client.xinfo_stream("s"), client.xrange("s"), client.info("commandstats")
    for told in (before[0], after[0]):
        del told["groups"]
    assert after[:2] == before[:2]
    for command in ("cmdstat_xadd", "cmdstat_xtrim", "cmdstat_xdel", "cmdstat_xsetid", "cmdstat_del"):
        assert after[2].get(command, {}).get("calls") == before[2].get(command, {}).get("calls")


def test_what_is_saved_is_acknowledged_and_what_is_not_is_pending(client, source):
    ids = add(client, *range(6))
    source.begin(None)
    source.take(4, 0)
    source.committed(ids[2])
    source.take(1, 0)
    assert [entry["message_id"].decode() for entry in client.xpending_range("s", GROUP, "-", "+", 10)] == ids[3:5]
    (group,) = client.xinfo_groups("s")
    assert (group["lag"], group["entries-read"]) == (1, 5)
    source.committed(ids[4])
    everything(source)
    source.committed(ids[5])
    source.take(1, 0.01)
    assert client.xpending("s", GROUP)["pending"] == 0
    source.close()
    assert client.xinfo_consumers("s", GROUP) == []


def test_what_a_dead_consumer_left_is_taken_over(client, server, source):
    ids = add(client, *range(10))
    dead = RedisSource(server.url, "s", GROUP, "dead")
    dead.begin(None)
    dead.take(7, 0)
    source.begin(ids[3])
    assert [each["name"] for each in client.xinfo_consumers("s", GROUP)] == [b"me"]
    assert everything(source) == [4, 5, 6, 7, 8, 9]
    source.committed(ids[9])
    source.take(1, 0.01)
    assert client.xpending("s", GROUP)["pending"] == 0
    # it was only asleep, and reads on: that moves the group, and nobody cares
    add(client, 10, 11)
    dead.take(100, 0)
    assert everything(source) == [10, 11]
    dead.close()


def test_a_group_that_somebody_destroys_or_moves_changes_nothing(client, source):
    add(client, *range(4))
    source.begin(None)
    assert values(source.take(2, 0)) == [0, 1]
    client.xgroup_setid("s", GROUP, "$")
    assert values(source.take(1, 0)) == [2]
    client.xgroup_destroy("s", GROUP)
    assert everything(source) == [3]


def test_a_user_who_may_only_read_needs_no_group(client, server):
    add(client, *range(4))
    client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~s", "+@read", "+multi", "+exec", "+@connection")
    url = server.url.replace("//", "//reader:pw@")
    reader = RedisSource(url, "s", "")
    reader.begin(None)
    assert everything(reader) == [0, 1, 2, 3]
    reader.committed(reader.take(1, 0).position)
    reader.close()
    grouped = RedisSource(url, "s", GROUP)
    with pytest.raises(SourceTrouble, match="(?i)no permission|NOPERM"):
        grouped.begin(None)
    grouped.close()


# --- what is missing


def trimmed(client, keep):
    client.xtrim("s", maxlen=keep, approximate=False)


def test_trimmed_beyond_where_it_stands_is_said_with_the_number(client, source):
    add(client, *range(10))
    source.begin(None)
    everything(source)
    add(client, *range(10, 30))
    trimmed(client, 5)
    batch = source.take(100, 0)
    assert values(batch) == [25, 26, 27, 28, 29]
    assert "trimmed beyond the checkpoint" in batch.lost and "15 entries are gone unread" in batch.lost
    assert source.take(100, 0).lost is None
    add(client, 30)
    trimmed(client, 0)
    assert "is empty, 1 entries are gone" in source.take(100, 0).lost


def test_trimmed_just_up_to_where_it_stands_is_nothing(client, source, server):
    ids = add(client, *range(10))
    source.begin(None)
    everything(source)
    add(client, 10, 11)
    trimmed(client, 2)
    assert everything(source) == [10, 11]
    trimmed(client, 0)
    assert source.take(5, 0.01) == ((), source.take(5, 0).position, False, None)
    source.committed(source.take(5, 0).position)
    source.close()
    again = RedisSource(server.url, "s", GROUP, "again")
    again.begin(source.take(1, 0).position)
    add(client, 12)
    assert everything(again) == [12]
    again.close()
    assert ids


def test_trimmed_while_nobody_read_is_said_at_the_next_start(client, source):
    ids = add(client, *range(10))
    trimmed(client, 3)
    source.begin(ids[2])
    batch = source.take(100, 0)
    assert values(batch) == [7, 8, 9] and "trimmed beyond the checkpoint" in batch.lost
    source.begin(ids[6])  # the last one that went: nobody can tell here, and too much is said rather than too little
    assert "are gone unread" in source.take(100, 0).lost
    source.begin(ids[8])
    assert everything(source) == [9]
    source.begin(None)
    assert everything(source) == [7, 8, 9], "the beginning is that of what there is"


def test_a_burst_that_was_trimmed_before_the_first_look_is_said(client, source):
    source.begin(None)
    assert source.take(5, 0.01).lost is None
    add(client, *range(20))
    trimmed(client, 5)
    batch = source.take(100, 0.2)
    assert values(batch) == [15, 16, 17, 18, 19] and "15 entries" in batch.lost


def test_a_stream_that_was_replaced_is_said(client, source):
    add(client, *range(3))
    source.begin(None)
    everything(source)
    client.delete("s")
    batch = source.take(5, 0.01)
    assert batch.events == () and batch.position is None and "not there any more" in batch.lost
    add(client, 7)
    assert everything(source) == [7]
    client.delete("s")
    add(client, 8, id="9999999999999-0")
    batch = source.take(5, 0)
    assert values(batch) == [8] and "was replaced" in batch.lost


def test_a_stream_that_ends_before_the_checkpoint_is_said_and_gone_on_with(client, source):
    add(client, 1)
    source.begin("99999999999999-0")
    batch = source.take(5, 0)
    assert batch.events == () and "before the checkpoint 99999999999999-0" in batch.lost
    assert everything(source) == []
    add(client, 2)
    assert everything(source) == [2]
    # and also while it waits
    source.begin("99999999999999-0")
    source._behind = False
    assert "before the checkpoint" in source.take(5, 0.01).lost


def test_a_server_before_redis_7_that_does_not_count(client, source, monkeypatch):
    seen = source._seen
    monkeypatch.setattr(source, "_seen", lambda answer: (it := seen(answer)) and it._replace(gone=None, added=None))
    ids = add(client, *range(10))
    source.begin(None)
    assert everything(source) == list(range(10)) and source.progress() is None
    source.begin(ids[3])
    assert everything(source) == [4, 5, 6, 7, 8, 9]
    add(client, *range(10, 20))
    trimmed(client, 4)
    batch = source.take(100, 0)
    assert values(batch) == [16, 17, 18, 19] and "entries are gone unread" in batch.lost
    assert source.take(100, 0).lost is None
    add(client, 20)
    trimmed(client, 0)
    assert "is empty" in source.take(100, 0).lost
    assert source.take(100, 0).lost is None
    add(client, 21)
    assert values(source.take(5, 0)) == [21], "whether something was lost before it nobody can tell"


# --- trouble


def test_trouble_says_why_and_never_the_password(client, server, tmp_path):
    secret = "pass%2Fword-1"
    wrong = RedisSource(server.url.replace("//", f"//:{secret}@"), "s")
    with pytest.raises(SourceTrouble) as told:
        wrong.begin(None)
    gone = RedisSource(f"redis://u:{secret}@127.0.0.1:1/0?client_name=hidden", "s")
    with pytest.raises(SourceTrouble, match="(?i)refused") as also:
        gone.begin(None)
    for text in (str(told.value), str(also.value), repr(gone._link), gone.name, wrong.name):
        assert "word-1" not in text and "hidden" not in text
    with pytest.raises(SourceTrouble, match="of another stream"):
        gone.begin("12:abcdef")
    gone.close()
    client.set("s", "a text")
    typed = RedisSource(server.url, "s")
    with pytest.raises(SourceTrouble, match="WRONGTYPE"):
        typed.begin(None)
        typed.take(1, 0)
    typed.close()


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'botobs\[redis\]'"):
        RedisSource("redis://localhost", "s")


def test_a_unix_socket(tmp_path):
    with RedisServer(tmp_path / "r", f"--unixsocket {tmp_path}/sock") as server:
        client = server.client()
        add(client, 1)
        client.close()
        source = RedisSource(f"unix://{tmp_path}/sock", "s")
        source.begin(None)
        assert everything(source) == [1]
        source.close()


def test_it_runs_on_redis_pys_own_parser_as_well(client, server):
    """Without hiredis answers are parsed more slowly, and otherwise the same."""
    add(client, *range(30))
    script = (
        "import sys; sys.modules['hiredis'] = None\n"
        "from botobs.metricpack.redis_source import RedisSource\n"
        "from botobs.metricpack.redis_store import RedisStore\n"
        "source, store = RedisSource(sys.argv[1], 's'), RedisStore(sys.argv[1])\n"
        "source.begin(None)\n"
        "found = source.take(100, 0.1)\n"
        "fence = store.lease('me', 5)\n"
        "store.commit({'a': b'1'}, found.position, fence)\n"
        "print(len(found.events), store.load(fence).values, source.take(1, 0.01).events)\n"
        "store._link.call('SET', 'text', '1')\n"
        "try: store._link.call('HGET', 'text', 'a')\n"
        "except Exception as error: print(type(error).__name__, error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, server.url], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert done.splitlines() == ["30 {'a': b'1'} ()", "Refusal WRONGTYPE"], done
