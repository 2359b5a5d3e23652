"""Networks by name: an ONNX graph with a typed card, in the cache or in the package."""
