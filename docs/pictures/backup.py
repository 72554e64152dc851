# ruff: noqa: INP001
"""Draw the picture of the page on backups, from backups that were really made.

`python docs/pictures/backup.py` writes `docs/_static/backup.svg`. What the bot does is made up, and the same each time;
the data directory and the backups are botobs's own. Sizes are from before compression, which differs between versions
of zlib.
"""

from __future__ import annotations

import random
import runpy
import sys
import tempfile
from pathlib import Path

import botobs
from botobs.backup import make, open_shelf
from botobs.testing import Clock

HERE = Path(__file__).resolve().parent
_shared = runpy.run_path(str(HERE / "insight.py"))
Panel, picture = _shared["Panel"], _shared["picture"]

LINE, OTHER = "#1f6feb", "#c2410c"
HOURS, SIGNALS, FEATURES, MB = 12, 25, 500, 1e6


def run(folder: Path) -> list[tuple[float, float]]:
    """Of each hourly backup: the size of the data directory, and how much of it was new, in MB."""
    rng, clock, root = random.Random(3), Clock("2026-01-02T00:00:00Z"), folder / "data"  # noqa: S311 - no secret
    shelf = open_shelf(str(folder / "place"), root)
    known: set[str] = set()
    found: list[tuple[float, float]] = []
    with botobs.start("pictures", mode="backtest", data_dir=root, durability="os", clock=clock) as obs:
        names = [f"feature_{at}" for at in range(FEATURES)]
        for hour in range(HOURS):
            busy = SIGNALS if not 6 <= hour < 8 else SIGNALS // 10  # a quiet time
            for n in range(busy):
                with obs.tick("BTC-USD", bar_id=hour * SIGNALS + n, price=100.0 + rng.random()) as tick:
                    tick.signal(source="model", features={name: rng.random() for name in names})
                clock.advance(3_600 / busy)
            for side in ("buy", "sell"):
                obs.fill(symbol="BTC-USD", side=side, qty=1, price=100, fee="0.05", fill_id=f"{hour}-{side}")
            obs.flush()
            made = make(root, shelf, clock=clock)
            parts = {part.digest: part.size for part in made.manifest.parts}
            new = sum(size for digest, size in parts.items() if digest not in known)
            known |= parts.keys()
            found.append((sum(entry.size for entry in made.manifest.entries) / MB, new / MB))
    return found


def drawn(made: list[tuple[float, float]]) -> str:
    """The directory grows, and a backup costs what is new."""
    most = max(size for size, _ in made)
    panel = Panel(8, 190, (0.0, float(len(made) + 1)), (0.0, most * 1.1))
    for value in range(int(most) + 1):
        panel.level(value, f"{value} MB")
    for hour, (_, new) in enumerate(made, 1):
        left, right, top = panel.x(hour - 0.35), panel.x(hour + 0.35), panel.y(new)
        panel.parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{panel.y(0.0) - top:.1f}" '
            f'fill="{OTHER}"/>'
        )
    panel.curve([(hour, size) for hour, (size, _) in enumerate(made, 1)], LINE)
    panel.name("the data directory", LINE)
    panel.name("what an hourly backup had to send of it, before compression", OTHER, 180)
    return str(picture([panel], 206, "Hourly backups of a data directory that grows"))


def main(into: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        made = run(Path(folder))
    (into / "backup.svg").write_text(drawn(made), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "_static")
