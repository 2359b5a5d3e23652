"""The recipe that Closeup is measured against: a photo's close-up, then a frozen network in Keras.

It is what a well-known kind of blog post does, written as a competent practitioner would run it,
in two scripts that time themselves and print JSON:

:mod:`bench.recipe.detect`
    torchvision's Faster R-CNN finds the object, one photo after another, and the box is cut out.
:mod:`bench.recipe.classify`
    Keras trains a small head on a frozen DenseNet121 or MobileNetV2, which ``model.fit`` computes
    anew for every close-up in every epoch.

The first runs in the project's own environment, the second in one of its own, because TensorFlow
and Closeup cannot agree on the versions of what both need. From the project's root::

    python -m venv KERAS && KERAS/bin/python -m pip install -r bench/recipe/requirements.txt
    .venv/bin/python -m bench.recipe.detect PHOTOS --out CROPS --limit 20
    KERAS/bin/python -m bench.recipe.classify CROPS --backbone densenet121 --epochs 3

What is the recipe's and what had to be filled in is said at the top of each script.
"""
