"""Networks with random weights, for timings where no others can be had.

``python -m bench.networks`` puts ``random-NAME`` of each into the cache; what is there already
stays. The detectors' threshold and boxes mean nothing then, their time does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

BACKBONES = {
    "mobilenetv2": ("mobilenetv2_100", {}),
    "densenet121": ("densenet121", {}),
    "dinov2-s": ("vit_small_patch14_dinov2", {"img_size": 224}),
}
DETECTORS = {"d-fine-n": "d-fine-n-pytorch", "faster-rcnn": "faster-rcnn"}
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


def random_detr(model_type: str, classes: tuple[str, ...], sizes: dict[str, Any]) -> nn.Module:
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


def add(name: str) -> str:
    """Put one of them into the cache, unless it is there; returns the name it has there."""
    import torch

    from closeup.networks import COCO80, networks_folder, save
    from closeup.networks.add import add_backbone
    from closeup.networks.convert import torchvision_detectors, transformers_detectors
    from closeup.networks.convert.detectors import recipe_of, write_detector
    from closeup.networks.preprocess import InputSpec

    known = f"random-{name}"
    if (networks_folder() / known).is_dir():
        return known
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as work:
        if name in BACKBONES:
            import timm
            from safetensors.torch import save_model

            architecture, args = BACKBONES[name]
            file = Path(work) / "weights.safetensors"
            save_model(timm.create_model(architecture, **args), str(file))
            add_backbone(file, name=known, timm=architecture, args=args)
            return known
        recipe = recipe_of(DETECTORS[name])
        if recipe.input is not None:
            model = torchvision_detectors.build(recipe.architecture)
            converted = torchvision_detectors.converted(model, recipe.input.width)
        else:
            spec = InputSpec(width=640, height=640, resize="stretch")
            model = random_detr("d_fine", COCO80, D_FINE_N)
            converted = transformers_detectors.converted(model, spec)
        card = write_detector(recipe, converted, Path(work))
        renamed = card.model_copy(update={"name": known})
        save(renamed, Path(work) / card.graph, networks_folder() / known)
    return known


def main() -> None:
    """Add them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*BACKBONES, *DETECTORS])
    for name in parser.parse_args().names:
        print(add(name), flush=True)


if __name__ == "__main__":
    main()
