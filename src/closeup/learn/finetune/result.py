"""What fine-tuning gives, and how it lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import ModelError, NetworkError
from closeup.core.project import write_atomically
from closeup.learn.heads import Head, restore
from closeup.networks import Network, load

RESULT_FILE = "result.safetensors"
NETWORK_FOLDER = "network"


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """A backbone and the head that was trained with it.

    Attributes
    ----------
    network
        In the folder that training worked in; used like any other backbone.
    head
        Of kind ``logistic``, on that backbone's embeddings.
    log
        ``kind`` (``"finetune"``), ``network`` (the backbone it began as), ``best_epoch``,
        ``train``, ``validation`` (numbers of rows), ``settings``, and a ``table`` of ``epoch``,
        ``loss``, ``rate`` (the share of the largest one) and, where a fold was held out,
        ``validation_loss``, ``validation_accuracy``, ``validation_macro_f1``.
    held, probabilities
        The rows held out, ``(m,)``, and what network and head say of them, ``(m, k)``: answers to
        judge a threshold by. Empty where nothing was held out.
    """

    network: Network
    head: Head
    log: dict[str, Any]
    held: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def write(work: Path, key: str, found: Finetuned) -> None:
    """Write what is not in the network's folder.

    Raises
    ------
    ProjectError
        Where the folder cannot be written.
    """
    from safetensors.numpy import save

    facts = {"key": key, "labels": found.head.labels, "chosen": found.head.settings(),
             "log": found.log}  # fmt: skip
    arrays = {**found.head.arrays(), "held": found.held, "probabilities": found.probabilities}
    write_atomically(work / RESULT_FILE, save(arrays, {"closeup": json.dumps(facts)}))


def read(work: Path, key: str) -> Finetuned | None:
    """What was written under this key; None where there is none, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(work / RESULT_FILE, framework="numpy") as stored:
            facts = json.loads((stored.metadata() or {})["closeup"])
            if facts["key"] != key:
                return None
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        held, probabilities = arrays.pop("held"), arrays.pop("probabilities")
        head = restore("logistic", facts["labels"], arrays, facts["chosen"])
        network = load(work / NETWORK_FOLDER)
    except (SafetensorError, OSError, KeyError, ValueError, ModelError, NetworkError):
        return None
    return Finetuned(network, head, facts["log"], held, probabilities)
