"""What survives: kill -9 at every step, full disks, torn and damaged files, new starts."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from botobs.quick import quick
from botobs.safety import outside
from botobs.safety.latch import SLOT, Latch, Standing
from botobs.safety.slots import SlotFile, look
from botobs.triggers import ConsecutiveLosses, DailyLoss, Drawdown, EquityBelow, Errors, Rejections, SameBarRoundTrip
from tests.money.world import until
from tests.safety import killing
from tests.safety.switches import D, Room
from tests.slack import SLACK_S
from tests.soak.processes import environment


def test_a_new_data_dir_is_active_and_a_tripped_one_stays_so_and_says_why(room):
    assert room.switch().state == "active"
    room.open[-1].trip("the reason", trigger=None)
    room.open[-1].close()
    for _ in range(3):
        switch = room.switch(EquityBelow(9000))
        assert (switch.state, switch.reason) == ("halted", "the reason") and not switch.allows()
        event = room.last("found")
        assert event.state == "halted" and event.reason == "the reason" and event.since == switch.since
        switch.close()
    switch = room.switch()
    assert switch.reset("me", "ok")
    switch.close()
    assert room.switch().state == "active"


def test_kill_9_at_every_step_from_the_state_write_on(tmp_path):
    figures = killing.every_step(tmp_path)
    assert figures["steps"] > 40 and figures["not halted"] == 0
    assert figures["in callbacks"] > 0


def _tripped(room):
    switch = room.switch()
    switch.trip("first")
    switch.close()
    return room.folder / "kill_switch.json"


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_to_the_state_file_is_halted(room, seed):
    switch = room.switch()
    switch.close()
    path = room.folder / "kill_switch.json"
    data, dice = bytearray(path.read_bytes()), random.Random(seed)
    kind = seed % 4
    if kind == 0:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif kind == 1:
        data = data[: dice.randrange(len(data))]
    elif kind == 2:
        at = dice.randrange(len(data))
        data[at : at + 100] = bytes(len(data[at : at + 100]))
    else:
        data += b"\n"
    path.write_bytes(bytes(data))
    assert outside.status(room.folder)["state"] == "halted"
    switch = room.switch()
    assert switch.state == "halted" and "damaged" in switch.reason and room.last("found").damage
    switch.close()
    again = room.switch()
    assert again.state == "halted" and "damaged" in again.reason, "only a reset arms it"
    assert again.reset("me", "looked into it")
    again.close()
    assert room.switch().state == "active"


def test_damage_tells_what_the_other_half_says(room):
    path = _tripped(room)
    data = bytearray(path.read_bytes())
    data[SLOT + 5] ^= 255
    path.write_bytes(bytes(data))
    assert room.switch().reason.startswith(
        "the state file is damaged: half of it is damaged; before that halted: first"
    )
    assert (room.folder / "kill_switch.json.damaged").read_bytes() == bytes(data)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null\nnull\n", b"\0" * 2 * SLOT, b'{"state":"active"}', os.urandom(2 * SLOT)]
)
def test_a_state_file_that_says_nothing_is_halted(room, content):
    (room.folder / "kill_switch.json").write_bytes(content)
    assert room.switch().state == "halted"


def test_a_slot_that_is_whole_and_says_nothing_known_is_halted(room):
    from botobs.safety.slots import pack

    for record in (
        {"seq": 1},
        {"seq": 1, "state": "asleep", "reason": "x", "since": "x"},
        {"seq": 1, "state": "active", "reason": 1},
    ):
        (room.folder / "kill_switch.json").write_bytes(pack(record, SLOT) + pack({**record, "seq": 0}, SLOT))
        assert room.switch(begin=False).state == "halted"


def test_a_missing_file_beside_a_ledger_with_fills_is_halted(room):
    (room.folder.parent / "metrics").mkdir()
    assert not outside.has_fills(room.folder.parent)
    (room.folder.parent / "metrics" / "fills.jsonl").write_text('{"seq":1}\n')
    assert outside.has_fills(room.folder.parent)
    assert outside.status(room.folder)["state"] == "halted"
    (room.folder.parent / "metrics" / "fills.jsonl").unlink()
    assert not outside.has_fills(room.folder.parent)
    (room.folder.parent / "metrics" / "fills.jsonl").symlink_to("fills.jsonl")  # it cannot be looked at
    assert outside.has_fills(room.folder.parent)
    switch = room.switch(has_fills=True)
    assert switch.state == "halted" and "missing" in switch.reason
    switch.close()
    assert room.switch(has_fills=True).state == "halted"


def test_whatever_is_in_a_reason_fits_and_is_read_back(room):
    for reason in ("x" * 5000, "ü€" * 3000, "\0\ud800 \n", '"\\' * 900, ""):
        switch = room.switch()
        switch.trip(reason, inputs={"pad": reason * 10, "n": 1}, trigger=reason)
        switch.close()
        switch = room.switch()
        assert switch.state == "halted" and switch._standing.damage is None
        switch.reset("ü" * 5000, reason or "ok")
        switch.close()
    assert room.switch().state == "active"


def test_the_file_is_plain_json_lines(room):
    path = _tripped(room)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["state"] for line in lines} == {"active", "halted"} and path.stat().st_size == 2 * SLOT


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.safety.switches import Room
room = Room(Path(sys.argv[1]))
switch = room.switch()
room.clock.advance(5)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
seen = []
switch.on_trip(seen.append)
switch.trip("on a full disk")
assert seen and switch.state == "halted"
import os
os.write(1, repr(room.last("trip").durable).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("limit", "durable"), [(2 * SLOT, b"True"), (SLOT // 2, b"False"), (0, b"False")])
def test_the_latch_needs_no_room(tmp_path, limit, durable):
    """Where files cannot grow it is written in place; where nothing can be written at all, the file is emptied."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path, str(limit)], capture_output=True, env=environment(), check=False
    )
    assert done.returncode == -9 and done.stdout == durable, done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
    switch = Room(tmp_path).switch()
    assert switch.state == "halted"
    assert ("on a full disk" in switch.reason) == (durable == b"True")


