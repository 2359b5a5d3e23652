"""Your own detector, in two ways: as an ONNX file, or as boxes from whatever finds the object.

python examples/own_detector.py
"""

import csv
from pathlib import Path

from PIL import Image

import closeup
from closeup import networks
from closeup.demo.photos import copy_photos
from closeup.detect.add import add_detector

photos = Path("example-photos")
copy_photos(photos)

# 1. An ONNX file. What its outputs mean is found out and checked on photos; here it is the small
#    detector that ships with the package, as if it were yours. On the command line:
#    closeup models add my_detector.onnx --family yolox --classes watch --name my-detector
file = networks.find("nano-clock", "detector").file
mine = add_detector(file, name="my-detector", family="yolox", classes=["watch"], replace=True)
result = closeup.run(photos, out="example-onnx", parent="watch", detector=mine.card.name,
                     backbone="nano-embed")  # fmt: skip
print(f"my-detector finds the object in {result.counts.detection_rate:.0%} of the photos")


# 2. Anything else: write its boxes into a table, in pixels of the upright photo. This "detector"
#    simply takes the middle of each photo.
def find(photo: Path) -> tuple[float, float, float, float]:
    """The box (x1, y1, x2, y2) of the object."""
    with Image.open(photo) as picture:
        width, height = picture.size
    return 0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height


with Path("my-boxes.csv").open("w", newline="") as table:
    rows = csv.writer(table)
    rows.writerow(["path", "x1", "y1", "x2", "y2"])
    for photo in sorted(photos.rglob("*.webp")):
        rows.writerow([photo.relative_to(photos).as_posix(), *find(photo)])
result = closeup.run(photos, out="example-boxes", boxes="my-boxes.csv", backbone="nano-embed")
if result.scores is not None:
    print(f"with boxes from elsewhere: macro-F1 {result.scores.macro_f1}")
