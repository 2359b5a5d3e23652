"""Are close-ups worth it? The same photos, split, backbone and head, with and without them.

Each view is cross-validated on the training part, which chooses; the test part then scores what was
chosen, and beside it what the whole photo would have given, as a paired difference.

    python examples/closeup_or_photo.py
"""

from pathlib import Path

import closeup
from closeup.demo.photos import copy_photos

photos = Path("example-photos")
copy_photos(photos)
result = closeup.run(
    photos, out="example-views", parent="clock", detector="nano-clock", backbone="nano-embed",
    view="photo,closeup,both", head="ridge", compare_photo=True,
)  # fmt: skip

print("cross-validated macro-F1 on the training part:")
for row in result.compared:
    chosen = "  <- chosen" if row.picked else ""
    print(f"  {row.candidate.view:<8} {row.mean:.3f} ± {row.error:.3f}{chosen}")
gain = result.crop_gain
if gain is not None:
    print(f"test part: {gain.a:.3f} with whole photos, {gain.b:.3f} with close-ups; difference "
          f"{gain.delta.value:+.3f} ({gain.delta.low:+.3f} to {gain.delta.high:+.3f})")  # fmt: skip
