"""Classes and their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

Labels = NDArray[Any]


def numbers(who: str, labels: Labels, classes: Labels) -> NDArray[np.int64]:
    """Return the place of each label (...) in classes (V,), which are sorted."""
    places = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    wrong = classes[places] != labels
    if np.any(wrong):
        label = labels[wrong].tolist()[0]
        raise ValueError(f"{who}: y has label {label!r}; expected one of the {len(classes)} in classes_")
    return places.astype(np.int64)


def weights_of(who: str, class_weight: Any, classes: Labels, labels: Labels) -> NDArray[np.float64] | None:
    """Return the weight of each class (V,), balanced by labels (M,) where that is asked for; None for none."""
    if class_weight is None:
        return None
    present = np.unique(labels) if class_weight == "balanced" else classes
    weights = np.ones(len(classes))  # also of those that are announced and not there yet
    weights[np.searchsorted(classes, present)] = compute_class_weight(class_weight, classes=present, y=labels)
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(f"{who}: class_weight is {class_weight}; expected finite numbers >= 0")
    return weights