def refuse(*_args):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("emptied", [True, False])
def test_a_trip_that_the_disk_refuses_is_said_with_what_the_next_start_makes_of_it(room, monkeypatch, caplog, emptied):
    switch = room.switch()
    with monkeypatch.context() as bad:
        for call in ("os.pwrite", "botobs.safety.slots.atomic_write", *(() if emptied else ("os.ftruncate",))):
            bad.setattr(call, refuse)
        switch.trip("on a bad disk")
        assert room.faults.errors["kill_switch.latch"] == 1
        said = [text for text in caplog.messages if "does not say that the switch is halted" in text]
        assert len(said) == 1 and "No space left on device" in said[0] and str(room.folder) in said[0]
        assert ("it was emptied" in said[0]) is emptied and (
            "NEXT START FINDS THE SWITCH AS IT WAS" in said[0]
        ) is not emptied
        again = outside.standing(room.folder)
        assert (again.state, "on a bad disk" in again.reason) == ("halted" if emptied else "active", False)
    switch.now()
    assert outside.standing(room.folder).reason == "on a bad disk"
    assert caplog.messages[-1].endswith("the disk has it that the switch is halted")


def test_a_file_that_is_damaged_under_a_running_bot_is_whole_before_anybody_is_called(room):
    switch = room.switch()
    file, seen = room.folder / "kill_switch.json", []
    switch.on_trip(lambda trip: seen.append(look(file).record["state"]))
    file.write_bytes(b"garbage")
    switch.look()
    assert seen == ["halted"] and room.last("trip").durable and room.last("trip").source == "state file"
    assert not room.faults.errors


