"""Heads by name: fitting one, and restoring one from what was stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.errors import ModelError, UsageError
from closeup.heads.base import Fitted, Head, Scaler
from closeup.heads.logistic import LogisticHead, fit_logistic
from closeup.heads.mlp import MlpHead, fit_mlp
from closeup.types import Floats

_Fit = Callable[[Floats, Sequence[str], NDArray[np.int64], int], Fitted]

KINDS: Mapping[str, _Fit] = MappingProxyType({"logistic": fit_logistic, "mlp": fit_mlp})
"""The heads there are."""


def fit(
    kind: str, embeddings: Floats, labels: Sequence[str], folds: NDArray[np.int64], seed: int
) -> Fitted:
    """Fit a head of a kind.

    Parameters
    ----------
    embeddings, labels
        ``(n, dim)`` float32 and their n labels, at least two different ones.
    folds
        ``(n,)``: the fold of each row for choosing settings; groups are whole in them.

    Raises
    ------
    UsageError
        Where there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"no head is called {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](embeddings, labels, folds, seed)


def restore(
    kind: str,
    labels: Sequence[str],
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
) -> Head:
    """The head whose `arrays` and `settings` were stored.

    Raises
    ------
    ModelError
        Where the kind is unknown, or arrays are missing, not finite, or do not fit together.
    """
    del settings  # no kind has any yet; the parameter is part of the format
    shapes = _SHAPES.get(kind)
    if shapes is None:
        raise ModelError(f"the model has a head of kind {kind!r}, this version knows "
                         f"{', '.join(_SHAPES)}; upgrade")  # fmt: skip
    sizes = {"classes": len(labels)}
    for name, axes in shapes.items():
        value = arrays.get(name)
        if value is None or value.dtype != np.float32 or value.ndim != len(axes):
            raise ModelError(f"the head's array {name!r} is missing or of another type")
        for axis, size in zip(axes, value.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ModelError(
                    f"the head's array {name!r} has {size} {axis}, expected {sizes[axis]}"
                )
        if not np.isfinite(value).all():
            raise ModelError(f"the head's array {name!r} holds values that are not finite")
    scaler = Scaler(arrays["mean"], arrays["scale"])
    if kind == "logistic":
        return LogisticHead(tuple(labels), scaler, arrays["weights"], arrays["bias"])
    layers = (arrays["weights1"], arrays["bias1"], arrays["weights2"], arrays["bias2"])
    return MlpHead(tuple(labels), scaler, layers)


_SHAPES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "logistic": {"mean": ("dim",), "scale": ("dim",), "weights": ("dim", "classes"),
                     "bias": ("classes",)},
        "mlp": {"mean": ("dim",), "scale": ("dim",), "weights1": ("dim", "units"),
                "bias1": ("units",), "weights2": ("units", "classes"), "bias2": ("classes",)},
    }
)  # fmt: skip
