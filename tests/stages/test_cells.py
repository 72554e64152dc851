"""Histograms that many threads update without a lock."""

from __future__ import annotations

import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

import botobs
from botobs.stages.cells import BOUNDS_NS, OTHER, CellTable
from tests.stages.engines import running


def test_bounds_are_10_us_to_10_s():
    assert BOUNDS_NS[0] == 10_000
    assert BOUNDS_NS[-1] == 10 * 10**9
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))
    assert 2_500_000 in BOUNDS_NS


@given(st.integers(0, 10**11))
def test_each_duration_falls_into_the_bucket_that_bounds_it(took):
    now = [0]
    with running(clock=lambda: now[0]) as bench:
        with botobs.stage("s"):
            now[0] += took
        (cell,) = [cell for cell in bench.engine.cells.all() if sum(cell.counts)]
    (index,) = [i for i, count in enumerate(cell.counts) if count]
    assert index == len(BOUNDS_NS) or took <= BOUNDS_NS[index]
    assert index == 0 or took > BOUNDS_NS[index - 1]
    assert cell.total_ns == took


def test_no_count_is_lost_between_threads():
    each, threads = 20_000, 8
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with running() as bench:
            barrier = threading.Barrier(threads)

            def work():
                barrier.wait(10)
                for _ in range(each // 10):
                    with botobs.tick("BTC"):
                        for _ in range(9):
                            with botobs.decision():
                                pass

            workers = [threading.Thread(target=work) for _ in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(60)
            assert sum(bench.counts().values()) == each * threads
    finally:
        sys.setswitchinterval(before)


def test_label_values_are_capped_and_nothing_goes_uncounted():
    with running(cap=5) as bench:
        for i in range(50):
            with botobs.tick(f"S{i}"), botobs.stage(f"stage{i}"):
                pass
        counts = bench.counts()
        assert sum(counts.values()) == 100
        assert len({symbol for _, symbol in counts}) <= 6
        assert len({label for label, _ in counts}) <= 6
        assert counts[OTHER, OTHER] > 0
        assert bench.engine.cells.overflow > 0
        cells = bench.engine.cells.all()
        assert len({(cell.label, cell.symbol) for cell in cells}) == len(cells)


def test_symbols_without_end_do_not_grow():
    table = CellTable(cap=3)
    for i in range(1_000):
        table.of(f"S{i}", b"s")["tick"]
    assert len(table.all()) <= 4


def test_single_durations_are_handed_on_only_when_asked_and_bounded():
    with running(raw=True) as bench:
        for _ in range(10):
            with botobs.stage("s"):
                pass
        cell = next(cell for cell in bench.engine.cells.all() if cell.label == "s")
        assert len(cell.pending) == 10
        for _ in range(100_000):
            cell.hand_on(1)
        assert len(cell.pending) + cell.lost == 100_010


def test_ticks_leave_nothing_to_the_garbage_collector():
    import gc

    with running() as bench:
        bench.engine.export = lambda kept: kept.forget()
        found = []
        for _ in range(3):  # what others have left may come in between, but not each time
            gc.collect()
            before = sum(each["collected"] for each in gc.get_stats())
            for _ in range(2_000):
                with botobs.tick("BTC", bid=1.0) as tick, botobs.decision(), botobs.stage("own"):
                    tick.signal(features={"a": 1})
            gc.collect()
            found.append(sum(each["collected"] for each in gc.get_stats()) - before)
        assert min(found) < 100, found
