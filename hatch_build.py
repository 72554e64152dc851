"""Compile `botobs/_quick.c` where there is a compiler; without one, botobs is the same in pure Python.

Nothing here makes an installation fail: what cannot be compiled is left out, and said.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_quick", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


class QuickHook(BuildHookInterface):  # type: ignore[type-arg]  # it takes whatever is built
    """Puts the compiled module beside its source, and into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before anything is packed."""
        if self.target_name != "wheel":
            return
        try:
            found = compiled(Path(self.root))
        except Exception as error:  # a folder that cannot be written, a compiler that nobody can call
            found = f"{type(error).__name__}: {error}"
        if isinstance(found, str):
            if version == "editable":  # one of an earlier installation may be of another source
                with contextlib.suppress(OSError):
                    made(Path(self.root)).unlink()
            self.app.display_warning(f"botobs stays in pure Python: {found}")
            return
        build_data["artifacts"].append(found.relative_to(self.root).as_posix())
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def made(root: Path) -> Path:
    """Where the compiled module stands."""
    return root / "botobs" / f"_quick{sysconfig.get_config_var('EXT_SUFFIX')}"


def compiled(root: Path) -> Path | str:
    """The compiled module; text: why there is none."""
    if os.environ.get("BOTOBS_PURE", "") not in ("", "0"):
        return "BOTOBS_PURE is set"
    if platform.python_implementation() != "CPython" or sys.platform == "win32":
        return f"nothing is compiled for {platform.python_implementation()} on {sys.platform}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it needs the interpreter's lock"
    target = made(root)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / target.name
        problem = _compile(root / "botobs" / "_quick.c", draft)
        if problem is not None:
            return problem
        # replaced in one go: a running bot may have the old one open
        beside = target.with_name(f".{target.name}.new")
        beside.write_bytes(draft.read_bytes())
        beside.chmod(0o755)
        beside.replace(target)
    return target


def _compile(source: Path, draft: Path) -> str | None:
    """Make `draft`, and load it once in a process of its own; what went wrong, if anything did."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    apart = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    command = [
        *compiler, "-O2", "-fPIC", "-fno-strict-aliasing", "-DNDEBUG", *apart,
        f"-I{sysconfig.get_path('include')}", str(source), "-o", str(draft),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=300)  # noqa: S603
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()  # in whatever language and encoding
            return f"it does not compile here: {said[-500:]}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"no compiler: {error}"
    try:
        subprocess.run([sys.executable, "-c", _LOAD, str(draft)], check=True, capture_output=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return f"what was compiled does not load: {error}"
    return None
