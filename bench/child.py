"""Runs in a process of its own, so that variants share nothing: `python -m bench.child TASK VARIANT JSON`.

One line of JSON on stdout when it is about to begin (`port`: where to scrape), one at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from botobs.quick import PURE

_ROOT = Path(__file__).resolve().parents[1]
_SCRAPE_EVERY_S = 5.0


def run_apart(task: str, variant: str, *, most_s: float, **options) -> dict:
    """Run a task in a process of its own and wait for its answer; its metrics are scraped meanwhile.

    Raises:
        RuntimeError: It failed, or took longer than `most_s`.
    """
    # the environment's own exporters and settings must not decide what is measured
    others = ("OTEL_", "BOTOBS_", "LOGFIRE_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(others) or key == PURE}
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory:
        command = [sys.executable, "-m", "bench.child", task, variant]
        command.append(json.dumps({"directory": directory, **options}))
        process = subprocess.Popen(command, cwd=_ROOT, env=env, stdout=subprocess.PIPE, text=True)
        guard = threading.Timer(most_s, process.kill)
        guard.start()
        try:
            port = json.loads(process.stdout.readline() or "{}").get("port")
            scraper = threading.Thread(target=_scrape, args=(port, over), daemon=True)
            scraper.start()
            rest = process.stdout.read()
            if process.wait() != 0:
                raise RuntimeError(f"{task} of {variant} ended with {process.returncode}")
            return json.loads(rest)
        finally:
            guard.cancel()
            over.set()
            if process.poll() is None:
                process.kill()
                process.wait()


def _scrape(port: int | None, over: threading.Event) -> None:
    while port is not None and not over.wait(_SCRAPE_EVERY_S):
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page,
        ):
            page.read()


def main() -> None:
    task, variant, text = sys.argv[1:]
    options = json.loads(text)
    options["directory"] = Path(options["directory"]) / "data"
    if task == "cpu":
        from .cpu import measure
    elif task == "paced":
        from .paced import measure
    elif task == "memory":
        from .memory import measure
    elif task == "ledger":
        from .ledger import measure
    elif task == "metricpack":
        from .metricpack import measure
    elif task == "redis":
        from .redis import measure
    elif task == "insight":
        from .insight import measure
    else:
        raise SystemExit(f"no task {task!r}")
    answer = measure(variant, **options)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what peers do at exit is not measured, and may take long


def ready(port: int | None) -> None:
    """Tell the parent that the measurement begins."""
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
