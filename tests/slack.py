"""What a busy machine does to a test that looks at the clock."""

from __future__ import annotations

import time
from pathlib import Path

#: What it may add to a deadline, beside many other programs; whoever keeps no deadline takes far longer.
SLACK_S = 3.0

_SCHEDULED = Path("/proc/thread-self/schedstat")


def undisturbed_s() -> float:
    """Seconds, but for those in which this thread could go on and other programs had the processor.

    Whoever waits for anything, be it a lock, a disk or a peer, spends them all the same. Where the system does not
    tell, they are the seconds of the clock.
    """
    try:
        ready_ns = int(_SCHEDULED.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        ready_ns = 0
    return time.monotonic() - ready_ns / 1e9
