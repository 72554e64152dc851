"""The pytest plugin: loaded by pytest alone, through `botobs.testing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from botobs.testing.capture import Capture

__all__ = ["botobs_capture", "capbot"]

_CAPTURE = pytest.StashKey["Capture"]()


@pytest.fixture
def capbot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Capture]:
    """Captures the events, spans, metrics and records of one test; see `botobs.testing.Capture`."""
    from botobs.testing.capture import Capture  # noqa: PLC0415  # most runs of pytest do not need it

    with Capture(lambda: tmp_path_factory.mktemp("botobs")) as capture:
        request.node.stash[_CAPTURE] = capture
        yield capture


@pytest.fixture
def botobs_capture(capbot: Capture) -> Capture:
    """The same as `capbot`, under a longer name."""
    return capbot


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show below a failed test what was captured."""
    report = yield
    capture = item.stash.get(_CAPTURE, None)
    if capture is not None and call.when == "call" and report.failed:
        try:
            said = capture.summary()
        except Exception as error:  # the test's own failure is what has to be seen
            said = f"what was captured cannot be shown: {type(error).__name__}: {error}"
        report.sections.append(("Captured botobs", said))
    return report
