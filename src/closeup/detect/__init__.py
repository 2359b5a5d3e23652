"""A detector = an ONNX graph + preprocessing by its card + reading its outputs by family."""

from closeup.detect.detector import Detector, Found

__all__ = ["Detector", "Found"]
