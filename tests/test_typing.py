"""A user's file that uses every form passes `mypy --strict` with the decorated functions' types intact."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = ROOT / "tests" / "typing"


@pytest.mark.timeout(120)
def test_every_form_keeps_its_types(tmp_path):
    forms, mistakes = FILES / "every_form.py", FILES / "every_mistake.py"
    # both at once: what they import is by far the most of the work
    command = [
        sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", os.devnull, "--no-error-summary",
        "--show-error-codes", "--no-pretty", "--follow-imports", "silent", str(forms), str(mistakes),
    ]  # fmt: skip
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=110, env={"MYPYPATH": str(ROOT), "PATH": ""}
    )
    assert found.stderr == ""
    expected = {
        number: match[1]
        for number, line in enumerate(mistakes.read_text().splitlines(), 1)
        if (match := re.search(r"# expect: ([\w-]+)", line))
    }
    given = {}
    for line in found.stdout.splitlines():
        file, number, kind, said = line.split(":", 3)
        assert Path(tmp_path, file).resolve() == mistakes, line
        if kind == " error":
            given[int(number)] = re.search(r"\[([\w-]+)\]$", said)[1]
    assert given == expected
    assert found.returncode == 1
