"""Networks by name: an ONNX graph with a typed card, in the cache or in the package."""

from closeup.engine import cache_folder
from closeup.zoo.add import add_checkpoint, add_onnx, class_names
from closeup.zoo.cache import Network, file_hash, installed, load, networks_folder, save
from closeup.zoo.card import Card
from closeup.zoo.coco import COCO80, COCO91
from closeup.zoo.inputs import InputOverrides
from closeup.zoo.lookup import find, known

__all__ = [
    "COCO80",
    "COCO91",
    "Card",
    "InputOverrides",
    "Network",
    "add_checkpoint",
    "add_onnx",
    "cache_folder",
    "class_names",
    "file_hash",
    "find",
    "installed",
    "known",
    "load",
    "networks_folder",
    "save",
]
