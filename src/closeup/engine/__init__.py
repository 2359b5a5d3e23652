"""Run an ONNX graph: OpenVINO on CPUs, ONNX Runtime as the fallback and on GPUs."""
