"""The pack on Redis under every fault: the figures are those of one undisturbed run."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from botobs.metricpack.builder import Builder, Rules
from botobs.metricpack.redis_source import RedisSource
from botobs.metricpack.redis_store import RedisStore
from botobs.metricpack.store import StoreTrouble
from tests.metricpack.redis_world import (
    KEYS,
    STREAM,
    Pack,
    executions,
    figures,
    is_through,
    pack_process,
    publish,
    saved,
    undisturbed,
    wait_until_through,
)
from tests.servers.redis import SERVER, RedisServer, until
from tests.soak.metricpack_redis import redis_pack_rounds
from tests.soak.processes import ROOT

pytestmark = pytest.mark.skipif(SERVER is None, reason="needs redis-server")


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def client(server):
    client = server.client()
    yield client
    client.close()


def half_way(client):
    until(lambda: client.get(f"{KEYS}:last_id"))


def test_killed_paused_and_full(server, client):
    events = executions(900)
    publish(client, events[:300])
    with Pack(server.url) as pack:
        half_way(client)
        server.restart()  # kill -9, and back with what the append-only file has
        publish(client, events[300:600])
        server.pause()
        until(lambda: "timeout" in (pack.service.trouble or "").lower())
        server.go_on()
        wait_until_through(client)
        assert saved(client) == undisturbed(client)
        publish(client, events[600:])
        client.config_set("maxmemory", 1)
        until(lambda: "OOM" in (pack.service.trouble or "") or "maxmemory" in (pack.service.trouble or ""))
        client.config_set("maxmemory", 0)
        wait_until_through(client)
        until(lambda: pack.service.trouble is None)
        assert pack.service.gaps == 0
    assert saved(client) == undisturbed(client)
    assert client.xlen(STREAM) == len(events)


def test_a_wrong_password_is_said_and_not_shown(server, client):
    publish(client, executions(20))
    client.config_set("requirepass", "r1ght-s3cret")
    wrong = server.url.replace("//", "//:wr0ng-s3cret@")
    with Pack(wrong) as pack:
        until(lambda: pack.service.trouble)
        told = repr(pack.service.health()) + repr(pack.service.trouble)
        assert "WRONGPASS" in told or "AuthenticationError" in told
        assert "wr0ng-s3cret" not in told and "r1ght-s3cret" not in told
        assert pack.service.health()["status"] == "trouble"
        client.config_set("requirepass", "wr0ng-s3cret")  # the server is put right, and it goes on by itself
        client.execute_command("AUTH", "wr0ng-s3cret")
        wait_until_through(client)
    assert saved(client) == undisturbed(client)


def test_trimmed_beyond_the_checkpoint(server, client):
    publish(client, executions(50))
    with Pack(server.url):
        wait_until_through(client)
    publish(client, executions(200, seed=2))
    client.xtrim(STREAM, maxlen=40, approximate=False)
    with Pack(server.url) as pack:
        wait_until_through(client)
        assert pack.service.gaps == 1
        assert "160 entries are gone unread" in pack.service.last_gap


# --- another server answers


def _replica_of(primary, folder):
    replica = RedisServer(folder)
    told = replica.client()
    told.replicaof("127.0.0.1", primary.port)
    until(lambda: told.info("replication")["master_link_status"] == "up")
    return replica, told


def _same(one, two):
    until(lambda: one.info("replication")["master_repl_offset"] == two.info("replication")["slave_repl_offset"])


def test_a_replica_is_promoted(server, client, tmp_path):
    """It has not got the last entries nor the last state. The connection moves to it, once by itself, once by URL."""
    replica, second = _replica_of(server, tmp_path / "replica")
    events = executions(300)
    with replica, second:
        publish(client, events[:100])
        proxy = Proxy(server.port)
        with proxy, Pack(proxy.url) as pack:
            wait_until_through(client)
            _same(client, second)
            second.replicaof("NO", "ONE")  # from here on nothing is replicated
            publish(client, events[100:150])
            wait_until_through(client)
            assert second.get(f"{KEYS}:last_id") != client.get(f"{KEYS}:last_id")
            server.kill()
            proxy.move(replica.port)
            publish(second, events[200:])
            wait_until_through(second)
            assert pack.service.role == "active"
        assert saved(second) == undisturbed(second)
        assert second.xlen(STREAM) == 200
        publish(second, events[150:200])
        with Pack(replica.url):
            wait_until_through(second)
        assert saved(second) == undisturbed(second)


def test_a_replica_that_is_none_yet_takes_no_writes(server, client, tmp_path):
    replica, second = _replica_of(server, tmp_path / "replica")
    with replica, second:
        store = RedisStore(replica.url)
        with pytest.raises(StoreTrouble, match="(?i)read ?only"):
            store.lease("me", 1)
        store.close()


class Proxy:
    """A fixed address in front of a server that changes, as a name or a virtual address is."""

    def __init__(self, port):
        import threading

        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        self._port = port
        self._open = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        import threading

        while True:
            try:
                inner, _ = self._listening.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                inner.close()
                continue
            self._open += [inner, outer]
            for one, other in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for each in (one, other):
            each.close()

    def move(self, port):
        self._port = port
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.move(0)


def test_what_its_user_on_the_server_has_to_be_allowed(server, client):
    """As docs/metric-pack-redis.md says; to add, trim or delete is not among it."""
    page = (ROOT / "docs" / "metric-pack-redis.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    client.execute_command(*line.replace(">password", ">pw").split())
    publish(client, executions(100))
    with Pack(server.url.replace("//", "//metricpack:pw@")) as pack:
        wait_until_through(client)
        assert pack.service.trouble is None
    assert saved(client) == undisturbed(client)
    assert client.xpending(STREAM, "metricpack_builder")["pending"] == 0
    assert not any(word in line for word in ("+@write", "+@all", "+xadd", "+xtrim", "+xdel"))


# --- many processes


def test_two_processes_one_works_and_the_other_takes_over(server, client):
    """The worker is stopped as if its machine hung, comes back, and is killed in the end."""
    events = executions(600)
    publish(client, events[:100])
    with pack_process(server.url) as one:
        half_way(client)
        with pack_process(server.url) as two:
            one.signal(signal.SIGSTOP)
            publish(client, events[100:300])
            begun = time.monotonic()
            wait_until_through(client)
            assert time.monotonic() - begun < 10
            one.signal(signal.SIGCONT)  # it still believes that it works
            publish(client, events[300:500])
            wait_until_through(client)
            one.kill()
            publish(client, events[500:])
            wait_until_through(client)
            assert saved(client) == undisturbed(client)
            fence = int(client.hget(f"{KEYS}:lease", "fence"))
            assert fence >= 2
            with pack_process(server.url):  # the one that worked dies: a third one takes over
                two.kill()
                publish(client, executions(100, seed=3))
                wait_until_through(client)
    assert saved(client) == undisturbed(client)
    assert client.xpending(STREAM, "metricpack_builder")["pending"] <= 20


def test_killed_at_random_points(tmp_path):
    assert redis_pack_rounds(tmp_path, 3, seed=7)["in the middle of work"]


def test_sharded_by_symbol(server, client):
    publish(client, executions(300, seed=5))
    whole = undisturbed(client)
    parts = []
    for n in (1, 2, 3):
        rules = Rules(shard=(n, 3))
        keys = f"{KEYS}:{n}of3"
        with Pack(server.url, rules=rules, group=f"metricpack_builder:{n}of3", keys=keys):
            wait_until_through(client, keys)
        assert saved(client, keys) == undisturbed(client, rules)
        parts.append(saved(client, keys))
    for what in ("actions", "regimes"):
        together = {}
        for part in parts:
            assert not set(together) & set(part[what])
            together |= part[what]
        assert together == whole[what]
    assert sum(part["open"] for part in parts) == whole["open"]


def test_the_store_may_be_elsewhere_and_ahead_of_the_stream(server, client, tmp_path):
    """What the pack has saved is not in the stream any more: said, and gone on with what is new."""
    events = executions(60)
    publish(client, events[:40])
    builder, source = Builder(), RedisSource(server.url, STREAM)
    source.begin("99999999999999-7")
    batch = source.take(10, 0)
    assert "before the checkpoint" in batch.lost
    publish(client, events[40:])
    while True:
        batch = source.take(10, 0)
        for raw in batch.events:
            builder.take(raw)
        if not batch.behind:
            break
    assert figures(builder)["counts"]["events"] == 20
    source.close()


def test_the_command_reads_redis(server, client, capsys, tmp_path, monkeypatch):
    from botobs.cli import main

    monkeypatch.chdir(tmp_path)
    publish(client, executions(100, seed=6))
    assert main(["metricpack", "--redis", server.url, "--once", "--port", "0"]) == 0
    assert saved(client) == undisturbed(client)
    assert is_through(client)
    for wrong in (server.url.replace("//", "//:s3cret@").replace(str(server.port), "port"), "redis://"):
        assert main(["metricpack", "--redis", wrong, "--once", "--port", "0"]) == 2
    assert "s3cret" not in "".join(capsys.readouterr())
    assert not list(tmp_path.glob("data")), "it needs no data directory"
