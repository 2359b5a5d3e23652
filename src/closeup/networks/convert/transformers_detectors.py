"""Detectors of the DETR family in Hugging Face's transformers, as modules that can be exported.

D-FINE, RT-DETR, RT-DETRv2 and DEIMv2 share one interface: class logits and centre-size boxes per
query.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.convert.onnx_export import Converted
from closeup.networks.layouts import CONFIG_FILE, FILTERS, PREPROCESSOR_FILE, read_json
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS_FILE = "model.safetensors"
FILES = (CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE)
MOST_BOXES = 300
KINDS = ("d_fine", "rt_detr", "rt_detr_v2", "deimv2")
"""What these models call themselves in their ``config.json``."""

# What transformers raises where a value is not what it expects, besides its own validation error.
_BAD_CONFIG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)


def read_checkpoint(
    files: Mapping[str, Path], builders: Mapping[Any, Any] | None = None
) -> nn.Module:
    """The detector in the files of a checkpoint, given by the names in :data:`FILES`.

    `builders` maps a configuration's class to the model's; None for detectors of fixed categories.

    Raises NetworkDamaged where the files are damaged or weights are missing among them,
    NetworkError where the installed transformers does not know the architecture.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import MODEL_FOR_OBJECT_DETECTION_MAPPING, AutoConfig

    config_file, weights = files[CONFIG_FILE], files[WEIGHTS_FILE]
    kind = read_json(config_file).get("model_type")
    if not isinstance(kind, str):
        raise NetworkDamaged(f"{config_file} names no known model_type; fetch it again")
    if builders is None and kind not in KINDS:
        raise NetworkError(
            f"{config_file} describes a {kind[:60]!r} network, which Closeup cannot convert "
            f"(it can {', '.join(KINDS)}); export it to ONNX and use `closeup models add`"
        )
    try:
        config = AutoConfig.from_pretrained(config_file, local_files_only=True)
        builder = (builders or MODEL_FOR_OBJECT_DETECTION_MAPPING)[type(config)]
    except (*_BAD_CONFIG, StrictDataclassError) as err:
        if isinstance(err, ValueError | KeyError) and kind in str(err):
            raise NetworkError(
                f"the installed transformers does not know {kind!r} networks: "
                "pip install --upgrade transformers"
            ) from err
        raise NetworkDamaged(
            f"{config_file} is no configuration of a {kind} network: {_one_line(err)}; "
            "fetch it again"
        ) from err
    try:
        with quiet():
            model, about = builder.from_pretrained(
                None, config=config, state_dict=load_file(weights), output_loading_info=True
            )
    except SafetensorError as err:
        raise NetworkDamaged(
            f"{weights} cannot be read as a {kind} detector: {_one_line(err)}; fetch it again"
        ) from err
    except (OSError, RuntimeError, *_BAD_CONFIG, StrictDataclassError) as err:
        raise NetworkDamaged(
            f"{weights} and {config_file} do not make a {kind} detector: {_one_line(err)}; "
            "fetch both again"
        ) from err
    if missing := sorted(k for k in about["missing_keys"] if not k.endswith("_tracked")):
        raise NetworkDamaged(
            f"{weights} lacks {len(missing)} weights of a {kind} detector "
            f"({', '.join(missing[:3])}); use the file that belongs to {CONFIG_FILE}"
        )
    loaded: nn.Module = model.float().eval()
    return loaded


def _one_line(err: Exception) -> str:
    """What an exception says, shortened to a line."""
    return " ".join(str(err).split())[:200] or type(err).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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

    Raises NetworkDamaged where it is not JSON or says something that this family never does.
    """
    given = read_json(file)
    try:
        spec: dict[str, Any] = {
            "width": given["size"]["width"],
            "height": given["size"]["height"],
            "resize": "stretch",
            "interpolation": FILTERS[str(given.get("resample", 2))],
        }
        if given.get("do_normalize", False):
            spec |= {"mean": given["image_mean"], "std": given["image_std"]}
        return InputSpec.model_validate(spec)
    except (ValueError, KeyError, TypeError) as err:
        raise NetworkDamaged(
            f"{file} does not give the input's width and height in the usual way ({err!r}); "
            "fetch it again"
        ) from err


def converted(model: Any, spec: InputSpec) -> Converted:
    """A detector of transformers, ready for export; its configuration names the categories.

    The graph goes from ``images`` and ``orig_target_sizes`` to ``labels, boxes, scores``. Pairs of
    query and class are ranked together by the sigmoid of their logit, and the best
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

    labels = {int(number): str(name) for number, name in model.config.id2label.items()}
    classes = tuple(labels.get(number, "") for number in range(max(labels) + 1))
    inputs, outputs = ("images", "orig_target_sizes"), ("labels", "boxes", "scores")
    return Converted(Deployed().eval(), "detr", spec, classes, inputs, outputs)
