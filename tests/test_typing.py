"""A user's file that uses every form passes `mypy --strict` with the decorated functions' types intact."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = ROOT / "tests" / "typing"


def mypy(path, tmp_path):
    command = [
        sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path), "--no-error-summary",
        "--show-error-codes", "--no-pretty", "--follow-imports", "silent", str(path),
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=110, env={"MYPYPATH": str(ROOT), "PATH": ""}
    )


@pytest.mark.timeout(120)
def test_every_form_keeps_its_types(tmp_path):
    found = mypy(FILES / "every_form.py", tmp_path)
    assert found.stdout + found.stderr == ""
    assert found.returncode == 0
    mistakes = FILES / "every_mistake.py"
    expected = {
        number: match[1]
        for number, line in enumerate(mistakes.read_text().splitlines(), 1)
        if (match := re.search(r"# expect: ([\w-]+)", line))
    }
    found = mypy(mistakes, tmp_path)
    given = {int(n): code for n, code in re.findall(r":(\d+): error: .*\[([\w-]+)\]", found.stdout)}
    assert given == expected