def test_a_reset_that_the_disk_refuses_says_how_it_is_found(room, monkeypatch, caplog):
    switch = room.switch()
    switch.trip("test")
    for call in ("os.pwrite", "botobs.safety.slots.atomic_write"):
        monkeypatch.setattr(call, refuse)
    assert "a restart finds it tripped" in switch.reset("me", "ok").reason
    assert not switch.close(0.0)
    assert "the next start finds the switch tripped still" in caplog.messages[-1]
    assert caplog.messages[-1].endswith("botobs kill reset can write it")


def test_a_bot_that_ends_with_a_trip_that_is_nowhere_says_so(room, monkeypatch, caplog):
    switch = room.switch()
    for call in ("os.pwrite", "botobs.safety.slots.atomic_write", "os.ftruncate"):
        monkeypatch.setattr(call, refuse)
    switch.trip("on a bad disk")
    assert not switch.close(0.0)
    assert "the bot ends, and " in caplog.messages[-1] and "botobs kill trip can write it" in caplog.messages[-1]


def test_a_disk_that_does_not_confirm_a_trip_is_told_of(room, monkeypatch, caplog):
    switch = room.switch()
    with monkeypatch.context() as bad:
        bad.setattr("os.fsync", refuse)
        switch.trip("on a bad disk")
    assert room.faults.errors == {"kill_switch.latch": 1}
    assert [text for text in caplog.messages if "a crash of the machine may undo it" in text]


def test_what_limits_remember_is_synced_again_until_the_disk_has_it(room, monkeypatch, caplog):
    switch = room.switch(Rejections(10, within="10m"))
    synced, sync = [], os.fsync
    with monkeypatch.context() as bad:
        bad.setattr("os.fsync", refuse)
        switch.rejected("BTC", -1013)
        assert switch.flush(0.0)  # the operating system has it
        assert room.faults.errors == {"kill_switch.memory": 1}
        said = [
            text
            for text in caplog.messages
            if "peaks and counts of limits do not survive a crash of the machine" in text
        ]
        assert len(said) == 1 and "triggers.json" in said[0] and "No space left on device" in said[0]
        for _ in range(10):
            switch.now()
        assert room.faults.errors == {"kill_switch.memory": 2}
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")) or sync(fd))
    for _ in range(20):
        switch.now()
    assert synced == [str(room.folder / "triggers.json")] and room.faults.errors == {"kill_switch.memory": 2}


def test_what_limits_remember_and_nothing_takes_is_told_of(room, monkeypatch, caplog):
    switch = room.switch(Rejections(10, within="10m"))
    with monkeypatch.context() as bad:
        bad.setattr("os.pwrite", refuse)
        bad.setattr("botobs.safety.slots.atomic_write", refuse)
        switch.rejected("BTC", -1013)
    assert room.faults.errors == {"kill_switch.memory": 1}
    assert [text for text in caplog.messages if "peaks and counts of limits do not survive this process" in text]


def test_what_the_disk_refused_is_written_when_it_is_back(room, monkeypatch):
    switch = room.switch()

    with monkeypatch.context() as bad:
        bad.setattr(os, "pwrite", refuse)
        bad.setattr("botobs.safety.slots.atomic_write", refuse)
        switch.trip("while the disk was full")
        assert switch.state == "halted" and (room.folder / "kill_switch.json").read_bytes() == b""
        switch.now()
        assert room.last("trip").durable is False
    switch.now()
    assert look(room.folder / "kill_switch.json").record["reason"] == "while the disk was full"
    switch.poll()
    assert len(room.said("trip")) == 1


def test_a_disk_that_tears_the_write_is_halted(tmp_path):
    for torn in range(0, SLOT, 97):
        folder = tmp_path / str(torn)
        folder.mkdir()
        latch = Latch(folder)
        latch.load(has_fills=False, now="t")
        before = (folder / "kill_switch.json").read_bytes()
        latch.write(Standing(2, "halted", "r", "t"))
        after = (folder / "kill_switch.json").read_bytes()
        mixed = bytearray(before)
        mixed[:torn] = after[:torn]
        (folder / "kill_switch.json").write_bytes(bytes(mixed))
        other = Latch(folder)
        state = other.load(has_fills=False, now="t").state
        assert state == ("active" if bytes(mixed) == before else "halted"), torn
        latch.close(), other.close()


