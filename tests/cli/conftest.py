"""Every test of a command runs in an empty directory, with nothing of the developer's environment."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _somewhere_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BOTOBS_", "OTEL_")):
            monkeypatch.delenv(name)
