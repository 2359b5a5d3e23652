"""Train a whole network on close-ups: a better backbone and its head, used like a frozen one."""

from closeup.finetune.config import FinetuneConfig
from closeup.finetune.fine import TrainingPart, finetune
from closeup.finetune.pictures import Closeup, closeups_of
from closeup.finetune.result import Finetuned

__all__ = ["Closeup", "FinetuneConfig", "Finetuned", "TrainingPart", "closeups_of", "finetune"]