# -- from outside --------------------------------------------------------------------------------------------------------


def test_tripped_from_outside_and_reset_from_outside(room):
    switch = room.switch(EquityBelow(9000))
    seen = []
    switch.on_trip(seen.append)
    assert outside.trip(room.folder, "the office", by="ann")
    assert switch.state == "active"
    switch.poll()
    assert switch.state == "halted" and switch.reason == "the office" and len(seen) == 1
    event = room.last("trip")
    assert event.source == "outside" and event.by == "ann"
    assert outside.status(room.folder)["state"] == "halted"
    assert outside.trip(room.folder, "once more").reason.startswith("it is halted already")
    assert not outside.reset(room.folder, "", "x") and not outside.reset(room.folder, "x", " ")
    assert not outside.trip(room.folder, "  ")
    switch.poll()
    assert switch.state == "halted" and len(seen) == 1
    assert outside.reset(room.folder, "ann", "all clear")
    switch.poll()
    assert switch.state == "active" and room.last("reset").source == "outside" and room.last("reset").by == "ann"
    assert outside.status(room.folder)["state"] == "active" and outside.status(room.folder)["reason"] is None
    for _ in range(5):
        switch.poll()
    assert room.kinds().count("trip") == 1 and room.kinds().count("reset") == 1
    switch.close()
    assert room.switch().state == "active"


@pytest.mark.parametrize("sighted", [True, False])
def test_the_running_bot_sees_it_within_a_second(room, sighted):
    from botobs.safety.watch import Watch

    switch = room.switch()
    seen = threading.Event()
    switch.on_trip(lambda trip: seen.set())
    path = room.folder / "kill_switch.json"
    os.utime(path, (1_700_000_000, 1_700_000_000))  # as if it had not been written for long
    switch.look()
    assert switch._as_seen() is not None
    watch = Watch(switch.look, switch.now, room.faults, switch._as_seen if sighted else lambda: None)
    watch.start()
    outside.trip(room.folder, "now")
    assert seen.wait(1.0 + SLACK_S)
    assert watch.close(time.monotonic() + 5)


@pytest.mark.skipif(quick is None, reason="nothing is compiled")
def test_a_file_that_nobody_touches_is_not_looked_at(room, monkeypatch):
    from botobs.safety import watch as watching

    monkeypatch.setattr(watching, "_EVERY_S", 0.002)
    monkeypatch.setattr(watching, "_TIME_S", 0.004)
    switch = room.switch()
    os.utime(room.folder / "kill_switch.json", (1_700_000_000, 1_700_000_000))
    switch.look()
    looks, beats, enough = [], [], threading.Event()

    def look(*, thorough):
        looks.append(thorough)
        switch.look(thorough=thorough)

    def beat():
        beats.append(1)
        if len(beats) == 5:
            enough.set()

    watch = watching.Watch(look, beat, room.faults, switch._as_seen)
    watch.start()
    assert enough.wait(20) and not looks
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    outside.trip(room.folder, "now")
    until(lambda: switch.state == "halted")
    assert looks[0] is False
    assert watch.close(time.monotonic() + 5)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before - 2


