"""`python -m bench`: measure, print, compare with the limits."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from time import perf_counter

from botobs.quick import quick

# module of each benchmark, in the order of the limits
_ALL = {
    "stage": "stage", "cpu": "cpu", "paced": "paced", "memory": "memory", "import": "imports", "fills": "fills",
    "ledger": "ledger", "safety": "safety", "insight": "insight", "redis": "redis", "metricpack": "metricpack",
    "scrape": "scrape",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of botobs.")
    parser.add_argument("--only", choices=list(_ALL), action="append", help="this one alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="under a minute, less sure")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a limit is missed")
    options = parser.parse_args()
    results = []
    python = f"{platform.python_implementation()} {platform.python_version()}"
    path = "pure Python" if quick is None else "compiled"
    where = f"{python}, hot path {path}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
    if not options.json:
        print(where, "\n", flush=True)
    for name in options.only or _ALL:
        begun = perf_counter()
        result = importlib.import_module(f"bench.{_ALL[name]}").run(quick=options.quick)
        result.seconds = perf_counter() - begun
        results.append(result)
        if not options.json:
            print(result.show(), flush=True)
    missed = [f"{each.name}: {figure.name}" for each in results for figure in each.figures if figure.met is False]
    if options.json:
        print(
            json.dumps(
                {"machine": where, "results": [each.as_dict() for each in results], "missed": missed},
                indent=2,
            )
        )
    else:
        print("every limit met" if not missed else f"MISSED: {'; '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
