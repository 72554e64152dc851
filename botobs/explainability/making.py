"""SHAP's explainer for a kind of model that it knows: linear ones, and trees.

These are exact, quick, and read the model instead of asking it. Whatever else SHAP has asks the model, too, and first
compiles itself for several seconds, in which it holds the interpreter; `shapley` does that work without.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["MissingError", "may_know", "own_of"]

_KINDS: Final = frozenset({"TreeExplainer", "LinearExplainer"})
_FAMILIES: Final = frozenset(
    {"catboost", "econml", "imblearn", "lightgbm", "ngboost", "pyod", "pyspark", "sklearn", "skopt", "xgboost"}
)


class MissingError(RuntimeError):
    """Something is missing without which nothing can be explained; the message says what."""


def may_know(model: Any) -> bool:
    """Whether SHAP may know this kind of model: to find out for sure takes seconds."""
    families = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    return not families.isdisjoint(_FAMILIES) or hasattr(model, "coef_")


def own_of(model: Any, background: Any) -> Any:
    """SHAP's own explainer for this kind of model; `None`: it has none.

    Raises:
        MissingError: SHAP is not installed.
    """
    try:
        import shap  # noqa: PLC0415  # an extra, and it takes seconds
    except ImportError as error:
        raise MissingError(
            f"SHAP, which knows models such as {type(model).__name__}, cannot be loaded ({error}): "
            "install botobs[shap], or give explainer="
        ) from error
    try:
        found = shap.Explainer(model) if background is None else shap.Explainer(model, background)
    except Exception:  # it knows no such model
        return None
    return found if type(found).__name__ in _KINDS else None