@pytest.mark.skipif(quick is None, reason="nothing is compiled")
def test_files_are_watched_for_what_becomes_of_them(tmp_path):
    def as_is(path):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    read, write = os.pipe()
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"one")
    name, absent = os.fsencode(path), (os.fsencode(other), None)
    try:
        assert quick.watched(((name, as_is(path)), absent), read, 1, 3) is False
        assert quick.watched(((name, None), absent), read, 1, 10_000) is True
        inode, written, size = as_is(path)
        for odd in ((inode + 1, written, size), (inode, written + 1, size), (inode, written, size + 1)):
            assert quick.watched(((name, odd),), read, 1, 10_000) is True
        other.touch()
        assert quick.watched((absent,), read, 1, 10_000) is True
        assert quick.watched(((os.fsencode(tmp_path / "no" / "c"), None),), read, 1, 3) is False
        assert quick.watched((), read, 1, 0) is False
        os.write(write, b".")
        assert quick.watched(((name, as_is(path)),), read, 10_000, 10_000) is False  # at once
        for wrong in (((), read, 0, 1), ((absent,) * 5, read, 1, 1), (((name, 1),), read, 1, 1), ((name,), read, 1, 1),
                      (((name, (1, 2)),), read, 1, 1), ([], read, 1, 1), (((b"a\0b", None),), read, 1, 1)):  # fmt: skip
            with pytest.raises((TypeError, ValueError)):
                quick.watched(*wrong)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.skipif(quick is None, reason="nothing is compiled")
def test_files_are_watched_whatever_numbers_their_file_system_gives(tmp_path):
    """Some use all 64 bits of an inode, and a time may be in any century."""
    path = tmp_path / "a"
    path.touch()
    for odd in ((2**64 - 1, 0, 0), (2**63, 2**63, 2**63), (1, -(2**63) - 1, 0)):
        assert quick.watched(((os.fsencode(path), odd),), -1, 1, 10_000) is True
    for s in (-86_400, 2**33, 10**10):
        os.utime(path, (s, s))
        found = path.stat()
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        assert quick.watched(((os.fsencode(path), seen),), -1, 1, 3) is False


@pytest.mark.skipif(quick is None, reason="nothing is compiled")
def test_a_bell_that_somebody_closed_is_no_reason_to_look_without_end():
    read, write = os.pipe()
    os.close(write)
    begun = time.monotonic()
    assert quick.watched((), read, 5, 20) is False
    assert quick.watched((), 2**20, 5, 20) is False
    assert time.monotonic() - begun >= 0.035
    os.close(read)


@pytest.mark.parametrize("states", [("halted",), ("halted", "active"), ("halted", "active", "halted")])
def test_a_drill_leaves_what_was_written_outside_and_not_seen_yet(room, states):
    switch = room.switch()
    for state in states:
        if state == "halted":
            assert outside.trip(room.folder, "the office")
        else:
            assert outside.reset(room.folder, "ann", "all clear")
    assert switch.drill().durable
    assert outside.status(room.folder)["state"] == states[-1] and look(room.folder / "kill_switch.json").damage is None
    switch.poll()
    assert switch.state == states[-1]


def test_outside_works_without_a_bot(room):
    assert outside.trip(room.folder, "before the first start")
    switch = room.switch(Rejections(3))
    assert switch.state == "halted" and switch.reason == "before the first start"
    switch.rejected("BTC", "x")
    switch.close()
    assert outside.reset(room.folder, "ann", "ok")
    switch = room.switch(Rejections(3))
    assert switch.state == "active"
    switch.rejected("BTC", "x")
    switch.rejected("BTC", "x")
    assert switch.state == "active", "a reset counts anew"
    assert outside.drill(room.folder) is None


def test_a_reset_from_outside_does_not_undo_a_trip_it_has_not_seen(room):
    switch = room.switch(EquityBelow(9000), Drawdown(0.5))
    switch.trip("careful", target="reduce_only")
    assert outside.reset(room.folder, "ann", "all clear")
    switch.trip("worse")  # before the bot has looked
    switch.poll()
    assert switch.state == "halted" and switch.reason == "worse"
    switch.close()
    assert room.switch().state == "halted"


