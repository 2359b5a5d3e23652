"""The verbs over a project folder; each composes the stages and does only what is left."""

from closeup.pipeline.past import restored_config
from closeup.pipeline.scouting import scout
from closeup.pipeline.suggesting import SuggestResult, suggest
from closeup.pipeline.verbs import CropResult, crop, run

__all__ = ["CropResult", "SuggestResult", "crop", "restored_config", "run", "scout", "suggest"]
