"""Image networks of Hugging Face's transformers (ViT, DINOv2, ConvNeXt, …) as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkDamaged, NetworkError, UsageError
from closeup.networks.convert.onnx_export import export_onnx, require_agreement
from closeup.networks.convert.transformers_detectors import quiet
from closeup.networks.convert.weights import read_weights
from closeup.networks.engine import open_to_try
from closeup.networks.layouts import read_json
from closeup.networks.onnx_input import USUAL_SIDE

if TYPE_CHECKING:
    from torch import Tensor, nn


def export_tokens(config_file: Path, weights: Path, spec: Mapping[str, Any], file: Path) -> Path:
    """Write a network's graph to `file`, from ``pixel_values`` to what it gives of them.

    That is ``last_hidden_state``, tokens or a feature map, and ``pooler_output`` where it has one.
    `spec` states the width and height in pixels; else the configuration's ``image_size`` is taken.

    Raises
    ------
    NetworkDamaged
        Where the files are damaged, or are not those of one network.
    NetworkError
        Where the installed transformers does not know the architecture, or the export fails.
    UsageError
        Where it is no network that takes pictures alone.
    """
    import torch
    from torch import nn

    model = _read(config_file, weights)
    config = getattr(model, "config", None)
    side = getattr(config, "image_size", None)
    height, width = side if isinstance(side, tuple | list) else (side or USUAL_SIDE,) * 2
    size = (spec.get("height", height), spec.get("width", width))
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            given = model(pixel_values=picture)
        except (RuntimeError, ValueError, TypeError) as err:
            raise UsageError(
                f"the network in {weights} does not take pictures of {size[1]}x{size[0]} pixels "
                f"alone: {str(err).splitlines()[0]}"
            ) from err
    tensors = {name: given.get(name) for name in ("last_hidden_state", "pooler_output")}
    outputs = [name for name, value in tensors.items() if torch.is_tensor(value)]

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
            found = self.model(pixel_values=pixel_values)
            return tuple(found[name] for name in outputs)

    export_onnx(Deployed(), (picture,), file, input_names=("pixel_values",), output_names=outputs)
    found = open_to_try(file)
    answers = found.run({"pixel_values": picture.numpy()})
    for name in outputs:
        expected = tensors[name].numpy()
        gap = 1e-3 * (float(abs(expected).max()) or 1.0)
        require_agreement(weights.name, expected, answers[name], gap)
    return file


def _read(config_file: Path, weights: Path) -> nn.Module:
    """The network without its head, in evaluation mode."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModel

    kind = read_json(config_file).get("model_type")
    try:
        config = AutoConfig.from_pretrained(config_file, local_files_only=True)
        config = getattr(config, "vision_config", config)  # of networks that read texts, too
        builder = AutoModel._model_mapping[type(config)]
        with quiet():
            model, about = builder.from_pretrained(
                None, config=config, state_dict=read_weights(weights), output_loading_info=True
            )
    except KeyError as err:
        raise NetworkError(
            f"the installed transformers has no network for {kind!r} configurations "
            f"({config_file}): pip install --upgrade transformers, or add its ONNX file"
        ) from err
    except StrictDataclassError as err:
        lines = " ".join(str(err).split())
        raise NetworkDamaged(f"{config_file}: {lines}; get it again") from err
    except (ImportError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as err:
        first = next(iter(str(err).splitlines()), type(err).__name__)
        raise NetworkError(
            f"the installed transformers cannot build the {kind!r} network of {config_file}: "
            f"{first}"
        ) from err
    missing = [k for k in about["missing_keys"] if "pooler" not in k and not k.endswith("_tracked")]
    wrong = [key for key, *_ in about.get("mismatched_keys", ())]
    if missing or wrong:
        total = len(model.state_dict())
        raise NetworkDamaged(
            f"{weights} does not hold the weights of the {kind!r} network in {config_file}: of its "
            f"{total} weights {len(missing)} are missing and {len(wrong)} have another shape "
            f"({', '.join([*missing, *wrong][:3])})"
        )
    loaded: nn.Module = model.float().eval()
    return loaded
