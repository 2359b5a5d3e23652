"""The result of fine-tuning, and how it is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import ModelError, NetworkError
from closeup.core.project import write_atomically
from closeup.core.text import enumerated
from closeup.learn.finetune.checkpoint import read_keyed
from closeup.learn.heads import Head, restore
from closeup.networks import Network, load

RESULT_FILE = "result.safetensors"
NETWORK_FOLDER = "network"


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """A fine-tuned backbone and the head that was trained with it.

    Attributes
    ----------
    network
        In the work folder; used like any other backbone.
    head
        Of kind ``logistic``, on that backbone's embeddings: the mean of the members' heads.
    log
        ``kind`` (``"finetune"``), ``network`` (the original backbone), ``members`` (how many
        networks were trained), ``best_epoch`` (the latest of those kept), ``train``,
        ``validation`` (numbers of rows trained on and held out by any member), ``norms``
        (``"measured"`` or ``"kept"``), ``settings``, and a ``table`` of ``epoch``, ``loss``,
        ``rate`` (as a fraction of the largest one) and, if folds were held out,
        ``validation_loss``, ``validation_accuracy``, ``validation_macro_f1``: means over the
        members.
    held, probabilities
        The held-out rows, ``(m,)``, and the probabilities, ``(m, k)``, that the member predicts
        which did not see them. Empty if nothing was held out.
    """

    network: Network
    head: Head
    log: dict[str, Any]
    held: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def mean_table(tables: Sequence[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Per epoch, the mean over the tables of one or more trainings that came so far."""
    longest = max(tables, key=len)
    return [
        {name: float(np.mean([t[place][name] for t in tables if place < len(t)])) for name in line}
        | {"epoch": place + 1}
        for place, line in enumerate(longest)
    ]


def mean_log(logs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The logs of one or more networks that answer together as one, with their number."""
    first = logs[0]
    return {
        **first,
        "network": enumerated([log["network"] for log in logs]),
        "networks": len(logs),
        "best_epoch": max(log["best_epoch"] for log in logs),
        "norms": "measured" if all(log["norms"] == "measured" for log in logs) else "kept",
        "table": mean_table([log["table"] for log in logs]),
    }


def write(work: Path, key: str, found: Finetuned) -> None:
    """Write everything except the network, which has its own folder; ProjectError if that fails."""
    from safetensors.numpy import save

    facts = {"key": key, "labels": found.head.labels, "chosen": found.head.settings(),
             "log": found.log}  # fmt: skip
    arrays = {**found.head.arrays(), "held": found.held, "probabilities": found.probabilities}
    write_atomically(work / RESULT_FILE, save(arrays, {"closeup": json.dumps(facts)}))


def read(work: Path, key: str) -> Finetuned | None:
    """The result of this key; None if there is none, or it is damaged."""
    if (stored := read_keyed(work / RESULT_FILE, key, "numpy")) is None:
        return None
    facts, arrays = stored
    try:
        held, probabilities = arrays.pop("held"), arrays.pop("probabilities")
        head = restore("logistic", facts["labels"], arrays, facts["chosen"])
        network = load(work / NETWORK_FOLDER)
    except (KeyError, ValueError, ModelError, NetworkError):
        return None
    return Finetuned(network, head, facts["log"], held, probabilities)
