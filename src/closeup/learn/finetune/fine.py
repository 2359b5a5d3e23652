"""Fine-tune a backbone on close-ups, end to end with its head.

The head is first fitted on the frozen embeddings. Training both from there distorts the features
of the backbone less than a random head would (Kumar et al. 2022, "LP-FT").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.lock import work_folder
from closeup.core.progress import Progress, silent
from closeup.core.project import key_of
from closeup.learn import heads
from closeup.learn.finetune import loop, result
from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.finetune.module import make_training
from closeup.learn.finetune.pictures import Closeup, Pictures
from closeup.learn.finetune.result import Finetuned
from closeup.learn.heads import Head
from closeup.learn.heads.head import Dense, softmax
from closeup.networks import Card, InputOverrides, Network, save
from closeup.networks.convert.rebuild import overrides_of, rebuild, side_of

if TYPE_CHECKING:
    from closeup.learn.finetune.module import Training
    from closeup.networks.convert.backbones import Backbone

VERSION = 2
CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """The training part: n close-ups, their labels, and the ``(n,)`` fold of each.

    All close-ups of a group must be in one fold.
    """

    closeups: Sequence[Closeup]
    labels: Sequence[str]
    folds: NDArray[np.int64]


def finetune(
    network: Network,
    part: TrainingPart,
    config: FinetuneConfig,
    work: Path,
    *,
    start: Head | None = None,
    progress: Progress = silent,
) -> Finetuned:
    """Fine-tune `network` on close-ups with PyTorch, on the GPU if there is one.

    On the same machine and number of threads, the same input gives the same result. The folder
    `work` is written after each epoch, and the same call resumes from there; a finished result is
    read back.

    Parameters
    ----------
    network
        A backbone in the cache that was converted from PyTorch weights.
    start
        A head of one layer to start from, fitted on the frozen embeddings of such close-ups; None
        to fit one here.

    Raises
    ------
    NetworkError
        If the network cannot be fine-tuned: only its ONNX graph is available, or no PyTorch.
    UsageError
        If the lengths differ, or `start` has other labels or another input length.
    DatasetError
        If there are fewer than two labels, or training diverges.
    """
    from sklearn.utils.class_weight import compute_class_weight

    names, classes = _check(part)
    side = side_of(network, config.size)
    backbone = rebuild(network, side)
    spec = overrides_of(network, side).apply(network.card.input.model_dump())
    held = _held_out(classes, part.folds, config)
    pictures = Pictures.load(part.closeups, spec, held.tolist(), progress)
    key = _key(network, config, pictures, part, start)
    done = result.read(work, key)
    if done is not None:
        return done
    with _threads(config.threads):
        head = start or _first_head(backbone, pictures, part, held, config)
        _check_start(head, names, network)
        training = make_training(backbone.module, head, config, spec)
        balance = "balanced" if head.chosen.get("class_weight") == "balanced" else None
        weights = compute_class_weight(balance, classes=np.arange(len(names)), y=classes)
        data = loop.TrainingData(pictures, classes, weights, held, work / CHECKPOINT_FILE, key)
        task = loop.run(training, data, config, progress)
        training.shadow.load_state_dict(task.best)
        probabilities = _probabilities(training, data, config.flip)
        trained = training.shadow.cpu()
    body = replace(backbone, module=trained.get_submodule("body"))
    about = f"{network.card.name} fine-tuned on {len(data.train)} close-ups"
    made = _export(network.card, body, overrides_of(network, side), about, work, config.flip)
    layer = trained.get_submodule("head")
    dense = Dense(*(value.detach().numpy().copy() for value in (layer.weight, layer.bias)))
    log = {
        "kind": "finetune",
        "network": network.card.name,
        "best_epoch": task.best_epoch,
        "train": len(data.train),
        "validation": len(data.held),
        "settings": config.model_dump(mode="json"),
        "table": task.table,
    }
    head = Head("logistic", names, (dense,), {"best_epoch": task.best_epoch})
    found = Finetuned(made, head, log, data.held, probabilities)
    result.write(work, key, found)
    (work / CHECKPOINT_FILE).unlink(missing_ok=True)
    return found


def _check(part: TrainingPart) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    n = len(part.labels)
    if len(part.closeups) != n or part.folds.shape != (n,):
        raise UsageError(
            f"{n} labels do not go with {len(part.closeups)} close-ups and folds {part.folds.shape}"
        )
    names, classes = np.unique(np.array(part.labels, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise DatasetError(
            f"a classifier needs at least 2 labels, the training part has {list(names)}; "
            "add photos of another class"
        )
    return tuple(map(str, names)), classes.astype(np.int64)


def _held_out(
    classes: NDArray[np.int64], folds: NDArray[np.int64], config: FinetuneConfig
) -> NDArray[np.bool_]:
    """The first fold's rows, except of classes only in it; none if there is one fold."""
    held: NDArray[np.bool_] = folds == folds.min()
    if not config.hold_out or held.all():
        return np.zeros(len(folds), bool)
    kept: NDArray[np.bool_] = held & np.isin(classes, classes[~held])
    return kept


