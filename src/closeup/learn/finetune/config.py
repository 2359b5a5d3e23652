"""What decides a fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FinetuneConfig(BaseModel):
    """The recipe of a fine-tuning; the defaults suit a few hundred to a few thousand close-ups.

    Attributes
    ----------
    epochs
        How often every close-up is seen.
    size
        Side of the network's input in pixels. 0 for 192 or its own, whichever is less; for its own
        where the architecture takes no other.
    head_rate, backbone_rate
        The largest learning rate of either; both rise over the first tenth of the steps and then
        fall along a cosine to nothing.
    adapt
        Measure the batch norms' statistics anew on the close-ups before anything is fitted; not
        where the caller gives a head to start from, which was fitted without.
    frozen_stride
        Layers whose feature maps are finer than the picture divided by this stay as they are:
        what they see (edges, spots) serves every picture, and training them takes half the time.
        0 trains all layers.
    weight_decay
        Of AdamW, on weights but not on biases and norms.
    label_smoothing
        Share of the target that is spread over all labels.
    dropout
        Share of the embedding's numbers that the head does without while training.
    flip
        Mirror every other close-up in training, and answer by the mean of both views; off where
        left and right tell labels apart.
    least_area, rotation, colour, erase, mixup
        Augmentation: the smallest share of the close-up that is cut out again; the largest angle
        in degrees; the largest change of brightness, contrast and saturation; how often a
        rectangle is blanked; the strength of mixing two close-ups, 0 for never.
    average
        Decay of the running average of the weights, which is what is kept; 0 keeps the last ones.
    batch, seed
        Close-ups in a step; what decides the order and the augmentation.
    hold_out
        Hold the first fold out, to stop early and to keep the best epoch. Otherwise all rows are
        trained on, and the last epoch is kept.
    patience
        Stop after so many epochs in a row without a lower loss or a higher macro-F1 on it.
    precision
        Of the convolutions while training. ``auto`` is bf16 on a GPU that has it, else fp32.
    threads
        Of PyTorch, 0 for as many as it takes by itself. The last digits depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=12, ge=1, le=1000)
    size: int = Field(default=0, ge=0, le=2048)
    head_rate: float = Field(default=2e-4, ge=0, le=1)
    backbone_rate: float = Field(default=1e-3, ge=0, le=1)
    adapt: bool = True
    frozen_stride: int = Field(default=8, ge=0, le=64)
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
