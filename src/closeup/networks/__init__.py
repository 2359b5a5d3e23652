"""Networks by name: an ONNX graph with a typed card, in the cache or in the package."""

from closeup.networks.cache import Network, installed, load, networks_folder, save
from closeup.networks.card import Card
from closeup.networks.coco import COCO80, COCO91
from closeup.networks.engine import cache_folder, file_hash
from closeup.networks.lookup import find
from closeup.networks.names import known
from closeup.networks.preprocess import InputOverrides

__all__ = [
    "COCO80",
    "COCO91",
    "Card",
    "InputOverrides",
    "Network",
    "cache_folder",
    "file_hash",
    "find",
    "installed",
    "known",
    "load",
    "networks_folder",
    "save",
]
