"""Heads: from a backbone's embeddings to a probability for each label."""

from __future__ import annotations

from closeup.heads.fitting import cross_probabilities, fit
from closeup.heads.head import Fitted, Head, restore

__all__ = ["Fitted", "Head", "cross_probabilities", "fit", "restore"]