def test_a_state_file_damaged_or_removed_while_the_bot_runs(room):
    switch = room.switch()
    path = room.folder / "kill_switch.json"
    path.unlink()
    switch.poll()
    assert switch.state == "active" and look(path).record["state"] == "active"
    path.write_bytes(b"")
    switch.poll()
    assert switch.state == "halted" and room.last("trip").source == "state file"
    assert look(path).damage is None and look(path).record["state"] == "halted"
    switch.poll()
    assert room.kinds().count("trip") == 1
    assert switch.reset("me", "mended")
    switch.fill("BTC", 1, opened="t1")
    path.unlink()
    switch.poll()
    assert switch.state == "halted", "gone beside a ledger with fills"
    path.write_bytes(b"")
    switch.poll()
    assert look(path).damage is None and switch.state == "halted"


def test_a_drill_from_outside(room):
    from botobs.clock import SystemClock
    from botobs.datadir import DataDir

    held = DataDir.claim(room.folder.parent, bot="b", run_id="r", clock=SystemClock())
    switch = room.switch()
    seen = []
    switch.on_trip(seen.append)
    found = []
    asking = threading.Thread(target=lambda: found.append(outside.drill(room.folder, timeout_s=10)))
    asking.start()
    while not seen:
        switch.look()
    asking.join()
    assert found[0]["ok"] and found[0]["callbacks"][0]["outcome"] == "done" and seen[0].drill
    released, begun = threading.Event(), threading.Event()

    @switch.on_trip
    def hangs(trip):
        if trip.drill:
            begun.set()
            released.wait(5)

    asking = threading.Thread(target=outside.drill, args=(room.folder,))
    asking.start()
    until(lambda: switch.look() or begun.is_set())
    outside.trip(room.folder, "in the middle of it")
    switch.look()
    assert switch.state == "halted" and not released.is_set()
    released.set()
    asking.join()
    assert outside.status(room.folder)["running"] is True
    held.release(clean=True)


def test_lay_out_makes_a_new_data_dir_active_before_an_import(room):
    outside.lay_out(room.folder)
    (room.folder.parent / "metrics").mkdir()
    (room.folder.parent / "metrics" / "fills.jsonl").write_text('{"seq":1}\n')
    outside.lay_out(room.folder)
    assert room.switch(has_fills=True).state == "active"


# -- peaks and counts ----------------------------------------------------------------------------------------------------


def killed(room, *triggers):
    """A new run on what the last one left without any farewell."""
    room.open.clear()
    return room.switch(*triggers)


@pytest.mark.parametrize("which", range(5))
def test_peaks_and_counts_survive_kill_9(room, which):
    triggers = Drawdown(0.1), Rejections(3), ConsecutiveLosses(3), Errors(3), SameBarRoundTrip()
    switch = room.switch(*triggers)
    switch.equity(D(10_000), D(10_000))
    switch.equity(D(12_000), D(12_000))
    for _ in range(2):
        switch.rejected("BTC", "x")
        switch.closed(D(-1))
        switch.failed(ValueError("x"))
    switch.fill("BTC", 7, opened="t1")
    fresh = {
        Drawdown: lambda one: one.equity(D(10_700), D(11_000)),
        Rejections: lambda one: one.rejected("BTC", "x"),
        ConsecutiveLosses: lambda one: one.closed(D(-1)),
        Errors: lambda one: one.failed(ValueError("x")),
        SameBarRoundTrip: lambda one: one.fill("BTC", 7, closed=["t1"]),
    }
    switch = killed(room, *triggers)
    assert switch.state == "active"
    fresh[type(triggers[which])](switch)
    assert switch.state == "halted"
    assert room.last("trip").trigger.startswith(type(triggers[which]).__name__)


def test_a_window_goes_on_while_the_bot_is_down(room):
    switch = room.switch(Rejections(3, within="10m"))
    switch.rejected("BTC", "x")
    switch.rejected("BTC", "x")
    room.clock.advance("11m")
    switch = killed(room, Rejections(3, within="10m"))
    switch.rejected("BTC", "x")
    assert switch.state == "active"


