"""What botobs makes of one test: records, spans, events, metrics, and the faults to try."""

from __future__ import annotations

import difflib
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botobs.stages.engine import ENGINES
from botobs.stages.live import get_context, set_context
from botobs.testing import scrape
from botobs.testing.clock import Clock
from botobs.testing.injector import Injector
from botobs.testing.spans import CapturedSpan, SpanBook, matching, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Unpack

    from botobs.config import StartSettings
    from botobs.events import Event
    from botobs.observer import Observer
    from botobs.testing.injector import Line
    from botobs.testing.observed import Observed

__all__ = ["Capture"]

E = TypeVar("E", bound="Event")

#: How long reading waits for what is under way; on a machine in good order it is milliseconds.
PATIENCE_S = 5.0
_MOST_SHOWN = 40


class Capture:
    """Captures what botobs makes of one test. The fixture `capbot` is one; elsewhere, a context manager.

    Attributes:
        clock: The clock of the observers it starts.
        faults: Breaks and mends the disk and the collector.

    Args:
        folder: Where data directories are made: a folder, or a function that makes one at each call.
    """

    def __init__(self, folder: Path | str | Callable[[], Path]) -> None:
        self.clock = Clock()
        self.faults = Injector(self._faults_changed)
        self._folder = folder
        self._running: list[tuple[Observed, Line]] = []
        self._spans: list[tuple[SpanBook, list[CapturedSpan], int]] = []
        self._engines = list(ENGINES)
        self._context = get_context()

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, bot: str = "test-bot", **settings: Unpack[StartSettings]) -> Observer:
        """Start an observer that ends with the test; as many as wanted.

        Unless the settings say otherwise it has a data directory of its own, the controlled clock, keeps every trace,
        and is strict. It reads neither environment nor `botobs.toml`, opens no port, and its ids are the same in each
        run. Given an `otlp_endpoint`, it sends there, and not into `spans`.

        Args:
            bot: The bot's name.
            **settings: As of `botobs.start`.
        """
        from botobs.parts import Parts  # noqa: PLC0415  # exporters load here, not with the plugin
        from botobs.testing.observed import Observed  # noqa: PLC0415  # the same

        number = len(self._running) + 1
        given: dict[str, Any] = {"clock": self.clock, "keep_traces": "all", "strict": True, **settings}
        if "data_dir" not in given:
            given["data_dir"] = self._new_folder(number)
        line = self.faults.collector.line()
        parts = Parts(
            disk=self.faults.disk,
            transport=None if given.get("otlp_endpoint") else line,
            seed=number,
            run_id=f"test-run-{number}",
            bare=True,
            scrape=True,
        )
        observed = Observed.start(bot, given, parts)
        assert isinstance(observed, Observed)
        self._running.append((observed, line))
        self._spans.append((SpanBook(), [], 0))
        self._faults_changed()
        return observed

    @property
    def obs(self) -> Observer:
        """The observer started last; the first use starts one."""
        return self._running[-1][0] if self._running else self.start()

    def close(self) -> None:
        """End every observer that was started since this capture was made, by it or by the bot.

        Faults are taken back first, so that nothing has to be waited for. A tick that was never left is left.
        """
        self.faults.all_ok()
        for observed, _ in reversed(self._running):
            observed.shutdown(PATIENCE_S)
        for engine in [engine for engine in ENGINES if engine not in self._engines]:
            from botobs.lifecycle import running  # noqa: PLC0415  # loaded by start

            observer = running(engine)
            if observer is not None:
                observer.shutdown(PATIENCE_S)
        if get_context() is not self._context:
            set_context(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_folder(self, number: int) -> Path:
        if callable(self._folder):
            return self._folder()
        return Path(self._folder) / f"botobs-{number}"

    def _faults_changed(self) -> None:
        for observed, _ in self._running:
            observed.faults.strict = observed.settings.strict and not self.faults.disk.broken

    # -- records ------------------------------------------------------------------------------------------------------

    def records(self, stream: str, /) -> list[dict[str, Any]]:
        """The records of a stream, read back from disk, oldest first."""
        return [record for reader in self._readers() for record in reader.read(stream)]

    def record(self, stream: str, /, **fields: Any) -> dict[str, Any]:
        """The one record of a stream that has these fields.

        Raises:
            AssertionError: There is none, or more than one.
        """
        missing = object()
        everything = self.records(stream)
        found = [record for record in everything if all(record.get(key, missing) == fields[key] for key in fields)]
        if len(found) == 1:
            return found[0]
        what = f"{_many(len(found), 'record')} in {stream!r}" + (f" with {_pairs(fields)}" if fields else "")
        if everything:
            raise AssertionError(f"{what}, of these:{_listed(everything)}")
        raise AssertionError(f"{what}; {_instead(stream, self.streams, 'streams with records')}")

    @property
    def streams(self) -> list[str]:
        """The streams that have records. `runs`, which tells of starts and ends, is always one."""
        return sorted({stream for reader in self._readers() for stream in reader.streams()})

    def _readers(self) -> list[Any]:
        from botobs.streams.reader import StreamReader  # noqa: PLC0415  # loaded with start

        self._settle()
        folders = dict.fromkeys(observed.data_dir for observed, _ in self._started())
        return [StreamReader(folder) for folder in folders if folder is not None]

    # -- spans --------------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[CapturedSpan]:
        """The spans that the collector took, as it decodes them: ticks in the order they ended, parents first.

        A backtest sends none.

        Raises:
            TimeoutError: The collector works, and yet spans do not arrive.
        """
        for place, (observed, line) in enumerate(self._started()):
            if self.faults.collects and observed.flush(PATIENCE_S).spans.pending:
                raise TimeoutError(f"{observed!r}: spans are still under way after {PATIENCE_S:g} s")
            book, spans, read = self._spans[place]
            payloads = line.payloads[read:]
            for payload in payloads:
                spans += book.decode(payload)
            self._spans[place] = (book, spans, read + len(payloads))
        return [span for _, spans, _ in self._spans for span in spans]

    def span(self, name: str, /, **attributes: Any) -> CapturedSpan:
        """The one span of that name with these attributes.

        Raises:
            AssertionError: There is none, or more than one.
        """
        spans = self.spans
        found = matching(spans, name, attributes)
        if len(found) == 1:
            return found[0]
        what = f"{_many(len(found), 'span')} {name!r}" + (f" with {_pairs(attributes)}" if attributes else "")
        named = matching(spans, name, {})
        if named:
            raise AssertionError(f"{what}, of these:{_listed(named)}")
        names = list(dict.fromkeys(span.name for span in spans))
        raise AssertionError(f"{what}; {_instead(name, names, 'spans')}")

    def tree(self, trace: str | CapturedSpan | None = None, *, durations: bool = False) -> str:
        r"""Spans as an indented text, one a line.

        Args:
            trace: Which trace, by its id or one of its spans; all of them, in order, if not given.
            durations: Tell how long each took.

        Example:
            ```python
            def test_the_bots_shape(capbot):
                with capbot.obs.tick("BTC-USD"), capbot.obs.model("lgbm"):
                    pass
                assert capbot.tree() == "tick\n  lgbm"
            ```
        """
        spans = self.spans
        if trace is not None:
            wanted = trace.trace_id if isinstance(trace, CapturedSpan) else trace
            spans = [span for span in spans if span.trace_id == wanted]
        return tree(spans, durations=durations)

    # -- events and metrics -------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        """Every event of the bus, beginning with `RunStarted`. Ticks, stages and signals make none."""
        return [event for observed, _ in self._started() for event in observed.seen]

    def events_of(self, event_type: type[E], /) -> list[E]:
        """The events of one class and its subclasses."""
        return [event for event in self.events if isinstance(event, event_type)]

    def metric(self, name: str, /, **labels: object) -> float | None:
        """What a scrape would read of a counter or a gauge; `None`: there is no such series.

        Of several observers, the one started last is asked.

        Raises:
            LookupError: Several series have these labels.
        """
        return scrape.metric(self.metrics_page, name, labels)

    def histogram(self, name: str, /, **labels: object) -> tuple[int, float] | None:
        """As `metric`, of a histogram: how many values it saw, and their sum."""
        return scrape.histogram(self.metrics_page, name, labels)

    @property
    def metrics_page(self) -> str:
        """What `/metrics` would show of the observer started last."""
        self._settle()
        return self._started()[-1][0].page()

    # -- trouble ------------------------------------------------------------------------------------------------------

    @property
    def errors(self) -> dict[str, int]:
        """Errors that botobs caught inside itself, by place."""
        return self._counted(lambda observed: observed.faults.errors)

    @property
    def dropped(self) -> dict[str, int]:
        """What had to be dropped, by stream; `spans` among them."""
        self._settle()
        return self._counted(lambda observed: observed.faults.drops)

    def summary(self) -> str:
        """What was captured, in a few lines; shown where a test failed."""
        if not self._running:
            return "no observer was started"
        lines = [", ".join(repr(observed) for observed, _ in self._running)]
        counts = ", ".join(f"{stream} {len(self.records(stream))}" for stream in self.streams)
        lines.append(f"records: {counts or 'none'}")
        traces = self.tree(durations=True).splitlines()
        lines.append(f"spans: {len(traces) or 'none'}")
        lines += [f"  {line}" for line in traces[:_MOST_SHOWN]]
        if len(traces) > _MOST_SHOWN:
            lines.append(f"  ... and {len(traces) - _MOST_SHOWN} more")
        if self.errors:
            last = next((o.faults.last_error for o, _ in reversed(self._running) if o.faults.last_error), "")
            lines.append(f"errors: {_pairs(self.errors)}; the last: {last}")
        if self.dropped:
            lines.append(f"dropped: {_pairs(self.dropped)}")
        if self.faults.in_force:
            lines.append(f"faults: {', '.join(self.faults.in_force)}")
        return "\n".join(lines)

    def _counted(self, of: Callable[[Observed], Any]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for observed, _ in self._started():
            total.update(of(observed))
        return dict(total)

    def _settle(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        for observed, _ in self._started():
            if not observed.settle(deadline) and not self.faults.disk.broken:
                raise TimeoutError(f"{observed!r}: records are still on their way after {PATIENCE_S:g} s")

    def _started(self) -> Sequence[tuple[Observed, Line]]:
        if not self._running:
            raise LookupError(
                "no observer was started in this test, so nothing was captured: "
                "call capbot.start(...) or use capbot.obs before the bot runs"
            )
        return self._running

    def __repr__(self) -> str:
        events = sum(len(observed.seen) for observed, _ in self._running)
        return f"<botobs capture: {_many(len(self._running), 'observer')}, {_many(events, 'event')}>"


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values.items())


def _listed(things: Sequence[object]) -> str:
    shown = "".join(f"\n  {thing!r}" for thing in things[:_MOST_SHOWN])
    return shown if len(things) <= _MOST_SHOWN else f"{shown}\n  ... and {len(things) - _MOST_SHOWN} more"


def _instead(name: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f"did you mean {near[0]!r}?" if near else f"{what}: {', '.join(known) or 'none'}"
