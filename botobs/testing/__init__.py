"""For the tests of a bot: a controlled clock, and a pytest plugin that captures what botobs makes of one test.

pytest finds the plugin by itself where botobs is installed. `from botobs.testing import Clock` needs no pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.testing.clock import Clock

if TYPE_CHECKING:
    from botobs.testing.capture import Capture
    from botobs.testing.injector import Injector
    from botobs.testing.spans import CapturedSpan

__all__ = ["Capture", "CapturedSpan", "Clock", "Injector"]

#: Read by pytest when it loads this module as a plugin: only then are fixtures, and pytest itself, imported.
pytest_plugins = ("botobs.testing.fixtures",)


def _load(name: str) -> Any:
    """What only tests with the fixture need, mostly for annotations."""
    if name == "Capture":
        from botobs.testing.capture import Capture  # noqa: PLC0415  # see above

        return Capture
    if name == "CapturedSpan":
        from botobs.testing.spans import CapturedSpan  # noqa: PLC0415  # see above

        return CapturedSpan
    if name == "Injector":
        from botobs.testing.injector import Injector  # noqa: PLC0415  # see above

        return Injector
    raise AttributeError(f"module 'botobs.testing' has no attribute {name!r}")


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _load
