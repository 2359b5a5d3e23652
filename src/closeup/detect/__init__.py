"""Detectors: an ONNX graph, preprocessing by its card, and a reader for its family's outputs."""

from closeup.detect.categories import resolve_categories
from closeup.detect.detector import Detector, Found

__all__ = ["Detector", "Found", "resolve_categories"]
