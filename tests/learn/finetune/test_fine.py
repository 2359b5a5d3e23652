"""Fine-tuning from end to end: what is refused, what is learnt, what is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import DatasetError, NetworkDamaged, NetworkError, UsageError
from closeup.learn.embed import Embedder
from closeup.learn.finetune import (
    Diverged,
    FinetuneConfig,
    Finetuned,
    TrainingPart,
    finetune,
    loop,
    result,
)
from closeup.networks import Network, find, load
from closeup.networks.convert.rebuild import rebuild, require_origin
from tests import tiny
from tests.learn.finetune.parts import SIZE, closeup, make_part

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")
pytest.importorskip("timm")

CONFIG = FinetuneConfig(
    epochs=5, batch=9, backbone_rate=2e-3, head_rate=1e-2, average=0.5, dropout=0, threads=1
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def found(network: Network, work: Path) -> Finetuned:
    return finetune(network, make_part(), CONFIG, work)


def no_training(stage: str, done: int, total: int) -> None:
    assert stage != "finetune", "trained again"


def test_nothing_to_train_on(network: Network, tmp_path: Path) -> None:
    empty = TrainingPart([], [], np.zeros(0, np.int64))
    with pytest.raises(DatasetError, match="at least 2 labels"):
        finetune(network, empty, CONFIG, tmp_path)
    with pytest.raises(DatasetError, match="at least 2 labels"):
        finetune(network, make_part(labels=1), CONFIG, tmp_path)
    with pytest.raises(UsageError, match="do not go with"):
        finetune(network, replace(make_part(), labels=["a"]), CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("of_a", "of_b", "of_c"), [("123", "123", "00"), ("023", "023", "11"), ("234", "234", "01")]
)
def test_a_fold_that_holds_whole_classes_is_passed_over(
    network: Network, tmp_path: Path, of_a: str, of_b: str, of_c: str
) -> None:
    rows = [(label, int(fold)) for label, mine in enumerate((of_a, of_b, of_c)) for fold in mine]
    if of_c == "01":  # a class of its own in each of the first two folds
        rows[-1] = (3, 1)
    part = TrainingPart(
        [closeup(label % 3, n) for n, (label, _) in enumerate(rows)],
        ["abcd"[label] for label, _ in rows], np.array([fold for _, fold in rows]),
    )  # fmt: skip
    found = finetune(network, part, CONFIG.model_copy(update={"epochs": 1}), tmp_path)
    assert found.log["members"] == 2
    assert len({int(part.folds[row]) for row in found.held}) == 2
    assert {part.labels[row] for row in found.held} == {"a", "b"}
    assert "validation_loss" in found.log["table"][0]


def test_a_result_is_never_read_with_another_network(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = CONFIG.model_copy(update={"epochs": 1})
    before = finetune(network, make_part(per_label=4), first, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(result, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(network, make_part(per_label=4), CONFIG, tmp_path)
    after = finetune(network, make_part(per_label=4), first, tmp_path)
    assert after.network.card.sha256 == before.network.card.sha256


def test_an_onnx_graph_alone_cannot_be_trained(tmp_path: Path) -> None:
    tiny.need_onnx()
    with pytest.raises(NetworkError, match=r"only its ONNX graph.*closeup models add"):
        finetune(load(tiny.make_backbone(tmp_path)), make_part(), CONFIG, tmp_path / "work")


def test_weights_that_are_gone_are_missed_before_any_training(
    network: Network, tmp_path: Path
) -> None:
    shutil.copytree(network.folder, tmp_path / "tiny")
    here = load(tmp_path / "tiny")
    require_origin(here)
    assert here.weights is not None
    here.weights.unlink()
    with pytest.raises(NetworkError, match="only its ONNX graph"):
        require_origin(here)


def test_a_built_in_backbone_cannot_be_trained() -> None:
    with pytest.raises(NetworkError, match="only its ONNX graph"):
        rebuild(find("nano-embed", "backbone"))


def test_a_variant_names_what_to_take(network: Network) -> None:
    card = network.card.model_copy(update={"name": "tiny@64", "made_with": {"base": "0" * 64}})
    with pytest.raises(NetworkError, match="take tiny, with the size"):
        rebuild(replace(network, card=card))


def test_weights_of_another_file_are_refused(network: Network) -> None:
    assert network.card.origin is not None
    origin = network.card.origin.model_copy(update={"sha256": "0" * 64})
    card = network.card.model_copy(update={"origin": origin})
    with pytest.raises(NetworkDamaged, match="add the network again"):
        rebuild(replace(network, card=card))


def test_it_learns_and_says_how(found: Finetuned) -> None:
    table = found.log["table"]
    assert [line["epoch"] for line in table] == list(range(1, len(table) + 1))
    assert found.log["best_epoch"] == CONFIG.epochs
    assert table[-1]["validation_macro_f1"] > 0.8
    assert table[-1]["loss"] < table[0]["loss"]
    assert [found.log[name] for name in ("train", "validation", "members", "norms")] == [
        36, 18, 2, "measured",
    ]  # fmt: skip
    json.dumps(found.log, allow_nan=False)


def test_a_row_is_predicted_by_the_member_that_did_not_see_it(found: Finetuned) -> None:
    """The graph gives both embeddings; half of the head with one of them is that member."""
    part, (layer,) = make_part(), found.head.layers
    embedder = Embedder(found.network, EngineConfig(engine="onnxruntime"))
    vectors = np.stack(list(embedder.embed(part.closeups[row]() for row in found.held)))
    half = vectors.shape[1] // 2
    assert sorted(set(part.folds[found.held])) == [0, 1]
    for member, columns in enumerate((slice(0, half), slice(half, None))):
        mine = part.folds[found.held] == member
        alone = 2 * (vectors[mine, columns] @ layer.weights[:, columns].T)
        expected = np.log(found.probabilities[mine])
        # Up to the biases, of which the head holds the mean: differences between rows.
        found_logits = alone - alone.mean(axis=1, keepdims=True)
        wanted = expected - expected.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(
            found_logits - found_logits[0], wanted - wanted[0], atol=2e-2 * np.abs(wanted).max()
        )


def test_it_is_used_like_any_backbone(network: Network, tmp_path: Path) -> None:
    """Graph and head answer for the rows held out just what PyTorch answered."""
    config = CONFIG.model_copy(update={"members": 1, "epochs": 2})
    found = finetune(network, make_part(), config, tmp_path)
    card, part = found.network.card, make_part()
    assert (card.kind, card.family, card.name) == ("backbone", "embedding", "tiny-finetuned")
    assert (card.input.width, card.input.color) == (SIZE, "bgr")
    embedder = Embedder(found.network, EngineConfig(engine="onnxruntime"))
    vectors = np.stack(list(embedder.embed(part.closeups[row]() for row in found.held)))
    np.testing.assert_allclose(found.head.probabilities(vectors), found.probabilities, atol=1e-3)
    assert (part.folds[found.held] == 0).all()
    assert found.head.kind == "logistic"


def test_a_picture_and_its_mirror_image_are_answered_alike(found: Finetuned) -> None:
    picture = make_part().closeups[0]()
    embedder = Embedder(found.network, EngineConfig(engine="onnxruntime"))
    plain, mirrored = embedder.embed([picture, np.ascontiguousarray(picture[:, ::-1])])
    np.testing.assert_allclose(mirrored, plain, atol=1e-3 * float(np.abs(plain).max()))
    assert found.log["settings"]["flip"]


def test_a_finished_one_is_not_trained_again(
    network: Network, found: Finetuned, work: Path
) -> None:
    again = finetune(network, make_part(), CONFIG, work, progress=no_training)
    assert again.network == found.network
    assert sorted(p.name for p in work.iterdir()) == ["network", "result.safetensors"]
    assert again.log == found.log
    np.testing.assert_array_equal(again.head.layers[0].weights, found.head.layers[0].weights)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    other = CONFIG.model_copy(update={"seed": 1})
    with pytest.raises(AssertionError, match="trained again"):
        finetune(network, make_part(), other, work, progress=no_training)


def test_one_alone_can_be_trained_further_and_two_cannot(
    network: Network, found: Finetuned, tmp_path: Path
) -> None:
    with pytest.raises(NetworkError, match="only its ONNX graph"):
        rebuild(found.network)
    config = CONFIG.model_copy(update={"members": 1, "epochs": 1})
    alone = finetune(network, make_part(), config, tmp_path).network
    assert alone.weights is not None
    assert found.network.card.dim == 2 * alone.card.dim
    body = rebuild(alone).module
    assert not body.training
    with torch.no_grad():
        assert body(torch.ones(1, 3, SIZE, SIZE)).shape == (1, alone.card.dim)


def test_a_training_that_diverges_says_so(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop, "_loss", lambda training, *_: training.model.head.bias.sum() * float("nan")
    )
    with pytest.raises(Diverged, match="lower the learning rates"):
        finetune(network, make_part(per_label=4), CONFIG, tmp_path)


class _Killed(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_one_goes_on_to_the_same_end(
    network: Network, found: Finetuned, tmp_path: Path
) -> None:
    starts = []

    def kill(stage: str, done: int, total: int) -> None:
        starts.append((stage, done, total))
        if stage == "finetune" and done > 0.7 * total:
            raise _Killed

    with pytest.raises(_Killed):
        finetune(network, make_part(), CONFIG, tmp_path, progress=kill)
    starts.clear()
    again = finetune(
        network, make_part(), CONFIG, tmp_path, progress=lambda *line: starts.append(line)
    )
    done = [line[1] for line in starts if line[0] == "finetune"]
    assert done[:2] == [15, 21]  # the first member, and two epochs of three batches of the second
    assert again.log == found.log
    np.testing.assert_array_equal(again.head.layers[0].weights, found.head.layers[0].weights)


@pytest.mark.slow
def test_without_folds_everything_is_trained_on(network: Network, tmp_path: Path) -> None:
    part = make_part(per_label=3, labels=2, folds=1)
    config = CONFIG.model_copy(
        update={"epochs": 1, "mixup": 0.2, "average": 0.0, "precision": "bf16"}
    )
    found = finetune(network, part, config, tmp_path)
    assert (found.log["train"], found.log["validation"], found.log["best_epoch"]) == (6, 0, 1)
    assert found.probabilities.shape == (0, 2)
