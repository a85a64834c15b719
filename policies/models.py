"""Kinds that come in several models: which settings each model takes, and how it is made.

A spec with a field `model` holds the settings of all its models; the ones that not every model takes are
None by default, which stands for the model's own default. A setting of another model is refused, not ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from policies.errors import InvalidInput
from policies.protocol import Policy

__all__ = ["Model", "model_of"]

SpecT_contra = TypeVar("SpecT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Model(Generic[SpecT_contra]):
    """One model of a kind.

    Attributes
    ----------
    settings
        Names of the settings that it takes, of those that not every model takes.
    make
        Makes the policy from its spec; raises `InvalidInput` where one of those settings is out of its range.
    """

    settings: tuple[str, ...]
    make: Callable[[SpecT_contra], Policy]


def model_of(spec: Any, models: Mapping[str, Model[Any]]) -> Model[Any]:
    """Return the model that a spec names.

    Raises
    ------
    InvalidInput
        There is no such model, or a setting is given that it does not take.
    """
    if spec.model not in models:
        raise InvalidInput("unknown_choice", "model", f"must be one of {', '.join(models)}, not {spec.model!r}")
    model = models[spec.model]
    for name in sorted({name for other in models.values() for name in other.settings} - {*model.settings}):
        if getattr(spec, name) is not None:
            takers = " and ".join(repr(key) for key, other in models.items() if name in other.settings)
            raise InvalidInput(
                "setting_does_not_apply", name, f"is no setting of model {spec.model!r}, but of {takers}"
            )
    return model
