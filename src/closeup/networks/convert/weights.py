"""Read a checkpoint's weights without running anything in it, and put them into a module."""

from __future__ import annotations

import pickle
import struct
import sys
import warnings
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


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file or a PyTorch checkpoint.

    A checkpoint may keep it under ``state_dict_ema``, ``model_ema``, ``state_dict`` or ``model``.
    Nothing in the file is ever run: PyTorch reads it with ``weights_only=True``. Raises
    NetworkDamaged where the file holds no plain weights, NetworkError where it cannot be opened.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        with warnings.catch_warnings():
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
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(map(torch.is_tensor, found.values())):
        raise NetworkDamaged(f"{file} holds no state dict; save the model's state_dict() alone")
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def load_weights(module: nn.Module, file: Path, head: tuple[str, ...] = ()) -> None:
    """Put the weights in `file` into a module; all but its classifier must fit.

    `head` are the prefixes of the classifier's keys, which the file may have or lack. Raises
    NetworkDamaged where keys are missing, left over, or of another shape, else as
    :func:`read_weights`.
    """
    weights = read_weights(file)
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
            f"{len(keys)} keys {how} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
            for how, keys in (("missing", missing), ("left over", spare))
            if keys
        ]
        raise NetworkDamaged(f"{what}: {' and '.join(faults)}; name its own architecture")
