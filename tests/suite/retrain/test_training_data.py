"""What a retraining trains on: garments drawn anew every epoch, or the pictures of a train split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backbones import create_model
from backbones.common.errors import UserError
from suite.data.images import clutter
from suite.data.images.sources import Garments, bundled
from suite.retrain.spec import RetrainSpec
from suite.retrain.training_data import DrawnData, SplitData, open_training_data

Make = Callable[..., RetrainSpec]


@pytest.fixture
def garments(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """The bundled `dev` stands for the full `train`; which splits and sources were opened."""
    opened: list[tuple[str, str | None]] = []

    def open_garments(split: str, source: str | None = None) -> Garments:
        opened.append((split, source))
        return bundled("dev")

    monkeypatch.setattr(clutter, "open_garments", open_garments)
    return opened


def test_garments_are_drawn_anew_every_epoch(
    garments: list[tuple[str, str | None]], retrain_spec: Make, tmp_path: Path
) -> None:
    spec = retrain_spec(data="fashion-clutter", train_images=40, source="place")
    data = open_training_data(spec)
    assert isinstance(data, DrawnData)
    assert garments == [("train", "place")]
    images = data.images_for(create_model("vim_nano"), 1.0, tmp_path)
    assert np.bincount(images.labels).tolist() == [4] * 10
    first, second = (images.render(np.arange(3), variant) for variant in (1, 2))
    assert not np.array_equal(first, second)
    # Row by row those of the whole split.
    whole = clutter.render(bundled("dev"), data.rows[:3], 1)[0]
    assert np.array_equal(first, whole)
    assert (images.mean, images.std) == (clutter.MEAN, clutter.STD)
    assert not list(tmp_path.iterdir())
    more = open_training_data(spec.model_copy(update={"train_images": 50}))
    assert more.identity != data.identity
    assert data.record.classes[0] == "t-shirt"


@pytest.mark.parametrize(("source", "opened"), [(None, None), ("bundled", None), ("x", "x")])
def test_only_full_garments_are_trained_on(
    garments: list[tuple[str, str | None]],
    source: str | None,
    opened: str | None,
    retrain_spec: Make,
) -> None:
    open_training_data(retrain_spec(data="fashion-clutter", source=source))
    assert garments == [("train", opened)]


@pytest.mark.usefixtures("garments")
def test_garments_that_are_trained_on_are_not_evaluated(retrain_spec: Make) -> None:
    with pytest.raises(UserError, match="--split train is what is trained on: evaluate dev"):
        open_training_data(retrain_spec(data="fashion-clutter", split="train"))


def test_pictures_of_a_split_are_shrunken_once(retrain_spec: Make, tmp_path: Path) -> None:
    data = open_training_data(retrain_spec(train_images=6))
    assert isinstance(data, SplitData)
    model = create_model("vim_sprig")
    images = data.images_for(model, 0.5, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.render(np.arange(6)).shape == (6, 32, 32, 3)
    crops = [images.render(np.arange(6), variant) for variant in (1, 2)]
    assert not np.array_equal(*crops)
    again = data.images_for(model, 0.5, tmp_path)
    assert np.array_equal(again.render(np.arange(6), 2), crops[1])
    assert file.stat().st_mtime_ns == written
    # All images of the split are known to have been at hand, not only those that were chosen.
    assert len(data.record.images) == 12
