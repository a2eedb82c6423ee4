"""Classes and their numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

import fastrnn

Labels = NDArray[Any]


def numbers(who: str, labels: Labels, classes: Labels) -> NDArray[np.int64]:
    """Return the place of each label (...) in classes (V,), which are sorted."""
    places = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    wrong = classes[places] != labels
    if np.any(wrong):
        raise ValueError(f"{who}: y has label {labels[wrong].tolist()[0]!r}; expected one of the {len(classes)} in classes_")
    return places.astype(np.int64)


def loss_of(class_weight: Any, classes: Labels, labels: Labels, dtype: Any) -> Any:
    """Return softmax cross-entropy with the weights of the classes, balanced by labels (M,) where that is asked for."""
    if class_weight is None:
        return fastrnn.softmax_cross_entropy
    if class_weight == "balanced":
        present = np.unique(labels)
        weights = np.ones(len(classes))
        weights[np.searchsorted(classes, present)] = compute_class_weight("balanced", classes=present, y=labels)
    else:
        weights = compute_class_weight(class_weight, classes=classes, y=labels)
    return partial(fastrnn.softmax_cross_entropy, class_weights=weights.astype(dtype))
