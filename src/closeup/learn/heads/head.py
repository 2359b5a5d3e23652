"""What a head is: dense layers on an embedding, in plain NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import ModelError
from closeup.core.parallel import one_blas_thread
from closeup.core.types import Floats

LAYERS = {"prototype": 1, "ridge": 1, "logistic": 1, "mlp": 2}
"""Every kind of head, simplest first, with its number of dense layers."""


class Dense(NamedTuple):
    """One layer: ``x @ weights.T + bias``, weights ``(outputs, inputs)``, bias ``(outputs,)``."""

    weights: Floats
    bias: Floats


_AT_ONCE = 2**22
"""Numbers that are computed on in double precision at once, which bounds the memory it takes."""


def _pieces(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The rows, some at a time."""
    size = max(1, _AT_ONCE // rows.shape[1])
    return (rows[start : start + size] for start in range(0, len(rows), size))


class Standardiser(NamedTuple):
    """Centre an embedding and divide each of its blocks by one common scale.

    One scale for a block, not one for each dimension: dividing every dimension by its own
    deviation lifts those that hardly vary, which scores and calibrates worse on real photos.
    Blocks (the stages of a backbone, the close-up and the photo) come out with the same variance
    in all, however long they are: a few numbers of an early stage say as much as the many of the
    last one.

    - `mean`, `scale`: ``(d,)`` each
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, embeddings: Floats, blocks: Sequence[int] = ()) -> Standardiser:
        """Of ``(n, d)`` embeddings, n and d at least 1.

        The result has a mean square of 1. A block whose rows are all equal is left unscaled;
        differences below 1e-30 count as none: the folded weights would not fit into float32.
        """
        dim = embeddings.shape[1]
        sizes = np.array(blocks or (dim,))
        mean = embeddings.mean(axis=0, dtype=np.float64)
        spread = np.zeros(dim)
        for some in _pieces(embeddings):
            centred = some - mean
            spread += np.einsum("ij,ij->j", centred, centred)
        spread /= len(embeddings)
        total = np.add.reduceat(spread, np.concatenate([[0], np.cumsum(sizes)[:-1]]))
        scale = np.sqrt(total * len(sizes) / dim)
        return cls(mean, np.repeat(np.where(scale > 1e-30, scale, 1.0), sizes))

    def __call__(self, embeddings: Floats) -> Floats:
        """The standardised ``(n, d)`` embeddings."""
        ready = np.empty(embeddings.shape, np.float32)
        for some, filled in zip(_pieces(embeddings), _pieces(ready), strict=True):
            filled[:] = (some - self.mean) / self.scale
        return ready

    def fold_into(self, weights: NDArray[Any], bias: NDArray[Any]) -> Dense:
        """The layer that does to raw embeddings what the given one does to standardised ones."""
        folded = (weights / self.scale).astype(np.float32)
        # By the rounded weights, so that their rounding is not multiplied by the mean.
        shifted = bias - folded.astype(np.float64) @ self.mean
        return Dense(folded, shifted.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Head:
    """Dense layers with ReLU between them and a softmax on top.

    - `kind`: how it was fitted; see :func:`closeup.learn.heads.fit`
    - `labels`: the k classes, in the order of the probabilities
    - `layers`: the first takes raw embeddings, the last gives k logits
    - `chosen`: the settings that fitting chose, for information; they do not affect the answers
    """

    kind: str
    labels: tuple[str, ...]
    layers: tuple[Dense, ...]
    chosen: Mapping[str, Any]

    def probabilities(self, embeddings: Floats) -> NDArray[np.float64]:
        """A probability for each label.

        - `embeddings`: ``(n, d)``; n may be 0

        Returns `probabilities`: ``(n, k)`` float64, each row sums to 1.

        Raises ModelError where the embeddings are not of the length that the head was fitted on.
        """
        dim = self.layers[0].weights.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != dim:
            raise ModelError(
                f"the head expects embeddings of shape (n, {dim}), got {embeddings.shape}; "
                "use the backbone that the model was trained with"
            )
        values = embeddings.astype(np.float64)
        for place, layer in enumerate(self.layers):
            values = values if place == 0 else np.maximum(values, 0)
            values = values @ layer.weights.T.astype(np.float64) + layer.bias
        return softmax(values)

    def calibrated(self, temperature: float) -> Head:
        """The same head with its logits divided by `temperature`.

        Only the confidence of the answers changes, by what
        :func:`closeup.evaluate.calibration.calibrate` does to probabilities.
        """
        *inner, last = self.layers
        t = np.float32(temperature)
        layers = (*inner, Dense(last.weights / t, last.bias / t))
        return Head(self.kind, self.labels, layers, self.chosen)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The layers as named float32 arrays: ``layer0.weights``, ``layer0.bias``, …"""
        return {
            f"layer{place}.{name}": np.ascontiguousarray(array)
            for place, layer in enumerate(self.layers)
            for name, array in layer._asdict().items()
        }

    def settings(self) -> dict[str, Any]:
        """What is not an array, as JSON values."""
        return dict(self.chosen)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Products of matrices on one thread: the sums are the same on any number of cores.

    To be entered by the thread that starts the others, never by them: the limit is the
    process's, and whichever thread left first would lift it for all.
    """
    import scipy.linalg  # noqa: F401  (it brings a BLAS of its own; the limit holds for loaded ones)

    with one_blas_thread():
        yield


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted head, and how it came about as JSON values.

    The `log` has the key ``kind`` and, where settings were tried, a ``table`` of them. For
    ``ridge`` and ``logistic`` it has ``folds``, ``class_weight`` and the chosen ``penalty`` or
    ``c``, and each row of the table has that, ``macro_f1`` and its standard ``error``; for
    ``logistic`` also ``iterations`` and ``converged``. For ``mlp`` there are ``best_epoch``,
    ``train``, ``validation`` (numbers of rows), and rows with ``epoch``, ``loss``,
    ``validation_loss``, ``validation_accuracy``, ``rate``. ``table`` is empty where there were too
    few photos to choose by.

    `out_of_fold` holds the ``(n, k)`` probabilities of each row from heads of the chosen settings
    fitted without its fold, where fitting computes them anyway.
    """

    head: Head
    log: dict[str, Any]
    out_of_fold: NDArray[np.float64] | None = None


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities from ``(n, k)`` logits, each row summing to 1, whatever their size.

    >>> softmax(np.array([[0.0, 0.0], [1e9, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def restore(
    kind: str,
    labels: Sequence[str],
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
) -> Head:
    """The head whose ``arrays()`` and ``settings()`` these are.

    Raises ModelError where the kind is unknown, the labels are not at least two different ones, or
    the arrays are not those of such a head: names, types, shapes, finite numbers.
    """
    if kind not in LAYERS:
        raise ModelError(
            f"unknown kind of head {kind!r}, this version knows {', '.join(sorted(LAYERS))}; "
            "upgrade closeup, or train the model again"
        )
    if len(labels) < 2 or len(set(labels)) != len(labels):
        some = f"{list(labels[:5])}{' …' * (len(labels) > 5)}"
        raise ModelError(f"a head needs at least 2 labels, all different, got {some}")
    names = {f"layer{i}.{part}" for i in range(LAYERS[kind]) for part in Dense._fields}
    if set(arrays) != names:
        raise ModelError(
            f"a head of kind {kind} has the arrays {sorted(names)}, found {sorted(arrays)}; "
            "train the model again"
        )
    layers = [
        Dense(arrays[f"layer{i}.weights"], arrays[f"layer{i}.bias"]) for i in range(LAYERS[kind])
    ]
    for place, layer in enumerate(layers):
        inputs = layers[place - 1].bias.size if place else None
        _check(layer, place, inputs)
    if layers[-1].bias.size != len(labels):
        raise ModelError(
            f"the head has {layers[-1].bias.size} outputs for {len(labels)} labels; "
            "train the model again"
        )
    return Head(kind, tuple(labels), tuple(layers), dict(settings))


def _check(layer: Dense, place: int, inputs: int | None) -> None:
    weights, bias = layer
    fits = (
        weights.dtype == bias.dtype == np.float32
        and weights.ndim == 2
        and weights.size > 0
        and bias.shape == weights.shape[:1]
        and inputs in (None, weights.shape[1])
    )
    if not fits:
        raise ModelError(
            f"layer {place} of the head has weights {weights.dtype} {weights.shape} and bias "
            f"{bias.dtype} {bias.shape}, which do not match each other or the layer before; "
            "train the model again"
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ModelError(
            f"layer {place} of the head holds numbers that are not finite; train the model again"
        )
