"""Many photos: answers one by one in constant memory, bad files included, into a table.

For more than one machine, or to go on after a kill, see ``closeup predict --ray`` (docs/scale.md).

    python examples/batch.py
"""

from collections import Counter
from pathlib import Path

import closeup
from closeup.demo.photos import copy_photos
from closeup.model.answers import write_parquet

photos = Path("example-photos")
copy_photos(photos)
result = closeup.run(photos, out="example-project", parent="clock", detector="nano-clock",
                     backbone="nano-embed")  # fmt: skip
model = closeup.load(result.model)

files = [*sorted(photos.rglob("*.webp")), photos / "boxes.csv"]  # the last is no photo
answers = []
for answer in model.predict_many(files):
    if answer.error is not None:
        print(f"left out: {answer.error}")
    answers.append(answer)
print(Counter(answer.label or "no answer" for answer in answers))
write_parquet(answers, Path("answers.parquet"))
