"""Heads: from embeddings to class probabilities, stored as arrays and JSON."""

from closeup.heads.base import Fitted, Head
from closeup.heads.registry import KINDS, fit, restore

__all__ = ["KINDS", "Fitted", "Head", "fit", "restore"]
