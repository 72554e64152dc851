"""A sample of the campaign in tests/soak/ledger.py."""

from __future__ import annotations

import pytest

from tests.soak.ledger import ledger_rounds


@pytest.mark.soak
def test_kill_9_while_threads_add(tmp_path):
    figures = ledger_rounds(tmp_path / "data", 3, seed=3)
    assert figures["acknowledged"] > 20
