"""What the page about the command line shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from botobs.cli import main
from botobs.cli.arguments import COMMANDS
from tests.cli.world import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
_BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_CHANGING = ((r"\d{8}T\d{6}Z", "STAMP"), (r"to \d{4}-\d\d-\d\d [\d:]+ UTC$", "to NOW"), (r" +\d+d \d+h$", " AGE"),
             (r"up to \d{4}-\d\d-\d\d [\d:]+ UTC", "up to NOW"), (r"order [a-z]{9}\d+", "order MADE"),
             (r"[\d.,]+ m?s to the first fill", "SOON to the first fill"))  # fmt: skip


def steady(line):
    for pattern, instead in _CHANGING:
        line = re.sub(pattern, instead, line.rstrip())
    return line


def test_the_page_shows_what_the_commands_print(capsys):
    (bot,) = (source for language, source in _BLOCKS if language == "python")
    exec(compile(bot, "command-line.md", "exec"), {})
    Path("statement.csv").write_text(next(source for _, source in _BLOCKS if source.startswith("time,symbol")))
    Path("summary.json").write_text(next(source for language, source in _BLOCKS if language == "json"))
    capsys.readouterr()
    shown, printed = [], []
    for language, source in _BLOCKS:
        if language != "console":
            continue
        for line in source.splitlines():
            shown.append(steady(line))
            if line.startswith("$ "):
                printed.append(line)
                main(shlex.split(line[2:])[1:])
                told = capsys.readouterr()
                printed.extend(map(steady, (told.out + told.err).splitlines()))
    assert printed == shown
    assert len(shown) > 100


def test_every_command_has_its_place_on_the_page():
    assert [name for name in COMMANDS if f"`botobs {name}" not in PAGE] == []
    assert [
        name for name in COMMANDS if name != "demo" and not re.search(rf"^## .*\b{name}\b", PAGE, re.MULTILINE)
    ] == []
