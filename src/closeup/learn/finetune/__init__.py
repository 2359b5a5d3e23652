"""Fine-tune a whole network on close-ups; the result is used like a frozen backbone."""

from closeup.learn.finetune.config import FinetuneConfig
from closeup.learn.finetune.fine import TrainingPart, finetune
from closeup.learn.finetune.loop import Diverged
from closeup.learn.finetune.pictures import Closeup, closeups_of
from closeup.learn.finetune.result import Finetuned, mean_log

__all__ = [
    "Closeup",
    "Diverged",
    "FinetuneConfig",
    "Finetuned",
    "TrainingPart",
    "closeups_of",
    "finetune",
    "mean_log",
]
