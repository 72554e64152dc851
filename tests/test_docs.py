"""What the pages say is so: their code runs, their links lead somewhere, their tables are the code's own."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import importlib.util
import inspect
import json
import logging
import os
import re
import runpy
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest

import botobs
from botobs.config import SETTINGS, StartSettings, load, table_markdown
from botobs.sinks.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"(?P<ticks>`{3,}|:{3,})(?P<info>.*)")
_COMMENT = re.compile(r"<!--(.*)-->")


class Block(NamedTuple):
    """A fenced block of a page.

    `<!-- continues -->` just before it makes it run in the namespace of the block before; `needs: x` keeps it out
    where the module `x` is not installed. Both may stand in one comment, with `;` between them.
    """

    page: Path
    line: int
    language: str
    source: str
    continues: bool
    needs: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def can_run(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.needs)


def _blocks(page: Path) -> list[Block]:
    found, before, inside = [], "", None
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if inside is None:
            fence = _FENCE.fullmatch(line)
            if fence and fence["ticks"].startswith("`"):
                inside = (fence["ticks"], fence["info"].strip(), number + 1, before, [])
            elif line.strip():
                before = line
        elif line == inside[0]:
            _, language, start, said, lines = inside
            comment = _COMMENT.fullmatch(said.strip())
            marks = [mark.strip() for mark in comment[1].split(";")] if comment else []
            needs = [mark.removeprefix("needs:") for mark in marks if mark.startswith("needs:")]
            names = tuple(name.strip() for part in needs for name in part.split(","))
            source = "\n".join(lines) + "\n"
            found.append(Block(page, start, language, source, "continues" in marks, names))
            inside, before = None, ""
        else:
            inside[4].append(line)
    assert inside is None, f"{page}: a block is not closed"
    return found


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def _chains() -> list[list[Block]]:
    """Blocks that run one after the other, in one namespace."""
    chains: list[list[Block]] = []
    for block in BLOCKS:
        if block.language != "python" or _is_test(block):
            continue
        if not block.continues:
            chains.append([block] if block.can_run else [])
        elif chains[-1] and block.can_run:
            assert chains[-1][0].page == block.page, f"{block.place} continues nothing"
            chains[-1].append(block)
    return [chain for chain in chains if chain]


def _is_test(block: Block) -> bool:
    """Whether a block is a file for pytest."""
    found = re.search(r"^(async )?def test_|^class Test", block.source, re.MULTILINE)
    return block.language == "python" and found is not None


def _run(chain: list[Block]) -> None:
    module = types.ModuleType("__main__")
    for block in chain:
        # line numbers in a traceback are those of the page
        exec(compile("\n" * (block.line - 1) + block.source, block.place, "exec"), module.__dict__)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A directory of its own, and nothing of the developer's environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BOTOBS_", "OTEL_", "SLACK_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _nobody_goes_on_logging():
    """What a page gave a logger is taken from it again: the next page's logger may be of that name."""

    def handlers():
        loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
        return {(one, each) for one in loggers if isinstance(one, logging.Logger) for each in one.handlers}

    before = handlers()
    yield
    for logger, handler in handlers() - before:
        logger.removeHandler(handler)


# --- the code runs


@pytest.mark.parametrize("chain", _chains(), ids=lambda chain: chain[0].place)
def test_python_of_a_page_runs(chain):
    _run(chain)


