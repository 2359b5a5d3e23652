"""The settings of a fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FinetuneConfig(BaseModel):
    """How to fine-tune; the defaults suit a few hundred to a few thousand close-ups.

    Attributes
    ----------
    epochs
        How often training goes through all close-ups.
    size
        Side of the network's input in pixels. 0 for 224 or the network's own size, whichever is
        smaller; always its own if the architecture supports no other.
    members
        How many networks are trained, each with another fold held out; the result answers with
        the mean of their logits, which is better than either, and costs as much to run as all.
    head_rate, backbone_rate
        Their largest learning rates; both rise in the first tenth of the steps and then decay
        along a cosine to 0.
    adapt
        Measure the statistics of the batch norms on the close-ups before anything is fitted, with
        scales and shifts changed so that the network computes what it did; where it does not, and
        without this, the statistics stay as they are, also in training.
    frozen_stride
        Layers whose feature maps are finer than the picture divided by this are not trained: they
        see edges and spots, which all pictures share. 0 trains all layers.
    weight_decay
        Of AdamW, on weights but not on biases and norms.
    label_smoothing
        Fraction of the target that is spread over all labels.
    dropout
        Fraction of the embedding's numbers that are dropped in training.
    flip
        Mirror close-ups at random in training, and predict with the mean of both views; turn it
        off if left and right distinguish labels.
    least_area, rotation, colour, erase, mixup
        Augmentation: the smallest fraction of the close-up that a random crop keeps; the largest
        angle in degrees; the largest change of brightness, contrast and saturation; the
        probability of blanking a rectangle; the strength of mixup, 0 for none.
    average
        Decay of the running average of the weights, which is the result; 0 takes the last weights.
    batch, seed
        Close-ups in a step; the seed of the order and the augmentation.
    hold_out
        Hold out one fold for each member, to predict for it and to stop early. Otherwise train
        one network on all rows.
    patience
        Stop after so many epochs in a row without a lower loss or a higher macro-F1 on it, and
        keep the best epoch; otherwise the last one is kept.
    precision
        Of the convolutions in training. ``auto`` is bf16 where the GPU or the processor computes
        it natively, else fp32.
    threads
        Of PyTorch; 0 for its default. The last digits of the result depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=14, ge=1, le=1000)
    size: int = Field(default=0, ge=0, le=2048)
    members: int = Field(default=2, ge=1, le=20)
    head_rate: float = Field(default=2e-4, ge=0, le=1)
    backbone_rate: float = Field(default=1e-3, ge=0, le=1)
    adapt: bool = True
    frozen_stride: int = Field(default=0, ge=0, le=64)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    flip: bool = True
    least_area: float = Field(default=0.6, gt=0, le=1)
    rotation: float = Field(default=8, ge=0, le=180)
    colour: float = Field(default=0.2, ge=0, lt=1)
    erase: float = Field(default=0.0, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0, le=10)
    average: float = Field(default=0.98, ge=0, lt=1)
    batch: int = Field(default=32, ge=2, le=4096)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    hold_out: bool = True
    patience: int = Field(default=5, ge=1)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = Field(default=0, ge=0)
