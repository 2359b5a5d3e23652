"""The recipe's second half: a head on a frozen network, trained in Keras, with its times.

    KERAS/bin/python -m bench.recipe.classify CROPS --backbone densenet121 --epochs 3

CROPS holds a folder of close-ups for each class; KERAS is an environment with
``bench/recipe/requirements.txt``. Run it from the project's root.

The recipe: close-ups at 224 x 224, batches of 32, a frozen DenseNet121 or MobileNetV2 without its
top, global average pooling, Dense 128 with ReLU, softmax; Adam and categorical cross-entropy for
up to 50 epochs, with ModelCheckpoint, ReduceLROnPlateau and EarlyStopping on the validation part.
The frozen network is computed anew for every close-up in every epoch, as ``model.fit`` does.
Filled in here: a fifth is the validation part, the learning rate is Adam's own 0.001, the rate
halves after 3 epochs without gain, training stops after 10, and nothing is augmented, which would
only add time. Nothing is slower than it need be: Keras' own loader reads ahead on all processors,
batch norms use their stored statistics, no gradient is taken through the frozen part, and whether
XLA compiles is left to Keras, which does without on processors. All is float32.

Where ImageNet's weights cannot be had the network has random ones: an epoch does the same sums,
but accuracy then says nothing, and early stopping may come sooner than it would.

JSON: `seconds` is all of ``model.fit``, validation and checkpoints included; `first_epoch`
includes building the graph; `per_epoch` is the mean of the others; `each_epoch` lists them all.
`scaled` says what ``--scale`` epochs would take and whether that was measured or scaled from
`first_epoch` and `per_epoch`. To scale to another number of close-ups, leave out what building the
graph took: (`first_epoch` - `per_epoch`) + epochs x `per_epoch` x close-ups / `images`.
`processors_used` is how many processors worked on average; where it is far below those that the
machine has, others used them too and the times are too long.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.recipe.timing import after_first, machine, rounded, scaled

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
SIZE, BATCH, SEED, WAIT = 224, 32, 1, 10
_RELEASES = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class Backbone:
    """A network of ``keras.applications``: its module there, its class, where its weights are."""

    module: str
    network: str
    weights: str


BACKBONES = MappingProxyType(
    {
        "densenet121": Backbone(
            "densenet",
            "DenseNet121",
            f"{_RELEASES}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        "mobilenetv2": Backbone(
            "mobilenet_v2",
            "MobileNetV2",
            f"{_RELEASES}/mobilenet_v2/"
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ),
    }
)


def count_images(folder: Path) -> dict[str, int]:
    """Close-ups of each class that has some; ``SystemExit`` where they are too few to train on.

    There must be two classes and, for a fifth to be a validation part, five close-ups.
    """
    counts = {
        sub.name: sum(f.suffix.lower() in SUFFIXES for f in sub.rglob("*"))
        for sub in sorted(folder.glob("*/"))
        if sub.is_dir()
    }
    full = {name: count for name, count in counts.items() if count}
    if len(full) < 2 or sum(full.values()) < 5:
        raise SystemExit(
            f"{folder} must hold a folder of close-ups for each of at least two classes, and five "
            f"close-ups in all; it has {sum(full.values())} of {len(full)} classes"
        )
    return full


def obtainable(address: str) -> bool:
    """Whether Keras has these weights in its cache or can fetch them."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    if (home / "models" / address.rsplit("/", 1)[1]).is_file():
        return True
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except OSError:
        return False


def choose_weights(backbone: str, wanted: str) -> str:
    """``"imagenet"`` or ``"random"``; ``"auto"`` takes ImageNet's where they can be had."""
    if wanted == "random" or obtainable(BACKBONES[backbone].weights):
        return "random" if wanted == "random" else "imagenet"
    if wanted == "imagenet":
        raise SystemExit(
            f"the ImageNet weights of {backbone} cannot be fetched from "
            f"{BACKBONES[backbone].weights}; put them into Keras' cache or use --weights random"
        )
    return "random"


