"""What the model gets wrong, as a data frame: which classes, how confidently, which photos.

python examples/errors_as_a_table.py       # needs pandas
"""

from pathlib import Path

import pandas as pd

import closeup
from closeup.demo.photos import copy_photos

photos = Path("example-photos")
copy_photos(photos)
out = Path("example-errors")
# Whole photos, so that there is something to get wrong.
closeup.run(photos, out=out, parent="clock", detector="nano-clock", backbone="nano-embed",
            view="photo")  # fmt: skip

# Every stage of a project is a Parquet table (docs/formats.md): one row for each test photo here.
results = pd.read_parquet(out / "results.parquet")
paths = pd.read_parquet(out / "photos.parquet").set_index("id")["path"]
results["photo"] = results["photo_id"].map(paths)
results["right"] = results["truth"] == results["answer"]

print(pd.crosstab(results["truth"], results["answer"]), end="\n\n")
print(results.groupby("truth")["right"].agg(["mean", "size"]).round(2), end="\n\n")
wrong = results[~results["right"]].sort_values("confidence", ascending=False)
print(f"{len(wrong)} of {len(results)} are wrong; the most confident mistakes:")
print(wrong[["photo", "truth", "answer", "confidence"]].head(5).to_string(index=False))