def test_tests_of_the_pages_pass(tmp_path):
    """In one process, with no plugin but ours: what else stands beside pytest takes a second to load."""
    blocks = [*filter(_is_test, BLOCKS)]
    for block in blocks:
        (tmp_path / f"test_{block.page.stem}_{block.line}.py").write_text(block.source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "botobs.testing", "--basetemp=kept"],
        cwd=tmp_path, env={**_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed and int(passed[1]) >= sum(block.source.count("def test_") for block in blocks) > 0, done.stdout


if shutil.which("jq"):  # a tool of the reader's, none that the tests may ask for

    def test_jq_lines_work_on_the_records():
        _run(next(chain for chain in _chains() if chain[0].page == README))
        lines = [
            line for block in BLOCKS if block.language == "sh" for line in block.source.splitlines()
            if line.startswith("jq ")
        ]  # fmt: skip
        assert lines
        for line in lines:
            place = "data/logs" if line.endswith(" signals.jsonl") else None
            done = subprocess.run(line, cwd=place, shell=True, capture_output=True, text=True, timeout=20, check=True)
            assert re.search("BTC-USD|trace_id", done.stdout), line


def test_json_and_toml_of_the_pages_are_right(tmp_path):
    for block in BLOCKS:
        if block.language == "json":
            assert json.loads(block.source), block.place
        elif block.language == "toml":
            (tmp_path / "botobs.toml").write_text(block.source)
            found = load("trend-bot", {}, env={}, cwd=tmp_path)
            assert found.origins or found.tables, block.place


def _modules_with_examples() -> list[str]:
    names = []
    for path in sorted((ROOT / "botobs").rglob("*.py")):
        if ">>> " in path.read_text("utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_of_a_module_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "botobs":
            raise
        pytest.skip(f"{error.name} comes with an extra")
    tests = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test, out=report.append, clear_globs=False)
    assert runner.tries, f"{name} has a '>>>' that is no example"
    assert not runner.failures, "".join(report)


# --- the tables and names are the code's own


def test_tables_come_from_the_code():
    substitutions = runpy.run_path(str(DOCS / "conf.py"))["myst_substitutions"]
    assert substitutions["settings_table"] == table_markdown()
    assert all(f"| `{setting.name}` |" in substitutions["settings_table"] for setting in SETTINGS)
    assert all(f"| `{row.name}` |" in substitutions["metrics_table"] for row in CATALOGUE)
    assert "\n{{ settings_table }}\n" in (DOCS / "configuration.md").read_text("utf-8")
    assert "\n{{ metrics_table }}\n" in (DOCS / "metrics.md").read_text("utf-8")


def test_type_checkers_know_every_setting():
    assert set(StartSettings.__annotations__) == {setting.name for setting in SETTINGS}


def test_all_is_sorted_and_the_public_surface():
    assert botobs.__all__ == sorted(botobs.__all__)
    assert all(getattr(botobs, name) is not None for name in botobs.__all__)
    source = ast.parse((ROOT / "botobs" / "__init__.py").read_text("utf-8"))
    made = {node.name for node in source.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in source.body:
        if isinstance(node, ast.Assign):
            made |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert {name for name in made if not name.startswith("_")} <= set(botobs.__all__)


def test_what_the_module_has_not_is_looked_for(tmp_path):
    nouns = re.search(r"An observer has the nouns (.*?)\.\n", (DOCS / "concepts.md").read_text("utf-8"), re.DOTALL)[1]
    named = set(re.findall(r"`(\w+)", nouns)) | {"bus"}
    assert named == botobs._NOUNS
    with botobs.start("trend-bot", data_dir=tmp_path) as obs:
        assert all(hasattr(obs, noun) for noun in named)
    with pytest.raises(AttributeError, match=r"it is the observer's: obs = botobs.start\(...\), obs.totals$"):
        botobs.totals  # noqa: B018 - what a newcomer tries
    with pytest.raises(AttributeError, match="module 'botobs' has no attribute 'fil'$") as caught:
        botobs.fil  # noqa: B018 - Python tells the nearest name of the module, if it knows whose it is
    assert (caught.value.name, caught.value.obj) == ("fil", botobs)


def test_verbs_of_the_module_show_what_they_take():
    for name in botobs.__all__:
        verb, own = getattr(botobs, name), getattr(botobs.Observer, name, None)
        if inspect.isfunction(own) and name not in {"flush", "shutdown"}:
            taken = inspect.signature(own)
            without = list(taken.parameters.values())[1:]
            assert inspect.signature(verb) == taken.replace(parameters=without), name


def test_every_public_name_is_told_of():
    told = " ".join(page.read_text("utf-8") for page in PAGES)
    missing = [name for name in botobs.__all__ if not re.search(rf"\b{name}\b", told)]
    assert not missing


def test_every_page_has_a_place_in_the_index():
    index = (DOCS / "index.md").read_text("utf-8")
    assert [page.stem for page in DOCS.glob("*.md") if page.stem != "index" and f"\n{page.stem}\n" not in index] == []


def test_every_dependency_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    told = (DOCS / "dependencies.md").read_text("utf-8")
    lists = re.findall(r"^(?:dependencies|dev|structlog) = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    names = {re.match(r"[\w-]+", spec)[0] for found in lists for spec in re.findall(r'"([^"]+)"', found)}
    assert len(lists) == 3
    assert sorted(name for name in names if f"`{name}`" not in told) == []


# --- README and links


def test_readme_shows_exactly_the_two_make_commands():
    shown = re.findall(r"\bmake +([\w-]+)", "\n".join(block.source for block in BLOCKS if block.page == README))
    assert shown == ["demo", "test"]
    prose = re.findall(r"`make ([\w-]+)`", README.read_text("utf-8"))
    assert set(prose) <= {"demo", "test"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        assert found.is_relative_to(ROOT), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(found), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    text = page.read_text("utf-8")
    headings = re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\((.+)\)=$", text, re.MULTILINE))


# --- what no file says


def _files() -> list[Path]:
    """Everything that is, or would be, in the repository."""
    listed = None
    with contextlib.suppress(OSError):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=False,
        )  # fmt: skip
    if listed is not None and listed.returncode == 0:
        names = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    else:  # an unpacked archive
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [name for name in names if not any(part[0] == "." or part == "__pycache__" for part in name.parts)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


# in halves, so that this file does not say them
_UNWANTED = {
    "a path of somebody's machine": r"(?<![\w.:/~-])/(?:%s|%s|%s)/[\w.]" % ("ho" "me", "wo" "rk", "Us" "ers"),
    "a package registry": "|".join(("py" r"pi\.org", "python" r"hosted\.org", "npm" r"js\.org", "ana" r"conda\.org")),
    "a private package index": "|".join(("index" "-url", "find" "-links", "/sim" "ple/")),
    "who or what wrote it": "|".join(
        (r"\bcl" r"aude\b", "anth" "ropic", "chat" "gpt", r"\bopen" r"ai\b", "co" "pilot", "co-auth" "ored-by",
         r"\bll" r"m\b", r"language mod" r"el", r"ai[- ]gen" r"erated", r"generated (?:by|with) ai\b")
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", _UNWANTED)
def test_no_file_names(what):
    pattern = re.compile(_UNWANTED[what], re.IGNORECASE)
    found = []
    for path in _files():
        text = path.read_bytes().decode("utf-8", "replace")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match[0]}")
    assert not found


# --- the pages build


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.timeout(60)
def test_the_pages_build_without_a_warning(tmp_path):
    out = tmp_path / "html"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees"),
         str(DOCS), str(out)],
        cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (out / "configuration.html").read_text("utf-8")
    assert all(f">{setting.name}<" in page for setting in SETTINGS)
