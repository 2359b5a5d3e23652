"""Fine-tune a backbone on close-ups, end to end with its head.

The head is first fitted on the frozen embeddings. Training both from there distorts the features
of the backbone less than a random head would (Kumar et al. 2022, "LP-FT"). Two networks are
trained, each without another fold, and answer together: no photo of the training part is lost to
both, and together they are better than one trained for twice as long.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import DatasetError, UsageError
from closeup.core.lock import work_folder
from closeup.core.progress import Progress, share, silent
from closeup.core.project import key_of
from closeup.learn import heads
from closeup.learn.finetune import loop, result
from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.finetune.module import make_training, side_by_side
from closeup.learn.finetune.norms import norms_of
from closeup.learn.finetune.pictures import Closeup, Pictures
from closeup.learn.finetune.result import Finetuned
from closeup.learn.heads import Head
from closeup.learn.heads.head import Dense, softmax
from closeup.networks import Card, InputOverrides, Network, save
from closeup.networks.convert.rebuild import overrides_of, rebuild, side_of

if TYPE_CHECKING:
    from closeup.learn.finetune.checkpoint import LearningTask
    from closeup.networks.convert.backbones import Backbone

_logger = logging.getLogger(__name__)
VERSION = 3


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
    progress: Progress = silent,
) -> Finetuned:
    """Fine-tune `network` on close-ups with PyTorch, on the GPU if there is one.

    On the same machine and number of threads, the same input gives the same result. The folder
    `work` is written after each epoch, and the same call resumes from there; a finished result is
    read back.

    `network` is a backbone in the cache that was converted from PyTorch weights.

    Raises
    ------
    NetworkError
        If the network cannot be fine-tuned: only its ONNX graph is available, or no PyTorch.
    UsageError
        If the lengths differ.
    DatasetError
        If there are fewer than two labels; Diverged, one of its kind, if training diverges.
    """
    names, classes = _check(part)
    side = side_of(network, config.size)
    spec = overrides_of(network, side).apply(network.card.input.model_dump())
    held = _held_out(classes, part.folds, config)
    pictures = Pictures.load(part.closeups, spec, [bool(mine.any()) for mine in held.T], progress)
    key = _key(network, config, pictures, part)
    done = result.read(work, key)
    if done is not None:
        return done
    even = np.ones(len(names))
    members: list[Member] = []
    files = [work / f"checkpoint-{number}.safetensors" for number in range(len(held))]
    with _threads(config.threads):
        for number, (mine, file) in enumerate(zip(held, files, strict=True)):
            settings = config.model_copy(update={"seed": config.seed + number})
            data = loop.TrainingData(pictures, classes, even, mine, file, f"{key}-{number}")
            _logger.info("fine-tuning %s, network %d of %d", network.card.name, number + 1,
                         len(held))  # fmt: skip
            backbone, told = rebuild(network, side), share(progress, number, len(held))
            members.append(_train(backbone, part, data, settings, told))
    # The mean of the members' logits is one linear layer on all their embeddings.
    weights = np.concatenate([m.head.weights for m in members], axis=1) / len(members)
    bias = np.mean([m.head.bias for m in members], axis=0)
    dense = Dense(weights.astype(np.float32), bias.astype(np.float32))
    about = f"{network.card.name} fine-tuned on {len(classes)} close-ups"
    bodies, overrides = [m.backbone for m in members], overrides_of(network, side)
    # A result goes with its network: killed after this, the same call resumes and makes both.
    (work / result.RESULT_FILE).unlink(missing_ok=True)
    made = _export(network.card, bodies, overrides, about, work, config.flip)
    rows = np.concatenate([np.flatnonzero(mine) for mine in held])
    order = np.argsort(rows)
    log = _log(network, config, members, len(classes), len(rows))
    head = Head("logistic", names, (dense,), {"best_epoch": log["best_epoch"]})
    probabilities = np.concatenate([m.probabilities for m in members])
    found = Finetuned(made, head, log, rows[order], probabilities[order])
    result.write(work, key, found)
    for file in files:
        file.unlink(missing_ok=True)
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """One trained network.

    - `probabilities`: ``(m, k)`` for the rows that it held out
    - `norms`: whether its batch norms were measured anew
    """

    backbone: Backbone
    head: Dense
    probabilities: NDArray[np.float64]
    task: LearningTask
    norms: bool


def _train(
    backbone: Backbone,
    part: TrainingPart,
    data: loop.TrainingData,
    config: FinetuneConfig,
    progress: Progress,
) -> Member:
    """First a head on the embeddings as they are, then all of the network from there."""
    body, pictures = backbone.module, data.pictures
    norms = config.adapt and loop.adapt_norms(body, pictures, data.train, config)
    embeddings = loop.answers(body, "cpu", pictures, data.train)
    rows = data.train
    head = heads.fit("ridge", embeddings, [part.labels[int(row)] for row in rows],
                     part.folds[rows], config.seed).head  # fmt: skip
    if head.chosen["class_weight"] == "balanced":
        weights = len(rows) / len(data.weights) / np.bincount(data.classes[rows])
        data = replace(data, weights=weights)
    kept = () if norms else norms_of(body)
    training = make_training(body, head, config, pictures.spec, kept)
    task = loop.run(training, data, config, progress)
    training.shadow.load_state_dict(task.best)
    probabilities = np.zeros((0, len(data.weights)))
    if len(data.held):
        logits = loop.answers(training.shadow, training.device, pictures, data.held, config.flip)
        probabilities = softmax(logits.astype(np.float64))
    trained = training.shadow.cpu()
    layer = trained.get_submodule("head")
    dense = Dense(*(value.detach().numpy().copy() for value in (layer.weight, layer.bias)))
    body = trained.get_submodule("body")
    return Member(replace(backbone, module=body), dense, probabilities, task, norms)


def _log(
    network: Network, config: FinetuneConfig, members: Sequence[Member], rows: int, held: int
) -> dict[str, Any]:
    """What :class:`Finetuned` says of its log: per epoch the mean over the members."""
    return {
        "kind": "finetune",
        "network": network.card.name,
        "members": len(members),
        "best_epoch": max(member.task.best_epoch for member in members),
        "train": rows,
        "validation": held,
        "norms": "measured" if all(member.norms for member in members) else "kept",
        "settings": config.model_dump(mode="json"),
        "table": result.mean_table([member.task.table for member in members]),
    }


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
    """``(members, n)``, the rows that each holds out: its fold, except of classes only in it.

    A fold of such classes alone is passed over. One member that holds out nothing if no fold is
    left.
    """
    every = [folds == number for number in np.unique(folds)] if config.hold_out else []
    held = [mine & np.isin(classes, classes[~mine]) for mine in every]
    held = [mine for mine in held if mine.any()][: config.members]
    return np.stack(held or [np.zeros(len(folds), bool)])


def _key(
    network: Network, config: FinetuneConfig, pictures: Pictures, part: TrainingPart
) -> str:  # fmt: skip
    """Changes with everything that changes the result, except the number of threads."""
    origin = network.card.origin
    return key_of(
        "finetune", VERSION, origin.sha256 if origin else "", pictures.spec.model_dump(),
        config.model_dump(exclude={"threads"}), pictures.digest, list(part.labels),
        part.folds.tolist(),
    )  # fmt: skip


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


def _export(
    card: Card,
    backbones: Sequence[Backbone],
    overrides: InputOverrides,
    description: str,
    work: Path,
    flip: bool,
) -> Network:
    """The trained backbones as one network in `work`; `card` is that of the original one."""
    from closeup.networks import variants
    from closeup.networks.convert import backbones as export

    about = {"description": description, "licence": card.licence, "source": card.source,
             "trained_on": card.trained_on}  # fmt: skip
    one, *others = backbones
    with work_folder(work, ".making-") as folder:
        name = f"{card.name}-finetuned"
        joined = replace(one, module=side_by_side([b.module for b in backbones])) if others else one
        made = export.export_backbone(joined, folder, name, overrides, about)
        if others:  # no architecture has such weights: this one cannot be trained further
            (folder / export.WEIGHTS_FILE).unlink()
            made = made.model_copy(update={"origin": None})
        if flip:
            made = variants.mirror(made, folder / made.graph)
        return save(made, folder / made.graph, work / result.NETWORK_FOLDER)
