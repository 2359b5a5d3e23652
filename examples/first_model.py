"""A first model: photos in folders by label become a classifier, with figures one can trust.

python examples/first_model.py             # on the photos that ship with Closeup, offline
python examples/first_model.py PHOTOS      # on your own: one folder per label
"""

import sys
from pathlib import Path

import closeup
from closeup.demo.photos import copy_fresh_photo, copy_photos

options = {}
if len(sys.argv) > 1:
    photos = Path(sys.argv[1])
else:
    photos = Path("example-photos")
    copy_photos(photos)
    # A small detector and a small backbone come with the package; without these two lines the
    # defaults are used, which `closeup models pull d-fine-n dinov2-s` fetches once.
    options = {"parent": "clock", "detector": "nano-clock", "backbone": "nano-embed"}

result = closeup.run(photos, out="example-project", **options)
counts, scores = result.counts, result.scores
print(f"{counts.photos} photos, the object found in {counts.detection_rate:.0%}")
if scores is not None:
    print(f"macro-F1 on {scores.n} test photos: {scores.macro_f1}")  # with its 95 % interval
for check in result.checks:
    if check.state == "issue":
        print(f"{check.code}: {check.title}: {check.detail}")
print(f"report: {result.report}")

model = closeup.load(result.model)
new = Path("new-photo.jpg")
copy_fresh_photo("Corvelle", new)
answer = model.predict(new)
for one in answer.objects:
    print(f"{new}: {one.label}, {one.confidence:.0%}, at {[round(v) for v in one.box]}")
