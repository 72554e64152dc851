"""The loop with its lease, in this process and in others: nothing lost, nothing doubled, whatever dies."""

from __future__ import annotations

import signal
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from botobs.faults import Faults
from botobs.metricpack import Batch, Builder, SourceTrouble, StoreTrouble
from botobs.metricpack.jsonl import JsonlSource
from botobs.metricpack.page import ROWS, Page
from botobs.metricpack.service import PackError, Service
from botobs.metricpack.sqlite import SqliteStore
from botobs.testing import Clock
from tests.metricpack.plain import event
from tests.metricpack.test_builder import Bars, close
from tests.soak.metricpack import Pack, plain, saved, stream, undisturbed, wait_for, write

OPEN = "application/openmetrics-text; version=1.0.0"


def service_of(path, *, source=None, store=None, clock=None, **more):
    page = Page("quantum_exit", {}, lambda: {"builder_lag_seconds": service.lag_s(), "builder_active": 1})
    store = store or SqliteStore(path.with_name("state.sqlite"))
    service = Service(
        source or JsonlSource(path), store, lambda saved: Builder(market=Bars(), saved=saved), page, Faults(), clock=clock,
        takeover_s=0.5, **more,
    )  # fmt: skip
    return service


def samples(service, accept=""):
    text = service._page.render(accept)[0].decode()
    parse = open_metrics if accept else plain_text
    return {
        (
            sample.name.removeprefix("quantum_exit_"),
            *(value for name, value in sorted(sample.labels.items())),
        ): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_every_metric_says_what_was_saved_and_goes_on_after_a_restart(tmp_path):
    path, clock = tmp_path / "events.jsonl", Clock(1_767_323_045 + 100)
    write(
        path,
        [
            event(qty="4", fee="0.1"),
            close(9, "110", "2", "PARTIAL_50"),
            close(10, "108", "2"),
            close(10, "108", "2"),
            {},
        ],
    )
    write(path, [event(n=20, order_id="l"), close(30, "99"), event(n=40, order_id="o")])
    service = service_of(path, clock=clock)
    service.run(once=True)
    found = samples(service)
    labels = ("BTCUSDT", "trend")
    assert found["realized_pnl_total", "FULL_CLOSE", "trend", "BTCUSDT"] == 16 - 1
    assert found["realized_pnl_total", "ENTRY", "trend", "BTCUSDT"] == -0.1
    assert found["trades_total", "FULL_CLOSE", "win", "trend", "BTCUSDT"] == 1
    assert found["trades_total", "FULL_CLOSE", "loss", "trend", "BTCUSDT"] == 1
    assert ("trades_total", "PARTIAL_50", "win", "trend", "BTCUSDT") not in found
    assert found["exits_total", "PARTIAL_50", "win", "trend", "BTCUSDT"] == 1
    assert found["winrate", "FULL_CLOSE", "trend", "BTCUSDT"] == 0.5
    assert ("winrate", "ENTRY", "trend", "BTCUSDT") not in found
    assert found["expectancy", "trend", "BTCUSDT"] == pytest.approx((35.9 - 1) / 2)
    assert found["profit_factor", "trend", "BTCUSDT"] == pytest.approx(35.9)
    assert found["time_in_trade_seconds_count", "trend", "BTCUSDT"] == found["mfe_atr_count", "trend", "BTCUSDT"] == 2
    assert found["time_in_trade_seconds_sum", "trend", "BTCUSDT"] == 20
    assert found["events_processed_total",] == 8
    assert found["events_duplicate_total",] == found["events_unreadable_total",] == found["open_trades",] == 1
    assert found["builder_lag_seconds",] == 100
    assert samples(service, OPEN).keys() >= {("trades_total", "FULL_CLOSE", "win", "trend", labels[0])}
    again = service_of(path)
    again.run(once=True)
    kept, later = dict(found), samples(again)
    kept.pop(("builder_lag_seconds",))
    assert later == kept


def test_an_undefined_ratio_is_absent(tmp_path):
    write(tmp_path / "events.jsonl", [event(), close()])
    service = service_of(tmp_path / "events.jsonl")
    service.run(once=True)
    found = samples(service)
    assert not any(name == "profit_factor" for name, *_ in found)
    assert found["expectancy", "trend", "BTCUSDT"] == 10


def test_the_page_is_what_the_table_says():
    page = Page("acme", {}, dict)
    heads = {
        line.split()[2]: line.split()[3]
        for line in page.render("")[0].decode().splitlines()
        if line.startswith("# TYPE")
    }
    assert heads == {"target_info": "gauge", **{f"acme_{row.name}": row.kind for row in ROWS}}


class Shaky:
    """A store and a source that fail now and then, around real ones."""

    def __init__(self, inner, fails):
        self._inner, self._fails = inner, fails

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if not callable(found) or name in ("close", "release", "progress"):
            return found

        def call(*args, **more):
            when = self._fails.get(name)
            if when:
                self._fails[name] = when[1:]
                if when[0] == "before":
                    raise (SourceTrouble if name in ("take", "begin", "committed") else StoreTrouble)(f"{name} failed")
                if when[0] == "after":
                    found(*args, **more)
                    raise (SourceTrouble if name in ("take", "begin", "committed") else StoreTrouble)(f"{name} failed")
                if when[0] == "bug":
                    raise RuntimeError(name)
            return found(*args, **more)

        return call


@pytest.mark.parametrize(
    "fails",
    [{"commit": ["before", "after", "before"]}, {"commit": ["bug"]}, {"take": ["before", "", "bug"]},
     {"begin": ["before", "bug"], "load": ["before"], "lease": ["before"]}, {"committed": ["before"], "commit": ["", "after"]}],
)  # fmt: skip
def test_whatever_fails_is_tried_again_and_nothing_is_lost_or_doubled(tmp_path, fails):
    events = stream(300, 1)
    path = tmp_path / "events.jsonl"
    write(path, events)
    store = SqliteStore(tmp_path / "state.sqlite")
    service = service_of(path, source=Shaky(JsonlSource(path), fails), store=Shaky(store, fails), most=40)
    service._stop.wait = lambda _: None  # the pauses are not what is looked at
    service._make = lambda saved: Builder(saved=saved)
    service.run(once=True)
    assert not any(map(any, fails.values()))
    assert plain(saved(tmp_path / "state.sqlite")[0]) == undisturbed(events)


def test_a_state_that_is_deleted_is_built_anew(tmp_path):
    events = stream(200, 2)
    write(tmp_path / "events.jsonl", events)
    service = service_of(tmp_path / "events.jsonl", most=50)
    service._make = lambda saved: Builder(saved=saved)

    def delete(_):
        service._told = None
        for path in tmp_path.glob("state*"):
            path.unlink()

    service._told = delete
    service.run(once=True)
    assert plain(saved(tmp_path / "state.sqlite")[0]) == undisturbed(events)


def test_a_gap_is_said_and_counted(tmp_path):
    class Gap(JsonlSource):
        def take(self, most, wait_s):
            batch = super().take(most, wait_s)
            return Batch(batch.events, batch.position, lost="everything" if batch.events else None)

    write(tmp_path / "events.jsonl", [event()])
    service = service_of(tmp_path / "events.jsonl", source=Gap(tmp_path / "events.jsonl"))
    service.run(once=True)
    assert (service.gaps, service.health()["last_gap"]) == (1, "everything")


def test_from_the_beginning_or_the_end_forgets_the_state_once(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, [event(), close()])

    def events(start="checkpoint"):
        service = service_of(path, start=start)
        service.run(once=True)
        return service.summary["events"]

    assert (events(), events(), events("beginning"), events("end")) == (2, 2, 2, 0)
    write(path, [event(order_id="z")])
    assert (events(), events()) == (1, 1)


def test_a_state_of_another_stream_or_a_damaged_one_is_refused(tmp_path):
    write(tmp_path / "events.jsonl", [event()])
    service_of(tmp_path / "events.jsonl").run(once=True)
    write(tmp_path / "other.jsonl", [event()])
    with pytest.raises(PackError, match=r"file events\.jsonl, not of file other\.jsonl"):
        service_of(tmp_path / "other.jsonl").run(once=True)
    store = SqliteStore(tmp_path / "state.sqlite")
    fence = store.lease("me", 1)
    store.commit({"m": b"x"}, saved(tmp_path / "state.sqlite")[1], fence)
    store.release("me")
    store.close()
    with pytest.raises(PackError, match="damaged"):
        service_of(tmp_path / "events.jsonl").run(once=True)


def test_stop_ends_a_waiting_loop_at_once_and_gives_the_lease_back(tmp_path):
    (tmp_path / "events.jsonl").touch()
    service = service_of(tmp_path / "events.jsonl")
    thread = threading.Thread(target=service.run)
    thread.start()
    wait_for(lambda: service.role == "active")
    service.stop()
    thread.join(10)
    assert service.role == "stopped"
    store = SqliteStore(tmp_path / "state.sqlite")
    assert store.lease("next", 60) == 2
    store.close()


# --- in processes of their own


def test_one_works_the_other_stands_by_and_takes_over_from_one_that_hangs(tmp_path):
    path, events = tmp_path / "events.jsonl", stream(900, 3)
    write(path, events[:300])
    with Pack(path) as first:
        wait_for(lambda: first.health()["role"] == "active")
        with Pack(path) as second:
            wait_for(lambda: second.health()["role"] == "standby")
            assert second.health()["status"] == "ok"
            assert "quantum_exit_builder_active 0" in second.page()
            assert "quantum_exit_trades_total{" not in second.page()
            first.signal(signal.SIGSTOP)
            write(path, events[300:600])
            wait_for(lambda: second.health()["role"] == "active", "the take-over", 10)
            first.signal(signal.SIGCONT)
            wait_for(lambda: first.health()["role"] == "standby")
            write(path, events[600:])
            wait_for(lambda: second.health()["events"] == len(events))
            assert "quantum_exit_builder_active 1" in second.page()
            assert second.end() == (0, "")
            wait_for(lambda: first.health()["role"] == "active")
            assert first.health()["events"] == len(events)
            status, complained = first.end(signal.SIGINT)
            assert status == 0
            assert "this process stands by" in complained
    assert plain(saved(first.state)[0]) == undisturbed(events)
