"""A bot that is killed at the n-th step after the state write, for every n.

Each round is a forked child without other threads: it trips and kills itself with SIGKILL at its n-th line of ours, on
whatever thread that runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.soak.processes import environment

SCRIPT = """
import os, signal, sys, threading
from decimal import Decimal
from pathlib import Path
from tests.safety.switches import Room
from botobs.triggers import EquityBelow

def child(folder, step, mark):
    left, armed = [step], []
    def trace(frame, event, arg):
        if not armed or "/botobs/" not in frame.f_code.co_filename: return None
        left[0] -= 1
        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
        return trace
    threading.settrace(trace)  # for the threads of the callbacks too
    room = Room(folder)
    switch = room.switch(EquityBelow(9000))
    switch.on_trip(lambda trip: os.write(mark, b"c"))
    switch.on_trip(lambda trip: os.write(mark, b"c"), timeout=None)
    switch.on_trip(lambda trip: 1 / 0)
    def last(trip):
        try: switch.check()
        except Exception: pass
        switch.trip("again")
    switch.on_trip(last)
    write = os.pwrite
    def pwrite(fd, data, at):
        n = write(fd, data, at)
        if b'"halted"' in data:
            os.pwrite = write
            os.write(mark, b"w")
            if step == 0: os.kill(os.getpid(), signal.SIGKILL)
            armed.append(True)
            sys.settrace(trace)
            frame = sys._getframe(1)
            while frame: frame.f_trace = trace; frame = frame.f_back
        return n
    switch.equity(Decimal(10000), Decimal(10000))
    os.pwrite = pwrite
    switch.equity(Decimal(1), Decimal(10000))
    os.write(mark, b"e")
    os._exit(0)

root, stride = Path(sys.argv[1]), int(sys.argv[2])
steps = inside = bad = 0
step = 0
while True:
    read, mark = os.pipe()
    folder = root / str(step)
    folder.mkdir()
    pid = os.fork()
    if not pid:
        try: child(folder, step, mark)
        finally: os._exit(7)
    os.close(mark)
    said = b""
    while more := os.read(read, 100): said += more
    os.close(read)
    _, status = os.waitpid(pid, 0)
    assert said.startswith(b"w"), said
    again = Room(folder).switch(EquityBelow(9000), begin=False)
    bad += again.state != "halted" or "EquityBelow" not in again.reason
    again.close(0.0)
    steps += 1
    inside += b"c" in said and b"e" not in said
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, status
        assert said.endswith(b"e")
        break
    step += stride
print(steps, inside, bad)
"""


def every_step(folder: Path, stride: int = 7) -> dict:
    """Kill at every `stride`-th step from the state write to the end of the verb."""
    assert signal.SIGKILL
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, str(stride)], capture_output=True, text=True, env=environment(), check=False,
        cwd=os.getcwd(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    steps, inside, bad = map(int, done.stdout.split())
    return {"steps": steps, "in callbacks": inside, "not halted": bad}
