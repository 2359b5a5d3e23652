"""Detectors: an ONNX graph, preprocessing by its card, and a reader for its family's outputs."""

from closeup.detect.detector import Detector, Found, resolve_categories

__all__ = ["Detector", "Found", "resolve_categories"]
