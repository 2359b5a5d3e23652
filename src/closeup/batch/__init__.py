"""Answers for very many photos: a question to each of them over a cluster, by Ray Data.

A list is cut into shards; a worker answers a shard and writes it as one Parquet part, in one step.
The parts are the truth: whatever is killed, the next run does what they lack.
"""

from closeup.batch.summary import Summary
from closeup.batch.verbs import crop, embed, predict

__all__ = ["Summary", "crop", "embed", "predict"]
