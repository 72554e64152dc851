"""`python -m tests.soak`: every campaign in full, a line of figures each; a promise that breaks ends it with status 1."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.soak.campaigns import CAMPAIGNS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="what chance is made of; shown, to repeat a run"
    )
    parser.add_argument("--rounds", type=float, default=1.0, help="a share of the full rounds, such as 0.1")
    parser.add_argument("--only", nargs="*", choices=CAMPAIGNS, help="these campaigns")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ["GRPC_VERBOSITY"] = "NONE"  # its core writes to standard error by itself when a server goes away
    print(f"seed {options.seed}, {options.rounds:g} of the full rounds", flush=True)
    failed = 0
    for name, (campaign, full, _sample) in CAMPAIGNS.items():
        if options.only and name not in options.only:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="botobs-soak-") as folder:
            try:
                figures = campaign(Path(folder) / "data", max(round(full * options.rounds), 1), options.seed)
                shown = " · ".join(
                    f"{key}: {value:,}" if isinstance(value, int) else f"{key}: {value}"
                    for key, value in figures.items()
                )
            except Exception:
                failed += 1
                shown = f"FAILED\n{traceback.format_exc()}"
        print(f"{name:<16} {time.monotonic() - begun:6.0f} s  {shown}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
