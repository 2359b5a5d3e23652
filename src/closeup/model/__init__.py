"""The model folder: its card, loading it, and its answers."""
