"""The state between two epochs in one safetensors file, written atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.project import write_atomically
from closeup.learn.finetune.module import Training

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, "Tensor"]


@dataclass
class LearningTask:
    """The progress of a training.

    Attributes
    ----------
    epoch, table
        Number of finished epochs, and one line for each.
    best, best_score, best_epoch
        Weights of the best epoch so far, and its macro-F1 and negated loss; empty if nothing is
        held out.
    """

    epoch: int = 0
    table: list[dict[str, float]] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    best_score: tuple[float, float] = (0.0, 0.0)
    best_epoch: int = 0


def save(file: Path, key: str, training: Training, task: LearningTask) -> None:
    """Write a checkpoint; ProjectError if the file cannot be written."""
    from safetensors.torch import save as to_bytes

    tensors = {f"model.{name}": t for name, t in training.model.state_dict().items()}
    if training.shadow is not training.model:
        tensors |= {f"shadow.{name}": t for name, t in training.shadow.state_dict().items()}
    tensors |= {f"best.{name}": t for name, t in task.best.items()}
    for place, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{place}.{name}": t for name, t in state.items()}
    facts = {"key": key, "epoch": task.epoch, "table": task.table,
             "best_score": task.best_score, "best_epoch": task.best_epoch}  # fmt: skip
    # Copies, because safetensors refuses tensors that share memory.
    apart = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    write_atomically(file, to_bytes(apart, {"closeup": json.dumps(facts)}), durable=False)


def restore(file: Path, key: str, training: Training) -> LearningTask:
    """Load a checkpoint into `training`.

    If the file is missing, damaged or of another key, the task is a new one and `training` is
    untouched.
    """
    if (stored := read_keyed(file, key, "pt")) is None:
        return LearningTask()
    facts, tensors = stored
    training.model.load_state_dict(_under(tensors, "model."))
    if training.shadow is not training.model:
        training.shadow.load_state_dict(_under(tensors, "shadow."))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimiser.").items():
        place, _, part = name.partition(".")
        states.setdefault(int(place), {})[part] = tensor
    groups: Any = training.optimiser.state_dict()["param_groups"]
    training.optimiser.load_state_dict({"state": states, "param_groups": groups})
    return LearningTask(facts["epoch"], facts["table"], _under(tensors, "best."),
                        tuple(facts["best_score"]), facts["best_epoch"])  # fmt: skip


def read_keyed(file: Path, key: str, framework: str) -> tuple[Any, dict[str, Any]] | None:
    """The facts and arrays in a safetensors file of this key; None if missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework=framework) as stored:
            facts = json.loads((stored.metadata() or {})["closeup"])
            if facts["key"] != key:
                return None
            return facts, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _under(tensors: Weights, prefix: str) -> Weights:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
