"""Read a checkpoint's weights without running anything in it, and put them into a module."""

from __future__ import annotations

import argparse
import pickle
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from closeup.core.errors import NetworkDamaged, NetworkError

if TYPE_CHECKING:
    from torch import Tensor, nn

# What PyTorch's careful reader raises where the bytes are not a checkpoint of tensors.
_NO_CHECKPOINT = (
    *(pickle.UnpicklingError, struct.error, EOFError, RuntimeError, AssertionError),
    *(AttributeError, LookupError, TypeError, ValueError),
)


_CONTAINERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher"),
    *("state_dict", "model_state_dict", "model", "module", "net", "network"),
)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file or a PyTorch checkpoint.

    A checkpoint may keep it under one of :data:`_CONTAINERS`, averaged weights first.
    Nothing in the file is ever run: PyTorch reads it with ``weights_only=True``. Raises
    NetworkDamaged where the file holds no plain weights, NetworkError where it cannot be opened.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        # timm's training keeps its options beside the weights, as a plain namespace.
        plain = torch.serialization.safe_globals([argparse.Namespace])
        with warnings.catch_warnings(), plain:
            warnings.simplefilter("ignore")  # of the pickle's age; what matters is raised
            found = torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as err:
        raise NetworkDamaged(f"{file} is not a whole safetensors file: {err}") from err
    except OSError as err:
        raise NetworkError(f"{file} cannot be opened: {err.strerror or err}") from err
    except _NO_CHECKPOINT as err:
        first = str(err).splitlines() or [type(err).__name__]
        raise NetworkDamaged(
            f"{file} is not a checkpoint of plain weights ({first[0]}); save the state dict alone, "
            "best as safetensors"
        ) from err
    while isinstance(found, dict):
        inner = (found.get(key) for key in _CONTAINERS)
        if (deeper := next((one for one in inner if isinstance(one, dict) and one), None)) is None:
            break
        found = deeper
    if not isinstance(found, dict) or not found or not all(map(torch.is_tensor, found.values())):
        raise NetworkDamaged(f"{file} holds no state dict; save the model's state_dict() alone")
    # What torch.compile puts into the names of the parts that it compiles.
    return {str(key).replace("_orig_mod.", ""): value for key, value in found.items()}


def _unwrapped(
    weights: dict[str, Tensor], wanted: Iterable[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights without the prefix under which most of the `wanted` keys are, and what to say.

    Training code puts a network into another one (``module.``, ``model.``, ``backbone.``), at
    times together with an averaged copy (``ema.module.``), which is preferred.
    """
    counts: Counter[str] = Counter()
    for key in wanted:
        counts.update(name.removesuffix(key) for name in weights if name.endswith(key))
    prefixes = [prefix for prefix in counts if not prefix or prefix.endswith(".")]
    if not prefixes:
        return weights, ()
    best = max(prefixes, key=lambda prefix: (counts[prefix], "ema" in prefix, -len(prefix)))
    if not best:
        return weights, ()
    kept = {k.removeprefix(best): value for k, value in weights.items() if k.startswith(best)}
    spare = [key for key in weights if not key.startswith(best)]
    found = f"the weights are those under `{best}`"
    more = f"; {len(spare)} others are ignored ({_some(spare)})" if spare else ""
    return kept, (found + more,)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")


def load_weights(module: nn.Module, file: Path, head: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Put the weights in `file` into a module; all but its classifier must fit.

    `head` are the prefixes of the classifier's keys, which the file may have or lack. Returns what
    the user should know: under which prefix they were found, and what was ignored. Raises
    NetworkDamaged where keys are missing, left over, or of another shape, else as
    :func:`read_weights`.
    """
    own = module.state_dict().keys()
    weights, notes = _unwrapped(read_weights(file), own)
    # timm's own rule for the older key names and position tables of some architectures.
    convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    what = f"{file} does not hold the weights of {type(module).__name__}"
    try:
        found = convert(weights, module) if convert else weights
        result = module.load_state_dict(found, strict=False)
    except (RuntimeError, KeyError) as err:
        lines = [line.strip() for line in str(err).splitlines()]
        raise NetworkDamaged(f"{what}: {' '.join(lines[:2])}; name its own architecture") from err
    heads = tuple(f"{prefix}." for prefix in head)
    # BatchNorm's counter of steps is of no use for inference, and often not saved.
    missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
    spare = [key for key in result.unexpected_keys if not (heads and key.startswith(heads))]
    if missing or spare:
        faults = [
            f"{len(keys)} of {total} {what_of} ({_some(keys)})"
            for keys, total, what_of in (
                (missing, len(own), "weights are missing"),
                (spare, len(found), "in the file do not belong to it"),
            )
            if keys
        ]
        raise NetworkDamaged(f"{what}: {' and '.join(faults)}; name its own architecture")
    return notes
