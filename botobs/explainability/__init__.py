"""What made a model say what it said.

```
verbs        explain_model, for the module and for one observer
wrapping     the model as the bot calls it
gate         which predictions are looked at
rows         a model's input, copied in the bot's thread; its output, as numbers
asking       an explainer's answer, whatever its shape
making       SHAP's explainer for a kind of model that it knows
shapley      contributions of any other model, by what it answers
subject      one model: its explainer, its features' names
worker       the thread that explains, and rests
importance   which features count, over a window
tracker      joins them: the noun `explainability`
```

Everything but `verbs` is loaded by the first model that is explained, or by `start`; `shap` by the first prediction
of a model that it may know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botobs.explainability.importance import FeatureImportance
    from botobs.explainability.tracker import Explainability
    from botobs.explainability.wrapping import Explained

__all__ = ["Explainability", "Explained", "FeatureImportance"]


def _load(name: str) -> Any:
    """The public names, loaded when somebody asks: `import botobs` passes here."""
    if name == "Explainability":
        from botobs.explainability.tracker import Explainability  # noqa: PLC0415  # see above

        return Explainability
    if name == "Explained":
        from botobs.explainability.wrapping import Explained  # noqa: PLC0415  # see above

        return Explained
    if name == "FeatureImportance":
        from botobs.explainability.importance import FeatureImportance  # noqa: PLC0415  # see above

        return FeatureImportance
    raise AttributeError(f"module 'botobs.explainability' has no attribute {name!r}")


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _load
