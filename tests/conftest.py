"""What all tests share."""

from __future__ import annotations

import os

import hypothesis
import pytest

REAL = os.environ.get("BOTOBS_REAL_SERVERS") == "1"

# The same examples in each run, however slow the machine is: who runs the suite learns of the change under test.
# `make soak` looks further, and so does `--hypothesis-profile=default`.
hypothesis.settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
if "SOAK_FACTOR" not in os.environ:
    hypothesis.settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where real servers are promised, a test that skips for want of one has failed."""
    report = yield
    if REAL and report.skipped and not hasattr(report, "wasxfail") and call.excinfo is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped, though BOTOBS_REAL_SERVERS=1: {call.excinfo.value}"
    return report


@pytest.fixture(autouse=True)
def _nothing_left_running():
    """No test leaves an observer behind."""
    yield
    from botobs.stages.engine import ENGINES

    left = list(ENGINES)
    ENGINES.clear()
    assert not left, "a test left an observer running"