def _key(
    network: Network,
    config: FinetuneConfig,
    pictures: Pictures,
    part: TrainingPart,
    start: Head | None,
) -> str:
    """Changes with everything that changes the result, except the number of threads."""
    origin = network.card.origin
    digest = hashlib.sha256()
    for name, array in sorted((start.arrays() if start else {}).items()):
        digest.update(name.encode() + array.tobytes())
    return key_of(
        "finetune", VERSION, origin.sha256 if origin else "", pictures.spec.model_dump(),
        config.model_dump(exclude={"threads"}), pictures.digest, list(part.labels),
        part.folds.tolist(), digest.hexdigest(),
    )  # fmt: skip


def _first_head(
    backbone: Backbone,
    pictures: Pictures,
    part: TrainingPart,
    held: NDArray[np.bool_],
    config: FinetuneConfig,
) -> Head:
    """A logistic head on the frozen embeddings of the training rows."""
    rows = np.flatnonzero(~held)
    if config.adapt:
        loop.adapt_norms(backbone.module, pictures, rows, config)
    embeddings = loop.answers(backbone.module, "cpu", pictures, rows)
    labels = [part.labels[int(row)] for row in rows]
    return heads.fit("logistic", embeddings, labels, part.folds[rows], config.seed).head


def _check_start(head: Head, names: tuple[str, ...], network: Network) -> None:
    dim = head.layers[0].weights.shape[1]
    if head.labels != names:
        raise UsageError(f"the head to start from has the labels {list(head.labels)}, the "
                         f"training part has {list(names)}; fit a head on these")  # fmt: skip
    if dim != network.card.dim:
        raise UsageError(f"the head to start from takes {dim} numbers, {network.card.name} gives "
                         f"{network.card.dim}; fit a head on its embeddings")  # fmt: skip


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch with `count` threads and deterministic algorithms."""
    import torch

    before = torch.get_num_threads()
    state = torch.random.get_rng_state()
    try:
        torch.set_num_threads(count or before)
        with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
            yield
    finally:
        torch.set_num_threads(before)
        torch.random.set_rng_state(state)


def _probabilities(training: Training, data: loop.TrainingData, flip: bool) -> NDArray[np.float64]:
    """``(m, k)`` for the held-out rows."""
    if not len(data.held):
        return np.zeros((0, len(data.weights)))
    logits = loop.answers(training.shadow, training.device, data.pictures, data.held, flip)
    return softmax(logits.astype(np.float64))


def _export(
    card: Card,
    backbone: Backbone,
    overrides: InputOverrides,
    description: str,
    work: Path,
    flip: bool,
) -> Network:
    """The trained backbone as a network in `work`; `card` is that of the original one."""
    from closeup.networks import variants
    from closeup.networks.convert import backbones as export

    about = {"description": description, "licence": card.licence, "source": card.source,
             "trained_on": card.trained_on}  # fmt: skip
    with work_folder(work, ".making-") as folder:
        name = f"{card.name}-finetuned"
        made = export.export_backbone(backbone, folder, name, overrides, about)
        if flip:
            made = variants.mirror(made, folder / made.graph)
        return save(made, folder / made.graph, work / result.NETWORK_FOLDER)