def test_damaged_counts_are_unknown_and_told(room):
    switch = room.switch(ConsecutiveLosses(3, on_unknown="halt"), Drawdown(0.1))
    switch.closed(D(-1))
    switch.close()
    (room.folder / "triggers.json").write_bytes(b"\0" * 100)
    switch = killed(room, Drawdown(0.1))
    assert switch.state == "active" and room.last("warning").why == "unknown"
    switch.close()
    (room.folder / "triggers.json").write_bytes(b"")
    assert killed(room, ConsecutiveLosses(3, on_unknown="halt")).state == "halted"


def test_killed_between_the_decision_and_the_latch_it_trips_at_the_next_start(room):
    switch = room.switch(Rejections(2))
    switch._trip = lambda *_args, **_named: None
    switch.rejected("BTC", "x")
    switch.rejected("BTC", "x")
    assert killed(room, Rejections(2)).state == "halted"


def test_a_memory_that_outgrows_its_file_is_laid_out_anew(room):
    switch = room.switch(SameBarRoundTrip(), DailyLoss(100))
    for n in range(200):
        switch.fill(f"SYMBOL{n}", n, opened=f"t{n}")
    switch = killed(room, SameBarRoundTrip(), DailyLoss(100))
    switch.fill("SYMBOL123", 123, closed=["t123"])
    assert switch.state == "halted"


def test_in_a_forked_child_nothing_is_written(room):
    switch = room.switch(Rejections(2))
    before = Path(room.folder / "kill_switch.json").read_bytes()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            switch.abandon()
            switch.trip("in the child")
            switch.rejected("BTC", "x")
            switch.now(), switch.poll()
            code = int(switch.state != "halted")
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    switch.poll()
    assert switch.state == "active" and (room.folder / "kill_switch.json").read_bytes() == before


def test_threads_and_another_process_at_once_agree_in_the_end(room):
    """Trips, resets and looks from everywhere: what the switch says and what the file says is the same afterwards."""
    switch = room.switch(EquityBelow(9000))
    switch.on_trip(lambda trip: switch.allows(reduces=True))
    script = (
        "import sys\nfrom pathlib import Path\nfrom botobs.safety import outside\n"
        "for n in range(40): outside.trip(Path(sys.argv[1]), 'x'); outside.reset(Path(sys.argv[1]), 'y', 'z')"
    )
    other = subprocess.Popen([sys.executable, "-c", script, room.folder], env=environment())

    def storm(seed):
        dice = random.Random(seed)
        for _ in range(60):
            what = dice.randrange(5)
            if what == 0:
                switch.trip("storm", target=dice.choice(("halted", "reduce_only")))
            elif what == 1:
                switch.reset("me", "again")
            elif what == 2:
                switch.equity(D(dice.choice((8000, 10_000))), D(10_000))
            elif what == 3:
                switch.poll()
            else:
                switch.now()

    threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert other.wait(30) == 0
    switch.poll()
    switch.poll()
    found = look(room.folder / "kill_switch.json")
    assert found.damage is None and found.record["state"] == switch.state and not room.faults.errors
    switch.trip("the end")
    assert outside.status(room.folder)["state"] == "halted"


def test_a_file_that_says_something_else_with_the_time_it_had_is_found_all_the_same(tmp_path):
    """The usual look goes by when the file was written; every so often one does not."""
    file = SlotFile(tmp_path / "slots.json", 256)
    file.lay_out({"seq": 2, "state": "active"})
    long_ago = 1_000_000_000_000_000_000
    os.utime(file.path, ns=(long_ago, long_ago))
    assert not file.changed()
    with file.path.open("r+b") as other:
        other.write(file.image[256:] + file.image[:256])
    assert file.changed(), "its time is another"
    file.path.write_bytes(file.image)
    os.utime(file.path, ns=(long_ago, long_ago))
    assert not file.changed()
    with file.path.open("r+b") as other:
        other.write(file.image[256:] + file.image[:256])
    os.utime(file.path, ns=(long_ago, long_ago))
    assert file.changed(thorough=True)
    file.close()
