"""One model: what it is called, what explains it, and what its features are called."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.explainability.asking import Answer, ask
from botobs.explainability.making import MissingError, may_know, own_of
from botobs.explainability.rows import text
from botobs.explainability.shapley import Shapley

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from botobs.explainability.rows import Row

__all__ = ["Explanation", "Subject"]

_OFF: Final = 1e-3  # by this part of what is added up, an explainer may miss what the model said


@attrs.frozen
class Explanation:
    """A prediction taken apart.

    Attributes:
        contributions: How much each feature added.
        values: The values of the features, as far as they are known by name.
        base: What the contributions add to.
        prediction: What the model said.
        output: Which of its outputs that is; `None`: it has one.
        residual: The prediction less all that adds up.
    """

    contributions: dict[str, float]
    values: dict[str, Any]
    base: float | None
    prediction: float | None
    output: str | int | None
    residual: float | None

    @property
    def fits(self) -> bool:
        """Whether it adds up to what the model said, where both are known."""
        if self.residual is None:
            return True
        size = sum(map(abs, self.contributions.values()), abs(self.prediction or 0.0) + abs(self.base or 0.0))
        return abs(self.residual) <= _OFF * size


class Subject:
    """A model that is explained.

    Args:
        name: What it is called.
        model: The model; `None`: there is nothing but a function.
        native: SHAP may know this kind of model, and its answers are what such an explainer explains.
        explainer: What explains it; `None`: SHAP, if it knows this kind of model, else what the model answers.
        background: Typical rows.
        features: What its features are called; `None`: as the rows, the explainer or the model say.

    Attributes:
        name: The same.
        broken: Why nothing can be explained; `None`: it can.
        hint: How it could be explained better; told once.
        made_ns: Processor time that making explainers took, which comes once.
    """

    def __init__(
        self,
        name: str,
        model: Any = None,
        *,
        native: bool = False,
        explainer: Any = None,
        background: Any = None,
        features: Iterable[Any] | None = None,
    ) -> None:
        self.name = name
        self.broken: str | None = None
        self.hint: str | None = None
        self.made_ns = 0
        self._model = model
        self._explainer = explainer
        self._background = background
        self._features = None if features is None else [text(each) for each in features]
        self._own: Any = None
        # a classifier's would explain no label
        self._may_own = (
            native
            and model is not None
            and explainer is None
            and not hasattr(model, "classes_")
            and may_know(model)
        )  # fmt: skip
        self._shapley: tuple[Any, Shapley] | None = None

    def explain(
        self,
        row: Row,
        said: tuple[float, ...] | None,
        again: Callable[[Any], Any],
        breath: Callable[[], object] = int,
    ) -> Explanation:
        """Take a prediction apart.

        Args:
            row: What the model saw.
            said: What it answered.
            again: Asks the model about other rows of the same form.
            breath: Called between questions: the bot may have the interpreter.

        Raises:
            Exception: Whatever an explainer raises.
        """
        try:
            if self._explainer is not None:
                return self._told(ask(self._explainer, row, _table), row, said)
            if self._may_own:
                found = self._by_own(row, said)
                if found is not None:
                    return found
            return self._told(self._by_answers(row)(row, again, breath), row, said)
        except MissingError as error:
            self.broken = str(error)
            raise

    def _by_own(self, row: Row, said: tuple[float, ...] | None) -> Explanation | None:
        """By SHAP's explainer for this kind of model, if there is one and it explains what the model answers."""
        self._may_own = False
        if self._own is None:
            begun = time.thread_time_ns()
            try:
                self._own = own_of(self._model, self._background)
            except MissingError as error:
                if self._background is None:
                    raise
                self.hint = str(error)
            self.made_ns += time.thread_time_ns() - begun
        if self._own is None:
            return None
        try:
            found = self._told(ask(self._own, row, _table), row, said)
        except Exception:
            if self._background is None:
                raise
            return None
        # odds instead of a probability, say: no explanation of this answer
        self._may_own = found.fits or self._background is None
        return found if self._may_own else None

    def _by_answers(self, row: Row) -> Shapley:
        form = (row.form, type(row.value), row.names() or len(row.cells()))
        if self._shapley is None or self._shapley[0] != form:
            begun = time.thread_time_ns()
            self._shapley = (form, Shapley(self._background, row))
            self.made_ns += time.thread_time_ns() - begun
        return self._shapley[1]

    def _told(self, answer: Answer, row: Row, said: tuple[float, ...] | None) -> Explanation:
        cells, known = row.cells(), row.names()
        at, prediction, comparable = _chosen(answer, said, self._model)
        values, base = answer.values[at], answer.bases[at]
        names = self._names(answer, known, len(values))
        residual = None
        if comparable and base is not None and prediction is not None:
            residual = prediction - base - sum(values)
        labels = self._features or known or ([] if answer.by_name else names)
        return Explanation(
            contributions=dict(zip(names, values, strict=True)),
            values=dict(zip(labels, cells, strict=False)) if len(labels) == len(cells) else {},
            base=base,
            prediction=prediction,
            output=None if len(answer.values) == 1 else _label(at, len(answer.values), self._model),
            residual=residual,
        )

    def _names(self, answer: Answer, known: list[str] | None, count: int) -> list[str]:
        if answer.by_name:
            return answer.names or []
        for told in (self._features, known):
            if told is not None and len(told) != count:
                raise ValueError(f"an explainer gave {count} contributions for {len(told)} features")
        model = self._model
        trained = (getattr(model, "feature_names_in_", None), getattr(model, "feature_name_", None))
        for each in (self._features, known, answer.names, *trained):
            if each is not None and len(each) == count:
                names = [text(name) for name in each]
                if len(set(names)) == count:
                    return names
        return [f"f{n}" for n in range(count)]


def _chosen(answer: Answer, said: tuple[float, ...] | None, model: Any) -> tuple[int, float | None, bool]:
    """Which output is told, what the model said of it, and whether contributions add up to that."""
    count = len(answer.values)
    if said is not None and len(said) == count:
        at = max(range(count), key=said.__getitem__)
        return at, said[at], True
    if count == 1:
        if said is not None and len(said) == 2:  # of two classes, the second is what is explained
            return 0, said[1], True
        return 0, None, False
    if said is not None and len(said) == 1:  # a label
        classes = [*getattr(model, "classes_", range(count))]
        if said[0] in classes and len(classes) == count:
            return classes.index(said[0]), said[0], False
    reached = [(base or 0.0) + sum(values) for base, values in zip(answer.bases, answer.values, strict=True)]
    return max(range(count), key=reached.__getitem__), None, False


def _label(at: int, count: int, model: Any) -> str | int:
    classes: Sequence[Any] = getattr(model, "classes_", ())
    return text(classes[at]) if len(classes) == count else at


def _table(row: Row) -> Any:
    """The row as a table of one, for an explainer that takes tables."""
    if row.form == "frame" or hasattr(row.value, "ndim"):
        if row.form in ("frame", "table"):
            return row.value
        if hasattr(row.value, "reshape"):
            return row.value.reshape(1, -1)
    numbers = [row.numbers()]
    try:
        import numpy as np  # noqa: PLC0415  # what explains tables has it, mostly
    except ImportError:
        return numbers
    return np.array(numbers)
