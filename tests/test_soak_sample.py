"""A sample of every campaign of `make soak`, with a seed of its own."""

from __future__ import annotations

import pytest

from tests.soak.campaigns import CAMPAIGNS


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name, (_, _, sample) in CAMPAIGNS.items() if sample])
def test_a_sample_of(name, tmp_path):
    campaign, _full, sample = CAMPAIGNS[name]
    figures = campaign(tmp_path / "data", sample, 20260105)
    assert figures
