"""Open-vocabulary checkpoints with random weights, small, laid out as the hub's are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SIDE = 128
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TEXT: dict[str, Any] = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 4},
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!"
_BACKBONE, _LEVELS = "mobilenetv3_small_050", [1, 2, 3]


def save_checkpoint(name: str, folder: Path, seed: int = 0) -> Any:
    """Write a checkpoint of the kind of `name` into `folder` and return its model."""
    for module in ("torch", "transformers", "timm", "torchvision"):
        pytest.importorskip(module, reason="the networks are built with it")
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = _MAKERS[name](folder)
    _spread(model)
    model.save_pretrained(folder)
    if name == "omdet-turbo":
        _say_the_backbone_as_the_hub_does(folder / "config.json")
    return model.eval()


def _spread(model: Any) -> None:
    """Have the picture reach the heads: else all queries score alike."""
    import torch
    from torch import nn

    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "bbox_" in key or "logit_" in key:
                weight.mul_(0.3)
            elif weight.ndim == 4:
                nn.init.kaiming_normal_(weight)
            elif weight.ndim == 2 and "embedding" in key:
                weight.normal_(0, 0.5)
            elif weight.ndim == 2:
                nn.init.xavier_normal_(weight, 1.5)


def _omdet(folder: Path) -> Any:
    import timm
    from transformers import OmDetTurboConfig, OmDetTurboForObjectDetection

    _write_clip(folder)
    _write_processor(folder, "DetrImageProcessor", IMAGENET_MEAN, IMAGENET_STD)
    channels = timm.create_model(_BACKBONE, features_only=True, out_indices=_LEVELS)
    config = OmDetTurboConfig(
        backbone_config={
            **{"model_type": "timm_backbone", "backbone": _BACKBONE, "out_indices": _LEVELS}
        },
        apply_layernorm_after_vision_backbone=False,
        image_size=SIDE,
        text_config={"model_type": "clip_text_model", **_TEXT, **_CLIP_TOKENS, "projection_dim": 32}
        | {"max_position_embeddings": 77},
        **dict.fromkeys(
            ("text_projection_in_dim", "text_projection_out_dim", "class_embed_dim"), 32
        ),
        **dict.fromkeys(("encoder_hidden_dim", "decoder_hidden_dim"), 64),
        **dict.fromkeys(("encoder_dim_feedforward", "decoder_dim_feedforward"), 32),
        task_encoder_hidden_dim=32,
        vision_features_channels=[64, 64, 64],
        encoder_in_channels=channels.feature_info.channels(),
        num_queries=60,
        decoder_num_layers=2,
        **dict.fromkeys(("encoder_attention_heads", "decoder_num_heads"), 4),
    )
    return OmDetTurboForObjectDetection(config)


def _say_the_backbone_as_the_hub_does(file: Path) -> None:
    config = json.loads(file.read_text())
    backbone = config["backbone_config"]
    config |= {"backbone": backbone["backbone"], "backbone_config": None, "use_timm_backbone": True}
    config |= {"backbone_kwargs": {"out_indices": backbone["out_indices"]}}
    file.write_text(json.dumps(config))


def _owlv2(folder: Path) -> Any:
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    stale = "/home/somebody/tokenizer.json"
    _write_clip(folder, pad="!", tokenizer_file=stale, model_max_length=40)
    _write_processor(folder, "Owlv2ImageProcessor", CLIP_MEAN, CLIP_STD, do_pad=True)
    vision = {**_TEXT, "image_size": SIDE, "patch_size": 16}
    text = {**_TEXT, **_CLIP_TOKENS, "max_position_embeddings": 40}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    return Owlv2ForObjectDetection(config)


def _write_processor(
    folder: Path, kind: str, mean: tuple[float, ...], std: tuple[float, ...], **more: Any
) -> None:
    wants = {
        **{"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2},
        **{"image_mean": mean, "image_std": std, "rescale_factor": 1 / 255, "do_pad": False},
        **{"size": {"height": SIDE, "width": SIDE}, "image_processor_type": kind, **more},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(wants))


_START, _END = "<|startoftext|>", "<|endoftext|>"
_CLIP_VOCAB = {
    token: number
    for number, token in enumerate(
        ["!", *_LETTERS[:-1], *(f"{letter}</w>" for letter in _LETTERS), _START, _END]
    )
}
_CLIP_TOKENS = {
    **{"vocab_size": len(_CLIP_VOCAB), "bos_token_id": _CLIP_VOCAB[_START]},
    **{"eos_token_id": _CLIP_VOCAB[_END], "pad_token_id": 0},
}


def _write_clip(folder: Path, pad: str = _END, **more: Any) -> None:
    (folder / "vocab.json").write_text(json.dumps(_CLIP_VOCAB))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    about = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, **special, **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def _grounding_dino(folder: Path) -> Any:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS[:-1]]
    vocab += [f"##{letter}" for letter in _LETTERS[:-1]]
    _write_bert(folder, vocab)
    size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    _write_processor(folder, "GroundingDinoImageProcessor", IMAGENET_MEAN, IMAGENET_STD, size=size)
    config = GroundingDinoConfig(
        backbone_config={
            **{"model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "window_size": 4},
            **{"num_heads": [1, 2, 2, 4], "out_indices": [2, 3, 4], "image_size": SIDE},
        },
        text_config={"model_type": "bert", **_TEXT, "vocab_size": len(vocab)},
        **dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 32),
        **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
        num_queries=30,
    )
    return GroundingDinoForObjectDetection(config)


def _write_bert(folder: Path, vocab: list[str]) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {token: number for number, token in enumerate(vocab)}
    made = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
    made.post_processor = processors.BertProcessing(ends[1], ends[0])
    made.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    about = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps({**about, **special}))


_MAKERS: dict[str, Any] = {
    **{"omdet-turbo": _omdet, "owlv2": _owlv2, "grounding-dino": _grounding_dino}
}