def build(backbone: str, weights: str, classes: int) -> Any:
    """The compiled Keras model: ``(n, 224, 224, 3)`` pixels 0 to 255 to class probabilities."""
    import keras

    chosen = BACKBONES[backbone]
    module = getattr(keras.applications, chosen.module)
    frozen = getattr(module, chosen.network)(
        include_top=False,
        weights="imagenet" if weights == "imagenet" else None,
        input_shape=(SIZE, SIZE, 3),
    )
    frozen.trainable = False
    pixels = keras.Input((SIZE, SIZE, 3))
    features = frozen(module.preprocess_input(pixels), training=False)
    hidden = keras.layers.GlobalAveragePooling2D()(features)
    hidden = keras.layers.Dense(128, activation="relu")(hidden)
    model = keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(hidden))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def load(folder: Path) -> tuple[Any, Any]:
    """Training and validation part, as Keras' own loader reads them ahead."""
    import keras

    return tuple(
        keras.utils.image_dataset_from_directory(
            folder,
            label_mode="categorical",
            batch_size=BATCH,
            image_size=(SIZE, SIZE),
            seed=SEED,
            validation_split=0.2,
            subset="both",
            verbose=False,
        )
    )


def fit(model: Any, parts: tuple[Any, Any], epochs: int) -> tuple[list[float], dict[str, Any]]:
    """Seconds of every epoch, validation and checkpoint included, and Keras' history."""
    import keras

    train, validation = parts
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            keras.callbacks.ModelCheckpoint(f"{folder}/best.keras", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3),
            keras.callbacks.EarlyStopping(patience=WAIT, restore_best_weights=True),
            # The last one, so that what the others do belongs to the epoch.
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
            ),
        ]
        start = time.perf_counter()
        done = model.fit(
            train,
            validation_data=validation,
            epochs=epochs,
            callbacks=callbacks,
            shuffle=False,  # the loader has shuffled
            verbose=2,
        )
        ends[-1] = time.perf_counter()
    return [end - begin for begin, end in zip([start, *ends], ends, strict=False)], done.history


def classify(given: argparse.Namespace) -> dict[str, Any]:
    """Run the recipe on a folder of close-ups; what `main` prints."""
    counts = count_images(given.crops)
    weights = choose_weights(given.backbone, given.weights)
    try:
        import keras
    except ImportError as error:
        raise SystemExit(
            "Keras is not installed here; make an environment with bench/recipe/requirements.txt"
        ) from error
    keras.utils.set_random_seed(SEED)
    parts = load(given.crops)
    classes = len(parts[0].class_names)  # with Keras an empty folder is a class too
    model = build(given.backbone, weights, classes)
    began = time.process_time()
    epochs, history = fit(model, parts, given.epochs)
    worked = time.process_time() - began
    measured = len(epochs) >= given.scale
    total = sum(epochs[: given.scale]) if measured else scaled(epochs, given.scale)
    return {
        "images": sum(counts.values()),
        "classes": classes,
        "backbone": given.backbone,
        "weights": weights,
        "epochs": len(epochs),
        "seconds": rounded(sum(epochs)),
        "first_epoch": rounded(epochs[0]),
        "per_epoch": rounded(after_first(epochs)),
        "each_epoch": [rounded(one) for one in epochs],
        "scaled": {
            "epochs": given.scale,
            "seconds": rounded(total, 0),
            "basis": "measured" if measured else "first_epoch + others at per_epoch",
        },
        "validation_accuracy": rounded(max(history["val_accuracy"])),
        "processors_used": rounded(worked / sum(epochs), 1),
        "jit": bool(model.jit_compile),
        "backend": keras.backend.backend(),
        "machine": machine("keras", "tensorflow", "tensorflow-cpu"),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, run, print JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), required=True)
    parser.add_argument("--epochs", type=int, default=50, help="at most; early stopping may end it")
    parser.add_argument("--scale", type=int, default=25, help="epochs to tell the time of")
    parser.add_argument("--weights", choices=["auto", "imagenet", "random"], default="auto")
    given = parser.parse_args(words)
    if given.epochs < 1 or given.scale < 1:
        parser.error("--epochs and --scale must be at least 1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.redirect_stdout(sys.stderr):  # Keras tells its progress on stdout
        result = classify(given)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
