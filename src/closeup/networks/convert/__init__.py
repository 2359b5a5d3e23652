"""Networks of PyTorch as ONNX graphs with cards."""
