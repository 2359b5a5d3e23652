"""Detectors of the DETR family in Hugging Face's transformers, as modules that can be exported.

D-FINE, RT-DETR, RT-DETRv2 and DEIMv2 share one interface: class logits and centre-size boxes per
query. PyTorch and transformers are imported inside the functions.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PREPROCESSOR_FILE = "preprocessor_config.json"
FILES = (CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE)
MOST_BOXES = 300

_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers

D_FINE_N: dict[str, Any] = {
    "backbone_config": {
        "model_type": "hgnet_v2",
        "stem_channels": [3, 16, 16],
        "stage_in_channels": [16, 64, 256, 512],
        "stage_mid_channels": [16, 32, 64, 128],
        "stage_out_channels": [64, 256, 512, 1024],
        "hidden_sizes": [64, 256, 512, 1024],
        "stage_num_blocks": [1, 1, 2, 1],
        "stage_numb_of_layers": [3, 3, 3, 3],
        "use_learnable_affine_block": True,
        "out_indices": [3, 4],
    },
    "encoder_in_channels": [512, 1024],
    "encoder_hidden_dim": 128,
    "encoder_ffn_dim": 512,
    "encode_proj_layers": [1],
    "feat_strides": [16, 32],
    "hidden_expansion": 0.34,
    "depth_mult": 0.5,
    "d_model": 128,
    "decoder_layers": 3,
    "decoder_in_channels": [128, 128],
    "decoder_ffn_dim": 512,
    "decoder_n_points": [6, 6],
    "num_feature_levels": 2,
}
"""The sizes of D-FINE-N, to build it without its checkpoint."""


def build(model_type: str, classes: tuple[str, ...], sizes: dict[str, Any]) -> nn.Module:
    """A detector of transformers with random weights, in evaluation mode.

    Its weights are spread out: as transformers draws them, hardly anything of the picture reaches
    the heads, all queries score alike, and rounding errors would decide which boxes are given.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModelForObjectDetection

    labels = {"id2label": dict(enumerate(classes)), "num_labels": len(classes)}
    config = AutoConfig.for_model(model_type, **{**sizes, **labels})
    model: nn.Module = AutoModelForObjectDetection.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4:
                nn.init.kaiming_normal_(weight)
            elif weight.ndim == 2 and ("class_embed" in name or "score_head" in name):
                weight.normal_(0, 0.15)
            elif weight.ndim == 2 and not weight.any():
                weight.normal_(0, 0.02)
            elif weight.ndim == 2:
                nn.init.xavier_uniform_(weight)
    return model.eval()


def read_checkpoint(folder: Path) -> nn.Module:
    """The detector in a folder with ``config.json`` and ``model.safetensors``.

    Raises
    ------
    NetworkDamaged
        Where the files are damaged, or weights are missing among them.
    NetworkError
        Where the installed transformers does not know the architecture.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForObjectDetection

    try:
        kind = json.loads((folder / CONFIG_FILE).read_text(encoding="utf8"))["model_type"]
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except KeyError as err:
        raise NetworkDamaged(f"{folder / CONFIG_FILE} names no model_type; fetch it again") from err
    except json.JSONDecodeError as err:
        raise NetworkDamaged(f"{folder / CONFIG_FILE} is not JSON: {err}; fetch it again") from err
    except ValueError as err:
        raise NetworkError(
            f"the installed transformers does not know {kind!r} networks: "
            "pip install --upgrade transformers"
        ) from err
    try:
        with _quiet():
            model, about = AutoModelForObjectDetection.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as err:
        raise NetworkDamaged(
            f"{folder / WEIGHTS_FILE} cannot be read as a {kind} detector: "
            f"{str(err).splitlines()[0]}; fetch it again"
        ) from err
    missing = sorted(key for key in about["missing_keys"] if not key.endswith("_tracked"))
    if missing:
        raise NetworkDamaged(
            f"{folder / WEIGHTS_FILE} lacks {len(missing)} weights of a {kind} detector "
            f"({', '.join(missing[:3])}); use the file that belongs to {CONFIG_FILE}"
        )
    loaded: nn.Module = model.float().eval()
    return loaded


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting on stderr what is checked and reported here."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def input_spec(file: Path) -> InputSpec:
    """What a checkpoint's ``preprocessor_config.json`` says of its input.

    Raises
    ------
    NetworkDamaged
        Where the file is not JSON or says something that this family never does.
    """
    try:
        wants = json.loads(file.read_text(encoding="utf8"))
        spec: dict[str, Any] = {
            "width": wants["size"]["width"],
            "height": wants["size"]["height"],
            "resize": "stretch",
            "interpolation": _FILTERS[wants.get("resample", 2)],
        }
        if wants.get("do_normalize", False):
            spec |= {"mean": wants["image_mean"], "std": wants["image_std"]}
        return InputSpec.model_validate(spec)
    except (ValueError, KeyError, TypeError, ValidationError) as err:
        raise NetworkDamaged(
            f"{file} does not say the width and height of the input in the usual way ({err!r}); "
            "fetch it again"
        ) from err


def class_names(model: Any) -> tuple[str, ...]:
    """The categories of a model in its own order, as its configuration names them."""
    names = {int(number): str(name) for number, name in model.config.id2label.items()}
    return tuple(names.get(number, "") for number in range(max(names) + 1))


def deployed(model: Any) -> nn.Module:
    """A module from ``images`` and ``orig_target_sizes`` to ``labels, boxes, scores``.

    Pairs of query and class are ranked together by the sigmoid of their logit, and the best
    :data:`MOST_BOXES` given: the deployment form of RT-DETR and its descendants.
    """
    import torch
    from torch import nn

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, images: Tensor, orig_target_sizes: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            found = self.model(pixel_values=images)
            queries, classes = found.logits.shape[1:]
            ranked = found.logits.sigmoid().flatten(1)
            scores, places = ranked.topk(min(MOST_BOXES, queries))
            centre, size = found.pred_boxes.split(2, -1)
            corners = torch.cat([centre - size / 2, centre + size / 2], -1)
            query = (places // classes).unsqueeze(-1).expand(-1, -1, 4)
            scale = orig_target_sizes.to(corners.dtype).repeat(1, 2).unsqueeze(1)
            return places % classes, corners.gather(1, query) * scale, scores

    return Deployed().eval()
