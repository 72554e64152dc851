"""Memory after millions of stages: it has to stay flat."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.otlp import ReceiverProcess

from .child import ready, run_apart
from .figures import Result
from .workload import SYMBOL

_SAMPLES = 50
_PAGE = os.sysconf("SC_PAGE_SIZE")


def run(*, quick: bool) -> Result:
    """Stages in ticks of five, and stages outside of any tick; everything switched on."""
    stages = 500_000 if quick else 5_000_000
    result = Result("memory", f"resident memory above the start, over {stages:,} stages")
    with ReceiverProcess(max_seconds=240) as receiver:
        for variant in ("in ticks of five", "outside of ticks"):
            found = run_apart("memory", variant, most_s=200, endpoint=receiver.endpoint, stages=stages)
            start, samples = found["start"], found["samples"]
            later = (samples[-1] - samples[len(samples) // 2]) / 1e6
            result.add(f"{variant}: highest", (max(samples) - start) / 1e6, " MB", limit=20)
            result.add(
                f"{variant}: at the end", (samples[-1] - start) / 1e6, " MB",
                note=f"from {start / 1e6:.0f} MB; second half {later:+.1f} MB",
            )  # fmt: skip
            result.text.append(f"{variant}: {found['took_s']:.1f} s, {found['drops'] or 'nothing dropped'}")
    return result


def measure(variant: str, *, directory: Path, endpoint: str, stages: int) -> dict:
    from time import perf_counter

    import botobs

    obs = botobs.start("bench", data_dir=directory, otlp_endpoint=endpoint, prometheus_port=0)
    ready(obs.endpoint.port)
    start = _resident()
    part = _in_ticks if variant.startswith("in ") else _outside
    begun = perf_counter()
    samples = []
    for _ in range(_SAMPLES):
        part(stages // _SAMPLES)
        samples.append(_resident())
    took = perf_counter() - begun
    drops = dict(obs.faults.drops)
    obs.shutdown(30)
    return {"start": start, "samples": samples, "took_s": took, "drops": drops}


def _in_ticks(stages: int) -> None:
    import botobs

    for n in range(stages // 5):
        with botobs.tick(SYMBOL, bar_id=n):
            with botobs.feature():
                pass
            with botobs.model():
                pass
            with botobs.decision():
                pass
            with botobs.risk():
                pass
            with botobs.execution():
                pass


def _outside(stages: int) -> None:
    import botobs

    for _ in range(stages):
        with botobs.feature():
            pass


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
