"""Networks with random weights, for timings where no others can be had.

``python -m bench.networks`` puts ``random-NAME`` of each into the cache; what is there already
stays. The detectors' threshold and boxes mean nothing then, their time does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

BACKBONES = {
    "mobilenetv2": ("mobilenetv2_100", {}),
    "densenet121": ("densenet121", {}),
    "dinov2-s": ("vit_small_patch14_dinov2", {"img_size": 224}),
}
DETECTORS = ("d-fine-n", "faster-rcnn")


def add(name: str) -> str:
    """Put one of them into the cache, unless it is there; returns the name it has there."""
    import torch

    from closeup.networks import (
        add_checkpoint,
        file_hash,
        networks_folder,
        save,
    )
    from closeup.networks.convert.detectors import export_detector

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
            add_checkpoint(file, name=known, timm=architecture, args=args)
            return known
        card = export_detector(name, Path(work), random_weights=True)
        graph = Path(work) / card.graph
        assert card.sha256 == file_hash(graph)
        save(card.model_copy(update={"name": known}), graph, networks_folder() / known)
    return known


def main() -> None:
    """Add them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*BACKBONES, *DETECTORS])
    for name in parser.parse_args().names:
        print(add(name), flush=True)


if __name__ == "__main__":
    main()
