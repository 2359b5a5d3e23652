"""The verbs over a project folder; each composes the stages and does only what is left."""

from closeup.pipeline.verbs import crop, report, run, scout, train

__all__ = ["crop", "report", "run", "scout", "train"]
