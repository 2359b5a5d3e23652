"""Heads: from a backbone's embeddings to a probability for each label."""

from __future__ import annotations

from closeup.learn.heads.fitting import cross_probabilities, fit
from closeup.learn.heads.head import Fitted, Head, restore

__all__ = ["Fitted", "Head", "cross_probabilities", "fit", "restore"]
