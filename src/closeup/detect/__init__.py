"""A detector = an ONNX graph + preprocessing by its card + reading its outputs by family."""

from closeup.detect.detector import Detector, Found, resolve_categories

__all__ = ["Detector", "Found", "resolve_categories"]
