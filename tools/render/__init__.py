"""A renderer of photos of wrist watches with known true boxes, by five invented makers.

The makers' designs differ only in details (hands, hour markers, crown, emblem). Colour, strap,
light and surroundings are drawn from one distribution for all of them and give nothing away. The
demo's photos come from it (``tools/demo_photos.py``), and so does a part of what the built-in
networks are trained on.
"""
