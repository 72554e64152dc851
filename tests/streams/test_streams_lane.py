"""One queue: what is in it is counted right, and neither lost nor doubled by whoever is interrupted."""

import itertools
import sys
import threading

from botobs.streams.lane import CHUNK, Lane

from .striking import interrupted

LINES = [b"%d:%s" % (n, b"x" * 9_000) for n in range(31)]


def filled():
    lane = Lane("signals", None)
    for each in LINES:
        lane.add(each)
    assert len(lane.full) > 3 and lane.buffer
    return lane


def waiting(lane):
    return b"".join([*(chunk for chunk, _ in (*lane.held, *lane.full)), lane.buffer]).splitlines()


def emptied(lane):
    """Write everything, and count it as the store does."""
    written = 0
    while lane.pending:
        if not lane.held:
            lane.take()
        assert lane.held or lane.held_lines
        written += lane.held_lines
        lane.done()
    assert not waiting(lane) and lane.taken == lane.put
    return written


def test_a_signal_handler_that_raises_loses_and_doubles_nothing():
    for name, piece in itertools.product(("take", "failed"), (1, 2 * CHUNK, 10**9)):
        for after in itertools.count():
            lane = filled()
            lane.piece = piece
            if name == "failed":
                lane.take()
            struck = interrupted(getattr(lane, name), after, [getattr(Lane, name)])
            if lane.turning.locked():  # had, and not known to be so yet: nobody can mend that
                lane.turning.release()
            assert waiting(lane) == LINES, (name, piece, after)
            lane.failed()
            assert waiting(lane) == LINES and lane.pending == len(LINES)
            assert emptied(lane) == len(LINES)
            if not struck:
                assert after or name == "failed"
                break


def test_lines_of_many_threads_are_counted_once_whatever_the_disk_does():
    lane, over, failed = Lane("signals", None), threading.Event(), []
    each, bots = 4_000, 3

    def bot(which):
        try:
            for n in range(each):
                lane.add(b"%d %d %s" % (which, n, b"x" * 400))
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    every, _ = sys.getswitchinterval(), sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=bot, args=(which,)) for which in range(bots)]
    written, counted, attempt = bytearray(), 0, 0
    try:
        for thread in threads:
            thread.start()
        while not over.is_set() or lane.pending or lane.held:
            if not any(thread.is_alive() for thread in threads):
                over.set()
            if not lane.held:
                lane.take()
            attempt += 1
            if attempt % 3 and lane.held:  # the disk is full again and again
                lane.failed()
                continue
            written += b"".join([chunk for chunk, _ in lane.held])
            counted += lane.held_lines
            lane.done()
    finally:
        sys.setswitchinterval(every)
        for thread in threads:
            thread.join(60)
    assert not failed and counted == lane.put == lane.taken == each * bots
    lines = [tuple(map(int, line.split()[:2])) for line in written.splitlines()]
    for which in range(bots):
        assert [n for bot_, n in lines if bot_ == which] == list(range(each))
