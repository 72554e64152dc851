"""The verb that explains a model, for the module (`botobs.explain_model`) and for one observer alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from botobs.stages.verbs import StageVerbs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from botobs.explainability.wrapping import Explained

__all__ = ["ModelVerbs"]

F = TypeVar("F", bound="Callable[..., Any]")


class ModelVerbs(StageVerbs):
    """The verbs of stages, and `explain_model`."""

    @overload
    def explain_model(
        self,
        model: None = None,
        background: Any = None,
        *,
        name: str | None = None,
        explainer: Any = None,
        features: Iterable[str] | None = None,
        every: int | None = None,
        most_per_s: float | None = 1.0,
        orders: bool = True,
        rows: int = 1,
        top: int = 10,
        window: str | float | timedelta = "1d",
    ) -> Callable[[F], F]: ...

    @overload
    def explain_model(  # type: ignore[overload-overlap]  # what can be called stays what it is
        self,
        model: F,
        background: Any = None,
        *,
        name: str | None = None,
        explainer: Any = None,
        features: Iterable[str] | None = None,
        every: int | None = None,
        most_per_s: float | None = 1.0,
        orders: bool = True,
        rows: int = 1,
        top: int = 10,
        window: str | float | timedelta = "1d",
    ) -> F: ...

    @overload
    def explain_model(
        self,
        model: object,
        background: Any = None,
        *,
        name: str | None = None,
        explainer: Any = None,
        features: Iterable[str] | None = None,
        every: int | None = None,
        most_per_s: float | None = 1.0,
        orders: bool = True,
        rows: int = 1,
        top: int = 10,
        window: str | float | timedelta = "1d",
    ) -> Explained: ...

    def explain_model(
        self,
        model: Any = None,
        background: Any = None,
        *,
        name: str | None = None,
        explainer: Any = None,
        features: Iterable[str] | None = None,
        every: int | None = None,
        most_per_s: float | None = 1.0,
        orders: bool = True,
        rows: int = 1,
        top: int = 10,
        window: str | float | timedelta = "1d",
    ) -> Any:
        """Wrap a model: it runs in a stage, and some of its predictions are explained in the background.

        What is given back is called as the model was, and answers as the model does; what the model has beside
        `predict` and `predict_proba` is reached through it. Without a model it is a decorator.

        Args:
            model: A function of one row or of a table of rows, or an object with `predict` or `predict_proba`.
            background: Typical rows, in the form that the model takes.
            name: What the model and its stage are called.
            explainer: What explains it: one of SHAP's, an object with `shap_values`, or a function of one row that
                gives the contributions. `None`: SHAP, for a kind of model that it knows; else what the model answers
                when features are replaced by those of the background.
            features: What its features are called.
            every: Each n-th prediction is explained; `None`: each, and in a backtest each hundredth.
            most_per_s: But no more than so many a second; `None`: as many as there are.
            orders: Also the prediction that an order came from.
            rows: Of a table, so many of the last rows.
            top: So many contributions are written, the largest.
            window: How far importance looks back.

        Raises:
            TypeError: It is no model, or a value is of no use.
            ValueError: A value is out of its range.

        Example:
            >>> import botobs
            >>> @botobs.explain_model(explainer=lambda row: {"rsi": 0.1 * row["rsi"]})
            ... def predict(row: dict[str, float]) -> float:
            ...     return 0.1 * row["rsi"]
            >>> predict({"rsi": 55.0})
            5.5
        """
        from botobs.explainability.choosing import sampling_of  # noqa: PLC0415  # running does not need it
        from botobs.explainability.wrapping import explained, name_of  # noqa: PLC0415  # the same

        sampling = sampling_of(
            every=every, most_per_s=most_per_s, orders=orders, rows=rows, top=top, window=window
        )  # fmt: skip
        if features is not None:
            if isinstance(features, str):
                raise TypeError("features takes a list of names")
            features = [*features]

        def wrap(found: Any) -> Any:
            return explained(
                found, self.model, name=name_of(found) if name is None else str(name)[:200], explainer=explainer,
                background=background, features=features, sampling=sampling,
            )  # fmt: skip

        return wrap if model is None else wrap(model)
