"""A backbone trained further on the user's own close-ups, end to end with its head.

The head is fitted on the frozen embeddings first and everything is trained from there, which
distorts what the backbone knows less than a random head would (Kumar et al. 2022, "LP-FT").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.lock import work_folder
from closeup.core.memory import keep_memory
from closeup.core.progress import Progress, silent
from closeup.core.project import key_of
from closeup.learn import heads
from closeup.learn.finetune import loop, result
from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.finetune.module import embed_both_ways, make_training
from closeup.learn.finetune.pictures import Closeup, Pictures
from closeup.learn.finetune.result import Finetuned
from closeup.learn.heads import Head
from closeup.learn.heads.head import Dense, softmax
from closeup.networks import (
    Card,
    InputOverrides,
    Network,
    save,
)
from closeup.networks.convert.rebuild import overrides_of, rebuild, side_of

if TYPE_CHECKING:
    from torch import nn

    from closeup.learn.finetune.checkpoint import LearningTask
    from closeup.learn.finetune.module import Training
    from closeup.networks.convert.backbones import Backbone

VERSION = 2
CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """What is trained on: n close-ups, their labels, and the ``(n,)`` fold of each.

    No group may straddle two folds.
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
    """Train `network` on close-ups, with PyTorch, on the GPU if there is one.

    On one machine and number of threads the same input gives the same result. `work` is written
    after each epoch, and the same call goes on from there; a finished one is only read back.

    Parameters
    ----------
    network
        A backbone in the cache that was made from PyTorch weights.
    work
        A folder of its own; other files in it are left alone.
    start
        A head of one layer to begin with, fitted on the frozen embeddings of such close-ups; None
        to fit one here.

    Raises
    ------
    NetworkError
        Where the network cannot be fine-tuned: only its ONNX graph is here, or no PyTorch.
    UsageError
        Where the lengths differ, or `start` is of other labels or another length.
    DatasetError
        Where there are fewer than two labels, or training goes astray.
    """
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
    with _threads(config.threads), keep_memory():
        head = start or _first_head(backbone, pictures, part, held, config)
        _check_start(head, names, network)
        training = make_training(backbone.module, head, config, spec)
        task = loop.Work(pictures, classes, _class_weights(head, classes), held,
                         work / CHECKPOINT_FILE, key)  # fmt: skip
        course = loop.run(training, task, config, progress)
        training.shadow.load_state_dict(course.best)
        plain = training.shadow.get_submodule("body")
        if config.flip:
            training.shadow.add_module("body", embed_both_ways(plain))
        probabilities = _probabilities(training, task)
        trained = training.shadow.cpu()
    body = replace(backbone, module=plain)
    about = f"{network.card.name} fine-tuned on {len(task.train)} close-ups"
    found = Finetuned(
        _export(network.card, body, overrides_of(network, side), about, work, config.flip),
        _head_of(trained, names, course), _log(network, task, course, config), task.held,
        probabilities,
    )  # fmt: skip
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
    """The first fold's rows, except of classes that have no other; none if there is one fold."""
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
    """Changes with anything that changes the result, but for the number of threads."""
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
    """A logistic head on the frozen embeddings of the rows that are trained on."""
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
                         f"training part {list(names)}; fit one on these")  # fmt: skip
    if dim != network.card.dim:
        raise UsageError(f"the head to start from takes {dim} numbers, {network.card.name} gives "
                         f"{network.card.dim}; fit one on its embeddings")  # fmt: skip


def _class_weights(head: Head, classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """As the head was fitted: all equal, or such that every class weighs the same."""
    counts = np.bincount(classes, minlength=len(head.labels))
    if head.chosen.get("class_weight") != "balanced":
        return np.ones(len(counts))
    return len(classes) / (len(counts) * np.maximum(counts, 1.0))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads, and with algorithms that give the same result every time."""
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


def _log(
    network: Network, task: loop.Work, course: LearningTask, config: FinetuneConfig
) -> dict[str, Any]:
    return {
        "kind": "finetune",
        "network": network.card.name,
        "best_epoch": course.best_epoch,
        "train": len(task.train),
        "validation": len(task.held),
        "settings": config.model_dump(mode="json"),
        "table": course.table,
    }


def _probabilities(training: Training, task: loop.Work) -> NDArray[np.float64]:
    """``(m, k)`` of the rows held out."""
    if not len(task.held):
        return np.zeros((0, len(task.weights)))
    logits = loop.answers(training.shadow, training.device, task.pictures, task.held)
    return softmax(logits.astype(np.float64))


def _head_of(trained: nn.Module, names: tuple[str, ...], course: LearningTask) -> Head:
    layer = trained.get_submodule("head")
    weights, bias = (value.detach().numpy().copy() for value in (layer.weight, layer.bias))
    return Head("logistic", names, (Dense(weights, bias),), {"best_epoch": course.best_epoch})


def _export(
    card: Card,
    backbone: Backbone,
    overrides: InputOverrides,
    description: str,
    work: Path,
    flip: bool,
) -> Network:
    """The trained backbone as a network in `work`; `card` is that of the one it began as.

    With `flip` its graph looks at the mirror image too. The weights beside it stay those of the
    architecture, so that it can be trained further.
    """
    from closeup.networks import variants as derive
    from closeup.networks.convert import backbones as export

    about = {"description": description, "licence": card.licence, "source": card.source,
             "trained_on": card.trained_on}  # fmt: skip
    with work_folder(work, ".making-") as folder:
        name = f"{card.name}-finetuned"
        made = export.export_backbone(backbone, folder, name, overrides, about)
        if flip:
            made = derive.mirrored(made, folder / made.graph)
        return save(made, folder / made.graph, work / result.NETWORK_FOLDER)
